from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.callables import bytes_of
from ipvm_kernel.errors import BadArgument, BadInput, Malformed, TaskFailed, UnknownFunction
from ipvm_kernel.session import Each, Handles, gather

if TYPE_CHECKING:
    from ipvm_kernel import Session
    from ipvm_kernel.session import Module


# --- modules and functions --------------------------------------------------------------------------------------------


def test_functions_by_name(numbers: Module, typed: Module) -> None:
    """
    The functions of a module are its attributes and items, in Python's spelling and in their own.
    """
    assert typed.echo_bytes.__name__ == typed["echo-bytes"].__name__ == "echo-bytes"
    assert numbers.add_one.__name__ == "add_one"
    assert "echo_bytes" in dir(typed)
    assert "echo-bytes" in typed
    assert len(numbers) == len(list(numbers)) == 8
    with pytest.raises(UnknownFunction, match="Did you mean 'echo-bytes'"):
        _ = typed.echo_byte
    assert not hasattr(numbers, "_ipython_display_")


def test_functions_explain_themselves(typed: Module) -> None:
    """
    A function shows its WIT type, for help, completion and Shift-Tab.
    """
    assert repr(typed.div) == "<function div(a: s32, b: s32) -> result<s32, string> of typed>"
    assert str(inspect.signature(typed.div)) == "(a: s32, b: s32) -> result<s32, string>"
    assert "div: func(a: s32, b: s32)" in (typed.div.__doc__ or "")
    assert inspect.signature(typed.maybe).parameters["number"].default is None


def test_arguments(typed: Module) -> None:
    """
    Arguments are given by place or by name; what does not fit is refused where it is written, and makes no task.
    """
    assert typed.div(6, b=3) == typed.div(a=6, b=3) == typed.div(6, 3)
    for wrong in ((), (1,), (1, 2, 3), (1, "2"), (1, 2.5), (1, 1 << 40)):
        with pytest.raises(BadArgument, match="div"):
            _ = typed.div(*wrong)
    with pytest.raises(BadArgument, match="has no parameter 'c'"):
        _ = typed.div(1, c=2)


# --- map, gather, each ------------------------------------------------------------------------------------------------


def test_map(session: Session, numbers: Module) -> None:
    """
    `map` declares a task for each value of the axes; other arguments are the same for all.
    """
    handles = numbers.add.map(range(5), 10)

    assert isinstance(handles, Handles)
    assert session.store.journal() == []
    assert repr(handles) == "<5 handles of add: 0 on file>"
    assert handles.results() == [10, 11, 12, 13, 14]
    assert repr(handles) == "<5 handles of add: 5 on file>"
    assert numbers.add.map(Each([1, 2]), p1=Each([10, 20])).results() == [11, 22]
    assert numbers.add.map((n for n in (1, 2, 3)), 1).results() == [2, 3, 4]
    assert numbers.add_one.map(numbers.add_one.map(range(3))[i] for i in range(3)).results() == [2, 3, 4]
    assert numbers.add.map(range(0), 1).results() == []
    assert repr(numbers.add.map(range(0), 1)) == "<no handles>"


def test_map_that_goes_nowhere(numbers: Module) -> None:
    """
    Axes of different lengths, and none at all, are refused.
    """
    with pytest.raises(BadArgument, match="different lengths: 2, 3"):
        numbers.add.map(range(2), range(3))
    with pytest.raises(BadArgument, match=r"ipvm\.each"):
        numbers.add.map(1, 2)


def test_gather(session: Session, numbers: Module) -> None:
    """
    `gather` gives the values of handles in order, run as one workflow, twice the same as well.
    """
    one, two = numbers.add_one(1), numbers.add_one(one_of(numbers))

    assert gather(one, two, one) == [2, 2, 2]
    assert gather([one, two], (one,), numbers.add_one.map(range(2))) == [2, 2, 2, 1, 2]
    assert gather() == gather([]) == []
    assert [len(session.store.journal(instruction=handle.cid)) for handle in (one, two)] == [1, 1]
    with pytest.raises(BadInput, match="expected handles to gather, found a int"):
        gather(one, 5)


def one_of(numbers: Module) -> Any:
    return numbers.add_one(0)


def test_gather_with_a_failure(session: Session, numbers: Module) -> None:
    """
    The first failure is raised; what the others gave is on file.
    """
    handles = [numbers.add_one(1), numbers.trap(1), numbers.add_one(2)]

    with pytest.raises(TaskFailed, match="trap"):
        gather(handles)
    assert session.run(handles).wait().counts == {"replayed": 3}


def test_each() -> None:
    """
    `each` holds the values that it was given, from whatever they came.
    """
    assert repr(Each(range(3))) == "<each of 3 values>"
    assert list(Each("ab")) == ["a", "b"]
    assert len(Each(n for n in range(4))) == 4


# --- options ----------------------------------------------------------------------------------------------------------


def test_options(numbers: Module) -> None:
    """
    `with_options` asks for limits in their wire form, and a nonce; it can be said in several steps.
    """
    asked = numbers.add_one.with_options(time=1.5, memory="512 MB").with_options(fuel=1e9, nonce=bytes(12))(1)

    assert asked.task.meta == {"time": 1500, "memory": 512_000_000, "fuel": 1_000_000_000}
    assert [type(value) for value in asked.task.meta.values()] == [int, int, int]
    assert asked.instruction.nnc == bytes(12)
    assert numbers.add_one(1).task.meta == {}
    assert numbers.add_one.with_options(time=0.0001)(1).task.meta == {"time": 1}
    assert numbers.add_one.with_options(nonce=bytes(12)).with_options(nonce="")(1).cid == numbers.add_one(1).cid


@pytest.mark.parametrize(
    "options",
    [
        {"time": 0},
        {"time": -1},
        {"time": float("nan")},
        {"time": float("inf")},
        {"fuel": 0},
        {"fuel": 1.5},
        {"fuel": 1 << 63},
        {"fuel": True},
        {"fuel": "many"},
        {"memory": "lots"},
        {"memory": "5 parsecs"},
        {"memory": 0},
        {"memory": 0.5},
    ],
    ids=repr,
)
def test_options_that_are_none(numbers: Module, options: dict[str, Any]) -> None:
    """
    A limit that is no limit is refused.
    """
    with pytest.raises(BadInput):
        numbers.add_one.with_options(**options)


@pytest.mark.parametrize("nonce", ["x", bytes(5), 5, ["a"]], ids=repr)
def test_nonces_that_are_none(numbers: Module, nonce: Any) -> None:
    """
    A nonce that has none of the three forms is refused.
    """
    with pytest.raises(Malformed, match="nonce"):
        numbers.add_one.with_options(nonce=nonce)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512 MB", 512_000_000),
        ("512MiB", 1 << 29),
        (" 1.5 kb ", 1500),
        ("7", 7),
        ("1_000 B", 1000),
        (5, 5),
        (5.0, 5),
        ("2 TiB", 1 << 41),
    ],
)
def test_sizes(text: str | float, count: int) -> None:
    """
    Sizes are read as people write them: MB is a million bytes, MiB 2^20.
    """
    assert bytes_of(text) == count
