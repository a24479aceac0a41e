from __future__ import annotations

import array
import os
import random
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, Unencodable
from ipvm_kernel.ipld import CID, OWN, Limits
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.dagpb import links_of, parse
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, LINKS, blocks, chunks, file_cid, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = {
    "example_test.wasm": "bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5gerjmnakqihhqx4zq",
    "example_test_component.wasm": "bafybeig5pxvrfszzgixaj3t5yogkzcacbqjikf3l6xe5fuq754vtxrdaby",
    "example_test_cargo_component.wasm": "bafybeiftv6epispdd7hueoldqvpuib3tue37im2cfst6ks6dg7boepowzq",
    "example_test_cargo_component_wasi.wasm": "bafybeifc6yf4bmogkde6hxyif3npeboov2lkehdqa53zxja27tlhvccbku",
    "example_test_wasi.wasm": "bafybeidgfjmkq2betunnimjo26uwatxffhc73up3k42q2nzxmwodtbv6v4",
    "example_test_wasi_component.wasm": "bafybeiama2lcb7a75hjyzajkpemayzji6cqd7sx2igvvicshnlairh5ea4",
    "example_add.wasm": "bafkreiegvlhjstbyt2q3wvxkbs3q25v74bfor3x67iwp6gdeoakgw3kune",
    "example_add_component.wasm": "bafkreib57unppnviago5hgmmif2aalbjxyd652b6smpam3cdp2xampflw4",
    "example_add_cargo_component_wasi.wasm": "bafkreig3vpjrmzth5ttao6tjsxoxgi756rhz5wl47ercqgjgx2pzmlkfye",
    "example_subtract.wasm": "bafkreighzanx3tuwursojtp43l75ylcbjax4fe5r46cfzkeadkptz3ut44",
    "example_subtract_component.wasm": "bafkreia2ggqljgeptxg7asdvvq4f7laarncljc7z2lq2efummjiwajuu5i",
    "example_subtract_cargo_component_wasi.wasm": "bafkreigq3w6b253yqclte55hu5ekye5by6quafvdeioeiiwnkst3xltdmu",
    "host.wasm": "bafkreidrnsikjmgewtzicbv6v652obm57jf2w2mfywjiplgp375buhkfza",
}

# Bytes of files at the borders between shapes of the tree.
SIZES = [0, 1, 12, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 600_000, 3 * CHUNK_BYTES]
FULL = LINKS * CHUNK_BYTES


def content(size: int) -> bytes:
    """Return bytes of which no two chunks are equal."""
    return random.Random(size).randbytes(min(size, 65_536)) * (size // 65_536 + 1) if size > 10**7 else _small(size)


def _small(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def getter(found: dict[CID, bytes]) -> Callable[[CID], bytes]:
    """Return what gets blocks, each checked."""

    def get(cid: CID) -> bytes:
        cid.check(found[cid])
        return found[cid]

    return get


def whole(root: CID, found: dict[CID, bytes], *, max_bytes: int = 10**9, limits: Limits = OWN) -> bytes:
    return b"".join(read(root, getter(found), max_bytes=max_bytes, limits=limits))


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_homestar(name: str) -> None:
    """
    Homestar's example modules have the addresses that its workflows use.
    """
    folder = os.environ.get("IPVM_HOMESTAR_FIXTURES")
    if not folder:
        pytest.skip("IPVM_HOMESTAR_FIXTURES is not set: the folder homestar-wasm/fixtures of a Homestar checkout.")
    path = Path(folder) / name

    assert str(file_cid(path)) == MODULES[name]
    assert str(file_cid(path.read_bytes())) == MODULES[name]


@pytest.mark.parametrize("size", [*SIZES, FULL - 1, FULL, FULL + 1, FULL + CHUNK_BYTES + 1, 2 * FULL])
def test_others_name_files_the_same(size: int) -> None:
    """
    A file has the CID that `ipfs add --cid-version=1 --raw-leaves` gives it, whatever the shape of its tree.
    """
    aleph_cid = pytest.importorskip("aleph_cid")
    data = bytes(size) if size > 10**6 else content(size)
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    hasher.update(data)

    assert str(file_cid(data)) == hasher.finalize()


@pytest.mark.torture
def test_a_tree_of_three_levels() -> None:
    """
    A file above 7.9 GB has a tree of three levels, and still the CID that others give it.
    """
    aleph_cid = pytest.importorskip("aleph_cid")
    hasher = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    piece = bytes(CHUNK_BYTES * LINKS)

    def pieces() -> Iterator[bytes]:
        for _ in range(LINKS + 1):
            hasher.update(piece)
            yield piece

    assert str(file_cid(pieces())) == hasher.finalize()


def test_files_of_known_names() -> None:
    """
    The CIDs of the empty file and of a greeting are those that everybody knows.
    """
    assert str(file_cid(b"")) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    assert str(file_cid(b"hello")) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"


@pytest.mark.parametrize("size", SIZES)
def test_bytes_paths_and_pieces_are_one_file(tmp_path: Path, size: int) -> None:
    """
    It does not matter how a file is handed over: in memory, as a path, or as it trickles in.
    """
    data = content(size)
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = file_cid(data)
    cut = random.Random(1)
    pieces = []
    rest = data
    while rest:
        at = cut.randrange(1, 300_000)
        pieces.append(rest[:at])
        rest = rest[at:]

    assert file_cid(path) == expected
    assert file_cid(bytearray(data)) == file_cid(memoryview(data)) == expected
    assert file_cid(pieces) == file_cid(iter([b"", *pieces, b""])) == expected


def test_numbers_are_their_bytes() -> None:
    """
    An array of numbers is named by its bytes, of any shape.
    """
    numbers = array.array("d", [1.5, 2.5])

    assert file_cid(numbers) == file_cid(numbers.tobytes())
    assert file_cid(memoryview(numbers).cast("B").cast("B", (2, 8))) == file_cid(numbers.tobytes())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("photo.png", r"found str. Give pathlib.Path\(x\) for a file"),
        ([1, 2], r"pieces of bytes, found int"),
        (["text"], r"pieces of bytes, found str"),
        (memoryview(b"abcd")[::2], r"an array with gaps"),
    ],
    ids=str,
)
def test_what_is_no_file(source: Any, words: str) -> None:
    """
    A text is never taken for a path, nor numbers for bytes.
    """
    with pytest.raises(Unencodable, match=words):
        file_cid(source)


