"""A component, run by wasmtime's own API: the tests of the glue trust nothing of ours on the other side."""

from __future__ import annotations

from typing import Any

import wasmtime
from wasmtime import component


class Guest:
    """A component in bytes; each call has an instance of its own.

    Attributes:
        log: What the guest has logged: level, context and line.
        fuel: What the last call used.
    """

    def __init__(self, data: bytes) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        self._engine = wasmtime.Engine(config)
        self._component = component.Component(self._engine, data)
        self._linker = component.Linker(self._engine)
        self.log: list[tuple[str, str, str]] = []
        self.fuel = 0
        with self._linker.root() as root, root.add_instance("wasi:logging/logging") as logging:
            logging.add_func("log", self._written)

    def _written(self, _store: object, level: str, context: str, line: str) -> None:
        self.log.append((level, context, line))

    @property
    def imports(self) -> list[str]:
        """What the component asks of its host."""
        return list(self._component.type.imports(self._engine))

    def call(self, name: str, *args: Any) -> Any:
        """Call a function by its WIT name."""
        store = wasmtime.Store(self._engine)
        store.set_fuel(2**62)
        function = self._linker.instantiate(store, self._component).get_func(store, name)
        assert function is not None, name
        answer = function(store, *args)
        self.fuel = 2**62 - store.get_fuel()
        return answer


def record(**fields: Any) -> component.Record:
    """Return a record as wasmtime takes it; `_` in a name is `-` in WIT."""
    made = component.Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def plain(value: Any) -> Any:
    """Return a value of wasmtime as plain Python that can be compared."""
    match value:
        case component.Record():
            return {name: plain(part) for name, part in vars(value).items()}
        case component.Variant(tag=tag, payload=payload):
            return {tag: plain(payload)}
        case list():
            return [plain(part) for part in value]
        case tuple():
            return tuple(plain(part) for part in value)
        case _:
            return value
