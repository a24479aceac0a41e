"""Places: the notebook cell that a line of the journal comes from, and how people say where and when something was made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import printable, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.store import Entry, Store


_LINE: Final = 80


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A notebook cell, as it was when a task was declared in it.

    Attributes:
        cell: Its id, or a hash of its source where no id arrived.
        count: Its execution count, or 0.
        notebook: The path of the notebook, or "".
        saved: The CID of the notebook as it was saved last before that, or None.
        source: The source of the cell, shortened.
        session: A name for the session.
    """

    cell: str
    count: int = 0
    notebook: str = ""
    saved: CID | None = None
    source: str = ""
    session: str = ""

    @property
    def file(self) -> str:
        """The name of the notebook, without its folders."""
        return self.notebook.replace("\\", "/").rsplit("/", 1)[-1]

    def line(self, func: str = "") -> str:
        """Return the line of the cell that calls a function, or its first; safe to show."""
        lines = [line for line in self.source.splitlines() if line.strip() and not line.startswith("%%")]
        calls = [line for line in lines if func and f".{func.replace('-', '_')}" in line]
        found = printable(next(iter(calls or lines), "").strip()[:_LINE], limit=_LINE)
        return found if len(found) < _LINE else f"{found[: _LINE - 1]}…"

    @property
    def short(self) -> str:
        """The cell and its notebook, safe to show."""
        count = f"cell [{self.count}]" if self.count else "a cell"
        return count + (f" of {printable(self.file, limit=120)}" if self.notebook else "")

    def told(self, func: str = "") -> str:
        """Return the cell in a few words, safe to show: its count, its notebook, and the line that calls a function."""
        line = self.line(func)
        return self.short + (f" `{line}`" if line else "")

    def data(self) -> dict[str, Ipld]:
        """Return the cell as an IPLD value."""
        return {
            "cell": printable(self.cell, limit=200), "count": self.count, "notebook": printable(self.notebook, limit=1000),
            "saved": self.saved, "source": printable(self.source, keep="\n\t"),
        }  # fmt: skip


def places_of(store: Store, entries: Iterable[Entry]) -> dict[CID, Place]:
    """Return the cell of each line of the journal that has one, by instruction: where the task was declared, else run."""
    known = list(entries)
    cells = store.cells({entry.declared for entry in known if entry.declared is not None})
    places: dict[int, Place | None] = {}
    found: dict[CID, Place] = {}
    for entry in known:
        place: Place | None = None
        cell = cells.get(entry.declared) if entry.declared is not None else None
        if cell is not None:
            place = Place(
                cell=cell.cell, count=cell.count, notebook=cell.notebook, saved=cell.saved, source=cell.source,
                session=cell.session,
            )  # fmt: skip
        elif entry.run is not None:
            if entry.run not in places:
                run = store.run(entry.run)
                places[entry.run] = (
                    Place(cell=run.cell, count=run.count, notebook=run.notebook, source=run.source, session=run.session)
                    if run is not None and run.cell
                    else None
                )
            place = places[entry.run]
        if place is not None:
            found[entry.instruction] = place
    return found


def place_of(store: Store, entry: Entry | None) -> Place | None:
    """Return the cell of a line of the journal, or None."""
    return None if entry is None else places_of(store, [entry]).get(entry.instruction)


def where(store: Store, entry: Entry | None) -> str:
    """Return ", from" and the cell of a line of the journal, or ""."""
    place = place_of(store, entry)
    return f", from {place.told(entry.func)}" if place is not None and entry is not None else ""


def when(at: float) -> str:
    """Return a time as people say it: how long ago, and when."""
    gone = time.time() - at
    clock = time.strftime("%H:%M:%S" if gone < 86_400 else "%Y-%m-%d %H:%M", time.localtime(at))
    return f"{seconds(max(gone, 0.0))} ago ({clock})"
