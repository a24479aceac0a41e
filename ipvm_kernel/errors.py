"""What can go wrong, as one tree.

    IpvmError
    ├── BadInput                 what was given is not what was expected; nothing was run
    │   ├── Malformed            bytes or text that are not what they should be
    │   │   ├── NonCanonical     readable, but not in the one form that has this CID
    │   │   └── BadCID           not a content identifier
    │   ├── LimitExceeded        too deep, too long, too many
    │   ├── HashNotAllowed       a hash function that a CID may not use here
    │   ├── Unencodable          a Python value that has no IPLD form
    │   ├── BadModule            Wasm that cannot be loaded
    │   ├── UnknownFunction      a module has no such function
    │   ├── BadArgument          an argument that the function's WIT type does not take
    │   ├── BadWorkflow          tasks that cannot be run as they stand: a cycle, a duplicate
    │   └── HandleUsedAsValue    a promise where its value is needed
    ├── NotFound                 a name, block or receipt that is not here
    ├── Mismatch                 bytes that do not match their CID
    ├── Forged                   a signed statement that its signer did not make, or that does not hold
    ├── NotAllowed               what the one who asks may not do, or what may not leave this machine
    ├── StoreError               the store cannot do it
    │   ├── StoreBusy            another process holds it
    │   ├── StoreDamaged         what is on disk is not what was written
    │   ├── StoreFull            no space
    │   └── StoreReadOnly        written by a newer ipvm, or a folder that cannot be written
    ├── TaskFailed               a task has no ok value to give
    │   ├── GuestError           the `err` of a function typed `result<T, E>`
    │   ├── GuestTrap            the guest's own steps trapped
    │   ├── LimitHit             fuel, memory or time ran out
    │   ├── BrokenPromise        a task that it awaits failed
    │   ├── Skipped              it awaits an error that did not happen
    │   └── Cancelled            stopped by the user before it ended
    ├── ToolchainError           source that could not be built
    │   ├── BuildFailed          the compiler refused it
    │   └── ToolchainMissing     the compiler is not installed
    └── Divergence               equal tasks gave different answers

A message is one line: what was expected, what was found, where, and what to do next. Text that a guest, a file or a
peer chose goes through `printable`, so that an error can be shown anywhere.
"""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from types import TracebackType

    from ipvm_kernel.ipld import CID


class IpvmError(Exception):
    """The root: everything that ipvm raises on purpose."""

    def __init__(self, message: str) -> None:
        self.message = printable(message, keep="\n")
        super().__init__(self.message)

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows of it: the error, and the user's own line. Frames of ours help nobody."""
        lines = [f"\x1b[31m{type(self).__name__}\x1b[0m: {self.message}"]
        place = _users_line(self.__traceback__)
        return [*lines, place] if place else lines


def _users_line(trace: TracebackType | None) -> str:
    """Return the innermost line of code on the way to an error that is neither ours nor of a library, or ""."""
    place = ""
    while trace is not None:
        path, number = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        line = linecache.getline(path, number).strip()
        if line and not any(part in path for part in _NOT_THE_USERS) and not line.startswith(_NO_LINES_OF_THEIRS):
            cell = "ipython-input" in path or "ipykernel" in path
            where = f"line {number}" if cell else f"{path.rpartition('/')[2]}, line {number}"
            place = f"  {where}: {printable(line, limit=200)}"
        trace = trace.tb_next
    return place


_NO_LINES_OF_THEIRS: Final = ("await __ipvm", "get_ipython().run_")  # what stands for a magic
_NOT_THE_USERS: Final = ("/ipvm_kernel/", "/magics/ipvm/", "/site-packages/", "/lib/python3", "<frozen")


class BadInput(IpvmError, ValueError):
    """What was given is not what was expected. Nothing was run; change it and try again."""


class Malformed(BadInput):
    """Bytes or text that are not what they should be."""


class NonCanonical(Malformed):
    """Readable, but not in the one form that has this CID: somebody encoded it loosely."""


class BadCID(Malformed):
    """Not a content identifier."""


class LimitExceeded(BadInput):
    """Too deep, too long or too many; the message names the limit."""


class HashNotAllowed(BadInput):
    """A CID whose hash function is not accepted here, or whose digest is cut short."""


class Unencodable(BadInput, TypeError):
    """A Python value that has no IPLD form; the message names the place inside the value."""


class BadModule(BadInput):
    """Wasm that cannot be loaded: broken bytes, an import nobody serves, a feature that is off."""


class UnknownFunction(BadInput, AttributeError, LookupError):
    """A module has no function of this name; the message lists what is near."""


class BadArgument(BadInput, TypeError):
    """An argument that the function's WIT type does not take; the message names parameter and type."""


class BadWorkflow(BadInput):
    """Tasks that cannot be run as they stand: a cycle, a duplicate, an await that nothing answers."""


class HandleUsedAsValue(BadInput, TypeError):
    """A handle where its value is needed; the message says how to get the value."""


class NotFound(IpvmError, LookupError):
    """A name, block or receipt that is not here; the message says where it was looked for."""


class Mismatch(IpvmError):
    """Bytes that do not match the CID they came under. They were dropped."""


class Forged(IpvmError):
    """A signed statement that its signer did not make, or that does not hold: altered, expired, revoked. It was dropped."""


class NotAllowed(IpvmError):
    """What the one who asks was not allowed to do, or what may not leave this machine; the message says who may allow it."""


class StoreError(IpvmError):
    """The store cannot do what was asked."""


class StoreBusy(StoreError):
    """Another process holds the store and did not let go in time. Try again."""


class StoreDamaged(StoreError):
    """What is on disk is not what was written. `ipvm verify` lists what is affected."""


class StoreFull(StoreError):
    """There is no space left. Results are shown but not kept; `ipvm gc` makes room."""


class StoreReadOnly(StoreError):
    """The store was written by a newer ipvm, or its folder cannot be written."""


class TaskFailed(IpvmError):
    """A task has no ok value to give.

    Attributes:
        instruction: The CID of the instruction that failed, if one is known.
        error: The payload of its error: `{kind, message, detail?}`, or what the guest chose.
        value: The value that the guest gave and no CID can name (a NaN, say), as plain Python; else None.
    """

    def __init__(self, message: str, *, instruction: CID | None = None, error: Any = None, value: Any = None) -> None:
        super().__init__(message)
        self.instruction = instruction
        self.error = error
        self.value = value


class GuestError(TaskFailed):
    """The function is typed `result<T, E>` and answered `err`.

    Attributes:
        value: The payload of `err`, as plain Python.
    """

    def __init__(self, message: str, *, value: Any = None, instruction: CID | None = None) -> None:
        super().__init__(message, instruction=instruction, error=value, value=value)


class GuestTrap(TaskFailed):
    """The guest's own steps trapped: unreachable, division by zero, out of bounds."""


class LimitHit(TaskFailed):
    """Fuel, memory or time ran out. Raise the limit with `with_options` and run it again."""


class BrokenPromise(TaskFailed):
    """A task that this one awaits failed; `error["detail"]` names it."""


class Skipped(TaskFailed):
    """It awaits an error that did not happen, so it was not run. Not a failure of the workflow."""


class Cancelled(TaskFailed):
    """Stopped by the user before it ended. Run it again to go on."""


class ToolchainError(IpvmError):
    """Source that could not be built."""


class BuildFailed(ToolchainError):
    """The compiler refused the source; the message shows line, column and caret."""


class ToolchainMissing(ToolchainError):
    """The compiler is not installed; the message says what to install."""


class Divergence(IpvmError):
    """Equal tasks gave different answers: the module is not deterministic, or a machine is broken."""
