"""Handles: Python objects that stand for answers. Call them into other tasks, or ask for their value.

A handle is made without running anything. It knows its task and the handles that went into it, so a whole pipeline is
let go of when nobody holds its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ipvm_kernel.errors import (
    BrokenPromise,
    Cancelled,
    GuestError,
    GuestTrap,
    HandleUsedAsValue,
    IpvmError,
    LimitHit,
    Skipped,
    TaskFailed,
)
from ipvm_kernel.ipld import CID, FileBytes, Ipld, NumberList
from ipvm_kernel.model import Promise, Receipt, Workflow
from ipvm_kernel.notebook import current_cell
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.wasm import saving
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.plain import plain
from ipvm_kernel.wasm.wire import message_of, sides

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.engine.answers import Answer
    from ipvm_kernel.model import Branch, Instruction, Task
    from ipvm_kernel.runs import Run


class Home(Protocol):
    """What a handle asks of its session."""

    def answer_for(self, handle: Handle, *, timeout: float | None, rerun: bool) -> Answer:
        """Run what is not on file and return the handle's answer."""

    def run_of(self, handle: Handle) -> Run:
        """Return a run of the handle's pipeline, not begun."""

    def answered(self, instruction: CID) -> Answer | None:
        """Return the answer of an instruction that this session has met, or None. Nothing runs."""

    def known(self, instruction: CID, invocation: CID | None = None) -> Receipt | None:
        """Return the receipt that answers an instruction, or what came of an invocation in this session, or None."""

    def known_many(self, instructions: list[CID]) -> dict[CID, Receipt]:
        """Return the receipts that answer some instructions. Nothing runs."""

    def count_known(self, instructions: list[CID]) -> int:
        """Return how many of some instructions have a receipt that would be replayed. Nothing runs."""

    def cancel(self, instruction: CID) -> bool:
        """Stop the run that works on an instruction, if one does."""

    def load(self, cid: CID) -> Ipld | FileBytes:
        """Return what a link means; the bytes of a large file may stay in it."""

    def keep_tasks(self, tasks: Iterable[Task]) -> None:
        """Put the blocks of some tasks in the store, so that other processes too find them by their CIDs."""


