"""The two small protocols that make a host a Homestar node among others: who it is, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.identity.identify.pb.identify_pb2 import Identify
from libp2p.utils.varint import encode_uvarint

from ipvm_kernel.exchange.peers.listener import MESSAGE_BYTES

if TYPE_CHECKING:
    from libp2p.abc import IHost, INetStream

    from ipvm_kernel.exchange.peers.listener import Listener

IDENTIFY: Final = TProtocol("/ipfs/id/1.0.0")
EXCHANGE: Final = TProtocol("/homestar-exchange/1.0.0")
VERSION: Final = "homestar/0.3.0"
"""Homestar puts into its routing table only those who say that they are of its own protocol version."""

_P2P: Final = 421  # the code of /p2p in a multiaddr
_REQUEST_BYTES: Final = 4096
_PATIENCE: Final = 10.0  # seconds that a request may take


def identify(host: IHost, agent: str) -> None:
    """Let a host say that it is a Homestar node.

    Source: https://github.com/libp2p/specs/tree/master/identify.
    """

    async def serve(stream: INetStream) -> None:
        said = Identify(
            protocol_version=VERSION,
            agent_version=agent,
            public_key=host.get_public_key().serialize(),
            listen_addrs=[address.decapsulate_code(_P2P).to_bytes() for address in host.get_addrs()],
            protocols=[str(protocol) for protocol in host.get_mux().get_protocols() if protocol is not None],
        ).SerializeToString()
        try:
            await stream.write(encode_uvarint(len(said)) + said)
        except Exception:  # noqa: BLE001 - whoever asked is gone, and said so in one of libp2p's many ways
            await stream.reset()
        else:
            await stream.close()

    host.set_stream_handler(IDENTIFY, serve)


def exchange(host: IHost, listener: Listener) -> None:
    """Let a host answer what Homestar nodes ask each other: one CBOR request to the end of the stream, one CBOR answer.

    Source: Homestar 0.3.0, `homestar-runtime/src/network/swarm.rs`; libp2p's request-response with its CBOR codec.
    """

    async def serve(stream: INetStream) -> None:
        peer = str(stream.muxed_conn.peer_id)
        try:
            with trio.fail_after(_PATIENCE):
                request = await _until_end(stream)
                answer = await trio.to_thread.run_sync(listener.answer, peer, request)
                assert len(answer) <= 3 * MESSAGE_BYTES
                await stream.write(answer)
                await stream.close()
        except Exception as error:  # noqa: BLE001 - whatever a peer sends, its stream ends and nothing else does
            listener.refuse("peer: bad question", f"{type(error).__name__} from {peer}")
            await stream.reset()

    host.set_stream_handler(EXCHANGE, serve)


async def _until_end(stream: INetStream) -> bytes:
    """Return all that a peer sends before it closes its side."""
    data = b""
    while len(data) <= _REQUEST_BYTES:
        try:
            more = await stream.read(_REQUEST_BYTES)
        except Exception as error:
            if type(error).__name__ == "StreamEOF":
                return data
            raise
        if not more:
            return data
        data += more
    raise ValueError("the question is too long")