def test_a_large_file_takes_little_memory(tmp_path: Path) -> None:
    """
    Naming a file never loads it.
    """
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    tracemalloc.start()
    try:
        cid = file_cid(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert cid.codec == "dag-pb"
    assert peak < 1_500_000


@pytest.mark.parametrize("size", [*SIZES, FULL + 1])
def test_a_file_is_put_together_again(size: int) -> None:
    """
    From its blocks, wherever they are, a file is what it was.
    """
    data = bytes(size) if size > 10**6 else content(size)
    made = list(blocks(data))
    found = dict(made)
    root = made[-1][0]

    assert root == file_cid(data)
    assert whole(root, found) == data
    assert list(blocks(data, leaves=False)) == [(cid, block) for cid, block in made if cid.codec == "dag-pb"]
    assert all(child in found for cid, block in made if cid.codec == "dag-pb" for child in links_of(block))
    assert sum(len(chunk) for chunk in chunks(data)) == size


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return to_varint(number << 3) + to_varint(value)
    return to_varint(number << 3 | 2) + to_varint(len(value)) + value


def link(cid: CID, size: int | None = None) -> bytes:
    return field(2, field(1, cid.bytes) + field(2, b"") + (field(3, size) if size is not None else b""))


def file_node(*children: tuple[CID, int], kind: int = 2, piece: bytes = b"", total: int | None = None) -> bytes:
    size = len(piece) + sum(size for _, size in children) if total is None else total
    about = field(1, kind) + (field(2, piece) if piece else b"") + field(3, size)
    about += b"".join(field(4, size) for _, size in children)
    return b"".join(link(cid, size) for cid, size in children) + field(1, about)


def put(found: dict[CID, bytes], data: bytes, codec: str = "dag-pb") -> CID:
    cid = CID.of(data, codec, "sha2-256")
    found[cid] = data
    return cid


def test_other_shapes_of_files() -> None:
    """
    Files that older programs cut are read as well: content inside nodes, links without sizes, data before links.
    """
    found: dict[CID, bytes] = {}
    leaf = put(found, file_node(kind=0, piece=b"lo"))
    raw = put(found, b"!", "raw")
    v0 = CID.from_bytes(leaf.digest and b"\x12\x20" + leaf.digest)
    found[v0] = found[leaf]
    about = field(1, 2) + field(2, b"hel") + field(3, 6) + field(4, 2) + field(4, 1) + field(7, 0o644)
    before = put(found, field(1, about) + link(v0) + link(raw, 1))
    after = put(found, link(v0) + link(raw, 1) + field(1, about))

    assert whole(before, found) == whole(after, found) == b"hello!"
    assert whole(put(found, file_node(piece=b"inline")), found) == b"inline"
    assert whole(put(found, file_node()), found) == b""


def test_hostile_trees() -> None:
    """
    A tree that lies about its sizes, doubles without end or is something else than a file is refused.
    """
    found: dict[CID, bytes] = {}
    leaf = put(found, b"12345", "raw")

    def refused(root: CID, error: type[BadInput], words: str, **options: Any) -> None:
        with pytest.raises(error, match=words):
            whole(root, found, **options)

    refused(put(found, file_node((leaf, 4))), Malformed, "Expected 4 bytes of a file below .* found 5")
    refused(put(found, file_node((leaf, 6))), Malformed, "Expected 6 bytes")
    refused(put(found, file_node((leaf, 5), total=4)), Malformed, "Expected 4 bytes of a file, found 5")
    refused(put(found, file_node((leaf, 0))), Malformed, "one of no bytes")
    refused(put(found, file_node((leaf, 5))), LimitExceeded, "at most 4 bytes, found 5", max_bytes=4)
    refused(put(found, file_node((leaf, 2**62))), LimitExceeded, "found 4,611,686,018,427,387,904")
    refused(
        put(found, link(leaf) + field(1, field(1, 2) + field(3, 5))), Malformed, "as many sizes as links, found 0 for 1"
    )
    refused(put(found, file_node(kind=1)), Malformed, "found a folder")
    refused(put(found, file_node(kind=4, piece=b"/etc/passwd")), Malformed, "a symbolic link")
    refused(put(found, file_node(kind=5)), Malformed, "a part of a large folder")
    refused(put(found, file_node(kind=77)), Malformed, "UnixFS type 77")
    refused(put(found, field(1, field(3, 5))), Malformed, "UnixFS type -1")
    refused(put(found, b""), Malformed, "a dag-pb node without data")
    refused(put(found, b"\xf6", "dag-cbor"), Malformed, "found dag-cbor")

    doubled, size = leaf, 5
    for _ in range(40):
        doubled, size = put(found, file_node((doubled, size), (doubled, size))), size * 2
    refused(doubled, LimitExceeded, "at most 1,000,000,000 bytes")
    refused(doubled, LimitExceeded, "at most 1,000 blocks", max_bytes=2**60, limits=Limits(2**20, 128, 1_000))
    chain, size = leaf, 5
    for _ in range(200):
        chain = put(found, file_node((chain, size)))
    refused(chain, LimitExceeded, "128 deep")
    large = put(found, bytes(2_000), "raw")
    refused(large, LimitExceeded, "block of at most 1,000 bytes", limits=Limits(1_000, 9, 9))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x0a", "protobuf field at byte 0"),
        (b"\x0a\x05abc", "Expected 5 bytes at byte 2, found 3"),
        (b"\x0a\x80\x00", "shortest form"),
        (b"\x8a\x00\x00", "shortest form"),
        (b"\x0a\x00\x0a\x00", "the data of a dag-pb node once"),
        (b"\x08\x00", "number 1, type 0"),
        (b"\x1a\x00", "number 3, type 2"),
        (b"\x0d\x00\x00\x00\x00", "number 1, type 5"),
        (b"\x12\x00", "Expected a CID in the link at byte 0, found none"),
        (b"\x12\x02\x12\x00", "Expected a CID in the link"),
        (b"\x12\x02\x0a\x00", "varint at byte 0"),
        (b"\x12\x04\x20\x00\x0a\x00", "number 4, type 0"),
        (link(CID.of(b""))[:2] + b"\x12\x00" + field(1, CID.of(b"").bytes), "fields of a link in order|found none"),
        (field(2, field(1, CID.of(b"").bytes) * 2), "fields of a link in order"),
        (field(2, field(1, CID.of(b"").bytes) + field(3, 1) + field(2, b"")), "fields of a link in order"),
        (field(2, field(1, CID.of(b"").bytes) + field(2, b"\xff")), "a name in UTF-8"),
        (link(CID.of(b"")) + field(1, b"") + link(CID.of(b"")), "links of a dag-pb node together"),
        (b"\xff" * 12, "protobuf field"),
    ],
)
def test_what_is_no_dag_pb(data: bytes, words: str) -> None:
    """
    A node of IPFS has the fields of the specification, in order, once, and no others.
    """
    with pytest.raises((Malformed, BadCID), match=words):
        parse(data)


@given(data=st.binary(max_size=80), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_damaged_nodes_are_refused_or_read(data: bytes, at: int, byte: int) -> None:
    """
    No node, however damaged, does anything but give links or a refusal.
    """
    node = bytearray(file_node((CID.of(b"x", "raw", "sha2-256"), 5), (CID.of(b"y"), 7)))
    node[at % len(node)] = byte
    for hostile in (bytes(node), data):
        with suppress(Malformed, HashNotAllowed):
            assert all(type(cid) is CID for cid in links_of(hostile))
