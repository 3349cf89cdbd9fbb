"""Delta files without the code under test: a reader after docs/format/hdelta.md, and a repair of checksums.

Only hashlib, hmac, json, struct and AES-GCM: what agrees with this file agrees with the specification.
"""

import hashlib
import hmac
import json
import struct
from dataclasses import dataclass

MAGIC = b"\x89HDLT\r\n\x1a"
CHUNK = 65536
HEADER_BYTES = 192
LINE = struct.Struct("<IIQQQ")
# Offsets of the header's fields.
VERSION, MIN_READER, BYTE_ORDER, CHUNK_BYTES, TRAILER, BASE_GENERATION, GENERATION, VALID_UNTIL, ENTRIES = (
    8, 12, 16, 20, 24, 32, 40, 48, 56,
)  # fmt: skip
BASE_ROOT, ROOT, SEAL_KEY_ID, SIZES, MILLIBITS, SECTIONS, ADDS, CANCELS, BODY_BYTES = (
    64, 96, 128, 144, 148, 152, 160, 168, 176,
)  # fmt: skip
WIDTHS = {1: 16, 2: 20, 3: 32, 4: 32}
NAMES = {1: "md5", 2: "sha1", 3: "sha256", 4: "blake3"}


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


@dataclass
class Section:
    id: int
    flags: int
    offset: int
    length: int
    count: int


def sections_of(data):
    out, at = [], HEADER_BYTES + LINE.size * u32(data, SECTIONS)
    for number in range(u32(data, SECTIONS)):
        id_, flags, length, count, zero = LINE.unpack_from(data, HEADER_BYTES + LINE.size * number)
        assert zero == 0
        out.append(Section(id_, flags, at, length, count))
        at += length
    return out


def make_consistent(data):
    """Gives a changed delta new checksums that agree with it, as whoever makes deltas could; the rest stays."""
    sections = HEADER_BYTES + LINE.size * u32(data, SECTIONS)
    body = bytes(data[sections : sections + u64(data, BODY_BYTES)])
    head = bytes(data[:sections])
    return rebuild(head, body)


def rebuild(head, body):
    chunks = b"".join(hashlib.sha256(body[at : at + CHUNK]).digest() for at in range(0, len(body), CHUNK))
    trailer = b"HDLTROOT" + hashlib.sha256(head + chunks).digest() + bytes(8)
    return head + body + chunks + trailer + hashlib.sha256(trailer).digest()


