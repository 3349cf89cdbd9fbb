"""Splits JSON lists into their records, and turns decoded VICS media into Records.

The scanner of hs_json.c finds the records and the members that matter. Plain media become Records right from their
bytes; everything else is handed to Python, which decodes and so judges it. See _lists_json.pyi.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, qsort, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

cimport hashsieve.core as core

from hashsieve.errors import ListCutShortError, ListFormatError

cdef extern from "Python.h":
    ctypedef int (*descrsetfunc)(PyObject *, PyObject *, PyObject *) noexcept
    void *PyType_GetSlot(type, int)
    object PyType_GenericAlloc(type, Py_ssize_t)
    int Py_tp_descr_set
    void PyObject_GC_UnTrack(void *)
    object PyUnicode_FromStringAndSize(const char *, Py_ssize_t)

ODD_TEXT = core.HS_JSON_ODD_TEXT
ODD_NAME = core.HS_JSON_ODD_NAME
ESCAPED_NAME = core.HS_JSON_ESCAPED_NAME
TOO_DEEP = core.HS_JSON_TOO_DEEP
SCALAR = core.HS_JSON_SCALAR
MAX_NESTING = core.HS_JSON_MAX_NESTING

cdef enum:
    MAX_NODES = 64
    BATCH = 512
    QUOTE = 0x22
    # Numbers of the members and paths of a VICS document, as lists/vics.py gives them.
    ID = 0
    DATE = 1
    CATEGORY = 2
    MD5 = 3
    SHA1 = 4
    SHA256 = 5
    SIZE = 6
    ALTERNATIVES = 7
    PHOTODNA = 8
    PDNA = 9
    LAST_RECORD_PATH = 1

_WANTED = {
    core.HS_JSON_WANTS_VALUE: "a value",
    core.HS_JSON_WANTS_CONTAINER: "the array or object that holds the records",
    core.HS_JSON_WANTS_COMMA: "a comma or the end of the array or object",
    core.HS_JSON_WANTS_NAME: "the name of a member",
    core.HS_JSON_WANTS_COLON: "a colon",
    core.HS_JSON_WANTS_PARTNER: "the matching bracket",
    core.HS_JSON_WANTS_LESS_NESTING: f"a nesting of at most {MAX_NESTING}",
    core.HS_JSON_WANTS_END: "the end of the file",
}


cdef struct Span:
    const uint8_t *at
    size_t size


cdef bint is_nothing(Span text) noexcept nogil:
    """Whether `text` is what writers put where there is no id or date."""
    return (
        text.size == 0
        or (text.size == 1 and text.at[0] == 0x30)
        or (text.size == 2 and not memcmp(text.at, b"-1", 2))
        or (text.size == 4 and not memcmp(text.at, b"null", 4))
    )


cdef Span span_of(bytes text):
    cdef Span span
    span.at = <const uint8_t *>PyBytes_AsString(text)
    span.size = PyBytes_Size(text)
    return span


cdef uint64_t hash_of(uint64_t array, Span text) noexcept nogil:
    """FNV-1a with a final mix (murmur3's)."""
    cdef uint64_t h = 14695981039346656037ULL ^ array * 0x9e3779b97f4a7c15ULL
    cdef size_t i
    for i in range(text.size):
        h = (h ^ text.at[i]) * 1099511628211ULL
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdULL
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ULL
    return h ^ h >> 33


cdef class JsonSplitter:
    """See _lists_json.pyi."""

    cdef core.hs_json scanner
    cdef core.hs_json_node nodes[MAX_NODES]
    cdef int node_count
    cdef core.hs_json_member members[12]
    cdef core.hs_json_value found[BATCH]
    cdef uint8_t *buf
    cdef size_t used, pos, capacity, max_bytes
    cdef uint64_t dropped_bytes, number
    cdef str what

    def __cinit__(self):
        self.buf = NULL

    def __dealloc__(self):
        free(self.buf)

    def __init__(self, paths, *, str what not None, size_t max_value_bytes, members=(), bint many=False):
        cdef int number
        self.what = what
        self.max_bytes = max_value_bytes
        self.nodes[0].path = self.nodes[0].child = self.nodes[0].next = -1
        self.node_count = 1
        for number, path in enumerate(paths):
            self.add_path(number, path)
        if len(members) > core.HS_JSON_MEMBERS:
            raise ValueError("too many members")
        for number, name in enumerate(members):
            raw = name.encode("ascii")
            if not 0 < len(raw) < 32:
                raise ValueError(name)
            self.members[number].name_bytes = len(raw)
            memcpy(self.members[number].name, PyBytes_AsString(raw), len(raw))
        core.hs_json_init(&self.scanner, self.nodes, self.members, len(members), many)

    cdef int add_path(self, int number, tuple path) except -1:
        cdef int at = 0, child
        for name in path:
            contains = name.startswith("*")
            raw = name.removeprefix("*").lower().encode("ascii")
            if len(raw) > 32 or self.node_count == MAX_NODES:
                raise ValueError(path)
            child = self.nodes[at].child
            while child >= 0:
                node = &self.nodes[child]
                if node.name_bytes == len(raw) and not memcmp(node.name, PyBytes_AsString(raw), len(raw)):
                    break
                child = node.next
            if child < 0:
                child = self.node_count
                self.node_count += 1
                node = &self.nodes[child]
                node.name_bytes = len(raw)
                memcpy(node.name, PyBytes_AsString(raw), len(raw))
                node.contains = contains
                node.path = node.child = -1
                node.next = self.nodes[at].child
                self.nodes[at].child = child
            at = child
        self.nodes[at].path = number
        return 0

    cdef int reserve(self, size_t more) except -1:
        """Moves what is still needed to the front, and makes room for `more` bytes behind it."""
        cdef size_t keep = core.hs_json_needed(&self.scanner, self.pos), capacity
        cdef uint8_t *grown
        if keep:
            memmove(self.buf, self.buf + keep, self.used - keep)
            core.hs_json_shift(&self.scanner, keep)
            self.used -= keep
            self.pos -= keep
            self.dropped_bytes += keep
        if self.used > self.max_bytes:
            raise ListFormatError(f"a record is larger than {self.max_bytes} bytes, at byte {self.dropped_bytes}")
        if self.used + more > self.capacity:
            capacity = max(self.used + more, self.capacity + self.capacity // 2)
            grown = <uint8_t *>realloc(self.buf, capacity)
            if grown == NULL:
                raise MemoryError
            self.buf = grown
            self.capacity = capacity
        return 0

    cdef int append(self, bytes chunk) except -1:
        cdef size_t length = PyBytes_Size(chunk)
        self.reserve(length)
        memcpy(self.buf + self.used, PyBytes_AsString(chunk), length)
        self.used += length
        return 0

    def feed(self, bytes chunk not None):
        """See _lists_json.pyi."""
        cdef size_t count
        cdef core.hs_json_status status
        cdef core.hs_json_value *v
        cdef size_t i
        cdef list values = []
        self.append(chunk)
        while self.pos < self.used:
            with nogil:
                status = core.hs_json_scan(&self.scanner, self.buf, self.used, &self.pos, self.found, BATCH, &count)
            for i in range(count):
                v = &self.found[i]
                raw = PyBytes_FromStringAndSize(<char *>self.buf + v.start, v.end - v.start)
                values.append((v.path, v.flags, raw))
            self.check(status)
        return values

    cdef int check(self, core.hs_json_status status) except -1:
        if status != core.HS_JSON_OK:
            raise ListFormatError(
                f"not the JSON of {self.what}: {_WANTED[status]} expected at byte {self.dropped_bytes + self.pos}"
            )
        return 0

    def note_ids(self, bytes chunk not None, SeenIds seen not None):
        """See _lists_json.pyi."""
        cdef list texts = []
        self.pass_over(chunk, seen, texts, None)
        return texts

    def dated_ids(self, bytes chunk not None, SeenIds seen not None):
        """See _lists_json.pyi."""
        cdef list dated = []
        self.pass_over(chunk, seen, [], dated)
        return dated

    cdef int pass_over(self, bytes chunk, SeenIds seen, list texts, list dated) except -1:
        cdef size_t count, i
        cdef core.hs_json_status status
        cdef core.hs_json_value *v
        cdef uint64_t h
        cdef Span id_, date
        self.append(chunk)
        while self.pos < self.used:
            with nogil:
                status = core.hs_json_scan(&self.scanner, self.buf, self.used, &self.pos, self.found, BATCH, &count)
            for i in range(count):
                v = &self.found[i]
                if v.path > LAST_RECORD_PATH:
                    texts.append(PyBytes_FromStringAndSize(<char *>self.buf + v.start, v.end - v.start))
                    continue
                self.number += 1
                id_, date = unquoted(self.span(v, ID)), unquoted(self.span(v, DATE))
                if is_nothing(id_) or is_nothing(date):
                    continue
                h = hash_of(v.array, id_)
                if dated is None:
                    seen.note(h)
                elif seen.has(h):
                    dated.append((self.number, v.array, PyBytes_FromStringAndSize(<char *>id_.at, id_.size),
                                  PyBytes_FromStringAndSize(<char *>date.at, date.size)))
            self.check(status)
        return 0

    cdef Span span(self, core.hs_json_value *v, int number) noexcept:
        """The text of a noted member; of no length if it is absent."""
        cdef Span span
        span.at = self.buf + v.start + v.member_start[number]
        span.size = v.member_end[number] - v.member_start[number]
        return span

    def finish(self):
        """See _lists_json.pyi."""
        if not core.hs_json_complete(&self.scanner):
            raise ListCutShortError(
                f"the JSON ends at byte {self.dropped_bytes + self.used}, before its top object is closed"
            )


cdef class Slots:
    """Sets the slots of a frozen data class; see lists/build.py for why."""

    cdef type cls
    cdef list keep
    cdef descrsetfunc set_slot
    cdef PyObject *descriptors[4]

    def __init__(self, type cls not None, names):
        self.cls = cls
        self.keep = [cls.__dict__[name] for name in names]
        for number, descriptor in enumerate(self.keep):
            self.descriptors[number] = <PyObject *>descriptor
        self.set_slot = <descrsetfunc>PyType_GetSlot(type(self.keep[0]), Py_tp_descr_set)

    cdef int set(self, int number, PyObject *made, value) except -1:
        return self.set_slot(self.descriptors[number], made, <PyObject *>value)

    cdef object new(self, a, b, c, d):
        made = PyType_GenericAlloc(self.cls, 0)
        cdef PyObject *raw = <PyObject *>made
        self.set(0, raw, a)
        self.set(1, raw, b)
        self.set(2, raw, c)
        self.set(3, raw, d)
        # It holds strings, numbers and a dict of bytes: no cycle can go through it, so the collector need not visit it.
        PyObject_GC_UnTrack(<PyObject *>made)
        return made


cdef uint8_t HEX[256]


cdef void fill_hex() noexcept:
    cdef int digit
    memset(HEX, 0xff, 256)
    for digit in range(10):
        HEX[0x30 + digit] = <uint8_t>digit
    for digit in range(6):
        HEX[0x41 + digit] = HEX[0x61 + digit] = <uint8_t>(10 + digit)


fill_hex()


cdef bytes plain_digest(Span text, size_t size, frozenset universal, const uint8_t *first_bytes):
    """The digest that the JSON value `text` is, or None if it needs a closer look."""
    cdef size_t i
    cdef bytes raw
    cdef uint8_t *out
    cdef const uint8_t *digits = text.at + 1
    cdef uint8_t high, low, odd = 0
    if text.size != 2 * size + 2 or text.at[0] != QUOTE:
        return None
    raw = PyBytes_FromStringAndSize(NULL, size)
    out = <uint8_t *>PyBytes_AsString(raw)
    for i in range(size):
        high, low = HEX[digits[2 * i]], HEX[digits[2 * i + 1]]
        odd |= high | low
        out[i] = <uint8_t>(high << 4 | low)
    if odd & 0xf0 or (first_bytes[out[0]] and raw in universal):
        return None
    return raw


cdef bint is_null(Span text) noexcept nogil:
    return text.size == 0 or (text.size == 4 and not memcmp(text.at, b"null", 4))


cdef Span unquoted(Span text) noexcept nogil:
    if text.size >= 2 and text.at[0] == QUOTE:
        text.at += 1
        text.size -= 2
    return text


cdef bint is_number(Span text) noexcept nogil:
    """Whether `text` is a whole number as writers give it: 1 to 18 digits and no zero before others."""
    cdef size_t i
    if not 0 < text.size <= 18 or (text.at[0] == 0x30 and text.size > 1):
        return False
    for i in range(text.size):
        if not 0x30 <= text.at[i] <= 0x39:
            return False
    return True


cdef bint is_simple_text(Span text) noexcept nogil:
    """Whether `text`, from within quotes, is visible ASCII without escapes, and short."""
    cdef size_t i
    if not 0 < text.size <= 200:
        return False
    for i in range(text.size):
        if not 0x20 < text.at[i] < 0x7f or text.at[i] == 0x5c:
            return False
    return True


cdef class MediaRecords:
    """See _lists_json.pyi."""

    cdef Slots new_record, new_listing
    cdef str source
    cdef frozenset universal
    cdef uint8_t first_bytes[256]
    cdef object grade, odd, superseded
    cdef dict grades
    cdef JsonSplitter splitter
    cdef readonly uint64_t count, similarity_count, superseded_count

    def __init__(self, JsonSplitter splitter not None, type record not None, type listing not None, str source not None,
                 *, universal, grade, odd, superseded):
        self.splitter = splitter
        self.new_record = Slots(record, ("digests", "size_bytes", "listing", "op"))
        self.new_listing = Slots(listing, ("source", "role", "category", "ref"))
        self.source = source
        self.universal = frozenset(universal)
        memset(self.first_bytes, 0, 256)
        for raw in self.universal:
            self.first_bytes[<uint8_t>PyBytes_AsString(raw)[0]] = 1
        self.grade = grade
        self.odd = odd
        self.superseded = superseded if superseded.count else None
        self.grades = {}

    def feed(self, bytes chunk not None):
        """See _lists_json.pyi."""
        cdef JsonSplitter s = self.splitter
        cdef size_t count
        cdef core.hs_json_status status
        s.append(chunk)
        batches = []
        while s.pos < s.used:
            with nogil:
                status = core.hs_json_scan(&s.scanner, s.buf, s.used, &s.pos, s.found, BATCH, &count)
            if count:
                batches.append(self.take(s, count))
            s.check(status)
        return batches

    cdef list take(self, JsonSplitter s, size_t count):
        cdef size_t i
        cdef core.hs_json_value *v
        cdef list records = []
        for i in range(count):
            v = &s.found[i]
            if v.path > LAST_RECORD_PATH:
                continue
            self.count += 1
            if self.superseded is not None and self.count in self.superseded:
                self.superseded_count += 1
                continue
            if s.span(v, PHOTODNA).size > 4 or s.span(v, PDNA).size > 4:  # more than null or two quotes
                self.similarity_count += 1
            # Members were found whatever the case of their names.
            record = None if v.flags & ~core.HS_JSON_ODD_NAME else self.plain(s, v)
            if record is None:
                raw = PyBytes_FromStringAndSize(<char *>s.buf + v.start, v.end - v.start)
                record = self.odd(raw, v.flags, self.count)
                if record is None:
                    continue
            records.append(record)
        return records

    cdef object plain(self, JsonSplitter s, core.hs_json_value *v):
        """The record of a plain object, or None if it needs a closer look."""
        cdef dict digests = {}
        cdef bytes raw
        cdef Span text = s.span(v, ALTERNATIVES)
        if not is_null(text) and not (text.size == 2 and text.at[0] == 0x5b):
            return None
        text = s.span(v, MD5)
        if not is_null(text):
            raw = plain_digest(text, 16, self.universal, self.first_bytes)
            if raw is None:
                return None
            digests["md5"] = raw
        text = s.span(v, SHA1)
        if not is_null(text):
            raw = plain_digest(text, 20, self.universal, self.first_bytes)
            if raw is None:
                return None
            digests["sha1"] = raw
        text = s.span(v, SHA256)
        if not is_null(text):
            raw = plain_digest(text, 32, self.universal, self.first_bytes)
            if raw is None:
                return None
            digests["sha256"] = raw
        if not digests:
            return None
        size = ref = None
        text = s.span(v, SIZE)
        if not is_null(text):
            text = unquoted(text)
            if not is_number(text):
                return None
            size = to_number(text) or None
        text = s.span(v, ID)
        if not is_null(text):
            if text.at[0] == QUOTE:
                text = unquoted(text)
                if not is_simple_text(text):
                    return None
            elif not is_number(text):
                return None
            ref = PyUnicode_FromStringAndSize(<const char *>text.at, text.size)
        text = s.span(v, CATEGORY)
        if text.size > 32:
            return None
        category = PyBytes_FromStringAndSize(<char *>text.at, text.size)
        grade = self.grades.get(category)
        if grade is None:
            grade = self.grade(category)
            if grade is None:
                return None
            if len(self.grades) < 1024:
                self.grades[category] = grade
        return self.new_record.new(
            digests, size, self.new_listing.new(self.source, (<tuple>grade)[0], (<tuple>grade)[1], ref), "add"
        )


cdef uint64_t to_number(Span text) noexcept nogil:
    cdef uint64_t number = 0
    cdef size_t i
    for i in range(text.size):
        number = number * 10 + text.at[i] - 0x30
    return number


cdef class SeenIds:
    """See _lists_json.pyi."""

    cdef uint64_t *bits
    cdef uint64_t mask
    cdef uint64_t *again
    cdef size_t again_count, again_capacity, max_again, first, last

    def __cinit__(self):
        self.bits = self.again = NULL

    def __dealloc__(self):
        free(self.bits)
        free(self.again)

    def __init__(self, size_t filter_bytes, size_t max_repeated):
        if not 64 <= filter_bytes <= 1 << 34 or filter_bytes & (filter_bytes - 1):
            raise ValueError(filter_bytes)
        self.bits = <uint64_t *>calloc(filter_bytes, 1)
        if self.bits == NULL:
            raise MemoryError
        self.mask = filter_bytes // 64 - 1
        self.max_again = max_repeated

    cdef int note(self, uint64_t h) except -1:
        """Counts the id of hash `h`; one that may have been there before is remembered."""
        cdef uint64_t *line = self.bits + (h & self.mask) * 8
        cdef uint64_t found = 1, bits = h >> 28  # 4 times 9 bits, none of which chose the line
        cdef int i
        for i in range(4):
            found &= line[bits >> 6 & 7] >> (bits & 63)
            line[bits >> 6 & 7] |= <uint64_t>1 << (bits & 63)
            bits >>= 9
        return self.remember(h) if found & 1 else 0

    cdef int remember(self, uint64_t h) except -1:
        cdef size_t capacity
        cdef uint64_t *grown
        if self.again_count == self.again_capacity:
            self.settle()
            if self.again_count * 2 >= self.again_capacity:
                if self.again_count > self.max_again:
                    raise ListFormatError(
                        f"more than {self.max_again} record ids stand in the list more than once; split the list"
                    )
                capacity = max(self.again_capacity * 2, 1024)
                grown = <uint64_t *>realloc(self.again, capacity * 8)
                if grown == NULL:
                    raise MemoryError
                self.again = grown
                self.again_capacity = capacity
        self.again[self.again_count] = h
        self.again_count += 1
        return 0

    cdef int settle(self) except -1:
        """Sorts what is remembered and drops what is there twice."""
        cdef size_t i, kept = 0
        if self.again_count:
            qsort(self.again, self.again_count, 8, compare)
        for i in range(self.again_count):
            if kept == 0 or self.again[kept - 1] != self.again[i]:
                self.again[kept] = self.again[i]
                kept += 1
        self.again_count = kept
        return 0

    def repeated(self):
        """See _lists_json.pyi."""
        self.settle()
        self.first, self.last = 0, self.again_count
        return self.again_count

    def select(self, size_t first, size_t count):
        """See _lists_json.pyi."""
        self.first = min(first, self.again_count)
        self.last = min(first + count, self.again_count)

    def note_text(self, bytes text not None):
        """See _lists_json.pyi."""
        self.note(hash_of(0, span_of(text)))

    def has_text(self, bytes text not None):
        """See _lists_json.pyi."""
        return self.has(hash_of(0, span_of(text)))

    cdef bint has(self, uint64_t h) noexcept:
        cdef size_t low = self.first, high = self.last, middle
        while low < high:
            middle = (low + high) // 2
            if self.again[middle] < h:
                low = middle + 1
            else:
                high = middle
        return low < self.last and self.again[low] == h


cdef int compare(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const uint64_t *>a)[0], y = (<const uint64_t *>b)[0]
    return (x > y) - (x < y)
