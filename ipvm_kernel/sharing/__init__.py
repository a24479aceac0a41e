"""Sharing by CID: what goes along with a notebook, a workflow or a receipt, and how it is checked where it arrives."""
