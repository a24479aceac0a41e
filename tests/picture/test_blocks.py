from __future__ import annotations

import json
from typing import Any

import pytest

from ipvm_kernel.ipld import NumberList
from ipvm_kernel.picture.blocks import blocks
from ipvm_kernel.picture.parts import Room
from tests.picture.inert import HOSTILE

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


def kinds(value: Any) -> list[str]:
    return [block["as"] for block in blocks(value, Room())]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, ["line"]),
        ("word", ["line"]),
        ("two\nlines", ["pre"]),
        (SVG, ["image"]),
        (b"GIF89a" + bytes([3, 0, 2, 0]), ["image"]),
        (b"\x00" * 100, ["line", "pre"]),
        ([{"a": 1}, {"a": 2}], ["table", "note"]),
        ({"a": [1, 2]}, ["table", "note"]),
        ([1.0, 2.0, 5.0, 3.0], ["image", "note", "line"]),
        (NumberList("d", [1.0, 2.0, 5.0, 3.0]), ["image", "note", "line"]),
        (None, ["line"]),
    ],
)  # fmt: skip
def test_a_value_is_shown_by_what_it_is(value: Any, expected: list[str]) -> None:
    """
    Pictures, plots, tables, text and bytes are told apart, as in the picture that stays in a notebook.
    """
    assert kinds(value) == expected


@pytest.mark.parametrize("said", HOSTILE)
def test_words_of_strangers_are_plain_text(said: str) -> None:
    """
    Whatever a guest says is text that JSON takes, without controls, overrides or half characters.
    """
    for block in [*blocks(said, Room()), *blocks({said: [said]}, Room()), *blocks([said], Room())]:
        written = json.dumps(block, ensure_ascii=False)

        written.encode("utf-8")
        assert not {"\x1b", "\u202e", "\x00"} & set(written)


def test_a_large_value_is_a_small_block() -> None:
    """
    Megabytes of text, bytes or numbers are shown by their beginning, and what is left out is counted.
    """
    for value in ("x" * 5_000_000, b"x" * 5_000_000, list(range(1_000_000)), {"a": ["y" * 1_000_000]}):
        assert len(json.dumps(blocks(value, Room()))) < 40_000
