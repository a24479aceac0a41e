"""What is different between two instructions, two receipts or two runs, down to the first input that differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, Ipld, dagjson
from ipvm_kernel.model import Instruction, Invocation, Promise
from ipvm_kernel.printable import printable, seconds, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ipvm_kernel.model import Receipt, Task
    from ipvm_kernel.store import Entry, Store

_DEEPEST: Final = 10_000  # promises followed down to the first input that differs
_LONGEST: Final = 100_000  # elements of two values compared
_SHOWN: Final = 60
_TRIED: Final = 50  # tasks of a run that are compared with their like

Names = Callable[[Instruction], Sequence[str]]


def nameless(_: Instruction) -> Sequence[str]:
    """Return no names: those of the parameters are not known."""
    return ()


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same in two.

    Attributes:
        what: What it is: "the argument x", "the module"; safe to show.
        a: What the first has, safe to show; "" if nothing.
        b: What the second has.
        through: The functions of the promises that lead there from the two, the outermost first.
        aside: Something that need not be the same and decides nothing, such as how long it took.
    """

    what: str
    a: str
    b: str
    through: tuple[str, ...] = ()
    aside: bool = False

    @property
    def place(self) -> str:
        """Where it is: the promises that lead there, then what it is."""
        shown = self.through if len(self.through) <= 6 else (*self.through[:3], "…", *self.through[-2:])
        return ": ".join((*shown, self.what))

    def told(self) -> str:
        """Return a sentence that calls the first the present and the second the past."""
        if not self.b or not self.a:
            return f"{self.place} is {'new' if not self.b else 'gone'}"
        return f"{self.place} is {self.a}; it was {self.b}"


class Diff(msgspec.Struct, kw_only=True):
    """Two tasks beside each other.

    Attributes:
        a: The instruction of the first.
        b: That of the second.
        funcs: Their functions.
        receipts: Their receipts on file.
        inputs: What is different among what goes in; empty if they are one instruction.
        outs: What is different between what came out.
        asides: What is different and decides nothing: limits, times, engines, cells.
    """

    a: CID
    b: CID
    funcs: tuple[str, str]
    receipts: tuple[CID | None, CID | None] = (None, None)
    inputs: list[Difference] = msgspec.field(default_factory=list)
    outs: list[Difference] = msgspec.field(default_factory=list)
    asides: list[Difference] = msgspec.field(default_factory=list)


class RunDiff(msgspec.Struct, kw_only=True):
    """Two workflows, or two runs, beside each other.

    Attributes:
        a: The workflow of the first.
        b: That of the second.
        same: How many tasks both have.
        only_a: Tasks that only the first has, in order: instruction and function.
        only_b: Those that only the second has.
        first: The first task of each that has no equal, and what is different between them; None if there is none.
        diverging: Tasks of both whose receipts say something else.
    """

    a: CID
    b: CID
    same: int = 0
    only_a: list[tuple[CID, str]] = msgspec.field(default_factory=list)
    only_b: list[tuple[CID, str]] = msgspec.field(default_factory=list)
    first: Diff | None = None
    diverging: list[Diff] = msgspec.field(default_factory=list)


def instruction(store: Store, cid: CID) -> Instruction | None:
    """Return an instruction that is in the store, or None."""
    try:
        return Instruction.from_block(store.get(cid), trusted=True)
    except IpvmError:
        return None


def differences(
    store: Store,
    now: Instruction,
    then: Instruction,
    names: Names = nameless,
    around: Mapping[CID, Instruction] | None = None,
) -> list[Difference]:
    """Return what is different between two instructions, promises followed down to the first input that differs.

    Args:
        store: Where instructions are.
        now: The first.
        then: The second.
        names: Gives the names of an instruction's parameters, or none.
        around: Instructions that may not be in the store yet.
    """
    through: tuple[str, ...] = ()

    def of(cid: CID) -> Instruction | None:
        return (around or {}).get(cid) or instruction(store, cid)

    for _ in range(_DEEPEST):
        told, deeper = _compare(now, then, names, through)
        if deeper is None:
            return told
        what, one, other = deeper
        after, before = of(one), of(other)
        if before is None or after is None:
            missing = one if after is None else other
            said = f"{what}, and the instruction {missing.short} is not here to say why"
            return [Difference(what=said, a=_answer(one), b=_answer(other), through=through)]
        called = printable(after.func, limit=40)
        through, now, then = (*through, f"{what}, awaited from {called}"), after, before
    return [Difference(what="… and further down", a=now.cid.short, b=then.cid.short, through=through)]


