"""Alice's archive, `notebooks/data/alice.car`: how it was made, and how it is made anew.

    python -m tests.notebooks.alice

Her key is thrown away: a secret that stands where everybody can read it would let everybody sign in her name, for whoever
forgot to take his trust in her away. So each archive has a DID of its own, and this writes it into the notebook too.
Receipts, files and sources are the same each time; what the moment adds is the key, the time of signing, how long the
tasks took, and the versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import nbclient
import nbformat

from ipvm import shipped
from ipvm_kernel.session import Session

NOTEBOOKS: Final = shipped.notebooks()
ARCHIVE: Final = NOTEBOOKS / "data" / "alice.car"
ABOUT: Final = ARCHIVE.with_name("README.md")
READER: Final = NOTEBOOKS / "07-share.ipynb"
DID: Final = re.compile(r"did:key:z6Mk\w{44}")

PROSE: Final = """\
# A roof

The upper roof of a pavilion, after a photograph of danielbuechele (CC BY 2.0). In grey its edges are easy to see; blurred,
its shape is. I wanted both."""

CODE: Final = (
    "%load_ext ipvm\nimport ipvm",
    "%wasm imgops modules/imgops.zig",
    'roof = ipvm.file("roof.png")\nroof',
    """\
%%ipvm roofs
grey = imgops.grayscale(roof)
soft = [imgops.blur(roof, sigma=sigma) for sigma in (2.0, 4.0)]
turned = imgops.rotate90(grey)""",
    "grey",
    "soft[1]",
    'print("the blurred roof has", len(soft[1].result()), "bytes, the sharp one", len(grey.result()))',
)
"""Her notebook."""


def roof(folder: Path) -> Path:
    """Cut the roof out of the photograph, with the module that every notebook uses, and return the file."""
    with Session(None) as session:
        imgops = session.module(NOTEBOOKS / "modules" / "imgops.wasm")
        photo = session.file(NOTEBOOKS / "data" / "photo.png")
        made = folder / "roof.png"
        made.write_bytes(imgops.crop(photo, x=132, y=30, width=132, height=76).result())
    return made


def make(folder: Path) -> tuple[Path, str]:
    """Let somebody run her notebook in a new home, and share it; return the archive and the DID of who signed."""
    home, work = folder / "home", folder / "work"
    (work / "modules").mkdir(parents=True)
    shutil.copy(NOTEBOOKS / "modules" / "imgops.zig", work / "modules")
    roof(work)
    with Session(home) as session:
        shipped.admit_builds(session)
    made = nbformat.v4.new_notebook()
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made.cells = [nbformat.v4.new_markdown_cell(PROSE, id="roof-0")]
    made.cells += [nbformat.v4.new_code_cell(source, id=f"roof-{n}") for n, source in enumerate(CODE, 1)]
    env = {**os.environ, "IPVM_HOME": str(home), "IPVM_KUBO_API": "off"}
    client = nbclient.NotebookClient(
        made, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(work)}}
    )
    client.execute(env=env)
    nbformat.write(made, work / "roof.ipynb")
    program = Path(sys.executable).with_name("ipvm")

    def ipvm(*words: str | Path) -> str:
        done = subprocess.run([program, *words], cwd=work, env=env, check=True, capture_output=True, text=True)
        return done.stdout

    ipvm("share", "roof.ipynb", "-o", folder)
    did = DID.search(ipvm("id"))
    assert did is not None
    return folder / "roof.car", did[0]


def main() -> None:
    """Make the archive anew, and tell the reader's notebook and the README who signed."""
    before = f"{ARCHIVE.stat().st_size:,} bytes" if ARCHIVE.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        archive, did = make(Path(folder))
        shutil.copyfile(archive, ARCHIVE)
    now = f"{ARCHIVE.stat().st_size:,} bytes"
    for path in (READER, ABOUT):
        path.write_text(DID.sub(did, path.read_text()).replace(before or now, now))
    print(f"{ARCHIVE}: {now}, signed by {did}")


if __name__ == "__main__":
    main()
