"""Provenance: why a task was, or will be, replayed or run, and because of what.

The answer comes from the store alone: receipts on file, the journal of what was run, and the blocks of instructions.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, Ipld, dagjson
from ipvm_kernel.model import Instruction, Invocation, Promise
from ipvm_kernel.printable import printable, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipvm_kernel.model import Task
    from ipvm_kernel.store import Entry, OnFile, RunRecord, Store

Verdict = Literal["hit", "miss", "uncacheable", "unverified"]

_DEEPEST: Final = 32  # promises followed down to the first input that differs
_EARLIER: Final = 50  # runs of the same function looked at for the nearest


class Why(msgspec.Struct, kw_only=True):
    """What would happen to a task now, and because of what.

    Attributes:
        instruction: The task's instruction.
        func: Its function.
        verdict: Replayed (hit), run (miss), run again although it was run before (uncacheable), or shown but not used.
        reasons: One sentence each, the most telling first.
        receipt: The receipt on file, if there is one.
        compared: The instruction that it was compared with, if there was no receipt.
    """

    instruction: CID
    func: str
    verdict: Verdict
    reasons: list[str] = msgspec.field(default_factory=list)
    receipt: CID | None = None
    compared: CID | None = None


def why(store: Store, task: Task, names: Sequence[str] = (), around: Mapping[CID, Instruction] | None = None) -> Why:
    """Return why a task is replayed or run.

    Args:
        store: Where receipts and journal are.
        task: The task.
        names: The names of its parameters, if they are known.
        around: Instructions that it awaits, directly or not, which may not be in the store yet.
    """
    run = task.run
    told = Why(instruction=run.cid, func=run.func, verdict="miss")
    found = store.on_file([run.cid]).get(run.cid)
    entries = store.journal(instruction=run.cid, limit=5)
    if found is not None:
        told.receipt = found.cid
        _on_file(store, told, task, found, entries)
    elif entries:
        last = entries[0]
        told.verdict = "uncacheable"
        told.reasons.append(
            f"it was run {_when(last.at)}{_where(store, last)} and failed: {printable(last.error, limit=300)}"
        )
        told.reasons.append(_fate(last.error))
    else:
        told.reasons.append("it was never run here")
        _nearest(store, told, run, names, around or {})
    return told


def _on_file(store: Store, told: Why, task: Task, found: OnFile, entries: list[Entry]) -> None:
    """Explain a receipt that is on file."""
    made = next((entry for entry in reversed(entries) if entry.receipt == found.cid), None)
    if not found.admitted:
        told.verdict = "unverified"
        told.reasons.append(
            "a receipt is here, and its origin is trusted, but nobody has said yet that it means the same here: that is looked at "
            "when the task is asked for"
            if found.trusted
            else "a receipt is here, but it came from elsewhere and was not admitted: it is shown, never used"
        )
        return
    if found.receipt is None:
        told.reasons.append(
            f"its value was dropped to make room; running it again must give the receipt {found.cid} that is on file"
        )
        return
    told.verdict = "hit"
    took = f", in {seconds(found.seconds)}" if found.seconds else ""
    engine = f" by {printable(made.engine, limit=80)}" if made is not None and made.engine else ""
    told.reasons.append(
        f"its receipt {found.cid.short} is on file since {_when(found.filed)}{took}{engine}{_where(store, made)}"
    )
    if made is not None and made.how == "shared" and made.source is not None:
        told.reasons.append(
            f"nothing ran for it: an equal task had the receipt {made.source.short}, whose outcome it shares"
        )
    if not found.own:
        told.reasons.append("the receipt was made elsewhere and admitted by you")
    asked = _meta_of(store, found.receipt.ran)
    if asked is not None and asked != task.meta:
        told.reasons.append(
            f"other limits were asked for then ({_limits(asked)}) than now ({_limits(task.meta)}): limits are no part of "
            "what names a task, so it is replayed, and rightly"
        )


def _meta_of(store: Store, ran: CID) -> dict[str, Any] | None:
    try:
        return Invocation.from_block(store.get(ran), trusted=True).task.meta
    except IpvmError:
        return None


def _limits(meta: dict[str, Any]) -> str:
    return ", ".join(f"{printable(str(k), limit=40)} {v}" for k, v in meta.items()) or "none"


def _fate(error: str) -> str:
    """Say why a failure is not kept (RULES 5)."""
    kind = error.partition(":")[0]
    known = {
        "limit": "what a limit stopped is never kept: with more fuel, memory or time it may succeed, so it will be run again",
        "unencodable": "a NaN by itself has no CID, so there is no receipt to replay: it will be run again",
        "conversion": "an argument that did not fit is never kept: it will be tried again",
        "missing": "what was missing may be there now: it will be tried again",
    }
    return known.get(kind, "failures of this kind are never kept: it will be tried again")


def _nearest(
    store: Store, told: Why, run: Instruction, names: Sequence[str], around: Mapping[CID, Instruction]
) -> None:
    """Explain a task that was never run by what is different from the last one of the same function."""
    for entry in store.journal(func=run.func, limit=_EARLIER):
        earlier = _instruction(store, entry.instruction)
        if earlier is None or earlier.cid == run.cid:
            continue
        told.compared = earlier.cid
        told.reasons.append(
            f"the last {printable(run.func, limit=80)} ran {_when(entry.at)}{_where(store, entry)}, and since then:"
        )
        told.reasons.extend(differences(store, run, earlier, names, around))
        return
    told.reasons.append(f"no task of the function {printable(run.func, limit=80)} was run before")


def differences(
    store: Store,
    now: Instruction,
    then: Instruction,
    names: Sequence[str] = (),
    around: Mapping[CID, Instruction] | None = None,
) -> list[str]:
    """Return what is different between two instructions, promises followed down to the first input that differs."""
    told: list[str] = []
    path = ""
    for _ in range(_DEEPEST):
        found, deeper = _compare(now, then, names, path)
        told.extend(found)
        if deeper is None:
            return told
        place, one, other = deeper
        before, after = _instruction(store, other), (around or {}).get(one) or _instruction(store, one)
        if before is None or after is None:
            told.append(f"{place} awaits {one.short} instead of {other.short}, whose instructions are not here")
            return told
        path, now, then, names = f"{place}, awaited from {printable(after.func, limit=80)}: ", after, before, ()
    told.append("… and further down")
    return told


def _compare(
    now: Instruction, then: Instruction, names: Sequence[str], path: str
) -> tuple[list[str], tuple[str, CID, CID] | None]:
    """Return what is different here, or the one promise in which the difference lies."""
    told: list[str] = []
    deeper: tuple[str, CID, CID] | None = None
    if now.rsc != then.rsc:
        told.append(f"{path}the module is {_module(now)}; it was {_module(then)}")
    if now.func != then.func or now.op != then.op:
        told.append(f"{path}the function is {printable(now.func, limit=80)}; it was {printable(then.func, limit=80)}")
    if now.nnc != then.nnc:
        told.append(f"{path}the nonce is {now.nnc!r}; it was {then.nnc!r}")
    new, old = now.args, then.args
    for index in range(max(len(new), len(old))):
        name = f"the argument {names[index] if index < len(names) else index + 1}"
        if index >= len(new) or index >= len(old):
            told.append(f"{path}{name} is {'new' if index >= len(old) else 'gone'}")
            continue
        one, other = new[index], old[index]
        if _same(one, other):
            continue
        here, before = Promise.of(one), Promise.of(other)
        if here is not None and before is not None and here.branch == before.branch:
            deeper = deeper or (f"{path}{name}", here.instruction, before.instruction)
        else:
            told.append(f"{path}{name} is {_shown(one)}; it was {_shown(other)}")
    return told, deeper if not told else None


def _same(one: Ipld, other: Ipld) -> bool:
    return type(one) is type(other) and one == other


def _module(run: Instruction) -> str:
    return run.module.short if run.module is not None else printable(run.rsc, limit=80)


def _shown(value: Ipld) -> str:
    promise = Promise.of(value)
    if promise is not None:
        return f"the answer of {promise.instruction.short}"
    if type(value) is CID:
        return f"the link {value.short}"
    return printable(dagjson.dumps(value), limit=60)


def _instruction(store: Store, cid: CID) -> Instruction | None:
    try:
        return Instruction.from_block(store.get(cid), trusted=True)
    except IpvmError:
        return None


def _when(at: float) -> str:
    """Return a time as people say it: how long ago, and when."""
    clock = time.strftime("%H:%M:%S" if time.time() - at < 86_400 else "%Y-%m-%d %H:%M", time.localtime(at))
    gone = time.time() - at
    return f"{seconds(max(gone, 0.0))} ago ({clock})"


def _where(store: Store, entry: Entry | None) -> str:
    """Return which cell made an entry, or ""."""
    record = store.run(entry.run) if entry is not None and entry.run is not None else None
    func = entry.func if entry is not None else ""
    return f", from {cell_of(record, func)}" if record is not None and record.cell else ""


def cell_of(record: RunRecord, func: str = "") -> str:
    """Return a cell in a few words: its count, its notebook, and the line that calls the function, or its first."""
    lines = [line for line in record.source.splitlines() if line.strip() and not line.startswith("%%")]
    calls = [line for line in lines if func and f".{func.replace('-', '_')}" in line]
    first = next(iter(calls or lines), "")
    count = f"cell [{record.count}]" if record.count else "a cell"
    place = f" of {printable(record.notebook, limit=120)}" if record.notebook else ""
    return f"{count}{place}" + (f" `{printable(first.strip(), limit=60)}`" if first else "")
