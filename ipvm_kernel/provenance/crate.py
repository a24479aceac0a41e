"""A record as a Workflow Run RO-Crate, written by the package `rocrate`: workflow, modules, inputs, outputs, receipts.

Source: RO-Crate 1.1; Workflow Run Crate 0.5 and Process Run Crate 0.5, https://w3id.org/ro/wfrun/workflow/0.5.
"""

from __future__ import annotations

import io
import mimetypes
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, dagjson
from ipvm_kernel.picture.media import media_of
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.provenance.comparing import shown
from ipvm_kernel.provenance.graph import literals
from ipvm_kernel.provenance.w3c import times

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ipvm_kernel.provenance.record import Datum, Done, Record

_PROFILES: Final = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_PARAMETER: Final = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
_JSON: Final = "application/vnd.ipld.dag-json"  # as registered with IANA
_LITERALS: Final = 2_000  # arguments that are written in tasks, as values of the run


def crate(record: Record, target: Path, read: Callable[[CID], bytes], values: Mapping[CID, Any]) -> int:
    """Write a record as an RO-Crate: a folder, or a file if the name ends in `.zip`. Return how many files are in it.

    Args:
        record: What was done.
        target: Where to write it.
        read: Gives the bytes of a module or file.
        values: The values of the last tasks, in plain Python.

    Raises:
        IpvmError: The package `rocrate` is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise IpvmError("an RO-Crate needs the package rocrate: pip install 'ipvm[crate]'") from None
    maker = _Maker(ROCrate(gen_preview=False, version="1.1"), record)
    maker.describe()
    maker.files(read)
    maker.outputs(values)
    maker.tasks()
    maker.run()
    if target.suffix == ".zip":
        maker.crate.write_zip(target)
    else:
        maker.crate.write(target)
    return maker.count


class _Maker:
    """Fills one crate."""

    def __init__(self, crate: Any, record: Record) -> None:
        from rocrate.model.contextentity import ContextEntity

        self.crate = crate
        self.count = 0
        self._context = ContextEntity
        self._record = record
        self._data: dict[CID, Any] = {}
        self._receipts: dict[CID, Any] = {}
        self._parameters: list[tuple[str, Any, Any]] = []  # input or output, parameter, what stands for it
        self._tools: dict[str, Any] = {}
        self._actions: list[Any] = []
        self._workflow: Any = None

    def _about(self, ident: str, kind: str | list[str], **properties: Any) -> Any:
        """Add something that is no file."""
        return self.crate.add(self._context(self.crate, ident, properties={"@type": kind, **properties}))

    def _file(self, path: str, data: bytes, kind: str | list[str] = "File", **properties: Any) -> Any:
        self.count += 1
        about = {"@type": kind, "contentSize": str(len(data)), **properties}
        return self.crate.add_file(io.BytesIO(data), path, properties=about)

    def describe(self) -> None:
        """Add the crate's own description, its profiles and its workflow."""
        record, root = self._record, self.crate.root_dataset
        names = list(dict.fromkeys(printable(done.task.run.func, limit=60) for done in record.done.values()))
        root["name"] = f"ipvm workflow {record.workflow.cid.short}"
        root["description"] = f"{plural(len(record.done), 'task')}: {', '.join(names[:20])}"
        root["license"] = self._about(
            "#license", "CreativeWork", name="not stated", description="Whoever made this crate stated no license."
        )
        root["conformsTo"] = [
            self._about(ident, "CreativeWork", name=name, version=version)
            for ident, (name, version) in _PROFILES.items()
        ]
        language = self._about(
            "#homestar-workflow",
            "ComputerLanguage",
            name="IPVM workflow",
            alternateName="Homestar workflow",
            url="https://github.com/ipvm-wg/workflow",
        )
        self._workflow = self._file(
            "workflow.json",
            dagjson.dumps(record.workflow.to_ipld(), pretty=True).encode(),
            ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            name="workflow.json",
            encodingFormat=_JSON,
            identifier=f"ipfs://{record.workflow.cid}",
        )
        self._workflow["programmingLanguage"] = language
        self.crate.mainEntity = self._workflow

    def files(self, read: Callable[[CID], bytes]) -> None:
        """Add the modules, the inputs and what tasks gave behind links."""
        for datum in self._record.data.values():
            about = {"identifier": f"ipfs://{datum.cid}", "name": printable(datum.name or datum.cid.short, limit=200)}
            if datum.size is None:
                kind = "SoftwareApplication" if datum.kind == "module" else "CreativeWork"
                self._data[datum.cid] = self._about(f"ipfs://{datum.cid}", kind, **about, description="not here")
                continue
            data = read(datum.cid)
            path, encoding = _path(datum, data)
            kinds: str | list[str] = ["File", "SoftwareApplication"] if datum.kind == "module" else "File"
            self._data[datum.cid] = entity = self._file(path, data, kinds, encodingFormat=encoding, **about)
            if datum.kind == "data" and not datum.inside:
                self._parameter("input", f"#input-{datum.cid.short}", about["name"], "File", entity)

    def _parameter(self, way: str, ident: str, name: str, kind: str, example: Any) -> None:
        parameter = self._about(ident, "FormalParameter", name=name, additionalType=kind)
        parameter["conformsTo"] = {"@id": _PARAMETER}
        example.append_to("exampleOfWork", parameter)
        self._parameters.append((way, parameter, example))

    def outputs(self, values: Mapping[CID, Any]) -> None:
        """Add the values of the last tasks as files."""
        for cid, value in values.items():
            func = printable(self._record.done[cid].task.run.func, limit=60)
            if isinstance(value, bytes):
                data, encoding = value, media_of(value).mime or "application/octet-stream"
                suffix = mimetypes.guess_extension(encoding) or ".bin"
            else:
                data, encoding, suffix = dagjson.dumps(value).encode(), _JSON, ".json"
            path = f"outputs/{_plain(func)}-{cid.short}{suffix}"
            entity = self._file(path, data, name=f"value of {func}", encodingFormat=encoding)
            self._parameter("output", f"#output-{cid.short}", func, "File", entity)
            self._data[cid] = entity

    def tasks(self) -> None:
        """Add the receipt of each task, and what it did as an action of its module."""
        for cid, done in self._record.done.items():
            if done.receipt is not None:
                self._receipts[cid] = self._file(
                    f"receipts/{done.receipt.cid}.json",
                    dagjson.dumps(done.receipt.to_ipld()).encode(),
                    name=f"receipt of {printable(done.task.run.func, limit=60)}",
                    encodingFormat=_JSON,
                    identifier=f"ipfs://{done.receipt.cid}",
                )
        left = _LITERALS
        for cid, done in self._record.done.items():
            run = done.task.run
            action = self._about(f"#task-{cid.short}", "CreateAction", name=printable(run.func, limit=200))
            action["identifier"] = f"ipfs://{cid}"
            action["instrument"] = self._tool(done)
            taken = [self._data[edge.source] for edge in done.sources if edge.kind == "link"]
            taken += [self._receipts[edge.source] for edge in done.sources if edge.source in self._receipts]
            for n, (name, value) in enumerate(literals(run)[: max(left, 0)]):
                said = printable(f"{run.func}: {name}", limit=200)
                literal = self._about(f"#value-{cid.short}-{n}", "PropertyValue", name=said, value=shown(value, 400))
                self._parameter("input", f"#input-{cid.short}-{n}", said, "Text", literal)
                taken.append(literal)
                left -= 1
            if taken:
                action["object"] = taken
            given = [self._receipts[cid]] if cid in self._receipts else []
            given += [self._data[cid]] if cid in self._data else []
            given += [self._data[link] for link in done.given if link in self._data]
            if given:
                action["result"] = given
            _timed(action, *times(done))
            _status(action, [done])
            if done.place is not None:
                action["description"] = f"declared in {done.place.told(run.func)}"
            self._actions.append(action)

    def _tool(self, done: Done) -> Any:
        """Return what did a task: its module, or an operation of ipvm."""
        run = done.task.run
        if run.module is not None and run.module in self._data:
            return self._data[run.module]
        name = printable(run.rsc or run.op, limit=200)
        if name not in self._tools:
            self._tools[name] = self._about(
                f"#tool-{len(self._tools) + 1}", "SoftwareApplication", name=name, version="0"
            )
        return self._tools[name]

    def run(self) -> None:
        """Add the run as a whole: an action of the workflow, from its inputs to its outputs."""
        for way in ("input", "output"):
            found = [parameter for which, parameter, _ in self._parameters if which == way]
            if found:
                self._workflow[way] = found
        tools = [self._data[datum.cid] for datum in self._record.data.values() if datum.kind == "module"]
        if tools:
            self._workflow["hasPart"] = [*tools, *self._tools.values()]
        run = self._about("#run", "CreateAction", name=f"run of {self._workflow['name']}", instrument=self._workflow)
        taken = [example for way, _, example in self._parameters if way == "input"]
        given = [example for way, _, example in self._parameters if way == "output"] + list(self._receipts.values())
        if taken:
            run["object"] = taken
        if given:
            run["result"] = given
        dated = [times(done) for done in self._record.done.values()]
        begins, ends = [begin for begin, _ in dated if begin], [end for _, end in dated if end]
        _timed(run, min(begins, default=None), max(ends, default=None))
        _status(run, list(self._record.done.values()))
        self.crate.root_dataset["mentions"] = [run, *self._actions]


