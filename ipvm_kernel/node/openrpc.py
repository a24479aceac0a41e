"""The OpenRPC document of a node: its methods, for people and programs that find them out.

Source: https://spec.open-rpc.org, version 1.2.6, which Homestar's `rpc_discover` answers with.
"""

from __future__ import annotations

import json
from typing import Any, Final

_OBJECT: Final = {"type": "object"}
_BOOLEAN: Final = {"type": "boolean"}
_ID: Final = {"type": "string", "description": "the id of a subscription"}
_WORKFLOW: Final = {
    "description": "a workflow and its name, or the DAG-CBOR of that map as byte values",
    "oneOf": [
        {
            "type": "object",
            "required": ["workflow"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string", "maxLength": 200},
                "workflow": {
                    "type": "object",
                    "required": ["tasks"],
                    "properties": {"tasks": {"type": "array", "items": _OBJECT}},
                },
                "events": {"type": "boolean", "description": "tell of starts and of the end, too"},
            },
        },
        {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 255}},
    ],
}

# name, what it does, its parameters, its result
_METHODS: Final[tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...]] = (
    ("rpc_discover", "OpenRPC document, as text", {}, {"type": "string"}),
    ("health", "Whether the node is well", {}, {"type": "object", "properties": {"healthy": _BOOLEAN}}),
    ("metrics", "Gauges of machine and process", {"prefix": {"type": "string"}}, _OBJECT),
    ("node", "Who the node is, whom it knows, what it counted", {}, _OBJECT),
    (
        "subscribe_run_workflow",
        "Run a workflow; notifications named like the method hold receipts, as byte values of DAG-JSON",
        {"run": _WORKFLOW},
        _ID,
    ),
    ("unsubscribe_run_workflow", "Hear no more of a run; it goes on", {"id": _ID}, _BOOLEAN),
    (
        "cancel_workflow",
        "Stop a run, by the id of its subscription or by the CID of its workflow",
        {"id": _ID},
        _BOOLEAN,
    ),
    ("subscribe_network_events", "Hear of peers, and of receipts that come and go", {}, _ID),
    ("unsubscribe_network_events", "Hear no more of them", {"id": _ID}, _BOOLEAN),
    ("connect_peer", "Call a peer, by its multiaddr; needs the node's token", {"address": {"type": "string"}}, _OBJECT),
    (
        "publish_receipts",
        "Send receipts of a workflow or task to the peers; needs the node's token",
        {"cid": _ID},
        _OBJECT,
    ),
    ("find_receipt", "Ask the peers for a receipt; needs the node's token", {"instruction": _ID}, {"type": "array"}),
    ("stop", "Stop the node; needs its token", {}, _BOOLEAN),
)

NAMES: Final = frozenset(name for name, *_ in _METHODS)


def document(version: str) -> str:
    """Return the document of a node of this version, as text."""
    methods = [
        {
            "name": name,
            "summary": about,
            "paramStructure": "by-position",
            "params": [{"name": key, "schema": schema} for key, schema in params.items()],
            "result": {"name": "result", "schema": returned},
        }
        for name, about, params, returned in _METHODS
    ]
    return json.dumps({"openrpc": "1.2.6", "info": {"title": "ipvm", "version": version}, "methods": methods})
