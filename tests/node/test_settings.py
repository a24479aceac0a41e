from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.node import settings

if TYPE_CHECKING:
    from pathlib import Path

HOMESTARS = """\
[node]
gc_interval = 1800
shutdown_timeout = 7

[node.db]
url = "homestar.db"

[node.network.rpc]
port = 3030

[node.network.webserver]
v4_host = "127.0.0.1"
port = 2337
websocket_capacity = 99

[node.network.libp2p]
listen_address = "/ip4/127.0.0.1/tcp/7001"
node_addresses = []

[node.network.libp2p.mdns]
enable = false
ttl = 540

[node.network.libp2p.dht]
receipt_quorum = 2
"""


def test_the_defaults_are_homestars_where_they_apply() -> None:
    """
    Port, host, capacity, timeouts and mesh are those of `homestar.md` 1.17; peers are off until somebody asks.
    """
    made = settings.load("/dev/null", {})
    web, peers = made.network.webserver, made.network.libp2p

    assert (web.v4_host, web.v6_host, web.port, web.timeout) == ("127.0.0.1", "[::1]", 1337, 120)
    assert (web.websocket_capacity, web.websocket_sender_timeout) == (2048, 30_000)
    assert (made.shutdown_timeout, peers.max_connected_peers, peers.dial_interval) == (20, 32, 30)
    assert (peers.pubsub.mesh_n, peers.pubsub.mesh_n_low, peers.pubsub.mesh_n_high) == (2, 1, 10)
    assert (peers.dht.p2p_receipt_timeout, peers.dht.p2p_workflow_info_timeout) == (500, 500)
    assert (peers.enable, peers.mdns.enable, peers.pubsub.publish, web.token) == (False, False, False, True)


def test_a_file_of_homestars_serves(tmp_path: Path) -> None:
    """
    What applies is taken, what does not is passed over.
    """
    path = tmp_path / "settings.toml"
    path.write_text(HOMESTARS)
    made = settings.load(path, {})

    assert made.shutdown_timeout == 7
    assert (made.network.webserver.port, made.network.webserver.websocket_capacity) == (2337, 99)
    assert made.network.libp2p.listen_address == "/ip4/127.0.0.1/tcp/7001"


def test_the_environment_goes_over_the_file_and_the_command_over_both(tmp_path: Path) -> None:
    """
    `IPVM__NODE__...` sets what it names, as TOML or as text; what is given on the command line wins.
    """
    path = tmp_path / "settings.toml"
    path.write_text(HOMESTARS)
    environment = {
        "IPVM__NODE__NETWORK__WEBSERVER__PORT": "1400",
        "IPVM__NODE__NETWORK__WEBSERVER__TIMEOUT": "3",
        "IPVM__NODE__NETWORK__LIBP2P__NODE_ADDRESSES": '["/ip4/127.0.0.1/tcp/1/p2p/x"]',
        "IPVM__NODE__NETWORK__LIBP2P__LISTEN_ADDRESS": "/ip4/127.0.0.1/tcp/9",
        "IPVM_HOME": "somewhere",
    }
    made = settings.load(path, environment, network={"webserver": {"port": 0}})

    assert (made.network.webserver.port, made.network.webserver.timeout) == (0, 3)
    assert made.network.libp2p.node_addresses == ("/ip4/127.0.0.1/tcp/1/p2p/x",)
    assert made.network.libp2p.listen_address == "/ip4/127.0.0.1/tcp/9"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[node.network.webserver]\nprot = 5", "Did you mean 'port'"),
        ("[node.network.webserver]\nport = 70000", "between 0 and 65535"),
        ("[node.network.webserver]\nport = 'x'", "port"),
        ("[node.network.webserver]\nv4_host = '0.0.0.0'", "must be an address of loopback"),
        ("[node.network.webserver]\nv6_host = '::'", "must be an address of loopback"),
        ("[node.network.webserver]\nmax_frame = 0", "at least 1"),
        ("[other]\nx = 1", r"one table, \[node\]"),
        ("node = 5", "one table"),
        ("[node", "cannot be read"),
    ],
)
def test_settings_that_are_wrong_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    """
    A misspelt key, a value of another kind, a host that is not loopback: each is named, with what is near.
    """
    path = tmp_path / "settings.toml"
    path.write_text(text)

    with pytest.raises(BadInput, match=said) as error:
        settings.load(path, {})
    assert "\n" not in str(error.value)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    """
    The default file may be missing; one that was named may not.
    """
    with pytest.raises(NotFound, match="no settings at"):
        settings.load(tmp_path / "none.toml", {})


def test_an_environment_that_goes_through_a_value_is_refused() -> None:
    """
    A variable that names a place inside a number is refused by name.
    """
    environment = {"IPVM__NODE__SHUTDOWN_TIMEOUT": "5", "IPVM__NODE__SHUTDOWN_TIMEOUT__X": "5"}
    with pytest.raises(BadInput, match="IPVM__NODE__SHUTDOWN_TIMEOUT__X"):
        settings.load("/dev/null", environment)
