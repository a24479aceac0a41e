"""A workflow as Mermaid text, which GitHub, GitLab and JupyterLab draw where it stands in Markdown.

Source: Mermaid, flowcharts, https://mermaid.js.org/syntax/flowchart.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model.promise import Branch
    from ipvm_kernel.model.task import Task

_NAME: Final = 60  # characters of a name
_ARROWS: Final[dict[Branch, str]] = {"ok": "-->", "error": "-. error .->", "*": "-. outcome .->"}


def flowchart(tasks: Sequence[Task]) -> str:
    """Return Mermaid text: a box for each task, and an arrow for each promise; what is awaited from elsewhere is dashed."""
    lines = ["flowchart LR"]
    numbers: dict[CID, int] = {}

    def box(cid: CID, name: str, *, elsewhere: bool = False) -> None:
        numbers[cid] = len(numbers)
        style = ":::elsewhere" if elsewhere else ""
        lines.append(f'  n{numbers[cid]}["{_label(name)}<br/>{cid.short}"]{style}')

    for task in tasks:
        box(task.run.cid, printable(task.run.func, limit=_NAME))
    for task in tasks:
        for promise in dict.fromkeys(task.run.awaits):
            if promise.instruction not in numbers:
                box(promise.instruction, "elsewhere", elsewhere=True)
            lines.append(f"  n{numbers[promise.instruction]} {_ARROWS[promise.branch]} n{numbers[task.run.cid]}")
    return "\n".join([*lines, "  classDef elsewhere stroke-dasharray: 4 4", ""])


def _label(text: str) -> str:
    """Return a text in which nothing has a meaning to Mermaid, Markdown or HTML: all but letters and digits by number.

    >>> _label('a"<b>')
    'a#34;#60;b#62;'
    """
    return "".join(c if c.isalnum() or c in " _" else f"#{ord(c)};" for c in text)
