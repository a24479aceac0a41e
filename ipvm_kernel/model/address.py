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
        kind: `content` if a CID says what it is, `web` and `file` if only a place is known.
        text: It as it was written.
        cid: The CID, of content.
        path: The path, of a file.
    """

    kind: Literal["content", "web", "file"]
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
        return parse(text).cid
    except BadInput:
        return None


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
            if parts.query or parts.fragment or parts.path not in {"", "/"}:
                raise BadInput(
                    f"expected ipfs:// and the CID of a file, found {shown!r}: give the CID of the file itself"
                )
            return Address("content", text, _cid(text[7:].rstrip("/"), text))
        case "https" | "http":
            cid = _gateway(parts.hostname or "", unquote(parts.path), text)
            if cid is not None:
                return Address("content", text, cid)
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


def _gateway(host: str, path: str, text: str) -> CID | None:
    """Return the CID in the URL of a gateway, by subdomain or by path, or None if it is no such URL."""
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
    if rest.strip("/"):
        raise BadInput(
            f"expected the CID of a file, found a path inside a folder in {printable(text, limit=200)!r}: give the CID of "
            "the file itself"
        )
    return _cid(name, text)


def _cid(name: str, text: str) -> CID:
    try:
        return CID.parse(name)
    except (BadCID, HashNotAllowed) as error:
        raise BadCID(f"expected a CID in {printable(text, limit=200)!r}: {error.message}") from None
