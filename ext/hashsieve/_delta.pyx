"""Rows of a delta: from the form they have in a delta file to the form the builder takes, and back. See _delta.pyi.

Nothing here reads files; what is decoded was checked against its hash before. It may still be nonsense that somebody
gave right hashes, so every length is looked at.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

cimport hashsieve.core as core

cdef enum:
    # A row of the builder's form: shape (1), digests, size + 1 (8, big-endian), class (4, big-endian), op (1), length of
    # the record id + 1 (2, little-endian), and the id. hs_batch.h says the same.
    TAIL = 15
    KEY_TAIL = 12
    OP_ADD = 0
    OP_CANCEL = 2
    CANCEL = 1
    WITH_SIZE = 2
    WITH_REF = 4
    MAX_REF = 4096
    MAX_DIGESTS = 100
    FINGERPRINT = 16  # what stands for a digest of any kind in a sealed set
    MAX_VARINT = 10
    # A tail is at most a head, a size, a length, and a record id.
    MAX_TAIL = 3 * MAX_VARINT + MAX_REF

cdef enum:
    GOOD, ENDS_EARLY, NUMBER, SIZE, REF, CLASS, ORDER

PROBLEMS = {ENDS_EARLY: "has a section that ends within a row", NUMBER: "has a number that cannot be",
            SIZE: "has a size that cannot be", REF: "has a record id that is too long",
            CLASS: "has a row of a class that is not there", ORDER: "has rows that are not in order"}


cdef unsigned digest_bytes_of(unsigned shape, bint sealed) except 0:
    cdef unsigned total = 0, k
    if shape < 1 or shape > 15:
        raise ValueError(f"shapes are 1 to 15, not {shape}")
    for k in range(4):
        if shape >> k & 1:
            total += FINGERPRINT if sealed else core.hs_set_digest_width(k + 1)
    return total


cdef size_t varint(uint8_t *out, uint64_t value) noexcept nogil:
    cdef size_t n = 0
    while value >= 0x80:
        out[n] = <uint8_t>(value | 0x80)
        value >>= 7
        n += 1
    out[n] = <uint8_t>value
    return n + 1


cdef int read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value) noexcept nogil:
    """0, ENDS_EARLY, or NUMBER for one that is longer than needed or has more than 64 bits."""
    cdef const uint8_t *p = at[0]
    cdef uint64_t x = 0
    cdef unsigned n = 0
    while True:
        if p == end:
            return ENDS_EARLY
        if n == 9 and p[0] > 1:
            return NUMBER
        x |= <uint64_t>(p[0] & 0x7f) << 7 * n
        if p[0] < 0x80:
            if n and p[0] == 0:
                return NUMBER
            at[0] = p + 1
            value[0] = x
            return GOOD
        p += 1
        n += 1


def encode(const uint8_t[::1] rows not None, list class_map not None, bint sealed=False):
    """Whole rows of the builder's form, shape by shape: a list of (shape, packed digests, tails, to add, to cancel)."""
    cdef unsigned classes = len(class_map), shape, width
    cdef const uint8_t *p = NULL
    cdef const uint8_t *end = NULL
    cdef const uint8_t *first = NULL
    cdef size_t row_count, used, room
    cdef uint64_t size, adds, cancels, head
    cdef uint32_t number, ref
    cdef uint8_t *to
    cdef uint8_t *tail
    cdef uint32_t *map_ = NULL
    cdef bytes digests, tails
    cdef bint good = True
    cdef list out = []
    if rows.shape[0] == 0:
        return out
    map_ = <uint32_t *>malloc(max(classes, 1) * sizeof(uint32_t))
    if map_ == NULL:
        raise MemoryError
    try:
        for i in range(classes):
            map_[i] = class_map[i]
        p = &rows[0]
        end = p + rows.shape[0]
        while p < end and good:
            shape = p[0]
            width = digest_bytes_of(shape, sealed)
            room = (end - p) // (1 + width + TAIL) + 1
            digests = PyBytes_FromStringAndSize(NULL, room * width)
            tails = PyBytes_FromStringAndSize(NULL, room * 3 * MAX_VARINT + (end - p))
            to = <uint8_t *>PyBytes_AsString(digests)
            tail = <uint8_t *>PyBytes_AsString(tails)
            row_count = used = adds = cancels = 0
            with nogil:
                while p < end and p[0] == shape:
                    if <size_t>(end - p) < 1 + width + TAIL:
                        good = False
                        break
                    memcpy(to + row_count * width, p + 1, width)
                    p += 1 + width
                    size = core.hs_load64be(p)
                    number = core.hs_load32be(p + 8)
                    ref = p[13] | <uint32_t>p[14] << 8
                    if number >= classes or (p[12] != OP_ADD and p[12] != OP_CANCEL) or (
                            ref and <size_t>(end - p) - TAIL < ref - 1):
                        good = False
                        break
                    head = <uint64_t>map_[number] << 3
                    if size:
                        head |= WITH_SIZE
                    if ref:
                        head |= WITH_REF
                    if p[12] == OP_CANCEL:
                        head |= CANCEL
                        cancels += 1
                    else:
                        adds += 1
                    used += varint(tail + used, head)
                    if size:
                        used += varint(tail + used, size - 1)
                    p += TAIL
                    if ref:
                        used += varint(tail + used, ref - 1)
                        memcpy(tail + used, p, ref - 1)
                        used += ref - 1
                        p += ref - 1
                    row_count += 1
            out.append((shape, digests[:row_count * width], tails[:used], adds, cancels))
    finally:
        free(map_)
    if not good:
        raise ValueError("rows that are not of the builder's form")
    return out


