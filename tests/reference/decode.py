"""A slow, readable decoder of whole .qstore archives, in Python's standard library, written from native/FORMAT.md alone.

    python3 tests/reference/decode.py FILE.qstore OUTDIR [FOLDER OF THE BASE]

It restores the files of each variant into OUTDIR/VARIANT. It follows the text section by section, one element at a time, and shares
nothing with the C decoder or with decode.mjs beside it: what all three restore is what the format says.

zstd frames are decoded by the program `zstd`. XXH3 is in no standard library, so the checksums are not compared; the seals and the
SHA-256 of each file are, and they cover the same bytes.
"""

import hashlib
import math
import os
import struct
import subprocess
import sys
from ctypes import c_float
from functools import lru_cache
from itertools import accumulate

NONE = 0xFFFFFFFF


class FormatError(Exception):
    pass


def need(condition, message):
    if not condition:
        raise FormatError(message)


class Reader:
    """Little-endian integers, front to back."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(n <= len(self.data) - self.at, "the data ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def number(self, n):
        return int.from_bytes(self.take(n), "little")

    def u8(self):
        return self.number(1)

    def u16(self):
        return self.number(2)

    def u32(self):
        return self.number(4)

    def varint(self):
        value = 0
        for i in range(5):
            byte = self.u8()
            value |= (byte & 127) << 7 * i
            if byte < 128:
                need(value < 1 << 32, "a varint of more than 32 bits")
                return value
        raise FormatError("a varint of more than five bytes")

    def bits(self, widths):
        """Numbers of so many bits, the lowest bit first, back to back from the lowest bit of the next byte on."""
        total = sum(widths)
        word, values = self.number((total + 7) // 8), []
        for width in widths:
            values.append(word & (1 << width) - 1)
            word >>= width
        return values

    def end(self, name):
        need(self.at == len(self.data), f"{name} does not end where its size says")


@lru_cache(4096)
def zstd(frame):
    done = subprocess.run(["zstd", "-dcq"], input=frame, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    need(done.returncode == 0, "zstd refuses a frame")
    return done.stdout


def zstd_window(frame):
    """Bytes of the window of a zstd frame (RFC 8878, 3.1.1.1)."""
    need(len(frame) >= 6, "a zstd frame lacks its header")
    flags, window = frame[4], frame[5]
    if not flags >> 5 & 1:
        return ((8 + (window & 7)) << 10 + (window >> 3)) // 8
    # It is as large as the content.
    at, size = 5 + (0, 1, 2, 4)[flags & 3], 1 << (flags >> 6)
    return int.from_bytes(frame[at:at + size], "little") + (256 if size == 2 else 0)


def zstd_of_size(frame, size):
    out = zstd(bytes(frame))
    need(len(out) == size, "a zstd frame decodes to another size")
    return out


# ---- Floats ----

BYTES, U8, I8, F16, BF16, I32, F32, F64 = 0, 2, 3, 8, 9, 11, 12, 15
SIZES = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8, 1]
# Elements and bytes of a block, from dtype 18 on.
BLOCKS = [(32, 18), (32, 20), (32, 22), (32, 24), (32, 34), (32, 36), (256, 84), (256, 110), (256, 144), (256, 176), (256, 210),
          (256, 292), (256, 66), (256, 74), (256, 98), (256, 50), (32, 18), (256, 110), (256, 82), (256, 136), (256, 56),
          (256, 54), (256, 66), (32, 17), (2, 1), (2, 1)]
# Bits of the significand below the first one, and the pattern of infinity, of types of 16 bits.
FRACTION = {F16: 10, BF16: 7}
INFINITE = {F16: 0x7C00, BF16: 0x7F80}
LEAST_EXPONENT = {F16: -14, BF16: -126}


def size_of(dtype, elements):
    if dtype < len(SIZES):
        return elements * SIZES[dtype]
    need(dtype - len(SIZES) < len(BLOCKS), f"dtype {dtype}")
    of, size = BLOCKS[dtype - len(SIZES)]
    need(elements % of == 0, "blocks that are not whole")
    return elements // of * size


def single(x):
    """A double, rounded to a single: one operation on singles is a double's operation rounded once more."""
    return c_float(x).value


def divide(a, b):
    if b == 0 or math.isnan(a) or math.isnan(b):
        return math.nan if a == 0 or math.isnan(a) or math.isnan(b) else math.copysign(math.inf, a) * math.copysign(1, b)
    return single(a / b)


def multiply(a, b):
    return single(a * b)


def single_of(pattern):
    return struct.unpack("<f", struct.pack("<I", pattern & 0xFFFFFFFF))[0]


