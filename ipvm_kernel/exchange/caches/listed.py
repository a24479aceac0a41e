"""The caches that a user added: a small file beside the store, for its user's eyes alone, and `$IPVM_CACHES`.

The file holds tokens, so it has mode 0600, and nothing here prints one. It is written whole and renamed, so that several
kernels may read it at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from ipvm_kernel.errors import BadInput, Malformed, StoreReadOnly
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ipvm_kernel.exchange.caches.asking import Caches

FILE: Final = "caches.json"
SECONDS: Final = 2.0
"""How long a question may take in all, unless `$IPVM_CACHE_SECONDS` says otherwise."""

_MOST: Final = 16
_FILE_BYTES: Final = 1 << 20
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Known(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cache that is asked.

    Attributes:
        url: Its address, or the path of its folder.
        token: What a writer shows, or None. It is never printed.
        write: True if what is made here is given to it.
        named: True if it stands in `$IPVM_CACHES`, and so cannot be removed here.
    """

    url: str
    token: str | None = None
    write: bool = False
    named: bool = False

    @property
    def in_clear(self) -> bool:
        """True if its token can be read by whoever sees the network between here and there."""
        parts = urlsplit(self.url)
        return self.token is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK

    def __repr__(self) -> str:
        token = "" if self.token is None else ", token=..."
        return f"Known({self.url!r}{token}{', write=True' if self.write else ''})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("url", self.url), ("write", self.write)]


Rows: TypeAlias = list[Known]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    caches: Rows = msgspec.field(default_factory=list)


class Listed:
    """The caches of a user.

    Args:
        home: The folder of the store; None for a session that keeps nothing, where only `$IPVM_CACHES` counts.
        variables: The environment.
    """

    def __init__(self, home: Path | None, variables: Mapping[str, str] | None = None) -> None:
        self._path = None if home is None else home / FILE
        self._variables = os.environ if variables is None else variables

    def list(self) -> Rows:
        """Return every cache that is asked: those that were added, then those of `$IPVM_CACHES`.

        `IPVM_CACHES=off` asks nobody.

        Raises:
            BadInput: One of `$IPVM_CACHES` is no address.
            Malformed: The file is not what was written.
        """
        words = self._variables.get("IPVM_CACHES", "").replace(",", " ").split()
        if any(word.lower() in {"off", "none"} for word in words):
            return []
        found = {one.url: one for one in self._load()}
        for word in words:
            url = address(word)
            found.setdefault(url, Known(url=url, named=True))
        return [*found.values()]

    def add(self, url: str, token: str | None = None, *, write: bool = False) -> Known:
        """Ask a cache from now on; one that is there already gets its new token and `write`.

        Whoever keeps it learns from then on which tasks interest you, and gets what is made here only if `write` is set.

        Raises:
            BadInput: This is no address, or no token.
            StoreReadOnly: The file cannot be written.
        """
        made = Known(url=address(url), token=_token(token), write=write)
        if token is not None and not made.url.startswith(("http://", "https://")):
            raise BadInput(
                f"a token is for a server (http:, https:); {made.url} is written with the rights that you have"
            )
        with self._changing() as found:
            others = [one for one in found if one.url != made.url]
            if len(others) >= _MOST:
                raise BadInput(f"{_MOST} caches are asked already: remove one first, with ipvm cache remove URL")
            found[:] = [*others, made]
        return made

    def remove(self, url: str) -> bool:
        """Ask a cache no more, and return True if it was asked. It is taken as it is listed, or as it was added."""
        names = {url, url.rstrip("/")}
        with contextlib.suppress(BadInput):
            names.add(address(url))
        with self._changing() as found:
            rest = [one for one in found if one.url not in names]
            removed = len(rest) < len(found)
            found[:] = rest
        return removed

    @property
    def seconds(self) -> float:
        """How long a question may take in all.

        Raises:
            BadInput: `$IPVM_CACHE_SECONDS` is no number above 0.
        """
        text = self._variables.get("IPVM_CACHE_SECONDS")
        try:
            value = float(text) if text else SECONDS
        except ValueError:
            value = -1.0
        if not 0 < value <= 3600:
            raise BadInput(
                f"$IPVM_CACHE_SECONDS is {printable(str(text), limit=60)!r}: expected seconds, above 0 and at most 3600"
            )
        return value

    def open(self, tell: Callable[[str], object] | None = None) -> Caches | None:
        """Return the caches, ready to be asked, or None if there are none; then nothing was loaded.

        Args:
            tell: Called with one line when a cache does not do what it should.

        Raises:
            BadInput, Malformed: As `list` does.
        """
        known = self.list()
        if not known:
            return None
        from ipvm_kernel.exchange.caches.asking import Caches, opened

        caches = [opened(one) for one in known]
        writers = [cache for cache, one in zip(caches, known, strict=True) if one.write]
        return Caches(caches, writers=writers, seconds=self.seconds, tell=tell)

    # --- the file -----------------------------------------------------------------------------------------------------

    def _load(self) -> Rows:
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    os.fchmod(file.fileno(), 0o600)  # somebody copied it; it may hold a token
                found: Any = json.loads(file.read(_FILE_BYTES))
            return msgspec.convert(found, _File).caches
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            raise Malformed(
                f"{self._path} cannot be read: {printable(str(error), limit=200)}. It lists the caches that are asked: mend or "
                "remove it"
            ) from None

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Rows]:
        """Give the list to be changed, and write it; other processes wait meanwhile."""
        path = self._path
        if path is None:
            raise BadInput("this session keeps nothing, so no cache can be added to it: set $IPVM_CACHES")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = os.open(path.with_name(f"{FILE}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                with contextlib.suppress(OSError):
                    fcntl.flock(held, fcntl.LOCK_EX)
                found = self._load()
                yield found
                fresh = path.with_name(f"{FILE}.{os.getpid()}")
                with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                    os.fchmod(file.fileno(), 0o600)
                    file.write(json.dumps(msgspec.to_builtins(_File(found)), indent=1).encode())
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(path)
            finally:
                os.close(held)
        except OSError as error:
            raise StoreReadOnly(f"{path} cannot be written: {error.strerror}") from None


def address(text: str) -> str:
    """Return the address of a cache in the form in which it is kept: a URL without a slash at its end, or a whole path.

    Raises:
        BadInput: It is none, or holds a password.
    """
    text = text.strip()
    scheme, found, rest = text.partition("://")
    if not found:
        if not text:
            raise BadInput("expected the address of a cache, https://HOST, or the path of a folder; found nothing")
        return str(Path(text).expanduser().absolute())
    if scheme in {"http", "https"}:
        try:
            parts = urlsplit(text)
            good = bool(parts.hostname) and parts.port != 0 and not parts.query and not parts.fragment
        except ValueError:
            parts, good = None, False
        if parts is not None and "@" in parts.netloc:
            raise BadInput("expected an address without a password: give the token apart, with --token")
        if not good:
            raise BadInput(f"expected http://HOST:PORT or https://HOST, found {printable(text, limit=200)!r}")
    elif not rest and scheme != "memory":
        raise BadInput(
            f"expected an address such as {printable(scheme, limit=20)}://place, found {printable(text, limit=200)!r}"
        )
    return text.rstrip("/") if rest.strip("/") else text


def _token(token: str | None) -> str | None:
    if token is None:
        return None
    if not token or len(token) > 1000 or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput("expected a token of 1 to 1,000 printable ASCII characters without a space, found another")
    return token