cdef class Decoder:
    """Turns the digests and tails of one shape into rows of the builder's form, piece by piece."""

    cdef unsigned shape, width
    cdef uint32_t classes
    cdef uint32_t *map_
    cdef bint have
    cdef uint8_t last[MAX_DIGESTS + KEY_TAIL]
    cdef uint32_t last_ref  # length + 1, 0 = none
    cdef uint8_t last_ref_bytes[MAX_REF]
    cdef readonly uint64_t add_count, cancel_count

    def __init__(self, unsigned shape, list class_map not None, bint sealed=False):
        if self.map_ != NULL:
            raise ValueError("a decoder is made once")
        self.width = digest_bytes_of(shape, sealed)
        self.shape = shape
        self.classes = len(class_map)
        self.map_ = <uint32_t *>malloc(max(self.classes, 1) * sizeof(uint32_t))
        if self.map_ == NULL:
            raise MemoryError
        for i in range(self.classes):
            self.map_[i] = class_map[i]

    def __dealloc__(self):
        free(self.map_)

    cdef int one(self, const uint8_t *digests, const uint8_t **at, const uint8_t *end, uint8_t *out,
                 size_t *used) noexcept nogil:
        cdef uint64_t head = 0, size = 0, length = 0
        cdef uint32_t ref = 0
        cdef uint8_t key[MAX_DIGESTS + KEY_TAIL]
        cdef const uint8_t *p = at[0]
        cdef const uint8_t *ref_at = NULL
        cdef int order
        cdef int problem = read_varint(&p, end, &head)
        if problem:
            return problem
        if head & WITH_SIZE:
            problem = read_varint(&p, end, &size)
            if problem:
                return problem
            if size >= <uint64_t>1 << 62:
                return SIZE
            size += 1
        if head & WITH_REF:
            problem = read_varint(&p, end, &length)
            if problem:
                return problem
            if length > MAX_REF:
                return REF
            if <uint64_t>(end - p) < length:
                return ENDS_EARLY
            ref = <uint32_t>length + 1
            ref_at = p
            p += length
        if head >> 3 >= self.classes:
            return CLASS
        memcpy(key, digests, self.width)
        core.hs_store64be(key + self.width, size)
        core.hs_store32be(key + self.width + 8, <uint32_t>(head >> 3))
        if self.have:
            order = memcmp(self.last, key, self.width + KEY_TAIL)
            if order == 0:
                if ref == 0 or self.last_ref == 0:
                    order = 1 if ref == 0 else -1  # none comes first, and only once
                else:
                    order = memcmp(self.last_ref_bytes, ref_at, min(ref, self.last_ref) - 1)
                    if order == 0:
                        order = 1 if self.last_ref >= ref else -1
            if order > 0:
                return ORDER
        self.have = True
        memcpy(self.last, key, self.width + KEY_TAIL)
        self.last_ref = ref
        if ref:
            memcpy(self.last_ref_bytes, ref_at, ref - 1)
        out[0] = <uint8_t>self.shape
        out += 1
        memcpy(out, key, self.width + 8)
        core.hs_store32be(out + self.width + 8, self.map_[head >> 3])
        out[self.width + 12] = OP_CANCEL if head & CANCEL else OP_ADD
        out[self.width + 13] = <uint8_t>(ref & 0xff)
        out[self.width + 14] = <uint8_t>(ref >> 8)
        if ref:
            memcpy(out + self.width + TAIL, ref_at, ref - 1)
        used[0] = 1 + self.width + TAIL + (ref - 1 if ref else 0)
        if head & CANCEL:
            self.cancel_count += 1
        else:
            self.add_count += 1
        at[0] = p
        return GOOD

    def feed(self, const uint8_t[::1] digests not None, const uint8_t[::1] tails not None, bint last):
        """As many rows as are whole in both: (rows, bytes of digests used, bytes of tails used). ``last``: nothing follows."""
        cdef size_t rows = digests.shape[0] // self.width, done = 0, used = 0, one = 0
        cdef const uint8_t *from_ = &digests[0] if digests.shape[0] else NULL
        cdef const uint8_t *begin = &tails[0] if tails.shape[0] else NULL
        cdef const uint8_t *at = begin
        cdef const uint8_t *end = begin + tails.shape[0]
        cdef int problem = GOOD
        rows = min(rows, <size_t>tails.shape[0])
        if rows == 0:
            return b"", 0, 0
        cdef bytes out = PyBytes_FromStringAndSize(NULL, rows * (1 + self.width + TAIL) + tails.shape[0])
        cdef uint8_t *to = <uint8_t *>PyBytes_AsString(out)
        with nogil:
            while done < rows:
                problem = self.one(from_ + done * self.width, &at, end, to + used, &one)
                if problem:
                    break
                used += one
                done += 1
        if problem == ENDS_EARLY and not last and end - at < MAX_TAIL:
            problem = GOOD
        if problem:
            raise ValueError(PROBLEMS[problem])
        return out[:used], done * self.width, at - begin
