"""What the tests of values, bytes and names share."""

from __future__ import annotations

import pytest

from ipvm_kernel.ipld import codec
from tests.peers import needs


@pytest.fixture(params=["cbor2", "cbrrr"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each library that can read CBOR for us, in turn. They have to be indistinguishable."""
    name: str = request.param
    if name == "cbrrr":
        needs("cbrrr")
        monkeypatch.setattr(codec, "_reader", codec.cbrrr_reader())
    else:
        monkeypatch.setattr(codec, "_reader", codec.cbor2_reader())
    return name
