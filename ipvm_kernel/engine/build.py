"""`ipvm/build`: the operation that makes a module of source, so that a build is a task like any other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ipvm_kernel.engine.ops import Means, Performed, Prepared, Unprepared, plain
from ipvm_kernel.engine.resolved import canonical, key_of
from ipvm_kernel.errors import BuildFailed, ToolchainMissing
from ipvm_kernel.model import Outcome, failure
from ipvm_kernel.toolchains import BUILD
from ipvm_kernel.wasm.limits import Limits, Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.model import Instruction
    from ipvm_kernel.store import Store
    from ipvm_kernel.toolchains import Toolchain
    from ipvm_kernel.wasm.stop import Stop


class Build:
    """Compile a cell's source. A refusal is an error that is never filed: the next compiler may take it."""

    name = BUILD

    def __init__(self, means: Means) -> None:
        self._store: Store = means.store
        self._toolchain: Callable[[str], Toolchain] = means.toolchain

    def fallible(self, instruction: Instruction) -> bool:  # noqa: ARG002 - no build is
        """Return False: what a build gives is a module or an error."""
        return False

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        """Check the form of the input."""
        tree = plain(tree)
        given = tree if type(tree) is dict else {}
        if not all(type(given.get(name)) is str for name in ("lang", "source", "world")):
            raise Unprepared(failure("conversion", "a build takes the input {lang, source, world, flags, glue}"))
        key = key_of(instruction.rsc, instruction.op, canonical(None, tree), instruction.nnc)
        return Prepared(instruction, given, key)

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:  # noqa: ARG002 - it has a deadline
        """Run the compiler."""
        given = prepared.tree
        began = time.perf_counter()
        flags = tuple(flag for flag in given.get("flags") or () if type(flag) is str)
        try:
            toolchain = self._toolchain(given["lang"])
            data = toolchain.build(given["source"], given["world"], flags=flags)
        except ToolchainMissing as error:
            return Performed(failure("missing", error.message), filed=False, report=Report())
        except BuildFailed as error:
            return Performed(failure("host", error.message), filed=False, report=Report())
        link = self._store.put_file(data, "module")
        report = Report(engine=prepared.instruction.rsc.removeprefix("ipvm:toolchain/"))
        return Performed(Outcome("ok", link), filed=True, report=report, seconds=time.perf_counter() - began)
