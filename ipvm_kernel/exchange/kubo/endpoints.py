"""Kubo's calls: the path of each, which way it goes, and why. https://docs.ipfs.tech/reference/kubo/rpc/ lists them all."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Way = Literal["client", "http"]


class Endpoint(NamedTuple):
    """How one call is made. Every call is a POST.

    Attributes:
        path: Its path below `/api/v0/`.
        way: `client` for the package ipfshttpclient (the extra `ipfs`), `http` for our own session.
        why: The reason for that way.
        without: How it goes where the package is not installed; "" if it does not go then.
    """

    path: str
    way: Way
    why: str
    without: Literal["http", ""] = ""


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "add": Endpoint("add", "client", "it walks folders and sends them as a multipart body"),
    "cat": Endpoint("cat", "client", "it does what is needed, a piece at a time"),
    "pin": Endpoint("pin/add", "client", "it does what is needed"),
    "unpin": Endpoint("pin/rm", "client", "it does what is needed"),
    "pinned": Endpoint("pin/ls", "client", "it does what is needed"),
    "version": Endpoint(
        "version",
        "client",
        "it does what is needed, if made by `Client`: `connect` refuses every Kubo since 0.8",
        "http",
    ),
    "id": Endpoint("id", "client", "it does what is needed", "http"),
    "get_block": Endpoint("block/get", "http", "one call a block of a file: 0.1 ms here, 0.85 ms by the client"),
    "put_block": Endpoint("block/put", "http", "the client names no codec but raw and dag-pb, and no hash function"),
    "remove_block": Endpoint("block/rm", "http", "the client has no such call"),
    "has": Endpoint("block/stat", "http", "asked of one block after another, as `get_block` is"),
    "put_node": Endpoint(
        "dag/put", "http", "the client sends options that Kubo 0.10 removed, and names no hash function"
    ),
    "import_car": Endpoint("dag/import", "http", "the client keeps the archive in memory"),
    "export_car": Endpoint("dag/export", "http", "the client keeps the archive in memory"),
    "providers": Endpoint("routing/findprovs", "http", "the client calls `dht/findprovs`, which Kubo 0.27 removed"),
    "provide": Endpoint("routing/provide", "http", "the client calls `dht/provide`, which Kubo 0.27 removed"),
}
"""Each call of `Kubo` and how it is made."""
