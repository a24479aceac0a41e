"""People at a keyboard: each has a home and a folder to work in, and types `ipvm` and Jupyter's commands as programs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.store import EVERY
from ipvm_kernel.store.sqlite import SqliteStore
from tests.sharing.people import outputs
from tests.sharing.samples import code, notebook
from tests.toolchains.prebuilt import MODULES

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID

BIN: Final = Path(sys.executable).parent

CELLS: Final = (
    "%load_ext ipvm\nimport ipvm",
    'imgops = ipvm.module("modules/imgops.wasm")\nphoto = ipvm.file("data/photo.png")',
    """\
%%ipvm pipeline
crop = imgops.crop(photo, x=150, y=60, width=300, height=300)
grey = imgops.grayscale(imgops.rotate90(crop))
soft = imgops.blur(crop, sigma=3.0)""",
    "print(len(grey.result()))",
)
"""A notebook of four tasks, which reads a module and a photograph."""

TASKS: Final = 4


class Typist:
    """Somebody with a home and a folder to work in.

    Args:
        folder: Where both are made.
        kubo: The port of their Kubo, or None.
        variables: More for the environment of what they start.
    """

    def __init__(self, folder: Path, kubo: int | None = None, **variables: str) -> None:
        self.folder, self.home = folder, folder / "home"
        folder.mkdir()
        api = "off" if kubo is None else f"http://127.0.0.1:{kubo}"
        self.env = {**os.environ, "IPVM_HOME": str(self.home), "IPVM_KUBO_API": api, **variables}

    def types(self, *words: str | Path, fails: bool = False, seconds: int = 20) -> str:
        """Run a command in their folder, and return what it says. A fetch may take some seconds."""
        done = subprocess.run(
            [str(word) for word in words],
            check=False,
            cwd=self.folder,
            env={**self.env, "IPVM_FETCH_SECONDS": str(seconds)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in said, said
        assert bool(done.returncode) == fails, said
        return said

    def ipvm(self, *words: str | Path, fails: bool = False, seconds: int = 20) -> str:
        """Type `ipvm`."""
        return self.types(BIN / "ipvm", *words, fails=fails, seconds=seconds)

    def writes(self) -> Path:
        """Write the notebook, with what it reads beside it."""
        for name in ("modules/imgops.wasm", "data/photo.png"):
            target = self.folder / name
            target.parent.mkdir()
            target.write_bytes((MODULES.parent / name).read_bytes())
        made = self.folder / "study.ipynb"
        made.write_bytes(notebook(*(code(source, ident=f"cell-{n}") for n, source in enumerate(CELLS))))
        return made

    def executes(self, path: Path) -> str:
        """Run a notebook from top to bottom, save it, and return what its outputs say."""
        self.types(BIN / "jupyter-execute", "--inplace", path)
        return "\n".join(outputs(path))

    def held(self) -> tuple[set[CID], dict[str, CID], list[str]]:
        """Return the blocks and pins of their home, and how the tasks in its journal ended."""
        with contextlib.closing(SqliteStore(self.home)) as store:
            return set(store.cids()), store.pins(), [entry.how for entry in store.journal(limit=EVERY)]

    def ran(self) -> int:
        """Return how many tasks were ever run in their home."""
        return sum(how in {"computed", "failed"} for how in self.held()[2])
