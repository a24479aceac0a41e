//! Four numbers about numbers. No value is left out: an empty list, or a NaN in it, gives NaN.

//| wit package ipvm:stats;
//| wit world stats {
//| wit   record summary { count: u32, mean: f64, sd: f64, min: f64, max: f64 }
//| wit   export mean: func(xs: list<f64>) -> f64;
//| wit   export resample-mean: func(xs: list<f64>, seed: u64) -> f64;
//| wit   export quantile: func(xs: list<f64>, q: f64) -> f64;
//| wit   export summary: func(xs: list<f64>) -> summary;
//| wit }

const std = @import("std");
const ipvm = @import("ipvm");

pub fn mean(xs: []const f64) f64 {
    var sum: f64 = 0;
    for (xs) |x| sum += x;
    return sum / float(xs.len);
}

/// The mean of a bootstrap sample: as many values, drawn with replacement. The same seed draws the same sample.
pub fn resample_mean(xs: []const f64, seed: u64) f64 {
    var state = seed;
    var sum: f64 = 0;
    for (xs) |_| sum += xs[@intCast((random(&state) >> 32) * xs.len >> 32)];
    return sum / float(xs.len);
}

/// The value that the share `q` of all values lies below; between two of them, on the line that joins them.
pub fn quantile(xs: []const f64, q: f64) f64 {
    if (xs.len == 0 or !(q >= 0 and q <= 1)) return std.math.nan(f64);
    for (xs) |x| if (std.math.isNan(x)) return x;
    const sorted = ipvm.allocator.dupe(f64, xs) catch @panic("out of memory");
    std.sort.heap(f64, sorted, {}, std.sort.asc(f64));
    const place = q * float(xs.len - 1);
    const below: usize = @intFromFloat(place);
    if (place == float(below)) return sorted[below];
    return sorted[below] + (place - float(below)) * (sorted[below + 1] - sorted[below]);
}

/// `sd` divides by n - 1, as pandas does.
pub fn summary(xs: []const f64) ipvm.Summary {
    const middle = mean(xs);
    var squares: f64 = 0;
    for (xs) |x| squares += (x - middle) * (x - middle);
    return .{
        .count = @intCast(xs.len),
        .mean = middle,
        .sd = @sqrt(squares / float(xs.len -| 1)),
        .min = quantile(xs, 0),
        .max = quantile(xs, 1),
    };
}

/// SplitMix64: 64 bits from a counter, well shuffled.
fn random(state: *u64) u64 {
    state.* +%= 0x9e3779b97f4a7c15;
    var bits = state.*;
    bits = (bits ^ (bits >> 30)) *% 0xbf58476d1ce4e5b9;
    bits = (bits ^ (bits >> 27)) *% 0x94d049bb133111eb;
    return bits ^ (bits >> 31);
}

fn float(number: usize) f64 {
    return @floatFromInt(number);
}
