"""SVG as PNG, by what is installed: the package `resvg_py`, else the program `rsvg-convert` or `inkscape`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.printable import printable

_ZOOM: Final = 2  # pixels for each unit of the picture, so that it is sharp on paper
_PATIENCE: Final = 60  # seconds


def png(svg: str) -> bytes:
    """Return a picture of ours as PNG.

    Raises:
        IpvmError: Nothing that draws is installed, or it failed.
    """
    if importlib.util.find_spec("resvg_py") is not None:
        import resvg_py

        try:
            return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=_ZOOM))
        except (ValueError, RuntimeError) as error:
            raise IpvmError(f"resvg_py could not draw the picture: {printable(str(error), limit=300)}") from None
    for program, options in _PROGRAMS.items():
        found = shutil.which(program)
        if found is not None:
            return _by(found, options, svg)
    raise IpvmError(
        "a PNG needs something that draws SVG: pip install 'ipvm[png]', or install rsvg-convert (librsvg) or Inkscape. "
        "An SVG needs nothing"
    )


_PROGRAMS: Final = {
    "rsvg-convert": ["--zoom", str(_ZOOM), "--output", "{out}", "{svg}"],
    "inkscape": ["{svg}", "--export-type=png", "--export-filename={out}"],
}


def _by(program: str, options: list[str], svg: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="ipvm-png-") as folder:
        source, target = Path(folder) / "picture.svg", Path(folder) / "picture.png"
        source.write_text(svg, encoding="utf-8")
        command = [program, *(option.format(svg=source, out=target) for option in options)]
        done = subprocess.run(command, check=False, capture_output=True, timeout=_PATIENCE)  # noqa: S603 - ours
        if done.returncode or not target.exists():
            said = printable(done.stderr.decode("utf-8", "replace"), limit=300)
            raise IpvmError(f"{program} could not draw the picture: {said}")
        return target.read_bytes()
