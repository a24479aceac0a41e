"""People: each with a home of their own. What they share goes from hand to hand as an archive, a file."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ipvm_kernel.session import Session, shares
from ipvm_kernel.session.arriving import load_archive
from ipvm_kernel.store import EVERY
from tests.guests import NUMBERS
from tests.sharing.samples import code, printed, shown
from tests.sharing.samples import notebook as notebook_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.session import Module
    from ipvm_kernel.sharing.unpacking import Arrival
    from ipvm_kernel.trust import Key, Policy


class Held(NamedTuple):
    """All that a home holds and tells, to be compared before and after something that must leave it as it was."""

    cids: frozenset[CID]
    pins: dict[str, CID]
    journal: int
    receipts: int
    attestations: int


class Person:
    """Somebody with a home.

    Attributes:
        folder: What is theirs; `home` in it is the store.
        session: A session on it.
    """

    def __init__(self, folder: Path, *, code: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.session = Session(folder / "home", code=code)

    @property
    def key(self) -> Key:
        """Their key, made if need be."""
        found = shares.identity(self.session, create=True)
        assert found is not None
        return found

    @property
    def policy(self) -> Policy:
        """Whom they trust."""
        return self.session.policy

    def numbers(self) -> Module:
        """Functions of scalars."""
        return self.session.module(NUMBERS, "numbers")

    # --- what they do ---

    def notebook(self, *cells: Sequence[Handle], name: str = "study.ipynb") -> Path:
        """Run some cells, each with its handles as one workflow, and save the notebook that they make."""
        made = [code("%load_ext ipvm\nimport ipvm", ident="load")]
        for number, handles in enumerate(cells, 1):
            run = self.session.run(list(handles)).wait()
            told = shown({"text/plain": f"{len(handles)} tasks"}, named(run))
            made.append(code(f"%%ipvm\nstep({number})", told, ident=f"step-{number}"))
        made.append(code("print('three')", printed("three\n"), ident="python"))
        path = self.folder / name
        path.write_bytes(notebook_of(*made))
        return path

    def share(self, what: Path | CID, **options: Any) -> Path:
        """Share something, and return its archive."""
        signed = options.pop("signed", True)
        offer = shares.prepare(self.session, what, **options)
        made = shares.seal(self.session, offer, signed=signed)
        target = self.folder / offer.file_name
        shares.write_archive(self.session, made.cid, target)
        return target

    def load(self, archive: Path, *, trust: bool = False) -> Arrival:
        """Bring an archive in."""
        return load_archive(self.session, archive, trust=trust)

    def open(self, archive: Path, name: str = "opened") -> Path:
        """Open a shared notebook, and return where it was written."""
        root, _ = shares.arrive(self.session, archive)
        return shares.write_notebook(self.session, root, self.folder / name).notebook

    def run(self, *handles: Handle) -> dict[str, int]:
        """Run handles as one workflow, and return how many tasks ended in which state."""
        self.session.take_tally()
        for _ in self.session.run(list(handles)):
            pass
        return {state: count for state, count in self.session.take_tally().counts.items() if count}

    def ran(self) -> int:
        """Return how many tasks were ever run in their home."""
        return sum(entry.how in {"computed", "failed"} for entry in self.session.store.journal(limit=EVERY))

    def held(self) -> Held:
        """Return what their home holds now."""
        store = self.session.store
        store.sync()
        receipts = [entry.receipt for entry in store.journal(limit=EVERY) if entry.receipt is not None]
        return Held(
            frozenset(store.cids()),
            store.pins(),
            len(store.journal(limit=EVERY)),
            store.usage().receipts,
            sum(len(found) for found in store.attestations(receipts).values()),
        )

    def close(self) -> None:
        """Let go of the home."""
        self.session.close()


@contextlib.contextmanager
def people(folder: Path, *names: str) -> Iterator[list[Person]]:
    """Give people of these names, who share nothing but compiled code: their machines are alike."""
    made = [Person(folder / name, code=folder / "code") for name in names]
    try:
        yield made
    finally:
        for person in made:
            person.close()


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Person]:
    """
    Somebody who is honest, and shares.
    """
    with people(tmp_path, "alice") as (made,):
        yield made


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Person]:
    """
    Somebody who reads, on a machine of the same kind.
    """
    with people(tmp_path, "bob") as (made,):
        yield made


def named(run: Any) -> dict[str, Any]:
    """Return the metadata of a run's output, as the footer writes it."""
    receipts = {str(cid): str(receipt) for cid, receipt in run.receipt_cids.items()}
    return {"ipvm": {"cell": "", "workflows": [str(run.workflow.cid)], "receipts": receipts}}


def outputs(path: Path) -> list[str]:
    """Return the text of every output of a notebook."""
    raw = json.loads(path.read_bytes())
    found = [output for cell in raw["cells"] for output in cell.get("outputs", [])]
    return ["".join(one.get("text") or one["data"]["text/plain"]) for one in found]
