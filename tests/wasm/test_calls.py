"""Calls as a person writes them: arguments by place and by name, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.adapters import Array
from ipvm_kernel.wasm.author import Call, author
from tests.wasm.guests import Files

CROP = wit.Signature(
    "crop",
    (
        wit.Field("data", wit.STRING),
        wit.Field("target-width", wit.U32),
        wit.Field("from", wit.Option(wit.U32)),
        wit.Field("note", wit.Option(wit.STRING)),
    ),
    wit.STRING,
)
USAGE = "crop(data: string, target-width: u32, from: option<u32>, note: option<string>)"


@pytest.mark.parametrize(
    ("args", "kwargs", "wires"),
    [
        (("d", 1), {}, ["d", 1, None, None]),
        (("d", 1, 2, "n"), {}, ["d", 1, 2, "n"]),
        (("d",), {"target_width": 1}, ["d", 1, None, None]),
        (("d",), {"target-width": 1}, ["d", 1, None, None]),
        ((), {"note": "n", "data": "d", "target_width": 1}, ["d", 1, None, "n"]),
        (("d", 1), {"from_": 7}, ["d", 1, 7, None]),
        (("d", 1, None), {"note": None}, ["d", 1, None, None]),
    ],
)
def test_calls(args: tuple[Any, ...], kwargs: dict[str, Any], wires: list[Any]) -> None:
    """
    Arguments go by place or by name, in Python's spelling too; a trailing option may be left out.
    """
    assert Call(CROP).arguments(args, kwargs, Files()) == wires


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, f"crop needs 'data', 'target-width': {USAGE}"),
        (("d",), {}, f"crop needs 'target-width': {USAGE}"),
        (("d", 1, 2, "n", 5), {}, f"crop takes 4 arguments, found 5: {USAGE}"),
        (("d", 1), {"target_with": 2}, f"crop has no parameter 'target_with'. Did you mean 'target_width'? {USAGE}"),
        (("d", 1), {"zzz": 2}, f"crop has no parameter 'zzz'. {USAGE}"),
        (("d", 1), {"target_width": 2}, f"crop got 'target_width' twice: {USAGE}"),
        (("d", -1), {}, "crop: target-width: expected u32, 0 to 4294967295, found int -1"),
        (("d", 1, 2.5), {}, "crop: from: expected u32, found the float 2.5: write int(...) or round(...)"),
    ],
)
def test_bad_calls(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    """
    A call that cannot be right is refused at once; the message names the parameter and its WIT type, or what is near.
    """
    with pytest.raises(BadArgument) as caught:
        Call(CROP).arguments(args, kwargs, Files())

    assert caught.value.message == message


def test_one_parameter_is_one_argument() -> None:
    """
    Messages are sentences.
    """
    one = wit.Signature("f", (wit.Field("a", wit.List(wit.List(wit.U8))),), None)

    with pytest.raises(BadArgument, match="f takes 1 argument, found 2"):
        Call(one).arguments((1, 2), {}, Files())
    with pytest.raises(BadArgument) as caught:
        Call(one).arguments(([[1], [2, 300]],), {}, Files())
    assert caught.value.message == "f: a[1][1]: expected u8, 0 to 255, found int 300"


@pytest.mark.parametrize(
    "signature",
    [
        wit.Signature("open", (wit.Field("a", wit.List(wit.Opaque("own"))),), None),
        wit.Signature("open", (), wit.Option(wit.Opaque("own"))),
    ],
)
def test_resources_are_no_data(signature: wit.Signature) -> None:
    """
    A function that takes or gives a resource cannot be a task, and says so before anything runs.
    """
    with pytest.raises(BadArgument, match="cannot be a task, since own is no data"):
        Call(signature).arguments((), {}, Files())


def test_a_guests_names_are_shown_safely() -> None:
    """
    The name of a function is text that a stranger chose.
    """
    with pytest.raises(BadArgument) as caught:
        Call(wit.Signature("\x1b]0;pwn\x07\nx", (), None)).arguments((1,), {}, Files())

    assert caught.value.message == "\\x1b]0;pwn\\x07\\nx takes 0 arguments, found 1: \\x1b]0;pwn\\x07\\nx()"


def test_missing_values_are_meant() -> None:
    """
    `ipvm.array(x)` changes nothing about data that is whole.
    """
    assert author(wit.List(wit.F64), Array([1, 2.5]), Files()) == [1.0, 2.5]
    assert author(wit.List(wit.STRING), Array(["a"]), Files()) == ["a"]
