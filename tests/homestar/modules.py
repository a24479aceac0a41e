"""The guests of these tests, which run on Homestar and here: one of many types, built by our own toolchain, and a tiny one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipvm_kernel.session import Module, Session
    from tests.daemons import Kubo

SOURCE = """\
//| wit record point { x: s32, y: f64, name: string }
//| wit export add-one: func(a: s32) -> s32;
//| wit export add: func(a: s32, b: s32) -> s32;
//| wit export join: func(a: string, b: string) -> string;
//| wit export half: func(a: f64) -> f64;
//| wit export single: func(a: f32) -> f32;
//| wit export reversed: func(data: list<u8>) -> list<u8>;
//| wit export size: func(data: list<u8>) -> u32;
//| wit export doubled: func(xs: list<s64>) -> list<s64>;
//| wit export total: func(xs: list<s32>) -> s32;
//| wit export moved: func(p: point) -> point;
//| wit export small: func(a: s32) -> option<s32>;
//| wit export checked: func(a: s32) -> result<s32, string>;
//| wit export pairs: func(names: list<string>) -> list<tuple<string, string>>;
//| wit export divide: func(a: s32, b: s32) -> s32;
const ipvm = @import("ipvm");
const Pair = struct { []const u8, []const u8 };

pub fn add_one(a: i32) i32 {
    return a +% 1;
}
pub fn add(a: i32, b: i32) i32 {
    return a +% b;
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
pub fn single(a: f32) f32 {
    return a;
}
pub fn reversed(data: []const u8) []const u8 {
    const back = ipvm.allocator.alloc(u8, data.len) catch @panic("out of memory");
    for (data, 0..) |byte, i| back[data.len - 1 - i] = byte;
    return back;
}
pub fn size(data: []const u8) u32 {
    return @intCast(data.len);
}
pub fn doubled(xs: []const i64) []const i64 {
    const twice = ipvm.allocator.alloc(i64, xs.len) catch @panic("out of memory");
    for (xs, 0..) |x, i| twice[i] = x *% 2;
    return twice;
}
pub fn total(xs: []const i32) i32 {
    var sum: i32 = 0;
    for (xs) |x| sum +%= x;
    return sum;
}
pub fn moved(p: ipvm.Point) ipvm.Point {
    return .{ .x = p.x +% 1, .y = p.y + 0.5, .name = p.name };
}
pub fn small(a: i32) ?i32 {
    return if (a < 10) a else null;
}
pub fn checked(a: i32) !i32 {
    if (a < 0) return ipvm.fail("negative", .{});
    return a;
}
pub fn pairs(names: []const []const u8) []const Pair {
    const made = ipvm.allocator.alloc(Pair, names.len) catch @panic("out of memory");
    for (names, 0..) |name, i| made[i] = .{ name, name };
    return made;
}
pub fn divide(a: i32, b: i32) i32 {
    return @divTrunc(a, b);
}
"""


def typed(session: Session, kubo: Kubo | None = None) -> Module:
    """Return the module of many types, which Homestar can fetch too if `kubo` is given."""
    module = session.build(SOURCE, lang="zig", name="types")
    if kubo is not None:
        kubo.add_block(session.store.read(module._cid))
    return module
