"""One little program in Python and in Zig, the edits that are made to it, and three ways to remember its answers.

`ask_*` are called in fresh processes, before an edit and after it. Each returns what it was told, whether the function
ran for it, and what the program as it stands truly gives: an answer that somebody remembers can be held against that.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict

from tests.benchmarks.engine import STORE
from tests.benchmarks.rivals import with_diskcache, with_joblib

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.rivals import Memoised

PYTHON: Final = """\
RAN = []
FACTOR = 3


def helper(x):
    return x + 1


def work(x):
    RAN.append(x)
    return helper(x) * FACTOR
"""

ZIG: Final = """\
//| wit export work: func(x: u32) -> u32;

const FACTOR = 3;

fn helper(x: u32) u32 {
    return x + 1;
}

pub fn work(x: u32) u32 {
    return helper(x) * FACTOR;
}
"""


class Edit(NamedTuple):
    """What is changed between two questions.

    Attributes:
        what: It, in words.
        before: The text that is replaced, in either language; nothing is, if it is empty.
        after: The text that takes its place.
        argument: What is asked for after the edit. It is 10 before.
        limit: Seconds that the task may take after the edit; None leaves that as it was.
    """

    what: str
    before: str = ""
    after: str = ""
    argument: int = 10
    limit: float | None = None


EDITS: Final = (
    Edit("nothing changed"),
    Edit("a helper changed", "x + 1", "x + 2"),
    Edit("a constant changed", "FACTOR = 3", "FACTOR = 4"),
    Edit("the function itself changed", "return helper(x) * FACTOR", "return helper(x) * FACTOR + 1"),
    Edit("an argument changed", argument=11),
    Edit("a limit changed", limit=30),
)

Engine = Literal["joblib", "diskcache", "ipvm"]
ENGINES: Final[tuple[Engine, ...]] = ("joblib", "diskcache", "ipvm")


class Told(TypedDict):
    """What came of a question.

    Attributes:
        value: The answer, or None if it was refused.
        ran: Whether the function ran for it.
        truth: What the program gives that stands there now.
    """

    value: int | None
    ran: bool
    truth: int


def write(folder: str, edit: Edit | None = None) -> None:
    """Write the program in both languages, as it is before an edit or after it."""
    for name, source in (("work.py", PYTHON), ("work.zig", ZIG)):
        text = source
        if edit is not None and edit.before:
            assert source.count(edit.before) == 1, f"{name} has no one place for: {edit.what}"
            text = source.replace(edit.before, edit.after)
        (Path(folder) / name).write_text(text, encoding="utf-8")


def ask_joblib(folder: str, argument: int, limit: float | None) -> Told:
    """Ask the Python program, as joblib remembers it."""
    return _ask(with_joblib, folder, argument, limit)


def ask_diskcache(folder: str, argument: int, limit: float | None) -> Told:
    """Ask the Python program, as diskcache remembers it."""
    return _ask(with_diskcache, folder, argument, limit)


def _ask(memoise: Callable[[Any, str], Memoised], folder: str, argument: int, limit: float | None) -> Told:
    assert limit is None, "nobody can tell it of a limit"
    sys.dont_write_bytecode = True  # an edit within a second that keeps the length would meet the bytecode of before
    sys.pycache_prefix = None
    sys.path.insert(0, folder)
    program = importlib.import_module("work")
    value = memoise(program.work, folder)(argument)
    ran = bool(program.RAN)
    return Told(value=value, ran=ran, truth=program.work(argument))


def ask_ipvm(folder: str, argument: int, limit: float | None) -> Told:
    """Ask the Zig program, built as `%%wasm` builds it. The truth is a session's that remembers nothing."""
    from ipvm_kernel import Session
    from ipvm_kernel.errors import IpvmError

    source = (Path(folder) / "work.zig").read_text(encoding="utf-8")
    with Session(None) as forgetful:
        truth = forgetful.build(source, lang="zig").work(argument).result()
    with Session(Path(folder) / STORE) as session:
        work = session.build(source, lang="zig").work
        before = _computed(session)
        try:
            value = (work if limit is None else work.with_options(time=limit))(argument).result()
        except IpvmError:
            value = None
        return Told(value=value, ran=_computed(session) > before, truth=truth)


def _computed(session: Any) -> int:
    """Return how often the journal has it that the function ran."""
    return sum(entry.how == "computed" for entry in session.store.journal(func="work", limit=1000))


ASK: Final[dict[Engine, Callable[[str, int, float | None], Told]]] = {
    "joblib": ask_joblib,
    "diskcache": ask_diskcache,
    "ipvm": ask_ipvm,
}
