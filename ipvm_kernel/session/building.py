"""Building a module from source, as a task: replayed from its receipt where there is one, compiled otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel import plugins
from ipvm_kernel.errors import BuildFailed, ToolchainMissing
from ipvm_kernel.handles import Handle
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Task
from ipvm_kernel.toolchains import instruction
from ipvm_kernel.toolchains.world import extract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.handles import Home
    from ipvm_kernel.session.admission import Admission
    from ipvm_kernel.toolchains import Toolchain


def declare(home: Home, source: str, lang: str, world: str | None, flags: Sequence[str]) -> Handle:
    """Return the handle of a build. Its value is a link to the module.

    Raises:
        NotFound: There is no such toolchain.
    """
    toolchain: Toolchain = plugins.load("toolchains", lang)
    wit = extract(source, toolchain.sign)[0] if world is None else world
    try:
        version = toolchain.version()
    except ToolchainMissing:
        version = toolchain.pinned  # a build that came with ipvm, or from a colleague, may be on file under it
    return Handle(home, Task(run=instruction(toolchain, source, wit, flags, version)), None)


def built(handle: Handle, home: Home, admission: Admission) -> CID:
    """Return the CID of the module that a build gives, compiling if its receipt is not on file.

    Raises:
        BuildFailed: The compiler refused the source; the message shows where.
        ToolchainMissing: The compiler is not installed, and the build is not on file.
    """
    answer = home.answer_for(handle, timeout=None, rerun=False)
    receipt = answer.receipt
    if receipt is None:
        raise BuildFailed("the build was stopped before it ended")
    if receipt.ok and isinstance(receipt.value, CID):
        return receipt.value
    error = receipt.error if isinstance(receipt.error, dict) else {}
    message = str(error.get("message"))
    if error.get("kind") != "missing":
        raise BuildFailed(message)
    judged = admission.judgements([handle.cid]).get(handle.cid)
    if judged is not None and judged.issuers:
        message += f" A receipt of this build came along, which is used once you trust its signer: ipvm trust add {judged.issuers[0]}"
    raise ToolchainMissing(message)
