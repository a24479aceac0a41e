"""`%%ipvm`: a cell of plain Python whose handles are one workflow, run when the cell ends.

The first line becomes a call that begins a capture, and an awaited end is put after the last. In between, nothing
changes: lines, carets and tracebacks are the user's own. Because the end is awaited, the kernel stays able to hear a
click or an interrupt while tasks run.
"""

from __future__ import annotations

import ast
import linecache
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

MAGIC: Final = "%%ipvm"
_NAME: Final = "__ipvm_cell__"
_END: Final = f"await {_NAME}.end()"


class Transform:
    """Turns a `%%ipvm` cell into Python. It stands among the shell's clean-up transforms.

    It has side effects by IPython's word, so that it is not used where a cell is only tried for completeness.
    """

    has_side_effects = True

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self.typed: list[str] = []

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell, with a beginning and an end if it is ours."""
        if not is_ours(lines):
            return lines
        self.typed = list(lines)
        options = lines[0][len(MAGIC) :].strip()
        body = lines[1:]
        if not self._compiles("".join(body)):
            return ["\n", *body]  # the error is the user's, in the user's own lines
        if body and not body[-1].endswith("\n"):
            body[-1] += "\n"
        return [f"{_NAME} = __import__('ipvm.cells').cells.begin({options!r})\n", *body, f"{_END}\n"]

    def _compiles(self, body: str) -> bool:
        """Return True if Python takes the body, once the shell's own syntax in it is replaced."""
        try:
            compile(
                self._shell.transform_cell(body), "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
        except (SyntaxError, ValueError, OverflowError):
            return False
        return True


def plain(lines: list[str]) -> list[str]:
    """Return the lines of a `%%ipvm` cell as plain Python, where a cell is only tried for completeness."""
    return ["\n", *lines[1:]] if is_ours(lines) else lines


def is_ours(lines: list[str]) -> bool:
    """Return True if a cell begins with `%%ipvm`."""
    return bool(lines) and (lines[0].rstrip() == MAGIC or lines[0].startswith((MAGIC + " ", MAGIC + "\t")))


class LastValue(ast.NodeTransformer):
    """Keeps the value of the last expression before the end of a `%%ipvm` cell, which would not be shown otherwise."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Wrap the last expression of our cells."""
        if len(node.body) < 3 or not _is_end(node.body[-1]):  # a beginning, an expression, an end
            return node
        last = node.body[-2]
        if isinstance(last, ast.Expr) and not isinstance(last.value, ast.Await):
            kept = ast.parse(f"{_NAME}.last(None)", mode="eval").body
            assert isinstance(kept, ast.Call)
            kept.args = [last.value]
            last.value = ast.copy_location(kept, last.value)
            ast.fix_missing_locations(last)
        return node


def _is_end(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Await) and ast.unparse(statement) == _END


def parser() -> argparse.ArgumentParser:
    """Return a parser of what follows `%%ipvm`."""
    from ipvm.verbs import quiet_parser

    options = quiet_parser(MAGIC, "Every handle made in the cell is one workflow, run at the end of the cell.")
    options.add_argument("name", nargs="?", default="", help="bind the run to this name")
    options.add_argument(
        "--rerun", nargs="*", metavar="TASK", help="run tasks although they have receipts: all, or these functions"
    )
    options.add_argument("--keep-going", action="store_true", help="do not end the cell in error if a task failed")
    options.add_argument("--executor", metavar="E", help="who runs the tasks")
    options.add_argument("--line", action="store_true", help="show a line while it runs, instead of the live graph")
    options.add_argument("--plan", action="store_true", help="show what would run, and run nothing")
    options.add_argument("--time", type=float, metavar="S", help="seconds that any task may run")
    options.add_argument("--memory", metavar="M", help="memory that any task may use: '512 MB'")
    options.add_argument("--fuel", type=float, metavar="N", help="steps that any task may take")
    return options


def begin(options: str) -> Any:
    """Begin the capture of a cell. The transformed first line of a `%%ipvm` cell calls this."""
    from IPython.core.error import UsageError

    _show_what_was_typed(sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - the frame of the cell that calls
    from ipvm.live import CellRun
    from ipvm.verbs import Usage

    try:
        return CellRun(parser().parse_args(shlex.split(options)))
    except (Usage, ValueError) as error:
        raise UsageError(str(error)) from None


def _show_what_was_typed(filename: str) -> None:
    """Let tracebacks show the cell as it was typed. Its lines have the same numbers."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    for transform in shell.input_transformers_cleanup if shell is not None else ():
        if isinstance(transform, Transform) and filename in linecache.cache:
            lines = [*transform.typed, "\n"]
            linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)


def install(shell: InteractiveShell) -> Callable[[], None]:
    """Add the transforms to a shell, and return what takes them away."""
    ours: list[Any] = [Transform(shell), plain]
    shell.input_transformers_cleanup.extend(ours)
    last = LastValue()
    shell.ast_transformers.append(last)

    def remove() -> None:
        for transform in ours:
            if transform in shell.input_transformers_cleanup:
                shell.input_transformers_cleanup.remove(transform)
        if last in shell.ast_transformers:
            shell.ast_transformers.remove(last)

    return remove
