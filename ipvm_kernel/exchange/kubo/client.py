"""Kubo's RPC through the package ipfshttpclient (the extra `ipfs`), kept within our bounds.

Its `connect` refuses every Kubo since 0.8, so a `Client` is made, which asks for no version. It answers with whole values
and has a time limit for each read alone; so each of its sessions is watched: bytes are counted as they come, and the
deadline is looked at. It is loaded by the first call, and takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from ipvm_kernel.errors import IpvmError, LimitExceeded, NotFound
from ipvm_kernel.exchange.http import Refused, Unreachable
from ipvm_kernel.exchange.kubo.endpoints import ENDPOINTS
from ipvm_kernel.printable import printable, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.exchange.http import Deadline

_CONNECT: Final = 5.0
_PIECE: Final = 65_536
_SMALL: Final = 4 << 20  # bytes of an answer that is JSON: a line for each file of a folder that is added
_SAID: Final = 300
_PACKAGE: Final = "ipfshttpclient"


def installed() -> bool:
    """Return True if the package is here. It is not loaded."""
    return importlib.util.find_spec(_PACKAGE) is not None


class Client:
    """Kubo's RPC through ipfshttpclient.

    Args:
        address: Where it listens: `http://127.0.0.1:5001`.
        name: What to call the daemon in messages.
    """

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self._address = address

    @contextlib.contextmanager
    def session(self, call: str, deadline: Deadline, *, max_bytes: int = _SMALL) -> Iterator[Any]:
        """Give an `ipfshttpclient.Client` for one call, whose errors become ours.

        Args:
            call: Which, of `ENDPOINTS`.
            deadline: When it must be done; it is looked at with each piece that comes.
            max_bytes: How long the answer may be.

        Raises:
            NotFound: The package is not installed.
            Unreachable: It did not answer, or not as Kubo does.
            Refused: It said no.
            LimitExceeded: The answer is longer than `max_bytes`.
            Over: The time is over.
        """
        if not installed():
            raise NotFound(
                f"`ipfs {ENDPOINTS[call].path}` goes through the package ipfshttpclient, which is not installed: "
                'pip install "ipvm[ipfs]"'
            )
        import ipfshttpclient  # type: ignore[import-untyped]

        left = deadline.left()
        client = None
        try:
            client = ipfshttpclient.Client(
                _multiaddr(self._address), base=_base(self._address), session=True, timeout=(min(_CONNECT, left), left)
            )
            _watch(client._client._session, self.name, deadline, max_bytes)  # noqa: SLF001 - it has no other door
            yield client
        except IpvmError:
            raise
        except Exception as error:  # its own, those of requests, assertions about what Kubo sends
            raise self._ours(error, deadline) from error
        finally:
            if client is not None:
                client.close()

    def _ours(self, error: Exception, deadline: Deadline) -> IpvmError:
        """Return our error for one of the client's. Raises `Over` if it came of the deadline."""
        from ipfshttpclient import exceptions

        deadline.left()
        if isinstance(error, exceptions.StatusError):
            status = getattr(getattr(error.original, "response", None), "status_code", 500)
            return Refused(f"{self.name} answered {status} ({printable(str(error), limit=_SAID)})", status)
        if isinstance(error, exceptions.DecodingError | AssertionError | KeyError | TypeError):
            return Unreachable(f"{self.name} does not speak Kubo's RPC: {printable(str(error), limit=_SAID)}")
        reason: BaseException = error
        while (inner := getattr(reason, "original", None) or reason.__cause__ or reason.__context__) is not None:
            reason = inner
        text = str(getattr(reason, "strerror", None) or reason) or type(reason).__name__
        return Unreachable(f"{self.name} does not answer: {printable(text, limit=_SAID)}")


def _watch(session: Any, name: str, deadline: Deadline, max_bytes: int) -> None:
    """Keep a session of requests within our bounds: no proxies, no passwords of files, no redirects, no endless answers."""
    session.trust_env = False
    session.max_redirects = 0
    session.headers["Accept-Encoding"] = "identity"
    for adapter in session.adapters.values():
        adapter.poolmanager.connection_pool_kw.pop("strict", None)  # urllib3 3 refuses it, and 2 warns

    def bound(response: Any, **_: Any) -> None:
        raw = response.raw

        def pieces(chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[bytes]:  # noqa: ARG001, FBT002 - as requests has it
            count = 0
            while piece := raw.read1(_PIECE, decode_content=False):
                deadline.left()
                count += len(piece)
                if count > max_bytes:
                    raise LimitExceeded(f"{name}: expected at most {size(max_bytes)}, found more")
                yield piece

        response.iter_content = pieces

    session.hooks["response"].append(bound)


def _multiaddr(address: str) -> str:
    """Return an address as a multiaddr.

    >>> _multiaddr("http://127.0.0.1:5001"), _multiaddr("https://kubo.example/x"), _multiaddr("http://[::1]:5001")
    ('/ip4/127.0.0.1/tcp/5001/http', '/dns/kubo.example/tcp/443/https', '/ip6/::1/tcp/5001/http')
    """
    import ipaddress

    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        kind = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        kind = "dns"
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}"


def _base(address: str) -> str:
    return f"{urlsplit(address).path.strip('/')}/api/v0".lstrip("/")
