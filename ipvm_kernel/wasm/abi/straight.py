"""A component that is driven straight: loaded as its core modules, instantiated as its wiring says, and called.

Source: component model `CanonicalABI.md`, section "`canon lift`".
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import TYPE_CHECKING, Any, Final

import wasmtime

from ipvm_kernel.wasm import native
from ipvm_kernel.wasm.abi import bound, imports, items, layout
from ipvm_kernel.wasm.abi.batch import batch
from ipvm_kernel.wasm.abi.core import FuncType
from ipvm_kernel.wasm.abi.guest import Call, Guest, Room
from ipvm_kernel.wasm.abi.shapes import shape
from ipvm_kernel.wasm.abi.wiring import Export, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.abi.wiring import Lifted, Lowered, Wiring
    from ipvm_kernel.wasm.machine import Machine
    from ipvm_kernel.wasm.stop import Stop

_ADDRESS: Final = struct.Struct("<I12x")
_FRAMES: Final = 3  # for each type inside another

Extern = ctypes.Array[ctypes.c_char]


class Numbers:
    """A number for each thing that a component's core instances share: what it is called by at every call.

    Attributes:
        refs: The things, by number.
        names: What those are called that are exports.
    """

    def __init__(self) -> None:
        self.refs: list[Export | Lowered] = []
        self.names: list[bytes] = []
        self._known: dict[Export | Lowered, int] = {}

    def of(self, ref: Export | Lowered) -> int:
        """Return the number of a thing."""
        found = self._known.setdefault(ref, len(self.refs))
        if found == len(self.refs):
            self.refs.append(ref)
            self.names.append(ref.name.encode() if isinstance(ref, Export) else b"")
        return found

    def room(self, options: Options) -> Room:
        """Return the numbers of the memory and the `realloc` that options name, -1 where they name none."""
        memory, realloc = (-1 if ref is None else self.of(ref) for ref in (options.memory, options.realloc))
        return memory, realloc


class Plan:
    """How one exported function is called: all that follows from its type.

    Attributes:
        callee: The number of the core function that it is lifted from.
        after: The number of what the guest tidies up with, or None.
        room: The numbers of its memory and of `realloc`.
        spilled: True if its parameters go through memory.
        takes: The shape of its parameters.
        stored: True if its result comes through memory.
        gives: The shape of its result, or None.
        slots: How many core values there must be room for.
        frames: How deep Python goes to lower its arguments.
    """

    def __init__(self, lifted: Lifted, numbers: Numbers) -> None:
        params, options = lifted.signature.params, lifted.options
        encoding = options.encoding
        self.callee = numbers.of(lifted.callee)
        self.after = None if options.post_return is None else numbers.of(options.post_return)
        self.room = numbers.room(options)
        self.spilled = layout.spills(params)
        self.takes = items.row([shape(param.type, encoding, flat=not self.spilled) for param in params])
        gives = lifted.signature.result
        self.stored = len(layout.flatten(gives)) > layout.FLAT_RESULTS
        self.gives = None if gives is None else shape(gives, encoding, flat=not self.stored)
        flat = 1 if self.spilled else self.takes.size // bound.RAW_BYTES
        self.slots = max(flat, 0 if gives is None else 1)
        self.frames = _FRAMES * max((layout.depth(param.type) for param in params), default=0)


class Straight:
    """A component, ready.

    Attributes:
        steps: The core modules to instantiate, by address, each with the numbers of what it imports.
        numbers: What those numbers stand for.
        imports: What it may ask of its host.
    """

    def __init__(self, machine: Machine, wiring: Wiring, codes: Sequence[wasmtime.Module]) -> None:
        self._codes = codes  # what the addresses lead to
        self.numbers = Numbers()
        self.imports = tuple(imports.Import(asked, self.numbers.room(asked.options)) for asked in wiring.asked)
        self.steps = [
            (native.address(codes[step.module].ptr()), [self.numbers.of(ref) for ref in step.imports])
            for step in wiring.steps
        ]
        self._functions = {lifted.signature.name: lifted for lifted in wiring.functions}
        self._plans: dict[str, Plan] = {}
        self._batch = functools.partial(batch, machine)

    def plan(self, signature: wit.Signature) -> Plan:
        """Return how a function is called."""
        plan = self._plans.get(signature.name)
        if plan is None:
            plan = self._plans[signature.name] = Plan(self._functions[signature.name], self.numbers)
        return plan

    def call(
        self,
        context: int,
        signature: wit.Signature,
        values: Sequence[wit.Value],
        stop: Stop,
        *,
        large: wit.Large | None = None,
    ) -> wit.Value:
        """Call a function with despecialised values, in a new store, and return its despecialised result.

        Large lists of numbers in the result are given to `large`, if there is one, while the guest's memory is there.

        Raises:
            WasmtimeError, Trap: The guest trapped, or the host stopped it.
            Broken, MayNotLeave: The guest did what the canonical ABI forbids: it has trapped.
            TooMuch: The values are larger than one call may pass.
        """
        plan = self.plan(signature)
        call = Call(context, stop, max(1, plan.slots), self._batch)
        live = Live(self, call)
        imports.enter(live, self.imports)
        try:
            live.instantiate()
            return live.run(plan, values, large)
        finally:
            imports.enter(None)
            live.close()


def agree(wiring: Wiring, codes: Sequence[wasmtime.Module]) -> bool:
    """Return True if compiled core modules have the exports, of the types, that a component was read to take from them.

    The engine does not look at types where it is called by `bound.call_unchecked`: so what was read of them here, and was
    checked against the whole component in the engine, is checked against the code once more.
    """
    known = [{export.name: export.type for export in code.exports} for code in codes]

    def found(export: Export | None) -> object:
        return None if export is None else known[wiring.steps[export.instance].module].get(export.name)

    def is_func(export: Export | None, kind: FuncType) -> bool:
        there = found(export)
        return isinstance(there, wasmtime.FuncType) and kind == FuncType(
            tuple(map(str, there.params)), tuple(map(str, there.results))
        )

    def options_fit(options: Options) -> bool:
        return (options.memory is None or isinstance(found(options.memory), wasmtime.MemoryType)) and (
            options.realloc is None or is_func(options.realloc, layout.REALLOC)
        )

    for lifted in wiring.functions:
        kind = layout.lifted_type(lifted.signature.params, lifted.signature.result)
        after = lifted.options.post_return
        if not (
            is_func(lifted.callee, kind)
            and options_fit(lifted.options)
            and (after is None or is_func(after, FuncType(kind.results, ())))
        ):
            return False
    return all(options_fit(asked.options) for asked in wiring.asked)


class Live:
    """A component's core instances, in one store."""

    def __init__(self, straight: Straight, call: Call) -> None:
        self.call = call
        self._straight = straight
        self._instances: list[Extern] = []
        self._externs: dict[int, Extern] = {}
        self._guests: dict[Room, Guest] = {}

    def instantiate(self) -> None:
        """Instantiate the core modules, each with what it imports."""
        call = self.call
        for module, numbers in self._straight.steps:
            externs = b"".join([self._extern(number).raw for number in numbers])
            instance = native.Instance()
            call.check(native.instance_new(call.context, module, externs, len(numbers), instance, call.trap))
            self._instances.append(instance)

    def _extern(self, number: int) -> Extern:
        """Return the C structure of an export or of a function of the host."""
        found = self._externs.get(number)
        if found is None:
            found = self._externs[number] = native.Func()
            ref = self._straight.numbers.refs[number]
            if isinstance(ref, Export):
                name = self._straight.numbers.names[number]
                instance = self._instances[ref.instance]
                there = native.instance_export(self.call.context, instance, name, len(name), found)
                assert there, name  # `agree` made sure of it when the component was new
            else:
                imports.define(self.call.context, self._straight.imports[ref.index].type, ref.index, found)
        return found

    def _address(self, number: int) -> int:
        """Return where a function or memory is, or 0 for none."""
        return 0 if number < 0 else ctypes.addressof(self._extern(number)) + bound.EXTERN_OF

    def guest(self, room: Room) -> Guest:
        """Return the memory that a function's values are in, as it is now."""
        found = self._guests.get(room)
        if found is None:
            memory, realloc = room
            found = self._guests[room] = Guest(self.call, self._address(memory), self._address(realloc))
        elif room[0] >= 0:
            found.look()
        return found

    def run(self, plan: Plan, values: Sequence[wit.Value], large: wit.Large | None) -> wit.Value:
        """Lower the arguments, call, lift the result, and let the guest tidy up."""
        call, takes, out = self.call, plan.takes, list[Any]()
        guest = self.guest(plan.room)
        if plan.spilled:
            at = guest.allocate(takes.align, takes.size)
            takes.spread(values, out, guest)
            takes.struct.pack_into(guest.memory, at, *out)
            _ADDRESS.pack_into(call.args, 0, at)
        else:
            takes.spread(values, out, guest)
            takes.struct.pack_into(call.args, 0, *out)
        call.enter(self._address(plan.callee), call.where, plan.slots)
        call.large = large
        result = None if plan.gives is None else self._lift(plan, plan.gives)
        if plan.after is not None:
            call.may_leave = False
            call.enter(self._address(plan.after), call.where, int(plan.gives is not None))
        return result

    def _lift(self, plan: Plan, gives: items.Shape) -> wit.Value:
        guest = self.guest(plan.room)
        if not plan.stored:
            return gives.gather(gives.struct.unpack_from(self.call.args), 0, guest)
        at: int = _ADDRESS.unpack_from(self.call.args)[0]
        guest.within(at, gives.size, gives.align)
        return gives.gather(gives.struct.unpack_from(guest.memory, at), 0, guest)

    def close(self) -> None:
        """Forget the memories, which end with their store."""
        for guest in self._guests.values():
            guest.close()
