"""Large values: named once from the memory where they lie, and between files and guests without a copy in Python."""

from __future__ import annotations

import math
import pickle
import struct
from array import array
from multiprocessing.shared_memory import SharedMemory
from typing import TYPE_CHECKING, Any, cast

import pytest

from ipvm_kernel.errors import StoreDamaged
from ipvm_kernel.ipld import CID, FileBytes, NumberList
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.wasm import named
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.author import author
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.lowering import lower
from ipvm_kernel.wasm.perform import perform
from ipvm_kernel.wasm.plain import plain
from ipvm_kernel.wasm.runtime import call
from ipvm_kernel.wasm.scalars import canonical_nan, packed
from ipvm_kernel.wasm.stop import Stop
from tests.wasm.guests import PADDING, Files, echoes, loaded, run

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.wasm.module import Module

F64S, ZEROS = wit.List(wit.F64), (0,) * PADDING
NAN = struct.pack("<Q", 0xFFF8_0000_0000_0123)


class Counting(Files):
    """Files that know how often something was hashed and kept."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def keep(self, data: bytes | memoryview) -> CID:
        """Keep bytes as a file."""
        self.times += 1
        return super().keep(data)


# --- naming -----------------------------------------------------------------------------------------------------------


def test_an_array_is_named_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A large array of numpy, of `array`, a view or a bytearray is handed on as its own memory, and named as its bytes.
    """
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(
        "ipvm_kernel.wasm.author.LARGEST_BYTES", 1_000
    )  # what is smaller is copied once, to be compared
    seen: list[Any] = []

    class Looking(Files):
        def keep(self, data: bytes | memoryview) -> CID:
            seen.append(data.obj if isinstance(data, memoryview) else data)
            return super().keep(data)

    floats, more, octets = numpy.arange(10_000.0), array("d", range(10_000)), bytearray(100_000)
    named_as = [
        author(F64S, floats, Looking()),
        author(F64S, more, Looking()),
        author(F64S, memoryview(more), Looking()),
        author(wit.BYTES, octets, Looking()),
        author(wit.BYTES, memoryview(octets), Looking()),
        author(F64S, NumberList("d", more), Looking()),
    ]

    assert seen[0] is floats
    assert seen[1] is more
    assert seen[2] is more
    assert seen[3] is octets
    assert seen[4] is octets
    assert named_as[:3] == [file_cid(floats.tobytes())] * 3
    assert named_as[3:5] == [file_cid(bytes(octets))] * 2
    assert named_as[5] == named_as[0]


def test_an_array_of_arrow_is_named_where_it_lies() -> None:
    """
    So is one of Arrow, if nothing is missing in it.
    """
    arrow = pytest.importorskip("pyarrow")
    numbers = arrow.array([float(i) for i in range(10_000)])

    assert author(F64S, numbers, Files()) == file_cid(packed(wit.F64, [float(i) for i in range(10_000)]))


def test_an_array_with_gaps_is_copied_once() -> None:
    """
    Every second number of an array, or one of another byte order, has the name of its numbers.
    """
    numpy = pytest.importorskip("numpy")
    numbers = numpy.arange(40_000.0)
    expected = author(F64S, numbers[::2].copy(), Files())

    assert author(F64S, numbers[::2], Files()) == expected
    assert author(F64S, memoryview(numbers)[::2], Files()) == expected
    assert author(F64S, numbers[::2].astype(">f8"), Files()) == expected


def test_what_was_named_is_not_hashed_again() -> None:
    """
    Naming an array again costs no hash while its bytes are the same, and a changed array has another name.
    """
    numpy = pytest.importorskip("numpy")
    files, numbers, data = Counting(), numpy.arange(20_000.0), bytes(100_000)

    first = [author(F64S, numbers, files) for _ in range(3)]
    octets = [author(wit.BYTES, data, files) for _ in range(3)]
    numbers[-1] = -1
    second = author(F64S, numbers, files)

    assert len(set(first)) == 1
    assert len(set(octets)) == 1
    assert second == file_cid(numbers.tobytes()) != first[0]
    assert files.times == 3


