"""The kernel "IPVM (Python)": ipykernel with the extension loaded, CIDs that complete and inspect, and quick interrupts.

Everything works in the Python 3 kernel too, after `%load_ext ipvm`. What is added here is convenience. Start is cheap:
nothing that runs Wasm or opens a store is loaded before a cell asks for it.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any, Final

from ipykernel.ipkernel import IPythonKernel

_CID: Final = re.compile(r"ba[a-z2-7]{20,}")
_VERSION: Final = "0.1.0"
_BANNER: Final = (
    f"ipvm {_VERSION}: content-addressed compute. Begin with `import ipvm` or `%%ipvm`; `%ipvm help` lists the verbs."
)


class IPVMKernel(IPythonKernel):
    """IPython with content-addressed tasks."""

    implementation = "ipvm"
    implementation_version = _VERSION

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        shell: Any = self.shell
        shell.ipvm_completes_cids = True
        shell.banner1 = f"{_BANNER}\n{shell.banner1}"
        # Not through `%load_ext`, which would answer a notebook's own with "already loaded".
        importlib.import_module("ipvm").load_ipython_extension(shell)

    async def interrupt_request(self, stream: Any, ident: Any, parent: Any) -> None:
        """Stop whatever runs in the default session at once, then interrupt the cell as usual.

        This comes on the control channel, so it is heard while a guest spins in a plain `.result()`.
        """
        session = _session()
        if session is not None:
            session.interrupt()
        await super().interrupt_request(stream, ident, parent)  # type: ignore[no-untyped-call]

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        """Answer Shift-Tab: for a CID what it names, for all else what IPython says."""
        for match in _CID.finditer(code):
            if match.start() <= cursor_pos <= match.end():
                told = _about(match[0])
                if told is not None:
                    return {"status": "ok", "found": True, "data": {"text/plain": told}, "metadata": {}}
        return super().do_inspect(code, cursor_pos, detail_level, omit_sections)  # type: ignore[no-untyped-call]


def _session() -> Any:
    """Return the default session if anything opened it, without loading it."""
    defaults = sys.modules.get("ipvm_kernel.session.defaults")
    return defaults.current() if defaults is not None else None


def _about(text: str) -> str | None:
    """Return what a CID names, as text, or None."""
    from ipvm_kernel.errors import IpvmError
    from ipvm_kernel.ipld import dagjson
    from ipvm_kernel.printable import printable, size
    from ipvm_kernel.session import default

    session = default()
    try:
        found = session.find(session.resolve(text))
    except IpvmError:
        return None
    head = f"{found.kind} {found.cid} ({size(found.size)})"
    if found.kind == "file":
        return head
    return f"{head}\n{printable(dagjson.dumps(found.value, pretty=True), limit=4000, keep=chr(10))}"
