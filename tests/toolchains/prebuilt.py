"""The modules of the notebooks and their build receipts. `python -m tests.toolchains.prebuilt` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ipvm_kernel.ipld import Ipld, dagjson
from ipvm_kernel.session import Session

MODULES: Final = Path(__file__).parents[2] / "notebooks" / "modules"
BUILDS: Final = MODULES / "builds.json"


def built(name: str) -> tuple[bytes, dict[str, Ipld]]:
    """Return what the source of this name becomes, and the task and receipt of building it."""
    source = (MODULES / f"{name}.zig").read_text(encoding="utf-8")
    with Session(None) as session:
        handle = session.build_task(source, lang="zig")
        cid = session.built(handle)
        receipt = handle.receipt
        assert receipt is not None
        return session.store.read(cid), {"task": handle.task.to_ipld(), "receipt": receipt.to_ipld()}


if __name__ == "__main__":
    listed: list[Ipld] = []
    for path in sorted(MODULES.glob("*.zig")):
        data, build = built(path.stem)
        path.with_suffix(".wasm").write_bytes(data)
        listed.append(build)
        print(f"{path.stem}: {len(data):,} bytes")
    BUILDS.write_text(dagjson.dumps(listed, pretty=True) + "\n", encoding="utf-8")
