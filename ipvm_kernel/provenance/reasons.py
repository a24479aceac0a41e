"""Why a task is replayed or run: what is on file, what was there before, and what is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import plural, printable, seconds
from ipvm_kernel.provenance.comparing import Names, differences, instruction, limits, meta_of, nameless
from ipvm_kernel.provenance.places import when, where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipvm_kernel.model import Instruction, Task
    from ipvm_kernel.store import Entry, OnFile, Store

Verdict = Literal["hit", "miss", "uncacheable", "unverified"]

_EARLIER: Final = 50  # runs of the same function looked at for the nearest
_ATTEMPTS: Final = 20  # lines of the journal about one task


class Why(msgspec.Struct, kw_only=True):
    """What would happen to a task now, and because of what; and why it ran when it ran.

    Attributes:
        instruction: The task's instruction.
        func: Its function.
        verdict: Replayed (hit), run (miss), run again although it was run before (uncacheable), or shown but not used.
        reasons: One sentence each, the most telling first; safe to show.
        ran_because: Why it ran, and was not replayed, when its receipt was made; likewise.
        receipt: The receipt on file, if there is one.
        compared: The instruction that it was compared with, if one was.
    """

    instruction: CID
    func: str
    verdict: Verdict
    reasons: list[str] = msgspec.field(default_factory=list)
    ran_because: list[str] = msgspec.field(default_factory=list)
    receipt: CID | None = None
    compared: CID | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """A task that is asked about, and what is known besides: see `why`."""

    store: Store
    task: Task
    names: Names
    around: Mapping[CID, Instruction]


def why(store: Store, task: Task, names: Names = nameless, around: Mapping[CID, Instruction] | None = None) -> Why:
    """Return why a task is replayed or run.

    Args:
        store: Where receipts and journal are.
        task: The task.
        names: Gives the names of an instruction's parameters, or none.
        around: Instructions that it awaits, directly or not, which may not be in the store yet.
    """
    run = task.run
    told = Why(instruction=run.cid, func=run.func, verdict="miss")
    asked = _Question(store, task, names, around or {})
    found = store.on_file([run.cid]).get(run.cid)
    entries = store.journal(instruction=run.cid, limit=_ATTEMPTS)
    if found is not None:
        told.receipt = found.cid
        _on_file(asked, told, found, entries)
    elif entries:
        last = next((entry for entry in entries if entry.how != "loaded"), entries[0])
        verb = "brought here" if last.how == "loaded" else "run"
        told.verdict = "uncacheable"
        told.reasons.append(
            f"it was run {when(last.at)}{where(store, last)} and failed: {printable(last.error, limit=300)}"
            if last.error
            else f"it was {verb} {when(last.at)}{where(store, last)}, and its receipt was taken off file since"
        )
        told.reasons.append(_fate(last.error) if last.error else "what was forgotten is run again")
    else:
        told.reasons.append("it was never run here")
        told.reasons += _nearest(asked, told)
    return told


def _on_file(question: _Question, told: Why, found: OnFile, entries: list[Entry]) -> None:
    """Explain a receipt that is on file."""
    store, task = question.store, question.task
    made = store.made([found.instruction]).get(found.instruction)
    if made is not None and made.receipt != found.cid:
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
        f"its receipt {found.cid.short} is on file since {when(found.filed)}{took}{engine}{where(store, made)}"
    )
    if made is not None and made.how == "shared" and made.source is not None:
        told.reasons.append(
            f"nothing ran for it: an equal task had the receipt {made.source.short}, whose outcome it shares"
        )
    if not found.own:
        told.reasons.append("the receipt was made elsewhere and admitted by you")
    again = sum(entry.how == "computed" and entry.receipt == found.cid for entry in entries) - 1
    if again > 0:
        told.reasons.append(f"it was run {plural(again, 'time')} more, and gave the same receipt")
    for entry in entries:
        if entry.error.startswith("divergence"):
            told.reasons.append(
                f"{printable(entry.error, limit=300)}: it was run {when(entry.at)}{where(store, entry)}"
            )
    asked = meta_of(store, found.receipt.ran)
    if asked is not None and asked != task.meta:
        told.reasons.append(
            f"other limits were asked for then ({limits(asked)}) than now ({limits(task.meta)}): limits are no part of "
            "what names a task, so it is replayed, and rightly"
        )
    if made is not None and made.how == "computed":
        _ran_because(question, told, made, entries)


def _ran_because(question: _Question, told: Why, made: Entry, entries: list[Entry]) -> None:
    """Explain why it ran, and was not replayed, when its receipt was made."""
    failed = [entry for entry in entries if entry.error and entry.at < made.at and entry.receipt is None]
    if failed:
        last = failed[0]
        told.ran_because.append(
            f"it had failed before, {when(last.at)}{where(question.store, last)}: {printable(last.error, limit=200)}"
        )
        told.ran_because.append(_fate(last.error))
        return
    told.ran_because += _nearest(question, told, before=question.task.run.cid)


def _fate(error: str) -> str:
    """Say why a failure is not kept (RULES 5)."""
    kind = error.partition(":")[0]
    known = {
        "limit": "what a limit stopped is never kept: with more fuel, memory or time it may succeed, so it is run again",
        "unencodable": "a NaN by itself has no CID, so there is no receipt to replay: it is run again",
        "conversion": "an argument that did not fit is never kept: it is tried again",
        "missing": "what was missing may be there now: it is tried again",
    }
    return known.get(kind, "failures of this kind are never kept: it is tried again")


def _nearest(question: _Question, told: Why, before: CID | None = None) -> list[str]:
    """Explain a task that had not been run by what is different from the last one of the same function."""
    store, run = question.store, question.task.run
    for entry in store.journal(func=run.func, before=before, limit=_EARLIER):
        earlier = instruction(store, entry.instruction)
        if earlier is None or earlier.cid == run.cid:
            continue
        told.compared = earlier.cid
        last = f"the last {printable(run.func, limit=80)} ran {when(entry.at)}{where(store, entry)}, and since then:"
        return [last, *(found.told() for found in differences(store, run, earlier, question.names, question.around))]
    return [f"no task of the function {printable(run.func, limit=80)} was run before"]
