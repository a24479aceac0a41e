"""A record as W3C PROV, written by the package `prov`: tasks are activities, values, modules and files are entities.

Source: PROV-DM (W3C, 2013) and its JSON serialization, https://www.w3.org/submissions/prov-json/.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.printable import printable
from ipvm_kernel.provenance.comparing import shown
from ipvm_kernel.provenance.graph import literals

if TYPE_CHECKING:
    from ipvm_kernel.provenance.record import Done, Record

_ROLES: Final = {"ok": "await/ok", "error": "await/error", "*": "await/*", "module": "module", "link": "argument"}


def prov_json(record: Record) -> str:
    """Return a record as PROV-JSON.

    Raises:
        IpvmError: The package `prov` is not installed.
    """
    try:
        from prov.model import ProvDocument
    except ImportError:
        raise IpvmError("PROV needs the package prov: pip install 'ipvm[prov]'") from None
    document: Any = ProvDocument()
    document.add_namespace("ipfs", "ipfs://")
    document.add_namespace("ipvm", "urn:ipvm:")
    workflow = f"ipfs:{record.workflow.cid}"
    document.entity(workflow, {"prov:type": document.valid_qualified_name("prov:Plan"), "prov:label": "workflow"})
    for datum in record.data.values():
        about: dict[str, Any] = {"prov:type": document.valid_qualified_name(f"ipvm:{datum.kind}")}
        if datum.name:
            about["prov:label"] = printable(datum.name, limit=200)
        if datum.size is not None:
            about["ipvm:bytes"] = datum.size
        document.entity(f"ipfs:{datum.cid}", about)
    agents: dict[str, str] = {}
    cells: set[str] = set()
    for cid, done in record.done.items():
        activity = f"ipfs:{cid}"
        begin, end = times(done)
        run = done.task.run
        arguments = {f"ipvm:argument-{n}": f"{printable(name, limit=60)}: {shown(value, 200)}" for n, (name, value) in
                     enumerate(literals(run))}  # fmt: skip
        document.activity(
            activity, begin, end, {"prov:label": printable(run.func, limit=200), "ipvm:op": run.op, **arguments}
        )
        if done.entry is not None and done.entry.engine:
            name = printable(done.entry.engine, limit=200)
            if name not in agents:
                agents[name] = f"ipvm:engine-{len(agents) + 1}"
                kind = document.valid_qualified_name("prov:SoftwareAgent")
                document.agent(agents[name], {"prov:type": kind, "prov:label": name})
            document.wasAssociatedWith(activity, agents[name], workflow)
        if done.receipt_cid is not None:
            _came(document, activity, done)
        for edge in done.sources:
            role = {"prov:role": _ROLES[edge.kind]}
            other = record.done.get(edge.source)
            if edge.kind in {"module", "link"}:
                document.used(activity, f"ipfs:{edge.source}", other_attributes=role)
                continue
            document.wasInformedBy(activity, f"ipfs:{edge.source}")
            if other is not None and other.receipt_cid is not None:
                document.used(activity, f"ipfs:{other.receipt_cid}", other_attributes=role)
        if done.place is not None:
            _declared(document, activity, done, cells)
    text: str = document.serialize(format="json", indent=1)
    return text


def _came(document: Any, activity: str, done: Done) -> None:
    """Add the receipt of a task, and what it links to."""
    receipt = f"ipfs:{done.receipt_cid}"
    about: dict[str, Any] = {"prov:type": document.valid_qualified_name("ipvm:receipt")}
    if done.receipt is not None:
        about |= {"ipvm:outcome": done.receipt.out.tag, "prov:value": shown(done.receipt.out.value, 200)}
    document.entity(receipt, about)
    document.wasGeneratedBy(receipt, activity, times(done)[1])
    for link in done.given:
        document.wasGeneratedBy(f"ipfs:{link}", activity, times(done)[1])


def _declared(document: Any, activity: str, done: Done, cells: set[str]) -> None:
    """Add the notebook cell in which a task was declared, as something that the task used."""
    place = done.place
    assert place is not None
    name = (
        f"ipvm:cell-{''.join(c if c.isalnum() else '-' for c in f'{place.session}-{place.cell}-{place.count}')[:120]}"
    )
    if name not in cells:
        cells.add(name)
        about: dict[str, Any] = {"prov:type": document.valid_qualified_name("ipvm:cell"), "ipvm:count": place.count}
        about["prov:value"] = printable(place.source, keep="\n\t")
        if place.notebook:
            about["ipvm:notebook"] = printable(place.file, limit=200)
        document.entity(name, about)
        if place.saved is not None:
            saved = f"ipfs:{place.saved}"
            if saved not in cells:
                cells.add(saved)
                document.collection(saved, {"prov:label": printable(place.file, limit=200)})
            document.hadMember(saved, name)
    document.used(activity, name, other_attributes={"prov:role": "declaration"})


def times(done: Done) -> tuple[dt.datetime | None, dt.datetime | None]:
    """Return when a task began and ended, in UTC; None where it was not run here."""
    if done.entry is None:
        return None, None
    end = dt.datetime.fromtimestamp(done.entry.at, dt.UTC)
    return end - dt.timedelta(seconds=done.entry.seconds), end
