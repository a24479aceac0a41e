"""What a person may name in a command: an object of theirs, or the text of one."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from ipvm_kernel import CID, File, Handle, Receipt, Run, Workflow
from ipvm_kernel.errors import NotFound
from ipvm_kernel.printable import printable, size
from ipvm_kernel.session import Module, Promised, default, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["cid_of", "handle_of", "read_file", "thing_of", "told_on_terminal"]


def cid_of(x: Any) -> CID:
    """Return the CID of what a person named.

    Raises:
        NotFound: It is nothing that has one.
    """
    match x:
        case CID():
            return x
        case str():
            return default().resolve(x)
        case Handle() | Receipt() | Workflow() | File():
            return x.cid
        case Run():
            return x.workflow.cid
        case Module():
            return x._cid  # noqa: SLF001 - a module shows its functions and nothing else
        case _:
            raise NotFound(f"expected a handle, receipt, run, workflow, module, file or CID, found {type(x).__name__}")


def handle_of(x: Any) -> Handle:
    """Return the handle of the task that a person named."""
    session = default()
    return x if isinstance(x, Handle) else session.handle(session.instruction_of(cid_of(x)))


def thing_of(x: Any) -> Any:
    """Return what a person named as something that provenance knows: an object of theirs, or a CID.

    Raises:
        NotFound: It is nothing that came of something.
    """
    if isinstance(x, Promised):
        return x.handle
    return x if isinstance(x, Handle | Run | Workflow | Receipt | File) else cid_of(x)


@contextlib.contextmanager
def told_on_terminal(before: Callable[[], str] = str) -> Iterator[Callable[[str], None]]:
    """Give a way to show one line of progress, on a terminal alone; fetches show themselves in it too."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    resources = default().resources

    def tell(line: str) -> None:
        print(f"\r\x1b[K{before()} {line}"[:120], end="", file=sys.stderr, flush=True)

    resources.watch = lambda told: tell(f"{size(told.done)} of {printable(told.name, limit=70)}")
    try:
        yield tell
    finally:
        resources.watch = None
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
