//! Pictures in, pictures out: four functions from PNG to PNG, and the PNG codec that they need.
//!
//! Read are gray and RGB, with alpha or without, and palettes, of 1 to 16 bits; not Adam7 interlacing. Inside and
//! written, each sample has 8 bits (of 16 the upper 8 are kept), a palette becomes RGB, and what is not pixels (text,
//! profiles, gamma) is left behind. The arithmetic is fixed to the bit, so every machine gives the same file.

//| wit package ipvm:imgops;
//| wit
//| wit world imgops {
//| wit   /// The part of `width` x `height` pixels whose upper left corner is at (x, y).
//| wit   export crop: func(photo: list<u8>, x: u32, y: u32, width: u32, height: u32) -> result<list<u8>, string>;
//| wit   /// A quarter turn clockwise.
//| wit   export rotate90: func(photo: list<u8>) -> result<list<u8>, string>;
//| wit   /// Brightness by Rec. 601: (19595 R + 38470 G + 7471 B + 32768) / 65536, which is 0.299, 0.587 and 0.114.
//| wit   export grayscale: func(photo: list<u8>) -> result<list<u8>, string>;
//| wit   /// A Gaussian blur, cut off at three sigma; the edge is repeated outwards.
//| wit   export blur: func(photo: list<u8>, sigma: f32) -> result<list<u8>, string>;
//| wit }

const std = @import("std");
const ipvm = @import("ipvm");
const flate = std.compress.flate;

const max_pixels = 64_000_000; // of at most 64 bits: in one row or in all, their bits can be counted in a u32
const max_sigma = 500;

pub fn crop(photo: []const u8, x: u32, y: u32, width: u32, height: u32) ![]const u8 {
    const whole = try decode(photo);
    if (width == 0 or height == 0) return ipvm.fail("a crop of {d}x{d} has no pixels", .{ width, height });
    if (@as(u64, x) + width > whole.width or @as(u64, y) + height > whole.height) {
        return ipvm.fail(
            "the crop {d}x{d}+{d}+{d} leaves the picture of {d}x{d}",
            .{ width, height, x, y, whole.width, whole.height },
        );
    }
    const part = try Picture.init(width, height, whole.channels);
    for (0..height) |line| {
        @memcpy(part.row(line), whole.row(y + line)[x * whole.channels ..][0 .. width * whole.channels]);
    }
    return encode(part);
}

pub fn rotate90(photo: []const u8) ![]const u8 {
    const upright = try decode(photo);
    const turned = try Picture.init(upright.height, upright.width, upright.channels);
    const n = upright.channels;
    for (0..upright.height) |y| {
        const from = upright.row(y);
        const column = (upright.height - 1 - y) * n;
        for (0..upright.width) |x| {
            for (turned.row(x)[column..][0..n], from[x * n ..][0..n]) |*to, sample| to.* = sample;
        }
    }
    return encode(turned);
}

pub fn grayscale(photo: []const u8) ![]const u8 {
    const picture = try decode(photo);
    if (picture.channels < 3) return encode(picture);
    const n = picture.channels;
    const gray = try Picture.init(picture.width, picture.height, n - 2);
    for (0..picture.width * picture.height) |i| {
        const from = picture.samples[i * n ..][0..n];
        const sum = 19595 * @as(u32, from[0]) + 38470 * @as(u32, from[1]) + 7471 * @as(u32, from[2]);
        gray.samples[i * gray.channels] = @intCast((sum + 32768) >> 16);
        if (n == 4) gray.samples[i * 2 + 1] = from[3];
    }
    return encode(gray);
}