def _timed(action: Any, begin: dt.datetime | None, end: dt.datetime | None) -> None:
    if begin is not None and end is not None:
        action["startTime"], action["endTime"] = begin.isoformat(), end.isoformat()


def _status(action: Any, done: list[Done]) -> None:
    failed = [one for one in done if one.receipt is not None and not one.receipt.ok]
    if failed:
        action["actionStatus"] = "http://schema.org/FailedActionStatus"
        action["error"] = shown(failed[0].receipt.error if failed[0].receipt is not None else None, 400)
    elif all(one.receipt_cid is not None for one in done):
        action["actionStatus"] = "http://schema.org/CompletedActionStatus"
    else:
        action["actionStatus"] = "http://schema.org/PotentialActionStatus"


def _path(datum: Datum, data: bytes) -> tuple[str, str]:
    """Return the path of a file in the crate, and its media type. The path is of our own letters alone."""
    if datum.kind == "module":
        return (
            f"modules/{_plain(datum.name.removesuffix('.wasm') or 'module')}-{datum.cid.short}.wasm",
            "application/wasm",
        )
    guessed = mimetypes.guess_type(datum.name)[0]
    encoding = media_of(data).mime or guessed or "application/octet-stream"
    stem, _, suffix = datum.name.rpartition(".") if "." in datum.name else (datum.name or "data", "", "bin")
    folder = "data" if datum.inside else "inputs"
    return f"{folder}/{_plain(stem)}-{datum.cid.short}.{_plain(suffix)[:12]}", encoding


def _plain(name: str) -> str:
    """Return a name as part of a path: letters, digits and dashes of ASCII.

    >>> _plain("../../etc/passwd")
    'etc-passwd'
    """
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in name[:80])
    return "-".join(filter(None, kept.split("-"))) or "data"
