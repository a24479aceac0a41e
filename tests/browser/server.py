"""A Jupyter server for tests: settings, trust and kernels of its own, and a folder of notebooks.

JupyterLab's question about news, its autosave and its habit of leaving cells out of the page that are out of sight are
off. Kernels from elsewhere on the machine are not seen.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.daemons import HERE, answers, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nbformat.sign import NotebookNotary

_SETTINGS: Final[dict[str, dict[str, object]]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}

_CONFIG: Final = """\
from jupyter_client.kernelspec import KernelSpecManager

class Isolated(KernelSpecManager):
    def _kernel_dirs_default(self):
        return {kernels!r}

c.ServerApp.kernel_spec_manager_class = Isolated
"""


@dataclass(frozen=True)
class Server:
    """A Jupyter server with a folder of notebooks, and settings, trust and kernels of its own.

    Attributes:
        port: Where it listens on loopback.
        work: The folder that it shows.
        data: Its JUPYTER_DATA_DIR, which holds what it trusts.
    """

    port: int
    work: Path
    data: Path

    @classmethod
    @contextmanager
    def start(
        cls, folder: Path, *, kernels: Sequence[Path] = (), env: Mapping[str, str] | None = None
    ) -> Iterator[Server]:
        """Run a server until the block ends. It sees this environment's kernels, and those in the folders `kernels`."""
        places = {
            name: folder / name for name in ("config", "data", "runtime", "settings", "workspaces", "ipython", "work")
        }
        for place in places.values():
            place.mkdir()
        for name, values in _SETTINGS.items():
            file = places["settings"] / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        seen = [*map(str, kernels), f"{sys.prefix}/share/jupyter/kernels"]
        (places["config"] / "jupyter_server_config.py").write_text(_CONFIG.format(kernels=seen))
        port = free_port()
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            *(f"--ip={HERE}", f"--port={port}", "--ServerApp.port_retries=0", f"--ServerApp.root_dir={places['work']}"),
            *("--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True"),
            *("--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"),
        ]
        variables = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        isolated = {name: str(places[place]) for name, place in variables.items()}
        isolated |= {"JUPYTER_PATH": "", "JUPYTER_CONFIG_PATH": "", **(env or {})}
        with running(command, folder=folder, env=isolated, ready=lambda: answers(port, "/api/status")):
            yield cls(port, places["work"], places["data"])

    def write(self, name: str, *cells: str, kernel: str = "python3") -> str:
        """Write a notebook of code cells into the folder, and return its name."""
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"cell-{number}",
                    "source": source,
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                }
                for number, source in enumerate(cells)
            ],
        }
        (self.work / name).write_text(json.dumps(notebook))
        return name

    def copy(self, notebook: Path, *, kernel: str) -> str:
        """Copy a notebook into the folder, to be run by `kernel`, and return its name."""
        shutil.copy(notebook, self.work)
        content = self.read(notebook.name)
        content["metadata"]["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        (self.work / notebook.name).write_text(json.dumps(content))
        return notebook.name

    def read(self, name: str) -> dict[str, Any]:
        """Return a notebook as it is on disk."""
        content: dict[str, Any] = json.loads((self.work / name).read_bytes())
        return content

    def trust(self, name: str) -> None:
        """Make the reader trust a notebook: `jupyter trust`."""
        self._notary().sign(self._parsed(name))

    def distrust(self, name: str) -> None:
        """Make a notebook one that a stranger sent."""
        self._notary().unsign(self._parsed(name))

    def _notary(self) -> NotebookNotary:
        from nbformat.sign import NotebookNotary

        return NotebookNotary(data_dir=str(self.data))

    def _parsed(self, name: str) -> Any:
        import nbformat

        return nbformat.read(self.work / name, as_version=4)
