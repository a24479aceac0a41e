"""What every store promises about blocks and files, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import NotFound
from ipvm_kernel.ipld import Block
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, file_cid

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.store import Store

SIZES = (0, 1, 65_536, 65_537, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES)


class ContentsContract:
    """A part of `StoreContract`."""

    def test_a_block_comes_back(self, store: Store) -> None:
        """What is put can be had at once, by its CID, and putting it twice changes nothing."""
        block = Block.of({"a": [1, b"x", None]})

        assert store.put(block) == store.put(block) == block.cid
        assert store.get(block.cid) == block
        assert store.size(block.cid) == len(block.data)
        assert list(store.cids()) == [block.cid]

    def test_what_is_not_here_is_named(self, store: Store) -> None:
        """Asking for what is not here is an error that names it."""
        absent = Block.raw(b"nowhere")

        with pytest.raises(NotFound, match=str(absent.cid)):
            store.get(absent.cid)
        with pytest.raises(NotFound, match=str(absent.cid)):
            store.read(absent.cid)
        assert store.size(absent.cid) is None

    @pytest.mark.parametrize("size", SIZES)
    def test_files_of_any_size(self, store: Store, size: int) -> None:
        """A file has the CID that IPFS gives it, and its bytes come back, however many."""
        data = bytes(i % 251 for i in range(size))

        cid = store.put_file(data, "input")

        assert cid == file_cid(data)
        assert store.read(cid) == data
        assert store.size(cid) == size
        assert list(store.cids()) == [cid]

    @pytest.mark.parametrize("size", [*SIZES, 3_000_000])
    def test_files_out_of_memory(self, store: Store, size: int) -> None:
        """A view of memory is kept as its bytes are; what becomes of that memory later changes nothing."""
        room = bytearray(i % 251 for i in range(size))
        data = bytes(room)

        cid = store.put_file(memoryview(room), "input")
        room[:] = bytes(size)
        found = store.open(cid)

        assert cid == file_cid(data)
        assert store.read(cid) == data
        assert len(found) == size
        assert (found if isinstance(found, bytes) else found.read()) == data
        with pytest.raises(NotFound):
            store.open(Block.raw(b"nowhere").cid)

    def test_a_large_file_goes_straight_to_its_place(self, store: Store) -> None:
        """A large file is read into memory that is there already, at its name's last as at its first use."""
        data = bytes(i % 249 for i in range(2_500_000))
        found = store.open(store.put_file(data, "value"))
        if isinstance(found, bytes):
            pytest.skip("this store gives out bytes")
        room = bytearray(len(data))

        found.into(memoryview(room))

        assert room == data

    @pytest.mark.parametrize("size", SIZES)
    def test_files_of_the_user(self, store: Store, tmp_path: Path, size: int) -> None:
        """A file that is given by its path is kept: changing or removing it later changes nothing."""
        path = tmp_path / "file"
        path.write_bytes(b"\x07" * size)

        cid = store.put_file(path, "input")
        path.write_bytes(b"\x08" * size)

        assert store.read(cid) == b"\x07" * size

    def test_a_file_that_is_not_there(self, store: Store, tmp_path: Path) -> None:
        """A path that leads nowhere is the system's error, for whoever knows what it was for."""
        with pytest.raises(OSError, match="absent"):
            store.put_file(tmp_path / "absent", "input")

    def test_a_raw_block_is_a_file(self, store: Store) -> None:
        """A file of one chunk and a raw block of the same bytes are one thing under one CID."""
        cid = store.put_file(b"same", "input")
        block = Block.raw(b"same")

        assert store.get(cid) == block
        assert store.put(block) == cid
        assert store.read(cid) == b"same"
