from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.peers import needs
from tests.wasm.guests import loaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.wasm.module import Module


@pytest.fixture(scope="session")
def homestar_module() -> Callable[[str], Module]:
    """Homestar's example modules by file name, loaded once."""
    folder = os.environ.get("IPVM_HOMESTAR_FIXTURES")
    if not folder:
        pytest.skip("IPVM_HOMESTAR_FIXTURES is not set: the folder homestar-wasm/fixtures of a Homestar checkout.")
    made: dict[str, Module] = {}

    def get(name: str) -> Module:
        if name not in made:
            if name in {"example_test.wasm", "example_add.wasm", "example_subtract.wasm"}:
                needs("wasm-tools")
            made[name] = loaded(Path(folder, name).read_bytes())
        return made[name]

    return get
