"""Set files without the code under test: a writer, a repair of hashes, and a reader after docs/format/hset.md.

Only hashlib and struct: what agrees with this file agrees with the specification. Slow on purpose.
"""

import hashlib
import itertools
import json
import random
import struct
from bisect import bisect_left
from dataclasses import dataclass

PAGE = 4096
MAGIC = b"\x89HSET\r\n\x1a"
ROOT_MAGIC = b"HSETROOT"
HEADER = struct.Struct("<8sIIIIQQQ16s16sIIQQQII")
LINE = struct.Struct("<IIQQQQ")
# Offsets of the header's fields.
VERSION, MIN_READER, BYTE_ORDER, PAGE_SIZE, FILE_BYTES, GENERATION, VALID_UNTIL = 8, 12, 16, 20, 24, 32, 40
SET_ID, SEAL_KEY_ID, SIZES, SECTION_COUNT, ENTRY_COUNT, LIST_OFFSET, LIST_BYTES, MILLIBITS = (
    48,
    64,
    80,
    84,
    88,
    96,
    104,
    112,
)
SECTION_TABLE = 120
META, FILTER, FENCES, TABLE, SHARED, ENTRIES, GROUPS, REFS, SEALED = range(1, 10)
TEST_SHAPE = 0x80
WIDTHS = {1: 16, 2: 20, 3: 32, 4: 32}
NAMES = {1: "md5", 2: "sha1", 3: "sha256", 4: "blake3"}
ALL_KINDS = tuple(NAMES.values())
SALT = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)


def page_hash(set_id, section, number, page):
    return hashlib.sha256(set_id + struct.pack("<IQ", section, number) + page).digest()[:16]