pub fn blur(photo: []const u8, sigma: f32) ![]const u8 {
    if (!(sigma > 0 and sigma <= max_sigma)) return ipvm.fail("sigma must be above 0 and at most {d}", .{max_sigma});
    const picture = try decode(photo);
    const radius: usize = @intFromFloat(@ceil(3 * sigma));
    const weights = try gaussian(sigma, radius);
    const n = picture.channels;
    const length = picture.width * n;

    // First along the rows. Colours count as much as they are opaque: else the hidden colour of clear pixels shows.
    const soft = try ipvm.allocator.alloc(f32, length * picture.height);
    const padded = try ipvm.allocator.alloc(f32, length + 2 * radius * n);
    for (0..picture.height) |y| {
        const from = picture.row(y);
        for (0..picture.width + 2 * radius) |i| {
            const pixel = from[@min(i -| radius, picture.width - 1) * n ..][0..n];
            const scale: f32 = if (n % 2 == 0) @as(f32, @floatFromInt(pixel[n - 1])) / 255 else 1;
            for (padded[i * n ..][0..n], pixel, 1..) |*to, sample, channel| {
                const value: f32 = @floatFromInt(sample);
                to.* = if (channel == n) value else value * scale;
            }
        }
        for (soft[y * length ..][0..length], 0..) |*to, i| {
            var sum = weights[0] * padded[i + radius * n];
            for (weights[1..], 1..) |weight, k| {
                sum += weight * (padded[i + (radius - k) * n] + padded[i + (radius + k) * n]);
            }
            to.* = sum;
        }
    }

    // Then along the columns, row by row of the result.
    const last = picture.height - 1;
    const sums = try ipvm.allocator.alloc(f32, length);
    for (0..picture.height) |y| {
        for (sums, soft[y * length ..][0..length]) |*sum, value| sum.* = weights[0] * value;
        for (weights[1..], 1..) |weight, k| {
            const above = soft[(y -| k) * length ..][0..length];
            const below = soft[@min(y + k, last) * length ..][0..length];
            for (sums, above, below) |*sum, a, b| sum.* += weight * (a + b);
        }
        for (picture.row(y), sums, 0..) |*to, sum, i| {
            const alpha = if (n % 2 == 0 and i % n != n - 1) sums[i - i % n + n - 1] else 255;
            to.* = if (alpha > 0) @intFromFloat(@min(sum * 255 / alpha + 0.5, 255)) else 0;
        }
    }
    return encode(picture);
}

/// The weights of the middle and of one side; both sides together are 1.
fn gaussian(sigma: f32, radius: usize) ![]f32 {
    const weights = try ipvm.allocator.alloc(f32, radius + 1);
    var total: f32 = 0;
    for (weights, 0..) |*weight, i| {
        const distance = @as(f32, @floatFromInt(i)) / sigma;
        weight.* = @exp(-0.5 * distance * distance);
        total += if (i == 0) weight.* else 2 * weight.*;
    }
    for (weights) |*weight| weight.* /= total;
    return weights;
}

/// Rows of pixels; a pixel is 1 to 4 samples: gray, gray and alpha, RGB, or RGB and alpha.
const Picture = struct {
    width: usize,
    height: usize,
    channels: usize,
    samples: []u8,

    fn init(width: usize, height: usize, channels: usize) !Picture {
        const samples = try ipvm.allocator.alloc(u8, width * height * channels);
        return .{ .width = width, .height = height, .channels = channels, .samples = samples };
    }

    fn row(picture: Picture, y: usize) []u8 {
        const length = picture.width * picture.channels;
        return picture.samples[y * length ..][0..length];
    }
};

// --- Reading ---

const signature = "\x89PNG\r\n\x1a\n";

const Header = struct {
    width: u32,
    height: u32,
    depth: u8,
    colour: u8,

    fn parse(data: []const u8) !Header {
        if (data.len != 13) return ipvm.fail("the header has {d} bytes instead of 13", .{data.len});
        const header: Header = .{
            .width = big(data[0..4]),
            .height = big(data[4..8]),
            .depth = data[8],
            .colour = data[9],
        };
        if (header.width == 0 or header.height == 0) {
            return ipvm.fail("a picture of {d}x{d} has no pixels", .{ header.width, header.height });
        }
        if (@as(u64, header.width) * header.height > max_pixels) {
            return ipvm.fail(
                "the picture of {d}x{d} is too large: at most {d} million pixels are read",
                .{ header.width, header.height, max_pixels / 1_000_000 },
            );
        }
        const known = switch (header.colour) {
            0 => header.depth == 1 or header.depth == 2 or header.depth == 4 or header.depth == 8 or header.depth == 16,
            2, 4, 6 => header.depth == 8 or header.depth == 16,
            3 => header.depth == 1 or header.depth == 2 or header.depth == 4 or header.depth == 8,
            else => false,
        };
        if (!known) return ipvm.fail("no PNG has colour type {d} with {d} bits", .{ header.colour, header.depth });
        if (data[10] != 0 or data[11] != 0) return ipvm.fail("the compression or filter method is unknown", .{});
        if (data[12] != 0) return ipvm.fail("an interlaced PNG is not read; save it without interlacing", .{});
        return header;
    }

    /// Samples of a pixel in the file.
    fn samples(header: Header) usize {
        return switch (header.colour) {
            2 => 3,
            4 => 2,
            6 => 4,
            else => 1,
        };
    }

    fn rowBytes(header: Header) usize {
        return (header.width * header.samples() * header.depth + 7) / 8;
    }
};

