from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.modules["cbrrr"] = None  # as if it were not installed
import ipvm_kernel.ipld
from ipvm_kernel.ipld import CID, codec, decode, encode
assert not codec._reader.boundless
assert decode(encode({"a": CID.of(b"")})) == {"a": CID.of(b"")}
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """What is loaded once values are encoded and decoded, where cbrrr is not installed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("name", ["multiformats", "numpy", "asyncio", "IPython", "dag_cbor", "wasmtime", "apsw"])
def test_start_is_cheap(loaded: set[str], name: str) -> None:
    """
    Naming and checking content needs none of the heavy libraries.
    """
    assert name not in loaded


def test_it_works_without_a_compiler(loaded: set[str]) -> None:
    """
    Where cbrrr cannot be built, cbor2 reads.
    """
    assert "cbor2" in loaded


def test_only_one_reader_is_loaded() -> None:
    """
    Where cbrrr is installed, cbor2 costs no start-up time.
    """
    pytest.importorskip("cbrrr")
    program = "import sys, ipvm_kernel.ipld; print('cbor2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
