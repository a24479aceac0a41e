"""Operations: what an instruction's `op` does.

An op prepares an instruction whose promises are kept, which decides its resolved key, and then performs it. Whatever a
guest does comes back as an outcome, and so do failures of the host that concern one task alone. Ops are found by name through the entry
points `ipvm.ops`, and the built-in ones register the same way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from ipvm_kernel.engine.resolved import canonical, key_of
from ipvm_kernel.errors import (
    BadArgument,
    BadModule,
    BrokenPromise,
    Cancelled,
    IpvmError,
    NotFound,
    ToolchainMissing,
    UnknownFunction,
)
from ipvm_kernel.model import WASM_RUN, Awaited, Instruction, Outcome, failure
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.limits import Kind, Limits, Report
from ipvm_kernel.wasm.lowering import lower, unwrap

if TYPE_CHECKING:
    from ipvm_kernel.exchange.resources import Resources
    from ipvm_kernel.ipld import CID, FileBytes, Ipld
    from ipvm_kernel.store import Store
    from ipvm_kernel.wasm.library import Library
    from ipvm_kernel.wasm.stop import Stop


_SIGNATURES: Final = 4096  # functions whose signatures an op remembers


class Means(msgspec.Struct, frozen=True):
    """What a session gives an operation to work with; an op is made by calling its class with this.

    Attributes:
        store: Where blocks and files are.
        library: The Wasm modules.
        toolchain: Gives a toolchain by its name.
        resources: What brings in what is not in the store (`exchange.Resources`), or None where nothing may.
    """

    store: Any
    library: Any
    toolchain: Any
    resources: Any = None


class Prepared(msgspec.Struct):
    """An instruction ready to be performed.

    Attributes:
        instruction: The instruction.
        tree: Its input, each promise replaced by what was promised.
        key: Its resolved key, equal for every task that does the same (RULES 3).
        plan: What the op worked out on the way.
    """

    instruction: Instruction
    tree: Any
    key: bytes
    plan: Any = None


class Performed(msgspec.Struct):
    """How performing an instruction ended.

    Attributes:
        outcome: The answer.
        filed: True if it may be put on file: every machine would give it.
        report: What was seen besides.
        seconds: How long it took.
        value: The plain value of a result that no CID can name, for this session alone.
    """

    outcome: Outcome
    filed: bool
    report: Report
    seconds: float = 0.0
    value: Any = None


class Unprepared(Exception):
    """An instruction that cannot be performed; `outcome` says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome.value))
        self.outcome = outcome


class Op(Protocol):
    """One operation.

    One that needs more than the store has also has `provide(instruction, stop)`, which is called before `prepare`, where
    waiting is allowed, and raises what `prepare` raises.
    """

    name: str

    def fallible(self, instruction: Instruction) -> bool | None:
        """Return True if the instruction's answer is a `result<T, E>`, which promises unwrap; None if nobody here knows."""

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        """Return the instruction ready to run. Raises Unprepared."""

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        """Do it. A guest's failure is an outcome; this never raises for it."""


def plain(tree: Any) -> Any:
    """Return an input with values where promises stood, for operations that have no types of their own.

    Raises:
        Unprepared: It awaits an ok value of a function typed `result<T, E>`, which answered `err`.
    """
    if type(tree) is Awaited:
        try:
            return unwrap(wit.BOOL, tree)  # no result, so a pair is taken apart
        except BrokenPromise as error:
            raise Unprepared(_broken(error, tree.instruction)) from None
    if type(tree) is list:
        return [plain(item) for item in tree]
    if type(tree) is dict:
        return {key: plain(item) for key, item in tree.items()}
    return tree


def _broken(error: BrokenPromise, culprit: CID | None) -> Outcome:
    """Return what a task comes to that awaits an ok value where there is an `err`."""
    return failure("broken-promise", error.message, {"instruction": culprit, "error": error.error})


