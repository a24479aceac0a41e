"""Homestar's own example modules: every one loads or says why not, and answers as on a Homestar node."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadModule, UnknownFunction
from ipvm_kernel.ipld import CID, dagjson
from ipvm_kernel.model import Receipt
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.lowering import lower
from ipvm_kernel.wasm.perform import perform
from ipvm_kernel.wasm.stop import Stop
from tests.wasm.guests import Files, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipvm_kernel.wasm.module import Module

ADDS = ["example_add.wasm", "example_add_component.wasm", "example_add_component.wat",
        "example_add_cargo_component_wasi.wasm", "example_add_cargo_component_wasi.wat"]  # fmt: skip
SUBTRACTS = [name.replace("add", "subtract") for name in ADDS]
TESTS = ["example_test.wasm", "example_test_component.wasm", "example_test_cargo_component.wasm",
         "example_test_wasi_component.wasm", "example_test_cargo_component_wasi.wasm"]  # fmt: skip


def answer(module: Module, name: str, args: list[Any]) -> Any:
    """Return what a function answers on the wire to arguments from the wire."""
    signature, files = module.interface.find(name), Files()
    values = [lower(param.type, arg, files.load) for param, arg in zip(signature.params, args, strict=False)]
    ended = perform(module, signature, values, limits=Limits(), seed=b"", stop=Stop(), report=Report(), keep=files.keep)
    assert ended.outcome.tag == "ok", ended.outcome
    return ended.outcome.value


@pytest.mark.parametrize("name", ADDS)
def test_adding(name: str, homestar_module: Callable[[str], Module]) -> None:
    """
    The module that adds works in every form that it comes in: core, component, with WASI, and as text.
    """
    module = homestar_module(name)

    assert run(module, "add-one", 1) == 2
    assert run(module, "add_two", 1) == 3


@pytest.mark.parametrize("name", SUBTRACTS)
def test_subtracting(name: str, homestar_module: Callable[[str], Module]) -> None:
    """
    So does the one that subtracts; its function answers to the spelling of a language without hyphens.
    """
    module = homestar_module(name)

    assert answer(module, "subtract", [1, 1]) == 0.0
    assert answer(module, "subtractInt", [1.0, 2.0]) == -1


@pytest.mark.parametrize("name", TESTS)
def test_every_function(name: str, homestar_module: Callable[[str], Module]) -> None:
    """
    The large example answers every call of Homestar's tests as Homestar does, in each of its five forms.
    """
    module = homestar_module(name)
    square = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

    assert answer(module, "add-one", [10]) == 11
    assert answer(module, "append-string", ["Natural Science"]) == "Natural Science\nworld"
    assert answer(module, "%join-strings", ["RoundRound", "about"]) == "RoundRoundabout"
    assert answer(module, "transpose", [answer(module, "transpose", [square])]) == square
    assert answer(module, "pop", [[]]) is None
    assert answer(module, "pop", [[1]]) == 1
    assert answer(module, "binary-search", [[1], 2]) == [None, 1]
    assert answer(module, "binarySearch", [[1], 1]) == [0, None]
    assert answer(module, "num-to-kv", [[1, None]]) == {"name": "1", "val": 1}
    assert answer(module, "NumToKv", [[None, "bad stuff"]]) == {"name": "NAN", "val": None}
    assert answer(module, "hash", ["hello"]) == bytes.fromhex("e037876b880b8ed9")
    assert answer(module, "host-fmt-current-time", []) == "00:00.000"
    with pytest.raises(UnknownFunction, match="Did you mean 'add-one'"):
        module.interface.find("add-onez")


@pytest.mark.parametrize("name", TESTS)
def test_a_picture_through_a_module(name: str, homestar_module: Callable[[str], Module]) -> None:
    """
    A picture goes through the functions on pictures, as bytes and as the text of a data URI.
    """
    image = pytest.importorskip("PIL.Image")
    module, file = homestar_module(name), io.BytesIO()
    image.radial_gradient("L").resize((64, 48)).convert("RGB").save(file, "PNG")

    cropped = answer(module, "crop", [file.getvalue(), 10, 10, 20, 30])
    turned = answer(module, "rotate90", [cropped])
    uri = "data:image/png;base64," + base64.b64encode(turned).decode()
    grey = answer(module, "grayscale_base64", [uri])

    assert image.open(io.BytesIO(cropped)).size == (20, 30)
    assert image.open(io.BytesIO(turned)).size == (30, 20)
    assert image.open(io.BytesIO(grey)).mode == "L"


def test_golden_receipts(homestar_module: Callable[[str], Module], vectors: Path) -> None:
    """
    Every receipt that a Homestar node was seen to make is made here, byte for byte.
    """
    files = {
        "bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5gerjmnakqihhqx4zq": "example_test.wasm",
        "bafkreia2ggqljgeptxg7asdvvq4f7laarncljc7z2lq2efummjiwajuu5i": "example_subtract_component.wasm",
        "bafkreib57unppnviago5hgmmif2aalbjxyd652b6smpam3cdp2xampflw4": "example_add_component.wasm",
    }
    rows = json.loads((vectors / "homestar/expected.json").read_text())["golden_receipts"]["rows"]
    made = {}
    for row in rows:
        args: Any = dagjson.loads(json.dumps(row["args"]))
        module = homestar_module(files[row["rsc"].removeprefix("ipfs://")])
        signature, kept = module.interface.find(row["func"]), Files()
        values = [lower(p.type, arg, kept.load) for p, arg in zip(signature.params, args, strict=False)]
        ended = perform(
            module, signature, values, limits=Limits(), seed=b"", stop=Stop(), report=Report(), keep=kept.keep
        )
        receipt = Receipt(ran=CID.parse(row["invocation"]), out=ended.outcome, meta={"op": row["func"]})
        made[row["instruction"]] = str(receipt.cid)

    assert made == {row["instruction"]: row["receipt"] for row in rows}


def test_a_module_of_the_old_wasi(homestar_module: Callable[[str], Module]) -> None:
    """
    A core module that asks for the first WASI says what it asks for.
    """
    with pytest.raises(BadModule, match="wasi_snapshot_preview1"):
        homestar_module("example_test_wasi.wasm")


def test_the_text_of_a_core_module(homestar_module: Callable[[str], Module]) -> None:
    """
    Text that Homestar refuses, since it means no component, is a core module here.
    """
    module = homestar_module("example_add.wat")

    assert module.interface.kind == "module"
    assert run(module, "add-two", 1) == 3


def test_a_package_of_types_has_no_functions(homestar_module: Callable[[str], Module]) -> None:
    """
    A WIT package in binary form loads, and has nothing to call.
    """
    module = homestar_module("host.wasm")

    assert module.interface.functions == ()
    with pytest.raises(UnknownFunction, match="It has: none"):
        module.interface.find("print")


@pytest.mark.parametrize("name", TESTS)
def test_fuel_is_the_same_each_time(name: str, homestar_module: Callable[[str], Module]) -> None:
    """
    The steps that a call took are a fact about the call, not about the day.
    """
    module, used = homestar_module(name), set()
    for _ in range(3):
        report = Report()
        run(module, "append-string", "Natural Science", report=report)
        used.add(report.fuel)

    assert len(used) == 1
    assert 0 < used.pop() < 20_000
