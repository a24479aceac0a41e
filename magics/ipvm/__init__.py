"""ipvm: content-addressed compute for notebooks.

    import ipvm

    imgops = ipvm.module("imgops.wasm")         # functions, with keyword arguments and WIT types
    crop = imgops.crop(ipvm.file("photo.png"), x=150, y=100, width=300, height=200)     # a handle: nothing has run
    grey = imgops.grayscale(crop)               # promises are passed on
    grey.result()                               # runs what has no receipt on file, and nothing else

What is here belongs to the default session, kept in `$IPVM_HOME` or the platform's user data directory;
`ipvm.Session(...)` makes others. `%load_ext ipvm` adds `%%ipvm`, `%%wasm` and `%ipvm` to IPython, and `%ipvm help` lists
the verbs, each of which is also a function here and a command of the shell.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipvm.functions import array, each, explore, file, handle, module, put, run, secret
    from ipvm_kernel import CID, File, Handle, Receipt, Run, Session, Workflow, decode, encode, errors
    from ipvm_kernel.session import gather

__version__ = "0.1.0"

_FACE = {
    **dict.fromkeys(
        ("CID", "File", "Handle", "Receipt", "Run", "Session", "Workflow", "decode", "encode", "errors"), "ipvm_kernel"
    ),
    "gather": "ipvm_kernel.session",
    **dict.fromkeys(("array", "each", "explore", "file", "handle", "module", "put", "run", "secret"), "ipvm.functions"),
}

__all__ = [
    "CID", "File", "Handle", "Receipt", "Run", "Session", "Workflow", "array", "decode", "each", "encode", "errors",
    "explore", "file", "gather", "handle", "module", "put", "run", "secret",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Find what is asked for where it is made; `import ipvm` itself loads nothing."""
    where = _FACE.get(name)
    if where is not None:
        return getattr(importlib.import_module(where), name)
    if not name.startswith("_"):
        verb = importlib.import_module("ipvm.verbs").VERBS.get(name)
        if verb is not None:
            return verb.function()
    raise AttributeError(f"ipvm has no {name!r}. `ipvm.help()` lists what there is")


def __dir__() -> list[str]:
    return sorted({*__all__, *importlib.import_module("ipvm.verbs").VERBS})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics, displays, completion and the line under each cell. Loading twice does nothing."""
    from ipvm.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take away what `load_ipython_extension` added."""
    from ipvm.extension import unload

    unload(shell)