class WasmRun:
    """`wasm/run`: call a function of a module."""

    name = WASM_RUN

    def __init__(self, means: Means) -> None:
        self._store: Store = means.store
        self._library: Library = means.library
        self._resources: Resources | None = means.resources
        here: Resources | Store = means.resources or means.store
        self._read, self._open = here.read, here.open
        self._signatures: dict[tuple[CID, str], wit.Signature] = {}

    def fallible(self, instruction: Instruction) -> bool | None:
        """Return True if the function is typed `result<T, E>`, None if its module is not here."""
        try:
            return self.signature(instruction).fallible
        except IpvmError:
            return None

    def signature(self, instruction: Instruction) -> wit.Signature:
        """Return the signature of the function that an instruction calls.

        Raises:
            BadModule, NotFound, UnknownFunction, ToolchainMissing: It has none.
        """
        cid = self._module(instruction)
        called = (cid, instruction.func)
        known = self._signatures.get(called)
        if known is None:
            known = self._library.interface(cid, self._read).find(instruction.func)
            if len(self._signatures) >= _SIGNATURES:  # whoever wrote the tasks chose the names
                self._signatures.clear()
            self._signatures[called] = known
        return known

    def _module(self, instruction: Instruction) -> CID:
        """Return the CID of an instruction's module. Raises NotFound where its address is of a place nobody looked at."""
        cid = instruction.module
        if cid is None and self._resources is not None:
            cid = self._resources.module(instruction)
        if cid is None:
            raise NotFound(f"no module is called {instruction.rsc!r}: expected ipfs:// and a CID")
        return cid

    def provide(self, instruction: Instruction, stop: Stop) -> None:
        """Bring in the module and the content of links. Raises Unprepared."""
        if self._resources is None:
            return
        try:
            self._resources.provide(instruction, stop)
        except Cancelled as error:
            raise Unprepared(failure("cancelled", error.message)) from None
        except IpvmError as error:
            raise Unprepared(failure("missing", error.message)) from None

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        """Find the function and work out the resolved key."""
        try:
            signature = self.signature(instruction)
        except IpvmError as error:
            raise Unprepared(failure(_kind_of(error), error.message)) from None
        args = tree.get("args") if type(tree) is dict else None
        if type(args) is not list:
            raise Unprepared(failure("conversion", 'a task of wasm/run takes the input {"func": text, "args": list}'))
        if len(args) < len(signature.params):
            raise Unprepared(failure("conversion", f"expected {len(signature.params)} arguments, found {len(args)}"))
        args = args[: len(signature.params)]  # Homestar drops what is too many (homestar.md 1.9)
        try:
            plain = [canonical(param.type, arg) for param, arg in zip(signature.params, args, strict=True)]
            rsc = f"ipfs://{self._module(instruction)}"
            key = key_of(rsc, instruction.op, [signature.name, plain], instruction.nnc)
        except BrokenPromise as error:
            raise Unprepared(_broken(error, error.instruction)) from None
        except BadArgument as error:
            raise Unprepared(failure("conversion", error.message)) from None
        return Prepared(instruction, args, key, signature)

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        """Call the function."""
        from ipvm_kernel.wasm.perform import perform

        signature = prepared.plan
        try:
            module = self._library.module(self._module(prepared.instruction), self._read)
            values = [
                _lowered(param, arg, self._load) for param, arg in zip(signature.params, prepared.tree, strict=True)
            ]
        except IpvmError as error:
            return Performed(failure(_kind_of(error), error.message), filed=False, report=Report())
        began = time.perf_counter()
        report = Report()
        ended = perform(
            module, signature, values, limits=limits, seed=prepared.key, stop=stop, report=report, keep=self._keep
        )
        return Performed(
            ended.outcome,
            filed=ended.own and not report.capped,
            report=report,
            seconds=time.perf_counter() - began,
            value=ended.value,
        )

    def _keep(self, data: bytes | memoryview) -> CID:
        return self._store.put_file(data, "value")

    def _load(self, cid: CID) -> Ipld | FileBytes:
        """Return what a link means: bytes of files and raw blocks, large ones as files; values of the rest."""
        if cid.codec in {"raw", "dag-pb"}:
            return self._open(cid)
        return self._store.get(cid).value()


def _kind_of(error: IpvmError) -> Kind:
    """Return what kind of failure it is that a task cannot be performed (RULES 5)."""
    match error:
        case BadArgument() | UnknownFunction():
            return "conversion"
        case NotFound() | BadModule() | ToolchainMissing():
            return "missing"
        case _:
            return "host"


def _lowered(param: wit.Field, arg: Any, load: Any) -> Any:
    try:
        return lower(param.type, arg, load)
    except BadArgument as error:
        raise BadArgument(f"{param.name}{'' if error.message[:1] in '.[' else ': '}{error.message}") from None
