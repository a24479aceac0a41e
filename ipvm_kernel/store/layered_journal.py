"""Journal, pins and lineage of a store over layers, and how the layers are asked."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from ipvm_kernel.errors import IpvmError, StoreBusy, StoreError
from ipvm_kernel.printable import printable
from ipvm_kernel.store.lineage import EDGES, closure
from ipvm_kernel.store.records import LayerUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store.base import Store
    from ipvm_kernel.store.lineage import CellRecord, Edge
    from ipvm_kernel.store.records import Entry, RunRecord, Usage

K = TypeVar("K")
T = TypeVar("T")

_OF_THE_OWNER: Final = ("share/", "kubo/")
"""How the names of pins begin that say what their owner gave to others."""


class LayeredJournal:
    """The part of a store over layers that asks them, and remembers runs."""

    def __init__(self, own: Store, layers: Sequence[Store], left_out: Iterable[LayerUsage] = ()) -> None:
        self.own = own
        self.layers = list(layers)
        self._left = list(left_out)
        self._notices = [f"a layer is left out: {layer.why}" for layer in self._left]
        self._forgotten: set[CID] = set()  # instructions, and receipts of layers, that are not to be looked for there

    @property
    def where(self) -> str:
        """Where the own store is."""
        return self.own.where

    @property
    def notices(self) -> list[str]:
        """Things to be said once. Whoever shows them takes them out."""
        said = getattr(self.own, "notices", [])
        self._notices += said
        said.clear()
        return self._notices

    # --- asking the layers --------------------------------------------------------------------------------------------

    def _asked(self, ask: Callable[[Store], T], layers: Iterable[Store] | None = None) -> Iterator[tuple[Store, T]]:
        """Yield what each layer answers. One that is busy has no answer this time, and one that fails has none any more."""
        for layer in tuple(self.layers if layers is None else layers):
            try:
                found = ask(layer)
            except StoreBusy:
                continue
            except (StoreError, OSError) as error:
                self._leave(layer, error)
                continue
            yield layer, found

    def _leave(self, layer: Store, error: StoreError | OSError) -> None:
        if layer in self.layers:
            self.layers = [other for other in self.layers if other is not layer]
            why = error.message if isinstance(error, IpvmError) else printable(str(error), limit=300)
            self._left.append(LayerUsage(where=layer.where, why=why, left_out=True))
            self._notices.append(f"a layer is left out from now on: {why}")

    def _missing(
        self, found: dict[K, T], wanted: Iterable[K], ask: Callable[[Store, list[K]], dict[K, T]]
    ) -> dict[K, T]:
        """Add to what was found what the layers have of the rest, each asked once."""
        missing = [key for key in dict.fromkeys(wanted) if key not in found]
        if missing:
            for _, more in self._asked(lambda layer: ask(layer, missing)):
                for key, one in more.items():
                    found.setdefault(key, one)
        return found

    # --- looking around -----------------------------------------------------------------------------------------------

    def find(self, text: str, limit: int = 20) -> list[CID]:
        """Return the CIDs whose text, or short form, begins so."""
        found = dict.fromkeys(self.own.find(text, limit))
        if len(found) < limit:
            for _, more in self._asked(lambda layer: layer.find(text, limit)):
                found.update(dict.fromkeys(more))
        return list(islice(found, limit))

    def cids(self) -> Iterator[CID]:
        """Yield the CID of every block and file of the own store."""
        return self.own.cids()

    def usage(self) -> Usage:
        """Return what is held by the own store, and by each layer."""
        usage = self.own.usage()
        for layer, held in self._asked(lambda layer: layer.usage()):
            usage.layers.append(
                LayerUsage(
                    where=layer.where, own=counts(layer), why=getattr(layer, "strange", ""),
                    receipts=held.receipts, total_bytes=held.total_bytes,
                )
            )  # fmt: skip
        usage.layers += self._left
        return usage

    def sync(self) -> None:
        """Return once everything put so far is durable."""
        self.own.sync()

    def close(self) -> None:
        """Make everything durable, and let go of the files of all."""
        for layer in self.layers:
            layer.close()
        self.own.close()

    # --- the journal --------------------------------------------------------------------------------------------------

    def note(self, entry: Entry) -> None:
        """Add a line to the journal."""
        self.own.note(entry)

    def begin(self, run: RunRecord) -> int:
        """Add a run to the journal and return its number."""
        return self.own.begin(run)

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the latest runs that were made here."""
        return self.own.runs(limit)

    def run(self, ident: int) -> RunRecord | None:
        """Return a run by its number."""
        found = self.own.run(ident)
        if found is not None:
            return found
        return next((run for _, run in self._asked(lambda layer: layer.run(ident)) if run is not None), None)

    def journal(
        self,
        *,
        instruction: CID | None = None,
        func: str | None = None,
        run: int | None = None,
        before: CID | None = None,
        limit: int = 50,
    ) -> list[Entry]:
        """Return the latest lines of the journal that match: of what was done here.

        About one instruction, or one run, that is not known here, it is what a layer says.
        """

        def ask(store: Store) -> list[Entry]:
            return store.journal(instruction=instruction, func=func, run=run, before=before, limit=limit)

        found = ask(self.own)
        if found or (instruction is None and run is None):
            return found
        return next((entries for _, entries in self._asked(ask) if entries), [])

    def made(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return how the first receipt of each instruction was made."""
        wanted = list(instructions)
        return self._missing(self.own.made(wanted), wanted, lambda layer, missing: layer.made(missing))

    def logs(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return what guests said when the receipts of some instructions were made."""
        wanted = list(instructions)
        return self._missing(self.own.logs(wanted), wanted, lambda layer, missing: layer.logs(missing))

    def declare(self, cell: CellRecord) -> int:
        """Remember a cell and return its number."""
        return self.own.declare(cell)

    def cells(self, idents: Iterable[int]) -> dict[int, CellRecord]:
        """Return cells by their numbers."""
        wanted = list(idents)
        return self._missing(self.own.cells(wanted), wanted, lambda layer, missing: layer.cells(missing))

    def call(self, cid: CID, name: str) -> None:
        """Remember what a file or module was called."""
        self.own.call(cid, name)

    def called(self, cids: Iterable[CID]) -> dict[CID, list[str]]:
        """Return what files and modules were called."""
        wanted = list(cids)
        return self._missing(self.own.called(wanted), wanted, lambda layer, missing: layer.called(missing))

    def pin(self, name: str, cid: CID) -> None:
        """Keep what `cid` reaches, under a name, as far as the own store has it."""
        self.own.pin(name, cid)

    def unpin(self, name: str) -> CID | None:
        """Take a pin of the own store away and return what it held."""
        return self.own.unpin(name)

    def pins(self) -> dict[str, CID]:
        """Return all pins: one's own, and the names and places that layers know which count as one's own."""
        found = self.own.pins()
        for _, more in self._asked(lambda layer: layer.pins() if counts(layer) else {}):
            for name, cid in more.items():
                if not name.startswith(_OF_THE_OWNER):
                    found.setdefault(name, cid)
        return found

    # --- lineage ------------------------------------------------------------------------------------------------------

    def lineage(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what instructions and values came of."""
        return self._around(
            cids,
            limit,
            lambda store, cids: store.lineage(cids, limit),
            lambda edge: edge.target,
            lambda edge: edge.source,
        )

    def users(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what came of instructions, modules and values."""
        return self._around(
            cids,
            limit,
            lambda store, cids: store.users(cids, limit),
            lambda edge: edge.source,
            lambda edge: edge.target,
        )

    def _around(
        self,
        cids: Iterable[CID],
        limit: int,
        ask: Callable[[Store, list[CID]], list[Edge]],
        near: Callable[[Edge], CID],
        far: Callable[[Edge], CID],
    ) -> list[Edge]:
        """Return the edges that some CIDs lead to, from store to store and back, the nearest first."""
        roots = list(dict.fromkeys(cids))
        by_end: dict[CID, dict[Edge, None]] = {}
        known = dict.fromkeys(roots)
        asked: dict[int, set[CID]] = {}
        count, grown = 0, True
        while grown and count < limit * (1 + len(self.layers)):
            grown = False
            for store in (self.own, *self.layers):
                done = asked.setdefault(id(store), set())
                rest = [cid for cid in known if cid not in done]
                if not rest:
                    continue
                done.update(rest)
                if store is self.own:
                    edges = ask(store, rest)
                else:
                    edges = [edge for _, some in self._asked(partial(_turned, ask, rest), [store]) for edge in some]
                for edge in edges:
                    there = by_end.setdefault(near(edge), {})
                    count += edge not in there
                    there[edge] = None
                    for end in (near(edge), far(edge)):
                        if end not in known:
                            known[end] = None
                            grown = True
                        if len(edges) < limit:  # it has told all that it knows from here on
                            done.add(end)
        return closure(roots, lambda cid: by_end.get(cid, ()), far, limit)


def _turned(ask: Callable[[Store, list[CID]], list[Edge]], cids: list[CID], store: Store) -> list[Edge]:
    return ask(store, cids)


def counts(layer: Store) -> bool:
    """Return True if the receipts, names and places of a layer count as one's own."""
    return getattr(layer, "own", False) is True
