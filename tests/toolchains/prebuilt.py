"""The modules of the notebooks, built from their sources. `python -m tests.toolchains.prebuilt` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ipvm_kernel.toolchains import world, zig

MODULES: Final = Path(__file__).parents[2] / "notebooks" / "modules"


def built(name: str) -> bytes:
    """Return what the source of this name becomes."""
    source = (MODULES / f"{name}.zig").read_text(encoding="utf-8")
    wit, _ = world.extract(source)
    return zig.build(source, wit)


if __name__ == "__main__":
    for path in sorted(MODULES.glob("*.zig")):
        data = built(path.stem)
        path.with_suffix(".wasm").write_bytes(data)
        print(f"{path.stem}: {len(data):,} bytes")
