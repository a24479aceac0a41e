"""Glue for Zig: the files that stand around a cell, so that the cell holds plain functions.

Three files go into a build beside the cell. `abi.zig` is the same for every world: it carries values by their Zig
types. `ipvm.zig` is what the cell imports as `ipvm`: allocator, failure, log, and the world's records and enums.
`root.zig` exports one core function for each function of the world.

    WIT                   Zig
    s8 ... u64, f32, f64  i8 ... u64, f32, f64
    bool, char, string    bool, u21, []const u8
    list<T>, option<T>    []const T, ?T
    tuple<A, B>           struct { A, B }
    record five-numbers   ipvm.FiveNumbers, fields in snake_case
    enum colour           ipvm.Colour, cases in snake_case
    result<T, string>     as a function's result `!T` (see ipvm.fail); anywhere else ipvm.Result(T, []const u8)
    result<T, E>          ipvm.Result(T, E)

A function is called in Zig what it is called in WIT, in snake_case: `resample-mean` is `pub fn resample_mean`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ipvm_kernel.toolchains import abi
from ipvm_kernel.toolchains.world import (
    Enum,
    Function,
    ListOf,
    OptionOf,
    Record,
    ResultOf,
    Scalar,
    TupleOf,
    Type,
    World,
)

_RUNTIME: Final = Path(__file__).with_name("runtime")

_SCALARS: Final = {
    **{f"s{bits}": f"i{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"u{bits}" for bits in (8, 16, 32, 64)},
    "f32": "f32",
    "f64": "f64",
    "bool": "bool",
    "char": "u21",
    "string": "[]const u8",
}

_CORES: Final = {"i32": "u32", "i64": "u64", "f32": "f32", "f64": "f64"}

# What a name cannot be unless it is quoted.
_KEYWORDS: Final = """
addrspace align allowzero and anyerror anyframe anytype asm bool break callconv catch comptime const continue defer else
enum errdefer error export extern false fn for if inline isize linksection noalias noinline noreturn nosuspend null
opaque or orelse packed pub resume return struct suspend switch test threadlocal true try type undefined union
unreachable usize var void volatile while
"""

_LOG: Final = """
/// How much a line of the log matters.
pub const Level = enum(u32) { trace, debug, info, warn, err, critical };

/// Write a line to the log: `ipvm.log(.info, "{d} rows", .{rows});`
pub fn log(level: Level, comptime format: []const u8, args: anytype) void {
    const context = "$context";
    const line = std.fmt.allocPrint(allocator, format, args) catch return;
    defer allocator.free(line);
    host.log(level, context, context.len, line.ptr, line.len);
}