class Handle:
    """The answer of a task, now or later.

    `result()` or `await` gives the value, running only what has no receipt on file. Showing a handle never runs anything.
    """

    __slots__ = ("__weakref__", "_home", "_parents", "_signature", "cell", "task")

    __array_ufunc__ = None  # so that numpy's operators let ours say what to do

    def __init__(
        self, home: Home, task: Task, signature: wit.Signature | None, parents: tuple[Handle, ...] = ()
    ) -> None:
        self._home = home
        self.task = task
        self._signature = signature
        self._parents = parents
        self.cell = current_cell()

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def instruction(self) -> Instruction:
        """What is to be done."""
        return self.task.run

    @property
    def cid(self) -> CID:
        """The CID of the instruction."""
        return self.task.run.cid

    @property
    def signature(self) -> wit.Signature | None:
        """The WIT signature of the function, if its module is known."""
        return self._signature

    @property
    def workflow(self) -> Workflow:
        """This task and all that lead to it, as a workflow."""
        return Workflow.of(handle.task for handle in lineage([self]))

    @property
    def error(self) -> Promised:
        """The promise of this task's error, for a task that wants it; that task is skipped if this one succeeds."""
        return Promised(self, "error")

    @property
    def outcome(self) -> Promised:
        """The promise of this task's outcome, value or error."""
        return Promised(self, "*")

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def receipt(self) -> Receipt | None:
        """The receipt on file, or what came of this very task in this session; else None. Never runs anything."""
        return self._home.known(self.cid, self.task.invocation.cid)

    def done(self) -> bool:
        """Return True if there is an answer. Never runs anything."""
        return self.receipt is not None

    def result(self, timeout: float | None = None, *, rerun: bool = False) -> Any:
        """Return the value, running only what has no receipt on file.

        Args:
            timeout: Seconds to wait at most.
            rerun: Run this task although its receipt is on file, and compare.

        Raises:
            TaskFailed: It has no ok value; the subclass and the message say why.
            Divergence: A rerun gave another answer.
            TimeoutError: It is not there in time.
        """
        return self._value(self._home.answer_for(self, timeout=timeout, rerun=rerun))

    def exception(self, timeout: float | None = None) -> TaskFailed | None:
        """Return the error that `result` would raise, or None."""
        try:
            self.result(timeout)
        except TaskFailed as error:
            return error
        return None

    def __await__(self) -> Generator[Any, None, Any]:
        answer = self._home.answered(self.cid)
        if answer is None:
            run = self._home.run_of(self)
            _ = yield from run.__await__()
            answer = run.answer(self.cid)
        if answer is None:  # stopped before anything was planned
            raise Cancelled(f"{self._name} was stopped before it ended. Ask again to go on", instruction=self.cid)
        return self._value(answer)

    def cancel(self) -> bool:
        """Stop the run that works on this task. Return True if there was one."""
        return self._home.cancel(self.cid)

    def _value(self, answer: Answer) -> Any:
        """Return the plain value of an answer, or raise what it says."""
        if answer.receipt is not None:
            return self._value_of(answer.receipt, answer.value)
        if answer.how == "skipped":
            raise Skipped(f"{self._name} was not run: it awaits an error, and there was none", instruction=self.cid)
        raise Cancelled(f"{self._name} was stopped before it ended. Ask again to go on", instruction=self.cid)

    @property
    def _name(self) -> str:
        return f"{printable(self.instruction.func, limit=80)} ({self.cid.short})"

    def _value_of(self, receipt: Receipt, unnamed: Any = None) -> Any:
        if not receipt.ok:
            raise failed(self._name, receipt.error, self.cid, unnamed)
        kind = self._signature.result if self._signature is not None else None
        if isinstance(kind, wit.Result):
            side, payload = sides(receipt.value)
            inner = kind.err if side else kind.ok
            value = None if inner is None else plain(inner, payload, self._home.load)
            if side:
                shown = printable(value if isinstance(value, str) else repr(value), limit=500)
                raise GuestError(f"{self.instruction.func}: {shown}", value=value, instruction=self.cid)
            return value
        return plain(kind, receipt.value, self._home.load)

    def save(self, path: str | Path) -> Path:
        """Write the value to a file as it is: bytes as bytes, text as text, anything else as DAG-JSON. Return where."""
        return saving.save(self.result(), path)

    # --- other libraries' values --------------------------------------------------------------------------------------

    def to_numpy(self) -> Any:
        """Return the value as a numpy array."""
        return saving.to_numpy(self.result(), self._signature)

    def to_pandas(self) -> Any:
        """Return the value as a pandas Series (a list) or DataFrame (records)."""
        return saving.to_pandas(self.result())

    def to_image(self) -> Any:
        """Return the value, the bytes of a picture, as a PIL image."""
        return saving.to_image(self.result())

    # --- how it behaves in Python -------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        name = f"{printable(self.instruction.func, limit=80)} {self.cid.short}"
        receipt = self.receipt
        if receipt is None:
            around = [handle.cid for handle in lineage([self])]
            known = self._home.count_known(around)
            return f"<{name}: not run: {plural(len(around), 'task')}, {known:,} on file>"
        try:
            return f"<{name}: {brief(self._value_of(receipt))}>"
        except IpvmError as error:
            return f"<{name}: failed: {error}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.cid == other.cid

    def __hash__(self) -> int:
        return hash(self.cid)

    def __reduce__(self) -> tuple[Callable[[str], Handle], tuple[str]]:
        self._home.keep_tasks(handle.task for handle in lineage([self]))
        return restored, (str(self.cid),)

    def __copy__(self) -> Handle:
        return self

    def __deepcopy__(self, memo: object) -> Handle:
        return self

    def _refuse(self, what: str) -> NoReturn:
        raise HandleUsedAsValue(
            f"{what} a handle: {printable(self.instruction.func, limit=60)} ({self.cid.short}) stands for an answer that may "
            f"not be there yet. Pass it to another task, or write .result() or `await` to get its value"
        )

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"a handle has no {printable(name, limit=60)!r}. If its value has: handle.result().{printable(name, limit=60)}"
        )

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse("cannot format")
        return repr(self)

    def __bool__(self) -> bool:  # noqa: PLE0304 - it refuses, as the three below
        self._refuse("cannot test")

    def __len__(self) -> int:  # noqa: PLE0303
        self._refuse("cannot take the length of")

    def __iter__(self) -> Iterator[Any]:
        self._refuse("cannot iterate")

    def __contains__(self, item: object) -> bool:
        self._refuse("cannot look into")

    def __getitem__(self, key: object) -> Any:
        self._refuse("cannot index")

    def __array__(self, *_: Any, **__: Any) -> Any:
        self._refuse("cannot make an array of")

    def __float__(self) -> float:
        self._refuse("cannot convert")

    def __int__(self) -> int:
        self._refuse("cannot convert")

    def __index__(self) -> int:  # noqa: PLE0305
        self._refuse("cannot index with")

    def _arithmetic(self, *_: object) -> Any:
        self._refuse("cannot calculate with")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _arithmetic
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _arithmetic
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __lshift__ = __rlshift__ = _arithmetic
    __rshift__ = __rrshift__ = __neg__ = __pos__ = __abs__ = __invert__ = _arithmetic
    __lt__ = __le__ = __gt__ = __ge__ = _arithmetic


