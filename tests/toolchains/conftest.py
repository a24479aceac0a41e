from __future__ import annotations

from pathlib import Path

import pytest

from tests.toolchains.guest import Guest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def imgops() -> Guest:
    """The module of pictures, as it comes with the notebooks."""
    return Guest((NOTEBOOKS / "modules" / "imgops.wasm").read_bytes())


@pytest.fixture(scope="session")
def stats() -> Guest:
    """The module of statistics, as it comes with the notebooks."""
    return Guest((NOTEBOOKS / "modules" / "stats.wasm").read_bytes())