def pattern_of(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def magnitude_value(dtype, m):
    """v(m), with exponents that go on where the type's have ended."""
    fraction = FRACTION[dtype]
    exponent, low = m >> fraction, m & (1 << fraction) - 1
    if exponent == 0:
        return math.ldexp(low, LEAST_EXPONENT[dtype] - fraction)
    return math.ldexp((1 << fraction) + low, LEAST_EXPONENT[dtype] - fraction + exponent - 1)


def rounded(dtype, x):
    """x rounded to the type: half to even, subnormals kept, exponents without an upper end."""
    if x == 0 or math.isinf(x) or math.isnan(x):
        return x
    exponent = max(math.frexp(x)[1] - 1, LEAST_EXPONENT[dtype])
    unit = exponent - FRACTION[dtype]
    return math.ldexp(round(math.ldexp(x, -unit)), unit)


def magnitude_of(dtype, x):
    """The magnitude of a value of the type that is not negative, with exponents without an upper end."""
    if x == 0:
        return 0
    fraction, least = FRACTION[dtype], LEAST_EXPONENT[dtype]
    exponent = math.frexp(x)[1] - 1
    if exponent < least:
        return int(math.ldexp(x, fraction - least))
    return (exponent - least + 1 << fraction) + int(math.ldexp(x, fraction - exponent)) - (1 << fraction)


def half(x):
    """x rounded to FP16, which ends at infinity."""
    y = rounded(F16, x)
    return math.copysign(math.inf, y) if abs(y) >= 65536 else y


def half_value(pattern, not_finite=math.nan):
    m = pattern & 0x7FFF
    value = magnitude_value(F16, m) if m < INFINITE[F16] else not_finite
    return -value if pattern & 0x8000 else value


def floats(dtype, data):
    """Scales: singles."""
    if dtype == F32:
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    if dtype == F64:
        return [single(x) for x in struct.unpack(f"<{len(data) // 8}d", data)]
    patterns = struct.unpack(f"<{len(data) // 2}H", data)
    return [half_value(p) if dtype == F16 else single_of(p << 16) for p in patterns]


# ---- 1 and 2: container and index ----

class Record:
    def __init__(self, names, values):
        self.__dict__.update(zip(names.split(), values))


# Each array of records: its name, struct's format, its fields (_: reserved, or not needed), and the offsets of the fields that
# are differences in columns.
ARRAYS = [
    ("variants", "<4I3Q24s", "name dtype coarser _ layer_offset layer_size raw_size _", []),
    ("files", "<IIQ32s4IQQ", "name variants size sha256 kind first_extent n_extents _ offset coded_size", [0, 52]),
    ("extents", "<IIQQ", "object _ offset size", [0]),
    ("tensors", "<IIQQ4I", "name file offset size dtype first_dim n_dims object", [0, 8, 28, 36]),
    ("objects", "<4BIIfQQ4IQQIIQQiI", "kind dtype variant rule coarse scales error elements columns E first_chunk n_chunks zero_points "
     "offset coded_size order group row_stride group_stride zero_offset first_part", [4, 8, 36, 48, 92]),
    ("parts", "<Q", "checksum", None),
    ("seals", "<16s", "digest", None),
    ("checksums", "<I", "low", None),
    ("sizes", "<I", "value", []),
    ("dims", "<Q", "value", []),
]


def body_of_columns(body, counts):
    """Section 2.2, Columns: the body as records."""
    out, reader = [body[:64]], Reader(body)
    reader.take(64)
    for name, layout, _, differences in ARRAYS:
        n, width = counts[name], struct.calcsize(layout)
        data = reader.take(n * width)
        if differences is not None:
            data = bytes(data[byte * n + record] for record in range(n) for byte in range(width))
            records = bytearray(data)
            for at in differences:
                value = 0
                for i in range(at, n * width, width):
                    value = value + int.from_bytes(data[i:i + 4], "little") & 0xFFFFFFFF
                    records[i:i + 4] = value.to_bytes(4, "little")
            data = bytes(records)
        out.append(data)
    return b"".join(out) + reader.rest()


class Index:
    def __init__(self, archive):
        tar = archive[:512]
        need(tar[:13] == b"qstore/index\0", "no member qstore/index at the start")
        size = int(tar[124:136].strip(b" \0"), 8)
        data = Reader(archive[512:512 + size])
        need(data.take(8) == b"\x89QSTORE\n", "not a qstore index")
        major, _, flags = data.u16(), data.u16(), data.u32()
        coded_size, body_size, _, payload_size, draft, reserved, _ = struct.unpack("<4QIIQ", data.take(48))
        need(major == 1 and draft == 3, "another version of the format")
        need(flags < 2 and reserved == 0, "a reserved field")
        body = data.take(coded_size)
        data.end("the index")
        if flags & 1:
            body = zstd_of_size(body, body_size)
        need(len(body) == body_size, "the body of the index has another size")
        names = "variants files extents tensors objects checksums dims strings parts seals".split()
        counts = dict(zip(names, struct.unpack("<10I", body[:40])))
        counts["sizes"] = counts["checksums"]
        need(not any(body[40:64]), "a reserved count")
        if flags & 1:
            body = body_of_columns(body, counts)
        reader = Reader(body)
        reader.take(64)
        for name, layout, fields, _ in ARRAYS:
            records = struct.iter_unpack(layout, reader.take(counts[name] * struct.calcsize(layout)))
            setattr(self, name, [Record(fields, values) for values in records])
        self.strings = reader.take(counts["strings"])
        reader.end("the body of the index")
        start = (512 + size + 511) // 512 * 512
        self.payload = archive[start:]
        need(len(self.payload) == payload_size, "the payload has another size")
        self.check_seals()

    def text(self, name):
        return self.strings[name:self.strings.index(0, name)].decode()

    def check_seals(self):
        """Section 2.5: a stretch ends with the chunk that brings it to 163,840 coded bytes, and with its layer."""
        stretches, variant = [], None
        for o in self.objects:
            at = o.offset
            for size in self.sizes[o.first_chunk:o.first_chunk + o.n_chunks]:
                if o.variant != variant or len(stretches[-1]) >= 163840:
                    stretches.append(b"")
                    variant = o.variant
                stretches[-1] += self.payload[at:at + size.value]
                at += size.value
        need([s.digest for s in self.seals] == [hashlib.sha256(s).digest()[:16] for s in stretches], "a seal is not that of its chunks")


# ---- 3.1: symbol blocks ----

def symbol_block(reader, n, sparse=True):
    kind = reader.u8()
    if kind == 0:
        return reader.take(n)
    if kind == 1:
        return reader.take(1) * n
    if kind == 2:
        return huffman(reader, n)
    if kind == 3:
        return zstd_of_size(reader.take(reader.varint()), n)
    if kind == 4 and sparse:
        return sparse_block(reader, n)
    if kind == 5:
        return ans(reader, n)
    raise FormatError(f"a symbol block of type {kind}")


def sparse_block(reader, n):
    out = bytearray(reader.take(1) * n)
    count = reader.varint()
    need(count <= 65536, "too many gaps")
    gaps = symbol_block(reader, count, False)
    others = iter(symbol_block(reader, sum(gap < 255 for gap in gaps), False))
    at = 0
    for gap in gaps:
        at += gap
        if gap < 255:
            need(at < n, "a gap leaves the block")
            out[at] = next(others)
            at += 1
    return bytes(out)


def raw_bits(reader, n, r):
    """The lowest r bits of n symbols."""
    values = [0] * n
    for start in range(0, n - n % 128, 128):
        below = 0
        for width in (4, 2, 1):
            if r & width:
                plane = reader.take(16 * width)
                for i in range(128):
                    f, byte = divmod(i, 16 * width)
                    values[start + i] |= (plane[byte] >> f * width & (1 << width) - 1) << below
                below += width
    values[n - n % 128:] = reader.bits([r] * (n % 128))
    return values


def joined_bytes(top, raw, r, zigzag):
    out = bytearray()
    for t, low in zip(top, raw):
        u = t << r | low
        out.append(((u >> 1) ^ -(u & 1)) & 255 if zigzag else u)
    return bytes(out)


def top_range(reader):
    head, first, last = reader.u8(), reader.u8(), reader.u8()
    need(first <= last < 256 >> (head & 7), "a range of symbols that does not fit")
    return head & 7, head >> 3 & 1, head >> 4, first, last


def huffman(reader, n):
    r, zigzag, reserved, first, last = top_range(reader)
    need(reserved == 0, "a reserved bit of a Huffman block")
    if first == last:
        return joined_bytes([first] * n, raw_bits(reader, n, r), r, zigzag)
    count = last - first + 1
    lengths = reader.bits([4] * (count + count % 2))
    raw = raw_bits(reader, n, r)
    codes, code, length = {}, 0, 0
    for size, symbol in sorted((size, first + i) for i, size in enumerate(lengths) if size):
        code <<= size - length
        length = size
        codes[size, code] = symbol
        code += 1
    need(len(codes) >= 2 and code == 1 << length, "a prefix code that is not complete")
    nodes = sorted({(depth, code >> size - depth) for size, code in codes for depth in range(size)})
    top = []
    for start in range(0, n, 65536):
        top += segment(reader, min(65536, n - start), nodes, codes)
    return joined_bytes(top, raw, r, zigzag)


def segment(reader, n, nodes, codes):
    symbols, at, bit = [0] * n, {(0, 0): list(range(n))}, 8 * reader.at
    for depth, prefix in nodes:
        members = at.get((depth, prefix), [])
        if len(members) >= 64:
            bit = (bit + 7) // 8 * 8
        need(bit + len(members) <= 8 * len(reader.data), "the data ends too early")
        for i in members:
            code = depth + 1, prefix << 1 | reader.data[bit >> 3] >> (bit & 7) & 1
            bit += 1
            if code in codes:
                symbols[i] = codes[code]
            else:
                at.setdefault(code, []).append(i)
    reader.at = (bit + 7) // 8
    return symbols


def ans(reader, n):
    r, zigzag, log, first, last = top_range(reader)
    need(5 <= log <= 12, "the log of a table of ANS")
    count = last - first + 1
    forms = reader.bits([4] * (count + count % 2))
    bits = iter(reader.bits([1] * sum(form - 1 for form in forms if form)))
    frequencies = []
    for form in forms:
        need(form <= log, "a frequency of too many bits")
        f = 1 if form else 0
        for _ in range(form - 1):
            f = f << 1 | next(bits)
        frequencies.append(f)
    need(sum(frequencies) == 1 << log, "frequencies that do not fill the table")
    table = [(first + i, f, sum(frequencies[:i])) for i, f in enumerate(frequencies) for _ in range(f)]
    size = reader.varint()
    raw = raw_bits(reader, n, r)
    coded = Reader(reader.take(size))
    n_lanes = 8 if n < 65536 else 32
    states, top = [coded.u32() for _ in range(n_lanes)], []
    for j in range(n):
        state = states[j % n_lanes]
        slot = state & (1 << log) - 1
        symbol, f, begin = table[slot]
        state = f * (state >> log) + slot - begin
        states[j % n_lanes] = state << 16 | coded.u16() if state < 65536 else state
        top.append(symbol)
    need(all(state == 65536 for state in states), "lanes that do not end where they began")
    coded.end("an ANS block")
    return joined_bytes(top, raw, r, zigzag)


# ---- 2.4: grids ----

# Levels, elements of a group, and bytes of a record with its number of groups, by rules 7 to 13.
GGML = {7: (16, 32), 8: (32, 32), 9: (16, 32, 4, 1), 10: (32, 32, 4, 1), 11: (16, 32, 16, 8), 12: (32, 32, 16, 8), 13: (64, 16, 18, 16)}
ADDING = {14: 256, 15: 16, 16: 256, 17: 16}


def record_scales(rule, record):
    """Scales s and offsets o of a record."""
    u16 = [a | b << 8 for a, b in zip(record[::2], record[1::2])]
    if rule in (9, 10):
        return [(half_value(u16[0]), half_value(u16[1]))]
    if rule == 13:
        d = half_value(u16[8])
        return [(multiply(d, (a ^ 128) - 128), 0.0) for a in record[:16]]
    d, e, p = half_value(u16[0]), half_value(u16[1]), record[4:]
    out = []
    for j in range(8):
        a, b = (p[j] % 64, p[j + 4] % 64) if j < 4 else (p[j + 4] % 16 + 16 * (p[j - 4] // 64), p[j + 4] // 16 + 16 * (p[j] // 64))
        out.append((multiply(d, a), -multiply(e, b)))
    return out


class Grid:
    def __init__(self, index, codes, decode):
        self.rule, self.dtype, self.o = codes.rule, codes.dtype, codes
        scales = index.objects[codes.scales]
        data = decode(codes.scales)
        if self.rule in range(9, 14):
            size = GGML[self.rule][2]
            self.scales = [pair for at in range(0, len(data), size) for pair in record_scales(self.rule, data[at:at + size])]
        else:
            self.scales = [(s, 0.0) for s in floats(scales.dtype, data)]
        self.zeros = None if codes.zero_points == NONE else decode(codes.zero_points)
        order = None if codes.order == NONE else decode(codes.order)
        self.order = order and struct.unpack(f"<{len(order) // 4}i", order)

    def group(self, column):
        return self.order[column] if self.order else column // self.o.group

    def number(self, element):
        row, column = divmod(element, self.o.columns)
        return row * self.o.row_stride + self.group(column) * self.o.group_stride

    def zero(self, number):
        z = self.zeros[number] if self.zeros else 0
        return (z - 256 if self.dtype == I8 and z > 127 else z) + self.o.zero_offset

    def slope_and_start(self, element):
        """Section 3.6: the code q stands for q × slope + start."""
        number = self.number(element)
        s, o = self.scales[number]
        slope = divide(s, 127.0) if self.rule in (1, 5) else s
        z = {7: 8, 8: 16, 13: 32}.get(self.rule, 0 if self.rule in range(9, 13) else self.zero(number))
        return slope, single(o - multiply(z, slope))


# ---- 3.4: cells. A cell is (first, n, sign). ----

def least(low, high, reaches):
    """The least number from low on that reaches, or high."""
    while low < high:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle + 1
    return low


def away(x):
    return math.floor(x + 0.5) if math.isfinite(x) else x


class Symmetric:
    """Rules 1 to 6 under one scale; its values are of the type dtype."""

    def __init__(self, rule, dtype, s, z, signed, shift, shared):
        self.rule, self.dtype, self.s, self.z, self.signed, self.shared = rule, dtype, s, z, signed, shared
        self.usable = (0 < s <= 65504 if rule == 1 else 2.0 ** -119 < s < math.inf) and -128 <= z <= 255
        if not self.usable:
            return
        f = {1: lambda: divide(127.0, s), 5: lambda: divide(1.0, divide(s, 127.0)), 3: lambda: s, 4: lambda: s}.get(
            rule, lambda: divide(1.0, s))()
        self.f = single_of(pattern_of(f) + shift)
        self.end = least(0, INFINITE[dtype], lambda m: math.isinf(self.h(m))) if rule == 1 else INFINITE[dtype]
        self.limit = None
        if rule in (1, 5):
            self.limit = least(0, self.end, lambda m: self.h(m) > s)
        self.above = min(255, max(0, (127 if signed else 255) - z))
        self.firsts = {}

    def h(self, m):
        v = magnitude_value(self.dtype, m)
        return half(v) if self.rule == 1 else v

    def reaches(self, v, k):
        """Q of the value is at least k."""
        x = divide(v, self.f) if self.rule in (3, 4) else multiply(v, self.f)
        if math.isnan(x):
            return False
        if self.rule == 4:
            x = rounded(self.dtype, x)
        if math.isinf(x):
            return x > 0
        return (away(x) if self.rule in (5, 6) else round(x)) >= k

    def first(self, k):
        if k not in self.firsts:
            self.firsts[k] = self.find_first(k)
        return self.firsts[k]

    def find_first(self, k):
        if self.limit is not None and k >= 128:
            return self.limit
        first = least(0, self.end, lambda m: self.reaches(self.h(m), k))
        if self.limit is not None:
            first = min(first, self.limit)
        if self.shared and 0 < first < self.end:
            x = (magnitude_value(self.dtype, first - 1) + magnitude_value(self.dtype, first)) / 2
            if self.rule == 1 and self.dtype == BF16:
                x = half(x)
            if self.reaches(x, k):
                first -= 1
        return first

    def cell(self, code):
        """The cell of a code, a byte; None for index 0."""
        i = (code - self.z) & 255
        if i == 0 or not self.usable:
            return None
        k, sign = (i, 0) if i <= self.above else (256 - i, 1)
        last = k == (255 - self.above if sign else self.above) or (sign and k == 127 and self.z == 0 and self.signed)
        first = self.first(k)
        return first, self.first(k + 2 if last else k + 1) - first, sign


class Bordered:
    """Rules 7 to 17 under one scale and offset."""

    def __init__(self, rule, dtype, s, o, z, signed, shift):
        self.rule, self.dtype, self.signed = rule, dtype, signed
        self.levels = ADDING[rule] if rule in ADDING else GGML[rule][0]
        self.z = z if signed or rule not in ADDING else z - self.levels // 2
        self.flip = s < 0 and rule in (7, 8, 13)
        self.s, self.o = (-s if self.flip else s), o
        self.usable = 2.0 ** -119 < self.s <= 2.0 ** 100 and abs(o) <= 2.0 ** 100
        if rule in ADDING:
            self.usable = self.usable and -self.levels // 2 <= self.z < self.levels // 2
        if not self.usable:
            return
        if shift not in (None, -128) and rule in (9, 10):
            self.shift_scale(shift)
        self.borders, self.end = {}, INFINITE[dtype]
        zero = [c for c in range(self.levels) if self.border(c) <= 0 < self.border(c + 1)]
        self.zero_point = zero[0] if zero else 128

    def shift_scale(self, shift):
        t = rounded(self.dtype, single(multiply(self.levels - 1, self.s) + self.o))
        m = int(math.copysign(magnitude_of(self.dtype, abs(t)), t)) + shift
        if abs(m) >= INFINITE[self.dtype]:
            return
        s = divide(single(self.value(m) - self.o), float(self.levels - 1))
        if self.s / 2 <= s <= 2 * self.s:
            self.s = s

    def value(self, place):
        return math.copysign(magnitude_value(self.dtype, abs(place)), place)

    def x(self, w):
        s, o = self.s, self.o
        if self.rule in (7, 8):
            return single(multiply(w, divide(1.0, s)) + (8.5 if self.rule == 7 else 16.5))
        if self.rule in (9, 10):
            return single(multiply(single(w - o), divide(1.0, s)) + 0.5)
        if self.rule in (11, 12):
            return divide(single(w - o), s)
        if self.rule == 13:
            return divide(w, s)
        if self.rule in (14, 15):
            return rounded(self.dtype, single(rounded(self.dtype, divide(w, s)) + self.z))
        return single(divide(w, s) + self.z)

    def reaches(self, place, c):
        x = self.x(self.value(place))
        if self.rule <= 10:
            return x >= (-0.75 if c == 0 else self.levels + 0.75 if c == self.levels else c)
        middle = {13: 32, 11: 0, 12: 0}.get(self.rule, self.levels // 2)
        k = c - middle
        if c == 0:
            return x >= k - 1.25
        if c == self.levels:
            return x >= k + 0.25
        return x > k - 0.5 or (c % 2 == 0 and x == k - 0.5)

    def border(self, c):
        if c not in self.borders:
            self.borders[c] = least(1 - self.end, self.end, lambda place: self.reaches(place, c))
        return self.borders[c]

    def cell(self, code):
        if not self.usable:
            return None
        c = (code + 128) & 255 if self.signed and self.rule in (14, 16) else code
        need(c < self.levels, "a code that is not below the levels")
        if c == self.zero_point:
            return None
        low, high = self.border(c), self.border(c + 1)
        return (low, high - low, self.flip) if low > 0 else (1 - high, high - low, not self.flip)


@lru_cache(65536)
def cells(rule, dtype, s, o, z, signed, shift, shared):
    if rule <= 6:
        return Symmetric(rule, dtype, s, z, signed, shift or 0, shared)
    return Bordered(rule, dtype, s, o, z, signed, shift)


@lru_cache(65536)
def with_factor(dtype, factor_dtype, factor, m):
    """P(M): the least magnitude of the type dtype whose product with the factor is at or above the border below M."""
    m = min(m, INFINITE[factor_dtype])
    b = (magnitude_value(factor_dtype, m - 1) + magnitude_value(factor_dtype, m)) / 2
    if m % 2:
        b = single_of(pattern_of(b) + 1)
    quotient = divide(b, factor)
    return least(0, INFINITE[dtype], lambda x: magnitude_value(dtype, x) >= quotient)


class Chunk:
    """What decoding a chunk takes: its object, the number of its first element, its elements, and the coarse object's part."""

    def __init__(self, index, number, first, n, decode):
        self.index, self.o, self.first, self.n, self.decode = index, index.objects[number], first, n, decode
        self.dtype, self.columns = self.o.dtype, self.o.columns
        self.rows = range(first // self.columns, (first + n - 1) // self.columns + 1)
        self.coarse_object = None if self.o.coarse == NONE else index.objects[self.o.coarse]

    def coarse(self):
        size = SIZES[self.coarse_object.dtype]
        return self.decode(self.o.coarse)[self.first * size:(self.first + self.n) * size]

    @property
    def whole_rows(self):
        return self.first % self.columns == 0 and self.n % self.columns == 0


def coded_order(chunk, grid, factors):
    n, columns = chunk.n, chunk.columns
    if factors or not chunk.whole_rows or n // columns < 2 or columns < 2:
        return range(n), False
    if grid.o.group == 1 and grid.o.row_stride == 0 and not grid.order:
        return [row + column for column in range(columns) for row in range(0, n, columns)], True
    if grid.order and columns <= 65536 and grid.o.group <= 65536:
        one = sorted(range(columns), key=lambda column: grid.order[column])
        return [row + column for row in range(0, n, columns) for column in one], False
    return range(n), False


def ranks(chunk, reader):
    n, dtype, first, columns = chunk.n, chunk.dtype, chunk.first, chunk.columns
    need(chunk.o.kind == 2, "ranks of an object that is not refined")
    grid = Grid(chunk.index, chunk.coarse_object, chunk.decode)
    factors, factor_dtype = None, dtype
    if chunk.o.scales != NONE:
        factor_dtype = chunk.index.objects[chunk.o.scales].dtype
        factors = [f if 0 < f < math.inf else 1.0 for f in floats(factor_dtype, chunk.decode(chunk.o.scales))]
    flags = reader.u8()
    need(flags < 32, "a flag of ranks that is not known")
    exceptions = []
    if flags & 2:
        part = Reader(reader.take(reader.varint()))
        position = -1
        for _ in range(part.varint()):
            position += part.varint() + 1
            exceptions.append((position, part.u16()))
        part.end("the list of exceptions")
    codes = chunk.coarse()
    if flags & 4:
        codes = bytes(a + b & 255 for a, b in zip(codes, symbol_block(reader, n)))
    order, by_column = coded_order(chunk, grid, factors)
    shifts = [None] * n
    if flags & 8:
        runs, before = [], None
        for i in order:
            row, column = divmod(first + i, columns)
            run = column if by_column else (row, grid.group(column))
            runs.append((runs[-1] + (run != before)) if runs else 0)
            before = run
        signed = [(byte ^ 128) - 128 for byte in symbol_block(reader, runs[-1] + 1)]
        for i, run in zip(order, runs):
            shifts[i] = signed[run]
    shared = bool(flags & 16)
    found = []
    for i in order:
        number = grid.number(first + i)
        s, o = grid.scales[number]
        of = cells(grid.rule, factor_dtype, s, o, grid.zero(number), grid.dtype == I8, shifts[i], shared)
        cell = of.cell(codes[i])
        if cell:
            begin, size, sign = cell
            size = max(size, 1)
            if factors:
                f = factors[(first + i) % columns]
                begin, end = (with_factor(dtype, factor_dtype, f, m) for m in (begin, begin + size))
                size = max(end - begin, 1)
            cell = begin, size, sign
        found.append(cell)
    n_escapes = reader.varint()
    escapes = iter(())
    if n_escapes:
        escapes = iter(struct.unpack(f"<{n_escapes}H", planes(reader, n_escapes, 2, True)))
    need(sum(cell is None for cell in found) == n_escapes, "another number of escapes")
    shared_bits, n_shared = reader.take(reader.varint()) if shared else b"", 0
    n_lanes = 64 if flags & 1 else 8
    extra = reader.bits([4] * n_lanes)
    states = [(1 << 16 + b) + low for b, low in zip(extra, reader.bits([16 + b for b in extra]))]
    out = [0] * n
    for j, (i, cell) in enumerate(zip(order, found)):
        size = cell[1] if cell else 1
        frequency = min(65535, 65536 // size)
        state = states[j % n_lanes]
        rank, low = divmod(state & 65535, frequency)
        state = frequency * (state >> 16) + low
        states[j % n_lanes] = state << 16 | reader.u16() if state < 65536 else state
        if cell is None:
            out[i] = next(escapes)
            continue
        if shared and rank == 0:
            need(n_shared < 8 * len(shared_bits), "too few bits of shared borders")
            if shared_bits[n_shared >> 3] >> (n_shared & 7) & 1:
                rank = size
            n_shared += 1
        out[i] = (cell[0] + rank | (0x8000 if cell[2] else 0)) & 0xFFFF
    need(all(state == 65536 for state in states), "lanes that do not end where they began")
    need(not shared or (n_shared + 7) // 8 == len(shared_bits), "bits of shared borders that are not used")
    for position, value in exceptions:
        out[position] = value
    return struct.pack(f"<{n}H", *out)


# ---- 3.2, 3.3 and 3.5 to 3.11: the other modes ----

def planes(reader, n, size, rotated):
    blocks = [symbol_block(reader, n) for _ in range(size)]
    top = 8 * size - 1
    out = []
    for element in zip(*blocks):
        value = int.from_bytes(bytes(element), "big")
        if rotated:
            value = value >> 1 | (value & 1) << top
        out.append(value.to_bytes(size, "little"))
    return b"".join(out)


def codes_body(reader, first, n, columns):
    classes = reader.u8()
    need(1 <= classes <= 16, "classes of codes")
    rows = {}
    for element in range(first, first + n):
        row = element // columns
        rows[row] = rows.get(row, 0) + 1
    kinds = symbol_block(reader, len(rows)) if classes > 1 else bytes(len(rows))
    need(max(kinds) < classes, "a class of a row that is not there")
    parts = {}
    for kind in range(classes):
        mine = [row for row, k in zip(rows, kinds) if k == kind]
        data = Reader(symbol_block(reader, sum(rows[row] for row in mine)))
        for row in mine:
            parts[row] = data.take(rows[row])
    return b"".join(parts[row] for row in rows)


def recoded(chunk, reader):
    differences = codes_body(reader, chunk.first, chunk.n, chunk.columns)
    own, other = (Grid(chunk.index, o, chunk.decode) for o in (chunk.o, chunk.coarse_object))
    low, high = (-128, 127) if chunk.dtype == I8 else (0, 255)
    rule = chunk.o.rule
    high = min(high, (ADDING[rule] if rule in ADDING else GGML[rule][0] if rule in GGML else 256) - 1)
    out = bytearray()
    for i, (q, difference) in enumerate(zip(chunk.coarse(), differences)):
        if other.dtype == I8:
            q = (q ^ 128) - 128
        slope, start = other.slope_and_start(chunk.first + i)
        x = single(multiply(q, slope) + start)
        slope, start = own.slope_and_start(chunk.first + i)
        x = divide(single(x - start), slope)
        out.append(low + difference & 255 if math.isnan(x) else round(min(max(x, low), high)) + difference & 255)
    return bytes(out)


def ordered(x, bits):
    """o(x): it rises with the value, and is its own inverse."""
    return x if x >> bits - 1 == 0 else x ^ (1 << bits - 1) - 1


def unzigzag(u, bits):
    return ((u >> 1) ^ -(u & 1)) & (1 << bits) - 1


def single_pattern(dtype, c):
    """A coarse element as a single."""
    if dtype == BF16:
        return c << 16
    if dtype == F32:
        return c
    if dtype == F16:
        return pattern_of(single_of((c & 0x7FFF) << 13) * 2.0 ** 112) | (c & 0x8000) << 16
    sign = c >> 63 << 31
    value = struct.unpack("<d", struct.pack("<Q", c))[0]
    return 0x7FC00000 | sign if math.isnan(value) else pattern_of(single(value))


def cast(dtype, coarse_dtype, c):
    if dtype == coarse_dtype:
        return c
    pattern = single_pattern(coarse_dtype, c)
    sign, magnitude = pattern >> 31, pattern & 0x7FFFFFFF
    nan = magnitude > 0x7F800000
    if dtype == F32:
        return pattern
    if dtype == F64:
        return 0x7FF8 << 48 | sign << 63 if nan else struct.unpack("<Q", struct.pack("<d", single_of(pattern)))[0]
    if nan:
        return pattern >> 16 | 0x40 if dtype == BF16 else 0x7E00 | sign << 15
    value = single_of(magnitude)
    if math.isinf(value):
        m = INFINITE[dtype]
    else:
        m = min(magnitude_of(dtype, rounded(dtype, value)), INFINITE[dtype])
    return m | sign << 15


def delta(chunk, reader):
    size = SIZES[chunk.dtype]
    need(chunk.o.kind == 3, "a delta of an object of another kind")
    coarse_dtype, coarse, bits = chunk.coarse_object.dtype, Reader(chunk.coarse()), 8 * size
    data, out = Reader(planes(reader, chunk.n, size, False)), []
    for _ in range(chunk.n):
        c = cast(chunk.dtype, coarse_dtype, coarse.number(SIZES[coarse_dtype]))
        d = unzigzag(data.number(size), bits)
        out.append(ordered(ordered(c, bits) + d & (1 << bits) - 1, bits).to_bytes(size, "little"))
    return b"".join(out)


def records(chunk, reader):
    need(chunk.dtype == BYTES and chunk.columns <= 64 and chunk.whole_rows, "records of an object of another kind")
    blocks = [symbol_block(reader, chunk.n // chunk.columns) for _ in range(chunk.columns)]
    return bytes(byte for row in zip(*blocks) for byte in row)


def centred(chunk, reader):
    flags = reader.u8()
    need(flags < 2, "a flag of centred codes that is not known")
    centres = symbol_block(reader, len(chunk.rows) if flags else chunk.columns)
    distances = codes_body(reader, chunk.first, chunk.n, chunk.columns)
    out = bytearray()
    for i, distance in enumerate(distances):
        row, column = divmod(chunk.first + i, chunk.columns)
        out.append(centres[row - chunk.rows[0] if flags else column] + distance & 255)
    return bytes(out)


def peaks(chunk, reader):
    head, centre = reader.u8(), reader.u8()
    size, count = 1 << (head & 15), (head >> 4) + 1
    need(32 <= size <= 128 and count <= 2, "peaks of groups that are not known")
    need(not (chunk.n % size or chunk.first % size or chunk.columns % size), "groups that are not whole")
    found = []
    for _ in range(count):
        n_values = reader.u8()
        need(n_values <= 256 // size, "too many values of peaks")
        values = reader.take(n_values)
        found.append([(values[p // size], p % size) for p in symbol_block(reader, chunk.n // size)])
    first, n, columns = (x - x * count // size for x in (chunk.first, chunk.n, chunk.columns))
    others = iter(codes_body(reader, first, n, columns))
    out = bytearray()
    for group in zip(*found):
        at = {place: value for value, place in group}
        need(len(at) == count, "two peaks at one place")
        for place in range(size):
            out.append(at[place] if place in at else next(others) + centre & 255)
    return bytes(out)


def folded(chunk, reader):
    g = reader.u8()
    need(6 <= g <= 16, "rows of folded codes")
    return codes_body(reader, 0, chunk.n, 1 << g)


def by_columns(chunk, reader):
    size, columns = SIZES[chunk.dtype], chunk.columns
    bits, rows = 8 * size, chunk.n // columns
    need(chunk.whole_rows, "columns of rows that are not whole")
    data = planes(reader, chunk.n, size, False)
    out = [b""] * chunk.n
    for column in range(columns):
        before = 0
        for row in range(rows):
            at = (column * rows + row) * size
            d = unzigzag(int.from_bytes(data[at:at + size], "little"), bits)
            before = ordered(ordered(before, bits) + d & (1 << bits) - 1, bits)
            out[row * columns + column] = before.to_bytes(size, "little")
    return b"".join(out)


def decode_chunk(chunk, coded):
    reader, size = Reader(coded), SIZES[chunk.dtype]
    mode, n = reader.u8(), chunk.n
    modes = {
        0: lambda: reader.take(n * size),
        1: lambda: zstd_of_size(reader.rest(), n * size),
        2: lambda: planes(reader, n, size, chunk.dtype in (F16, BF16, F32, F64)),
        3: lambda: codes_body(reader, chunk.first, n, chunk.columns),
        4: lambda: ranks(chunk, reader),
        5: lambda: delta(chunk, reader),
        6: lambda: recoded(chunk, reader),
        7: lambda: records(chunk, reader),
        8: lambda: centred(chunk, reader),
        9: lambda: peaks(chunk, reader),
        10: lambda: folded(chunk, reader),
        11: lambda: by_columns(chunk, reader),
    }
    need(mode in modes, f"a chunk of mode {mode}")
    out = modes[mode]()
    reader.end(f"a chunk of mode {mode}")
    return out


# ---- 2.3: layouts ----

Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K = 18, 19, 20, 21, 22, 26, 27, 28
INTERLEAVED = [0, 4, 1, 5, 2, 6, 3, 7]


def nibbles(low, high):
    return bytes((a & 15) | (b & 15) << 4 for a, b in zip(low, high))


def block(dtype, s, c):
    """A block's bytes, from its share of the scales and its codes."""
    if dtype == Q8_0:
        return s + c
    if dtype in (Q4_0, Q4_1):
        return s + nibbles(c[:16], c[16:])
    if dtype in (Q5_0, Q5_1):
        return s + sum((code >> 4) << i for i, code in enumerate(c)).to_bytes(4, "little") + nibbles(c[:16], c[16:])
    if dtype in (Q4_K, Q5_K):
        high = b"" if dtype == Q4_K else bytes(sum((c[32 * j + i] >> 4) << j for j in range(8)) for i in range(32))
        return s + high + b"".join(nibbles(c[i:i + 32], c[i + 32:i + 64]) for i in range(0, 256, 64))
    low, high = b"", b""
    for part in (c[:128], c[128:]):
        a = [part[i:i + 32] for i in range(0, 128, 32)]
        low += nibbles(a[0], a[2]) + nibbles(a[1], a[3])
        high += bytes(sum((a[j][i] >> 4) << 2 * j for j in range(4)) for i in range(32))
    return low + high + s


def blocks(index, layout, decode):
    codes_object = index.objects[layout.coarse]
    scales_object, codes, scales = index.objects[codes_object.scales], decode(layout.coarse), decode(codes_object.scales)
    of, size = BLOCKS[layout.dtype - len(SIZES)]
    if layout.dtype == Q8_0 and codes_object.rule == 5:
        d = [half(divide(s, 127.0)) for s in floats(scales_object.dtype, scales)]
        scales = struct.pack(f"<{len(d)}e", *d)
    share = len(scales) * of // len(codes)
    return b"".join(block(layout.dtype, scales[i // of * share:][:share], codes[i:i + of]) for i in range(0, len(codes), of))


def word(codes, bits):
    return sum(code << bits * i for i, code in enumerate(codes)).to_bytes(4, "little")


def layout_bytes(index, layout, decode):
    if layout.rule == 1:
        return blocks(index, layout, decode)
    data, columns, source = decode(layout.coarse), layout.columns, index.objects[layout.coarse]
    if layout.rule == 2:
        count = 32 // layout.group
        return b"".join(word(data[i:i + count], layout.group) for i in range(0, len(data), count))
    if layout.rule == 3:
        if layout.dtype != I32:
            size, rows = SIZES[layout.dtype], layout.columns
            width = layout.elements // rows
            return b"".join(data[(row * width + column) * size:][:size] for column in range(width) for row in range(rows))
        count, rows, width = 32 // layout.group, columns, source.columns
        return b"".join(word(data[row * width + first:][:count], layout.group)
                        for first in range(0, width, count) for row in range(rows))
    if layout.rule == 4:
        return b"".join(interleaved(data[i:i + 8]) for i in range(0, len(data), 8))
    if layout.rule == 5:
        rows, width = 8 * columns, source.columns
        return b"".join(interleaved([data[(row + i) * width + column] for i in range(8)])
                        for column in range(width) for row in range(0, rows, 8))
    need(layout.rule == 6, f"a layout of rule {layout.rule}")
    other, size = decode(layout.zero_points), SIZES[layout.dtype]
    left, right = (size * index.objects[o].columns for o in (layout.coarse, layout.zero_points))
    return b"".join(data[row * left:][:left] + other[row * right:][:right] for row in range(len(data) // left))


def interleaved(codes):
    return sum(code << 4 * place for code, place in zip(codes, INTERLEAVED)).to_bytes(4, "little")


# ---- Whole archives ----

def object_decoder(index, base):
    """A function that decodes objects by their numbers. base: sizes and SHA-256 of the base's files, and their bytes."""
    @lru_cache(None)
    def decode(number):
        o = index.objects[number]
        size = size_of(o.dtype, o.elements)
        if o.kind == 5:
            file = index.files[o.group]
            need((file.size, file.sha256) in base, f"the base's file {index.text(file.name)} is not there")
            out = base[file.size, file.sha256][o.row_stride:][:size]
        elif o.kind == 4:
            out = layout_bytes(index, o, decode)
        else:
            need(o.kind < 4, f"an object of kind {o.kind}")
            parts, at = [], o.offset
            sizes = [s.value for s in index.sizes[o.first_chunk:o.first_chunk + o.n_chunks]]
            for i, (begin, coded) in enumerate(zip(accumulate(sizes, initial=at), sizes)):
                chunk = Chunk(index, number, i * o.E, min(o.E, o.elements - i * o.E), decode)
                parts.append(decode_chunk(chunk, index.payload[begin:begin + coded]))
            out = b"".join(parts)
        need(len(out) == size, f"object {number} has another size")
        return out
    return decode


def decode_archive(archive, base=()):
    """{variant: {name of file: bytes}} of an archive's bytes; base: the bytes of each file of the base."""
    index = Index(archive)
    decode = object_decoder(index, {(len(data), hashlib.sha256(data).digest()): data for data in base})
    restored = {index.text(variant.name): {} for variant in index.variants}
    for file in index.files:
        if file.kind == 3:
            continue
        name, member = index.text(file.name), index.payload[file.offset:file.offset + file.coded_size]
        if file.kind == 2:
            extents = index.extents[file.first_extent:file.first_extent + file.n_extents]
            data = b"".join(decode(e.object)[e.offset:e.offset + e.size] for e in extents)
        else:
            need(file.kind < 2, f"a file of kind {file.kind}")
            need(file.kind == 0 or zstd_window(member) <= 1 << 23, f"{name} has a frame with a window of more than 8 MiB")
            data = zstd_of_size(member, file.size) if file.kind == 1 else member
        need(hashlib.sha256(data).digest() == file.sha256 and len(data) == file.size, f"{name} is not the file that was packed")
        for v, variant in enumerate(restored):
            if file.variants >> v & 1:
                restored[variant][name] = data
    return restored


def files_below(folder):
    for at, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(at, name), "rb") as f:
                yield f.read()


def main(arguments):
    if len(arguments) not in (2, 3):
        sys.exit("usage: python3 tests/reference/decode.py FILE.qstore OUTDIR [FOLDER OF THE BASE]")
    with open(arguments[0], "rb") as f:
        archive = f.read()
    for variant, files in decode_archive(archive, files_below(arguments[2]) if len(arguments) == 3 else ()).items():
        for name, data in files.items():
            need(not name.startswith("/") and not {"", ".", ".."} & set(name.split("/")), f"a file named {name!r}")
            path = os.path.join(arguments[1], variant, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main(sys.argv[1:])