/// What a file says beside its rows.
const File = struct {
    header: Header,
    palette: []const u8 = &.{},
    clear: ?[]const u8 = null, // tRNS: opacity by palette entry, or the one colour that is clear
    deflated: []const u8 = &.{},
};

fn decode(photo: []const u8) !Picture {
    const file = try readChunks(photo);
    const rows = try inflate(file);
    try unfilter(file.header, rows);
    return expand(file, rows);
}

fn readChunks(photo: []const u8) !File {
    if (!std.mem.startsWith(u8, photo, signature)) return ipvm.fail("this is no PNG: it does not begin like one", .{});
    var file: ?File = null;
    var deflated: std.ArrayList(u8) = .empty;
    var at: usize = signature.len;
    while (true) {
        if (photo.len - at < 12) return ipvm.fail("the file is cut short: it ends at byte {d}", .{photo.len});
        const length = big(photo[at..][0..4]);
        const name = photo[at + 4 ..][0..4];
        for (name) |letter| {
            if (!std.ascii.isAlphabetic(letter)) return ipvm.fail("there is no chunk at byte {d}", .{at});
        }
        if (length > photo.len - at - 12) return ipvm.fail("the file is cut short in its chunk {s}", .{name});
        const data = photo[at + 8 ..][0..length];
        if (std.hash.Crc32.hash(photo[at + 4 ..][0 .. length + 4]) != big(photo[at + 8 + length ..][0..4])) {
            return ipvm.fail("the chunk {s} at byte {d} is damaged: its checksum is wrong", .{ name, at });
        }
        at += 12 + length;

        if (is(name, "IHDR")) {
            if (file != null) return ipvm.fail("there are two headers", .{});
            file = .{ .header = try .parse(data) };
            continue;
        }
        const known = if (file) |*value| value else return ipvm.fail("the chunk {s} comes before the header", .{name});
        if (is(name, "PLTE")) {
            const fits = length > 0 and length % 3 == 0 and length <= 3 * 256;
            if (!fits) return ipvm.fail("a palette cannot have {d} bytes", .{length});
            known.palette = data;
        } else if (is(name, "tRNS")) {
            known.clear = data;
        } else if (is(name, "IDAT")) {
            try deflated.appendSlice(ipvm.allocator, data);
        } else if (is(name, "IEND")) {
            break;
        } else if (std.ascii.isUpper(name[0])) {
            return ipvm.fail("the chunk {s} is unknown, and the picture cannot be read without it", .{name});
        }
    }
    const found = &file.?;
    found.deflated = deflated.items;
    if (found.header.colour == 3 and found.palette.len == 0) return ipvm.fail("the palette is missing", .{});
    if (found.clear) |clear| {
        const fits = switch (found.header.colour) {
            0 => clear.len == 2,
            2 => clear.len == 6,
            3 => clear.len <= found.palette.len / 3,
            else => false,
        };
        if (!fits) return ipvm.fail("the transparency does not fit the colours", .{});
    }
    return found.*;
}

