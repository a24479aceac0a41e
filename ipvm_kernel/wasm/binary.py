"""What a Wasm binary says of itself, read from its sections without an engine.

Sources: WebAssembly core specification 3.0, sections 5.4 (instructions) and 5.5 (modules); component model `Binary.md`,
section "Component Definitions". Nothing here recurses: nested components wait on a list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from ipvm_kernel.errors import BadModule

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["component", "module"]

MAGIC: Final = b"\0asm"
_CORE_VERSION: Final = b"\x01\0\0\0"
_LAYER_COMPONENT: Final = b"\x01\0"  # bytes 6 and 7: layer 1; bytes 4 and 5 are a version that engines check

_CUSTOM: Final = 0
_CORE_MODULE: Final = 1  # in a component: an embedded core module
_COMPONENT: Final = 4  # in a component: a nested component
_IMPORT: Final = 2
_MEMORY: Final = 5
_CODE: Final = 10

_MEMORY_GROW: Final = 0x40
_GROW_SEEN: Final = re.compile(rb"\x40\x80*\x00")
_MULTI_MEMORY_BIT: Final = 0x40

# What follows an opcode (5.4.1 to 5.4.7): how many LEB128 numbers, for those that have nothing else after them. GC, threads,
# exceptions and stack switching are off in ipvm; their opcodes are not known here.
_LEBS: Final = {
    **dict.fromkeys((0x00, 0x01, 0x05, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1, 0xD3, 0xD4), 0),
    **dict.fromkeys(range(0x45, 0xC5), 0),  # arithmetic
    **dict.fromkeys((0x0C, 0x0D, 0x10, 0x12, 0x14, 0x15), 1),
    **dict.fromkeys((0x11, 0x13), 2),  # indirect calls
    **dict.fromkeys(range(0x20, 0x27), 1),  # variables and tables
    **dict.fromkeys((0x3F, _MEMORY_GROW, 0x41, 0x42, 0xD0, 0xD2, 0xD5, 0xD6), 1),
}
_LEBS_FC: Final = {**dict.fromkeys(range(8), 0), 8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}
_TYPED_REFERENCES: Final = (0x63, 0x64)  # value types that are followed by a heap type


def kind_of(data: bytes) -> Kind:
    """Return whether `data` is a component or a core module.

    Raises:
        BadModule: It is neither.
    """
    if data[:4] == MAGIC:
        if data[4:8] == _CORE_VERSION:
            return "module"
        if data[6:8] == _LAYER_COMPONENT:
            return "component"
        raise BadModule(f"not a Wasm version that ipvm knows: the header is {data[:8].hex(' ')}")
    start = data[:8].hex(" ") or "nothing"
    raise BadModule(f"not Wasm: expected a binary that begins with 00 61 73 6d (\\0asm) or WAT text, found {start}")


def is_text(data: bytes) -> bool:
    """Return True if `data` looks like WAT: its first sign after white space and comments is a bracket."""
    return data[:4] != MAGIC and re.match(rb"\s*(?:;;[^\n]*\n\s*|\(;.*?;\)\s*)*\(", data, re.DOTALL) is not None


def has_component_type(data: bytes) -> bool:
    """Return True if a core module carries a `component-type` section, so that it can be made a component."""
    return any(
        section == _CUSTOM and _name(data, start, end).startswith("component-type")
        for section, start, end in _sections(data)
    )


def core_modules(data: bytes) -> Iterator[bytes]:
    """Yield the core modules in a binary: itself, or every one embedded in a component at any depth."""
    pending = [data]
    while pending:
        current = pending.pop()
        if kind_of(current) == "module":
            yield current
            continue
        pending.extend(
            current[start:end] for section, start, end in _sections(current) if section in (_CORE_MODULE, _COMPONENT)
        )


def memories(data: bytes) -> int:
    """Return how many memories the core modules of a binary define."""
    return sum(
        _leb(module, start)[0]
        for module in core_modules(data)
        for section, start, _ in _sections(module)
        if section == _MEMORY
    )


def grows_memory(data: bytes) -> bool:
    """Return True if any code in a binary holds a `memory.grow`, whose answer a memory limit can change (RULES 5).

    An instruction that this reader does not know counts as one: then nothing computed under a limit is filed.
    """
    return any(
        _body_grows(module, start, end)
        for module in core_modules(data)
        for section, start, end in _sections(module)
        if section == _CODE and _GROW_SEEN.search(module, start, end)
    )


def _sections(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield `(id, start, end)` of each section.

    Raises:
        BadModule: A section runs past the end.
    """
    at = 8
    while at < len(data):
        section = data[at]
        length, start = _leb(data, at + 1)
        end = start + length
        if end > len(data):
            raise BadModule(f"Wasm is cut short: section {section} at byte {at} ends at {end} of {len(data)}")
        yield section, start, end
        at = end


