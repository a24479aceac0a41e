"""The same workflow on Homestar and here: the same receipts, to the bit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.ipld import dagjson
from ipvm_kernel.session import Session

if TYPE_CHECKING:
    from tests.daemons import Homestar, Kubo

pytestmark = pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")

SOURCE = """\
//| wit record point { x: s32, y: f64, name: string }
//| wit export add-one: func(a: s32) -> s32;
//| wit export join: func(a: string, b: string) -> string;
//| wit export half: func(a: f64) -> f64;
//| wit export reversed: func(data: list<u8>) -> list<u8>;
//| wit export doubled: func(xs: list<s64>) -> list<s64>;
//| wit export moved: func(p: point) -> point;
//| wit export small: func(a: s32) -> option<s32>;
//| wit export checked: func(a: s32) -> result<s32, string>;
const ipvm = @import("ipvm");

pub fn add_one(a: i32) i32 {
    return a +% 1;
}
pub fn join(a: []const u8, b: []const u8) []const u8 {
    const both = ipvm.allocator.alloc(u8, a.len + b.len) catch @panic("out of memory");
    @memcpy(both[0..a.len], a);
    @memcpy(both[a.len..], b);
    return both;
}
pub fn half(a: f64) f64 {
    return a / 2;
}
pub fn reversed(data: []const u8) []const u8 {
    const back = ipvm.allocator.alloc(u8, data.len) catch @panic("out of memory");
    for (data, 0..) |byte, i| back[data.len - 1 - i] = byte;
    return back;
}
pub fn doubled(xs: []const i64) []const i64 {
    const twice = ipvm.allocator.alloc(i64, xs.len) catch @panic("out of memory");
    for (xs, 0..) |x, i| twice[i] = x * 2;
    return twice;
}
pub fn moved(p: ipvm.Point) ipvm.Point {
    return .{ .x = p.x + 1, .y = p.y + 0.5, .name = p.name };
}
pub fn small(a: i32) ?i32 {
    return if (a < 10) a else null;
}
pub fn checked(a: i32) !i32 {
    if (a < 0) return ipvm.fail("negative", .{});
    return a;
}
"""


@pytest.fixture(scope="module")
def pair(homestar: Homestar, kubo: Kubo) -> tuple[Session, Homestar, object]:
    """
    A session with a module of many types, which Homestar can fetch too.
    """
    session = Session(None)
    module = session.build(SOURCE, lang="zig", name="types")
    kubo.add_block(session.store.read(module._cid))
    return session, homestar, module


CALLS = {
    "integer": lambda m: m.add_one(41),
    "wrapped integer": lambda m: m.add_one(2147483647),
    "text": lambda m: m.join("Round", "about"),
    "text that is a CID": lambda m: m.join("bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5ge", "rjmnakqihhqx4zq"),
    "text that says null": lambda m: m.join("nu", "ll"),
    "float": lambda m: m.half(7),
    "bytes": lambda m: m.reversed(b"hello"),
    "no bytes": lambda m: m.reversed(b""),
    "list": lambda m: m.doubled([1, -2, 2**40]),
    "record": lambda m: m.moved({"x": 1, "y": 2.25, "name": "here"}),
    "some": lambda m: m.small(3),
    "none": lambda m: m.small(30),
    "ok": lambda m: m.checked(3),
    "err": lambda m: m.checked(-3),
    "chain": lambda m: m.add_one(m.add_one(m.add_one(1))),
    "limits": lambda m: m.add_one.with_options(time=10, memory="64 MiB", fuel=10**9)(m.add_one(7)),
    "nonce": lambda m: m.add_one.with_options(nonce="1sod60ml6g26mfhsrsa0")(5),
}


@pytest.mark.parametrize("name", CALLS)
def test_homestar_gives_the_same_receipts(pair: tuple[Session, Homestar, object], name: str) -> None:
    """
    Whatever is declared in a notebook has, on a Homestar node, the same workflow, the same invocations and the same
    receipts, by CID.
    """
    session, homestar, module = pair
    handle = CALLS[name](module)
    run = session.run(handle).wait()
    notices = homestar.run(json.loads(dagjson.dumps(handle.workflow.to_ipld())), receipts=len(handle.workflow))

    ours = {str(receipt.ran): str(receipt.cid) for receipt in run.receipts}
    assert {notice.ran: notice.cid for notice in notices} == ours
    assert {notice.workflow for notice in notices} == {str(handle.workflow.cid)}
