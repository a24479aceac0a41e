//! The canonical ABI of the component model, driven by Zig types: how the values of a call come out of core values and
//! memory, and how the answer goes back. The types are those that the glue generates for a world, and no others:
//!
//!     numbers, bool       themselves            list<T>, string   []const T, []const u8
//!     char                u21                   option<T>         ?T
//!     enum                enum                  result<T, E>      Result(T, E)
//!     record, tuple       struct                no payload        void

const std = @import("std");

// --- Memory: one heap that only grows ---

var top: usize = 0; // the first free byte; 0 before the first use

pub const allocator: std.mem.Allocator = .{
    .ptr = undefined,
    .vtable = &.{ .alloc = alloc, .resize = resize, .remap = remap, .free = free },
};

/// Make room for everything below `end`.
fn reach(end: u64) bool {
    const page = 64 * 1024;
    const have = @as(u64, @wasmMemorySize(0)) * page;
    if (end > 65535 * page) return false; // the last page stays out, so that no address is 2^32
    if (end <= have) return true;
    return @wasmMemoryGrow(0, @intCast((end - have + page - 1) / page)) >= 0;
}

fn alloc(_: *anyopaque, len: usize, boundary: std.mem.Alignment, _: usize) ?[*]u8 {
    if (top == 0) top = @intFromPtr(@extern(*u8, .{ .name = "__heap_base" }));
    const start = boundary.forward(top);
    if (!reach(@as(u64, start) + len)) return null;
    top = start + len;
    return @ptrFromInt(start);
}

/// The latest piece can change its size where it stands, which is what a growing list wants.
fn resize(_: *anyopaque, memory: []u8, _: std.mem.Alignment, len: usize, _: usize) bool {
    if (@intFromPtr(memory.ptr) + memory.len != top) return len <= memory.len;
    if (!reach(@as(u64, @intFromPtr(memory.ptr)) + len)) return false;
    top = @intFromPtr(memory.ptr) + len;
    return true;
}

fn remap(context: *anyopaque, memory: []u8, boundary: std.mem.Alignment, len: usize, trace: usize) ?[*]u8 {
    return if (resize(context, memory, boundary, len, trace)) memory.ptr else null;
}

fn free(_: *anyopaque, memory: []u8, _: std.mem.Alignment, _: usize) void {
    if (@intFromPtr(memory.ptr) + memory.len == top) top = @intFromPtr(memory.ptr);
}

/// The caller's door to that heap.
pub fn reallocate(old: usize, old_len: usize, boundary: usize, len: usize) usize {
    if (len == 0) return boundary;
    const new = allocator.rawAlloc(len, .fromByteUnits(boundary), 0) orelse @trap();
    if (old_len != 0) @memcpy(new[0..@min(old_len, len)], @as([*]const u8, @ptrFromInt(old)));
    return @intFromPtr(new);
}

// --- Failure: an error union, with a message beside it ---

pub fn Result(comptime T: type, comptime E: type) type {
    return union(enum(u8)) { ok: T, err: E };
}

var message: []const u8 = "";

pub fn fail(comptime format: []const u8, args: anytype) error{Failed} {
    message = std.fmt.allocPrint(allocator, format, args) catch "out of memory";
    return error.Failed;
}

/// Marks the result of an exported function that may be written as an error union.
pub fn Fallible(comptime T: type, comptime E: type) type {
    return struct {
        pub const Wire = Result(T, E);
        pub const Value = T;

        fn wire(answer: anytype) Wire {
            if (@TypeOf(answer) == Wire) return answer;
            const value = answer catch |failure| return .{ .err = if (E == void) {} else words(failure) };
            return .{ .ok = value };
        }

        fn words(failure: anyerror) []const u8 {
            return switch (failure) {
                error.Failed => message,
                error.OutOfMemory => "out of memory",
                else => @errorName(failure),
            };
        }
    };
}

fn isFallible(comptime Out: type) bool {
    return @typeInfo(Out) == .@"struct" and @hasDecl(Out, "Wire");
}

// --- Calls ---

