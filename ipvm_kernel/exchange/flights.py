"""Fetches under way: each in a thread of its own, which any number may wait for, and stop waiting for."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from ipvm_kernel.errors import Cancelled, NotFound
from ipvm_kernel.exchange.asking import Fetching
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.wasm.stop import Stop

_TICK: Final = 0.02
T = TypeVar("T")


class Flight(Generic[T]):
    """A fetch under way.

    Attributes:
        told: How far it is.
        deadline: When it must be done, whoever waits.
        future: What it gives.
        waiting: How many wait for it.
    """

    def __init__(self, name: str, seconds: float) -> None:
        from ipvm_kernel.exchange.http import Deadline

        self.told = Fetching(name)
        self.deadline: Deadline = Deadline(seconds)
        self.future: Future[T] = Future()
        self.waiting = 0


class Flights:
    """All fetches under way."""

    def __init__(self) -> None:
        self._flying: dict[object, Flight[Any]] = {}
        self._lock = threading.Lock()

    @property
    def told(self) -> list[Fetching]:
        """How far each is."""
        with self._lock:
            return [flight.told for flight in self._flying.values()]

    def wait(
        self,
        name: str,
        seconds: float,
        stop: Stop | None,
        work: Callable[[Flight[T]], T],
        *,
        alone: bool = False,
    ) -> T:
        """Return what a fetch gives that one thread makes and any number may wait for.

        The thread may hang in a look-up of a name or in a server that says nothing; whoever waits need not.

        Args:
            name: What is fetched. Whoever waits for the same name waits for the same fetch.
            seconds: How long it may take in all.
            stop: Says when to wait no longer.
            work: Does it.
            alone: Each call has a fetch of its own.

        Raises:
            NotFound: It was not done in its time, or whoever was asked did not answer or said no.
            Cancelled: It was stopped.
            IpvmError: What else the work raises.
        """
        key: object = object() if alone else name
        with self._lock:
            flight = self._flying.get(key)
            if flight is None:
                flight = self._flying[key] = Flight(name, seconds)
                threading.Thread(
                    target=self._fly, args=(key, flight, work), name=f"ipvm-fetch-{name[:40]}", daemon=True
                ).start()
            flight.waiting += 1
        end = time.monotonic() + seconds + 1
        try:
            while True:
                if stop is not None and stop.reason is not None:
                    raise Cancelled(f"stopped while {printable(name, limit=200)} was fetched")
                with contextlib.suppress(TimeoutError):
                    found: T = flight.future.result(timeout=_TICK)
                    return found
                if time.monotonic() > end:
                    raise NotFound(
                        f"{printable(name, limit=300)} was not fetched in {seconds:.0f} s: nobody answered. "
                        "Raise IPVM_FETCH_SECONDS if it is large"
                    )
        finally:
            with self._lock:
                flight.waiting -= 1
                if not flight.waiting:
                    flight.deadline.over = True
                    if self._flying.get(key) is flight:
                        del self._flying[key]

    def _fly(self, key: object, flight: Flight[T], work: Callable[[Flight[T]], T]) -> None:
        from ipvm_kernel.exchange.http import Over, Refused, Unreachable

        try:
            found = work(flight)
        except (Over, Refused, Unreachable) as error:
            name = printable(flight.told.name, limit=300)
            more = ". Raise IPVM_FETCH_SECONDS if it is large" if isinstance(error, Over) else ""
            flight.future.set_exception(NotFound(f"{name} was not fetched: {error.message}{more}"))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            flight.future.set_exception(error)
        else:
            flight.future.set_result(found)
        with self._lock:
            if self._flying.get(key) is flight:
                del self._flying[key]
