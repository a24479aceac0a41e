"""Settings of a node: a TOML file, and `IPVM__...` environment variables over it.

The words and defaults are Homestar's (`[node]`, `homestar-runtime/src/settings.rs`), so that a file of its serves here as
far as it says something that a node of ours does. What it says beyond that is passed over; what neither knows is
refused, since a misspelt limit protects nobody.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "IPVM__"


class Webserver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where JSON-RPC is served, and what one client may ask for.

    Attributes:
        v4_host: The address of loopback to listen on.
        v6_host: The same of IPv6; where the machine has none, it is passed over.
        port: The first port that is tried; the next free one of 1,000 serves. 0 takes any.
        timeout: Seconds that a request may take to arrive.
        websocket_capacity: Notifications that wait for one client, at most; then the next are dropped, and counted.
        websocket_sender_timeout: Milliseconds for one frame to leave; then the client is gone.
        max_connections: Clients at once.
        max_frame: Bytes of a request.
        max_batch: Requests in a batch.
        max_runs: Workflows that run at once, for all clients together.
        origins: Web pages that may ask, by origin: "http://localhost:5173". Any page of another origin is refused.
        token: False serves clients that know no token, Homestar's own for one. Whoever has an account on this
            machine can then run workflows here.
    """

    v4_host: str = "127.0.0.1"
    v6_host: str = "[::1]"
    port: int = 1337
    timeout: float = 120
    websocket_capacity: int = 2048
    websocket_sender_timeout: int = 30_000
    max_connections: int = 64
    max_frame: int = 4 * 2**20
    max_batch: int = 100
    max_runs: int = 16
    origins: tuple[str, ...] = ()
    token: bool = True

    def __post_init__(self) -> None:
        for name in ("v4_host", "v6_host"):
            host = getattr(self, name)
            try:
                loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
            except ValueError:
                loopback = False
            if not loopback:
                raise ValueError(
                    f"{name} must be an address of loopback, found {printable(host, limit=60)!r}: a node is for programs "
                    "of this machine; let a proxy that asks who is there stand before it"
                )
        for name in (
            "websocket_capacity",
            "websocket_sender_timeout",
            "max_connections",
            "max_frame",
            "max_batch",
            "max_runs",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.port < 65_536:
            raise ValueError(f"port must be between 0 and 65535, found {self.port}")


class Mdns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Finding peers on the local network.

    Attributes:
        enable: Ask and answer; nobody is told of this node unless it is set.
    """

    enable: bool = False


class Dht(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distributed hash table.

    Attributes:
        p2p_receipt_timeout: Milliseconds to wait for a receipt.
        p2p_workflow_info_timeout: Milliseconds to wait for workflow information.
    """

    p2p_receipt_timeout: int = 500
    p2p_workflow_info_timeout: int = 500


class Pubsub(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gossip of receipts.

    Attributes:
        heartbeat: Seconds between two looks at the mesh.
        max_transmit_size: Bytes of a message, at most.
        mesh_n_low: Peers of the mesh, at least.
        mesh_n_high: Peers of the mesh, at most.
        mesh_n: Peers of the mesh, as wished.
        publish: Tell the peers of every receipt that is made here. Nothing is published unless it is set.
    """

    heartbeat: float = 1
    max_transmit_size: int = 10 * 2**20
    mesh_n_low: int = 1
    mesh_n_high: int = 10
    mesh_n: int = 2
    publish: bool = False


class Libp2p(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Peers.

    Attributes:
        enable: Join the network; off unless it is set, or `node_addresses` names a peer.
        listen_address: Where peers may call.
        node_addresses: Peers to call, and to call again when the line breaks.
        max_connected_peers: Peers at once.
        dial_interval: Seconds between two tries.
        mdns: Finding peers on the local network.
        dht: The distributed hash table.
        pubsub: Gossip.
    """

    enable: bool = False
    listen_address: str = "/ip4/127.0.0.1/tcp/0"
    node_addresses: tuple[str, ...] = ()
    max_connected_peers: int = 32
    dial_interval: float = 30
    mdns: Mdns = Mdns()
    dht: Dht = Dht()
    pubsub: Pubsub = Pubsub()


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node serves, and whom it knows."""

    webserver: Webserver = Webserver()
    libp2p: Libp2p = Libp2p()


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of `[node]`.

    Attributes:
        shutdown_timeout: Seconds that running work has to end when the node stops.
        network: What it serves, and whom it knows.
    """

    shutdown_timeout: float = 20
    network: Network = Network()


# What a file of Homestar's may say besides: here nothing follows from it.
_HOMESTARS: Final = frozenset({
    "gc_interval", "db", "monitoring", "network.events_buffer_len", "network.poll_cache_interval", "network.keypair_config",
    "network.metrics", "network.rpc", "network.ipfs", "network.libp2p.announce_addresses",
    "network.libp2p.max_announce_addresses", "network.libp2p.idle_connection_timeout", "network.libp2p.bootstrap_interval",
    "network.libp2p.transport_connection_timeout", "network.libp2p.autonat", "network.libp2p.quic",
    "network.libp2p.rendezvous", "network.libp2p.dht.enable_resolve_receipts_in_background",
    "network.libp2p.dht.p2p_provider_timeout", "network.libp2p.dht.receipt_quorum", "network.libp2p.dht.workflow_quorum",
    "network.libp2p.mdns.enable_ipv6", "network.libp2p.mdns.query_interval", "network.libp2p.mdns.ttl",
    "network.libp2p.pubsub.enable", "network.libp2p.pubsub.duplication_cache_time",
    "network.libp2p.pubsub.mesh_outbound_min",
})  # fmt: skip


def default_file() -> Path:
    """Return where settings are looked for: `$IPVM_SETTINGS`, else `settings.toml` in the platform's configuration folder."""
    chosen = os.environ.get("IPVM_SETTINGS")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_config_dir

    return Path(user_config_dir("ipvm", appauthor=False)) / "settings.toml"


def load(
    path: str | Path | None = None, environment: Mapping[str, str] | None = None, **over: dict[str, Any]
) -> Settings:
    """Return the settings of a file, of the environment over it, and of `over` over both.

    Args:
        path: A TOML file; the default one, if it is there, unless one is given.
        environment: Where `IPVM__NODE__NETWORK__WEBSERVER__PORT=1400` and its like are looked for; `os.environ`.
        over: Tables of `[node]`, as a command line gives them.

    Raises:
        NotFound: The file that was named is not there.
        BadInput: It is no TOML, or a key or a value of it is none of ours; the message names the place.
    """
    tree = _read(path)
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(PREFIX):
            _put(tree, name.removeprefix(PREFIX).lower().split("__"), _value(text), name)
    node = tree.pop("node", {})
    if tree or not isinstance(node, dict):
        raise BadInput(f"settings have one table, [node]; found {printable(', '.join(tree) or repr(node), limit=80)}")
    _merge(node, over)
    _pass_over(node, "")
    try:
        return msgspec.convert(node, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadInput(f"settings: {printable(_near(str(error)), limit=300)}") from None


def _read(path: str | Path | None) -> dict[str, Any]:
    target = default_file() if path is None else Path(path).expanduser()
    try:
        return tomllib.loads(target.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path is None:
            return {}
        raise NotFound(f"no settings at {target}. The working directory is {Path.cwd()}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"settings at {target} cannot be read: {printable(str(error), limit=200)}") from None


def _value(text: str) -> Any:
    """Return what an environment variable says: a value of TOML, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(tree: dict[str, Any], path: list[str], value: Any, name: str) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise BadInput(f"${printable(name, limit=100)} goes through {key!r}, which is no table")
    tree[path[-1]] = value


def _merge(tree: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _pass_over(table: dict[str, Any], place: str) -> None:
    for key in list(table):
        if f"{place}{key}" in _HOMESTARS:
            del table[key]
        elif isinstance(table[key], dict):
            _pass_over(table[key], f"{place}{key}.")


def _near(message: str) -> str:
    """Return msgspec's message, with a name of ours that is near the one it does not know."""
    if "unknown field" not in message:
        return message
    wrong = message.split("`")[1]
    kinds: tuple[type[msgspec.Struct], ...] = (Settings, Network, Webserver, Libp2p, Mdns, Dht, Pubsub)
    known = [field.name for kind in kinds for field in msgspec.structs.fields(kind)]
    near = difflib.get_close_matches(wrong, known, n=1)
    return f"{message}. Did you mean {near[0]!r}?" if near else message
