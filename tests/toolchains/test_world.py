from __future__ import annotations

import pytest

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains import world
from ipvm_kernel.toolchains.world import Enum, ListOf, Named, OptionOf, Record, ResultOf, Scalar, TupleOf

pytestmark = pytest.mark.peer("wasm-tools")


def test_lines_of_functions_are_enough() -> None:
    """
    A cell with one line of WIT has a world; package and world are put around it.
    """
    found = world.parse("export mean: func(xs: list<f64>) -> f64;")

    assert (found.package, found.name, found.imports) == ("ipvm:cell", "cell", ())
    assert [str(function) for function in found.functions] == ["mean: func(xs: list<f64>) -> f64"]


@pytest.mark.parametrize(
    ("text", "package", "name"),
    [
        ("package a:b;\nworld c { export f: func(); }", "a:b", "c"),
        ("package a:b@1.2.0;\nworld c { export f: func(); }", "a:b@1.2.0", "c"),
        ("world c { export f: func(); }", "ipvm:cell", "c"),
        ("// a world of one's own\nexport world-size: func(%world: u32);", "ipvm:cell", "cell"),
        ("export f: func(); /* world x { } */", "ipvm:cell", "cell"),
    ],
)
def test_a_world_of_ones_own_keeps_its_names(text: str, package: str, name: str) -> None:
    """
    Package and world are what the cell says; the word in a comment or a name says nothing.
    """
    found = world.parse(text)

    assert (found.package, found.name) == (package, name)


def test_every_type_that_cells_carry_is_read() -> None:
    """
    Records, enums, aliases and everything that can be made of them arrive as what they are.
    """
    found = world.parse(
        """
        enum colour { red, dark-blue }
        record point { x: f64, tags: list<string>, fill: option<colour> }
        type path = list<point>;
        export draw: func(path: path, at: tuple<u8, char>) -> result<_, string>;
        """
    )
    colour = Enum("colour", ("red", "dark-blue"))
    point = Record(
        "point",
        (
            Named("x", Scalar("f64")),
            Named("tags", ListOf(Scalar("string"))),
            Named("fill", OptionOf(colour)),
        ),
    )

    assert found.types == (colour, point)
    assert found.functions[0].params == (
        Named("path", ListOf(point)),
        Named("at", TupleOf((Scalar("u8"), Scalar("char")))),
    )
    assert found.functions[0].result == ResultOf(None, Scalar("string"))
    assert str(found.functions[0]) == "draw: func(path: list<point>, at: tuple<u8, char>) -> result<_, string>"


def test_a_comment_above_a_function_is_its_documentation() -> None:
    """
    What `/// ...` says in the world can be shown where the function is.
    """
    found = world.parse("/// The middle.\nexport mean: func(xs: list<f64>) -> f64;")

    assert found.functions[0].docs.strip() == "The middle."


def test_the_log_is_an_import_away() -> None:
    """
    `import wasi:logging/logging;` is all that a cell needs to log; the package need not be spelled out.
    """
    found = world.parse("import wasi:logging/logging; export f: func();")

    assert found.imports == ("wasi:logging/logging",)
    assert found.logs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "There is no world."),
        ("// nothing", "There is no world."),
        ("enum e { a }", "The world cell exports no function; add one: export"),
        ("export f: func(a: u33);", "line 1: name `u33` does not exist, in the world's `export f: func(a: u33);`"),
        ("\n\nexport f: func(a: list<u8) -> u8;", "line 3: expected '>', found ')'"),
        ("export f: func()", "line 1: expected ';', found '}', in the world's `export f: func()`"),
        ("world w {\n  export f: func();\n  export f: func();\n}", "line 3: export `f` conflicts"),
        ("package a:b;\nworld w {\n  export f: func(a: float32);\n}", "line 3: name `float32` does not exist"),
        ("world a { export f: func(); } world b { export g: func(); }", "this text has 2: a, b."),
        ("import a:b/c; export f: func();", "line 1: package 'a:b' not found."),
        ("import g: func(); export f: func();", "The world imports g; a cell in Zig or C may import wasi:logging"),
        ("import wasi:logging/log; export f: func();", "interface 'log' not found in package 'wasi:logging'"),
        ("export api: interface { f: func(); }", "exports the interface api; export its functions one by one."),
        ("export memory: func();", "memory: a module keeps this name for itself; choose another"),
        ("export f: async func();", "f: an async function cannot be called here"),
        ("variant v { a(u8), b } export f: func(a: list<v>);", "f: parameter a is of type variant v, which"),
        ("flags v { a, b } export f: func() -> v;", "f: the result is of type flags v, which"),
        ("resource r; export f: func(a: borrow<r>);", "f: parameter a is of type borrow, which"),
        ("export f: func(a: list<u8, 4>);", "f: parameter a is of type fixed-length-list, which"),
        ("export f: func(a: map<string, u8>);", "f: parameter a is of type map, which"),
        ("export f: func() -> future<u8>;", "f: the result is of type future, which"),
        ("export f: func() -> error-context;", "f: the result is of type error-context, which"),
        ("record r { v: stream<u8> } export f: func(a: r);", "stream, which Zig and C cells cannot carry"),
        (
            "import wasi:logging/logging; export f: func();}\npackage wasi:logging { }",
            "package wasi:logging of its own",
        ),
        ("export f: func();" + " " * 70_000, "The world takes 70,017 bytes; at most 65,536 are read."),
    ],
)
def test_what_is_wrong_with_a_world_is_one_line(text: str, message: str) -> None:
    """
    A world that cannot be served is refused in one line that names the place: a line, or function and parameter.
    """
    with pytest.raises(BuildFailed) as caught:
        world.parse(text)

    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "world.wit" not in caught.value.message


def test_a_world_is_found_in_comments() -> None:
    """
    WIT stands in comment lines that begin with the language's sign and `| wit`, wherever they are in the cell.
    """
    zig = "//! Mean.\n  //| wit export a: func();\r\n1; //| wit no\n//| wit\n//| with care\n//| wit export b: func();"
    python = "#| wit export a: func();\nprint()"

    assert world.extract(zig) == ("export a: func();\n\nexport b: func();\n", (2, 4, 6))
    assert world.extract(python, "#") == ("export a: func();\n", (1,))
    assert world.extract("nothing") == ("", ())


def test_a_line_number_is_that_of_the_cell() -> None:
    """
    What is wrong with the world is told with the line of the cell on which it stands.
    """
    text, lines = world.extract("//! Mean.\n\n//| wit export a: func();\nconst x = 1;\n//| wit export b: func(u8);\n")

    with pytest.raises(BuildFailed, match=r"^line 5: "):
        world.parse(text, lines=lines)
