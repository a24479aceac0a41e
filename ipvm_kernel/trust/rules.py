"""The rules that a policy consists of, and the small file that they are kept in.

The file is JSON that a person can read and mend. It is written whole and renamed, under a lock between processes, so
that kernels may read it at any time and none loses what another changed.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, Malformed
from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import printable
from ipvm_kernel.trust import smallfile

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST: Final = 10_000
"""Peers, keys, and so on that one file holds, of each."""

_FILE_BYTES: Final = 32 * 2**20

Stamp: TypeAlias = tuple[int, ...]
"""What differs whenever the rules do. To be compared, and for nothing else."""


class Trusted(msgspec.Struct, frozen=True):
    """A peer that is trusted.

    Attributes:
        since: Since when, in seconds since 1970. What it sent before counts too.
    """

    since: float


class Listed(msgspec.Struct, frozen=True):
    """A key whose word the user takes.

    Attributes:
        since: Since when, in seconds since 1970. What it signed before counts too.
        modules: The CIDs of the modules for which its word is taken; empty for all.
        name: What the user calls its holder.
    """

    since: float
    modules: tuple[str, ...] = ()
    name: str = ""


class Quarantined(msgspec.Struct, frozen=True):
    """A key whose word is not taken, whatever else is said of it.

    Attributes:
        since: Since when, in seconds since 1970. What it signed before does not count either.
        why: What happened, for people.
    """

    since: float
    why: str = ""


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the file holds.

    Attributes:
        peers: Peers that are trusted, by id.
        keys: Keys that are listed, by DID.
        quorum: How many listed keys must say the same of a receipt.
        optimistic: Whether receipts of pure tasks are used that somebody else signed, and some run again.
        sample: The share of them that is run again.
        quarantine: Keys whose word is not taken, by DID.
        revoked: CIDs of attestations and delegations that hold no longer.
        secret: Decides which receipts are run again; so nobody else may know it.
    """

    peers: dict[str, Trusted] = {}
    keys: dict[str, Listed] = {}
    quorum: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    optimistic: bool = False
    sample: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.05
    quarantine: dict[str, Quarantined] = {}
    revoked: tuple[str, ...] = ()
    secret: str = ""


class Known:
    """Rules made ready to be asked: sets of CIDs in place of lists of texts.

    Attributes:
        rules: The rules.
        modules: For each listed key, the modules for which its word is taken; None for all.
        revoked: What holds no longer.
        secret: The bytes of the rules' secret.
    """

    __slots__ = ("modules", "revoked", "rules", "secret")

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.modules: Mapping[str, frozenset[CID] | None] = {
            did: frozenset(map(CID.parse, listed.modules)) if listed.modules else None
            for did, listed in rules.keys.items()
        }
        self.revoked = frozenset(map(CID.parse, rules.revoked))
        self.secret = bytes.fromhex(rules.secret)
        for part in (rules.peers, rules.keys, rules.quarantine, rules.revoked):
            if len(part) > MOST:
                raise Malformed(f"Expected at most {MOST:,} entries of a kind, found {len(part):,}.")


_NOBODY: Final = Known(Rules())
_NONE: Final[Stamp] = ()  # the stamp of no file


class RulesFile:
    """The rules, in a file or in memory.

    Args:
        path: The file; None for rules that end with the session.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held: tuple[Stamp, Known] = (_NONE if path else (0,), _NOBODY)

    @property
    def stamp(self) -> Stamp:
        """What differs whenever the file does; empty while there is none."""
        if self._path is None:
            return self._held[0]
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return _NONE
        except OSError as error:
            raise Malformed(f"{self._path} cannot be read: {error.strerror}. It says who is trusted") from None
        return state.st_mtime_ns, state.st_ino, state.st_size, state.st_mode

    def known(self) -> Known:
        """Return the rules of this moment.

        Raises:
            Malformed: The file is not what was written, or others can write it: nobody is trusted until it is mended.
        """
        stamp = self.stamp
        if stamp == _NONE:
            return _NOBODY
        held = self._held
        if held[0] != stamp:
            # Where somebody writes just now, the stamp is older than what is read: then it is read once more.
            self._held = held = (stamp, self._read())
        return held[1]

    def _read(self) -> Known:
        path = self._path
        assert path is not None
        try:
            data = smallfile.read(path, most=_FILE_BYTES, secret=False)
            if data is None:  # it was there a moment ago
                return _NOBODY
            found: Any = json.loads(data)
            return Known(msgspec.convert(found, Rules))
        except (IpvmError, ValueError, RecursionError) as error:
            raise Malformed(
                f"{path} cannot be read: {printable(str(error), limit=300)}. It says who is trusted: mend or remove it"
            ) from None

    @contextlib.contextmanager
    def changing(self) -> Iterator[Change]:
        """Give the rules to be changed, which are durable at the end of the block. One at a time, in all processes.

        Raises:
            Malformed: The file is not what was written.
            StoreBusy: Another process has been changing it for long.
            StoreReadOnly: It cannot be written.
        """
        with self._lock, smallfile.changing(self._path) if self._path else contextlib.nullcontext():
            before = self.known().rules
            change = Change(before)
            yield change
            if change.rules is before:
                return
            known = Known(change.rules)
            if self._path is None:
                self._held = ((self._held[0][0] + 1,), known)
                return
            smallfile.write(self._path, json.dumps(msgspec.to_builtins(change.rules), indent=1).encode() + b"\n")


class Change:
    """Rules on their way to others.

    Attributes:
        rules: As they are to be.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def put(self, **fields: Any) -> None:
        """Set some fields.

        Raises:
            BadInput: There would be too many entries in one.
        """
        for name, value in fields.items():
            if isinstance(value, dict | tuple) and len(value) > MOST:
                raise BadInput(f"Expected at most {MOST:,} entries in {name}, found one more: take some away first.")
        self.rules = msgspec.structs.replace(self.rules, **fields)

    def drop(self, name: str, key: str) -> bool:
        """Take an entry out of a field that is a map, and return True if it was there."""
        rest = dict(getattr(self.rules, name))
        if key not in rest:
            return False
        del rest[key]
        self.put(**{name: rest})
        return True
