"""Pictures: tasks, receipts and values as HTML, SVG and text. Values go in, strings come out, and nothing is run.

`scene` says in plain data what is drawn; `html`, `svg`, `text` and `dot` draw it. What a guest, a file or a peer chose is
escaped here, and the size of what comes out is bounded whatever goes in.
"""

from ipvm_kernel.picture.scene import (
    NOTHING,
    Await,
    CidView,
    Draft,
    FileView,
    FunctionView,
    Group,
    HandleView,
    Link,
    ListView,
    ModuleView,
    ReceiptView,
    Scene,
    TaskView,
    compose,
)

__all__ = [
    "NOTHING",
    "Await",
    "CidView",
    "Draft",
    "FileView",
    "FunctionView",
    "Group",
    "HandleView",
    "Link",
    "ListView",
    "ModuleView",
    "ReceiptView",
    "Scene",
    "TaskView",
    "compose",
]