def test_one_memory_named_as_two_types() -> None:
    """
    What lies in one memory has the name that its type gives it: as numbers, a NaN has its one form; as bits it is kept.
    """
    files, numbers = Files(), array("d", [0.5] * 9_999)
    memoryview(numbers).cast("B")[:8] = NAN
    bits = memoryview(numbers).cast("B").cast("Q")

    as_floats, as_bits = author(F64S, numbers, files), author(wit.List(wit.U64), bits, files)

    assert as_bits == file_cid(bytes(numbers))
    assert as_floats == file_cid(struct.pack("<d", math.nan) + bytes(numbers)[8:])


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of what was named, the latest is remembered, up to a limit; what is larger than that never is.
    """
    monkeypatch.setattr(named, "LARGEST_BYTES", 150_000)
    files = Counting()
    files.named._room = 250_000
    arrays = [array("d", range(n, n + 10_000)) for n in range(4)]
    for numbers in [*arrays, *arrays[2:]]:
        author(F64S, numbers, files)
    large = array("d", range(20_000))

    assert files.times == 4
    assert author(F64S, arrays[0], files) == file_cid(arrays[0].tobytes())
    assert files.times == 5
    assert author(F64S, large, files) == author(F64S, large, files)
    assert files.times == 7


@pytest.mark.parametrize("element", [wit.F32, wit.F64], ids=str)
@pytest.mark.parametrize("at", [0, 1, 8_191, 8_192, 29_999])
def test_nan_anywhere_has_its_one_form(element: wit.Float, at: int) -> None:
    """
    Among many numbers every NaN gets its one form, wherever it stands, and no other number is touched.
    """
    width = element.bits // 8
    rest = [1.5, -math.inf, 3.4028234663852886e38, -0.0] * 7_500
    data = bytearray(packed(element, rest))
    data[at * width : (at + 1) * width] = NAN if width == 8 else struct.pack("<I", 0xFFC0_0123)
    expected = bytearray(data)
    expected[at * width : (at + 1) * width] = packed(element, [math.nan])

    assert bytes(canonical_nan(element, bytes(data))) == expected
    assert bytes(canonical_nan(element, memoryview(data))) == expected
    clean = packed(element, rest)
    assert canonical_nan(element, clean) is clean


# --- into a guest and out ---------------------------------------------------------------------------------------------


@pytest.fixture(params=["straight", "engine"])
def echo(request: pytest.FixtureRequest) -> Module:
    """
    A guest that gives back bytes, bools, floats and lists of lists, driven either way.
    """
    kinds = (wit.BYTES, wit.List(wit.BOOL), F64S, wit.List(F64S))
    return loaded(echoes(*kinds), straight=request.param == "straight")


def in_file(folder: Path, data: bytes) -> FileBytes:
    """Return bytes that lie in a file."""
    path = folder / "data"
    path.write_bytes(data)
    return FileBytes(path)


def test_a_file_goes_into_a_guest(echo: Module, tmp_path: Path) -> None:
    """
    Bytes in a file arrive in a guest as bytes in memory do, whatever they are part of.
    """
    data = packed(wit.F64, [float(i) for i in range(50_000)])
    found = in_file(tmp_path, data)

    assert run(echo, "e0", (found, *ZEROS))[0] == data
    assert run(echo, "e2", (found, *ZEROS))[0] == data
    assert run(echo, "e3", ([found, b"", found], *ZEROS))[0] == [data, b"", data]
    assert run(echo, "e3", ([found] * 40, *ZEROS))[0] == [data] * 40


def test_a_guest_in_another_process(echo: Module, tmp_path: Path) -> None:
    """
    What goes into a guest may lie in memory that processes share, or be sent as the place of a file; so may what comes out.
    """
    data = packed(wit.F64, [float(i) for i in range(50_000)])
    sent = pickle.dumps(in_file(tmp_path, data))
    given, taken = (SharedMemory(create=True, size=len(data)) for _ in range(2))
    room, out = memoryview(given.buf or b""), memoryview(taken.buf or b"")
    room[: len(data)] = data

    def take(element: wit.AnyType, found: memoryview) -> tuple[str, wit.AnyType, int]:
        out[: len(found)] = found
        return taken.name, element, len(found)

    try:
        answer, *_ = call(
            echo, echo.interface.find("e2"), [(room[: len(data)], *ZEROS)],
            limits=Limits(), seed=b"", stop=Stop(), report=Report(), large=take,
        )  # fmt: skip
        assert answer == ((taken.name, wit.F64, len(data)) if echo.straight else data)
        assert bytes(out[: len(data)]) == (data if echo.straight else bytes(len(data)))
        assert run(echo, "e2", (pickle.loads(sent), *ZEROS))[0] == data
    finally:
        room.release()
        out.release()
        for shared in (given, taken):
            shared.close()
            shared.unlink()
    assert len(sent) < 500


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    """
    A file that is cut while it is held is said to be so, and nobody dies of it.
    """
    found = in_file(tmp_path, bytes(10_000))
    (tmp_path / "data").write_bytes(b"abc")

    for reading in (found.read, lambda: found.into(bytearray(10_000))):
        with pytest.raises(StoreDamaged, match="became shorter while it was read: expected 10,000 bytes, found 3"):
            reading()


def test_a_file_that_is_no_list_of_its_type(tmp_path: Path) -> None:
    """
    A link to bytes that are no whole number of elements, or no bools, is refused before it reaches a guest.
    """
    files = Files()
    link = files.keep(b"x")

    def load(_: CID) -> FileBytes:
        return in_file(tmp_path, bytes(10_001) + b"\2")

    with pytest.raises(TypeError, match="8 bytes an element, found 10,002 bytes"):
        lower(F64S, link, load)
    with pytest.raises(TypeError, match="bytes of 0 and 1, found others"):
        lower(wit.List(wit.BOOL), link, load)
    with pytest.raises(TypeError, match="expected list<string>, found bytes"):
        lower(wit.List(wit.STRING), link, load)
    assert lower(wit.STRING, link, load).startswith("AAAA")
    assert len(lower(wit.BYTES, link, load)) == 10_002


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("e0", wit.BYTES, bytes(range(256)) * 5_000),
        ("e1", wit.List(wit.BOOL), b"\1\0" * 50_000),
        ("e2", F64S, packed(wit.F64, [1.5, math.inf] * 5_000) + NAN),
        ("e3", wit.List(F64S), [packed(wit.F64, [2.5] * 9_000), packed(wit.F64, [math.inf]), packed(wit.F64, [1.0])]),
    ],
)
def test_a_large_result_has_one_receipt(name: str, kind: wit.AnyType, value: Any) -> None:
    """
    A large list becomes a link to its bytes, NaN in its one form, and so it does through the engine: the outcome is one.
    """
    ends, kept = [], []
    for straight in (True, False):
        files, module = Files(), loaded(echoes(wit.BYTES, wit.List(wit.BOOL), F64S, wit.List(F64S)), straight=straight)
        ended = perform(
            module, module.interface.find(name), [(value, *ZEROS)],
            limits=Limits(), seed=b"", stop=Stop(), report=Report(), keep=files.keep,
        )  # fmt: skip
        ends.append(ended.outcome.to_ipld())
        kept.append(files.kept)

    assert ends[0] == ends[1]
    assert kept[0] == kept[1] != {}
    tag, (wire, *_) = cast("tuple[str, list[Any]]", ends[0])
    assert tag == "ok"
    shown = plain(kind, wire, kept[0].__getitem__)
    assert len(shown) == (len(value) if name in {"e0", "e1", "e3"} else len(value) // 8)


def test_a_list_of_numbers_is_read_from_its_file(tmp_path: Path) -> None:
    """
    A large list of numbers is read from its file straight into the list that a person gets.
    """
    data = packed(wit.F64, [float(i) for i in range(50_000)])
    found = plain(F64S, file_cid(data), lambda _: in_file(tmp_path, data))

    assert type(found) is NumberList
    assert found == [float(i) for i in range(50_000)]
    assert plain(wit.List(wit.BOOL), file_cid(b"\1"), lambda _: in_file(tmp_path, b"\1\0")) == [True, False]
    assert plain(F64S, file_cid(b""), lambda _: in_file(tmp_path, b"")) == []