def _broken(at: int) -> BadModule:
    return BadModule(f"Wasm is cut short or broken: no number ends at byte {at}")


def _leb(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and where it ends (5.2.2)."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _broken(at)
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _name(data: bytes, start: int, end: int) -> str:
    length, at = _leb(data, start)
    return data[at : min(at + length, end)].decode("utf-8", "replace")


def _body_grows(data: bytes, start: int, end: int) -> bool:
    """Walk the instructions of a code section and return True at the first `memory.grow`."""
    count, at = _leb(data, start)
    for _ in range(count):
        length, at = _leb(data, at)
        stop = min(at + length, end)
        if _GROW_SEEN.search(data, at, stop) and _function_grows(data, at, stop):
            return True
        at = stop
    return False


def _function_grows(data: bytes, at: int, stop: int) -> bool:
    groups, at = _leb(data, at)
    for _ in range(groups):  # locals: a count and a value type each
        at = _past_type(data, _skip(data, at))
    while at < stop:
        opcode = data[at]
        if opcode == _MEMORY_GROW:
            return True
        step = _past(data, opcode, at + 1)
        if step is None:
            return True
        at = step
    return False


def _skip(data: bytes, at: int, count: int = 1) -> int:
    """Return where `count` LEB128 numbers end."""
    for _ in range(count):
        _, at = _leb(data, at)
    return at


def _past_type(data: bytes, at: int) -> int:
    """Return where a value type or block type ends (5.3.4, 5.4.1)."""
    if at >= len(data):
        raise _broken(at)
    return _skip(data, at, 2 if data[at] in _TYPED_REFERENCES else 1)


def _memarg(data: bytes, at: int) -> int:
    align, at = _leb(data, at)
    return _skip(data, at, 2 if align & _MULTI_MEMORY_BIT else 1)


def _past(data: bytes, opcode: int, at: int) -> int | None:
    """Return where an instruction's immediates end, or None for an instruction that is not known here."""
    if opcode in _LEBS:
        return _skip(data, at, _LEBS[opcode])
    if 0x28 <= opcode <= 0x3E:
        return _memarg(data, at)
    match opcode:
        case 0x02 | 0x03 | 0x04:  # block, loop, if
            return _past_type(data, at)
        case 0x0E:  # br_table: a vector of labels and a default
            count, at = _leb(data, at)
            return _skip(data, at, count + 1)
        case 0x1C:  # select with types
            count, at = _leb(data, at)
            for _ in range(count):
                at = _past_type(data, at)
            return at
        case 0x43:
            return at + 4
        case 0x44:
            return at + 8
        case 0xFC:
            sub, at = _leb(data, at)
            return _skip(data, at, _LEBS_FC[sub]) if sub in _LEBS_FC else None
        case 0xFD:
            return _past_vector(data, at)
        case _:
            return None


def _past_vector(data: bytes, at: int) -> int | None:
    """Return where a vector instruction's immediates end (5.4.8)."""
    sub, at = _leb(data, at)
    if sub <= 11 or sub in (92, 93):
        return _memarg(data, at)
    if sub in (12, 13):
        return at + 16
    if 21 <= sub <= 34:
        return at + 1
    if 84 <= sub <= 91:
        return _memarg(data, at) + 1
    return at if sub < 256 else None  # relaxed SIMD is off