def pages_of(length):
    return -(-length // PAGE)


@dataclass
class Section:
    id: int
    flags: int
    offset: int
    length: int
    count: int
    aux: int

    @property
    def type(self):
        return self.id >> 8

    @property
    def subject(self):
        return self.id & 0xFF


def sections_of(data):
    """The section table, as far as it lies inside of the header page."""
    count = min(struct.unpack_from("<I", data, SECTION_COUNT)[0], (PAGE - SECTION_TABLE) // LINE.size)
    return [Section(*LINE.unpack_from(data, SECTION_TABLE + n * LINE.size)) for n in range(count)]


def make_consistent(data):
    """Gives a changed set (a bytearray) page hashes and a root that agree with it, as whoever makes sets could."""
    set_id = bytes(data[SET_ID : SET_ID + 16])
    list_offset, list_bytes = struct.unpack_from("<QQ", data, LIST_OFFSET)
    if list_offset % PAGE or not PAGE <= list_offset <= len(data) - PAGE or list_bytes > len(data) - PAGE - list_offset:
        list_offset, list_bytes = len(data), 0  # the page list itself was changed: nothing to repair but the root
    for section in sections_of(data):
        first = section.offset // PAGE
        for number in range(first, min(first + pages_of(section.length), list_offset // PAGE)):
            at = list_offset + (number - 1) * 16
            if number >= 1 and at + 16 <= list_offset + list_bytes:
                data[at : at + 16] = page_hash(
                    set_id, section.id, number, bytes(data[number * PAGE : (number + 1) * PAGE])
                )
    root = hashlib.sha256(bytes(data[:PAGE]) + bytes(data[list_offset : list_offset + list_bytes])).digest()
    data[-PAGE : -PAGE + 8] = ROOT_MAGIC
    data[-PAGE + 8 : -PAGE + 40] = root
    return data


def write_sparse(path, sections, entry_count, set_id=b"0123456789abcdef"):
    """Writes a set of which most pages are holes, and their hashes too: only the pages given can be read.

    *sections*: (id, length, count, aux, {page of the section: bytes}).
    """
    lines, pages, offset = b"", {}, PAGE
    for section, length, count, aux, given in sections:
        lines += LINE.pack(section, 1, offset, length, count, aux)
        for number, content in given.items():
            pages[offset // PAGE + number] = section, content.ljust(PAGE, b"\0")
        offset += pages_of(length) * PAGE
    list_offset, list_bytes = offset, (offset // PAGE - 1) * 16
    file_bytes = list_offset + pages_of(list_bytes) * PAGE + PAGE
    header = HEADER.pack(MAGIC, 1, 1, 0x01020304, PAGE, file_bytes, 1, 0, set_id, bytes(16), 0, len(sections),
                         entry_count, list_offset, list_bytes, 16000, 0)  # fmt: skip
    header = (header + lines).ljust(PAGE, b"\0")
    root, at = hashlib.sha256(header), 0
    zeros = bytes(1 << 20)

    def skip_to(end):
        nonlocal at
        while at < end:
            root.update(zeros[: end - at])
            at += min(len(zeros), end - at)

    with open(path, "wb") as file:
        file.truncate(file_bytes)
        file.write(header)
        for number, (section, content) in sorted(pages.items()):
            digest = page_hash(set_id, section, number, content)
            file.seek(number * PAGE)
            file.write(content)
            file.seek(list_offset + (number - 1) * 16)
            file.write(digest)
            skip_to((number - 1) * 16)
            root.update(digest)
            at += 16
        skip_to(list_bytes)
        file.seek(file_bytes - PAGE)
        file.write(ROOT_MAGIC + root.digest())


def block_bits(digest, block_count):
    """(block, the 32 bytes a digest sets in it)."""
    block = int.from_bytes(digest[:8], "big") * block_count >> 64
    h = int.from_bytes(digest[8:12], "little")
    words = [1 << ((h * salt & 0xFFFFFFFF) >> 27) for salt in SALT]
    return block, struct.pack("<8I", *words)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


class ReferenceSet:
    """Reads a whole set file after its specification; every claim about it is asserted."""

    def __init__(self, data):
        self.data = data
        fields = HEADER.unpack_from(data)
        magic, version, reader, order, page, size, self.generation, self.valid_until, self.set_id = fields[:9]
        seal, self.sizes, count, self.entry_count, list_offset, list_bytes, self.millibits, reserved = fields[9:]
        assert (magic, version, reader, order, page) == (MAGIC, 1, 1, 0x01020304, PAGE)
        assert size == len(data)
        assert seal == bytes(16)
        assert reserved == 0
        assert self.sizes in (0, 1)
        assert not any(data[SECTION_TABLE + count * LINE.size : PAGE])
        self.sections = {}
        expected = PAGE
        for section in sections_of(data):
            assert section.offset == expected
            assert section.length
            assert section.flags == 1
            assert section.id not in self.sections
            self.sections[section.id] = section
            expected += pages_of(section.length) * PAGE
            assert not any(data[section.offset + section.length : expected])
        assert expected == list_offset
        assert list_bytes == (list_offset // PAGE - 1) * 16
        hashes = data[list_offset : list_offset + list_bytes]
        for section in self.sections.values():
            for number in range(section.offset // PAGE, section.offset // PAGE + pages_of(section.length)):
                digest = page_hash(self.set_id, section.id, number, data[number * PAGE : (number + 1) * PAGE])
                assert digest == hashes[(number - 1) * 16 : number * 16]
        self.root = hashlib.sha256(data[:PAGE] + hashes).digest()
        assert data[-PAGE:] == (ROOT_MAGIC + self.root).ljust(PAGE, b"\0")
        assert not any(data[list_offset + list_bytes : -PAGE])
        self.meta = json.loads(self.bytes_of(META << 8))
        self.shapes = [s for s in self.sections.values() if s.type == ENTRIES]
        assert [s.subject for s in self.shapes] == sorted(s.subject for s in self.shapes)
        self.kinds = [k for k in WIDTHS if TABLE << 8 | k in self.sections]
        self.tables = {k: self._table(k) for k in self.kinds}
        self.shared = {k: self._shared(k) for k in self.kinds}
        self.groups = self._groups()
        self.entries = self._entries()
        for kind in self.kinds:
            self._check_filter(kind)

    def bytes_of(self, section):
        section = self.sections.get(section)
        return self.data[section.offset : section.offset + section.length] if section else b""

    def _rows(self, section, width):
        """Rows of *width* bytes, none across a page border, the rest of each page zero."""
        per_page = PAGE // width
        assert section.length == -(-section.count // per_page) * PAGE
        for number in range(section.count):
            at = section.offset + number // per_page * PAGE + number % per_page * width
            yield self.data[at : at + width]

    def _table(self, kind):
        section = self.sections[TABLE << 8 | kind]
        width, entry_width, test_row = WIDTHS[kind], section.aux & 0xFF, section.aux >> 8
        digests, values = [], []
        for number, row in enumerate(self._rows(section, width + entry_width)):
            digests.append(row[:width])
            if entry_width:
                values.append(int.from_bytes(row[width:], "little"))
            elif test_row and number + 1 >= test_row:
                values.append((self.entry_count if number + 1 == test_row else number - 1) << 1)
            else:
                values.append(number << 1)
        assert all(a < b for a, b in itertools.pairwise(digests))
        per_page = PAGE // (width + entry_width)
        fences = struct.unpack(f"<{-(-section.count // per_page)}Q", self.bytes_of(FENCES << 8 | kind))
        assert list(fences) == [int.from_bytes(d[:8], "big") for d in digests[::per_page]]
        return digests, values

    def _shared(self, kind):
        section = self.sections.get(SHARED << 8 | kind)
        pairs = {}
        if section:
            row_width, entry_width = section.aux & 0xFF, section.aux >> 8
            for pair in self._rows(section, row_width + entry_width):
                row = int.from_bytes(pair[:row_width], "little")
                pairs.setdefault(row, []).append(int.from_bytes(pair[row_width:], "little"))
        return pairs

    def _group(self, data, at):
        length, at = varint(data, at)
        end = at + length
        count, at = varint(data, at)
        listings = []
        for _ in range(count):
            number, at = varint(data, at)
            length, at = varint(data, at)
            ref = data[at : at + length - 1] if length else None
            at += max(length - 1, 0)
            listings.append((*self.meta["classes"][number], ref))
        assert at == end
        return tuple(listings), end

    def _groups(self):
        data, at, groups = self.bytes_of(GROUPS << 8), 0, []
        while at < len(data):
            group, at = self._group(data, at)
            groups.append(group)
        return groups

    def _entries(self):
        entries = []
        for section in self.shapes:
            kinds = [k for k in WIDTHS if section.subject >> (k - 1) & 1]
            row_width, size_width, group_width = section.aux & 0xFF, section.aux >> 8 & 0xFF, section.aux >> 16 & 0xFF
            implicit = section.aux >> 24
            width = (len(kinds) - implicit) * row_width + size_width + group_width
            for packed in self._rows(section, width):
                at, digests = 0, {}
                for kind in kinds:
                    if implicit and kind == kinds[0]:
                        row = self.tables[kind][1].index(len(entries) << 1)
                    else:
                        row = int.from_bytes(packed[at : at + row_width], "little")
                        at += row_width
                    digests[kind] = self.tables[kind][0][row]
                size = int.from_bytes(packed[at : at + size_width], "little")
                group = int.from_bytes(packed[at + size_width :], "little")
                if group & 1:
                    listings = self._group(self.bytes_of(REFS << 8), group >> 1)[0]
                else:
                    listings = self.groups[group >> 1]
                entries.append((digests, size - 1 if size else None, listings))
        return entries

    def _check_filter(self, kind):
        digests = self.tables[kind][0]
        section = self.sections[FILTER << 8 | kind]
        assert section.count == max(1, -(-len(digests) * self.millibits // 256000))
        blocks = bytearray(section.length)
        for digest in digests:
            block, bits = block_bits(digest, section.count)
            there = int.from_bytes(blocks[block * 32 : block * 32 + 32], "little") | int.from_bytes(bits, "little")
            blocks[block * 32 : block * 32 + 32] = there.to_bytes(32, "little")
        assert bytes(blocks) == self.bytes_of(FILTER << 8 | kind)

    def find(self, kind, digest):
        digests, values = self.tables[kind]
        row = bisect_left(digests, digest)
        if row == len(digests) or digests[row] != digest:
            return None
        further = self.shared[kind].get(row, [])
        assert bool(further) == bool(values[row] & 1)
        return [values[row] >> 1, *further]


def sample_records(count, seed=1, kinds=ALL_KINDS):
    """Plain tuples (digests, size, source, ref) of all shapes, with shared digests, sizes and refs here and there."""
    rng = random.Random(seed)
    pool = {kind: [rng.randbytes(WIDTHS[code]) for _ in range(count)] for code, kind in NAMES.items() if kind in kinds}
    rows = []
    for number in range(count):
        chosen = rng.sample(kinds, rng.randint(1, len(kinds)))
        digests = {kind: pool[kind][number if rng.random() < 0.8 else rng.randrange(count)] for kind in chosen}
        ref = rng.choice([None, None, f"id {number}", "\udcfe"])
        rows.append((digests, rng.choice([None, number]), rng.choice("ab"), ref))
    return rows