/// Return the rows as they are in the file: each is the number of its filter and its bytes.
fn inflate(file: File) ![]u8 {
    const size = file.header.height * (1 + file.header.rowBytes());
    const rows = try ipvm.allocator.alloc(u8, size);
    const mark = if (file.deflated.len < 2) 1 else std.mem.readInt(u16, file.deflated[0..2], .big);
    if (mark % 31 != 0 or mark & 32 != 0) return ipvm.fail("the compressed data does not begin like zlib's", .{});
    var input: std.Io.Reader = .fixed(file.deflated);
    var output: std.Io.Writer = .fixed(rows);
    var zlib: flate.Decompress = .init(&input, .zlib, &.{});
    const got = zlib.reader.streamRemaining(&output) catch |failure| switch (failure) {
        error.WriteFailed => return ipvm.fail("there is more data than {d} rows", .{file.header.height}),
        error.ReadFailed => return ipvm.fail("the compressed data is damaged or cut short", .{}),
    };
    if (got != size) {
        const whole = got / (1 + file.header.rowBytes());
        return ipvm.fail("the data ends after {d} of {d} rows", .{ whole, file.header.height });
    }
    var checksum: std.hash.Adler32 = .{};
    checksum.update(rows);
    if (checksum.adler != zlib.container_metadata.zlib.adler) {
        return ipvm.fail("the compressed data is damaged: its checksum is wrong", .{});
    }
    return rows;
}

/// Undo the filters, which replaced each byte by its difference from a guess.
fn unfilter(header: Header, rows: []u8) !void {
    const length = header.rowBytes();
    const step = @max(1, header.samples() * header.depth / 8);
    var above = try ipvm.allocator.alloc(u8, length);
    @memset(above, 0);
    for (0..header.height) |y| {
        const filter = rows[y * (1 + length)];
        const row = rows[y * (1 + length) + 1 ..][0..length];
        if (filter > 4) return ipvm.fail("row {d} has the unknown filter {d}", .{ y, filter });
        const start = @min(step, length);
        for (row[0..start], above[0..start]) |*byte, b| byte.* +%= guess(filter, 0, b, 0);
        switch (filter) {
            0 => {},
            inline 1...4 => |known| for (start..length) |i| {
                row[i] +%= guess(known, row[i - step], above[i], above[i - step]);
            },
            else => unreachable,
        }
        above = row;
    }
}

/// What a filter expects from the bytes to the left (a), above (b), and above to the left (c).
inline fn guess(filter: u8, a: u8, b: u8, c: u8) u8 {
    return switch (filter) {
        1 => a,
        2 => b,
        3 => @intCast((@as(u32, a) + b) / 2),
        4 => paeth(a, b, c),
        else => 0,
    };
}

/// Of the three the one that is nearest to a + b - c.
inline fn paeth(a: u8, b: u8, c: u8) u8 {
    const to_a = @abs(@as(i32, b) - c);
    const to_b = @abs(@as(i32, a) - c);
    const to_c = @abs(@as(i32, a) + b - 2 * @as(i32, c));
    return if (to_a <= to_b and to_a <= to_c) a else if (to_b <= to_c) b else c;
}

/// Return the picture in samples of 8 bits.
fn expand(file: File, rows: []const u8) !Picture {
    const header = file.header;
    const n = header.samples();
    const colours: usize = if (header.colour == 3) 3 else n;
    const picture = try Picture.init(header.width, header.height, colours + @intFromBool(file.clear != null));
    for (0..header.height) |y| {
        const from = rows[y * (1 + header.rowBytes()) + 1 ..][0..header.rowBytes()];
        const to = picture.row(y);
        if (header.depth == 8 and header.colour != 3 and file.clear == null) {
            @memcpy(to, from);
            continue;
        }
        for (0..header.width) |x| {
            const pixel = to[x * picture.channels ..][0..picture.channels];
            if (header.colour == 3) {
                const entry = sampleAt(from, x, header.depth);
                if (entry >= file.palette.len / 3) {
                    return ipvm.fail("a pixel has colour {d} of a palette of {d}", .{ entry, file.palette.len / 3 });
                }
                @memcpy(pixel[0..3], file.palette[entry * 3 ..][0..3]);
                if (file.clear) |clear| pixel[3] = if (entry < clear.len) clear[entry] else 255;
                continue;
            }
            var is_clear = true;
            for (0..n) |i| {
                const value = sampleAt(from, x * n + i, header.depth);
                pixel[i] = @intCast(if (header.depth == 16) value >> 8 else value * 255 / full(header.depth));
                if (file.clear) |clear| is_clear = is_clear and value == std.mem.readInt(u16, clear[2 * i ..][0..2], .big);
            }
            if (file.clear != null) pixel[n] = if (is_clear) 0 else 255;
        }
    }
    return picture;
}

