"""Archives that are read and written: versions, sources, sizes, a second look, and other programs."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, Malformed, Mismatch, NotFound
from ipvm_kernel.ipld import CID, OWN, Limits
from ipvm_kernel.ipld.car import Archive, Piece, parts, write
from ipvm_kernel.ipld.unixfs import blocks, file_cid, read
from tests.ipld.archives import Block, Trickle, car, car2, cbor, header, pieces, raw, section, some
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.daemons import Kubo

VECTORS = Path(__file__).parents[1] / "vectors" / "car"
IDENTITY = CID.from_bytes(b"\x01\x55\x00\x02hi")
V0 = CID.from_bytes(b"\x12\x20" + hashlib.sha256(b"\x0a\x00").digest())


def read_all(source: Any, **options: Any) -> list[Block]:
    return [(piece.cid, piece.data) for piece in Archive(source, **options)]


# --- Reading ---


@pytest.mark.parametrize("source", ["file", "bytes", "trickle", "one", "uneven", "whole"])
def test_every_source_gives_the_same(source: str, tmp_path: Path) -> None:
    """
    An archive is the same from a file, a slow stream or an HTTP body, however its bytes are cut.
    """
    expected = [*some(40), raw(b""), raw(os.urandom(300_000)), raw(os.urandom(70_000)), cbor({"a": [1]})]
    data = car(*expected, roots=(expected[3][0], expected[0][0]))
    path = tmp_path / "a.car"
    path.write_bytes(data)
    made: dict[str, Any] = {
        "file": path.open("rb"),
        "bytes": data,
        "trickle": Trickle(data),
        "one": pieces(data, 1),
        "uneven": (piece for cut in pieces(data, 65_537) for piece in (b"", cut, b"")),
        "whole": [bytearray(data)],
    }
    archive = Archive(made[source])

    assert archive.version == 1
    assert archive.roots == (expected[3][0], expected[0][0])
    assert [(piece.cid, piece.data) for piece in archive] == expected
    made["file"].close()


def test_pieces_say_where_they_are() -> None:
    """
    Each block comes with the byte at which its section begins, whatever its length.
    """
    blocks = [raw(bytes(size)) for size in (0, 90, 91, 92, 16_347, 16_348, 70_000)]
    data = car(*blocks)

    for piece in Archive(data):
        assert isinstance(piece, Piece)
        assert data[piece.offset :].startswith(section(*piece[:2]))


def test_an_archive_without_roots() -> None:
    """
    An archive may be about nothing in particular, and may hold nothing.
    """
    assert Archive(car()).roots == ()
    assert read_all(car()) == []
    assert read_all(car(raw(b"x"))) == [raw(b"x")]


def test_names_of_every_kind() -> None:
    """
    Blocks of other codecs and hashes come as they are, under version 0 names too, and identities are what they hold.
    """
    blocks: list[Block] = [
        (V0, b"\x0a\x00"),
        (IDENTITY, b"hi"),
        (CID.of(b"{}", "dag-json", "sha2-512"), b"{}"),
        (CID.of(b"\x01", "git-raw", "blake2b-256"), b"\x01"),
        (CID.of(b"hi", "raw", "sha3-256"), b"hi"),
        (CID.of(b"hi", "dag-cbor", "sha3-256"), b"hi"),  # the same bytes under two codecs are two blocks
    ]

    assert read_all(car(*blocks, roots=tuple(cid for cid, _ in blocks))) == blocks
    assert Archive(car(roots=(IDENTITY,))).roots == (IDENTITY,)
    assert read_all(car(roots=(IDENTITY,))) == []


def test_version_2() -> None:
    """
    An archive of version 2 is read up to the end of its payload, whether it has an index, padding or neither.
    """
    expected = some(5)
    payload = car(*expected, roots=(expected[0][0],))
    end = 51 + len(payload)
    for data in (
        car2(payload),
        car2(payload, rest=b"not an index, and nobody looks"),
        car2(payload, begin=1000, gap=bytes(949)),
        car2(payload, index_at=end, rest=b"\x80\x08index"),
        car2(payload, index_at=end + 100, about=b"\x80" + bytes(15), rest=bytes(100) + b"\x80\x08"),
        car2(payload, begin=200_000, gap=os.urandom(199_949), rest=bytes(200_000)),
    ):
        for source in (io.BytesIO(data), Trickle(data, most=1_000)):
            archive = Archive(cast("BinaryIO", source))
            found = list(archive)

            assert archive.version == 2
            assert archive.roots == (expected[0][0],)
            assert [(piece.cid, piece.data) for piece in found] == expected
            assert all(data[piece.offset :].startswith(section(*piece[:2])) for piece in found)


def test_a_file_is_read_from_where_it_stands() -> None:
    """
    An archive inside another file is read from where the file stands; places count from there.
    """
    expected = some(3)
    for data in (car(*expected), car2(car(*expected))):
        file = io.BytesIO(b"before" + data)
        file.seek(6)
        index = Archive(file).index()

        assert [index.get(cid) for cid, _ in expected] == [block for _, block in expected]
        assert list(index) == [cid for cid, _ in expected]


def test_a_block_that_comes_again() -> None:
    """
    A block that comes twice is refused, unless the reader said that it may; then it is given once.
    """
    twice = car(raw(b"x"), raw(b"y"), raw(b"x"))

    with pytest.raises(Malformed, match=r"each block once, found bafkrei\w+ again at byte 94 of the archive"):
        read_all(twice)
    assert read_all(twice, duplicates=True) == [raw(b"x"), raw(b"y")]
    with pytest.raises(LimitExceeded, match="at most 2 blocks"):
        read_all(twice, duplicates=True, most=2)


def test_a_root_that_never_comes() -> None:
    """
    An archive without one of its roots is refused at its end, unless the reader said that it may be partial.
    """
    missing = car(raw(b"x"), roots=(raw(b"x")[0], raw(b"y")[0]))
    given: list[Piece] = []

    with pytest.raises(
        Malformed, match=f"none of {raw(b'y')[0]} before the end at byte {len(missing)} of the archive, in 1 block"
    ):
        given.extend(Archive(missing))
    assert [(piece.cid, piece.data) for piece in given] == [raw(b"x")]
    assert read_all(missing, partial=True) == [raw(b"x")]


def test_limits() -> None:
    """
    A block that is too large, and one too many, are refused by name and place.
    """
    blocks = [raw(bytes(1_000)), raw(bytes(1_001))]

    assert read_all(car(*blocks), limits=Limits(1_001, 1, 1)) == blocks
    with pytest.raises(LimitExceeded, match=rf"at most 1,000 bytes, found 1,001: {blocks[1][0]} at byte 1,056"):
        read_all(car(*blocks), limits=Limits(1_000, 1, 1))
    with pytest.raises(LimitExceeded, match=rf"at most 1 blocks in an archive, found another: {blocks[1][0]}"):
        read_all(car(*blocks), most=1)
    large = raw(bytes(2**21 + 1))
    with pytest.raises(LimitExceeded, match=r"at most 2,097,152 bytes, found 2,097,153: bafkrei"):
        read_all(car(large))
    assert read_all(car(large), limits=OWN) == [large]


def test_an_archive_is_read_once() -> None:
    """
    A second reading never looks like an empty archive, nor goes on after a refusal.
    """
    archive = Archive(car(raw(b"x")))
    assert len(list(archive)) == 1
    with pytest.raises(BadInput, match="read an archive once"):
        iter(archive)

    good, bad = raw(b"good"), (raw(b"other")[0], b"bad")
    archive = Archive(car(bad, good))
    reading = iter(archive)
    with pytest.raises(Mismatch):
        next(reading)
    assert list(reading) == []
    with pytest.raises(BadInput, match="read an archive once"):
        list(archive)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (io.StringIO("text"), "as bytes, found str. Open the file in binary mode"),
        (["text"], "as bytes, found str"),
        ([1, 2], "as bytes, found int"),
    ],
    ids=["text file", "text", "numbers"],
)
def test_what_is_no_source(source: Any, words: str) -> None:
    """
    A file that was opened as text is refused in one line.
    """
    with pytest.raises(BadInput, match=words):
        Archive(source)


def test_a_file_that_does_not_wait() -> None:
    """
    A stream that has nothing at the moment is not taken for the end of an archive.
    """

    class Nothing:
        def read(self, _count: int) -> None:
            return None

    with pytest.raises(BadInput, match="waits for its bytes"):
        Archive(cast("BinaryIO", Nothing()))


def test_memory_is_that_of_a_block() -> None:
    """
    Reading and writing take the memory of one block, whatever the archive holds.
    """
    kinds = [(cid, data) for cid, data in (raw(os.urandom(262_144)) for _ in range(2))]

    def many() -> Iterator[Block]:
        for number in range(200):
            yield raw(number.to_bytes(8, "big") + kinds[0][1])

    tracemalloc.start()
    try:
        count = sum(1 for _ in Archive(parts([], many())))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 200
    assert peak < 3_000_000


# --- A second look ---


def test_an_index_gives_every_block_again() -> None:
    """
    After one reading each block can be had by its CID, in any order, and is checked again.
    """
    expected = [*some(300), (V0, b"\x0a\x00"), raw(os.urandom(100_000)), (IDENTITY, b"hi")]
    shown: list[Piece] = []
    index = Archive(io.BytesIO(car(*expected))).index(shown.append)

    assert [(piece.cid, piece.data) for piece in shown] == expected
    assert len(index) == len(expected)
    assert list(index) == [cid for cid, _ in expected]
    assert all(cid in index and index.get(cid) == data for cid, data in reversed(expected))
    assert raw(b"elsewhere")[0] not in index
    assert "text" not in index
    with pytest.raises(NotFound, match=rf"{raw(b'elsewhere')[0]} in the archive, found it not among its 303 blocks"):
        index.get(raw(b"elsewhere")[0])


def test_an_index_knows_identities() -> None:
    """
    What an identity CID names is in every archive.
    """
    index = Archive(io.BytesIO(car())).index()

    assert IDENTITY in index
    assert index.get(IDENTITY) == b"hi"


def test_the_file_may_change_between_two_looks() -> None:
    """
    A block that is no longer what it was is refused, though it was right a moment ago.
    """
    expected = some(3)
    file = io.BytesIO(car(*expected))
    index = Archive(file).index()
    cid, data = expected[1]
    place = file.getvalue().index(data)

    file.seek(place)
    file.write(bytes([data[0] ^ 1]))
    with pytest.raises(Mismatch, match=f"hash to {cid}"):
        index.get(cid)
    assert index.get(expected[0][0]) == expected[0][1]

    file.seek(place - 36)
    file.write(raw(b"another")[0].bytes)
    with pytest.raises(Mismatch, match=r"the file has changed\. Load it again"):
        index.get(cid)
    with pytest.raises(Mismatch, match="the file has changed"):
        list(index)

    file.truncate(place - 36)
    with pytest.raises(Mismatch, match="the file has changed"):
        index.get(cid)
    with pytest.raises(Mismatch, match="the file has changed"):
        list(index)


def test_a_stream_has_no_second_look() -> None:
    """
    What cannot be read again is refused before anything of it is read.
    """
    stream = Trickle(car(*some(3)))
    archive = Archive(cast("BinaryIO", stream))
    taken = stream.taken

    with pytest.raises(BadInput, match=r"can be read again, found a stream\. Save it first"):
        archive.index()
    assert stream.taken == taken


def test_a_pipe_is_a_stream() -> None:
    """
    An archive is read from a pipe, which says itself that it cannot go back.
    """
    reads, writes = os.pipe()
    with open(reads, "rb") as source:  # noqa: PTH123 - it is open
        with open(writes, "wb") as target:  # noqa: PTH123
            write(target, [], some(3))

        assert read_all(source) == some(3)


def test_an_index_of_a_bad_archive() -> None:
    """
    An archive that is refused has no index.
    """
    with pytest.raises(Mismatch):
        Archive(io.BytesIO(car(raw(b"x"), (raw(b"y")[0], b"z")))).index()


def test_an_index_is_small() -> None:
    """
    An index of many blocks takes a few bytes for each.
    """
    count = 20_000
    file = io.BytesIO()
    write(file, [], (raw(b"%d" % number) for number in range(count)))
    file.seek(0)
    tracemalloc.start()
    try:
        index = Archive(file).index()
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(index) == count
    assert now < 30 * count


# --- Writing ---


def test_what_is_written_is_what_the_specification_says() -> None:
    """
    An archive is its header, then for each block its length, its CID and its bytes, and nothing more.
    """
    expected = [*some(30), raw(os.urandom(20_000)), raw(b"")]
    roots = [expected[2][0], V0, expected[0][0]]
    file = io.BytesIO()
    count = write(file, roots, [*expected, (V0, b"\x0a\x00")])

    assert file.getvalue() == car(*expected, (V0, b"\x0a\x00"), roots=tuple(roots))
    assert count == len(file.getvalue())
    assert b"".join(parts(roots, [*expected, (V0, b"\x0a\x00")])) == file.getvalue()


def test_a_vector() -> None:
    """
    The bytes of a small archive never change.
    """
    blocks = [cbor({"hello": "world"}), raw(b"hello"), (V0, b"\x0a\x00")]
    made = b"".join(parts([blocks[0][0]], blocks))

    assert made == (VECTORS / "hello.car").read_bytes()
    assert made == car(*blocks, roots=(blocks[0][0],))


def test_what_is_written_comes_in_few_pieces() -> None:
    """
    Small blocks leave together; a large one is handed on without a copy of it.
    """
    small = some(1_000, 100)
    large = raw(os.urandom(100_000))
    made = list(parts([], [*small, large]))

    assert len(made) < 10
    assert any(part is large[1] for part in made)


def test_a_block_is_written_once() -> None:
    """
    Files that share chunks share them in the archive.
    """
    assert b"".join(parts([], [raw(b"x"), raw(b"y"), raw(b"x")])) == car(raw(b"x"), raw(b"y"))


def test_nothing_is_written_that_would_be_refused() -> None:
    """
    A missing root, a block that is too large and one too many are found when an archive is written, not by who gets it.
    """
    with pytest.raises(NotFound, match=f"block of each root for an archive, found none of {raw(b'y')[0]}"):
        list(parts([raw(b"x")[0], raw(b"y")[0]], [raw(b"x")]))
    with pytest.raises(LimitExceeded, match=r"at most 2,097,152 bytes for an archive, found 2,097,153: bafkrei"):
        list(parts([], [raw(bytes(2**21 + 1))]))
    assert list(parts([], [raw(bytes(2**21 + 1))], limits=OWN))
    with pytest.raises(LimitExceeded, match="at most 1 blocks for an archive"):
        list(parts([], [raw(b"x"), raw(b"y")], most=1))
    assert read_all(parts([IDENTITY], [])) == []


def test_a_file_that_takes_little_at_a_time() -> None:
    """
    A file that writes less than it is given is given the rest.
    """

    class Slow(io.BytesIO):
        def write(self, data: Any) -> int:
            return super().write(bytes(data[:1_000]))

    expected = [raw(os.urandom(30_000)), *some(5)]
    file = Slow()

    assert write(file, [], expected) == len(file.getvalue())
    assert read_all(file.getvalue()) == expected


def test_a_file_that_takes_nothing() -> None:
    """
    A file that takes nothing is not waited for without end.
    """

    class Full:
        def write(self, _data: object) -> int:
            return 0

    with pytest.raises(BadInput, match="takes none of them"):
        write(cast("BinaryIO", Full()), [], [raw(b"x")])


# --- Properties ---

CONTENTS = st.lists(st.binary(max_size=400), max_size=12, unique=True)
DAMAGED = car(*some(4, 30), (V0, b"\x0a\x00"), roots=(some(1, 30)[0][0],))
BEFORE = dict(read_all(DAMAGED))


@given(contents=CONTENTS, cut=st.integers(1, 500), version=st.sampled_from([1, 2]))
def test_there_and_back(contents: list[bytes], cut: int, version: int) -> None:
    """
    Whatever is written is read again, in its order, however it is cut on the way.
    """
    blocks = [raw(content) if at % 2 else (CID.of(content), content) for at, content in enumerate(contents)]
    made = b"".join(parts([cid for cid, _ in blocks[:3]], blocks))
    data = made if version == 1 else car2(made)

    assert read_all(pieces(data, cut)) == blocks
    index = Archive(io.BytesIO(data)).index()
    assert [index.get(cid) for cid, _ in blocks] == contents


def given_out(data: bytes) -> tuple[list[Block], bool]:
    """Return the blocks that an archive gives, and whether it is refused then."""
    found: list[Block] = []
    try:
        found.extend((piece.cid, piece.data) for piece in Archive(data))
    except IpvmError:
        return found, True
    return found, False


@pytest.mark.parametrize("version", [1, 2])
def test_every_cut(version: int) -> None:
    """
    An archive that ends anywhere before its end is refused, or ends between two blocks.
    """
    data = DAMAGED if version == 1 else car2(DAMAGED)
    borders = {piece.offset for piece in Archive(data)}
    for end in range(len(data)):
        found, refused = given_out(data[:end])

        assert refused or (version == 1 and end in borders)
        assert all(BEFORE[cid] == block for cid, block in found)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte(version: int, mask: int) -> None:
    """
    A damaged byte anywhere never puts other bytes under a CID; what it cannot damage is the rest of the archive.
    """
    data = DAMAGED if version == 1 else car2(DAMAGED)
    for at in range(len(data)):
        found, _ = given_out(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
        for cid, block in found:
            cid.check(block)
            assert BEFORE.get(cid, block) == block


@given(at=st.integers(0, 2**16), put=st.binary(min_size=1, max_size=12))
def test_anything_put_anywhere(at: int, put: bytes) -> None:
    """
    Bytes that are put into an archive are refused, or are sections of their own.
    """
    at %= len(DAMAGED)
    for data in (DAMAGED[:at] + put + DAMAGED[at:], put, header() + put):
        found, _ = given_out(data)
        for cid, block in found:
            cid.check(block)


# --- Other programs ---


@pytest.mark.peer("kubo")
def test_kubo_takes_ours_and_we_take_its(kubo: Kubo) -> None:
    """
    `ipfs dag import` takes an archive of ours whole, and what `ipfs dag export` gives is read.
    """
    content = os.urandom(700_000)
    file = list(blocks(content))
    root = file[-1][0]
    top = cbor({"file": root, "numbers": [1, 2.5, None]})
    made = b"".join(parts([top[0]], [top, *file]))
    said = kubo.rpc("dag/import", body=made, pin_roots=True, stats=True).decode()
    given_back = kubo.rpc("dag/export", arg=str(top[0]))
    found = dict(read_all(given_back))

    assert f'"BlockCount":{len(file) + 1}' in said
    assert kubo.cat(str(root)) == content
    assert Archive(given_back).roots == (top[0],)
    assert found == dict([top, *file])
    assert b"".join(read(file_cid(content), found.__getitem__, max_bytes=10**6)) == content


@pytest.mark.peer("kubo")
def test_kubo_from_the_command_line(tmp_path: Path) -> None:
    """
    A person can take an archive to `ipfs dag import` and bring one from `ipfs dag export`.
    """
    program = needs("kubo")
    env = {**os.environ, "IPFS_PATH": str(tmp_path / "repo"), "IPFS_TELEMETRY": "off"}

    def ipfs(*words: str, stdin: bytes | None = None) -> bytes:
        return subprocess.run([program, *words], env=env, input=stdin, check=True, capture_output=True).stdout

    ipfs("init", "--profile=test", "--empty-repo")
    file = list(blocks(os.urandom(300_000)))
    path = tmp_path / "ours.car"
    with path.open("wb") as target:
        write(target, [file[-1][0]], file)
    ipfs("dag", "import", str(path))

    assert dict(read_all(ipfs("dag", "export", str(file[-1][0])))) == dict(file)
