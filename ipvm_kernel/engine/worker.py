"""What is done for one task: its promises are kept, an outcome is found or made, and a receipt is put on file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.engine.answers import Answer, Answers, Progress, State
from ipvm_kernel.engine.ops import Performed, Unprepared
from ipvm_kernel.errors import BadArgument, Divergence
from ipvm_kernel.ipld import encode
from ipvm_kernel.model import Awaited, Outcome, Promise, Receipt, failure, resolve
from ipvm_kernel.printable import printable
from ipvm_kernel.store import Entry, Filing
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.wire import sides

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.ipld import CID, Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.store import Claim, OnFile, Store
    from ipvm_kernel.wasm.stop import Stop


class _Skip(Exception):
    """The task awaits an error that did not happen."""


class _Broken(Exception):
    """The task awaits an answer that will not come."""

    def __init__(self, promise: Promise, detail: Ipld = None) -> None:
        super().__init__(promise.instruction)
        self.promise = promise
        self.detail = detail


class Attempt:
    """What a worker found: an outcome of its own, one to share, that another kernel is at it, or why it did nothing."""

    __slots__ = ("claim", "key", "performed", "shared", "why_not")

    def __init__(
        self,
        key: bytes | None = None,
        performed: Performed | None = None,
        shared: OnFile | None = None,
        claim: Claim | None = None,
        why_not: _Skip | _Broken | None = None,
    ) -> None:
        self.key, self.performed, self.shared, self.claim, self.why_not = key, performed, shared, claim, why_not


class Worker:
    """Does the tasks of one run; any number of threads may use it at once."""

    def __init__(
        self,
        plan: Plan,
        answers: Answers,
        progress: Progress,
        *,
        store: Store,
        ops: Mapping[str, Op],
        rerun: Collection[CID],
        run: int | None,
        declared: Mapping[CID, int],
    ) -> None:
        self._plan = plan
        self._answers = answers
        self._progress = progress
        self._store = store
        self._ops = ops
        self._rerun = rerun
        self._run = run
        self._declared = declared
        self._leaning: set[CID] = set()  # tasks of this run that were worked out from what others answered

    def attempt(self, cid: CID, task: Task, limits: Limits, stop: Stop) -> Attempt:
        """Share the outcome of an equal task, or claim the task and do it."""
        if stop.reason is not None:
            return _failed("cancelled", "stopped before it began")
        op = self._ops.get(task.run.op)
        if op is None:
            known = ", ".join(sorted(self._ops))
            return _failed("missing", f"no operation is called {task.run.op!r}; there are: {known}")
        try:
            provide = getattr(op, "provide", None)
            if provide is not None:
                provide(task.run, stop)
            prepared = op.prepare(task.run, resolve(task.run.input, self._promised))
        except _Skip as reason:
            return Attempt(why_not=reason)
        except _Broken as reason:
            return Attempt(why_not=_Skip() if self._is_not_needed(task) else reason)
        except Unprepared as error:
            return Attempt(performed=Performed(error.outcome, filed=False, report=Report()))
        except Exception as error:  # noqa: BLE001 - as below
            return _failed("host", _said(task, error))
        claim: Claim | None = None
        if cid not in self._rerun and cid not in self._plan.expected:
            claim = self._store.claim(prepared.key)
            shared = self._store.outcome(prepared.key)
            if shared is not None and shared.here:
                return Attempt(prepared.key, shared=shared, claim=claim)
            if claim is None:
                return Attempt(prepared.key)
        try:
            return Attempt(prepared.key, op.perform(prepared, limits, stop), claim=claim)
        except Exception as error:  # noqa: BLE001 - what breaks an operation is no reason to stop the others
            return Attempt(prepared.key, _failed("host", _said(task, error)).performed, claim=claim)
        except BaseException:
            if claim is not None:
                claim.release()
            raise

    def _is_not_needed(self, task: Task) -> bool:
        """Return True if a task awaits an error that did not happen, whatever else it awaits has come to."""
        for promise in task.run.awaits:
            try:
                self._promised(promise)
            except _Skip:
                return True
            except (_Broken, Unprepared):
                continue
        return False

    def _promised(self, promise: Promise) -> Awaited:
        """Return what a promise has come to (RULES 4)."""
        cid = promise.instruction
        outcome = self._answers.outcome(cid)
        if outcome is None:
            raise _Skip if self._progress.state(cid) == "skipped" else _Broken(promise)
        failed, payload = outcome.tag == "error", outcome.value
        fallible = not failed and self._fallible(cid, payload)
        if fallible and promise.branch != "ok":
            side, payload = sides(payload)
            failed = side == 1
        match promise.branch:
            case "ok":
                if failed:
                    raise _Broken(promise)
                return Awaited(payload, "ok", fallible, cid)
            case "error":
                if not failed:
                    raise _Skip
                return Awaited(payload, "error", instruction=cid)
            case "*":
                return Awaited(["error" if failed else "ok", payload], "*", instruction=cid)

    def _fallible(self, cid: CID, payload: Ipld) -> bool:
        """Return True if a value on file is a `result<T, E>`, which its form alone does not tell."""
        task = self._plan.tasks.get(cid)
        run = task.run if task is not None else self._answers.instruction(cid)
        op = self._ops.get(run.op) if run is not None else None
        known = op.fallible(run) if op is not None and run is not None else None
        if known is None:
            try:
                sides(payload)
            except BadArgument:
                return False
            raise Unprepared(
                failure("missing", f"the module of {cid}, which it awaits, is not here to say what its answer means")
            )
        return known

    # --- what came of it ----------------------------------------------------------------------------------------------

    def answer(self, cid: CID, attempt: Attempt) -> Answer | None:
        """Return the answer of a task, its receipt on file if it may be; None if another kernel is at it."""
        task = self._plan.tasks[cid]
        try:
            match attempt:
                case Attempt(why_not=_Skip()):
                    return Answer(cid, None, "skipped")
                case Attempt(why_not=_Broken() as broken):
                    return self._blocked(cid, task, broken)
                case Attempt(shared=None, performed=None):
                    return None
                case Attempt(shared=None):
                    return self._performed(cid, task, attempt)
                case _:
                    return self._shared(cid, task, attempt)
        finally:
            if attempt.claim is not None:
                attempt.claim.release()

    def _shared(self, cid: CID, task: Task, attempt: Attempt) -> Answer:
        """Give a task the outcome of an equal one, in a receipt of its own."""
        source = attempt.shared
        assert source is not None
        receipt = source.receipt
        assert receipt is not None
        leans = self._leans(cid)
        if source.instruction != cid or (not source.admitted and not leans):
            receipt = receipt if source.instruction == cid else _receipt(task, receipt.out)
            entry = self._entry(cid, task)
            entry.how, entry.source, entry.seconds, entry.receipt = "shared", source.cid, source.seconds, receipt.cid
            said = self._store.logs([source.instruction]).get(source.instruction)
            entry.log = said.log if said is not None else ""
            self._store.file(Filing(task, receipt, attempt.key, entry, admitted=not leans))
        return Answer(cid, receipt, "replayed", saved=source.seconds, filed=True, leans=leans)

    def _leans(self, cid: CID) -> bool:
        """Return True if a task is worked out from what others answered, so that it is good as long as they are believed."""
        for other in self._plan.awaits[cid]:
            found = self._plan.replays.get(other)
            if other in self._leaning or (found is not None and not found.own):
                self._leaning.add(cid)
                return True
        return False

    def _performed(self, cid: CID, task: Task, attempt: Attempt) -> Answer:
        """Put a receipt on file, if every machine would give it, and return the answer."""
        performed = attempt.performed
        assert performed is not None
        outcome, report = performed.outcome, performed.report
        entry = self._entry(cid, task)
        entry.seconds, entry.fuel, entry.log, entry.engine = performed.seconds, report.fuel, report.log, report.engine
        error = outcome.value if outcome.tag == "error" else None
        if type(error) is dict:
            match error.get("kind"), error.get("detail"):
                case "cancelled", _:
                    return Answer(cid, None, "cancelled")
                case "broken-promise", {"instruction": culprit, "error": payload}:
                    return self._blocked(cid, task, _Broken(Promise("ok", culprit), payload))
            entry.how, entry.error = "failed", f"{error.get('kind')}: {error.get('message')}"
        receipt = _receipt(task, outcome)
        leans = self._leans(cid)
        if performed.filed:
            receipt = self._met(cid, receipt, entry)
            entry.receipt = receipt.cid
            self._store.file(Filing(task, receipt, attempt.key, entry, admitted=not leans))
        else:
            self._store.put(task.run.block)
            self._store.put(task.invocation.block)
            if entry.how == "computed":
                entry.how = "failed"
                entry.error = "limit: a memory limit may have changed the answer, so it is not filed"
            self._store.note(entry)
        how: State = "failed" if outcome.tag == "error" else "computed"
        return Answer(cid, receipt, how, performed.seconds, 0.0, report.log, performed.value, performed.filed, leans)

    def _entry(self, cid: CID, task: Task) -> Entry:
        return Entry(
            instruction=cid,
            func=task.run.func,
            rsc=task.run.rsc,
            how="computed",
            run=self._run,
            declared=self._declared.get(cid),
        )

    def _met(self, cid: CID, receipt: Receipt, entry: Entry) -> Receipt:
        """Return the receipt that was to be met, if one was: that of the first invocation, with the same outcome.

        Raises:
            Divergence: It has another.
        """
        expected = self._plan.expected.get(cid)
        if expected is None or expected.cid == receipt.cid:
            return receipt
        before = expected.receipt
        if before is not None:
            if encode(before.out.to_ipld()) == encode(receipt.out.to_ipld()):
                return before
        elif expected.ran is not None:  # dropped: asked for with other limits, it was another invocation
            again = Receipt(ran=expected.ran, out=receipt.out, meta=receipt.meta)
            if again.cid == expected.cid:
                return again
        entry.how, entry.error = "failed", f"divergence: {receipt.cid} where {expected.cid} is on file"
        self._store.note(entry)
        raise Divergence(
            f"{entry.func} ({cid.short}) gave {receipt.cid} where {expected.cid} is on file: equal tasks must give equal "
            f"answers. `ipvm why {cid.short}` shows when and by which engine"
        )

    def _blocked(self, cid: CID, task: Task, broken: _Broken) -> Answer:
        """Return the answer of a task that was not run because a promise is broken."""
        culprit = broken.promise.instruction
        other = self._plan.tasks.get(culprit)
        name = f"{other.run.func} ({culprit.short})" if other is not None else culprit.short
        payload: dict[str, Ipld] = {"instruction": culprit}
        if broken.detail is not None:
            payload["error"] = broken.detail
        outcome = failure("broken-promise", f"not run: {name}, which it awaits, failed", payload)
        return Answer(cid, _receipt(task, outcome), "blocked")


def _receipt(task: Task, outcome: Outcome) -> Receipt:
    return Receipt(ran=task.invocation.cid, out=outcome, meta={"op": task.run.func})


def _failed(kind: str, message: str) -> Attempt:
    return Attempt(performed=Performed(failure(kind, message), filed=False, report=Report()))


def _said(task: Task, error: Exception) -> str:
    """Return what broke an operation, on one line."""
    return f"{task.run.op} broke: {type(error).__name__}: {printable(str(error), limit=500)}"
