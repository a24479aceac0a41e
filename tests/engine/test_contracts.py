from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import Session
from ipvm_kernel.engine.executors import InlineExecutor, ThreadExecutor
from ipvm_kernel.testing import ExecutorContract, OpContract
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.model import Instruction


class TestThreadExecutor(ExecutorContract):
    """Threads of this process."""

    def make(self) -> ThreadExecutor:
        return ThreadExecutor()


class TestOneThread(ExecutorContract):
    """A single thread."""

    def make(self) -> ThreadExecutor:
        return ThreadExecutor(1)


class TestInlineExecutor(ExecutorContract):
    """The calling thread itself."""

    def make(self) -> InlineExecutor:
        return InlineExecutor()


class TestWasmRun(OpContract):
    """`wasm/run`."""

    @pytest.fixture
    def session(self) -> Iterator[Session]:
        with Session() as session:
            yield session

    @pytest.fixture
    def op(self, session: Session) -> Op:
        return session.ops["wasm/run"]

    @pytest.fixture
    def instruction(self, session: Session) -> Instruction:
        return session.module(NUMBERS).add(1, 2).instruction


class TestBuild(OpContract):
    """`ipvm/build`."""

    @pytest.fixture
    def session(self) -> Iterator[Session]:
        with Session() as session:
            yield session

    @pytest.fixture
    def op(self, session: Session) -> Op:
        return session.ops["ipvm/build"]

    @pytest.fixture
    def instruction(self, session: Session) -> Instruction:
        from ipvm_kernel.session.building import declare

        return declare(session, NUMBERS.decode(), "wat", "", ()).instruction
