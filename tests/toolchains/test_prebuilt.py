from __future__ import annotations

import pytest

from tests.toolchains.prebuilt import MODULES, built

pytestmark = pytest.mark.peer("zig", "wasm-tools")


@pytest.mark.parametrize("name", sorted(path.stem for path in MODULES.glob("*.zig")))
def test_a_module_is_what_its_source_says(name: str) -> None:
    """
    The modules that come with the notebooks can be built by anybody, and are the same to the byte.
    """
    same = (MODULES / f"{name}.wasm").read_bytes() == built(name)

    assert same, f"{name}.wasm is not what {name}.zig becomes; run: python -m tests.toolchains.prebuilt"
