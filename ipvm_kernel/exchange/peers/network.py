"""The network: a libp2p host in a thread of its own, which gossips, keeps records and answers questions.

libp2p lives in trio's loop, and nobody else here does. What others ask of it goes in through `trio.from_thread`; what it
hears comes out through the `Listener`, in worker threads.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from ipvm_kernel.exchange.peers import protocols
from ipvm_kernel.exchange.peers.kademlia import Kademlia
from ipvm_kernel.exchange.peers.listener import MESSAGE_BYTES, TOPIC, Unreachable
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from libp2p.abc import IHost
    from libp2p.peer.id import ID
    from libp2p.pubsub.pb.rpc_pb2 import Message

    from ipvm_kernel.exchange.peers.listener import Listener

_T = TypeVar("_T")

_MESHES: Final = (TProtocol("/meshsub/1.1.0"), TProtocol("/meshsub/1.0.0"))
_PER_SECOND: Final = 500.0  # messages that one peer may send on the topic
_STARTS_WITHIN: Final = 30.0
_LOOKS: Final = 0.25  # seconds between two looks at who is connected


class Network:
    """A host among peers.

    Args:
        listener: Who listens.
        seed: The secret of its key, 32 bytes.
        listen: Where peers may call, as a multiaddr.
        call: Peers to call, and to call again when the line breaks, as multiaddrs that end in /p2p/PEER.
        most: Peers at once.
        redial: Seconds between two calls to a peer that does not answer.
        heartbeat: Seconds between two looks at the gossip mesh.
        mesh: Peers of the mesh: as wished, at least, at most.

    Raises:
        Unreachable: An address is none, or it cannot be listened on.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        seed: bytes,
        listen: str = "/ip4/127.0.0.1/tcp/0",
        call: Sequence[str] = (),
        most: int = 32,
        redial: float = 30.0,
        heartbeat: float = 1.0,
        mesh: tuple[int, int, int] = (2, 1, 10),
        mdns: bool = False,
    ) -> None:
        self._listener = listener
        self._options: dict[str, Any] = {"seed": seed, "listen": _address(listen), "mdns": mdns}
        self._wanted = [_address(one) for one in call]
        self._most = most
        self._redial = redial
        self._heartbeat = heartbeat
        self._mesh = mesh
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._host: IHost
        self._pubsub: Pubsub
        self._kademlia: Kademlia
        self.peer_id = ""
        self.addresses: list[str] = []
        quiet = logging.getLogger("libp2p")  # it warns of each line that breaks; what matters, the listener hears
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._thread = threading.Thread(target=self._run, name="ipvm-peers", daemon=True)
        self._thread.start()
        if not self._ready.wait(_STARTS_WITHIN):
            raise Unreachable(f"libp2p did not start within {_STARTS_WITHIN:g} s")
        if self._failed is not None:
            raise Unreachable(f"cannot join the network on {listen}: {printable(_said(self._failed), limit=200)}")

    # --- from other threads -------------------------------------------------------------------------------------------

    def connect(self, address: str, *, keep: bool = True, timeout: float = 10.0) -> str:
        """Call a peer, and again whenever the line breaks if `keep`; return its id.

        Raises:
            Unreachable: It does not answer, or the address is none.
        """
        wanted = _address(address)
        peer = str(_info(wanted).peer_id)
        try:
            self._do(partial(self._connect, wanted, timeout))
        except Exception as error:  # noqa: BLE001 - libp2p has many words for it
            raise Unreachable(f"no peer answers at {address}: {printable(_said(error), limit=200)}") from None
        if keep and wanted not in self._wanted:
            self._wanted.append(wanted)
        return peer

    def publish(self, data: bytes) -> int:
        """Send a message to the topic, signed, and return how many peers of it there are."""
        return self._do(partial(self._publish, data))

    def find(self, key: bytes, timeout: float) -> list[tuple[str, bytes]]:
        """Ask every peer for the record under a key, and return those that there are, by who gave it."""
        return self._do(partial(self._find, key, timeout))

    def offer(self, key: bytes, value: bytes, timeout: float) -> int:
        """Ask every peer to keep a record, and return how many do."""
        return self._do(partial(self._offer, key, value, timeout))

    @property
    def peers(self) -> dict[str, str]:
        """Who is connected, and where."""
        return self._do(self._peers)

    @property
    def mesh(self) -> int:
        """How many peers listen to the topic."""
        return self._do(self._listening)

    def close(self) -> None:
        """Leave."""
        token, stop = self._token, self._stop
        if token is not None and stop is not None:
            with contextlib.suppress(trio.RunFinishedError):
                trio.from_thread.run_sync(stop.set, trio_token=token)
        self._thread.join(10)

    def _do(self, work: Callable[[], Awaitable[_T]]) -> _T:
        if self._token is None:
            raise Unreachable("the network is closed")
        try:
            answer: _T = trio.from_thread.run(work, trio_token=self._token)
        except trio.RunFinishedError:
            raise Unreachable("the network is closed") from None
        return answer

    # --- in trio's loop -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._live)
        except BaseException as error:  # noqa: BLE001 - told to whoever started it, or to the listener
            self._failed = error
            if self._ready.is_set():
                self._listener.refuse("peer: network broke", _said(error))
        finally:
            self._token = None
            self._ready.set()

    async def _live(self) -> None:
        listen = self._options["listen"]
        self._host = host = new_host(
            key_pair=create_new_key_pair(self._options["seed"]),
            listen_addrs=[listen],
            enable_mDNS=self._options["mdns"],
            connection_config=ConnectionConfig(
                max_connections=self._most, high_watermark=self._most, low_watermark=0, min_connections=0
            ),
        )
        swarm: Any = host.get_network()
        swarm.auto_connector.maybe_connect = _call_nobody
        degree, low, high = self._mesh
        router = GossipSub(
            protocols=_MESHES,
            degree=degree,
            degree_low=low,
            degree_high=high,
            heartbeat_interval=cast("int", self._heartbeat),  # it sleeps so long; a float is as good
            max_messages_per_topic_per_second=_PER_SECOND,
        )
        self._pubsub = pubsub = Pubsub(
            host, router, strict_signing=True, max_inbound_rpc_size=MESSAGE_BYTES + 4096, allowed_topics={TOPIC}
        )
        pubsub.set_topic_validator(TOPIC, self._fits, is_async_validator=False)
        self._kademlia = Kademlia(host, self._listener)
        protocols.identify(host, f"ipvm/{importlib.metadata.version('ipvm')}")
        protocols.exchange(host, self._listener)
        async with (
            host.run(listen_addrs=[listen]),
            background_trio_service(pubsub),
            background_trio_service(router),
            trio.open_nursery() as nursery,
        ):
            await pubsub.wait_until_ready()
            heard = await pubsub.subscribe(TOPIC)
            nursery.start_soon(self._listen, heard)
            nursery.start_soon(self._look_after)
            self.peer_id = str(host.get_id())
            self.addresses = [str(address) for address in host.get_addrs()]
            for address in self.addresses:
                self._happened("new_listen_addr", address=address, peer_id=self.peer_id)
            self._stop = trio.Event()
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()
            self._token = None
            await self._take_leave()
            nursery.cancel_scope.cancel()

    async def _take_leave(self) -> None:
        """Close the lines while the loop still runs, so that no socket is left to the garbage collector."""
        with trio.move_on_after(3):
            await self._host.close()

    def _fits(self, _forwarder: ID, message: Message) -> bool:
        """Return True for a message that is worth passing on. In trio's loop: it is small, and checked in microseconds."""
        return len(message.data) <= MESSAGE_BYTES and self._listener.fits(message.data)

    async def _listen(self, heard: Any) -> None:
        """Take messages one after the other; whoever sends faster than they are taken is cut by gossipsub's own limits."""
        async for message in heard:
            publisher = _peer_of(message.from_id)
            if publisher == self.peer_id:
                continue
            await trio.to_thread.run_sync(self._listener.gossip, publisher, bytes(message.data))

    async def _look_after(self) -> None:
        """Call those who are wanted and not connected, and say who came and went."""
        known: dict[str, str] = {}
        called = dict.fromkeys(map(str, self._wanted), -self._redial)
        while True:
            now = await self._peers()
            for peer in now.keys() - known.keys():
                self._happened("connection_established", address=now[peer], peer_id=peer)
            for peer in known.keys() - now.keys():
                self._happened("connection_closed", address=known[peer], peer_id=peer)
            known = now
            for address in list(self._wanted):
                last = called.get(str(address), -self._redial)
                if str(_info(address).peer_id) not in now and trio.current_time() - last >= self._redial:
                    called[str(address)] = trio.current_time()
                    try:
                        await self._connect(address, 10)
                    except Exception as error:  # noqa: BLE001 - tried again later
                        self._happened("outgoing_connection_error", error=printable(_said(error), limit=200))
            await trio.sleep(_LOOKS)

    async def _connect(self, address: Multiaddr, within: float) -> None:
        info = _info(address)
        with trio.fail_after(within):
            await self._host.connect(info)
            while info.peer_id not in self._pubsub.peers:  # noqa: ASYNC110 - libp2p tells nobody when
                await trio.sleep(0.02)

    async def _publish(self, data: bytes) -> int:
        await self._pubsub.publish(TOPIC, data)
        return await self._listening()

    async def _listening(self) -> int:
        return len(self._pubsub.peer_topics.get(TOPIC, ()))

    async def _find(self, key: bytes, within: float) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []

        async def ask(peer: ID) -> None:
            value = await self._kademlia.ask(peer, key)
            if value is not None:
                found.append((str(peer), value))

        await self._each(ask, within)
        return found

    async def _offer(self, key: bytes, value: bytes, within: float) -> int:
        kept: list[bool] = []

        async def give(peer: ID) -> None:
            kept.append(await self._kademlia.give(peer, key, value))

        await self._each(give, within)
        return sum(kept)

    async def _each(self, work: Callable[[ID], Awaitable[None]], within: float) -> None:
        """Do something with every peer at once; what fails or takes too long is as if it were not there."""

        async def attempt(peer: ID) -> None:
            try:
                await work(peer)
            except Exception:  # noqa: BLE001 - a peer without records, or one that left
                return

        with trio.move_on_after(within):
            async with trio.open_nursery() as nursery:
                for peer in self._host.get_connected_peers():
                    nursery.start_soon(attempt, peer)

    async def _peers(self) -> dict[str, str]:
        store = self._host.get_peerstore()
        found: dict[str, str] = {}
        for peer in self._host.get_connected_peers():
            try:
                addresses = store.addrs(peer)
            except Exception:  # noqa: BLE001 - it called us, and has not said where it listens
                addresses = []
            found[str(peer)] = str(addresses[0]) if addresses else ""
        return found

    def _happened(self, kind: str, **fields: Any) -> None:
        self._listener.happened(kind, {**fields, "timestamp": time.time_ns() // 1_000_000})


async def _call_nobody() -> None:
    """Do nothing, where libp2p 0.8.1 would call whomever it has heard of: the user says who is called."""


def _address(text: str) -> Multiaddr:
    try:
        return Multiaddr(text)
    except Exception as error:  # noqa: BLE001 - as many as multiaddr has protocols
        raise Unreachable(
            f"expected a multiaddr such as /ip4/127.0.0.1/tcp/4001/p2p/12D3…, found {printable(text, limit=120)!r}: "
            f"{printable(str(error), limit=120)}"
        ) from None


def _info(address: Multiaddr) -> Any:
    try:
        return info_from_p2p_addr(address)
    except Exception:  # noqa: BLE001 - as above
        raise Unreachable(
            f"the address of a peer ends in /p2p/ and its id; found {printable(str(address), limit=120)!r}"
        ) from None


def _peer_of(raw: bytes) -> str:
    from libp2p.peer.id import ID

    return str(ID(raw))


def _said(error: BaseException) -> str:
    """Return what an error says, or what the first of a group says."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
