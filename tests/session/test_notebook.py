from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel import notebook
from ipvm_kernel.notebook import Cell, capture, current_cell, in_cell

if TYPE_CHECKING:
    from ipvm_kernel import Session
    from ipvm_kernel.session import Module


def test_what_a_cell_captures(session: Session, numbers: Module) -> None:
    """
    Every handle made while the body runs is captured, those thrown away, in helpers and in comprehensions included.
    """

    def helper() -> None:
        _ = numbers.add_one(2)

    before = numbers.add_one(0)
    with capture() as made:
        first = numbers.add_one(1)
        helper()
        [numbers.add_one(n) for n in range(3, 5)]
        numbers.add.map(range(2), before)
        _ = numbers.add_one.with_options(time=5)(9)
    after = numbers.add_one(6)

    assert [handle.instruction.func for handle in made] == ["add_one"] * 4 + ["add"] * 2 + ["add_one"]
    assert made[0] is first
    assert before not in made
    assert after not in made
    assert session.store.journal() == []


def test_a_body_that_raises(numbers: Module) -> None:
    """
    If the body raises, no capture stays open.
    """
    made: list[Any] = []

    def body() -> None:
        with capture() as during:
            made.append(during)
            _ = numbers.add_one(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    _ = numbers.add_one(2)

    assert [len(during) for during in made] == [1]


def test_captures_are_kept_apart(numbers: Module) -> None:
    """
    A capture inside a capture has its own handles, and threads of others are not captured.
    """
    with capture() as outer:
        _ = numbers.add_one(1)
        with capture() as inner:
            _ = numbers.add_one(2)
        _ = numbers.add_one(3)
        thread = threading.Thread(target=numbers.add_one, args=(4,))
        thread.start()
        thread.join()

    assert [handle.instruction.args for handle in outer] == [[1], [3]]
    assert [handle.instruction.args for handle in inner] == [[2]]


def test_a_result_inside_the_body(session: Session, numbers: Module) -> None:
    """
    `.result()` inside the body runs that part at once; the run at the end replays it.
    """
    with capture() as made:
        first = numbers.add_one(1)
        assert first.result() == 2
        _ = numbers.add_one(first)

    assert session.run(made).wait().counts == {"replayed": 1, "computed": 1}


def test_which_cell() -> None:
    """
    The cell that is running is known to whoever asks inside it, by its id or else by a hash of its source.
    """
    assert current_cell() == Cell()
    with in_cell(Cell.of("x = 1", ident="abc", count=3)):
        assert (current_cell().ident, current_cell().count) == ("abc", 3)
        assert contextvars.copy_context().run(current_cell).ident == "abc"
    assert current_cell() == Cell()
    try:
        notebook.set_cell(Cell.of("y = 2"))
        assert current_cell().ident == Cell.of("y = 2").ident
        assert current_cell().ident.startswith("sha256-")
        assert Cell.of("y = 3").ident != current_cell().ident
    finally:
        notebook.set_cell(None)
    assert len(Cell.of("x" * 10_000).source) == notebook.SOURCE_CHARACTERS
