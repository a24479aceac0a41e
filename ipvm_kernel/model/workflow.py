"""Workflows: tasks whose order follows from their promises.

Source: Homestar 0.3.0, `homestar-workflow/src/workflow.rs`: `{"tasks": [Task, ...]}`, JSON read as DAG-JSON. The order of
the tasks is part of the CID; it is not the order in which they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ipvm_kernel.errors import BadWorkflow, Malformed, NotFound
from ipvm_kernel.exploring import explore
from ipvm_kernel.ipld import CID, Block, Ipld, Node, dagjson, decode
from ipvm_kernel.ipld.once import once
from ipvm_kernel.model.dot import digraph
from ipvm_kernel.model.instruction import within
from ipvm_kernel.model.mermaid import flowchart
from ipvm_kernel.model.task import Task
from ipvm_kernel.model.template import fill
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable


class Workflow(Node, frozen=True, kw_only=True):
    """Tasks to be run, none of them twice.

    Attributes:
        tasks: The tasks, in the order in which they were declared.
    """

    tasks: tuple[Task, ...]

    @once
    def block(self) -> Block:
        """The block of the wire form, made once, of what the tasks have already."""
        data = b"".join((b"\xa1\x65tasks", _list_head(len(self.tasks)), *(task.data for task in self.tasks)))
        return Block(CID.of(data), data)

    @classmethod
    def of(cls, tasks: Iterable[Task]) -> Workflow:
        """Return the workflow of some tasks, each instruction once."""
        return cls(tasks=tuple({task.run.cid: task for task in tasks}.values()))

    @classmethod
    def from_ipld(cls, value: Ipld) -> Workflow:
        """Return the workflow that a wire value is.

        Raises:
            Malformed: It is no workflow; the message names the place.
            BadWorkflow: Two tasks have the same instruction.
        """
        tasks = value.get("tasks") if type(value) is dict else None
        if type(value) is not dict or type(tasks) is not list or len(value) > 1:
            raise Malformed('not a workflow: expected a map {"tasks": [...]} and nothing else, at `$`')
        made = []
        for index, task in enumerate(tasks):
            try:
                made.append(Task.from_ipld(task))
            except Malformed as error:
                raise within(f".tasks[{index}]", error) from None
        return cls(tasks=tuple(made)).checked()

    @classmethod
    def parse(cls, data: str | bytes) -> Workflow:
        """Return the workflow that a file holds: DAG-JSON, a template of the JavaScript client, or CBOR.

        Integers above 2^64-1 are read as floats, as Homestar reads them.

        Raises:
            Malformed: The data are none of these.
            BadWorkflow: Two tasks have the same instruction, or a template's tasks need each other in a circle.
        """
        return cls.named(data)[0]

    @classmethod
    def named(cls, data: str | bytes) -> tuple[Workflow, str]:
        """Return the workflow that a file holds, and the name that it has there or "". See `parse`.

        Homestar's RPC wraps a workflow with a name, which is part of no CID.
        """
        text = isinstance(data, str) or data.lstrip()[:1] == b"{"
        value = dagjson.loads(data, large_ints_as_floats=True) if text else decode(data)  # type: ignore[arg-type]
        if type(value) is not dict or "workflow" not in value or not set(value) <= {"name", "workflow"}:
            return cls.from_ipld(fill(value)), ""
        name = value.get("name")
        if name is not None and type(name) is not str:
            raise Malformed(f"Expected a text as the name of a workflow, found {type(name).__name__}, at `$.name`")
        try:
            return cls.from_ipld(fill(value["workflow"])), name or ""
        except Malformed as error:
            raise within(".workflow", error) from None

    @classmethod
    def load(cls, path: str | Path) -> Workflow:
        """Return the workflow in a file; see `parse`.

        Raises:
            NotFound: There is no such file, or it cannot be read.
        """
        return cls.parse(read_file(path))

    def save(self, path: str | Path) -> Path:
        """Write the workflow as JSON that Homestar runs, and return where."""
        target = Path(path).expanduser()
        target.write_text(dagjson.dumps(self.to_ipld(), pretty=True) + "\n", encoding="utf-8")
        return target

    def to_dot(self) -> str:
        """Return the graph as Graphviz text. The package `graphviz` writes it; its program `dot` need not be there.

        Raises:
            IpvmError: The package `graphviz` is not installed.
        """
        return digraph(self.tasks)

    def explore(self) -> None:
        """Show the graph of this workflow, to be searched, folded and asked about each task.

        Raises:
            BadInput: No notebook is here.
        """
        explore(self)

    def to_mermaid(self) -> str:
        """Return the graph as Mermaid text, which GitHub and JupyterLab draw where it stands in Markdown."""
        return flowchart(self.tasks)

    def checked(self) -> Workflow:
        """Return this workflow if it can be run as it stands.

        Raises:
            BadWorkflow: Two tasks have the same instruction.
        """
        seen: dict[CID, int] = {}
        for index, task in enumerate(self.tasks):
            first = seen.setdefault(task.run.cid, index)
            if first != index:
                raise BadWorkflow(
                    f"tasks {first} and {index} ({printable(task.run.func, limit=80)}) are the same instruction, "
                    f"{task.run.cid}: a workflow cannot contain duplicate tasks; use a nonce (nnc field) to tell them apart"
                )
        return self

    def by_instruction(self) -> dict[CID, Task]:
        """Return the tasks by the CID of their instruction."""
        return {task.run.cid: task for task in self.tasks}

    def awaits(self) -> dict[CID, tuple[CID, ...]]:
        """Return which instructions each instruction awaits, in this workflow or elsewhere."""
        return {
            task.run.cid: tuple(dict.fromkeys(promise.instruction for promise in task.run.awaits))
            for task in self.tasks
        }

    def __len__(self) -> int:
        return len(self.tasks)


def read_file(path: str | Path) -> bytes:
    """Return what is in the file of a workflow.

    Raises:
        NotFound: There is no such file, or it cannot be read.
    """
    target = Path(path).expanduser()
    try:
        return target.read_bytes()
    except OSError as error:
        where = printable(str(target), limit=300)
        raise NotFound(f"no workflow at {where}: {error.strerror}. The working directory is {Path.cwd()}") from None


def _list_head(count: int) -> bytes:
    """Return how the DAG-CBOR of a list of so many items begins (RFC 8949 section 3)."""
    if count < 24:
        return bytes([0x80 | count])
    width = next(width for width in (1, 2, 4) if count < 1 << 8 * width)
    return bytes([0x97 + width.bit_length()]) + count.to_bytes(width, "big")
