"""A session: declare tasks, run them, remember what came of them."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from typing import TYPE_CHECKING, Any, Self

from ipvm_kernel import plugins
from ipvm_kernel.callables import Module, handles_in, module_name
from ipvm_kernel.engine.answers import Answer, Progress, Stopper
from ipvm_kernel.engine.ops import Means, WasmRun
from ipvm_kernel.errors import IpvmError
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.handles import File, Handle, lineage
from ipvm_kernel.ipld import CID, Block, FileBytes, Ipld, encode
from ipvm_kernel.model import Instruction, Receipt, Task, Workflow
from ipvm_kernel.runs import Run
from ipvm_kernel.session import admitting, asking, looking, opening
from ipvm_kernel.session.admission import Admission
from ipvm_kernel.session.caching import Lending
from ipvm_kernel.session.ops import Ops
from ipvm_kernel.session.runner import Runner
from ipvm_kernel.session.sources import file_bytes, module_bytes, typed_path
from ipvm_kernel.session.tally import Tally
from ipvm_kernel.store.verify import Verified, verify
from ipvm_kernel.wasm.library import Library
from ipvm_kernel.wasm.limits import Limits
from ipvm_kernel.wasm.named import Named

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.engine.executors import Executor
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.notebook import Cell
    from ipvm_kernel.session.looking import Found
    from ipvm_kernel.store import Store
    from ipvm_kernel.trust import Policy
    from ipvm_kernel.wasm.types import Signature


class Session:
    """Where tasks are declared, run and remembered.

    Args:
        store: A folder, made if need be; a store; or None for one that ends with the session.
        executor: Who runs tasks; threads of this process unless another is given.
        limits: What any task may use, whatever it asks for.
        code: The folder of compiled code; beside the store unless another is given.
        policy: Whom the user trusts; what the file beside the store says unless another is given.
        alone: Use what the store holds and ask nobody else, and do nothing but calls of Wasm.

    Raises:
        StoreError: The store cannot be opened.
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str] | None = None,
        *,
        executor: Executor | None = None,
        limits: Limits | None = None,
        code: Path | None = None,
        policy: Policy | None = None,
        alone: bool = False,
    ) -> None:
        self.notices: list[str] = []
        self.store = opening.opened(store)
        self.library = Library(code or opening.code_folder(store))
        self.limits = limits or Limits()
        self.resources = Resources(self.store, alone=alone)
        means = Means(self.store, self.library, functools.partial(plugins.load, "toolchains"), self.resources)
        self.ops = Ops(means, installed=not alone)
        self.named = Named()
        self.policy = policy or opening.policy_beside(self.store)
        examiner = admitting.Examiner(self.store, self.ops, self.load)
        self.admission = Admission(self.store, self.policy, examiner, self.notices.append)
        self.lending = Lending(self.store, self.admission, self.resources, self.notices.append)
        self.resources.more = self.lending.sources
        ask = None if alone else self.lending.ask
        self._runner = Runner(self.store, self.ops, self.limits, executor, admission=self.admission, ask=ask)

    @property
    def tally(self) -> Tally:
        """What happened since `take_tally` was last called."""
        return self._runner.tally

    def take_tally(self) -> Tally:
        """Return what happened since this was last called."""
        taken, self._runner.tally = self._runner.tally, Tally()
        return taken

    @property
    def workers(self) -> str:
        """Who runs tasks, in a few words."""
        return f"{self._runner.executor.slots} of {type(self._runner.executor).__name__}"

    def take_notices(self) -> list[str]:
        """Return what there is to be said once, such as that the store reached its limit."""
        said, self.notices = self.notices, []
        for kept in (self._runner.notices, getattr(self.store, "notices", [])):
            said += kept
            kept.clear()
        return said

    # --- declaring ----------------------------------------------------------------------------------------------------

    @property
    def home(self) -> Session:
        """Where the handles made here belong."""
        return self

    def module(self, source: str | bytes | os.PathLike[str] | CID | File, name: str = "") -> Module:
        """Return the functions of a Wasm module.

        Args:
            source: A path, the bytes, a CID or an address; a component, a core module, or WAT text.
            name: What to call it in messages.

        Raises:
            BadModule: It is not Wasm that ipvm can run; the message says why.
            NotFound: No such file, or nobody has what the CID or address names.
        """
        cid, data = module_bytes(source, self.resources)
        interface = self.library.interface(cid, lambda named: data if data is not None else self.resources.read(named))
        label = name or (module_name(source) if isinstance(source, str | os.PathLike) else "")  # type: ignore[arg-type]
        if data is not None:
            self.store.put_file(data, "module")
        self._runner.places.call(cid, typed_path(source) or label)
        return Module(self, cid, interface, label, self.store.size(cid) or 0)

    def build(
        self, source: str, *, lang: str, world: str | None = None, flags: Sequence[str] = (), name: str = ""
    ) -> Module:
        """Return the module that a source becomes; the build is a task, and is replayed from its receipt.

        Args:
            source: The source. The world stands in its comment lines: `//| wit export f: func() -> u32;`.
            lang: The toolchain: wat, zig or c.
            world: The WIT of the world, if it does not stand in the source.
            flags: Flags of the compiler.
            name: What to call the module in messages.

        Raises:
            BuildFailed: The compiler refused the source; the message shows line, column and caret.
            ToolchainMissing: The compiler is not installed, and the build is not on file.
        """
        return self.module(self.built(self.build_task(source, lang=lang, world=world, flags=flags)), name or lang)

    def build_task(self, source: str, *, lang: str, world: str | None = None, flags: Sequence[str] = ()) -> Handle:
        """Return the handle of a build, whose value is a link to the module. Nothing is built yet."""
        from ipvm_kernel.session import building  # here, for the sake of sessions that build nothing

        return building.declare(self, source, lang, world, flags)

    def built(self, handle: Handle) -> CID:
        """Return the CID of the module that a build gives.

        Raises:
            BuildFailed, ToolchainMissing: As `build` does.
        """
        from ipvm_kernel.session import building

        return building.built(handle, self, self.admission)

    def admit(self, task: Task, receipt: Receipt) -> None:
        """Put a receipt that was made elsewhere on file as one of our own (RULES 11). It is replayed from now on."""
        admitting.admit(self.store, task, receipt, own=True, at=time.time())

    def file(self, path: str | os.PathLike[str]) -> File:
        """Return a link to a file's bytes, hashed now; of an address (`ipfs://`, `https:`, `file:`), fetched now.

        Raises:
            NotFound: There is no such file, or it cannot be read or fetched.
        """
        cid, name = file_bytes(path, self.store, self.resources)
        self._runner.places.call(cid, str(path))
        return File(cid, name, self.store.size(cid))

    def put(self, value: Any) -> File:
        """Return a link to a value: bytes as a file, anything else as a dag-cbor block.

        Raises:
            Unencodable: It has no IPLD form; the message names the place.
        """
        if isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value)
            return File(self.store.put_file(data, "input"), "", len(data))
        data = encode(value)
        return File(self.store.put(Block(CID.of(data), data)), "", len(data))

    def handle(self, cid: CID | str) -> Handle:
        """Return the handle of an instruction that is in the store.

        Raises:
            NotFound: It is not.
        """
        named = cid if isinstance(cid, CID) else CID.parse(cid)
        task = Task(run=Instruction.from_block(self.store.get(named), trusted=True))
        return Handle(self, task, self.signature_of(task.run))

    def signature_of(self, run: Instruction) -> Signature | None:
        """Return the WIT signature of an instruction's function, or None: its value is then shown as it is on the wire."""
        op = self.ops.get(run.op)
        with contextlib.suppress(IpvmError):
            return op.signature(run) if isinstance(op, WasmRun) else None
        return None

    def keep(self, data: bytes | memoryview) -> CID:
        """Keep an argument's bytes and return their CID."""
        return self.store.put_file(data, "input")

    def keep_file(self, path: os.PathLike[str]) -> CID:
        """Keep a file's bytes and return their CID."""
        return self.file(path).cid

    def keep_tasks(self, tasks: Iterable[Task]) -> None:
        """Put the blocks of some tasks in the store, so that other processes too find them by their CIDs."""
        for task in tasks:
            for block in (task.run.block, task.invocation.block):
                self.store.put(block)
        self._runner.settle()

    # --- running ------------------------------------------------------------------------------------------------------

    def run(
        self,
        what: Workflow | Handle | Iterable[Handle],
        *,
        rerun: bool | Collection[CID] = False,
        name: str = "",
        executor: Executor | None = None,
        limits: Limits | None = None,
    ) -> Run:
        """Return a run of a workflow or of some handles, not begun: iterate it, await it, or call `wait`.

        Args:
            what: What to run.
            rerun: Run tasks although their receipts are on file: all of them, or those given.
            name: What to call it.
            executor: Who runs the tasks, if not the session's own.
            limits: What any task of this run may use, beside the session's own limits.
        """
        workflow, tasks, cells = self._workflow(what)
        again = set(tasks) if rerun is True else set(rerun or ())
        stopper, progress = Stopper(), Progress(len(tasks))

        def stream() -> Generator[Answer, None, None]:
            yield from self._runner.stream(
                tasks, None, again, stopper, progress,
                workflow=workflow, name=name, executor=executor, limits=limits, cells=cells,
            )  # fmt: skip

        return Run(workflow, stream, stopper=stopper, progress=progress, source=self, name=name)

    def stream(
        self, what: Workflow | Handle | Iterable[Handle], *, rerun: bool | Collection[CID] = False
    ) -> Iterator[Answer]:
        """Yield the answers of a workflow, each as soon as it can be had."""
        yield from self.run(what, rerun=rerun)

    def plan(self, what: Workflow | Handle | Iterable[Handle]) -> Plan:
        """Return what a run would do, and do nothing."""
        _, tasks, _ = self._workflow(what)
        return admitting.planned(tasks, self.store, self.ops, admission=self.admission)

    def _workflow(
        self, what: Workflow | Handle | Iterable[Handle]
    ) -> tuple[Workflow, dict[CID, Task], dict[CID, Cell]]:
        if isinstance(what, Workflow):
            return what, what.checked().by_instruction(), {}
        tasks, cells = _declared(lineage(handles_in(what)))
        return Workflow(tasks=tuple(tasks.values())), tasks, cells

    # --- what handles ask ---------------------------------------------------------------------------------------------

    def answer_for(self, handle: Handle, *, timeout: float | None = None, rerun: bool = False) -> Answer:
        """Run what is not on file and return the handle's answer."""
        cid = handle.cid
        if not rerun and (known := self._runner.remembered(cid)) is not None:
            return known
        return _there(self._run_for([handle], {cid} if rerun else set()).wait(timeout).answer(cid))

    def _run_for(self, ends: list[Handle], rerun: set[CID]) -> Run:
        """Return a run that answers for some handles and does nothing else."""
        wanted = [handle.cid for handle in ends]
        on_file = self.admission.on_file(wanted)
        alone = all((found := on_file.get(cid)) and found.admitted and found.here for cid in wanted) and not rerun
        tasks, cells = _declared(ends if alone else lineage(ends))
        stopper, progress = Stopper(), Progress(len(tasks))
        stream = functools.partial(self._runner.stream, tasks, wanted, rerun, stopper, progress, cells=cells)
        return Run(Workflow(tasks=tuple(tasks.values())), stream, stopper=stopper, progress=progress, source=self)

    def run_of(self, handle: Handle) -> Run:
        """Return a run of the handle's pipeline, not begun."""
        return self._run_for([handle], set())

    def results_of(self, ends: list[Handle], *, timeout: float | None = None) -> list[Any]:
        """Return the values of some handles, run as one workflow."""
        run = self._run_for(ends, set()).wait(timeout)
        return [handle._value(_there(run.answer(handle.cid))) for handle in ends]  # noqa: SLF001 - a handle of ours

    def receipt_at(self, cid: CID) -> Receipt:
        """Return a receipt by its CID."""
        return Receipt.trusted(self.store.get(cid))

    def fallible(self, instruction: Instruction) -> bool:
        """Return True if an instruction is of a function typed `result<T, E>`."""
        op = self.ops.get(instruction.op)
        return op is not None and bool(op.fallible(instruction))

    def load(self, cid: CID) -> Ipld | FileBytes:
        """Return what a link means: bytes of files and raw blocks, large ones as files; values of the rest."""
        return self.resources.open(cid) if cid.codec in {"raw", "dag-pb"} else self.store.get(cid).value()

    def answered(self, instruction: CID) -> Answer | None:
        """Return the answer of an instruction that this session has met, or None. Nothing runs."""
        return self._runner.remembered(instruction)

    def known(self, instruction: CID, invocation: CID | None = None) -> Receipt | None:
        """Return the receipt that answers an instruction, or what came of an invocation in this session, or None."""
        return self._runner.known(instruction, invocation)

    def count_known(self, instructions: list[CID]) -> int:
        """Return how many of some instructions have a receipt that would be replayed. Nothing runs."""
        return self._runner.count_known(instructions)

    def known_many(self, instructions: list[CID]) -> dict[CID, Receipt]:
        """Return the receipts that answer some instructions. Nothing runs."""
        return self._runner.known_many(instructions)

    def cancel(self, instruction: CID) -> bool:
        """Stop the run that works on an instruction, if one does."""
        return self._runner.cancel(instruction)

    def interrupt(self) -> None:
        """Stop everything that runs in this session. Receipts that are there are kept."""
        self._runner.interrupt()

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file, so that they run again."""
        return self._runner.forget(instructions)

    # --- looking around ---

    def resolve(self, text: str) -> CID:
        """Return the CID that a text means: a CID, the name of a pin, or the short form of a CID.

        Raises:
            NotFound: Nothing has it, or several have; the message lists those.
        """
        return looking.resolve(self.store, text)

    def find(self, cid: CID) -> Found:
        """Return what a CID names.

        Raises:
            NotFound: It is not in the store.
        """
        return looking.found(self.store, cid)

    def instruction_of(self, cid: CID) -> CID:
        """Return the instruction that a CID is about: itself, or that of a task, invocation or receipt."""
        return looking.instruction_of(self.store, cid)

    why, trace, inputs, uses, diff = asking.why, asking.trace, asking.inputs, asking.uses, asking.diff

    def verify(self, share: float = 1.0) -> Iterator[Verified]:
        """Hash what the store holds against its CIDs, and yield how far it is."""
        yield from verify(self.store, share=share)

    # --- the end ------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop what runs, make everything durable, and let go of the store."""
        self._runner.close()
        self.lending.close()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Session on {self.store.where}>"


def _declared(handles: list[Handle]) -> tuple[dict[CID, Task], dict[CID, Cell]]:
    return {handle.cid: handle.task for handle in handles}, {handle.cid: handle.cell for handle in handles}


def _there(answer: Answer | None) -> Answer:
    assert answer is not None
    return answer
