from __future__ import annotations

import pytest

from ipvm_kernel.ipld import dagjson
from tests.toolchains.prebuilt import BUILDS, MODULES, built

pytestmark = pytest.mark.peer("zig", "wasm-tools")


@pytest.mark.parametrize("name", sorted(path.stem for path in MODULES.glob("*.zig")))
def test_a_module_is_what_its_source_says(name: str) -> None:
    """
    The modules that come with the notebooks, and the receipts of building them, can be made by anybody and are the same
    to the byte.
    """
    data, build = built(name)
    listed = dagjson.loads(BUILDS.read_bytes())

    assert isinstance(listed, list)
    assert data == (MODULES / f"{name}.wasm").read_bytes(), "run: python -m tests.toolchains.prebuilt"
    assert build in listed, "run: python -m tests.toolchains.prebuilt"
