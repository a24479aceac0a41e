"""Values of every type through our canonical ABI, beside the engine's own: the same memory, the same values, the same ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi import layout
from ipvm_kernel.wasm.limits import Limits
from tests.wasm.abi.twins import ZEROS, Twins, probes
from tests.wasm.generated import kinds, values

ENCODINGS = ("utf8", "utf16", "latin1+utf16")
Typed = tuple[wit.AnyType, list[Any]]


@st.composite
def several(draw: st.DrawFn) -> tuple[str, list[Typed]]:
    """Return an encoding of texts, and five types with four values of each."""
    drawn = [draw(kinds()) for _ in range(5)]
    return draw(st.sampled_from(ENCODINGS)), [(kind, [draw(values(kind)) for _ in range(4)]) for kind in drawn]


def check(encoding: str, given_values: list[Typed]) -> None:
    """Pass each value both ways, through memory and in registers."""
    twins = Twins(probes([kind for kind, _ in given_values], encoding))
    for number, (kind, drawn) in enumerate(given_values):
        cores = len(layout.flatten(kind))
        for value in drawn:
            assert twins.end(f"same-{number}", (value, *ZEROS)).value == repr((value, *ZEROS))
            twins.end(f"image-{number}", (value, *ZEROS))
            if cores <= layout.FLAT_PARAMS:
                twins.end(f"core-{number}", value)
            if cores == 1:
                assert twins.end(f"flat-{number}", value).value == repr(value)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(several())
def test_a_thousand_values_both_ways(given_values: tuple[str, list[Typed]]) -> None:
    """
    Whatever its type, a value stands in a guest's memory and registers as the engine puts it there, and comes back.
    """
    check(*given_values)


@pytest.mark.parametrize("kind", [wit.STRING, wit.List(wit.U16), wit.Tuple((wit.STRING, wit.U8))], ids=str)
@pytest.mark.parametrize("count", [1, 31, 32, 33, 200])
def test_fuel_runs_out_at_the_same_place(kind: wit.AnyType, count: int) -> None:
    """
    However many texts or lists an argument holds, a limit of fuel ends the call where it does through the engine.
    """
    twins = Twins(probes([wit.List(kind)]))
    item = {"string": "abc", "list<u16>": b"abcd"}.get(str(kind), ("abc", 7))
    value = ([item] * count, *ZEROS)
    whole = twins.end("same-0", value).fuel

    assert twins.end("same-0", value, limits=Limits(fuel=whole)).value == repr(value)
    for fuel in (whole - 1, whole // 2, whole // 2 + 1, 20, 0):
        assert twins.end("same-0", value, limits=Limits(fuel=fuel)).value.startswith("limit, not own: the fuel ran out")


@pytest.mark.usefixtures("homestar_module")
@pytest.mark.parametrize("name", ["example_test_component.wasm", "example_test_cargo_component.wasm"])
def test_homestars_functions_both_ways(name: str) -> None:
    """
    Homestar's own functions answer any argument alike, say the same to their host, and take the same fuel.
    """
    twins = Twins(Path(os.environ["IPVM_HOMESTAR_FIXTURES"], name).read_bytes())

    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def alike(data: st.DataObject) -> None:
        function = data.draw(st.sampled_from(twins.straight.interface.functions))
        drawn = [data.draw(values(param.type)) for param in function.params]
        twins.end(function.name, *drawn, limits=Limits(fuel=10**8))

    alike()


@pytest.mark.torture
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(several())
def test_ten_thousand_values_both_ways(given_values: tuple[str, list[Typed]]) -> None:
    """
    As above, longer.
    """
    check(*given_values)
