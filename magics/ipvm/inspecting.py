"""What a CID names, taken apart: fields, links that can be followed in place, who made it, and whether it is what it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm import lineages
from ipvm_kernel import CID, Receipt, Workflow, dagjson
from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.picture import media
from ipvm_kernel.picture.scene import NOTHING
from ipvm_kernel.picture.tree import Branch
from ipvm_kernel.printable import plural, printable, seconds, size
from ipvm_kernel.session import shown, when

if TYPE_CHECKING:
    from ipvm_kernel import Handle, Session
    from ipvm_kernel.session import Judged, OnFile

_READ: Final = 32_000_000  # bytes of what is read to be shown
_PICTURE: Final = 256 * 1024
_LEVELS: Final = 3  # links that are followed one behind the other
_BLOCKS: Final = 60  # links that are followed in all
_DEEP: Final = 8  # lists and maps inside each other
_ITEMS: Final = 24
_WORKFLOWS: Final = 5


class Inspected:
    """What a CID names, as a tree and as data.

    Attributes:
        tree: All of it.
        json: The value as DAG-JSON, shortened for the eye, or "".
        data: It as data, for `--json`.
    """

    def __init__(self, tree: Branch, json: str, data: dict[str, Any]) -> None:
        self.tree = tree
        self.json = json
        self.data = data


def inspect(session: Session, cid: CID) -> Inspected:
    """Return what a CID names, taken apart.

    Raises:
        NotFound: It is not in the store.
    """
    length = session.store.size(cid)
    if length is None:
        session.store.get(cid) if cid.codec == "dag-cbor" else session.store.read(
            cid
        )  # which says where it was looked for
    root = Branch(title="", code=str(cid))
    root.facts = [("codec", cid.codec), ("hash", cid.hash), ("size", size(length or 0))]
    names = session.store.called([cid]).get(cid)
    if names:
        root.facts.append(("called", ", ".join(printable(name, limit=200) for name in names[-4:])))
    data: dict[str, Any] = {"cid": cid, "kind": "block", "size": length, "codec": cid.codec, "hash": cid.hash}
    if length is not None and length > _READ:
        root.title = "a large file" if cid.codec != "dag-cbor" else "a large block"
        root.facts.append(
            ("content", f"{size(length)}, not read to be shown: `ipvm get` or .save(path) writes it to a file")
        )
        _around(session, cid, root)
        return Inspected(root, "", data)
    found = session.find(cid)
    data |= {"kind": found.kind, "value": found.value}
    root.title = found.kind
    root.facts.append(("checked", "its bytes were hashed, and are what the CID names"))
    json = ""
    if found.kind == "file":
        _bytes(session, cid, root)
    else:
        json = dagjson.dumps(shortened(found.value), pretty=True)
        _facts(session, found.cid, found.node, root, data)
        budget = [_BLOCKS]
        inside = Branch(title="content", shut=True)
        inside.children = _children(session, found.value, (cid,), budget)
        root.children.append(inside)
    _around(session, cid, root)
    return Inspected(root, json, data)


def _bytes(session: Session, cid: CID, root: Branch) -> None:
    content = session.store.read(cid)
    about = media.media_of(content)
    root.facts.append(("media type", about.mime or about.name or _text_of(content)))
    if len(content) <= _PICTURE or about.shown:
        text = _text_of(content)
        root.value = content.decode() if text and not about.mime else content
    else:
        root.facts.append(("bytes", media.about(content)))


def _text_of(content: bytes) -> str:
    """Return "text" if bytes are text, or ""."""
    if b"\x00" in content[:4096] or len(content) > _PICTURE:
        return ""
    try:
        content.decode()
    except UnicodeDecodeError:
        return ""
    return "text"


def _facts(session: Session, cid: CID, node: Any, root: Branch, data: dict[str, Any]) -> None:
    """Add what is known of a node of the model: its instruction, state, attestations, place and workflows."""
    if isinstance(node, Workflow):
        root.facts.append(("tasks", f"{len(node.tasks):,}"))
        return
    try:
        instruction = session.instruction_of(cid)
    except IpvmError:
        if isinstance(node, Receipt):
            root.facts.append(("instruction", f"not here: the invocation {node.ran} is missing"))
            root.facts.append(("state", "unverified: nothing says what it answers"))
        return
    handle = _handle(session, instruction)
    known = session.store.receipts_of(instruction)
    if handle is not None:
        func, signature = handle.instruction.func, handle.signature
        root.facts.append(("function", f"{func}: {signature}" if signature is not None else func))
    elif isinstance(node, Receipt):
        root.facts.append(("function", f"{node.func}, as it says: its task is not here"))
    root.facts.append(("instruction", str(instruction)))
    one = next((one for one in known if one.cid == cid), known[0] if known else None)
    judged = session.admission.judgements([instruction]).get(instruction)
    root.state, state = _state(
        one, judged if judged is not None and one is not None and one.cid == judged.receipt else None
    )
    signed = session.admission.statements.about([one.cid]).get(one.cid, []) if one is not None else []
    makers = [f"{made.issuer} ({printable(made.engine, limit=80)})" for made in signed]
    root.facts += [("state", state), ("attested by", ", ".join(makers) or "nobody yet")]
    data |= {"instruction": instruction, "state": state, "attested": [made.issuer for made in signed]}
    if not isinstance(node, Receipt):
        root.facts += [("receipt", str(one.cid)) for one in known[:5]]
    root.facts += _history(session, instruction)
    if isinstance(node, Receipt) and node.ok:
        value = Branch(title="value", value=node.value)
        if handle is None:
            value.value = node.value
        elif isinstance(node.value, CID):
            value.value = NOTHING
            value.children = _children(session, node.value, (cid,), [_BLOCKS])
        else:
            try:
                value.value = handle._value_of(node)  # noqa: SLF001 - what result() gives, without running
            except IpvmError as error:
                value.value = error.message
        root.children.append(value)


def _handle(session: Session, instruction: CID) -> Handle | None:
    try:
        return session.handle(instruction)
    except IpvmError:
        return None


def _state(found: OnFile | None, judged: Judged | None = None) -> tuple[str, str]:
    """Return the state of a receipt, and what that means in words."""
    if found is None:
        return "pending", "no receipt is on file"
    if judged is not None and judged.kind == "admitted":
        return "replayed", judged.reason if judged.here else f"made elsewhere, and used: {judged.reason}"
    if judged is not None and not found.trusted:
        return "unverified", f"made elsewhere, unverified: it is never used ({judged.reason})"
    if not found.admitted and found.trusted:
        return "unverified", "made elsewhere, and trusted: it is used once its task shows that it means the same here"
    if not found.admitted:
        return "unverified", "made elsewhere, unverified: it is never used"
    state = "verified: made here" if found.own else "made elsewhere, and admitted: it is replayed"
    if not found.here:
        return "replayed", f"{state}; its value was dropped to make room"
    receipt = found.receipt
    return "replayed" if receipt is None or receipt.ok else "failed", state


def _history(session: Session, instruction: CID) -> list[tuple[str, str]]:
    """Return how a receipt was made, and in which workflows it has a place."""
    facts = []
    entry = session.store.made([instruction]).get(instruction)
    if entry is not None:
        took = f" in {seconds(entry.seconds)}" if entry.seconds else ""
        engine = f" by {printable(entry.engine, limit=80)}" if entry.engine else ""
        fuel = f", fuel {entry.fuel:,}" if entry.fuel else ""
        facts.append(("journal", f"{lineages.HOW[entry.how]} {when(entry.at)}{took}{engine}{fuel}"))
    lines = session.store.journal(instruction=instruction, limit=50)
    flows = [flow for line in lines if line.run is not None for flow in _flow(session, line.run)]
    return facts + [("workflow", flow) for flow in list(dict.fromkeys(flows))[:_WORKFLOWS]]


def _flow(session: Session, run: int) -> list[str]:
    record = session.store.run(run)
    if record is None or record.workflow is None:
        return []
    name = f" ({printable(record.name, limit=80)})" if record.name else ""
    return [f"{record.workflow}{name}"]


def _around(session: Session, cid: CID, root: Branch) -> None:
    """Add where it came from and what was made with it."""
    try:
        graph = session.trace(cid)
    except IpvmError:
        return
    if graph.edges:
        lineage = lineages.tree_of(graph, {})
        lineage.shut = True
        root.children.append(lineage)
    used = session.uses(cid)
    if used.total:
        uses = Branch(title="used by", note=f"{plural(used.total, 'task')}{' and more' if used.cut else ''}", shut=True)
        for use in used.found[:_ITEMS]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(use.entry.at)) if use.entry is not None else ""
            place = use.place.told(use.func) if use.place is not None else ""
            note = ", ".join(filter(None, (at, place)))
            uses.children.append(Branch(title=use.func or "a task", code=use.cid.short, cid=str(use.cid), note=note))
        left = used.total - len(uses.children)
        if left > 0:
            uses.children.append(Branch(title="", note=f"… and {left:,} more: `ipvm uses {cid.short}`"))
        root.children.append(uses)


def _children(session: Session, value: Any, path: tuple[CID, ...], budget: list[int], depth: int = 0) -> list[Branch]:
    """Return a value as branches, links followed as long as the budget lasts."""
    match value:
        case CID():
            return [_linked(session, value, "", path, budget)]
        case dict() | list() if depth >= _DEEP:
            return [Branch(title="", note=f"{len(value):,} items, deeper than is shown")]
        case dict() | list():
            made = []
            items = list(value.items()) if isinstance(value, dict) else list(enumerate(value[:_ITEMS]))
            for key, item in items[:_ITEMS]:
                role = str(key) if isinstance(value, dict) else f"[{key}]"
                target = _target(item)
                if target is not None:
                    made.append(_linked(session, target, role, path, budget))
                elif isinstance(item, dict | list) and item:
                    inside = _children(session, item, path, budget, depth + 1)
                    made.append(Branch(title="", role=role, note=plural(len(item), "item"), children=inside))
                elif isinstance(item, bytes) and len(item) > 16:
                    made.append(Branch(title="", role=role, code=media.about(item)))
                else:
                    made.append(Branch(title="", role=role, code=shown(item, 200)))
            if len(value) > _ITEMS:
                made.append(Branch(title="", note=f"… {len(value) - _ITEMS:,} more"))
            return made
        case _:
            return [Branch(title="", code=shown(value, 200))]


def _target(value: Any) -> CID | None:
    """Return what a link, or the text of an `ipfs://` address, leads to."""
    if isinstance(value, str) and value.startswith("ipfs://"):
        return CID.from_canonical(value.removeprefix("ipfs://"))
    return value if isinstance(value, CID) else None


def _linked(session: Session, cid: CID, role: str, path: tuple[CID, ...], budget: list[int]) -> Branch:
    """Return a link, and what is behind it."""
    branch = Branch(title="", role=role, code=str(cid), cid=str(cid), shut=True)
    if cid in path:
        branch.note = "a circle: it leads back to what is shown above"
        return branch
    length = session.store.size(cid)
    if length is None:
        branch.note = "not here"
        return branch
    branch.note = size(length)
    if len(path) > _LEVELS or budget[0] <= 0:
        branch.note += f": `ipvm show {cid.short}`"
        return branch
    budget[0] -= 1
    if length > _PICTURE:
        branch.note += ", not read to be shown here"
        return branch
    try:
        found = session.find(cid)
        branch.title = found.kind
        if found.kind == "file":
            content = session.store.read(cid)
            branch.value = content.decode() if _text_of(content) and not media.media_of(content).mime else content
        else:
            branch.children = _children(session, found.value, (*path, cid), budget)
    except NotFound:
        branch.note = "not here"
    except IpvmError as error:
        branch.note = error.message
    return branch


def shortened(value: Any, depth: int = 0) -> Any:
    """Return a value whose long bytes, texts, lists and maps are cut, for the eye."""
    match value:
        case bytes() if len(value) > 256:
            return f"<{size(len(value))} of bytes, beginning {value[:16].hex(' ')}>"
        case str():
            return printable(value, limit=2000, keep="\n\t")
        case list() | dict() if depth > 20:
            return f"… {len(value):,} items"
        case list():
            kept = [shortened(item, depth + 1) for item in value[:100]]
            return [*kept, f"… {len(value) - 100:,} more"] if len(value) > 100 else kept
        case dict():
            cut = {printable(key, limit=200): shortened(value[key], depth + 1) for key in list(value)[:200]}
            return cut | {"…": f"{len(value) - 200:,} more"} if len(value) > 200 else cut
        case _:
            return value
