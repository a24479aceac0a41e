"""Addresses: what the text of a resource names, a CID or a place. Nothing is looked up here.

Homestar reads `ipfs://CID`, and the URLs of gateways by path and by subdomain as if they were that (`homestar.md` 1.10).
`file:` and `https:` name places, whose content may change; whoever fetches from them records what it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed
from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import printable


class Address(msgspec.Struct, frozen=True):
    """Where a resource is.

    Attributes:
        kind: `content` if a CID says what it is, `inside` if the CID is of a folder and it is a file in it, `web` and `file`
            if only a place is known.
        text: It as it was written.
        cid: The CID, of content, or of the folder.
        path: The path, of a file or inside a folder.
    """

    kind: Literal["content", "inside", "web", "file"]
    text: str
    cid: CID | None = None
    path: str = ""


@lru_cache(maxsize=1024)  # the same few modules, over and over
def content(text: str) -> CID | None:
    """Return the CID that an address names by itself, or None.

    >>> content("https://ipfs.io/ipfs/bafkqabiaaebagba") == content("ipfs://bafkqabiaaebagba")
    True
    """
    found = CID.from_canonical(text.removeprefix("ipfs://"))
    if found is not None:
        return found
    try:
        named = parse(text)
    except BadInput:
        return None
    return named.cid if named.kind == "content" else None


def parse(text: str) -> Address:
    """Return what an address names.

    Raises:
        BadInput: It is no address that can be fetched; the message says why and what to write.
    """
    shown = printable(text, limit=200)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"expected an address, found {shown!r}: {printable(str(error), limit=200)}") from None
    match parts.scheme.lower():
        case "":
            return Address("content", text, _cid(text, text))
        case "ipfs":
            if parts.query or parts.fragment:
                raise BadInput(f"expected ipfs://, a CID and perhaps a path, found {shown!r}: leave out what follows")
            name, _, path = text[7:].partition("/")
            return _content(text, name, unquote(path))
        case "https" | "http":
            found = _gateway(parts.hostname or "", unquote(parts.path), text)
            if found is not None:
                return found
            if parts.scheme.lower() == "http":
                raise BadInput(f"expected https:, found {shown!r}: anybody on the way can change what http: brings")
            if parts.username is not None or parts.password is not None:
                raise BadInput("expected an address without a name and a password, found one with them")
            if not parts.hostname or port == 0:
                raise BadInput(f"expected https:// and a host, found {shown!r}")
            return Address("web", text)
        case "file":
            if parts.netloc.lower() not in {"", "localhost"} or not parts.path.startswith("/"):
                raise BadInput(f"expected file:/// and an absolute path, found {shown!r}")
            return Address("file", text, path=unquote(parts.path))
        case "ipns":
            raise BadInput(f"expected a CID, found {shown!r}: what an IPNS name leads to changes. Resolve it first")
        case scheme:
            known = "ipfs:, https: and file:"
            raise BadInput(
                f"expected an address with {known} or a CID, found {printable(scheme, limit=40)}: in {shown!r}"
            )


def _gateway(host: str, path: str, text: str) -> Address | None:
    """Return what the URL of a gateway names, by subdomain or by path, or None if it is no such URL."""
    labels = host.split(".")
    if len(labels) > 2 and labels[1] in {"ipfs", "ipns"}:
        kind, name, rest = labels[1], labels[0], path
    else:
        _, kind, name, rest = ([*path.split("/", 3), "", "", ""])[:4] if path.startswith("/") else ("", "", "", "")
        if kind not in {"ipfs", "ipns"} or not name:
            return None
    if kind == "ipns":
        raise BadInput(
            f"expected a CID, found {printable(text, limit=200)!r}: what an IPNS name leads to changes. Resolve it first"
        )
    return _content(text, name, rest)


def _content(text: str, name: str, path: str) -> Address:
    """Return the address of a file by its CID, or by that of a folder and a path in it."""
    parts = [part for part in path.split("/") if part]
    if {".", ".."} & set(parts):
        raise BadInput(f"expected a path without . and .., found {printable(text, limit=200)!r}")
    cid = _cid(name, text)
    return Address("inside", text, cid, "/".join(parts)) if parts else Address("content", text, cid)


def _cid(name: str, text: str) -> CID:
    try:
        return CID.parse(name)
    except (BadCID, HashNotAllowed) as error:
        raise BadCID(f"expected a CID in {printable(text, limit=200)!r}: {error.message}") from None
