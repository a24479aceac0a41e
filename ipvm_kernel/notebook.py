"""The notebook as the engine sees it: which cell is running, and which handles were made in it. No Jupyter here.

Whoever runs cells says so through `in_cell`; whoever makes a handle tells `made`. Both go through context variables, so
that comprehensions, helper functions and threads of other cells are kept apart (RULES 9).
"""

from __future__ import annotations

import contextlib
import hashlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a notebook.

    Attributes:
        ident: Its id, or a hash of its source where no id arrives.
        source: Its source, shortened.
        count: Its execution count, or 0.
        notebook: The path of the notebook, if it is known.
    """

    ident: str = ""
    source: str = ""
    count: int = 0
    notebook: str = ""

    def __bool__(self) -> bool:
        return bool(self.ident)

    @classmethod
    def of(cls, source: str, *, ident: str | None = None, count: int = 0, notebook: str = "") -> Cell:
        """Return the cell with this source."""
        named = ident or "sha256-" + hashlib.sha256(source.encode("utf-8", "replace")).hexdigest()[:16]
        return cls(named, source[:SOURCE_CHARACTERS], count, notebook)


_NOWHERE: Final = Cell()
_cell: ContextVar[Cell | None] = ContextVar("ipvm_cell", default=None)
_made: ContextVar[list[Any] | None] = ContextVar("ipvm_made", default=None)
_everywhere: Cell | None = None


def current_cell() -> Cell:
    """Return the cell that is running, or an empty one outside a notebook."""
    return _cell.get() or _everywhere or _NOWHERE


def set_cell(cell: Cell | None) -> None:
    """Say which cell is running, for hosts that run one at a time and call before and after it."""
    global _everywhere
    _everywhere = cell


@contextlib.contextmanager
def in_cell(cell: Cell) -> Iterator[None]:
    """Say which cell is running, for the time of a `with` block."""
    token = _cell.set(cell)
    try:
        yield
    finally:
        _cell.reset(token)


@contextlib.contextmanager
def capture() -> Iterator[list[Any]]:
    """Gather the handles that are made inside the `with` block, those that are thrown away included."""
    gathered: list[Any] = []
    token = _made.set(gathered)
    try:
        yield gathered
    finally:
        _made.reset(token)


def begin_capture() -> list[Any]:
    """Gather handles from now on, for hosts whose code cannot stand in a `with` block; end it with `end_capture`."""
    gathered: list[Any] = []
    _made.set(gathered)
    return gathered


def end_capture() -> None:
    """Gather no more. Calling it twice, or without a beginning, does nothing."""
    _made.set(None)


def made(handle: Any) -> None:
    """Say that a handle was made."""
    gathered = _made.get()
    if gathered is not None:
        gathered.append(handle)
