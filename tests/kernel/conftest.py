"""Kernels for protocol tests: ours, and Python's with the extension loaded. Whatever holds for one holds for both."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from tests.magics.conftest import WAT

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let jupyter_client leave its sockets and event loops to the collector, which `Kernel.close` calls."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


class Kernel:
    """A running kernel, spoken to in cells."""

    def __init__(self, manager: KernelManager, name: str) -> None:
        self.manager = manager
        self.name = name
        self.client = manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=TIMEOUT)

    def run(self, code: str, timeout: float = TIMEOUT) -> dict[str, Any]:
        """Run a cell, and return its reply with what it showed under `outputs`."""
        outputs: list[dict[str, Any]] = []
        reply = self.client.execute_interactive(code, timeout=timeout, output_hook=outputs.append, stop_on_error=False)
        answer: dict[str, Any] = dict(reply["content"])
        answer["outputs"] = [
            {"type": message["msg_type"], **message["content"]}
            for message in outputs
            if message["msg_type"] != "status"
        ]
        return answer

    def close(self, *, now: bool = True) -> None:
        """End the kernel and let go of what speaks with it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)
        self.manager.cleanup_resources()
        del self.client
        gc.collect()

    def text(self, code: str) -> str:
        """Run a cell, and return everything that it showed as text."""
        answer = self.run(code)
        parts = [
            output.get("text") or output.get("data", {}).get("text/plain") or "\n".join(output.get("traceback", ()))
            for output in answer["outputs"]
        ]
        return "\n".join(part for part in parts if part)


def start(name: str, home: Path) -> KernelManager:
    """Start a kernel by its module, as its kernelspec would."""
    module = {"ipvm": "ipvm_kernel", "python3": "ipykernel_launcher"}[name]
    manager = KernelManager()
    manager._kernel_spec = KernelSpec(
        argv=[sys.executable, "-m", module, "-f", "{connection_file}"],
        display_name=name,
        language="python",
        interrupt_mode="message" if name == "ipvm" else "signal",
    )
    manager.start_kernel(env={**os.environ, "IPVM_HOME": str(home)}, cwd=str(home))
    return manager


@pytest.fixture(scope="module", params=["ipvm", "python3"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """
    A kernel with `ipvm` loaded and a module `demo`, in a home of its own.
    """
    manager = start(request.param, tmp_path_factory.mktemp("home"))
    made = Kernel(manager, request.param)
    made.run("%load_ext ipvm\nimport ipvm")
    made.run(f"%%wasm demo --lang wat\n{WAT}")
    yield made
    made.close()
