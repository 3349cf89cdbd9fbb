"""A slow writer of set files, plain and sealed, after docs/format/hset.md alone: the second opinion on what is written.

Only hashlib, hmac, struct and AES-GCM; nothing of the code under test. Records are tuples: (digests by kind name, size
or None, (source, role, category or None), record id as bytes or None).
"""

import hashlib
import hmac
import json
import struct

import set_bytes as sb

TEXT = b"HASHSIEVE-HARMLESS-TEST-FILE: made to be found, holds nothing else.\n"
TEST_CLASS = ("hashsieve test file", "test", None)
CHUNK = 65536
CODES = {name: code for code, name in sb.NAMES.items()}


def test_digest(code):
    if code == 4:
        import blake3

        return blake3.blake3(TEXT).digest()
    return hashlib.new(sb.NAMES[code], TEXT).digest()


test_digest.__test__ = False


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def width_of(largest):
    return max(1, (largest.bit_length() + 7) // 8)


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def rows_of_pages(rows, width):
    """Rows packed into pages, none across a border; one zero page where a row has no bytes."""
    if not width:
        return bytes(sb.PAGE)
    per_page = sb.PAGE // width
    pages = [b"".join(rows[at : at + per_page]) for at in range(0, len(rows), per_page)]
    return b"".join(page.ljust(sb.PAGE, b"\0") for page in pages)


def make(records, *, key=None, generation=1, valid_until=0, sizes=0, millibits=16000, signatures=()):
    """The bytes of a set file; sealed where *key* (32 bytes) is given. *signatures*: (public key, function of root)."""

    def stored(code, digest):
        return mac(key, bytes([code]) + digest)[:16] if key is not None else digest

    def width(code):
        return 16 if key is not None else sb.WIDTHS[code]

    # Entries: shape -> {(what is stored of each kind), size + 1 or 0}: listings.
    shapes = {}
    for digests, size, listed, ref in records:
        named = {CODES[kind]: digest for kind, digest in digests.items()}
        if all(digest == test_digest(code) for code, digest in named.items()):
            continue
        shape = sum(1 << (code - 1) for code in named)
        held = tuple(stored(code, named[code]) for code in sorted(named))
        listings = shapes.setdefault(shape, {}).setdefault((held, 0 if size is None else size + 1), set())
        listings.add((listed, ref))
    kinds = [code for code in sb.WIDTHS if any(shape >> (code - 1) & 1 for shape in shapes)]
    classes = sorted({listed for shape in shapes.values() for listings in shape.values() for listed, _ in listings},
                     key=lambda c: (c[0], c[1], c[2] is not None, c[2] or ""))  # fmt: skip
    classes.append(TEST_CLASS)  # even where a list has one of the same name
    entries = []  # (shape, {code: stored}, size + 1, sorted listings)
    for shape in sorted(shapes):
        codes = [code for code in sb.WIDTHS if shape >> (code - 1) & 1]
        for (held, size), listings in sorted(shapes[shape].items()):
            numbered = sorted((classes.index(listed), ref is not None, ref or b"") for listed, ref in listings)
            entries.append((shape, dict(zip(codes, held, strict=True)), size, numbered))
    count = len(entries)
    distinct = {code: {entry[1][code] for entry in entries if code in entry[1]} for code in kinds}
    counts = {code: len(distinct[code]) for code in kinds}
    if entries:
        test = {code: stored(code, test_digest(code)) for code in kinds}
        test_shape = sum(1 << (code - 1) for code in kinds) | sb.TEST_SHAPE
        entries.append((test_shape, test, len(TEXT) + 1, [(len(classes) - 1, False, b"")]))
    tables = {code: sorted({e[1][code] for e in entries if code in e[1]}) for code in kinds}
    row_of = {code: {held: row for row, held in enumerate(table)} for code, table in tables.items()}
    of = {code: {} for code in kinds}
    for number, entry in enumerate(entries):
        for code, held in entry[1].items():
            of[code].setdefault(held, []).append(number)
    conflicts = sum(
        any(len({entries[n][1][other] for n in numbers if n < count and other in entries[n][1]}) > 1
            for other in kinds if other != code)
        for code in kinds for numbers in of[code].values()
    )  # fmt: skip
    # Groups of listings, and what an entry says of its own.
    groups, places, refs, values = [], {}, b"", []
    for entry in entries:
        body = varint(len(entry[3])) + b"".join(
            varint(number) + (varint(len(ref) + 1) + ref if there else varint(0)) for number, there, ref in entry[3]
        )
        body = varint(len(body)) + body
        if any(there for _, there, _ in entry[3]):
            values.append(2 * len(refs) + 1)
            refs += body
        else:
            if body not in places:
                places[body] = len(groups)
                groups.append(body)
            values.append(2 * places[body])
    meta = {
        "classes": [list(listed) for listed in classes],
        "conflicts": conflicts,
        "digests": {sb.NAMES[code]: counts[code] for code in kinds},
        "every_size": all(entry[2] for entry in entries[:count]),
        "roles": {
            role: sum(any(classes[n][1] == role for n, _, _ in e[3]) for e in entries[:count])
            for role in sorted({classes[n][1] for e in entries[:count] for n, _, _ in e[3]})
        },
        "test_class": len(classes) - 1,
    }
    meta = json.dumps(meta, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode()
    facts = struct.pack(
        "<QQIQ4QI", generation, valid_until, sizes, count, *(counts.get(c, 0) for c in sb.WIDTHS), millibits
    )
    set_id = hashlib.sha256(b"hashsieve set id 1\0" + facts).digest()[:16]

    sections = []  # (id, bytes, length, count, aux)

    def add(kind, subject, content, number, aux, length=None):
        sections.append((kind << 8 | subject, content, len(content) if length is None else length, number, aux))

    size_width = width_of(max((entry[2] for entry in entries), default=0))
    group_width = width_of(max(values, default=0))
    if not entries:
        size_width = group_width = 0
    if key is None:
        add(sb.META, 0, meta, 0, 0)
    else:
        columns = bytes([size_width, group_width]) + b"".join(
            entry[2].to_bytes(size_width, "little") + value.to_bytes(group_width, "little")
            for entry, value in zip(entries, values, strict=True)
        )
        parts = [meta, columns, b"".join(groups), refs]
        plain = struct.pack("<4Q", *map(len, parts)) + b"".join(parts)
        salt = mac(key, b"hashsieve sealed salt 1" + set_id + hashlib.sha256(plain).digest())
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        cipher = AESGCM(mac(key, b"hashsieve sealed section 1" + salt))
        starts = range(0, len(plain), CHUNK)
        content = salt + b"".join(
            cipher.encrypt(struct.pack("<QI", n, at + CHUNK >= len(plain)), plain[at : at + CHUNK], set_id)
            for n, at in enumerate(starts)
        )
        add(sb.SEALED, 0, content, len(starts), CHUNK)
    implicit = None
    if count and len(shapes) == 1:
        lowest = kinds[0]
        if all(len([n for n in numbers if n < count]) <= 1 for numbers in of[lowest].values()) and all(
            len(numbers) == 1 for numbers in of[lowest].values()
        ):
            implicit = lowest
    entry_width = width_of(2 * count + 1)
    for code in kinds:
        table = tables[code]
        test_row = row_of[code][entries[count][1][code]] + 1
        rows = []
        for held in table:
            numbers = of[code][held]
            value = 2 * numbers[0] + (len(numbers) > 1)
            rows.append(held if code == implicit else held + value.to_bytes(entry_width, "little"))
        blocks = max(1, -(-len(table) * millibits // 256000))
        bits = [0] * blocks
        for held in table:
            block, mask = sb.block_bits(held, blocks)
            bits[block] |= int.from_bytes(mask, "little")
        add(sb.FILTER, code, b"".join(b.to_bytes(32, "little") for b in bits), blocks, 0)
        row_width = width(code) + (0 if code == implicit else entry_width)
        per_page = sb.PAGE // row_width
        fences = [int.from_bytes(held[:8], "big") for held in table[::per_page]]
        add(sb.FENCES, code, struct.pack(f"<{len(fences)}Q", *fences), len(fences), 0)
        aux = test_row << 8 if code == implicit else entry_width
        add(sb.TABLE, code, rows_of_pages(rows, row_width), len(table), aux)
        pairs = [(row, n) for row, held in enumerate(table) for n in of[code][held][1:]]
        if pairs:
            row_width, pair_width = width_of(len(table)), width_of(count)
            packed = [row.to_bytes(row_width, "little") + n.to_bytes(pair_width, "little") for row, n in pairs]
            add(sb.SHARED, code, rows_of_pages(packed, row_width + pair_width), len(pairs), row_width | pair_width << 8)
    row_width = width_of(max(map(len, tables.values()), default=0))
    for shape in sorted({entry[0] for entry in entries}):
        rows = []
        for (own, held, size, _), value in zip(entries, values, strict=True):
            if own != shape:
                continue
            row = b"".join(
                row_of[code][what].to_bytes(row_width, "little")
                for code, what in sorted(held.items())
                if code != implicit
            )
            if key is None:
                row += size.to_bytes(size_width, "little") + value.to_bytes(group_width, "little")
            rows.append(row)
        aux = row_width | (0 if key is not None else size_width << 8 | group_width << 16) | (implicit is not None) << 24
        add(sb.ENTRIES, shape, rows_of_pages(rows, len(rows[0])), len(rows), aux)
    if key is None:
        if groups:
            add(sb.GROUPS, 0, b"".join(groups), len(groups), 0)
        if refs:
            add(sb.REFS, 0, refs, 0, 0)

    lines, hashes, body, offset = b"", b"", b"", sb.PAGE
    for section, content, length, number, aux in sections:
        lines += sb.LINE.pack(section, 1, offset, length, number, aux)
        content = content.ljust(sb.pages_of(len(content)) * sb.PAGE, b"\0")
        for at in range(0, len(content), sb.PAGE):
            hashes += sb.page_hash(set_id, section, (offset + at) // sb.PAGE, content[at : at + sb.PAGE])
        body += content
        offset += len(content)
    page_list = hashes.ljust(sb.pages_of(len(hashes)) * sb.PAGE, b"\0")
    key_id = mac(key, b"hashsieve seal key id 1")[:16] if key is not None else bytes(16)
    file_bytes = offset + len(page_list) + sb.PAGE
    header = sb.HEADER.pack(sb.MAGIC, 1, 1, 0x01020304, sb.PAGE, file_bytes, generation, valid_until, set_id, key_id,
                            sizes, len(sections), count, offset, len(hashes), millibits, 0)  # fmt: skip
    header = (header + lines).ljust(sb.PAGE, b"\0")
    root = hashlib.sha256(header + hashes).digest()
    made = b"".join(public + sign(root) for public, sign in sorted(signatures, key=lambda pair: pair[0]))
    last = sb.ROOT_MAGIC + root + struct.pack("<II", len(signatures), 0) + made
    return header + body + page_list + last.ljust(sb.PAGE, b"\0")
