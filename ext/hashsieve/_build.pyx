"""Turns records into the sections of a set file. For one thread at a time; nothing here is needed to *use* a set.

Records wait as packed rows, one array for each shape (which kinds a record carries). Sorting and page hashing run
without the GIL. The order of entries is: shape, then digests byte by byte, then size -- so equal records give equal
bytes whatever order they came in.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

cimport hashsieve.core as core

from hashsieve.errors import UsageError

cdef extern from "Python.h":
    # Not cpython.exc's declaration: the exception it leaves behind is raised later, by sort_rows.
    int PyErr_CheckSignals() noexcept


cdef enum:
    SHAPES = 16
    KINDS = 4
    # Behind the digests of a row: size + 1 (8, big-endian; 0 = none), class (4, big-endian), ref offset + 1 (8; 0 = no
    # ref), ref length (4). Rows are sorted by digests, size and class.
    TAIL = 24
    KEY_TAIL = 12
    PAGE = 4096
    CHUNK_PAGES = 256
    MAX_GROUP_BYTES = 64 * 1024 * 1024

cdef struct Shape:
    uint8_t *rows
    uint64_t count, capacity
    unsigned digest_bytes, width
    # After merging: digests packed at the start of `rows`, one entry each.
    uint64_t entries, first_entry
    uint64_t *sizes
    uint64_t *groups
    uint64_t *row_of[KINDS]


cdef class PageWriter:
    """Writes sections as 4 KiB pages to a binary file object and collects their hashes.

    ``file`` must stand at offset 4096 (page 1). ``set_id``: 16 bytes.
    """

    cdef object file
    cdef uint8_t set_id[16]
    cdef uint8_t *chunk
    cdef uint64_t used, page, length
    cdef uint32_t section
    cdef core.hs_sha256_compress compress
    cdef readonly list hashes
    cdef readonly list sections

    def __cinit__(self):
        self.chunk = <uint8_t *>malloc(CHUNK_PAGES * PAGE)
        if self.chunk == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.chunk)

    def __init__(self, file, bytes set_id not None):
        if len(set_id) != 16:
            raise ValueError("a set id has 16 bytes")
        memcpy(self.set_id, PyBytes_AsString(set_id), 16)
        self.file = file
        self.page = 1
        self.compress = core.hs_sha256_choose(core.hs_cpu_features())
        self.hashes = []
        self.sections = []

    cdef int flush(self) except -1:
        """Pads the chunk to whole pages, hashes and writes them."""
        cdef uint64_t pages = (self.used + PAGE - 1) // PAGE, i
        if pages == 0:
            return 0
        cdef bytes hashes = PyBytes_FromStringAndSize(NULL, pages * 16)
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(hashes)
        memset(self.chunk + self.used, 0, pages * PAGE - self.used)
        with nogil:
            for i in range(pages):
                core.hs_set_hash_page(self.set_id, self.section, self.page + i, self.chunk + i * PAGE, self.compress,
                                      out + 16 * i)
        cdef object rest = memoryview(<const uint8_t[:pages * PAGE]>self.chunk)
        while rest.nbytes:  # a raw file may take less than it was given
            rest = rest[self.file.write(rest):]
        self.hashes.append(hashes)
        self.page += pages
        self.used = 0
        return 0

    cdef int put(self, const uint8_t *data, uint64_t length) except -1:
        cdef uint64_t take
        self.length += length
        while length:
            take = min(length, CHUNK_PAGES * PAGE - self.used)
            memcpy(self.chunk + self.used, data, take)
            self.used += take
            data += take
            length -= take
            if self.used == CHUNK_PAGES * PAGE:
                self.flush()
        return 0

    cdef int pad_page(self) except -1:
        cdef uint64_t rest = self.used % PAGE
        if rest:
            memset(self.chunk + self.used, 0, PAGE - rest)
            self.used += PAGE - rest
            self.length += PAGE - rest
            if self.used == CHUNK_PAGES * PAGE:
                self.flush()
        return 0

    cdef int begin(self, uint32_t section) except -1:
        self.section = section
        self.length = 0
        return 0

    cdef int end(self, uint64_t count, uint64_t aux, bint must_understand=True) except -1:
        cdef uint64_t first = self.page * PAGE
        if self.used == 0 and self.length == 0:
            raise ValueError("a section must not be empty")
        # Pages of this section that were flushed earlier lie before self.page.
        cdef uint64_t flushed = self.length - self.used
        first -= flushed
        self.flush()
        self.sections.append((self.section, 1 if must_understand else 0, first, self.length, count, aux))
        return 0

    def write_section(self, uint32_t section, bytes data not None, uint64_t count=0, uint64_t aux=0,
                      bint must_understand=True):
        """A whole section at once."""
        self.begin(section)
        self.put(<const uint8_t *>PyBytes_AsString(data), PyBytes_Size(data))
        self.end(count, aux, must_understand)


cdef int poll_signals(void *ctx) noexcept nogil:
    """Lets Ctrl-C and SIGTERM through in the middle of a long sort; the exception is raised when the sort has returned."""
    with gil:
        return PyErr_CheckSignals()


cdef int sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes) except -1:
    cdef int stopped
    with nogil:
        stopped = core.hs_sort_rows(rows, count, width, key_bytes, poll_signals, NULL)
    return -1 if stopped else 0


cdef inline unsigned digest_bytes_of(unsigned shape) noexcept nogil:
    cdef unsigned total = 0, k
    for k in range(KINDS):
        if shape >> k & 1:
            total += core.hs_set_digest_width(k + 1)
    return total


cdef bytes varint(uint64_t value):
    cdef bytearray out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


cdef class Builder:
    """Collects records and writes them as a set.

    ``add`` and ``add_packed`` first, ``merge`` once, then ``write_sections``. Listing classes (source, role, category) are
    numbers given by the caller; ``merge`` is told their final order.
    """

    cdef Shape shapes[SHAPES]
    cdef uint8_t *refs
    cdef uint64_t refs_used, refs_capacity
    cdef uint8_t *out_refs
    cdef uint64_t out_refs_used, out_refs_capacity
    cdef dict group_numbers
    cdef list group_bytes
    cdef bint merged
    cdef readonly uint64_t entry_count, record_count
    cdef readonly dict role_counts
    cdef uint64_t largest_size, largest_group
    cdef readonly uint64_t conflicts
    cdef readonly bint every_size
    # Per kind after `tables`: packed rows (digest, value), their number, shared pairs.
    cdef uint8_t *table[KINDS]
    cdef uint64_t table_rows[KINDS]
    cdef uint64_t *pairs[KINDS]
    cdef uint64_t pair_count[KINDS]
    cdef uint64_t pair_capacity[KINDS]
    cdef unsigned union_shape
    cdef uint64_t test_row[KINDS]
    cdef uint64_t test_group
    cdef bytes test_digests
    cdef uint64_t test_size

    def __cinit__(self):
        cdef unsigned shape
        for shape in range(SHAPES):
            self.shapes[shape].digest_bytes = digest_bytes_of(shape)
            self.shapes[shape].width = self.shapes[shape].digest_bytes + TAIL
        self.group_numbers = {}
        self.group_bytes = []
        self.role_counts = {}

    def __dealloc__(self):
        cdef unsigned shape, k
        for shape in range(SHAPES):
            free(self.shapes[shape].rows)
            free(self.shapes[shape].sizes)
            free(self.shapes[shape].groups)
            for k in range(KINDS):
                free(self.shapes[shape].row_of[k])
        for k in range(KINDS):
            free(self.table[k])
            free(self.pairs[k])
        free(self.refs)
        free(self.out_refs)

    cdef uint8_t *new_rows(self, Shape *s, uint64_t count) except NULL:
        cdef uint64_t capacity
        cdef uint8_t *grown
        if s.count + count > s.capacity:
            capacity = max(s.capacity + s.capacity // 2, s.count + count, 1024)
            grown = <uint8_t *>realloc(s.rows, capacity * s.width)
            if grown == NULL:
                raise MemoryError(f"no memory for {capacity} records")
            s.rows = grown
            s.capacity = capacity
        s.count += count
        self.record_count += count
        return s.rows + (s.count - count) * s.width

    def add(self, unsigned shape, bytes digests not None, int64_t size, uint32_t class_number, bytes ref):
        """One record. ``shape``: bit (kind code - 1) for each kind; ``digests``: their bytes in code order; ``size`` -1 = none."""
        if self.merged or shape == 0 or shape >= SHAPES or PyBytes_Size(digests) != self.shapes[shape].digest_bytes:
            raise ValueError("digests do not fit the shape, or the builder was merged already")
        cdef Shape *s = &self.shapes[shape]
        cdef uint64_t offset = 0, length = 0
        if ref is not None:
            length = PyBytes_Size(ref)
            offset = self.keep_ref(<const uint8_t *>PyBytes_AsString(ref), length) + 1
        cdef uint8_t *row = self.new_rows(s, 1)
        memcpy(row, PyBytes_AsString(digests), s.digest_bytes)
        row += s.digest_bytes
        core.hs_store64be(row, <uint64_t>(size + 1))
        core.hs_store32be(row + 8, class_number)
        core.hs_store64le(row + 12, offset)
        core.hs_store32le(row + 20, <uint32_t>length)

    def add_packed(self, unsigned shape, const uint8_t[::1] digests not None, uint32_t class_number):
        """Many records of one listing without sizes and refs: ``digests`` are packed one after another."""
        cdef Shape *s = &self.shapes[shape]
        if self.merged or shape == 0 or shape >= SHAPES or digests.shape[0] % s.digest_bytes:
            raise ValueError("digests do not fit the shape, or the builder was merged already")
        cdef uint64_t count = digests.shape[0] // s.digest_bytes, i
        if count == 0:
            return
        cdef uint8_t *row = self.new_rows(s, count)
        cdef const uint8_t *from_ = &digests[0]
        with nogil:
            for i in range(count):
                memcpy(row, from_ + i * s.digest_bytes, s.digest_bytes)
                memset(row + s.digest_bytes, 0, TAIL)
                core.hs_store32be(row + s.digest_bytes + 8, class_number)
                row += s.width

    cdef uint64_t keep_ref(self, const uint8_t *ref, uint64_t length) except? 0xffffffffffffffff:
        cdef uint64_t capacity
        cdef uint8_t *grown
        if self.refs == NULL or self.refs_used + length > self.refs_capacity:
            capacity = max(self.refs_capacity * 2, self.refs_used + length, 4096)
            grown = <uint8_t *>realloc(self.refs, capacity)
            if grown == NULL:
                raise MemoryError("no memory for record ids")
            self.refs = grown
            self.refs_capacity = capacity
        memcpy(self.refs + self.refs_used, ref, length)
        self.refs_used += length
        return self.refs_used - length

    cdef uint64_t keep_out_ref(self, bytes group) except? 0xffffffffffffffff:
        cdef uint64_t length = PyBytes_Size(group), capacity
        cdef uint8_t *grown
        if self.out_refs_used + length > self.out_refs_capacity:
            capacity = max(self.out_refs_capacity * 2, self.out_refs_used + length, 4096)
            grown = <uint8_t *>realloc(self.out_refs, capacity)
            if grown == NULL:
                raise MemoryError("no memory for record ids")
            self.out_refs = grown
            self.out_refs_capacity = capacity
        memcpy(self.out_refs + self.out_refs_used, PyBytes_AsString(group), length)
        self.out_refs_used += length
        return self.out_refs_used - length

    cdef uint64_t shared_group(self, bytes group) except? 0xffffffffffffffff:
        number = self.group_numbers.get(group)
        if number is None:
            number = len(self.group_bytes)
            self.group_numbers[group] = number
            self.group_bytes.append(group)
        return number

    cdef tuple group_of(self, Shape *s, uint64_t first, uint64_t count, list class_roles):
        """Group value and roles of the rows first .. first + count - 1, which differ in nothing but their listings."""
        cdef uint64_t i, offset
        cdef uint32_t length
        cdef uint8_t *row
        listings = set()
        for i in range(first, first + count):
            row = s.rows + i * s.width + s.digest_bytes
            offset = core.hs_load64le(row + 12)
            length = <uint32_t>core.hs_load_le(row + 20, 4)
            ref = PyBytes_FromStringAndSize(<char *>self.refs + offset - 1, length) if offset else None
            listings.add((core.hs_load32be(row + 8), ref))
        # A listing without a ref sorts before one with an empty ref.
        ordered = sorted(listings, key=lambda item: (item[0], item[1] is not None, item[1] or b""))
        parts = [varint(len(ordered))]  # joined at the end: one digest may have very many ids
        with_ref = False
        for class_number, ref in ordered:
            parts.append(varint(class_number))
            if ref is None:
                parts.append(varint(0))
            else:
                with_ref = True
                parts.append(varint(len(ref) + 1))
                parts.append(ref)
        body = b"".join(parts)
        roles = frozenset(class_roles[class_number] for class_number, _ in ordered)
        group = varint(len(body)) + body
        if with_ref:
            if len(body) > MAX_GROUP_BYTES:
                raise UsageError(f"the record ids of one entry take more than {MAX_GROUP_BYTES} bytes")
            return self.keep_out_ref(group) << 1 | 1, roles
        return self.shared_group(group) << 1, roles

    def merge(self, list final_class, list class_roles, check=None):
        """Sorts and merges all records. ``final_class[n]`` is the final number of class n; ``class_roles`` is by final number.

        ``check`` is called now and then and may raise to stop the work.
        """
        cdef unsigned shape
        cdef Shape *s
        cdef uint64_t i, next_, first = 0, entry, known = 0xffffffffffffffff
        cdef uint32_t class_number, class_count = len(final_class)
        cdef uint32_t *remap = <uint32_t *>malloc(max(class_count, 1) * 4)
        cdef uint64_t *single = <uint64_t *>malloc(max(class_count, 1) * 8)
        cdef uint64_t *single_count = <uint64_t *>calloc(max(class_count, 1), 8)
        cdef uint8_t *row
        cdef uint64_t size, key
        if remap == NULL or single == NULL or single_count == NULL:
            free(remap); free(single); free(single_count)
            raise MemoryError
        try:
            for i in range(class_count):
                remap[i] = final_class[i]
                single[i] = known
            self.merged = True
            self.every_size = True
            for shape in range(1, SHAPES):
                s = &self.shapes[shape]
                if s.count == 0:
                    continue
                self.union_shape |= shape
                with nogil:
                    for i in range(s.count):
                        row = s.rows + i * s.width + s.digest_bytes + 8
                        core.hs_store32be(row, remap[core.hs_load32be(row)])
                sort_rows(s.rows, s.count, s.width, s.digest_bytes + KEY_TAIL)
                if check is not None:
                    check()
                s.sizes = <uint64_t *>malloc(s.count * 8)
                s.groups = <uint64_t *>malloc(s.count * 8)
                if s.sizes == NULL or s.groups == NULL:
                    raise MemoryError(f"no memory for {s.count} entries")
                s.first_entry = first
                entry = 0
                i = 0
                key = s.digest_bytes + 8
                while i < s.count:
                    row = s.rows + i * s.width
                    next_ = i + 1
                    while next_ < s.count and memcmp(row, s.rows + next_ * s.width, key) == 0:
                        next_ += 1
                    class_number = core.hs_load32be(row + s.digest_bytes + 8)
                    size = core.hs_load64be(row + s.digest_bytes)
                    if next_ == i + 1 and core.hs_load64le(row + s.digest_bytes + 12) == 0:
                        # By far the most common case: one listing, no ref.
                        if single[class_number] == known:
                            single[class_number] = self.group_of(s, i, 1, class_roles)[0]
                        s.groups[entry] = single[class_number]
                        single_count[class_number] += 1
                    else:
                        group, roles = self.group_of(s, i, next_ - i, class_roles)
                        s.groups[entry] = group
                        for role in roles:
                            self.role_counts[role] = self.role_counts.get(role, 0) + 1
                    s.sizes[entry] = size
                    if size == 0:
                        self.every_size = False
                    if size > self.largest_size:
                        self.largest_size = size
                    if s.groups[entry] > self.largest_group:
                        self.largest_group = s.groups[entry]
                    # Digests move to the front; they never overtake the row being read.
                    memmove(s.rows + entry * s.digest_bytes, row, s.digest_bytes)
                    entry += 1
                    i = next_
                    if check is not None and entry % 1000000 == 0:
                        check()
                s.entries = entry
                first += entry
            self.entry_count = first
            for i in range(class_count):
                if single_count[i]:
                    role = class_roles[i]
                    self.role_counts[role] = self.role_counts.get(role, 0) + single_count[i]
        finally:
            free(remap); free(single); free(single_count)

    def set_test_entry(self, bytes digests not None, uint32_t class_number, uint64_t size):
        """The built-in test entry: ``digests`` of all four kinds in code order. Call after ``merge``, before ``tables``."""
        body = varint(1) + varint(class_number) + varint(0)
        self.test_digests = digests
        self.test_group = self.shared_group(varint(len(body)) + body) << 1
        self.largest_group = max(self.largest_group, self.test_group)
        self.test_size = size
        self.largest_size = max(self.largest_size, size + 1)

    cdef int add_pair(self, unsigned k, uint64_t row, uint64_t entry) except -1:
        cdef uint64_t capacity
        cdef uint64_t *grown
        if self.pair_count[k] == self.pair_capacity[k]:
            capacity = max(self.pair_capacity[k] * 2, 256)
            grown = <uint64_t *>realloc(self.pairs[k], capacity * 16)
            if grown == NULL:
                raise MemoryError("no memory for shared digests")
            self.pairs[k] = grown
            self.pair_capacity[k] = capacity
        self.pairs[k][2 * self.pair_count[k]] = row
        self.pairs[k][2 * self.pair_count[k] + 1] = entry
        self.pair_count[k] += 1
        return 0

    cdef bint contradict(self, unsigned k, list entries):
        """Do two of these entries, which share a digest of kind k, carry different digests of another kind?"""
        cdef unsigned shape, j, at, width
        cdef Shape *s
        cdef uint64_t entry
        cdef dict first = {}
        for entry in entries:
            for shape in range(1, SHAPES):
                s = &self.shapes[shape]
                if s.first_entry <= entry < s.first_entry + s.entries:
                    at = 0
                    for j in range(KINDS):
                        if not shape >> j & 1:
                            continue
                        width = core.hs_set_digest_width(j + 1)
                        if j != k:
                            digest = PyBytes_FromStringAndSize(
                                <char *>s.rows + (entry - s.first_entry) * s.digest_bytes + at, width)
                            if first.setdefault(j, digest) != digest:
                                return True
                        at += width
        return False

    def tables(self, check=None):
        """Builds the table of every kind: distinct digests in order, each with its first entry."""
        cdef unsigned k, j, shape, width, at, pair_width
        cdef Shape *s
        cdef uint64_t total, n, i, j_, row, first, further, next_
        cdef uint8_t *pairs
        cdef uint8_t *p
        for k in range(KINDS):
            if not self.union_shape >> k & 1:
                continue
            width = core.hs_set_digest_width(k + 1)
            pair_width = width + 8
            total = 1 if self.test_digests is not None else 0
            for shape in range(1, SHAPES):
                if shape >> k & 1:
                    total += self.shapes[shape].entries
            pairs = <uint8_t *>malloc(total * pair_width)
            if pairs == NULL:
                raise MemoryError(f"no memory for {total} digests")
            self.table[k] = pairs
            n = 0
            for shape in range(1, SHAPES):
                s = &self.shapes[shape]
                if not shape >> k & 1 or not s.entries:
                    continue
                s.row_of[k] = <uint64_t *>malloc(s.entries * 8)
                if s.row_of[k] == NULL:
                    raise MemoryError(f"no memory for {s.entries} entries")
                at = 0
                for j in range(k):
                    if shape >> j & 1:
                        at += core.hs_set_digest_width(j + 1)
                with nogil:
                    for i in range(s.entries):
                        p = pairs + n * pair_width
                        memcpy(p, s.rows + i * s.digest_bytes + at, width)
                        core.hs_store64be(p + width, s.first_entry + i)
                        n += 1
            if self.test_digests is not None:
                at = 0
                for j in range(k):
                    at += core.hs_set_digest_width(j + 1)
                p = pairs + n * pair_width
                memcpy(p, PyBytes_AsString(self.test_digests) + at, width)
                core.hs_store64be(p + width, self.entry_count)
                n += 1
            sort_rows(pairs, n, pair_width, pair_width)
            if check is not None:
                check()
            # Distinct digests move to the front with value = first entry << 1 | more.
            row = 0
            i = 0
            while i < n:
                p = pairs + i * pair_width
                next_ = i + 1
                while next_ < n and memcmp(p, pairs + next_ * pair_width, width) == 0:
                    next_ += 1
                first = core.hs_load64be(p + width)
                self.note_row(k, first, row)
                if next_ > i + 1:
                    members = [first]
                    for j_ in range(i + 1, next_):
                        further = core.hs_load64be(pairs + j_ * pair_width + width)
                        members.append(further)
                        self.note_row(k, further, row)
                        self.add_pair(k, row, further)
                    if self.contradict(k, [m for m in members if m < self.entry_count]):
                        self.conflicts += 1
                if row != i:
                    memcpy(pairs + row * pair_width, p, width)
                core.hs_store64le(pairs + row * pair_width + width, first << 1 | (next_ > i + 1))
                row += 1
                i = next_
            self.table_rows[k] = row

    cdef int note_row(self, unsigned k, uint64_t entry, uint64_t row) except -1:
        cdef unsigned shape
        cdef Shape *s
        if entry == self.entry_count:
            self.test_row[k] = row
            return 0
        for shape in range(1, SHAPES):
            s = &self.shapes[shape]
            if s.row_of[k] != NULL and s.first_entry <= entry < s.first_entry + s.entries:
                s.row_of[k][entry - s.first_entry] = row
                return 0
        raise AssertionError("an entry belongs to no shape")

    cdef int implicit_kind(self):
        """The kind whose table runs parallel to the entries, so that neither stores the other's number; -1 when none.

        So it is when all entries have one shape and no digest of its lowest kind is shared.
        """
        cdef unsigned shape = self.union_shape, k = 0
        if not shape or self.shapes[shape].entries != self.entry_count:
            return -1
        while not shape >> k & 1:
            k += 1
        return -1 if self.pair_count[k] else <int>k

    def distinct_counts(self):
        """Distinct digests by kind code, the test digest not counted unless a record lists it too."""
        cdef unsigned k
        cdef uint64_t own, p
        cdef dict out = {}
        for k in range(KINDS):
            if self.union_shape >> k & 1:
                own = self.table_rows[k]
                if self.test_digests is not None:
                    p = core.hs_load64le(self.table[k] + self.test_row[k] * (core.hs_set_digest_width(k + 1) + 8)
                                         + core.hs_set_digest_width(k + 1))
                    if p >> 1 == self.entry_count:
                        own -= 1
                out[k + 1] = own
        return out

    def write_sections(self, PageWriter writer not None, uint64_t millibits, check=None):
        """All sections but the description, in file order."""
        cdef unsigned k
        for k in range(KINDS):
            if self.union_shape >> k & 1:
                self.write_filter(writer, k, millibits)
                self.write_table(writer, k, check)
        cdef unsigned shape
        for shape in range(1, SHAPES):
            if self.shapes[shape].entries:
                self.write_entries(writer, shape, check)
        if self.test_digests is not None and self.union_shape:
            self.write_test_entry(writer)
        if self.group_bytes:
            writer.write_section(core.HS_SECTION_GROUPS << 8, b"".join(self.group_bytes), len(self.group_bytes))
        if self.out_refs_used:
            writer.begin(core.HS_SECTION_REFS << 8)
            writer.put(self.out_refs, self.out_refs_used)
            writer.end(0, 0)

    cdef int write_filter(self, PageWriter writer, unsigned k, uint64_t millibits) except -1:
        cdef unsigned width = core.hs_set_digest_width(k + 1)
        cdef uint64_t blocks = core.hs_bloom_block_count(self.table_rows[k], millibits)
        cdef uint8_t *filter_ = <uint8_t *>calloc(blocks, 32)
        if filter_ == NULL:
            raise MemoryError(f"no memory for a filter of {blocks * 32} bytes")
        try:
            with nogil:
                core.hs_bloom_insert(filter_, blocks, 0, self.table[k], width + 8, self.table_rows[k])
            writer.begin(core.HS_SECTION_FILTER << 8 | (k + 1))
            writer.put(filter_, blocks * 32)
            writer.end(blocks, 0)
        finally:
            free(filter_)
        return 0

    cdef int write_table(self, PageWriter writer, unsigned k, check) except -1:
        cdef unsigned width = core.hs_set_digest_width(k + 1), pair_width = width + 8
        cdef bint implicit = self.implicit_kind() == <int>k
        cdef unsigned entry_width = 0 if implicit else core.hs_set_width_of(self.entry_count << 1 | 1)
        cdef unsigned row_width = width + entry_width, per_page = PAGE // row_width, row_number_width, pair_bytes
        cdef uint64_t rows = self.table_rows[k], i
        cdef uint8_t row[64]
        writer.begin(core.HS_SECTION_FENCES << 8 | (k + 1))
        for i in range(0, rows, per_page):
            core.hs_store64le(row, core.hs_load64be(self.table[k] + i * pair_width))
            writer.put(row, 8)
        writer.end((rows + per_page - 1) // per_page, 0)
        writer.begin(core.HS_SECTION_TABLE << 8 | (k + 1))
        for i in range(rows):
            if i and i % per_page == 0:
                writer.pad_page()
                if check is not None and i % 1000000 < per_page:
                    check()
            memcpy(row, self.table[k] + i * pair_width, width)
            core.hs_store_le(row + width, entry_width, core.hs_load64le(self.table[k] + i * pair_width + width))
            writer.put(row, row_width)
        writer.pad_page()
        writer.end(rows, (self.test_row[k] + 1) << 8 if implicit and self.test_digests is not None else entry_width)
        if not self.pair_count[k]:
            return 0
        row_number_width = core.hs_set_width_of(rows)
        entry_width = core.hs_set_width_of(self.entry_count)
        pair_bytes = row_number_width + entry_width
        per_page = PAGE // pair_bytes
        writer.begin(core.HS_SECTION_SHARED << 8 | (k + 1))
        for i in range(self.pair_count[k]):
            if i and i % per_page == 0:
                writer.pad_page()
            core.hs_store_le(row, row_number_width, self.pairs[k][2 * i])
            core.hs_store_le(row + row_number_width, entry_width, self.pairs[k][2 * i + 1])
            writer.put(row, pair_bytes)
        writer.pad_page()
        writer.end(self.pair_count[k], row_number_width | entry_width << 8)
        return 0

    cdef (unsigned, unsigned, unsigned) entry_widths(self):
        cdef uint64_t rows = 0
        cdef unsigned k
        for k in range(KINDS):
            rows = max(rows, self.table_rows[k])
        return (core.hs_set_width_of(rows), core.hs_set_width_of(self.largest_size) if self.largest_size else 0,
                core.hs_set_width_of(self.largest_group))

    cdef int write_entries(self, PageWriter writer, unsigned shape, check) except -1:
        cdef Shape *s = &self.shapes[shape]
        cdef unsigned row_width, size_width, group_width, width, per_page, k
        cdef int implicit = self.implicit_kind()
        cdef uint64_t i
        cdef uint8_t out[64]
        cdef uint8_t *p
        row_width, size_width, group_width = self.entry_widths()
        width = size_width + group_width
        for k in range(KINDS):
            if shape >> k & 1 and <int>k != implicit:
                width += row_width
        per_page = PAGE // width
        writer.begin(core.HS_SECTION_ENTRIES << 8 | shape)
        for i in range(s.entries):
            if i and i % per_page == 0:
                writer.pad_page()
                if check is not None and i % 1000000 < per_page:
                    check()
            p = out
            for k in range(KINDS):
                if shape >> k & 1 and <int>k != implicit:
                    core.hs_store_le(p, row_width, s.row_of[k][i])
                    p += row_width
            core.hs_store_le(p, size_width, s.sizes[i])
            core.hs_store_le(p + size_width, group_width, s.groups[i])
            writer.put(out, width)
        writer.pad_page()
        writer.end(s.entries, row_width | size_width << 8 | group_width << 16 | (implicit >= 0) << 24)
        return 0

    cdef int write_test_entry(self, PageWriter writer) except -1:
        cdef unsigned row_width, size_width, group_width, k
        cdef int implicit = self.implicit_kind()
        cdef uint8_t out[64]
        cdef uint8_t *p = out
        row_width, size_width, group_width = self.entry_widths()
        for k in range(KINDS):
            if self.union_shape >> k & 1 and <int>k != implicit:
                core.hs_store_le(p, row_width, self.test_row[k])
                p += row_width
        core.hs_store_le(p, size_width, self.test_size + 1)
        core.hs_store_le(p + size_width, group_width, self.test_group)
        writer.begin(core.HS_SECTION_ENTRIES << 8 | core.HS_SHAPE_TEST | self.union_shape)
        writer.put(out, (p - out) + size_width + group_width)
        writer.pad_page()
        writer.end(1, row_width | size_width << 8 | group_width << 16 | (implicit >= 0) << 24)
        return 0


def sort_rows_once(uint8_t[::1] rows not None, size_t width, size_t key_bytes):
    """Tests: sorts packed rows of ``width`` bytes in place by their first ``key_bytes`` bytes with the native sort."""
    if not 0 < width <= core.HS_SORT_MAX_WIDTH or key_bytes > width or rows.shape[0] % width:
        raise ValueError("rows of 1 to 256 bytes, and a key that fits into them")
    if rows.shape[0]:
        sort_rows(&rows[0], rows.shape[0] // width, width, key_bytes)
