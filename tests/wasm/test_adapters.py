"""Data of numpy, pandas, PIL and Arrow as arguments."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from typing import Any

import pytest

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.adapters import Array
from ipvm_kernel.wasm.author import author
from ipvm_kernel.wasm.saving import save, to_image, to_numpy, to_pandas
from ipvm_kernel.wasm.scalars import packed
from tests.wasm.guests import Files

NUMBERS = [
    ("bool", wit.BOOL, True),
    ("int8", wit.S8, -3),
    ("uint8", wit.U8, 200),
    ("int16", wit.S16, -300),
    ("uint16", wit.U16, 60000),
    ("int32", wit.S32, -70000),
    ("uint32", wit.U32, 4000000000),
    ("int64", wit.S64, -(2**62)),
    ("uint64", wit.U64, 2**64 - 1),
    ("float16", wit.F32, 1.5),
    ("float32", wit.F32, 0.5),
    ("float64", wit.F64, 0.1),
]
ROW = wit.Record((wit.Field("a", wit.F64), wit.Field("b", wit.STRING)))
MAYBE_ROW = wit.Record((wit.Field("a", wit.Option(wit.F64)), wit.Field("b", wit.STRING)))
COLUMNS = wit.Record((wit.Field("a", wit.List(wit.F64)), wit.Field("b", wit.List(wit.STRING))))


def refusal(kind: wit.AnyType, value: Any) -> str:
    """Return the message with which a value is refused."""
    with pytest.raises(BadArgument) as caught:
        author(kind, value, Files())
    return caught.value.message


# --- numpy ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "kind", "number"), NUMBERS)
def test_numpy_scalars_and_arrays(dtype: str, kind: wit.AnyType, number: Any) -> None:
    """
    A number of numpy is a number, and an array of them a list, whatever its byte order and its steps in memory.
    """
    numpy = pytest.importorskip("numpy")
    array = numpy.array([number, 0, number], dtype)
    wire = author(wit.List(kind), [number, type(number)(0), number], Files())

    assert author(kind, array[0], Files()) == author(kind, number, Files())
    assert author(kind, numpy.array(number, dtype), Files()) == author(kind, number, Files())
    for same in (array, array.astype(array.dtype.newbyteorder(">")), numpy.repeat(array, 2)[::2], array[::-1][::-1]):
        assert repr(author(wit.List(kind), same, Files())) == repr(wire)
    assert repr(author(wit.List(kind), list(array), Files())) == repr(wire)
    if dtype != "float16":  # which a memoryview cannot read
        assert repr(author(wit.List(kind), memoryview(array), Files())) == repr(wire)


def test_numpy_arrays_of_more_dimensions() -> None:
    """
    A matrix is a list of lists where the type asks for that, in its own order, and is refused elsewhere.
    """
    numpy = pytest.importorskip("numpy")
    matrix = numpy.arange(6, dtype="uint16").reshape(2, 3)
    matrix_type = wit.List(wit.List(wit.U16))

    assert author(matrix_type, matrix, Files()) == [[0, 1, 2], [3, 4, 5]]
    assert author(matrix_type, numpy.asfortranarray(matrix), Files()) == [[0, 1, 2], [3, 4, 5]]
    assert author(matrix_type, matrix.T, Files()) == [[0, 3], [1, 4], [2, 5]]
    assert author(wit.List(matrix_type), matrix.reshape(1, 2, 3), Files()) == [[[0, 1, 2], [3, 4, 5]]]
    assert refusal(wit.List(wit.U16), matrix) == "[0]: expected u16, found an array of numbers"


def test_numpy_conversions_that_lose_nothing() -> None:
    """
    An array goes into another type of number if every one of its numbers fits; floats are never cut to integers.
    """
    numpy = pytest.importorskip("numpy")

    assert author(wit.List(wit.S64), numpy.array([1, 2], "uint8"), Files()) == [1, 2]
    assert author(wit.List(wit.F64), numpy.array([1, 2], "int32"), Files()) == [1.0, 2.0]
    assert author(wit.List(wit.F64), numpy.array([0.5], "float32"), Files()) == [0.5]
    assert author(wit.List(wit.F32), numpy.array([0.1], "float64"), Files()) == [0.1]
    assert author(wit.Tuple((wit.F64, wit.F64)), numpy.array([1, 2]), Files()) == [1.0, 2.0]
    assert refusal(wit.List(wit.U8), numpy.array([1, 256])) == "[1]: expected u8, 0 to 255, found int 256"
    assert refusal(wit.List(wit.S32), numpy.array([1.0])).startswith(
        "expected list<s32>, found an array of f64 numbers"
    )
    assert refusal(wit.List(wit.U8), numpy.array([True])).startswith("expected list<u8>, found an array of bools")
    assert refusal(wit.List(wit.F64), numpy.array([2**60 + 1])).endswith("which no f64 holds exactly")


def test_numpy_data_without_a_wit_type() -> None:
    """
    What has no WIT type is refused by name, and never read as something else.
    """
    numpy = pytest.importorskip("numpy")

    assert "complex128" in refusal(wit.List(wit.F64), numpy.array([1j]))
    assert "datetime64" in refusal(wit.List(wit.S64), numpy.array(["2026-01-01"], "datetime64[ns]"))
    assert refusal(wit.S64, numpy.datetime64("2026-01-01", "ns")) == "expected s64, found a numpy.datetime64"
    assert refusal(wit.S64, numpy.array("2026-01-01", "datetime64[ns]")) == "expected s64, found a numpy.datetime64"


def test_numpy_text_and_objects() -> None:
    """
    Arrays of text and of Python objects are lists of those.
    """
    numpy = pytest.importorskip("numpy")

    assert author(wit.List(wit.STRING), numpy.array(["a", "bc"]), Files()) == ["a", "bc"]
    assert author(wit.STRING, numpy.array(["a"])[0], Files()) == "a"
    assert author(wit.List(wit.BYTES), numpy.array([b"a"]), Files()) == [b"a"]
    assert author(wit.List(wit.Option(wit.S32)), numpy.array([1, None], object), Files()) == [1, None]


def test_numpy_nan_is_meant() -> None:
    """
    NaN in an array is a number: the list travels as bytes, NaN in its one form.
    """
    numpy = pytest.importorskip("numpy")
    files = Files()

    assert files.load(author(wit.List(wit.F64), numpy.array([1, -numpy.nan]), files)) == packed(
        wit.F64, [1.0, math.nan]
    )
    assert refusal(wit.List(wit.Option(wit.F64)), numpy.array([1, numpy.nan])).startswith(
        "[1]: expected f64, found nan"
    )


def test_numpy_masked_values_are_missing() -> None:
    """
    A masked value is missing, not the number that lies under the mask.
    """
    numpy = pytest.importorskip("numpy")
    masked = numpy.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])

    assert author(wit.List(wit.Option(wit.F64)), masked, Files()) == [1.0, None, 3.0]
    assert "missing, at position 1 of 3" in refusal(wit.List(wit.F64), masked)
    assert author(wit.List(wit.F64), numpy.ma.array([1.0, 2.0]), Files()) == [1.0, 2.0]


def test_large_arrays_are_links() -> None:
    """
    A million numbers are a link to eight million bytes, not a million items.
    """
    numpy = pytest.importorskip("numpy")
    files, numbers = Files(), numpy.arange(1_000_000, dtype=">f8")

    link = author(wit.List(wit.F64), numbers, files)

    assert files.load(link) == numbers.astype("<f8").tobytes()


# --- pandas -----------------------------------------------------------------------------------------------------------


def test_series() -> None:
    """
    A column without missing values is a list of its values, whatever its index.
    """
    pandas = pytest.importorskip("pandas")

    assert author(wit.List(wit.F64), pandas.Series([1.5, 2], index=["x", "y"]), Files()) == [1.5, 2.0]
    assert author(wit.List(wit.S64), pandas.Series([1, 2], dtype="Int64"), Files()) == [1, 2]
    assert author(wit.List(wit.BOOL), pandas.Series([True, False], dtype="boolean"), Files()) == [True, False]
    assert author(wit.List(wit.STRING), pandas.Series(["a", "b"]), Files()) == ["a", "b"]
    assert author(wit.List(wit.STRING), pandas.Series(["a", "b"], dtype="category"), Files()) == ["a", "b"]
    assert author(wit.List(wit.S64), pandas.Index([3, 4]), Files()) == [3, 4]
    assert author(wit.Option(wit.S64), pandas.NA, Files()) is None
    assert author(wit.STRING, pandas.Timestamp("2026-01-02"), Files()) == "2026-01-02T00:00:00"


@pytest.mark.parametrize("dtype", ["float64", "Float64", "object"])
def test_missing_values_are_refused_by_place(dtype: str) -> None:
    """
    A missing value never becomes a number by itself: the message says how many are missing, where, and what can be done.
    """
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([1.0, None, 3.0, None], dtype=dtype)

    message = refusal(wit.List(wit.F64), series)

    assert message == (
        "2 values are missing, at position 1, 3 of 4: drop them with .dropna(), or pass ipvm.array(x) to send them as NaN"
    )


def test_many_missing_values() -> None:
    """
    The message about ten thousand missing values is short.
    """
    pandas = pytest.importorskip("pandas")

    message = refusal(wit.List(wit.STRING), pandas.Series([None] * 10_000, dtype=object))

    assert message == (
        "10,000 values are missing, at position 0, 1, 2, 3, 4, … of 10,000: drop them with .dropna(), or fill them with "
        ".fillna(...)"
    )


def test_missing_values_where_they_have_a_place() -> None:
    """
    A list of options takes missing values as none, and `ipvm.array(x)` sends them as NaN.
    """
    pandas = pytest.importorskip("pandas")
    files, series = Files(), pandas.Series([1.5, None], dtype="Float64")

    assert author(wit.List(wit.Option(wit.F64)), series, files) == [1.5, None]
    assert author(wit.List(wit.Option(wit.F64)), Array(series), files) == [1.5, None]
    link = author(wit.List(wit.F64), Array(series), files)
    assert files.load(link) == packed(wit.F64, [1.5, math.nan])
    assert refusal(wit.List(wit.S64), Array(series)).startswith("1 value is missing, at position 1 of 2")


def test_tables() -> None:
    """
    A DataFrame is a list of records, or a record of lists, as the type asks.
    """
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.5, 2.5], "b": ["x", "y"]})

    assert author(wit.List(ROW), table, Files()) == [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"}]
    assert author(COLUMNS, table, Files()) == {"a": [1.5, 2.5], "b": ["x", "y"]}
    assert author(wit.List(ROW), table.iloc[:0], Files()) == []
    assert refusal(wit.List(wit.F64), table) == "expected list<f64>, found a table"


def test_tables_with_holes() -> None:
    """
    A missing value in a table is none where the field is an option, and otherwise an error that names row and field.
    """
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.5, None], "b": ["x", "y"]})

    assert author(wit.List(MAYBE_ROW), table, Files()) == [{"a": 1.5, "b": "x"}, {"a": None, "b": "y"}]
    assert refusal(wit.List(ROW), table) == "[1].a: expected f64, found None"
    assert refusal(COLUMNS, table).startswith(".a: 1 value is missing, at position 1 of 2")


def test_tables_that_cannot_be_records() -> None:
    """
    Two columns of one name, or a column without a WIT type, are named in the refusal.
    """
    pandas = pytest.importorskip("pandas")
    twice = pandas.DataFrame([[1.0, 2.0]], columns=["a", "a"])
    dated = pandas.DataFrame({"a": [pandas.Timestamp("2026-01-02")], "b": ["x"]})

    assert refusal(COLUMNS, twice) == "a table with two columns called 'a': rename one of them"
    assert refusal(wit.List(ROW), dated).startswith("the column 'a': a numpy array of datetime64")


def test_subclasses_of_others() -> None:
    """
    What builds on pandas or numpy is read as what it builds on, not as something to iterate over.
    """
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    frame = type("Frame", (pandas.DataFrame,), {})({"a": [1.5], "b": ["x"]})
    array = numpy.array([1.5]).view(type("Mine", (numpy.ndarray,), {}))

    assert author(wit.List(ROW), frame, Files()) == [{"a": 1.5, "b": "x"}]
    assert refusal(wit.List(wit.STRING), frame) == "expected list<string>, found a table"
    assert author(wit.List(wit.F64), array, Files()) == [1.5]


# --- pictures and Arrow -----------------------------------------------------------------------------------------------


def test_pictures() -> None:
    """
    A PIL image is the bytes of its PNG, the same for the same pixels.
    """
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (3, 2), (255, 0, 0))

    data: Any = author(wit.BYTES, picture, Files())

    assert data == author(wit.BYTES, picture.copy(), Files())
    assert image.open(io.BytesIO(data)).getpixel((2, 1)) == (255, 0, 0)
    assert refusal(wit.BYTES, image.new("CMYK", (1, 1))).startswith("a picture that PNG cannot hold")


def test_arrow() -> None:
    """
    Arrow's arrays, tables and scalars are lists, records and numbers; nulls are missing values.
    """
    arrow = pytest.importorskip("pyarrow")
    whole, holes = arrow.array([1.5, 2.5]), arrow.array([1.5, None])
    table = arrow.table({"a": whole, "b": ["x", "y"]})

    assert author(wit.List(wit.F64), whole, Files()) == [1.5, 2.5]
    assert author(wit.List(wit.F64), arrow.chunked_array([whole, whole]), Files()) == [1.5, 2.5, 1.5, 2.5]
    assert author(wit.List(wit.STRING), arrow.array(["a", "b"]), Files()) == ["a", "b"]
    assert author(wit.List(wit.List(wit.S64)), arrow.array([[1], [2, 3]]), Files()) == [[1], [2, 3]]
    assert author(wit.F64, whole[1], Files()) == 2.5
    assert author(wit.List(wit.Option(wit.F64)), holes, Files()) == [1.5, None]
    assert "missing, at position 1 of 2" in refusal(wit.List(wit.F64), holes)
    assert author(wit.List(ROW), table, Files()) == [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": "y"}]
    assert author(COLUMNS, table.to_batches()[0], Files()) == {"a": [1.5, 2.5], "b": ["x", "y"]}


def test_nothing_is_imported_for_data_that_is_not_there() -> None:
    """
    Plain Python costs nobody an import of numpy or pandas.
    """
    code = (
        "import sys; from ipvm_kernel.wasm.author import author; from ipvm_kernel.wasm import types as wit;"
        "from tests.wasm.guests import Files; author(wit.List(wit.F64), [1, 2.5], Files());"
        "print({'numpy', 'pandas', 'PIL', 'pyarrow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


# --- out --------------------------------------------------------------------------------------------------------------


def test_values_as_arrays() -> None:
    """
    A list of numbers becomes an array of the type that its WIT type says; bytes become an array of bytes.
    """
    numpy = pytest.importorskip("numpy")
    signature = wit.Signature("f", (), wit.Result(wit.List(wit.F32), wit.STRING))

    found = to_numpy([0.5, 1.5], signature)

    assert (found.dtype, found.tolist()) == (numpy.dtype("<f4"), [0.5, 1.5])
    assert to_numpy(b"\x01\x02", None).tolist() == [1, 2]


def test_values_as_tables_and_pictures() -> None:
    """
    Records become a table, bytes a picture, and what is neither is refused.
    """
    pandas, image = pytest.importorskip("pandas"), pytest.importorskip("PIL.Image")
    rows, columns = [{"a": 1}, {"a": 2}], {"a": [1, 2]}
    png = author(wit.BYTES, image.new("L", (2, 1)), Files())

    assert to_pandas(rows).equals(to_pandas(columns))
    assert isinstance(to_pandas([1, 2]), pandas.Series)
    assert to_image(png).size == (2, 1)
    with pytest.raises(TypeError, match="takes the bytes of a picture"):
        to_image("x")
    with pytest.raises(TypeError, match="takes a list or records"):
        to_pandas(5)


def test_values_as_files(tmp_path: Any) -> None:
    """
    Bytes and text are written as they are, anything else as DAG-JSON.
    """
    assert save(b"ab", tmp_path / "a").read_bytes() == b"ab"
    assert save("ü", tmp_path / "b").read_text("utf-8") == "ü"
    assert save({"a": (1, {"x"}), "b": b"\0"}, tmp_path / "c").read_text("utf-8").replace(" ", "").replace(
        "\n", ""
    ) == ('{"a":[1,["x"]],"b":{"/":{"bytes":"AA"}}}')