/// The function `name` of a cell as the host calls it: `call` takes and gives core values.
pub fn Export(
    comptime cell: type,
    comptime name: []const u8,
    comptime params: []const type,
    comptime Out: type,
    comptime wanted: []const u8,
) type {
    if (!fits(cell, name, params, Out)) @compileError("world:" ++ name ++ ": the world wants `" ++ wanted ++ "`");
    const Wire = if (isFallible(Out)) Out.Wire else Out;
    return struct {
        var area: [size(Wire)]u8 align(8) = undefined;

        pub fn call(core: anytype) if (count(Wire) > 1) usize else Core(Wire) {
            const function = @field(cell, name);
            var args: std.meta.ArgsTuple(@TypeOf(function)) = undefined;
            if (comptime sum(params) > 16) {
                inline for (params, 0..) |P, i| args[i] = load(P, core[0] + comptime offset(params, i));
            } else {
                const all = bits(core);
                inline for (params, 0..) |P, i| args[i] = lift(P, all[comptime sum(params[0..i])..]);
            }
            const answer = @call(.auto, function, args);
            const result: Wire = if (comptime isFallible(Out)) Out.wire(answer) else answer;
            if (comptime count(Wire) <= 1) return single(Wire, result);
            store(Wire, @intFromPtr(&area), result);
            return @intFromPtr(&area);
        }
    };
}

fn fits(comptime cell: type, comptime name: []const u8, comptime params: []const type, comptime Out: type) bool {
    if (!@hasDecl(cell, name)) return false;
    const function = @field(cell, name);
    const info = @typeInfo(@TypeOf(function));
    if (info != .@"fn" or info.@"fn".param_types.len != params.len) return false;
    inline for (info.@"fn".param_types, params) |given, P| if (given != P) return false;
    const Given = info.@"fn".return_type orelse return false;
    if (!isFallible(Out)) return Given == Out;
    return Given == Out.Wire or
        (@typeInfo(Given) == .error_union and @typeInfo(Given).error_union.payload == Out.Value);
}

// --- Flat: core values side by side. Each is kept as 64 bits, so that the alternatives of a result need no casts ---

fn bits(core: anytype) [core.len]u64 {
    var all: [core.len]u64 = undefined;
    inline for (core, 0..) |value, i| {
        all[i] = switch (@TypeOf(value)) {
            f32 => @as(u32, @bitCast(value)),
            f64 => @bitCast(value),
            else => value, // u32 or u64
        };
    }
    return all;
}

fn count(comptime T: type) comptime_int {
    return switch (@typeInfo(T)) {
        .void => 0,
        .bool, .int, .float, .@"enum" => 1,
        .pointer => 2,
        .optional => |info| 1 + count(info.child),
        .@"struct" => |info| sum(info.field_types),
        .@"union" => |info| 1 + @max(count(info.field_types[0]), count(info.field_types[1])),
        else => unreachable,
    };
}

fn sum(comptime types: []const type) comptime_int {
    var total = 0;
    for (types) |T| total += count(T);
    return total;
}

fn lift(comptime T: type, flat: []const u64) T {
    return switch (@typeInfo(T)) {
        .void => {},
        .bool => flat[0] != 0,
        .int => |info| @bitCast(@as(@Int(.unsigned, info.bits), @truncate(flat[0]))),
        .float => |info| @bitCast(@as(@Int(.unsigned, info.bits), @truncate(flat[0]))),
        .@"enum" => @fromBackingInt(@intCast(flat[0])),
        .pointer => |info| list(info.child, @intCast(flat[0]), @intCast(flat[1])),
        .optional => |info| if (flat[0] == 0) null else lift(info.child, flat[1..]),
        .@"struct" => |info| {
            var value: T = undefined;
            inline for (info.field_names, info.field_types, 0..) |name, F, i| {
                @field(value, name) = lift(F, flat[comptime sum(info.field_types[0..i])..]);
            }
            return value;
        },
        .@"union" => |info| if (flat[0] == 0)
            .{ .ok = lift(info.field_types[0], flat[1..]) }
        else
            .{ .err = lift(info.field_types[1], flat[1..]) },
        else => unreachable,
    };
}

/// The core value that a value of at most one core value is.
fn Core(comptime T: type) type {
    return switch (@typeInfo(T)) {
        .void => void,
        .int => |info| if (info.bits > 32) u64 else u32,
        .float => T,
        .@"struct" => |info| Core(info.field_types[0]),
        else => u32,
    };
}

fn single(comptime T: type, value: T) Core(T) {
    return switch (@typeInfo(T)) {
        .void => {},
        .bool => @intFromBool(value),
        .int => |info| if (info.signedness == .signed)
            @bitCast(@as(if (info.bits > 32) i64 else i32, value))
        else
            value,
        .float => value,
        .@"enum" => @backingInt(value),
        .@"struct" => |info| single(info.field_types[0], @field(value, info.field_names[0])),
        .@"union" => @intFromBool(value == .err),
        else => unreachable,
    };
}

// --- Stored: bytes in memory ---

