"""Whether a notebook is one is nbformat's to say: by its schema, and by nbformat itself where something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.validator import get_validator

from ipvm_kernel.errors import Malformed
from ipvm_kernel.sharing.notebook import forms
from tests.sharing.samples import code, good, notebook

if TYPE_CHECKING:
    from collections.abc import Callable

BROKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "a field that nobody knows": lambda raw: raw["cells"][1].update(unknown=1),
    "a count that is text": lambda raw: raw["cells"][1].update(execution_count="1"),
    "tags that are numbers": lambda raw: raw["cells"][0]["metadata"].update(tags=[1]),
    "a kernel without a name": lambda raw: raw["metadata"].update(kernelspec={"display_name": "x"}),
    "an output without its type": lambda raw: raw["cells"][2]["outputs"][0].pop("metadata"),
    "an id that is empty": lambda raw: raw["cells"][0].update(id=""),
    "nothing": lambda raw: None,
}


def nbformat_says(raw: dict[str, Any], newer: bool) -> bool:
    """Return True if nbformat finds nothing wrong, with the slower and older of its two validators."""
    return next(iter(get_validator(4, 5, newer, name="jsonschema").iter_errors(raw)), None) is None


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("way", BROKEN)
def test_the_schema_alone_says_what_nbformat_says(way: str, *, newer: bool) -> None:
    """
    A notebook is valid by the schema exactly if nbformat finds nothing wrong with it.
    """
    raw = json.loads(good())
    BROKEN[way](raw)
    valid = nbformat_says(raw, newer)

    assert forms._is_valid(raw, newer) == valid
    assert valid == (way in ({"nothing", "a field that nobody knows"} if newer else {"nothing"}))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=5,
)


@given(st.data(), VALUES, st.booleans())
def test_whatever_is_changed_both_agree(data: st.DataObject, value: object, newer: bool) -> None:
    """
    One value anywhere in a notebook is exchanged for another: the schema and nbformat agree about what came out.
    """
    raw: Any = json.loads(good())
    place = raw
    while isinstance(place, dict | list) and place:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.integers(0, 3)) == 0:
            place[key] = value
            break
        place = place[key]

    assert forms._is_valid(raw, newer) == nbformat_says(raw, newer)


def test_what_is_wrong_is_said_by_nbformat() -> None:
    """
    A refusal has nbformat's place and reason.
    """
    with pytest.raises(Malformed, match=r"at \$\.cells\[0\]\.execution_count, found: '1' is not of type"):
        forms.checked(notebook(code("1", execution_count="1")), 1 << 20)


def test_without_its_schema_nbformat_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If a later nbformat keeps its schema elsewhere, all is as before.
    """
    monkeypatch.setattr(forms, "_schema", lambda relaxed: None)

    assert forms.checked(good(), 1 << 20)["nbformat_minor"] == 5
    with pytest.raises(Malformed, match="execution_count"):
        forms.checked(notebook(code("1", execution_count="1")), 1 << 20)


def test_a_good_notebook_does_not_load_nbformat() -> None:
    """
    The first share does not wait for nbformat and what it loads.
    """
    script = (
        "import sys; from ipvm_kernel.sharing.notebook import forms; forms.checked(sys.stdin.buffer.read(), 1 << 20); "
        "print(sorted({'nbformat', 'jsonschema'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], input=good(), capture_output=True, check=True)

    assert done.stdout.strip() == b"[]"
