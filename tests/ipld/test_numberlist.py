"""Numbers side by side, which are a list to whoever looks at them."""

from __future__ import annotations

import operator
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.ipld import NumberList, dagjson, decode, encode

numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20)


@given(numbers, st.slices(20))
def test_it_is_the_list(found: list[float], part: slice) -> None:
    """
    It equals, orders, cuts, joins, counts, shows and pickles as the list of its numbers does.
    """
    made = NumberList("d", found)

    assert made == found
    assert found == made
    assert operator.ne(made, found) is False
    assert repr(made) == repr(found)
    assert str(made) == str(found)
    assert made[part] == found[part]
    assert repr(made[part]) == repr(found[part])
    more = [1.5]
    assert made + more == found + more
    assert more + made == more + found
    assert made + made == found + found
    assert list(reversed(made)) == list(reversed(found))
    assert pickle.loads(pickle.dumps(made)) == found
    assert type(pickle.loads(pickle.dumps(made))) is NumberList


def test_it_differs_as_lists_do() -> None:
    """
    Another length, another number or something that is no list makes it another; it has no hash.
    """
    made = NumberList("q", [1, 2])

    assert made != [1]
    assert made != [1, 3]
    assert made != "12"
    assert made == NumberList("b", [1, 2])
    assert made != (1, 2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


def test_it_is_a_list_in_ipld() -> None:
    """
    It has the bytes and the JSON that the list has.
    """
    made = {"x": NumberList("d", [0.5, 1.0]), "y": [NumberList("B", [1, 2])]}
    plain = {"x": [0.5, 1.0], "y": [[1, 2]]}

    assert encode(made) == encode(plain)
    assert decode(encode(made)) == plain
    assert dagjson.dumps(made) == dagjson.dumps(plain)


def test_others_open_it_where_it_lies() -> None:
    """
    Numpy and `memoryview` see the same numbers in the same memory.
    """
    numpy = pytest.importorskip("numpy")
    made = NumberList("d", [0.5, 1.0])
    view, opened = memoryview(made), numpy.asarray(made)

    opened[0] = 2.5

    assert made == [2.5, 1.0]
    assert opened.tolist() == [2.5, 1.0]
    assert opened.dtype == numpy.dtype("f8")
    assert view.format == "d"


def test_a_long_one_is_shown_in_part() -> None:
    """
    Of a million numbers the first thousand are shown, and how many there are besides.
    """
    shown = repr(NumberList("q", range(1_000_000)))

    assert shown.startswith("[0, 1, 2,")
    assert shown.endswith("999, … 999,000 more]")
