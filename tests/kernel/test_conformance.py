"""Jupyter's own suite for kernels, run against a kernel installed from the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import jupyter_kernel_test
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """
    The kernelspec of a freshly built wheel, unpacked where Jupyter looks first.
    """
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT],
        check=True,
        timeout=300,
    )
    (wheel,) = folder.glob("ipvm-*.whl")
    target = folder / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel],
        check=True,
        timeout=300,
    )
    spec = target / "share" / "jupyter"
    assert (spec / "kernels" / "ipvm" / "kernel.json").is_file()
    before = {name: os.environ.get(name) for name in ("JUPYTER_PATH", "PYTHONPATH", "IPVM_HOME")}
    os.environ.update(JUPYTER_PATH=str(spec), PYTHONPATH=str(target), IPVM_HOME=str(folder / "home"))
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class TestIPVMKernel(jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    """What a front end expects of any kernel. (History by range is left out, as in the suite's own sample: IPython
    reports the running session as 0.)
    """

    kernel_name = "ipvm"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples: ClassVar[list[dict[str, Any]]] = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples: ClassVar[list[str]] = [
        "1",
        "print('hello, world')",
        "def f(x):\n  return x*2\n\n\n",
        "%%ipvm\nx = 1",
    ]
    incomplete_code_samples: ClassVar[list[str]] = ["print('''hello", "def f(x):\n  x*2", "%%ipvm\nfor x in y:"]
    invalid_code_samples: ClassVar[list[str]] = ["import = 7q", "%%ipvm\nx = = 1"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result: ClassVar[list[dict[str, str]]] = [{"code": "1+2+3", "result": "6"}]
    code_display_data: ClassVar[list[dict[str, str]]] = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"}
    ]
    supported_history_operations = ("tail", "search")
    code_history_pattern = "1?2*"
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"

    def execute_helper(self, *args: Any, **kwargs: Any) -> Any:
        """Run code as the suite does, and wait longer than its 0.1 s for what is shown: the machine may be busy."""
        channel = self.kc.iopub_channel
        patient = channel.get_msg
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(channel, "get_msg", lambda timeout: patient(timeout=max(timeout, 10)))
            return super().execute_helper(*args, **kwargs)
