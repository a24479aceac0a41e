"""Capsules: what Homestar nodes send each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed, Mismatch
from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import CID, decode, encode
from ipvm_kernel.ipld.limits import PEER
from ipvm_kernel.model import Instruction, Outcome, Promise, Receipt, Task, Workflow, failure
from tests.ipld.values import values

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE = "ipfs://bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5gerjmnakqihhqx4zq"
PICTURE = CID("bafybeiejevluvtoevgk66plh5t6xiy3ikyuuxg3vgofuvpeckb6eadresm")


def receipt(value: Any = 2) -> Receipt:
    ran = CID("bafyrmia2frkwkus2sy7qjmok5lm7mnlbnoyfqa5mqm27op6qkgo7reryqa")
    return Receipt(ran=ran, out=Outcome("ok", value), meta={"op": "add_one"})


def workflow() -> Workflow:
    args: list[Any] = [PICTURE, 1, 2, [PICTURE]]
    crop = Instruction(rsc=MODULE, op="wasm/run", input={"func": "crop", "args": args})
    turn = Instruction(
        rsc=MODULE, op="wasm/run", input={"func": "rotate90", "args": [Promise("ok", crop.cid).to_ipld()]}
    )
    return Workflow(tasks=(Task(run=crop), Task(run=turn)))


INSTRUCTION = workflow().tasks[0].run.cid


def test_a_receipt_capsule_is_homestars() -> None:
    """
    A receipt in a capsule is the map that Homestar's DHT holds: the five fields that are hashed, and the version.
    """
    assert decode(capsules.receipt_capsule(receipt())) == {
        "ipvm/receipt": {
            "ran": receipt().ran,
            "out": ["ok", 2],
            "meta": {"op": "add_one"},
            "iss": None,
            "prf": [],
            "version": "0.2.0",
        }
    }


def test_a_published_receipt_passes_through_a_capsule() -> None:
    """
    The receipt that Homestar publishes for its own first example keeps its CID on the way.
    """
    found = capsules.read_receipt(capsules.receipt_capsule(receipt()))

    assert str(found.cid) == "bafyrmih5ujsrxcwwbeeqowgy434da36ie3cbar3wr5yv2vnrmzmxdylicm"


@given(values)
def test_any_value_survives_a_capsule(value: Any) -> None:
    """
    Whatever a task answered, its receipt comes out of a capsule, and out of a stored form, with the CID it had.
    """
    made = receipt(value)

    assert capsules.read_receipt(capsules.receipt_capsule(made)).cid == made.cid
    assert capsules.read_stored(capsules.stored(INSTRUCTION, made)) == (INSTRUCTION, made)


def test_a_workflows_information() -> None:
    """
    What is told of a workflow names its resources as Homestar does: the module, then the links among the arguments.
    """
    info = capsules.Info.of(workflow(), name="test", progress=[receipt().cid])

    assert capsules.read_info(capsules.workflow_capsule(info)) == info
    assert decode(capsules.workflow_capsule(info)) == {
        "ipvm/workflow": {
            "cid": workflow().cid,
            "name": "test",
            "num_tasks": 2,
            "progress": [receipt().cid],
            "progress_count": 1,
            "resources": {
                str(workflow().tasks[0].run.cid): [MODULE, PICTURE],
                str(workflow().tasks[1].run.cid): [MODULE],
            },
        }
    }
    assert capsules.Info.of(workflow()).name == str(workflow().cid)


def test_errors_stay_away_from_homestar() -> None:
    """
    An error's receipt is told from one that Homestar takes for what it is.
    """
    assert capsules.for_homestar(receipt())
    assert not capsules.for_homestar(Receipt(ran=receipt().ran, out=failure("trap", "unreachable")))


def _without(value: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != key}


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no map": (lambda: encode([1]), "a capsule"),
    "two capsules": (lambda: encode({"ipvm/receipt": {}, "ipvm/workflow": {}}), "the one key"),
    "another tag": (lambda: encode({"ipvm/\x1b[31m": {}}), r"\x1b[31m"),
    "another version": (
        lambda: encode({"ipvm/receipt": {**receipt().to_ipld(), "version": "0.3.0"}}),
        "version '0.2.0', found '0.3.0', at `$.ipvm/receipt.version`",
    ),
    "no version": (lambda: encode({"ipvm/receipt": receipt().to_ipld()}), "found None"),
    "a receipt that is a list": (lambda: encode({"ipvm/receipt": []}), "found list, at `$.ipvm/receipt`"),
    "no outcome": (
        lambda: encode({"ipvm/receipt": {**_without(receipt().to_ipld(), "out"), "version": "0.2.0"}}),
        "at `$.ipvm/receipt`",
    ),
    "an outcome of another kind": (
        lambda: encode(
            {"ipvm/receipt": {**_without(receipt().to_ipld(), ""), "out": ["maybe", 1], "version": "0.2.0"}}
        ),
        "at `$.ipvm/receipt.out[0]`",
    ),
    "a field too many": (
        lambda: encode({"ipvm/receipt": {**receipt().to_ipld(), "fx": [], "version": "0.2.0"}}),
        "at `$.ipvm/receipt`",
    ),
    "a workflow of fewer than no tasks": (
        lambda: encode({"ipvm/workflow": {**capsules.Info.of(workflow()).to_ipld(), "num_tasks": -1}}),
        "counts of 0 or more",
    ),
    "resources of no instruction": (
        lambda: encode({"ipvm/workflow": {**capsules.Info.of(workflow()).to_ipld(), "resources": {"x": []}}}),
        "the CID of an instruction",
    ),
    "resources that are numbers": (
        lambda: encode(
            {"ipvm/workflow": {**capsules.Info.of(workflow()).to_ipld(), "resources": {str(INSTRUCTION): [1]}}}
        ),
        "addresses and links",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_capsule_is_refused(name: str) -> None:
    """
    A peer that sends something else gets one line that names the place, and nothing of it is kept.
    """
    make, said = HOSTILE[name]

    with pytest.raises(Malformed) as caught:
        capsules.read(make())
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_the_wrong_kind_is_named() -> None:
    """
    A receipt where a workflow was asked for is refused, and the other way round.
    """
    with pytest.raises(Malformed, match="found 'ipvm/receipt'"):
        capsules.read_info(capsules.receipt_capsule(receipt()))
    with pytest.raises(Malformed, match="found 'ipvm/workflow'"):
        capsules.read_receipt(capsules.workflow_capsule(capsules.Info.of(workflow())))


def test_a_receipt_under_a_wrong_cid_is_dropped() -> None:
    """
    A stored receipt whose CID is not that of its content is never taken for it.
    """
    lie: dict[str, Any] = {**capsules.stored(INSTRUCTION, receipt()), "out": ["ok", 3]}

    with pytest.raises(Mismatch, match="was dropped"):
        capsules.read_stored(lie)
    with pytest.raises(Malformed, match=r"at `\$\.instruction`"):
        capsules.read_stored({**capsules.stored(INSTRUCTION, receipt()), "instruction": None})
    with pytest.raises(Malformed, match="found no map"):
        capsules.read_stored([])


def test_a_capsule_is_bounded() -> None:
    """
    A capsule above what peers may send is refused before anything is built of it.
    """
    with pytest.raises(LimitExceeded):
        capsules.read(capsules.receipt_capsule(receipt(b"\0" * PEER.block_bytes)))


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    """
    No bytes at all make it fail in another way than by saying what it expected.
    """
    with pytest.raises(BadInput):
        capsules.read(noise)