fn size(comptime T: type) comptime_int {
    return switch (@typeInfo(T)) {
        .void => 0,
        .pointer => 8,
        .optional => |info| forward(alignment(T) + size(info.child), alignment(T)),
        .@"struct" => |info| forward(offset(info.field_types, info.field_types.len), alignment(T)),
        .@"union" => |info| forward(
            alignment(T) + @max(size(info.field_types[0]), size(info.field_types[1])),
            alignment(T),
        ),
        else => @sizeOf(T),
    };
}

fn alignment(comptime T: type) comptime_int {
    return switch (@typeInfo(T)) {
        .void => 1,
        .pointer => 4,
        .optional => |info| alignment(info.child),
        .@"struct" => |info| greatest(info.field_types),
        .@"union" => |info| greatest(info.field_types),
        else => @sizeOf(T),
    };
}

fn greatest(comptime types: []const type) comptime_int {
    var most = 1;
    for (types) |T| most = @max(most, alignment(T));
    return most;
}

/// Where the part of this number stands, or where the last part ends.
fn offset(comptime types: []const type, comptime number: usize) comptime_int {
    var end = 0;
    for (types[0..number]) |T| end = forward(end, alignment(T)) + size(T);
    return if (number < types.len) forward(end, alignment(types[number])) else end;
}

fn forward(comptime end: comptime_int, comptime multiple: comptime_int) comptime_int {
    return (end + multiple - 1) / multiple * multiple;
}

/// Whether a list of these is in memory what Zig makes of it, so that it can be passed on where it stands.
fn plain(comptime T: type) bool {
    return switch (@typeInfo(T)) {
        .int => T != u21,
        .bool, .float, .@"enum" => true,
        else => false,
    };
}

fn list(comptime T: type, address: usize, len: usize) []const T {
    if (len == 0) return &.{};
    if (comptime plain(T)) return @as([*]const T, @ptrFromInt(address))[0..len];
    const items = allocator.alloc(T, len) catch @trap();
    for (items, 0..) |*item, i| item.* = load(T, address + i * size(T));
    return items;
}

fn load(comptime T: type, address: usize) T {
    return switch (@typeInfo(T)) {
        .void => {},
        .int => if (T == u21) @truncate(at(u32, address).*) else at(T, address).*,
        .bool, .float, .@"enum" => at(T, address).*,
        .pointer => |info| list(info.child, at(u32, address).*, at(u32, address + 4).*),
        .optional => |info| if (at(u8, address).* == 0) null else load(info.child, address + alignment(T)),
        .@"struct" => |info| {
            var value: T = undefined;
            inline for (info.field_names, info.field_types, 0..) |name, F, i| {
                @field(value, name) = load(F, address + comptime offset(info.field_types, i));
            }
            return value;
        },
        .@"union" => |info| if (at(u8, address).* == 0)
            .{ .ok = load(info.field_types[0], address + alignment(T)) }
        else
            .{ .err = load(info.field_types[1], address + alignment(T)) },
        else => unreachable,
    };
}

fn store(comptime T: type, address: usize, value: T) void {
    switch (@typeInfo(T)) {
        .void => {},
        .int => if (T == u21) {
            at(u32, address).* = value;
        } else {
            at(T, address).* = value;
        },
        .bool, .float, .@"enum" => at(T, address).* = value,
        .pointer => |info| {
            at(u32, address).* = written(info.child, value);
            at(u32, address + 4).* = value.len;
        },
        .optional => |info| {
            at(u8, address).* = @intFromBool(value != null);
            if (value) |some| store(info.child, address + alignment(T), some);
        },
        .@"struct" => |info| inline for (info.field_names, info.field_types, 0..) |name, F, i| {
            store(F, address + comptime offset(info.field_types, i), @field(value, name));
        },
        .@"union" => |info| {
            at(u8, address).* = @intFromBool(value == .err);
            switch (value) {
                .ok => |ok| store(info.field_types[0], address + alignment(T), ok),
                .err => |err| store(info.field_types[1], address + alignment(T), err),
            }
        },
        else => unreachable,
    }
}

/// Return where a list is for the caller to read.
fn written(comptime T: type, items: []const T) usize {
    if (items.len == 0) return alignment(T); // Zig's address of nothing lies outside the memory, and hosts refuse it
    if (comptime plain(T)) return @intFromPtr(items.ptr);
    const memory = allocator.alignedAlloc(u8, comptime .fromByteUnits(alignment(T)), items.len * size(T)) catch @trap();
    for (items, 0..) |item, i| store(T, @intFromPtr(memory.ptr) + i * size(T), item);
    return @intFromPtr(memory.ptr);
}

fn at(comptime T: type, address: usize) *T {
    return @ptrFromInt(address);
}