class Promised:
    """The error of a task, or its outcome, as the argument of another."""

    __slots__ = ("branch", "handle")

    def __init__(self, handle: Handle, branch: Branch) -> None:
        self.handle = handle
        self.branch = branch

    @property
    def promise(self) -> Promise:
        """The promise on the wire."""
        return Promise(self.branch, self.handle.cid)

    def __repr__(self) -> str:
        what = {"error": "the error", "*": "the outcome"}.get(self.branch, "the value")
        return f"<{what} of {printable(self.handle.instruction.func, limit=80)} {self.handle.cid.short}>"


class File:
    """A link to bytes: what `ipvm.file` gives. As an argument it means its content."""

    __slots__ = ("cid", "name", "size")

    def __init__(self, cid: CID, name: str = "", length: int | None = None) -> None:
        self.cid = cid
        self.name = name
        self.size = length

    def __repr__(self) -> str:
        about = [printable(self.name, limit=200)] if self.name else []
        about += [size(self.size)] if self.size is not None else []
        return f"<File {', '.join([*about, str(self.cid)])}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, File) and self.cid == other.cid

    def __hash__(self) -> int:
        return hash(self.cid)


def lineage(ends: list[Handle]) -> list[Handle]:
    """Return some handles and all that lead to them, each task once, those awaited before those who await."""
    seen: set[CID] = set()
    order: list[Handle] = []
    pending: list[tuple[Handle, bool]] = [(handle, False) for handle in reversed(ends)]
    while pending:
        handle, expanded = pending.pop()
        if expanded:
            order.append(handle)
            continue
        if handle.cid in seen:
            continue
        seen.add(handle.cid)
        pending.append((handle, True))
        pending.extend((parent, False) for parent in reversed(handle._parents))  # noqa: SLF001 - of this module
    return order


def failed(name: str, payload: Ipld, instruction: CID, unnamed: Any = None) -> TaskFailed:
    """Return the exception for the payload of an error receipt (RULES 5); `unnamed` is a value that no CID can name."""
    kind = payload.get("kind") if isinstance(payload, dict) else None
    message = f"{name} failed: {printable(str(message_of(payload)))}"
    match kind:
        case "trap":
            return GuestTrap(message, instruction=instruction, error=payload)
        case "limit":
            hint = ". Give it more with .with_options(fuel=..., memory=..., time=...)"
            return LimitHit(message + hint, instruction=instruction, error=payload)
        case "broken-promise":
            return BrokenPromise(
                f"{name}: {printable(str(message_of(payload)))}", instruction=instruction, error=payload
            )
        case "unencodable":
            hint = ". It is the `value` of this exception"
            return TaskFailed(message + hint, instruction=instruction, error=payload, value=unnamed)
        case _:
            return TaskFailed(message, instruction=instruction, error=payload)


def brief(value: object) -> str:
    """Return a value in a few words."""
    if isinstance(value, bytes):
        return f"{size(len(value))} of bytes"
    if isinstance(value, list | NumberList) and len(value) > 20:
        return f"[{', '.join(printable(repr(item), limit=40) for item in value[:5])}, …] ({len(value):,} items)"
    return printable(repr(value), limit=400)


_restore: Callable[[str], Handle] | None = None


def restored(cid: str) -> Handle:
    """Return the handle that was pickled as a CID, in the default session."""
    if _restore is None:
        raise IpvmError("a pickled handle can be read once a session is there: import ipvm")
    return _restore(cid)


def restore_with(restore: Callable[[str], Handle]) -> None:
    """Say how a pickled handle is found again."""
    global _restore  # the session above sets it
    _restore = restore
