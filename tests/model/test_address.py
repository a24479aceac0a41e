"""Addresses: the many ways to write a CID, and the places that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Instruction
from ipvm_kernel.model.address import content, parse

FILE = CID("bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5gerjmnakqihhqx4zq")
OLD = CID("QmY6LjJ1HExi2TgHshc56ecPdVSNaWrzFbWq9sahHFrNoM")

SPELLINGS = [
    "ipfs://{}", "ipfs://{}/", "IPFS://{}", "{}", "https://ipfs.io/ipfs/{}", "https://ipfs.io/ipfs/{}/",
    "https://ipfs.io/ipfs/{}?filename=x.wasm#part", "http://127.0.0.1:8080/ipfs/{}",
]  # fmt: skip


@pytest.mark.parametrize("form", SPELLINGS)
@pytest.mark.parametrize("cid", [FILE, OLD])
def test_ways_to_write_a_cid(form: str, cid: CID) -> None:
    """
    `ipfs:`, a gateway's URL and the CID alone all name the content, of either version.
    """
    assert content(form.format(cid)) == cid
    assert Instruction(rsc=form.format(cid), op="wasm/run", input=None).module == cid


@pytest.mark.parametrize("text", [f"https://{FILE}.ipfs.dweb.link", f"http://{FILE}.ipfs.localhost:8080/"])
def test_subdomains(text: str) -> None:
    """
    The URL of a gateway by subdomain names the content too.
    """
    assert content(text) == FILE


def test_the_text_is_part_of_the_name() -> None:
    """
    How an address is written is part of an instruction's CID, as with Homestar.
    """
    one, other = (Instruction(rsc=form.format(FILE), op="wasm/run", input=None) for form in SPELLINGS[:2])

    assert one.module == other.module
    assert one.cid != other.cid


def test_places() -> None:
    """
    `https:` and `file:` name a place, and no content.
    """
    assert parse("https://example.com/a.wasm").kind == "web"
    assert parse("file:///tmp/a%20b.wasm").path == "/tmp/a b.wasm"
    assert parse("file://localhost/tmp/x").path == "/tmp/x"
    assert content("https://example.com/a.wasm") is None
    assert content("nonsense") is None


@given(st.text(max_size=60) | st.sampled_from(["https://", "ipfs://", "file://", "//", "http:///ipfs/"]).map(str))
def test_any_text(text: str) -> None:
    """
    Any text at all is an address, or is refused in one printable line.
    """
    try:
        found = parse(text)
    except BadInput as error:
        message = error.message
        assert message.isprintable()
    else:
        assert found.kind in {"content", "web", "file"}
