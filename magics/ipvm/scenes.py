"""The objects of a session as plain data to be drawn. Only what is known already is looked at; nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm.stale import of as inputs_since
from ipvm_kernel.errors import IpvmError
from ipvm_kernel.picture import (
    NOTHING,
    Await,
    CidView,
    Draft,
    FileView,
    FunctionView,
    HandleView,
    ListView,
    ModuleView,
    ReceiptView,
    Scene,
    TaskView,
    compose,
)
from ipvm_kernel.picture.scene import BOXES
from ipvm_kernel.printable import plural, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ipvm_kernel import CID, File, Handle, Receipt, Run, Task, Workflow
    from ipvm_kernel.session import Function, Handles, Module, Plan, Promised

_BROAD: Final = 32_000_000  # bytes of a value that is not read to be shown
_SMALL: Final = 256 * 1024  # bytes of a file that is read to be shown
_HASHED: Final = 5_000  # tasks of a workflow whose CID is made to be shown
_LOOKED_UP: Final = 20_000  # tasks whose receipts are read for a picture of what is to be run
_LISTED: Final = 20  # handles of a list that are listed
_PLOTTED: Final = 5_000  # handles whose values are looked at for a plot
_ON_FILE: Final = {"replayed": "on file", "pending": "not run"}
_PLANNED: Final = {"replayed": "on file", "pending": "to run"}


def run(run: Run) -> Scene:
    """Return a run, as far as it is."""
    tasks = run.workflow.tasks
    state_of = run.progress.state

    def detail(view: TaskView, task: Task) -> TaskView:
        answer = run.answer(task.run.cid)
        if answer is None:
            return view
        view = _answered(view, answer.receipt)
        said = answer.log or (log(run._source, answer.instruction) if answer.how == "replayed" else "")  # noqa: SLF001 - its session
        view = msgspec.structs.replace(view, seconds=answer.seconds, saved=answer.saved, log=said)
        if answer.receipt is not None and answer.receipt.ok and run._source.fallible(task.run):  # noqa: SLF001 - its session
            return _unwrapped(view)
        return view

    return _scene(
        tasks,
        lambda cid: state_of(cid) or "pending",
        detail,
        title=f"run {run.name}" if run.name else "",
        cid=_named(run.workflow),
        elapsed=run.elapsed if run.done() else None,
        saved=run.saved,
    )


def workflow(workflow: Workflow) -> Scene:
    """Return a workflow as it is written; what the open session has on file is marked."""
    from ipvm_kernel.session import current

    session = current()
    known = session.known_many([task.run.cid for task in workflow.tasks]) if session is not None else {}
    return _known_scene(workflow.tasks, known, title="workflow", cid=_named(workflow))


def plan(plan: Plan) -> Scene:
    """Return a plan: what is on file, and what would run."""
    tasks = [plan.tasks[cid] for cid in (*plan.replays, *plan.runs) if cid in plan.tasks]

    def state_of(cid: CID) -> str:
        return "replayed" if cid in plan.replays else "unverified" if cid in plan.unverified else "pending"

    def detail(view: TaskView, task: Task) -> TaskView:
        found = plan.replays.get(task.run.cid)
        view = msgspec.structs.replace(view, word=_PLANNED.get(view.state, ""))
        return view if found is None else msgspec.structs.replace(_answered(view, found.receipt), saved=found.seconds)

    return _scene(tasks, state_of, detail, title="plan", words=_PLANNED)


def handle(handle: Handle) -> HandleView:
    """Return a handle: its value if there is an answer, else what leads to it; and whether its inputs are others now."""
    stale = tuple(found.told() for found in inputs_since(handle))
    signature = str(handle.signature) if handle.signature is not None else ""
    receipt = handle.receipt
    view = _task_view(handle.task, _state(receipt), ())
    view = msgspec.structs.replace(view, word=_ON_FILE.get(view.state, ""))
    if receipt is None:
        scene, note = _around([handle])
        return HandleView(task=view, note=note, signature=signature, scene=scene, stale=stale)
    view = msgspec.structs.replace(view, log=log(handle._home, handle.cid))  # noqa: SLF001 - the session that made it
    long = length(handle, receipt)
    if long is not None:
        return HandleView(task=_answered(view, receipt), signature=signature, length=long, stale=stale)
    return HandleView(task=_valued(_answered(view, receipt), handle, receipt), signature=signature, stale=stale)


def handles(handles: Handles) -> ListView:
    """Return handles that were made together."""
    if not handles:
        return ListView(note="no handles", tasks=(), total=0)
    cids = [handle.cid for handle in handles]
    known = handles[0]._home.known_many(cids)  # noqa: SLF001 - the session that made them
    shown = []
    for handle in handles[:_LISTED]:
        receipt = known.get(handle.cid)
        view = _task_view(handle.task, _state(receipt), ())
        view = _answered(msgspec.structs.replace(view, word=_ON_FILE.get(view.state, "")), receipt)
        large = receipt is None or length(handle, receipt) is not None
        shown.append(view if large or receipt is None else _valued(view, handle, receipt))
    there = [known[cid].value for cid in cids if cid in known] if len(cids) <= _PLOTTED else []
    numbers = len(there) == len(cids) > 2 and all(type(value) in {int, float} for value in there)
    return ListView(
        note=f"{plural(len(handles), 'handle')} of {handles[0].instruction.func}: {len(known):,} on file",
        tasks=tuple(shown),
        total=len(handles),
        scene=_around(handles)[0] if len(known) < len(set(cids)) else None,
        values=there if numbers else None,
    )


def promise(promised: Promised) -> str:
    """Return a promise in words."""
    return repr(promised)


def receipt(receipt: Receipt) -> ReceiptView:
    """Return a receipt, field by field."""
    return ReceiptView(
        cid=str(receipt.cid),
        func=receipt.func,
        ok=receipt.ok,
        ran=str(receipt.ran),
        out=receipt.value if receipt.ok else receipt.error,
        meta=receipt.meta,
        iss=receipt.iss,
        prf=tuple(map(str, receipt.prf[:10])),
    )


def module(module: Module) -> ModuleView:
    """Return a module and its functions."""
    return ModuleView(
        name=module._name,  # noqa: SLF001 - as attributes, a module has its functions and nothing else
        cid=str(module._cid),  # noqa: SLF001
        about=str(module._interface),  # noqa: SLF001
        size=module._size,  # noqa: SLF001
        functions=tuple(function(made) for made in module),
        way=module._interface.way,  # noqa: SLF001
    )


def function(function: Function) -> FunctionView:
    """Return a function: its signature, whose it is, and what was asked for its tasks."""
    meta, nonce = function._meta, function._nonce  # noqa: SLF001 - what with_options was told
    options = [(key, asked(key, value)) for key, value in meta.items()]
    if nonce:
        options.append(("nonce", nonce.hex() if isinstance(nonce, bytes) else str(nonce)))
    return FunctionView(
        name=function.signature.name,
        signature=str(function.signature),
        where=function._where,  # noqa: SLF001
        options=tuple(options),
    )


def file(file: File) -> FileView:
    """Return a link to bytes, with the bytes if they are few and the open session has them."""
    from ipvm_kernel.session import current

    session = current()
    value: Any = NOTHING
    if session is not None and file.size is not None and file.size <= _SMALL:
        try:
            value = session.load(file.cid)
        except IpvmError:
            value = NOTHING  # of another session
    return FileView(name=file.name, cid=str(file.cid), size=file.size, value=value)


def cid(cid: CID) -> CidView:
    """Return a CID and what can be read off it."""
    return CidView(cid=str(cid), codec=cid.codec, hash=cid.hash)


# --- pieces of the above ----------------------------------------------------------------------------------------------


def _scene(
    tasks: Sequence[Task],
    state_of: Callable[[CID], str],
    detail: Callable[[TaskView, Task], TaskView],
    *,
    words: Mapping[str, str] | None = None,
    **about: Any,
) -> Scene:
    """Return tasks as a scene. `detail` is asked about those that are listed alone."""
    where = {task.run.cid: n for n, task in enumerate(tasks)}
    promises = [task.run.awaits for task in tasks]
    strangers: list[CID] = []
    if len(tasks) <= BOXES:
        strange = dict.fromkeys(p.instruction for awaited in promises for p in awaited if p.instruction not in where)
        strangers = list(strange)[: BOXES - len(tasks)]
    place = where | {cid: len(tasks) + n for n, cid in enumerate(strangers)} if strangers else where
    drafts = [
        Draft(
            task.run.func,
            task.run.rsc,
            state_of(task.run.cid),
            tuple([(place.get(p.instruction, -1), p.branch) for p in awaited]),
        )
        for task, awaited in zip(tasks, promises, strict=True)
    ]
    counts: dict[str, int] = {}
    for draft in drafts:
        counts[draft.state] = counts.get(draft.state, 0) + 1
    drafts += [Draft("another workflow", "", "pending", outside=True) for _ in strangers]

    def view_of(n: int) -> TaskView:
        if n >= len(tasks):
            cid = strangers[n - len(tasks)]
            return TaskView(cid=str(cid), short=cid.short, func="another workflow", word="of", outside=True)
        awaits = tuple(
            Await(p.instruction.short, p.branch, tasks[where[p.instruction]].run.func if p.instruction in where else "")
            for p in promises[n][:40]
        )
        return detail(_task_view(tasks[n], drafts[n].state, awaits), tasks[n])

    listed, groups, links = compose(drafts, view_of)
    return Scene(
        counts=counts, words=dict(words or {}), total=len(tasks), tasks=listed, groups=groups, links=links, **about
    )


def _named(workflow: Workflow) -> str:
    """Return the CID of a workflow, unless it would have to be made first and the workflow is large."""
    return str(workflow.cid) if len(workflow.tasks) <= _HASHED or "block" in workflow.__dict__ else ""


def _known_scene(tasks: Sequence[Task], known: Mapping[CID, Receipt], **about: Any) -> Scene:
    """Return tasks that no run is about: on file, or not run."""

    def detail(view: TaskView, task: Task) -> TaskView:
        return _answered(msgspec.structs.replace(view, word=_ON_FILE.get(view.state, "")), known.get(task.run.cid))

    return _scene(tasks, lambda cid: _state(known.get(cid)), detail, words=_ON_FILE, **about)


def _around(handles: Collection[Handle]) -> tuple[Scene | None, str]:
    """Return what leads to some handles, unless that is too much to be looked up for a picture, and a line about it."""
    from ipvm_kernel.session import lineage

    around = lineage(list(handles))
    home, cids = around[0]._home, [handle.cid for handle in around]  # noqa: SLF001 - the session that made them
    if len(around) > _LOOKED_UP:
        scene, count = None, home.count_known(cids)
    else:
        known = home.known_many(cids)
        scene, count = _known_scene([handle.task for handle in around], known), len(known)
    return scene, f"not run: {plural(len(around), 'task')}, {count:,} on file"


def _state(receipt: Receipt | None) -> str:
    return "pending" if receipt is None else "replayed" if receipt.ok else "failed"


def _task_view(task: Task, state: str, awaits: tuple[Await, ...]) -> TaskView:
    run = task.run
    cid = run.cid
    return TaskView(cid=str(cid), short=cid.short, func=run.func, module=run.rsc, state=state, awaits=awaits)


def _answered(view: TaskView, receipt: Receipt | None) -> TaskView:
    """Add what a receipt says, its value as it is on the wire."""
    if receipt is None:
        return view
    named = msgspec.structs.replace(view, receipt=str(receipt.cid), receipt_short=receipt.cid.short)
    if receipt.ok:
        return msgspec.structs.replace(named, value=receipt.value)
    word = "failed, replayed" if view.state == "replayed" else view.word
    state = "failed" if view.state == "replayed" else view.state
    return msgspec.structs.replace(named, error=_message(receipt.error), state=state, word=word)


def _unwrapped(view: TaskView) -> TaskView:
    """Take the pair apart that a function typed `result<T, E>` gave (RULES 1)."""
    match view.value:
        case [None, err] if err is not None:
            return _err(view, err)
        case {"err": err, **rest} if not rest:
            return _err(view, err)
        case [ok, None] | {"ok": ok}:
            return msgspec.structs.replace(view, value=ok)
        case _:
            return view


def _err(view: TaskView, payload: Any) -> TaskView:
    said = f"err: {_message(payload)}" if payload is not None else "err"
    return msgspec.structs.replace(view, value=NOTHING, error=said, state="failed", word=f"{view.called}, err")


def _message(payload: Any) -> str:
    """Return what an error's payload says (RULES 5)."""
    if isinstance(payload, dict) and isinstance(payload.get("message"), str):
        kind = payload.get("kind")
        return (
            f"{kind}: {payload['message']}"
            if isinstance(kind, str) and kind != "broken-promise"
            else payload["message"]
        )
    return payload if isinstance(payload, str) else repr(payload)[:2000]


