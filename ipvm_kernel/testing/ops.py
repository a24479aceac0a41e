"""What every operation promises, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
import pytest

from ipvm_kernel.engine.ops import Performed, Prepared, Unprepared
from ipvm_kernel.ipld import Block, encode
from ipvm_kernel.model import Awaited, Instruction, resolve
from ipvm_kernel.wasm.limits import Kind, Limits
from ipvm_kernel.wasm.stop import Stop

if TYPE_CHECKING:
    from ipvm_kernel.engine.ops import Op

_NONSENSE: Final[tuple[Any, ...]] = (
    None,
    1,
    "text",
    b"",
    [],
    {},
    {"func": 1},
    {"args": []},
    {"func": "f", "args": "no list"},
    [[[[]]]],
)


class OpContract:
    """Inherit this, and give the fixtures `op` and `instruction`: an operation, and something that it can do."""

    @pytest.fixture
    def op(self) -> Op:
        """Give the operation."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `op`")

    @pytest.fixture
    def instruction(self) -> Instruction:
        """Give an instruction that the operation can perform."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `instruction`")

    @pytest.fixture
    def prepared(self, op: Op, instruction: Instruction) -> Prepared:
        """Give the instruction, ready to be performed."""
        return op.prepare(instruction, resolve(instruction.input, _no_promise))

    def test_it_is_of_its_op(self, op: Op, instruction: Instruction) -> None:
        """The operation has the name that its instructions carry, and knows whether their answers are results."""
        assert op.name == instruction.op
        assert op.fallible(instruction) in {True, False}

    def test_its_answer_can_be_named(self, op: Op, prepared: Prepared) -> None:
        """Whatever it answers has a CID, and what it says may be filed is the same the second time."""
        first = op.perform(prepared, Limits(), Stop())
        second = op.perform(prepared, Limits(), Stop())

        assert isinstance(first, Performed)
        assert first.seconds >= 0
        assert first.report.fuel >= 0
        if first.filed:
            assert encode(first.outcome.to_ipld()) == encode(second.outcome.to_ipld())

    def test_the_key_names_the_work(self, op: Op, instruction: Instruction, prepared: Prepared) -> None:
        """The resolved key is 32 bytes, the same each time, and another with a nonce."""
        again = op.prepare(instruction, resolve(instruction.input, _no_promise))
        with_nonce = msgspec.structs.replace(instruction, nnc=bytes(12))
        another = op.prepare(with_nonce, resolve(with_nonce.input, _no_promise))

        assert len(prepared.key) == 32
        assert again.key == prepared.key
        assert another.key != prepared.key

    @pytest.mark.parametrize("nonsense", _NONSENSE, ids=repr)
    def test_nonsense_is_refused(self, op: Op, instruction: Instruction, nonsense: object) -> None:
        """An input that is none ends in an error of a known kind: nothing is raised, and nothing is filed."""
        given = msgspec.structs.replace(instruction, input=nonsense)

        assert op.fallible(given) in {True, False, None}
        try:
            performed = op.perform(op.prepare(given, nonsense), Limits(), Stop())
        except Unprepared as error:
            outcome = error.outcome
        else:
            outcome = performed.outcome
            assert not performed.filed
        assert outcome.tag == "error"
        assert outcome.value["kind"] in get_args(Kind)
        assert len(Block.of(outcome.value).data) <= 4096

    def test_stopped_before_it_began(self, op: Op, prepared: Prepared) -> None:
        """What was stopped is not filed, unless it had ended already."""
        stop = Stop()
        stop.interrupt()

        performed = op.perform(prepared, Limits(), stop)

        assert performed.outcome.tag != "error" or not performed.filed


def _no_promise(promise: object) -> Awaited:
    raise AssertionError(f"the instruction of an OpContract awaits {promise}, which nobody answers")
