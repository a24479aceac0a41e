"""The rehearsal of the demo: its notebooks run headless, twice, in kernels of their own. The second time, nothing runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm.views import brief, table
from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.printable import plural, printable, seconds
from ipvm_kernel.session import default

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TIMEOUT: Final = 300
_SHOWN: Final = 12


def rehearse(folder: Path) -> tuple[str, bool]:
    """Run every notebook of a folder twice, write each as an HTML page, and say what came of it.

    Returns:
        The text to print, and whether something failed or ran a second time.

    Raises:
        NotFound: nbclient or nbconvert is not installed, or there is no notebook.
    """
    try:
        import nbclient
        import nbconvert
        import nbformat
    except ImportError as absent:
        raise NotFound(f'running notebooks takes {absent.name}: pip install "ipvm[demo]"') from None
    notebooks = sorted(folder.glob("*.ipynb"))
    if not notebooks:
        raise NotFound(f"there is no notebook in {folder}")
    lines: list[list[str]] = []
    failed = False
    for path in notebooks:
        notebook: Any = None
        for turn in ("first", "second"):
            notebook = nbformat.read(path, as_version=4)
            before, began = _made(), time.perf_counter()
            error = ""
            try:
                nbclient.NotebookClient(
                    notebook,
                    timeout=_TIMEOUT,
                    kernel_name=_kernel(),
                    store_widget_state=False,  # of a live graph its picture stays
                    resources={"metadata": {"path": str(folder)}},
                    extra_arguments=["--log-level=40"],  # else each kernel warns that it speaks plain TCP on loopback
                ).execute()
            except nbclient.exceptions.CellExecutionError as problem:
                error = printable(f"{problem.ename}: {problem.evalue}", limit=200)
            made = _made() - before
            failed |= bool(error) or (turn == "second" and made > 0)
            named = len({instruction for receipts in _receipts(notebook) for instruction in receipts})
            told = error or f"{made:,} run, {max(named - made, 0):,} replayed"
            lines.append([path.name, turn, told, seconds(time.perf_counter() - began)])
            print(f"{path.name}, {turn} run: {told}", flush=True)  # noqa: T201 - progress of a long command
        page, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)  # type: ignore[no-untyped-call]
        path.with_suffix(".html").write_text(page, encoding="utf-8")
    pages = "\n".join(f"  {path.with_suffix('.html')}" for path in notebooks)
    text = f"{table(lines, ['notebook', 'run', 'tasks', 'took'])}\n\n{_latest()}\n\nAs pages, to look at without a kernel:\n{pages}"
    if failed:
        text += "\n\nSomething failed, or ran a second time: see above."
    return text, failed


def _kernel() -> str:
    """Return the name of the kernel to run in: ours, or Python's where ours is not installed."""
    from jupyter_client.kernelspec import KernelSpecManager

    return "ipvm" if "ipvm" in KernelSpecManager().find_kernel_specs() else "python3"


def _made() -> int:
    """Return how many tasks were ever run in the default store."""
    return sum(entry.how in {"computed", "failed"} for entry in default().store.journal(limit=1_000_000))


def _receipts(notebook: Any) -> Iterator[dict[str, str]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            about = output.get("metadata", {}).get("ipvm")
            if about:
                yield about.get("receipts", {})


def _latest() -> str:
    """Return the table of the latest receipts, one line a function."""
    session = default()
    rows: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for entry in session.store.journal(limit=5000):
        counts[entry.func] = counts.get(entry.func, 0) + 1
        if entry.receipt is None or entry.func in rows or len(rows) >= _SHOWN:
            continue
        try:
            receipt = session.receipt_at(entry.receipt)
        except IpvmError:
            continue
        value = receipt.value if receipt.ok else printable(entry.error, limit=60)
        rows[entry.func] = [printable(entry.func, limit=30), str(entry.receipt), seconds(entry.seconds), brief(value)]
    listed = [[func, f"{counts[func]:,}", *row[1:]] for func, row in rows.items()]
    return f"{table(listed, ['function', 'tasks', 'latest receipt', 'took', 'value'])}\n{plural(sum(counts.values()), 'task')} in the journal"
