from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains import c
from tests.toolchains.guest import Guest, plain

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.peer("zig", "wasm-tools")

MEAN = "export mean: func(xs: list<f64>) -> f64;"

GOOD = """\
#include "ipvm.h"

double mean(ipvm_list_f64 xs) {
    double sum = 0;
    for (size_t i = 0; i < xs.len; i++) sum += xs.ptr[i];
    return sum / xs.len;
}
"""


def test_plain_functions_are_a_component() -> None:
    """
    A cell holds functions and nothing else; what it becomes is small and asks for nothing.
    """
    guest = Guest(c.build(GOOD, MEAN))

    assert guest.call("mean", [1.0, 2.0, 4.5]) == 2.5
    assert guest.imports == []


def test_memory_text_failure_and_log() -> None:
    """
    A cell can make a list of its own, fail with words, and write to the log.
    """
    source = """
    #include "ipvm.h"
    #include <string.h>

    ipvm_result_str_str twice(ipvm_str text) {
        if (text.len == 0) return (ipvm_result_str_str){ .failed = true, .err = IPVM_TEXT("there is no text") };
        char *all = ipvm_alloc(2 * text.len);
        memcpy(all, text.ptr, text.len);
        memcpy(all + text.len, text.ptr, text.len);
        ipvm_log(IPVM_ERROR, text);
        return (ipvm_result_str_str){ .ok = { all, 2 * text.len } };
    }
    """
    wit = "world w { import wasi:logging/logging; export twice: func(text: string) -> result<string, string>; }"
    guest = Guest(c.build(source, wit))

    assert plain(guest.call("twice", "")) == {"err": "there is no text"}
    assert plain(guest.call("twice", "ab" * 100_000)) == {"ok": "ab" * 200_000}
    assert guest.log == [("error", "w", "ab" * 100_000)]


def test_arithmetic_beyond_the_language() -> None:
    """
    `math.h` has what compiler-rt has; the results are those of every other machine.
    """
    source = """
    #include "ipvm.h"
    #include <math.h>
    double f(double x) { return exp(log(x)) + sin(x) * fmod(x, 0.75) + sqrt(x); }
    """
    guest = Guest(c.build(source, "export f: func(x: f64) -> f64;"))

    x = 2.5
    assert guest.call("f", x) == pytest.approx(x + math.sin(x) * math.fmod(x, 0.75) + math.sqrt(x), rel=1e-15)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            GOOD.replace("xs.len;\n}", "xs.length;\n}"),
            ["line 6:21: no member named 'length' in 'ipvm_list_f64'", "    return sum / xs.length;", " " * 20 + "^"],
        ),
        (
            GOOD.replace("double mean", "float mean"),
            ["line 3:7: conflicting types for 'mean'; ipvm.h says: double mean(ipvm_list_f64 xs);"],
        ),
        (
            GOOD.replace("mean", "average"),
            ["the world wants `double mean(ipvm_list_f64 xs)`, and the cell has no such function."],
        ),
        (
            "int printf(const char *, ...);\n" + GOOD.replace("double sum", 'printf("x");\n    double sum'),
            ["line 5:5: printf is defined nowhere. A cell has no C library", '    printf("x");', "    ^"],
        ),
        (GOOD.replace("double sum = 0;", "double sum = 0"), ["line 4:19: expected ';' at end of declaration"]),
        (
            "#include <stdio.h>\n" + GOOD,
            ["line 1:10: 'stdio.h' file not found", "    #include <stdio.h>", "             ^"],
        ),
    ],
)
def test_an_error_stands_at_its_place_in_the_cell(source: str, told: list[str]) -> None:
    """
    What the compiler refuses is told with line, column and a caret in the cell; nothing is said of files and folders.
    """
    with pytest.raises(BuildFailed) as caught:
        c.build(source, MEAN)

    rows = caught.value.message.split("\n")
    assert rows[0].startswith(told[0])
    assert rows[1 : len(told)] == told[1:]
    assert not re.search(r"/tmp|site-packages|ziglang|cell\.|zig-cache|glue\.c|Traceback", caught.value.message)


@pytest.mark.parametrize(
    "flag", ["-o/tmp/x", "-I/etc", "-include=/etc/passwd", "-fplugin=x", "-march=native", "-Wl,--x", "@file"]
)
def test_flags_are_chosen_from_a_list(flag: str) -> None:
    """
    A flag that reads or writes elsewhere, or depends on the machine, is refused by name.
    """
    with pytest.raises(BuildFailed, match=re.escape(flag)):
        c.build(GOOD, MEAN, flags=(flag,))


def test_flags_do_what_they_say() -> None:
    """
    Macros, optimisation and the standard can be asked for.
    """
    source = GOOD.replace("double sum = 0;", "double sum = START;")

    assert Guest(c.build(source, MEAN, flags=("-DSTART=3.5", "-O2", "-std=c17"))).call("mean", [1.0]) == 4.5


def test_folder_and_cache_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The same source gives the same bytes wherever it is built, with an empty cache too; `__FILE__` is a fixed name.
    """
    source = GOOD.replace("return sum", "if (xs.len == 0) return __FILE__[0];\n    return sum")
    digests = set()
    for name in ("a", "a much longer name of a folder"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(place))
        digests.add(hashlib.sha256(c.build(source, MEAN)).hexdigest())
    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(tmp_path / "cache"))
    digests.add(hashlib.sha256(c.build(source, MEAN)).hexdigest())

    assert len(digests) == 1