def _compare(
    now: Instruction, then: Instruction, names: Names, through: tuple[str, ...]
) -> tuple[list[Difference], tuple[str, CID, CID] | None]:
    """Return what is different here, or the one promise in which the difference lies."""
    told: list[Difference] = []
    deeper: tuple[str, CID, CID] | None = None

    def say(what: str, a: str, b: str) -> None:
        told.append(Difference(what=what, a=a, b=b, through=through))

    if now.rsc != then.rsc:
        say("the module", _module(now), _module(then))
    if now.func != then.func or now.op != then.op:
        say("the function", printable(now.func, limit=80), printable(then.func, limit=80))
    if now.nnc != then.nnc:
        say("the nonce", _nonce(now), _nonce(then))
    for what, one, other in _arguments(now, then, names(now)):
        if one is _GONE or other is _GONE:
            say(what, "" if one is _GONE else shown(one), "" if other is _GONE else shown(other))
            continue
        here, before = Promise.of(one), Promise.of(other)
        if here is not None and before is not None and here.branch == before.branch:
            if here.instruction != before.instruction:
                deeper = deeper or (what, here.instruction, before.instruction)
        else:
            found = first_difference(one, other)
            if found is not None:
                say(f"{what}{found[0]}", shown(found[1]), shown(found[2]))
    return told, deeper if not told else None


_GONE: Final = object()


