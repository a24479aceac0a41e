"""Files by `https:` address. Whoever wrote the address may be a stranger, so it must not lead into this machine's network.

The host is looked up once, every address that it has must be a public one, and the connection goes to the address that was
looked at: a name that changes its mind leads nowhere. A redirect is looked at in the same way. The certificate is checked
for the host.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import urllib3

from ipvm_kernel.errors import BadInput
from ipvm_kernel.exchange.http import Refused, Server, Unreachable
from ipvm_kernel.model import address
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from ipvm_kernel.exchange.http import Deadline

_REDIRECTS: Final = 5


def fetch(
    url: str,
    deadline: Deadline,
    *,
    max_bytes: int,
    pause: float = 0.25,
    progress: Callable[[int], None] | None = None,
    allowed: Callable[[str], bool] | None = None,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """Return what an `https:` address gives.

    Args:
        url: The address.
        deadline: When it must be done.
        max_bytes: How much is accepted.
        pause: Seconds before a request is made again; twice as long each time.
        progress: Told how many bytes are there.
        allowed: Says of an IP address whether it may be connected to; public ones may, unless this is given.
        context: How to check certificates, if not as the system does.

    Raises:
        BadInput: An address that may not be fetched, here or behind a redirect.
        Unreachable, Refused, LimitExceeded, Over: As `Server.ask` does.
    """
    for _ in range(_REDIRECTS + 1):
        if address.parse(url).kind != "web":
            raise BadInput(f"expected to stay with https:, found a redirect to {printable(url, limit=200)}")
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        deadline.left()
        pool = urllib3.HTTPSConnectionPool(
            _resolved(host, port, allowed or public),
            port,
            server_hostname=host,
            assert_hostname=host,
            ssl_context=context,
            ca_certs=None,
            cert_reqs="CERT_REQUIRED",
        )
        server = Server(f"https://{parts.netloc}", printable(host, limit=100), pause=pause, pool=pool)
        try:
            answer = server.ask(
                "GET",
                f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}",
                deadline,
                max_bytes=max_bytes,
                headers={"Host": parts.netloc},
                progress=progress,
                redirects=True,
            )
        finally:
            server.close()
        if answer.status == 200:
            return answer.body
        target = answer.headers.get("Location")
        if answer.status not in {301, 302, 303, 307, 308} or not target:
            raise Refused(f"{server.name} answered {answer.status}, and that is no file", answer.status)
        url = urljoin(url, target)
    raise Refused(f"{printable(url, limit=200)} leads from one address to the next, more than {_REDIRECTS} times", 310)


def public(text: str) -> bool:
    """Return True if an IP address is one of the Internet's, not of this machine, its network or its cloud.

    >>> public("1.1.1.1"), public("127.0.0.1"), public("169.254.169.254"), public("::ffff:10.0.0.1")
    (True, False, False, False)
    """
    found = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    teredo = getattr(found, "teredo", None)
    inner = [mapped, *(teredo or ())]
    if found.version == 6 and found in _NAT64:
        inner.append(ipaddress.ip_address(int(found) & 0xFFFFFFFF))
    return found.is_global and not found.is_multicast and all(one.is_global for one in inner if one is not None)


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def _resolved(host: str, port: int, allowed: Callable[[str], bool]) -> str:
    """Return the IP address to connect to; every one that the host has must be allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"{printable(host, limit=100)} is not known: {printable(str(error), limit=100)}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for one in addresses:
        if not allowed(one):
            raise BadInput(
                f"expected an address of the Internet, found {one} for {printable(host, limit=100)}: a file there is given "
                "by its path or its CID"
            )
    return addresses[0]