def valued_view(handle: Handle, receipt: Receipt) -> TaskView:
    """Return the task of a handle with its value in plain Python, or with its error."""
    view = _task_view(handle.task, _state(receipt), ())
    return _valued(_answered(view, receipt), handle, receipt)


def _valued(view: TaskView, handle: Handle, receipt: Receipt) -> TaskView:
    """Add the value of a handle in plain Python, or the error that asking for it gives."""
    if not receipt.ok:
        return view
    try:
        value = handle._value_of(receipt)  # noqa: SLF001 - what result() gives, without running
    except IpvmError as error:
        return msgspec.structs.replace(view, value=NOTHING, error=error.message, state="failed", word="")
    return msgspec.structs.replace(view, value=value)


def asked(key: str, value: Any) -> str:
    """Return what was asked for a task as people write it."""
    match key, value:
        case "time", int():
            return seconds(value / 1000)
        case "memory", int():
            return size(value)
        case _:
            return f"{value:,}" if isinstance(value, int) else str(value)


def log(home: Any, cid: CID) -> str:
    """Return what the guest said when the receipt on file was made."""
    said = home.store.logs([cid]).get(cid)
    return said.log if said is not None else ""


def length(handle: Handle, receipt: Receipt) -> int | None:
    """Return the size of a value that is a link to more bytes than are read to be shown."""
    store = getattr(handle._home, "store", None)  # noqa: SLF001 - a session has one
    target = receipt.value if receipt.ok else None
    if store is None or not hasattr(target, "codec"):
        return None
    found: int | None = store.size(target)
    return found if found is not None and found > _BROAD else None
