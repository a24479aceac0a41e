"""IPLD: values, the bytes they are in exactly one way, and the CIDs that name those bytes.

The bottom of everything else. `unixfs` (files as IPFS cuts and names them) and `dagjson` (values as text) are modules of
their own.
"""

from __future__ import annotations

from ipvm_kernel.ipld.block import Block
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.codec import Ipld, decode, decode_trusted, encode
from ipvm_kernel.ipld.filebytes import FileBytes
from ipvm_kernel.ipld.limits import OWN, PEER, Limits
from ipvm_kernel.ipld.node import Node
from ipvm_kernel.ipld.numberlist import NumberList

__all__ = [
    "CID",
    "OWN",
    "PEER",
    "Block",
    "FileBytes",
    "Ipld",
    "Limits",
    "Node",
    "NumberList",
    "decode",
    "decode_trusted",
    "encode",
]
