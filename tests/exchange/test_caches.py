"""Caches: whoever has receipts is asked once, in time, and can at most say nothing."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import re
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, Malformed, Mismatch, NotAllowed, StoreReadOnly, ToolchainMissing
from ipvm_kernel.exchange.caches import Answered, Answers, Known, Listed
from ipvm_kernel.exchange.caches.asking import Caches, opened
from ipvm_kernel.exchange.caches.base import RECEIPTS, STATEMENTS, content_at, receipts_at
from ipvm_kernel.exchange.caches.folder import FolderCache
from ipvm_kernel.exchange.caches.web import HttpCache
from ipvm_kernel.exchange.http import Deadline, Refused, Unreachable
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.ipld.car import parts
from ipvm_kernel.ipld.unixfs import blocks, file_cid, read
from ipvm_kernel.node.cache import CacheServer
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.testing.samples import filing, task
from ipvm_kernel.trust.keys import Key
from tests.exchange.caches import (
    Liar,
    answer,
    archive,
    blocks_of,
    car,
    chunked,
    files_over_http,
    instructions,
    keeping,
    many,
    reset,
    sections,
    signed,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.exchange.caches import Cache

TOKEN = "a-token-of-the-tests"
KEY = Key.fresh()


def soon() -> Deadline:
    """
    Return a deadline that nothing here should need.
    """
    return Deadline(30)


@pytest.fixture(params=["server", "folder", "memory", "server of files"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cache, Cache]]:
    """
    A cache of each kind: to be read, and to be written to.
    """
    with contextlib.ExitStack() as stack:
        if request.param == "server":
            store = MemoryStore()
            server = stack.enter_context(CacheServer(store, port=0, token=TOKEN, keep=keeping(store)))
            made: tuple[Cache, Cache] = HttpCache(server.address), HttpCache(server.address, TOKEN)
        elif request.param == "memory":
            url = f"memory://{tmp_path.name}/{os.urandom(4).hex()}"
            made = FolderCache(url), FolderCache(url, write=True)
        else:
            folder = tmp_path / "cache"
            folder.mkdir()
            reader: Cache = FolderCache(str(folder))
            if request.param == "server of files":
                reader = HttpCache(stack.enter_context(files_over_http(folder)))
            made = reader, FolderCache(f"file://{folder}", write=True)
        for cache in made:
            stack.callback(cache.close)
        yield made


class TestEveryCache:
    """What each kind of cache promises."""

    def test_what_was_given_is_answered(self, pair: tuple[Cache, Cache]) -> None:
        """
        Receipts come back with their invocations and all statements about them, in the order of the question.
        """
        reader, writer = pair
        given = many(5)
        statements = [signed(given[0], KEY), signed(given[0], Key.fresh()), signed(given[3], KEY)]
        said = writer.give([archive(given, statements)], soon())

        found = reader.answers([*reversed(instructions(given)), task("unknown").run.cid], soon())

        assert "5 receipts" in said
        assert found.trouble == ""
        assert [one.instruction for one in found] == list(reversed(instructions(given)))
        by = {one.instruction: one for one in found}
        for one in given:
            got = by[one.task.run.cid]
            assert got.receipt == one.receipt.block
            assert got.invocation == one.task.invocation.block
        assert set(by[given[0].task.run.cid].attestations) == set(statements[:2])
        assert by[given[3].task.run.cid].attestations == statements[2:]
        assert by[given[1].task.run.cid].attestations == []

    def test_nothing_known_is_no_trouble(self, pair: tuple[Cache, Cache]) -> None:
        """
        A cache that knows nothing of a task says so, and is well.
        """
        reader, writer = pair
        writer.give([archive(many(1))], soon())

        found = reader.answers(instructions(many(50, 100)), soon())

        assert (list(found), found.trouble) == ([], "")
        assert list(reader.answers([], soon())) == []

    def test_a_thousand_at_once(self, pair: tuple[Cache, Cache]) -> None:
        """
        A workflow of a thousand tasks is one question.
        """
        reader, writer = pair
        given = many(1000)
        writer.give([archive(given)], soon())

        found = reader.answers(instructions(given), soon())

        assert found.trouble == ""
        assert [one.receipt.cid for one in found] == [one.receipt.cid for one in given]

    def test_later_statements_and_receipts_are_added(self, pair: tuple[Cache, Cache]) -> None:
        """
        Who gives a receipt again with a statement of his own, or another receipt, takes nothing away.
        """
        reader, writer = pair
        first, second = filing(task(1), 2), filing(task(1, meta={"fuel": 5}), 3)
        other = Key.fresh()
        writer.give([archive([first], [signed(first, KEY)])], soon())
        writer.give([archive([first], [signed(first, other)])], soon())
        writer.give([archive([second], [signed(second, other)])], soon())

        found = reader.answers([first.task.run.cid], soon())

        assert {one.receipt.cid: {block.cid for block in one.attestations} for one in found} == {
            first.receipt.cid: {signed(first, KEY).cid, signed(first, other).cid},
            second.receipt.cid: {signed(second, other).cid},
        }

    @pytest.mark.parametrize("size", [0, 5, 300_000, 3_000_000])
    def test_content_by_cid(self, pair: tuple[Cache, Cache], size: int) -> None:
        """
        A file that was given comes back, as an archive and block by block, and is what its CID names.
        """
        reader, writer = pair
        data = os.urandom(size)
        cid = file_cid(data)
        writer.give([archive(many(1), files=[data])], soon())
        counts: list[int] = []

        whole = b"".join(reader.car(cid, soon(), counts.append))
        again = b"".join(read(cid, lambda one: reader.block(one, soon()), max_bytes=1 << 30))

        assert whole == b"".join(parts([cid], blocks(data)))
        assert counts[-1] == len(whole)
        assert again == data

    def test_content_that_is_not_there(self, pair: tuple[Cache, Cache]) -> None:
        """
        What a cache does not have is a refusal, and the next source is asked.
        """
        reader, writer = pair
        writer.give([archive(many(1))], soon())

        for cid in (file_cid(b"nobody has this"), file_cid(bytes(600_000)), Block.of({"no": 1}).cid):
            with pytest.raises(Refused) as refused:
                reader.block(cid, soon())
            assert refused.value.status == 404
            with pytest.raises(Refused):
                list(reader.car(cid, soon()))

    def test_what_is_no_archive_of_receipts_is_not_taken(self, pair: tuple[Cache, Cache]) -> None:
        """
        A writer's archive that does not hold is refused whole, and nothing of it is there.
        """
        _, writer = pair
        good = many(3)
        data = bytearray(archive(good))
        data[-1] ^= 1

        with pytest.raises((Mismatch, Refused), match="found that they do not"):
            writer.give([bytes(data)], soon())

        assert list(writer.answers(instructions(good), soon())) == []

    def test_readers_write_nothing(self, pair: tuple[Cache, Cache]) -> None:
        """
        A cache that was added without `--write` is given nothing.
        """
        with pytest.raises(NotAllowed, match="cache add"):
            pair[0].give([archive(many(1))], soon())

    def test_two_readers_and_a_writer_at_once(self, pair: tuple[Cache, Cache]) -> None:
        """
        Whoever reads while others write gets what was whole before or is whole now, and nothing between.
        """
        reader, writer = pair
        given = many(30)
        over = threading.Event()
        seen: list[Answers] = []
        failed: list[BaseException] = []

        def read_on() -> None:
            try:
                while not over.is_set():
                    seen.append(reader.answers(instructions(given), soon()))
            except BaseException as error:  # noqa: BLE001 - shown below
                failed.append(error)

        threads = [threading.Thread(target=read_on) for _ in range(2)]
        for thread in threads:
            thread.start()
        for one in given:
            writer.give([archive([one], [signed(one, KEY)])], soon())
        over.set()
        for thread in threads:
            thread.join()

        assert not failed
        assert {found.trouble for found in seen} == {""}
        assert all(one.attestations == [signed(given[i], KEY)] for found in seen for one in found
                   for i in [instructions(given).index(one.instruction)])  # fmt: skip
        assert len(reader.answers(instructions(given), soon())) == len(given)


# --- Lies ---

TRUE = many(4)
ASKED = instructions(TRUE)
WHOLE = car([one.receipt.cid for one in TRUE], blocks_of(TRUE))
_HEADER = len(b"".join(parts([], [])))


def changed(data: bytes) -> bytes:
    """
    Return an archive whose last block is another than its CID names.
    """
    return data[:-1] + bytes([data[-1] ^ 1])


def of_others(_liar: Liar, line: socket.socket) -> None:
    """
    Answer what nobody asked.
    """
    line.sendall(answer(archive(many(4, 100))))


def mixed() -> bytes:
    """
    Two that were asked, and between them one that was not.
    """
    return archive([TRUE[0], many(1, 100)[0], TRUE[1]])


def alone() -> bytes:
    """
    Receipts without invocations: those of other tasks are there instead.
    """
    return car(
        [one.receipt.cid for one in TRUE],
        [*[one.receipt.block for one in TRUE], *[one.task.invocation.block for one in many(4, 100)]],
    )


def no_receipts() -> bytes:
    """
    Blocks that hash to their CIDs and are no receipts.
    """
    odd = [
        Block.of({"ran": 1}),
        Block.of(["ok", 1]),
        Block.of(None),
        Block.of({"ran": Block.of(1).cid, "out": ["no", 1]}),
    ]
    return car([one.cid for one in odd], odd)


def drip(liar: Liar, line: socket.socket) -> None:
    """
    Send one right answer, and then a byte at a time.
    """
    rest = WHOLE[_HEADER:]

    def slowly() -> Iterator[bytes]:
        yield car([], [])
        for at in range(len(rest)):
            if liar.ended.wait(0.02):
                return
            yield rest[at : at + 1]

    chunked(line, slowly())


def endless(liar: Liar, line: socket.socket) -> None:
    """
    Send large blocks that nobody asked for, as many as are taken.
    """
    chunked(line, itertools.chain([car([], [])], sections(liar, 1, 1 << 20)))


def million(liar: Liar, line: socket.socket) -> None:
    """
    Send small blocks that nobody asked for, as many as are taken.
    """
    chunked(line, itertools.chain([car([], [])], sections(liar, 500, 1)))


def silent(liar: Liar, line: socket.socket) -> None:
    """
    Say nothing.
    """
    del line
    liar.ended.wait(30)


def sends(*parts_: bytes) -> Callable[[Liar, socket.socket], None]:
    """
    Return a behaviour: these bytes, and the end.
    """
    return lambda _liar, line: line.sendall(b"".join(parts_))


def stall(liar: Liar, line: socket.socket) -> None:
    """
    Send three right answers, and then nothing.
    """
    line.sendall(answer(WHOLE)[:-40])
    liar.ended.wait(30)


def halfway(_liar: Liar, line: socket.socket) -> None:
    """
    Send half of what was announced, and reset the connection.
    """
    line.sendall(answer(WHOLE, length=len(WHOLE))[: -len(WHOLE) // 2])
    time.sleep(0.1)  # or what was sent is lost with the connection
    reset(line)


LIES: dict[str, tuple[Callable[[Liar, socket.socket], object], int, str]] = {
    # what is done: how many right answers are used, and what is said about it
    "other bytes": (sends(answer(changed(WHOLE))), 3, "hash to"),
    "other instructions": (of_others, 0, "nobody asked"),
    "other instructions among right ones": (sends(answer(mixed())), 2, "nobody asked"),
    "other invocations": (sends(answer(alone())), 0, "without its invocation"),
    "no receipts": (sends(answer(no_receipts())), 0, "not a receipt"),
    "a truncated archive": (sends(answer(WHOLE[:-40])), 3, "cut off"),
    "less than announced": (sends(answer(WHOLE[:-40], length=len(WHOLE))), 3, "missing|cut off|broke off"),
    "an endless body": (endless, 0, "at most 67.1 MB"),
    "more than is accepted, announced": (sends(answer(b"", length=1 << 40)), 0, "at most"),
    "a million blocks": (million, 0, "at most 1,152 blocks"),
    "gzip": (sends(answer(gzip.compress(WHOLE), "Content-Encoding: gzip")), 0, "encoding"),
    "a redirect": (sends(answer(b"", "Location: http://127.0.0.1:9/", status="302 Found")), 0, "sends elsewhere"),
    "a web page": (sends(answer(b"<!DOCTYPE html><title>Log in</title>", "Content-Type: text/html")), 0, "web page"),
    "nothing at all": (sends(answer(b"")), 0, "nothing at all|no header"),
    "no HTTP": (sends(b"\x00\xff hello\r\n\r\n"), 0, "does not answer"),
    "a header without end": (sends(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000), 0, "does not answer"),
    "a reset": (lambda _liar, line: reset(line), 0, "does not answer"),
    "a reset halfway": (halfway, 1, "broke off"),
    "busy for ever": (sends(answer(b"later", status="503 Busy")), 0, "503"),
    "an error": (sends(answer(b"no \x1b[31m", status="400 Bad")), 0, r"400 \(no \\x1b"),
    "silence": (silent, 0, "did not answer as it should .not done in"),
    "a stall": (stall, 3, "broke off"),
    "a slow drip": (drip, 0, "not done|did not answer"),
    "an archive of version 7": (sends(answer(b"\x0a\xa1gversion\x07")), 0, "version"),
    "a length of 2^62": (sends(answer(car([], []) + b"\xff" * 8 + b"\x3f" + b"x")), 0, "."),
    "a header of 2^40 bytes": (sends(answer(b"\x80\x80\x80\x80\x80\x20" + b"x" * 100)), 0, "header"),
    "SHA-1": (sends(answer(car([], []) + bytes([29]) + b"\x01\x71\x11\x14" + bytes(20) + b"hello")), 0, "sha1"),
}


class TestLies:
    """What a server does that is broken, slow, gone or hostile."""

    @pytest.mark.parametrize("lie", LIES)
    def test_costs_time_and_no_answer(self, lie: str) -> None:
        """
        The right answers that came in time are used, nothing else is, one line says why, and the work goes on.
        """
        behave, right, why = LIES[lie]
        told: list[str] = []
        liar = Liar(behave)
        with liar.running() as url:
            caches = Caches([HttpCache(url, pause=0.01)], seconds=1.5, tell=told.append)
            found = caches.answers(ASKED)
            again = caches.answers(ASKED)
            caches.close()

        expected = {one.task.run.cid: one for one in TRUE}
        assert len(found) == right
        for one in found:
            assert one.receipt == expected[one.instruction].receipt.block
            assert one.invocation == expected[one.instruction].task.invocation.block
        assert again == []
        assert len(told) == 1
        assert "worked out here" in told[0]
        assert "asked again in a minute" in told[0]
        assert told[0].isprintable()
        assert re.search(why, told[0]), told[0]

    def test_nobody_there(self) -> None:
        """
        A cache that is gone costs no time, and is told once: asked again in a minute, it is told of no more.
        """
        with Liar(silent).running() as url:
            pass
        told: list[str] = []
        now = [0.0]
        caches = Caches([HttpCache(url)], seconds=30, tell=told.append, clock=lambda: now[0])

        for _ in range(5):
            assert caches.answers(ASKED) == []
            now[0] += 61

        assert len(told) == 1
        assert told[0].startswith(f"the cache {url} does not answer")

    def test_well_again(self) -> None:
        """
        A cache that failed is left alone for a minute, then asked again; if it fails later, that is told anew.
        """
        told: list[str] = []
        now = [0.0]
        liar = Liar(of_others)
        with liar.running() as url:
            caches = Caches([HttpCache(url)], seconds=30, tell=told.append, clock=lambda: now[0])
            first = caches.answers(ASKED), caches.answers(ASKED), len(liar.asked), caches.sources()
            liar.behave = sends(answer(WHOLE))
            now[0] = 59.0
            second = caches.answers(ASKED), len(liar.asked)
            now[0] = 60.0
            third = caches.answers(ASKED), caches.sources()
            liar.behave = sends(answer(b""))
            caches.answers(ASKED)
            caches.close()

        assert first == ([], [], 1, [])
        assert second == ([], 1)
        assert len(third[0]) == len(TRUE)
        assert len(third[1]) == 1
        assert len(told) == 2

    def test_a_redirect_gets_neither_the_question_nor_the_token(self) -> None:
        """
        Whoever is redirected to learns nothing: no question is asked there, and no token shown.
        """
        other = Liar(sends(answer(WHOLE)))
        with other.running() as elsewhere:
            liar = Liar(sends(answer(b"", f"Location: {elsewhere}/receipts", status="307 Elsewhere")))
            with liar.running() as url:
                cache = HttpCache(url, TOKEN)
                found = cache.answers(ASKED, soon())
                with pytest.raises(Refused):
                    cache.give([WHOLE], soon())
                with pytest.raises(Refused):
                    cache.block(file_cid(b"x"), soon())
                cache.close()

        assert not found
        assert other.asked == []
        assert [TOKEN in head for head in liar.heads] == [False, True, False]

    def test_too_many_statements_and_receipts_are_passed_over(self) -> None:
        """
        A cache can bury a receipt under statements, and then some of them are looked at, and no more.
        """
        keys = [Key.fresh() for _ in range(STATEMENTS + 5)]
        several = [filing(task(1, meta={"fuel": number}), number) for number in range(RECEIPTS + 5)]
        crowd = archive([TRUE[1], *several], [signed(TRUE[1], key) for key in keys])
        with Liar(sends(answer(crowd))).running() as url:
            cache = HttpCache(url)
            found = cache.answers(ASKED, soon())
            cache.close()

        assert found.trouble == ""
        assert len(found) == RECEIPTS
        assert len(found[0].attestations) == STATEMENTS

    @pytest.mark.parametrize("said", [0, -1, 2**63, "many", 1])
    def test_a_cut_answer_never_goes_round_in_circles(self, said: object) -> None:
        """
        However far a cache says that it came, each question is about fewer instructions than the one before.
        """
        mark = encode({"reached": said})
        block = Block(CID.of(mark, "dag-cbor", "sha2-256"), mark)
        liar = Liar(sends(answer(car([TRUE[0].receipt.cid], [block, *blocks_of(TRUE[:1])]))))
        with liar.running() as url:
            cache = HttpCache(url)
            found = cache.answers(ASKED, soon())
            cache.close()

        assert len(found) == 1
        assert len(liar.asked) == (2 if said == 1 else 1)  # the second answer is not what was asked then

    def test_content_that_lies(self) -> None:
        """
        An archive of content that is another, or cut, gives no block.
        """
        data = os.urandom(600_000)
        cid = file_cid(data)
        whole = b"".join(parts([cid], blocks(data)))
        for body in (changed(whole), whole[:-10], car([], []), b"<html>"):
            with Liar(sends(answer(body))).running() as url:
                cache = HttpCache(url)
                with pytest.raises((Mismatch, Refused), match="archive"):
                    cache.block(cid, soon())
                cache.close()

    def test_a_cache_that_fails_for_content_is_left_alone_too(self) -> None:
        """
        A cache that breaks off in the middle of a file is told, and not asked again for a minute.
        """
        told: list[str] = []
        with Liar(lambda _liar, line: reset(line)).running() as url:
            caches = Caches([HttpCache(url, pause=0.01)], seconds=30, tell=told.append)
            first, second = caches.sources() * 2
            with pytest.raises(Unreachable):
                first.block(file_cid(b"x"), soon())
            with pytest.raises(Unreachable):
                list(second.car(file_cid(b"x"), soon()))
            left = caches.sources()
            found = caches.answers(ASKED)
            caches.close()

        assert (left, found) == ([], [])
        assert len(told) == 1
        assert told[0].endswith("everything is looked for elsewhere")

    def test_a_file_is_fetched_once(self, tmp_path: Path) -> None:
        """
        Asked block by block and as an archive, a cache over HTTP sends a file once; and a session brings it in.
        """
        data = os.urandom(1_000_000)
        store = MemoryStore()
        cid = store.put_file(data, "input")
        with CacheServer(store, port=0) as server:
            cache = HttpCache(server.address)
            caches = Caches([cache], seconds=30)
            here = Resources(MemoryStore(), Settings())
            here.more = caches.sources
            here.fetch(cid)
            caches.close()
            requests = server.counts.requests

        assert here.read(cid) == data
        assert requests == 1

    def test_a_slow_cache_does_not_hold_up_a_quick_one(self) -> None:
        """
        Caches are asked side by side: what the quick one has is there, whatever the others do.
        """
        told: list[str] = []
        with Liar(silent).running() as slow, Liar(sends(answer(WHOLE))).running() as quick:
            caches = Caches([HttpCache(slow), HttpCache(quick)], seconds=1, tell=told.append)
            found = caches.answers(ASKED)
            left = [cache.name for cache in caches.sources()]
            caches.close()

        assert len(found) == len(TRUE)
        assert len(told) == 1
        assert slow in told[0]
        assert left == [f"the cache {quick}"]

    def test_giving_to_those_that_take(self, tmp_path: Path) -> None:
        """
        What is made here goes to the caches that were added for it, and to no other; one that is gone is told.
        """
        told: list[str] = []
        with Liar(silent).running() as url:
            pass
        reader, writer = FolderCache(str(tmp_path / "a")), FolderCache(str(tmp_path / "b"), write=True)
        gone = HttpCache(url, TOKEN)
        caches = Caches([reader, writer, gone], writers=[writer, gone], tell=told.append)

        lines = caches.give(lambda: [archive(TRUE)])
        again = caches.give(lambda: [archive(TRUE)])

        assert [line.split(" took ")[0] for line in lines] == [writer.name]
        assert len(again) == 1
        assert not (tmp_path / "a").exists()
        assert len(writer.answers(ASKED, soon())) == len(TRUE)
        assert len(told) == 1
        assert told[0].endswith("everything stays here")

    def test_a_cache_that_raises_stops_nothing(self) -> None:
        """
        A cache of somebody's own that breaks is told like any other, and the rest goes on.
        """

        class Broken(FolderCache):
            def answers(self, instructions: Sequence[CID], deadline: Deadline) -> Answers:
                raise ZeroDivisionError

        told: list[str] = []
        caches = Caches([Broken("/nowhere")], tell=told.append)

        assert caches.answers(ASKED) == []
        assert "ZeroDivisionError" in told[0]


# --- Folders ---


class TestFolders:
    """What folders and buckets do besides."""

    def test_the_layout_is_the_one_that_servers_of_files_give(self, tmp_path: Path) -> None:
        """
        A folder has a file an instruction and a file a content, each an archive that other tools read.
        """
        given, data = many(2), os.urandom(300_000)
        FolderCache(str(tmp_path), write=True).give([archive(given, files=[data, b"small"])], soon())

        found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.car"))
        assert found == sorted(
            [*map(receipts_at, instructions(given)), content_at(file_cid(data)), content_at(file_cid(b"small"))]
        )
        first = tmp_path / receipts_at(given[0].task.run.cid)
        assert first.read_bytes() == archive(given[:1])
        assert first.parent.name == str(given[0].task.run.cid)[-2:]

    def test_a_damaged_file_is_told_and_the_others_are_read(self, tmp_path: Path) -> None:
        """
        One file that somebody changed answers nothing; its neighbours do.
        """
        given = many(4)
        cache = FolderCache(str(tmp_path), write=True)
        cache.give([archive(given)], soon())
        (tmp_path / receipts_at(given[1].task.run.cid)).write_bytes(archive(given[2:3]))
        (tmp_path / receipts_at(given[2].task.run.cid)).write_bytes(b"\xff" * 100)

        found = cache.answers(instructions(given), soon())

        assert [one.instruction for one in found] == [given[0].task.run.cid, given[3].task.run.cid]
        assert found.lied
        assert receipts_at(given[1].task.run.cid) in found.trouble

    def test_a_damaged_file_is_mended_by_the_next_writer(self, tmp_path: Path) -> None:
        """
        Who gives a receipt again puts it in the place of a file that cannot be read.
        """
        given = many(1)
        cache = FolderCache(str(tmp_path), write=True)
        cache.give([archive(given)], soon())
        (tmp_path / receipts_at(given[0].task.run.cid)).write_bytes(b"\xff" * 100)
        cache.give([archive(given)], soon())

        assert len(cache.answers(instructions(given), soon())) == 1

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        """
        A file that grew beyond all bounds is refused, and so is a device.
        """
        given = many(1)
        place = tmp_path / receipts_at(given[0].task.run.cid)
        place.parent.mkdir(parents=True)
        with place.open("wb") as file:
            file.truncate(1 << 40)
        found = FolderCache(str(tmp_path)).answers(instructions(given), soon())
        place.unlink()
        os.mkfifo(place)
        waited = FolderCache(str(tmp_path)).answers(instructions(given), soon())

        assert "at most" in found.trouble
        assert waited.trouble != ""

    def test_a_folder_that_is_gone(self, tmp_path: Path) -> None:
        """
        A folder that is not mounted is a cache that does not answer.
        """
        found = FolderCache(str(tmp_path / "not-mounted")).answers(ASKED, soon())

        assert not found
        assert "is not there" in found.trouble

    def test_a_writer_that_dies_leaves_no_half_file(self, tmp_path: Path) -> None:
        """
        What is written lies beside its place until it is whole.
        """
        given = many(1)
        cache = FolderCache(str(tmp_path), write=True)
        cache.give([archive(given)], soon())
        before = (tmp_path / receipts_at(given[0].task.run.cid)).read_bytes()
        place = cache._files

        def breaks() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError

        with pytest.raises(RuntimeError):
            place.write(receipts_at(given[0].task.run.cid), breaks())

        assert (tmp_path / receipts_at(given[0].task.run.cid)).read_bytes() == before
        assert not list(tmp_path.rglob(".new-*"))

    def test_writers_of_one_task_lose_nothing(self, tmp_path: Path) -> None:
        """
        Two writers that add statements to one receipt at the same time both find theirs.
        """
        one = many(1)[0]
        statements = [signed(one, Key.fresh()) for _ in range(12)]

        def write(some: list[Block]) -> None:
            cache = FolderCache(str(tmp_path), write=True)
            for statement in some:
                cache.give([archive([one], [statement])], soon())

        threads = [threading.Thread(target=write, args=(statements[at::2],)) for at in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        found = FolderCache(str(tmp_path)).answers([one.task.run.cid], soon())
        assert set(found[0].attestations) == set(statements)

    @pytest.mark.parametrize("url", ["simplecache::memory://x", "nosuch://x/y", "zip://a::file://b"])
    def test_an_address_that_nobody_reads(self, url: str) -> None:
        """
        A file system that is not known, or a chain of them, is refused by name when it is opened.
        """
        with pytest.raises((BadInput, ToolchainMissing)):
            FolderCache(url)


# --- Which caches ---


class TestListed:
    """Which caches a user added."""

    def test_added_listed_removed(self, tmp_path: Path) -> None:
        """
        What was added is there in every kernel, until it is removed.
        """
        listed = Listed(tmp_path, {})
        listed.add("https://cache.lab.example/")
        listed.add("https://write.lab.example", "s3cret", write=True)
        listed.add(str(tmp_path / "shared"))

        assert Listed(tmp_path, {}).list() == [
            Known(url="https://cache.lab.example"),
            Known(url="https://write.lab.example", token="s3cret", write=True),
            Known(url=str(tmp_path / "shared")),
        ]
        assert listed.remove("https://cache.lab.example")
        assert not listed.remove("https://cache.lab.example")
        assert len(listed.list()) == 2

    def test_the_token_is_for_its_owners_eyes(self, tmp_path: Path) -> None:
        """
        The file has mode 0600 under any umask, also if it was copied; the token is in no text that is shown.
        """
        before = os.umask(0)
        try:
            made = Listed(tmp_path, {}).add("https://lab.example", "s3cret", write=True)
        finally:
            os.umask(before)
        path = tmp_path / "caches.json"
        first = stat.S_IMODE(path.stat().st_mode)
        path.chmod(0o644)
        again = Listed(tmp_path, {}).list()

        assert first == 0o600
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert again == [made]
        for text in (repr(made), str(made), f"{made}", repr(again)):
            assert "s3cret" not in text

    def test_a_token_in_clear_is_named(self) -> None:
        """
        A token that would cross a network unencrypted is known as such, so that whoever adds it is told.
        """
        assert Known(url="http://lab.example", token="x").in_clear
        assert not Known(url="https://lab.example", token="x").in_clear
        assert not Known(url="http://127.0.0.1:80", token="x").in_clear
        assert not Known(url="http://lab.example").in_clear

    def test_the_environment_adds_and_turns_off(self, tmp_path: Path) -> None:
        """
        $IPVM_CACHES lists more, apart by spaces or commas; `off` asks nobody.
        """
        Listed(tmp_path, {}).add("http://a.example")
        both = Listed(tmp_path, {"IPVM_CACHES": "http://b.example, /mnt/lab"}).list()

        assert [one.url for one in both] == ["http://a.example", "http://b.example", "/mnt/lab"]
        assert [one.named for one in both] == [False, True, True]
        assert Listed(tmp_path, {"IPVM_CACHES": "off"}).list() == []
        assert Listed(None, {"IPVM_CACHES": "off"}).open() is None

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "http://",
            "http://user:pass@lab.example",
            "http://lab.example:99999",
            "http://x?y=1",
            "http://[",
            "s3://",
        ],
    )
    def test_what_is_no_address_is_refused(self, tmp_path: Path, url: str) -> None:
        """
        An address that cannot be one, or that holds a password, is refused before it is kept.
        """
        with pytest.raises(BadInput):
            Listed(tmp_path, {}).add(url)
        assert not (tmp_path / "caches.json").exists()

    @pytest.mark.parametrize("token", ["", "a b", "é", "x\r\nHost: evil", "x" * 2000])
    def test_what_is_no_token_is_refused(self, tmp_path: Path, token: str) -> None:
        """
        A token that would break a header is refused.
        """
        with pytest.raises(BadInput, match="token"):
            Listed(tmp_path, {}).add("http://lab.example", token)

    def test_a_folder_takes_no_token(self, tmp_path: Path) -> None:
        """
        A token is for a server.
        """
        with pytest.raises(BadInput, match="server"):
            Listed(tmp_path, {}).add("/mnt/lab", "x")

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", '{"caches": 1}', '{"caches": [{"url": 1}]}', '{"other": 1}', "[" * 10_000]
    )
    def test_a_broken_file_is_named(self, tmp_path: Path, text: str) -> None:
        """
        A file that is not what was written is named, and nothing is asked.
        """
        (tmp_path / "caches.json").write_text(text)

        with pytest.raises(Malformed, match=r"caches\.json"):
            Listed(tmp_path, {}).open()

    def test_at_most_so_many(self, tmp_path: Path) -> None:
        """
        Each cache that is asked costs time, so there are only so many.
        """
        listed = Listed(tmp_path, {})
        for number in range(16):
            listed.add(f"http://{number}.example")
        with pytest.raises(BadInput, match="remove one"):
            listed.add("http://more.example")
        listed.add("http://3.example", "t")

        assert len(listed.list()) == 16

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        """
        Where nothing can be kept, that is said.
        """
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreReadOnly):
            Listed(tmp_path / "file", {}).add("http://lab.example")
        with pytest.raises(BadInput, match="IPVM_CACHES"):
            Listed(None, {}).add("http://lab.example")

    @pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "1e9"])
    def test_seconds(self, text: str) -> None:
        """
        $IPVM_CACHE_SECONDS is a time, or is refused.
        """
        assert Listed(None, {}).seconds == 2.0
        assert Listed(None, {"IPVM_CACHE_SECONDS": "0.5"}).seconds == 0.5
        with pytest.raises(BadInput, match="IPVM_CACHE_SECONDS"):
            _ = Listed(None, {"IPVM_CACHE_SECONDS": text}).seconds

    def test_opened_as_listed(self, tmp_path: Path) -> None:
        """
        A list becomes caches of the right kinds, and those with `write` are given what is made here.
        """
        listed = Listed(tmp_path, {"IPVM_CACHES": "memory://x"})
        listed.add("http://lab.example", "t", write=True)
        listed.add("http://other.example", "t")
        caches = listed.open()

        assert caches is not None
        assert [type(one) for one in caches.caches] == [HttpCache, HttpCache, FolderCache]
        assert [one.name for one in caches.writers] == ["the cache http://lab.example"]
        with pytest.raises(NotAllowed):
            opened(Known(url="http://other.example", token="t")).give([], soon())
        caches.close()

    def test_no_cache_costs_nothing(self, tmp_path: Path) -> None:
        """
        Where no cache was added, asking for them loads nothing that asks, and opens no file but the list.
        """
        script = """
import sys
from pathlib import Path
from ipvm_kernel.exchange.caches import Listed
assert Listed(Path(sys.argv[1]), {}).open() is None
found = {"urllib3", "fsspec", "starlette", "cryptography", "concurrent.futures.thread", "ipvm_kernel.exchange.http"}
print(sorted(found & set(sys.modules)))
"""
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)

        assert done.stdout == "[]\n"
        assert list(tmp_path.iterdir()) == []

    def test_two_kernels_add_at_once(self, tmp_path: Path) -> None:
        """
        Two that add a cache at the same time both find theirs in the file.
        """
        threads = [
            threading.Thread(target=Listed(tmp_path, {}).add, args=(f"http://{number}.example",)) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(json.loads((tmp_path / "caches.json").read_bytes())["caches"]) == 8


def test_an_answer_is_a_plain_value() -> None:
    """
    What was wrong goes with an answer, and an answer is a list of what was right.
    """
    one: Any = Answered(ASKED[0], TRUE[0].receipt.block, TRUE[0].task.invocation.block, [])
    found = Answers([one], "why", lied=True)

    assert found == [one]
    assert (found.trouble, found.lied) == ("why", True)