def forge(data, sections, **fields):
    """A delta as *data* but with these sections, (id, flags, count, bytes), and header fields, and all else fitting."""
    body = b"".join(content for *_, content in sections)
    head = bytearray(data[:HEADER_BYTES])
    chunks = -(-len(body) // CHUNK)
    struct.pack_into("<I", head, SECTIONS, len(sections))
    struct.pack_into("<Q", head, BODY_BYTES, len(body))
    struct.pack_into("<Q", head, TRAILER, HEADER_BYTES + LINE.size * len(sections) + len(body) + 32 * chunks)
    for name, value in fields.items():
        at = globals()[name.upper()]
        if isinstance(value, bytes):
            head[at : at + len(value)] = value
        else:
            struct.pack_into("<I" if name in ("sizes", "millibits", "version", "min_reader") else "<Q", head, at, value)
    for id_, flags, count, content in sections:
        head += LINE.pack(id_, flags, len(content), count, 0)
    return rebuild(bytes(head), body)


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class ReferenceDelta:
    """Everything a delta says, each checksum and length asserted on the way. *key*: that of sealed sets."""

    def __init__(self, data, key=None):
        assert data[:8] == MAGIC
        assert (u32(data, VERSION), u32(data, MIN_READER), u32(data, BYTE_ORDER)) == (1, 1, 0x01020304)
        assert u32(data, CHUNK_BYTES) == CHUNK
        self.base_generation, self.generation = u64(data, BASE_GENERATION), u64(data, GENERATION)
        self.valid_until, self.entries = u64(data, VALID_UNTIL), u64(data, ENTRIES)
        self.base_root, self.root = data[BASE_ROOT : BASE_ROOT + 32], data[ROOT : ROOT + 32]
        self.sizes, self.millibits = u32(data, SIZES), u32(data, MILLIBITS)
        assert data[156:160] == bytes(4)
        assert data[184:192] == bytes(8)
        sections = {section.id: section for section in sections_of(data)}
        first = HEADER_BYTES + LINE.size * len(sections)
        body = data[first : first + u64(data, BODY_BYTES)]
        assert sum(section.length for section in sections.values()) == len(body)
        list_at = first + len(body)
        hashes = [hashlib.sha256(body[at : at + CHUNK]).digest() for at in range(0, len(body), CHUNK)]
        assert data[list_at : list_at + 32 * len(hashes)] == b"".join(hashes)
        trailer_at = list_at + 32 * len(hashes)
        assert u64(data, TRAILER) == trailer_at
        trailer = data[trailer_at:]
        self.id = hashlib.sha256(data[:first] + b"".join(hashes)).digest()
        assert trailer[:40] == b"HDLTROOT" + self.id
        count = u32(trailer, 40)
        assert trailer[44:48] == bytes(4)
        self.own_signatures = trailer[48 : 48 + 96 * count]
        assert trailer[48 + 96 * count :] == hashlib.sha256(trailer[: 48 + 96 * count]).digest()
        assert list(sections) == sorted(
            sections, key=lambda n: {1: -1, 9: -1, 4: 99}.get(n >> 8, (n & 0xFF) + (n >> 8) / 10)
        )

        def content(number):
            section = sections.pop(number, None)
            if section is None:
                return b""
            assert section.flags == 1
            return data[section.offset : section.offset + section.length]

        self.seal_key_id = data[SEAL_KEY_ID : SEAL_KEY_ID + 16]
        assert (key is None) == (self.seal_key_id == bytes(16))
        unsealed = {}
        if key is not None:
            chunks, shapes = sections[0x900].count, [n & 0xFF for n in sections if n >> 8 == 2]
            text = self.unseal(key, content(0x900), chunks)
            lengths = struct.unpack_from(f"<{1 + len(shapes)}Q", text)
            at = 8 * len(lengths)
            for number, length in zip([0x100, *(0x300 | shape for shape in shapes)], lengths, strict=True):
                unsealed[number], at = text[at : at + length], at + length
            assert at == len(text)
        meta = json.loads((unsealed.get(0x100) or content(0x100)).decode("ascii"))
        self.classes = [tuple(each) for each in meta["classes"]]
        assert self.classes == sorted(set(self.classes), key=lambda c: (c[0], c[1], c[2] is not None, c[2] or ""))
        self.adds, self.cancels = [], []
        for shape in range(1, 16):
            count = sections[0x200 | shape].count if 0x200 | shape in sections else 0
            if key is None:
                assert count == (sections[0x300 | shape].count if 0x300 | shape in sections else 0)
            digests, tails = content(0x200 | shape), unsealed.get(0x300 | shape) or content(0x300 | shape)
            kinds = [code for code in NAMES if shape >> code - 1 & 1]
            widths = WIDTHS if key is None else dict.fromkeys(WIDTHS, 16)
            width = sum(widths[code] for code in kinds)
            assert len(digests) == count * width
            last, at = None, 0

            def number(tails=tails):
                nonlocal at
                value = shift = 0
                while True:
                    byte = tails[at]
                    at += 1
                    value |= (byte & 0x7F) << shift
                    shift += 7
                    if byte < 0x80:
                        return value

            for row in range(count):
                packed, values = digests[row * width : (row + 1) * width], {}
                rest = packed
                for code in kinds:
                    values[NAMES[code]], rest = rest[: widths[code]], rest[widths[code] :]
                head = number()
                size = number() if head & 2 else None
                ref = None
                if head & 4:
                    length = number()
                    ref, at = tails[at : at + length], at + length
                place = packed, -1 if size is None else size, head >> 3, ref is not None, ref or b""
                assert last is None or last < place
                last = place
                (self.cancels if head & 1 else self.adds).append(
                    (tuple(sorted(values.items())), size, self.classes[head >> 3], ref)
                )
            assert at == len(tails)
        assert (len(self.adds), len(self.cancels)) == (u64(data, ADDS), u64(data, CANCELS))
        self.signatures = content(0x400)
        assert not sections

    def unseal(self, key, section, chunks):
        """The plaintext of the sealed section."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        def mac(text):
            return hmac.new(key, text, hashlib.sha256).digest()

        assert self.seal_key_id == mac(b"hashsieve seal key id 1")[:16]
        seal_id = hashlib.sha256(b"hashsieve delta seal id 1\0" + self.base_root + self.root).digest()[:16]
        salt, rest, plain = section[:32], section[32:], b""
        cipher = AESGCM(mac(b"hashsieve sealed section 1" + salt))
        for number in range(chunks):
            last = number == chunks - 1
            part, rest = (rest, b"") if last else (rest[: 65536 + 16], rest[65536 + 16 :])
            plain += cipher.decrypt(struct.pack("<QI", number, last), part, seal_id)
        assert 0 < len(plain) <= 65536 * chunks
        assert salt == mac(b"hashsieve sealed salt 1" + seal_id + hashlib.sha256(plain).digest())
        return plain
