"""The node: workflows for other programs, over JSON-RPC as Homestar speaks it.

`server` needs the extra `node`; what starts, asks and stops one (`control`) needs nothing.
"""
