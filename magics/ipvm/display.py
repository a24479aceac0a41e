"""What the objects of a session look like in a cell: pictures of what is known, made without running anything.

`register` teaches an IPython shell to show them. Types are given by name, so that nothing is imported before such an
object exists.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipvm_kernel import Run

_DRAWERS: Final = {
    ("ipvm_kernel.handles", "Handle"): "handle",
    ("ipvm_kernel.handles", "Promised"): "promise",
    ("ipvm_kernel.handles", "File"): "file",
    ("ipvm_kernel.callables", "Handles"): "handles",
    ("ipvm_kernel.callables", "Module"): "module",
    ("ipvm_kernel.callables", "Function"): "function",
    ("ipvm_kernel.model.receipt", "Receipt"): "receipt",
    ("ipvm_kernel.model.workflow", "Workflow"): "workflow",
    ("ipvm_kernel.engine.planner", "Plan"): "plan",
    ("ipvm_kernel.runs", "Run"): "run",
    ("ipvm_kernel.ipld.cid", "CID"): "cid",
}
"""For each type the name of the function of `scenes`, of `picture.text` and of `picture.html` that shows it."""


def mimebundle(obj: Any, *, html: bool = True, width: int = 100, ascii_only: bool = False) -> dict[str, str]:
    """Return what an object of a session looks like, by media type. Nothing is run.

    Args:
        obj: A handle, handles, a promise, file, receipt, workflow, plan, run, module, function or CID.
        html: False for a place that shows text alone.
        width: Columns of the text.
        ascii_only: True if the place shows ASCII alone.

    Raises:
        TypeError: It is none of these.
    """
    names = (_DRAWERS.get((kind.__module__, kind.__name__)) for kind in type(obj).__mro__)
    name = next(filter(None, names), None)
    if name is None:
        raise TypeError(f"expected an object of ipvm, found {type(obj).__name__}, which has no picture here")
    view = getattr(importlib.import_module("ipvm.scenes"), name)(obj)
    plain = getattr(importlib.import_module("ipvm_kernel.picture.text"), name)
    bundle = {"text/plain": plain(view, width, ascii_only=ascii_only)}
    if html:
        bundle["text/html"] = getattr(importlib.import_module("ipvm_kernel.picture.html"), name)(view)
    return bundle


def run_bundle(run: Run) -> dict[str, str]:
    """Return what stays in the notebook of a run: its picture and its receipts."""
    return mimebundle(run)


def plan_view(plan: Any) -> Picture:
    """Return a plan as an object that shows itself."""
    return Picture(mimebundle(plan))


class Picture:
    """Something that was drawn already."""

    def __init__(self, bundle: dict[str, str]) -> None:
        self._bundle = bundle

    def __repr__(self) -> str:
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return self._bundle


def register(shell: InteractiveShell) -> None:
    """Teach a shell to show the objects of a session. Doing it twice does nothing more."""
    formatter: Any = shell.display_formatter
    for module, name in _DRAWERS:
        formatter.mimebundle_formatter.for_type_by_name(module, name, partial(_shown, formatter))


def unregister(shell: InteractiveShell) -> None:
    """Take away what `register` added."""
    formatter: Any = shell.display_formatter
    for module, name in _DRAWERS:
        formatter.mimebundle_formatter.pop(f"{module}.{name}", None)


def _shown(formatter: Any, obj: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """Return a bundle for a shell: HTML where it is shown, and no sign that its terminal cannot write.

    Its metadata names the receipt that it shows, so that whoever gets the notebook can check what it shows.
    """
    html = "text/html" in formatter.active_types
    encoding = "utf-8" if html else getattr(sys.stdout, "encoding", None) or "utf-8"
    return mimebundle(obj, html=html, ascii_only=not encoding.lower().startswith("utf")), _backed(obj)


def _backed(obj: Any) -> dict[str, Any]:
    """Return the metadata of an output that shows a handle whose receipt is on file, or a receipt. Nothing is run."""
    from ipvm import footer
    from ipvm_kernel import Handle, Receipt
    from ipvm_kernel.errors import IpvmError
    from ipvm_kernel.session import Promised, default

    handle = obj.handle if isinstance(obj, Promised) else obj
    if isinstance(handle, Handle) and handle.receipt is not None:
        return footer.about({str(handle.cid): str(handle.receipt.cid)})
    if isinstance(obj, Receipt):
        try:
            return footer.about({str(default().instruction_of(obj.cid)): str(obj.cid)})
        except IpvmError:
            return {}  # whose task is not here
    return {}