def _arguments(now: Instruction, then: Instruction, names: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the arguments of both, or the fields of the input of something that is no Wasm function."""
    if _is_call(now) and _is_call(then):
        new, old = now.args, then.args
        for index in range(max(len(new), len(old))):
            name = f"the argument {names[index] if index < len(names) else index + 1}"
            yield name, new[index] if index < len(new) else _GONE, old[index] if index < len(old) else _GONE
        return
    new_fields, old_fields = _fields(now), _fields(then)
    for key in dict.fromkeys((*new_fields, *old_fields)):
        yield f"the input {printable(key, limit=40)}", new_fields.get(key, _GONE), old_fields.get(key, _GONE)


def _is_call(run: Instruction) -> bool:
    return type(run.input) is dict and run.input.keys() == {"func", "args"}


def _fields(run: Instruction) -> dict[str, Any]:
    return dict(run.input) if type(run.input) is dict else {"": run.input}


def first_difference(one: Ipld, other: Ipld) -> tuple[str, Ipld, Ipld] | None:
    """Return the path to the first place where two values differ, and what is there; None if they are the same.

    `1`, `1.0` and `True` are different. A value that is only in one of two is told by what holds it.

    >>> first_difference({"a": [1, 2]}, {"a": [1, 3]})
    ('.a[1]', 2, 3)
    """
    pending: list[tuple[str, Ipld, Ipld]] = [("", one, other)]
    for _ in range(_LONGEST):
        if not pending:
            return None
        path, a, b = pending.pop()
        if type(a) is not type(b):
            return path, a, b
        if type(a) is dict and type(b) is dict:
            if a.keys() != b.keys():
                return path, a, b
            pending.extend((f"{path}.{printable(key, limit=40)}", a[key], b[key]) for key in reversed(a))
        elif type(a) is list and type(b) is list:
            if len(a) != len(b):
                return path, a, b
            pending.extend((f"{path}[{n}]", a[n], b[n]) for n in reversed(range(len(a))) if a[n] is not b[n])
        elif a != b and not (a != a and b != b):  # noqa: PLR0124 - NaN
            return path, a, b
    return "", one, other


def diff(
    store: Store, a: Task, b: Task, names: Names = nameless, around: Mapping[CID, Instruction] | None = None
) -> Diff:
    """Return what is different between two tasks: what goes in, down to the first input; what came out; and the rest.

    Args:
        store: Where receipts and journal are.
        a: The first.
        b: The second.
        names: Gives the names of an instruction's parameters, or none.
        around: Instructions that may not be in the store yet.
    """
    made = Diff(a=a.run.cid, b=b.run.cid, funcs=(a.run.func, b.run.func))
    if a.run.cid != b.run.cid:
        made.inputs = differences(store, a.run, b.run, names, around)
    if a.meta != b.meta:
        made.asides.append(Difference(what="limits asked for", a=limits(a.meta), b=limits(b.meta), aside=True))
    on_file = store.on_file([a.run.cid, b.run.cid])
    first, second = on_file.get(a.run.cid), on_file.get(b.run.cid)
    made.receipts = (first.cid if first else None, second.cid if second else None)
    one = first.receipt if first is not None else None
    other = second.receipt if second is not None else None
    if one is not None and other is not None:
        made.outs = _outs(one, other)
    entries = store.made([a.run.cid, b.run.cid])
    here, there = entries.get(a.run.cid), entries.get(b.run.cid)
    if here is not None and there is not None and a.run.cid != b.run.cid:
        made.asides += _asides(here, there)
    return made


def diff_receipts(store: Store, a: Receipt, b: Receipt, tasks: tuple[Task, Task], names: Names = nameless) -> Diff:
    """Return what is different between two receipts, which may be of one instruction."""
    made = diff(store, *tasks, names)
    made.receipts = (a.cid, b.cid)
    made.outs = _outs(a, b)
    return made


def _outs(one: Receipt, other: Receipt) -> list[Difference]:
    if one.out.tag != other.out.tag:
        return [Difference(what="the outcome", a=_outcome(one), b=_outcome(other))]
    found = first_difference(one.out.value, other.out.value)
    if found is None:
        return []
    what = "the value" if one.ok else "the error"
    return [Difference(what=f"{what}{found[0]}", a=shown(found[1]), b=shown(found[2]))]


def _outcome(receipt: Receipt) -> str:
    return f"{receipt.out.tag} {shown(receipt.out.value)}"


def _asides(a: Entry, b: Entry) -> list[Difference]:
    pairs: list[tuple[str, Any, Any, Callable[[Any], str]]] = [
        ("how it came", a.how, b.how, str),
        ("time taken", a.seconds, b.seconds, seconds),
        ("fuel", a.fuel, b.fuel, lambda fuel: f"{fuel:,}"),
        ("engine", a.engine, b.engine, lambda name: printable(name, limit=80) or "none"),
    ]
    return [Difference(what=what, a=say(x), b=say(y), aside=True) for what, x, y, say in pairs if x != y]


def diff_runs(
    store: Store,
    a: tuple[CID, Mapping[CID, Task], Mapping[CID, CID]],
    b: tuple[CID, Mapping[CID, Task], Mapping[CID, CID]],
    names: Names = nameless,
) -> RunDiff:
    """Return what is different between two workflows or runs, down to the first input that differs.

    Args:
        store: Where instructions, receipts and journal are.
        a: The first: the CID of its workflow, its tasks by instruction, and the receipts that it gave.
        b: The second.
        names: Gives the names of an instruction's parameters, or none.
    """
    made = RunDiff(a=a[0], b=b[0], same=len(a[1].keys() & b[1].keys()))
    made.only_a = [(cid, task.run.func) for cid, task in a[1].items() if cid not in b[1]]
    made.only_b = [(cid, task.run.func) for cid, task in b[1].items() if cid not in a[1]]
    left = [task for cid, task in a[1].items() if cid not in b[1]]
    right = [task for cid, task in b[1].items() if cid not in a[1]]
    around = {cid: task.run for cid, task in (*a[1].items(), *b[1].items())}
    for task in left[:_TRIED]:  # the first that differs in itself, and not in what it awaits
        match = next((other for other in right if other.run.func == task.run.func), None)
        if match is not None:
            found = diff(store, task, match, names, around)
            made.first = made.first or found
            if found.inputs and not found.inputs[0].through:
                made.first = found
                break
    for cid in a[1].keys() & b[1].keys():
        one, other = a[2].get(cid), b[2].get(cid)
        if one is not None and other is not None and one != other:
            twice = Diff(a=cid, b=cid, funcs=(a[1][cid].run.func, b[1][cid].run.func), receipts=(one, other))
            twice.outs = [Difference(what="the receipt", a=one.short, b=other.short)]
            made.diverging.append(twice)
    return made


# --- values in a few words, safe to show ---


def limits(meta: Mapping[str, Any]) -> str:
    """Return what was asked for a task."""
    return ", ".join(f"{printable(str(k), limit=40)} {printable(str(v), limit=40)}" for k, v in meta.items()) or "none"


def meta_of(store: Store, ran: CID) -> dict[str, Any] | None:
    """Return what was asked for an invocation, or None if it is not here."""
    try:
        return Invocation.from_block(store.get(ran), trusted=True).task.meta
    except IpvmError:
        return None


def _nonce(run: Instruction) -> str:
    return run.nnc.hex() if isinstance(run.nnc, bytes) else repr(printable(run.nnc, limit=60))


def _module(run: Instruction) -> str:
    return run.module.short if run.module is not None else printable(run.rsc, limit=80)


def _answer(cid: CID) -> str:
    return f"the answer of {cid.short}"


def shown(value: Ipld, limit: int = _SHOWN) -> str:
    """Return a value in a few words, safe to show; the work is bounded whatever the value is."""
    promise = Promise.of(value)
    if promise is not None:
        return _answer(promise.instruction)
    match value:
        case CID():
            return f"the link {value.short}"
        case bytes() if len(value) > 16:
            return f"{size(len(value))} of bytes, beginning {value[:8].hex(' ')}"
        case str():
            said = printable(dagjson.dumps(value[:limit]), limit=8 * limit)
            return said if len(value) <= limit else f'{said[:-1]}…" ({len(value):,} characters)'
        case list() | dict() if len(value) > 20:
            return f"{len(value):,} items"
        case list() | dict():
            return printable(_flat(value, limit), limit=limit)
        case _:
            return printable(dagjson.dumps(value), limit=limit)


def _flat(value: Any, limit: int) -> str:
    """Return the beginning of a small list or map as text."""
    parts: list[str] = []
    room = limit
    for key, item in value.items() if type(value) is dict else enumerate(value):
        said = f"{printable(str(key), limit=20)}: " if type(value) is dict else ""
        said += shown(item, max(8, room // 2)) if type(item) not in {list, dict} else f"{len(item):,} items"
        parts.append(said)
        room -= len(said) + 2
        if room < 0:
            parts.append("…")
            break
    inside = ", ".join(parts)
    return f"{{{inside}}}" if type(value) is dict else f"[{inside}]"