fn sampleAt(row: []const u8, number: usize, depth: u8) u32 {
    if (depth == 16) return @as(u32, row[2 * number]) << 8 | row[2 * number + 1];
    const bit = number * depth;
    return (row[bit / 8] >> @intCast(8 - depth - bit % 8)) & full(depth);
}

/// The greatest value of so many bits.
fn full(depth: u8) u8 {
    return @truncate((@as(u32, 1) << @intCast(depth)) - 1);
}

// --- Writing ---

fn encode(picture: Picture) ![]const u8 {
    const colours: [4]u8 = .{ 0, 4, 2, 6 };
    var header: [13]u8 = .{ 0, 0, 0, 0, 0, 0, 0, 0, 8, colours[picture.channels - 1], 0, 0, 0 };
    std.mem.writeInt(u32, header[0..4], @intCast(picture.width), .big);
    std.mem.writeInt(u32, header[4..8], @intCast(picture.height), .big);

    var file: std.Io.Writer.Allocating = try .initCapacity(ipvm.allocator, picture.samples.len + 1024);
    try file.writer.writeAll(signature);
    try writeChunk(&file.writer, "IHDR", &header);
    try writeChunk(&file.writer, "IDAT", try deflate(picture));
    try writeChunk(&file.writer, "IEND", "");
    return file.written();
}

fn writeChunk(file: *std.Io.Writer, name: *const [4]u8, data: []const u8) !void {
    var crc: std.hash.Crc32 = .init();
    crc.update(name);
    crc.update(data);
    try file.writeInt(u32, @intCast(data.len), .big);
    try file.writeAll(name);
    try file.writeAll(data);
    try file.writeInt(u32, crc.final(), .big);
}

/// Filter each row in the way that leaves the smallest differences, and compress them all.
fn deflate(picture: Picture) ![]const u8 {
    const length = picture.width * picture.channels;
    const step = picture.channels;
    const scratch = try ipvm.allocator.alloc(u8, 7 * (length + 1));
    const nothing = scratch[6 * (length + 1) ..][0..length];
    @memset(nothing, 0);

    var output: std.Io.Writer.Allocating = try .initCapacity(ipvm.allocator, picture.samples.len + 1024);
    const window = try ipvm.allocator.alloc(u8, flate.max_window_len);
    const zlib = try ipvm.allocator.create(flate.Compress);
    zlib.* = try .init(&output.writer, window, .zlib, .level_5); // a third faster than 6, and 1 to 3 % larger
    for (0..picture.height) |y| {
        const row = picture.row(y);
        const above = if (y == 0) nothing else picture.row(y - 1);
        var best: []const u8 = &.{};
        var least: usize = std.math.maxInt(usize);
        inline for (0..5) |filter| {
            const tried = scratch[filter * (length + 1) ..][0 .. length + 1];
            tried[0] = filter;
            var sum: usize = 0;
            for (tried[1..], 0..) |*to, i| {
                const a = if (i < step) 0 else row[i - step];
                const c = if (i < step) 0 else above[i - step];
                to.* = row[i] -% guess(filter, a, above[i], c);
                sum += @abs(@as(i32, @as(i8, @bitCast(to.*))));
            }
            if (sum < least) {
                least = sum;
                best = tried;
            }
        }
        try zlib.writer.writeAll(best);
    }
    try zlib.finish();
    return output.written();
}

fn big(bytes: *const [4]u8) u32 {
    return std.mem.readInt(u32, bytes, .big);
}

fn is(name: *const [4]u8, other: *const [4]u8) bool {
    return std.mem.eql(u8, name, other);
}
