"""JSON-RPC 2.0 as text: what a request is, what an answer is, and which number an error has.

Source: https://www.jsonrpc.org/specification. Requests are read as DAG-JSON within limits, so that a workflow among the
parameters is an IPLD value at once; numbers are read as Homestar reads them.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import Ipld, Limits, dagjson
from ipvm_kernel.printable import printable

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
BUSY: Final = -32009
"""Homestar's answer when it does not run a workflow (jsonrpsee: server is busy)."""
TOO_LARGE: Final = -32007
"""jsonrpsee's answer to a request, or a batch, above its limit."""
DENIED: Final = -32001
"""The method needs the token of this node, or a grant that goes further."""

_DEPTH, _ITEMS, _SAID = 96, 2_000_000, 300


class RpcError(Exception):
    """The answer to a request that was not done.

    Attributes:
        code: Which kind of error, by number.
        message: One line.
        reason: What its refusal is counted as, if not as all of this code are.
    """

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        self.code = code
        self.reason = reason
        self.message = printable(message, limit=_SAID)
        super().__init__(self.message)


class Request(msgspec.Struct, frozen=True):
    """One request.

    Attributes:
        method: What is asked for.
        params: What it is asked with: a list, a map, or None.
        ident: The id that its answer carries: text, a number or null. Without one, there is no answer.
        answered: False for a request without an id.
    """

    method: str
    params: Ipld
    ident: str | int | float | None
    answered: bool


def parse(data: str | bytes, *, max_bytes: int, max_batch: int) -> tuple[list[Request | RpcError], bool]:
    """Return the requests in a text, each of them or what is wrong with it, and whether they came as a batch.

    Raises:
        RpcError: The text is no JSON, is too large, or is a batch with nothing or too much in it.
    """
    try:
        value = dagjson.loads(data, Limits(max_bytes, _DEPTH, _ITEMS), large_ints_as_floats=True)
    except BadInput as error:
        raise RpcError(PARSE_ERROR, f"Parse error: {error.message}") from None
    if type(value) is not list:
        return [_request(value)], False
    if not value:
        raise RpcError(INVALID_REQUEST, "Invalid request: a batch holds at least one request")
    if len(value) > max_batch:
        raise RpcError(
            TOO_LARGE, f"Invalid request: a batch holds at most {max_batch:,} requests, found {len(value):,}"
        )
    return [_request(item) for item in value], True


def _request(value: Ipld) -> Request | RpcError:
    if type(value) is not dict or value.get("jsonrpc") != "2.0" or type(value.get("method")) is not str:
        return RpcError(INVALID_REQUEST, 'Invalid request: expected {"jsonrpc": "2.0", "method": text, ...}')
    ident, params = value.get("id"), value.get("params")
    if type(ident) not in {str, int, float, type(None)}:
        return RpcError(INVALID_REQUEST, "Invalid request: an id is text, a number or null")
    if type(params) not in {list, dict, type(None)}:
        return RpcError(INVALID_REQUEST, "Invalid request: params are a list or a map")
    return Request(value["method"], params, ident, "id" in value)  # type: ignore[arg-type]


def result(ident: str | float | None, value: Any) -> str:
    """Return the answer to a request that was done."""
    return _dumps({"jsonrpc": "2.0", "id": ident, "result": value})


def error(ident: str | float | None, wrong: RpcError) -> str:
    """Return the answer to a request that was not done."""
    return _dumps({"jsonrpc": "2.0", "id": ident, "error": {"code": wrong.code, "message": wrong.message}})


def notification(method: str, subscription: str, value: Ipld) -> str:
    """Return a notification as Homestar sends it: the value's DAG-JSON, as a list of byte values."""
    data = dagjson.dumps(value).encode()
    head = f'{{"jsonrpc":"2.0","method":"{method}","params":{{"subscription":"{subscription}","result":['
    return "".join((head, ",".join(map(_DIGITS.__getitem__, data)), "]}}"))


_DIGITS: Final = tuple(map(str, range(256)))


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
