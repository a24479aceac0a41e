"""Kademlia records by the raw bytes of a CID: given, taken and asked for.

Source: https://github.com/libp2p/specs/tree/master/kad-dht. libp2p's own `KadDHT` reads keys as text, and a CID is none;
so the messages are its, and what is done with them stands here. There is no routing table: a network of Homestar nodes
is small, and the peers that are connected are the ones that are asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.kad_dht.pb.kademlia_pb2 import Message
from libp2p.utils.varint import encode_uvarint, read_varint_prefixed_bytes_limited

from ipvm_kernel.exchange.peers.listener import MESSAGE_BYTES

if TYPE_CHECKING:
    from libp2p.abc import IHost, INetStream
    from libp2p.peer.id import ID

    from ipvm_kernel.exchange.peers.listener import Listener

PROTOCOL: Final = TProtocol("/ipfs/kad/1.0.0")
_LEVEL: Final = 10  # what go and rust write: one more than the distance that was used before 2016
_CLOSER: Final = 20  # peers that an answer names, at most
_PATIENCE: Final = 30.0  # seconds that a stream may stay open without a request
_P2P: Final = 421  # the code of /p2p in a multiaddr


class Kademlia:
    """The records of one host.

    Args:
        host: The host.
        listener: Where records come from and go to.
    """

    def __init__(self, host: IHost, listener: Listener) -> None:
        self._host = host
        self._listener = listener
        host.set_stream_handler(PROTOCOL, self._serve)

    async def ask(self, peer: ID, key: bytes) -> bytes | None:
        """Return the record that a peer has under a key, or None."""
        answer = await self._call(peer, Message(type=Message.GET_VALUE, key=key, clusterLevelRaw=_LEVEL))
        value: bytes = answer.record.value
        return value if value and answer.record.key == key else None

    async def give(self, peer: ID, key: bytes, value: bytes) -> bool:
        """Ask a peer to keep a record, and return True if it says that it does."""
        wanted = Message(type=Message.PUT_VALUE, key=key, clusterLevelRaw=_LEVEL)
        wanted.record.key, wanted.record.value = key, value
        answer = await self._call(peer, wanted)
        return bool(answer.record.value == value)

    async def _call(self, peer: ID, message: Message) -> Message:
        stream = await self._host.new_stream(peer, [PROTOCOL])
        try:
            await _write(stream, message)
            return await _read(stream)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + 1, shield=True):
                await stream.close()

    async def _serve(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        try:
            while True:
                with trio.fail_after(_PATIENCE):
                    asked = await _read(stream)
                answer = await self._answer(peer, asked)
                if answer is None:
                    break
                await _write(stream, answer)
        except trio.TooSlowError:
            pass
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, its stream ends and nothing else does
            if type(error).__name__ not in _ENDS:
                self._listener.refuse("peer: bad record request", f"{type(error).__name__} from {peer}")
        finally:
            with trio.CancelScope(deadline=trio.current_time() + 1, shield=True):
                await stream.reset()

    async def _answer(self, peer: ID, asked: Message) -> Message | None:
        answer = Message(type=asked.type, clusterLevelRaw=asked.clusterLevelRaw, key=asked.key)
        key: bytes = asked.key
        match asked.type:
            case Message.PING:
                return answer
            case Message.PUT_VALUE:
                value: bytes = asked.record.value
                if asked.record.key != key or not value:
                    self._listener.refuse("peer: bad record request", f"a record of another key from {peer}")
                    return None
                if not await trio.to_thread.run_sync(self._listener.put, str(peer), key, value):
                    return None
                answer.record.key, answer.record.value = key, value
                return answer
            case Message.GET_VALUE:
                found = await trio.to_thread.run_sync(self._listener.record, key)
                if found is not None:
                    answer.record.key, answer.record.value = key, found
            case Message.GET_PROVIDERS:
                if await trio.to_thread.run_sync(self._listener.provides, key):
                    self._name(answer.providerPeers.add(), self._host.get_id())
            case Message.FIND_NODE:
                pass
            case _:  # ADD_PROVIDER has no answer, and we keep none
                return None
        for other in self._host.get_connected_peers()[:_CLOSER]:
            if other != peer:
                self._name(answer.closerPeers.add(), other)
        return answer

    def _name(self, entry: Message.Peer, peer: ID) -> None:
        entry.id = peer.to_bytes()
        entry.connection = Message.CONNECTED
        own = peer == self._host.get_id()
        addresses = self._host.get_addrs() if own else self._host.get_peerstore().peer_info(peer).addrs
        entry.addrs.extend(address.decapsulate_code(_P2P).to_bytes() for address in addresses)


_ENDS: Final = frozenset({"StreamEOF", "StreamReset", "StreamClosed", "IncompleteReadError", "StreamError"})


async def _write(stream: INetStream, message: Message) -> None:
    data = message.SerializeToString()
    await stream.write(encode_uvarint(len(data)) + data)


async def _read(stream: INetStream) -> Message:
    message = Message()
    message.ParseFromString(await read_varint_prefixed_bytes_limited(stream, MESSAGE_BYTES + 4096))
    return message
