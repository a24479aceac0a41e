"""`python -m tests.benchmarks.stale`: who gives a stale answer after an edit. It prints the table of the README."""

from __future__ import annotations

import sys
import tempfile

from tests.benchmarks.edits import ASK, EDITS, ENGINES, Edit, Engine, Told, write
from tests.benchmarks.fresh import fresh
from tests.benchmarks.table import markdown, text

HEAD = ("between two runs", *ENGINES)


def verdict(before: Told, after: Told) -> str:
    """Return in a word what an edit led to. Only values and whether the function ran decide.

    >>> old = Told(value=33, ran=True, truth=33)
    >>> verdict(old, Told(value=36, ran=True, truth=36)), verdict(old, Told(value=33, ran=False, truth=36))
    ('new', 'stale')
    >>> verdict(old, Told(value=33, ran=False, truth=33)), verdict(old, Told(value=None, ran=False, truth=36))
    ('rightly replayed', 'refused')
    >>> verdict(old, Told(value=33, ran=True, truth=33)), verdict(old, Told(value=35, ran=True, truth=36))
    ('run again, needlessly', 'wrong')
    """
    if after["value"] is None:
        return "refused"
    if after["value"] != after["truth"]:
        return "stale" if after["value"] == before["value"] and not after["ran"] else "wrong"
    if not after["ran"]:
        return "rightly replayed"
    return "new" if after["truth"] != before["truth"] else "run again, needlessly"


def told(engine: Engine, edit: Edit) -> tuple[Told, Told]:
    """Ask in a process of its own, make one edit, and ask in another."""
    with tempfile.TemporaryDirectory(prefix="ipvm-stale-") as folder:
        write(folder)
        before = fresh(ASK[engine], folder, 10, None)
        assert before["ran"], f"{engine} knew an answer before it was asked"
        assert before["value"] == before["truth"], f"{engine} was wrong before anything changed"
        write(folder, edit)
        return before, fresh(ASK[engine], folder, edit.argument, edit.limit)


def row(edit: Edit) -> tuple[str, ...]:
    """Return the cells of an edit: who has no such thing to change has a dash."""
    asked = [engine if edit.limit is None or engine == "ipvm" else None for engine in ENGINES]
    return (edit.what, *("-" if engine is None else verdict(*told(engine, edit)) for engine in asked))


def main() -> int:
    """Ask everybody about every edit, and print the table twice: for Markdown and as it is."""
    rows = [row(edit) for edit in EDITS]
    print(markdown(rows, HEAD), text(rows, HEAD), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