const host = struct {
    extern "wasi:logging/logging" fn log(Level, [*]const u8, usize, [*]const u8, usize) void;
};
"""

_NO_LOG: Final = """
/// The log is closed, since the world does not import it.
pub fn log(_: anytype, comptime _: []const u8, _: anytype) void {
    @compileError("to write to the log, let the world say: import wasi:logging/logging;");
}
"""


def files(world: World) -> dict[str, str]:
    """Return the names and texts of the files that a cell for this world is built with."""
    return {"root.zig": _root(world), "ipvm.zig": _module(world), "abi.zig": _text("abi.zig")}


def signature(function: Function) -> str:
    """Return how the function begins in the cell.

    >>> signature(Function("one-of", (), ResultOf(ListOf(Scalar("f32")), Scalar("string"))))
    'pub fn one_of() ![]const f32'
    """
    params = ", ".join(f"{name(param.name)}: {spelled(param.type)}" for param in function.params)
    return f"pub fn {name(function.name)}({params}) {_returned(function.result)}"


def spelled(kind: Type | None) -> str:
    """Return a type as it is written in a cell."""
    match kind:
        case None:
            return "void"
        case Scalar(name=scalar):
            return _SCALARS[scalar]
        case ListOf(element=element):
            return f"[]const {spelled(element)}"
        case OptionOf(some=some):
            return f"?{spelled(some)}"
        case ResultOf(ok=ok, err=err):
            return f"ipvm.Result({spelled(ok)}, {spelled(err)})"
        case TupleOf(items=items):
            return f"struct {{ {', '.join(map(spelled, items))} }}"
        case Record() | Enum():
            return f"ipvm.{_type_name(kind)}"


def name(wit: str) -> str:
    """Return the name of a function, parameter, field or case.

    >>> name("dark-blue"), name("error"), name("u8")
    ('dark_blue', '@"error"', '@"u8"')
    """
    own = abi.snake(wit)
    quoted = own in _KEYWORDS.split() or own in _SCALARS.values()
    return f'@"{own}"' if quoted else own


def _type_name(kind: Record | Enum) -> str:
    own = "".join(word[:1].upper() + word[1:] for word in kind.name.split("-"))
    return own + "_" if own in {"Level", "Result"} else own


def _fallible(kind: Type | None) -> bool:
    """Return whether a function of this result may return an error union."""
    return isinstance(kind, ResultOf) and kind.err in {None, Scalar("string")}


def _returned(kind: Type | None) -> str:
    return f"!{spelled(kind.ok)}" if isinstance(kind, ResultOf) and _fallible(kind) else spelled(kind)


def _root(world: World) -> str:
    blocks = [
        f"//! The exports of `{world.name}`, generated by ipvm.\n",
        'const std = @import("std");\nconst abi = @import("abi");\nconst cell = @import("cell");\n',
        "pub const panic = std.debug.no_panic;\n",
    ]
    if any(map(abi.allocates, world.functions)):
        blocks.append(
            "export fn cabi_realloc(old: usize, old_len: usize, alignment: usize, len: usize) usize {\n"
            "    return abi.reallocate(old, old_len, alignment, len);\n}\n"
        )
    if any("ipvm." in signature(function) for function in world.functions):
        blocks[1] += 'const ipvm = @import("ipvm");\n'
    return "\n".join([*blocks, *map(_export, world.functions)])


def _export(function: Function) -> str:
    cores = [f"p{number}" for number in range(len(abi.core_params(function)))]
    params = ", ".join(f"{p}: {_CORES[core]}" for p, core in zip(cores, abi.core_params(function), strict=True))
    core = abi.core_result(function)
    types = ", ".join(spelled(param.type) for param in function.params)
    result = function.result
    out = (
        f"abi.Fallible({spelled(result.ok)}, {spelled(result.err)})"
        if isinstance(result, ResultOf) and _fallible(result)
        else spelled(result)
    )
    wanted = signature(function).replace("\\", "\\\\").replace('"', '\\"')
    own = f"export_{abi.snake(function.name)}"  # so that a function may be called `std`
    return (
        f"fn {own}({params}) callconv(.c) {_CORES[core] if core else 'void'} {{\n"
        f'    return abi.Export(cell, "{abi.snake(function.name)}", &.{{ {types} }}, {out}, "{wanted}")\n'
        f"        .call(.{{ {', '.join(cores)} }});\n}}\n"
        f'comptime {{\n    @export(&{own}, .{{ .name = "{function.name}" }});\n}}\n'
    )


def _module(world: World) -> str:
    log = _LOG.replace("$context", world.name) if world.logs else _NO_LOG
    return _text("ipvm.zig") + log + "".join(map(_declared, world.types))


def _declared(kind: Record | Enum) -> str:
    if isinstance(kind, Enum):
        bits = 8 * abi.tag_size(len(kind.cases))
        rows = "".join(f"    {name(case)},\n" for case in kind.cases)
        return f"\n/// WIT: enum {kind.name}\npub const {_type_name(kind)} = enum(u{bits}) {{\n{rows}}};\n"
    rows = "".join(f"    {name(field.name)}: {spelled(field.type).replace('ipvm.', '')},\n" for field in kind.fields)
    return f"\n/// WIT: record {kind.name}\npub const {_type_name(kind)} = struct {{\n{rows}}};\n"


def _text(file: str) -> str:
    return (_RUNTIME / file).read_text(encoding="utf-8")
