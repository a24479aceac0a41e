"""What every executor promises, as tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from ipvm_kernel.engine.executors import Executor

_SECONDS = 30.0
_GUEST = b"""(module
  (func (export "add_one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "trap") (param i32) (result i32) unreachable))"""


class ExecutorContract:
    """Inherit this and say how to make an executor."""

    def make(self) -> Executor:
        """Return an executor."""
        raise NotImplementedError(f"{type(self).__name__} must say how to make an executor")

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        """Give an executor."""
        made = self.make()
        yield made
        made.close()

    def test_it_has_slots(self, executor: Executor) -> None:
        """It says how much it does at once."""
        assert executor.slots >= 1

    def test_a_call_is_answered(self, executor: Executor) -> None:
        """A call gives what the function returns; its key and resources are hints."""
        plain = executor.submit(pow, 2, 10)
        hinted = executor.submit(pow, 3, 2, key="pow-1", resources={"memory": 1.0})

        assert plain.result(_SECONDS) == 1024
        assert hinted.result(_SECONDS) == 9

    def test_what_is_raised_is_carried(self, executor: Executor) -> None:
        """An exception goes to whoever waits, and the next call is answered."""
        broken = executor.submit(divmod, 1, 0)

        assert isinstance(broken.exception(_SECONDS), ZeroDivisionError)
        assert executor.submit(divmod, 7, 2).result(_SECONDS) == (3, 1)

    def test_more_calls_than_slots(self, executor: Executor) -> None:
        """All calls are answered, however many more there are than slots."""
        calls = [executor.submit(pow, n, 2, key=f"pow-{n}") for n in range(20 * executor.slots)]

        assert [call.result(_SECONDS) for call in calls] == [n * n for n in range(20 * executor.slots)]

    def test_a_callback_may_submit(self, executor: Executor) -> None:
        """Whoever is told that a call has ended may submit the next one: so a chain of tasks is run."""
        done = threading.Event()
        ended: list[Any] = []

        def follow(call: Future[Any]) -> None:
            ended.append(call.result())
            if len(ended) == 50:
                done.set()
            else:
                executor.submit(pow, call.result() + 1, 1).add_done_callback(follow)

        executor.submit(pow, 1, 1).add_done_callback(follow)

        assert done.wait(_SECONDS)
        assert ended == list(range(1, 51))

    def test_workflows(self, executor: Executor) -> None:
        """A session runs chains, forks and failures on it, and replays them."""
        with Session(None, executor=executor) as session:
            module = session.module(_GUEST)
            chain = module.add_one(0)
            for _ in range(20):
                chain = module.add_one(chain)
            wide = [module.add_one(n) for n in range(100, 140)]
            broken = module.add_one(module.trap(1))

            run = session.run([chain, *wide, broken]).wait()
            again = session.run([chain, *wide, broken]).wait()

            assert run.counts == {"computed": 61, "failed": 1, "blocked": 1}
            assert again.counts == {"replayed": 62, "blocked": 1}
            assert chain.result() == 21
