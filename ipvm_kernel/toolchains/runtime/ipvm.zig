//! What a cell may use of ipvm: `const ipvm = @import("ipvm");`

const std = @import("std");
const abi = @import("abi");

/// Memory that is never given back: an instance lives for one call.
pub const allocator: std.mem.Allocator = abi.allocator;

/// The two outcomes of a function typed `result<T, E>`. Where E is a string, or where there is none, a function may
/// as well return `!T` and say what is wrong with `fail`.
pub const Result = abi.Result;

/// End with a message of your own: `return ipvm.fail("the crop leaves the picture of {d}x{d}", .{ width, height });`
///
/// Any other error becomes its name: `error.EndOfStream` is the message "EndOfStream".
pub const fail = abi.fail;
