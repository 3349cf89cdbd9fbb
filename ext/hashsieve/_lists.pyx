"""Plain rows of text lists to packed digests. See _lists.pyi.

The rules that end a run (hs_text.h) hold pointers into the ``bytes`` of a ``Rules`` object, which lives as long as any
call on it; the work is done without the GIL.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython
cimport hashsieve.core as core

cdef extern from "Python.h":
    int PyObject_GenericSetAttr(object o, object name, object value) except -1

SIZE_COLUMN = core.HS_TEXT_SIZE
EMPTY_COLUMN = core.HS_TEXT_EMPTY
MAX_COLUMNS = core.HS_TEXT_MAX_COLUMNS


@cython.final
cdef class Rules:
    """Where runs of plain rows end: the end of a line, and the digests nobody may list."""

    cdef core.hs_text_rules rules
    cdef bytes stops_16, stops_20, stops_32

    def __init__(self, bytes end not None, stops not None):
        if len(end) != 1:
            raise ValueError("the end of a line is one byte")
        self.rules.end = end[0]
        by_length = {16: [], 20: [], 32: []}
        for digest in stops:
            by_length[len(digest)].append(bytes(digest))
        self.stops_16, self.stops_20, self.stops_32 = (b"".join(sorted(by_length[n])) for n in (16, 20, 32))
        self.rules.stops_16 = <const uint8_t *>PyBytes_AsString(self.stops_16)
        self.rules.stops_20 = <const uint8_t *>PyBytes_AsString(self.stops_20)
        self.rules.stops_32 = <const uint8_t *>PyBytes_AsString(self.stops_32)
        self.rules.stop_count_16 = len(self.stops_16) // 16
        self.rules.stop_count_20 = len(self.stops_20) // 20
        self.rules.stop_count_32 = len(self.stops_32) // 32

    def digest_lines(self, bytes text not None, uint64_t start, unsigned digest_bytes):
        """(packed digests, offset of the first line not taken) of the lines of *text* from *start* on."""
        if digest_bytes not in (16, 20, 32):
            raise ValueError("digests have 16, 20 or 32 bytes")
        cdef uint64_t length = PyBytes_Size(text), max_rows, rows
        if start > length:
            raise ValueError("the start lies behind the text")
        max_rows = (length - start) // (2 * digest_bytes + 1)
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, max_rows * digest_bytes)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AsString(text) + start
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(packed)
        cdef size_t used = 0
        with nogil:
            rows = core.hs_text_digest_lines(&self.rules, data, length - start, digest_bytes, out, max_rows, &used)
        return packed[:rows * digest_bytes], start + used

    def tagged_lines(self, bytes text not None, uint64_t start, bytes tag not None, unsigned digest_bytes):
        """The same of the lines ``TAG (NAME) = HEX``; *tag* is all before the name."""
        if digest_bytes not in (16, 20, 32):
            raise ValueError("digests have 16, 20 or 32 bytes")
        cdef uint64_t length = PyBytes_Size(text), max_rows, rows
        if start > length:
            raise ValueError("the start lies behind the text")
        cdef size_t tag_bytes = PyBytes_Size(tag), used = 0
        max_rows = (length - start) // (2 * digest_bytes + tag_bytes + 5)
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, max_rows * digest_bytes)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AsString(text) + start
        cdef const uint8_t *tag_data = <const uint8_t *>PyBytes_AsString(tag)
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(packed)
        with nogil:
            rows = core.hs_text_tagged_lines(&self.rules, data, length - start, tag_data, tag_bytes, digest_bytes, out,
                                             max_rows, &used)
        return packed[:rows * digest_bytes], start + used

    def keyed_lines(self, bytes text not None, uint64_t start, bytes separator not None, unsigned digest_bytes,
                    bint sized):
        """(packed digests, sizes as native int64 or empty, offset of the first line not taken)."""
        if digest_bytes not in (16, 20, 32):
            raise ValueError("digests have 16, 20 or 32 bytes")
        if len(separator) != 1:
            raise ValueError("a separator is one byte")
        cdef uint64_t length = PyBytes_Size(text), max_rows, rows
        if start > length:
            raise ValueError("the start lies behind the text")
        cdef size_t used = 0
        cdef uint8_t between = separator[0]
        max_rows = (length - start) // (2 * digest_bytes + 2)
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, max_rows * digest_bytes)
        cdef bytes sizes = PyBytes_FromStringAndSize(NULL, max_rows * 8 if sized else 0)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AsString(text) + start
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(packed)
        cdef int64_t *out_sizes = <int64_t *>PyBytes_AsString(sizes) if sized else NULL
        with nogil:
            rows = core.hs_text_keyed_lines(&self.rules, data, length - start, digest_bytes, between, out, out_sizes,
                                            max_rows, &used)
        return packed[:rows * digest_bytes], sizes[:rows * 8], start + used

    def sized_rows(self, bytes text not None, uint64_t start, columns not None):
        """(packed rows, sizes as native int64, offset of the first line not taken). *columns*: (length in bytes, offset
        in the packed row) for each column between size and name, (0, 0) where it is passed over."""
        return self.rows_of(text, start, columns, 0, False)

    def split_rows(self, bytes text not None, uint64_t start, left not None, right not None):
        """The same of rows that are split at commas, *left* columns from the left and *right* ones from the right; (0,
        SIZE_COLUMN) is the size, (0, EMPTY_COLUMN) has to be empty."""
        return self.rows_of(text, start, [*left, *right], len(left), True)

    cdef tuple rows_of(self, bytes text, uint64_t start, columns, unsigned left_count, bint split):
        cdef core.hs_text_column wanted[core.HS_TEXT_MAX_COLUMNS]
        cdef unsigned count = len(columns), row_bytes = 0, i
        if count > core.HS_TEXT_MAX_COLUMNS:
            raise ValueError(f"more than {core.HS_TEXT_MAX_COLUMNS} columns")
        cdef uint64_t length = PyBytes_Size(text), max_rows, rows, least = 1 + count if split else 3 + count
        if start > length:
            raise ValueError("the start lies behind the text")
        for i in range(count):
            wanted[i].digest_bytes, wanted[i].offset = columns[i]
            if wanted[i].digest_bytes not in (0, 16, 20, 32):
                raise ValueError("digests have 16, 20 or 32 bytes")
            row_bytes += wanted[i].digest_bytes
            least += 2 * wanted[i].digest_bytes
        for i in range(count):
            if wanted[i].digest_bytes and wanted[i].offset + wanted[i].digest_bytes > row_bytes:
                raise ValueError("a digest lies outside of its row")
        max_rows = (length - start) // least
        cdef bytes packed = PyBytes_FromStringAndSize(NULL, max_rows * row_bytes)
        cdef bytes sizes = PyBytes_FromStringAndSize(NULL, max_rows * 8)
        cdef const uint8_t *data = <const uint8_t *>PyBytes_AsString(text) + start
        cdef uint8_t *out = <uint8_t *>PyBytes_AsString(packed)
        cdef int64_t *out_sizes = <int64_t *>PyBytes_AsString(sizes)
        cdef size_t used = 0
        with nogil:
            if split:
                rows = core.hs_text_split_rows(&self.rules, data, length - start, wanted, left_count,
                                               count - left_count, row_bytes, out, out_sizes, max_rows, &used)
            else:
                rows = core.hs_text_sized_rows(&self.rules, data, length - start, wanted, count, row_bytes, out,
                                               out_sizes, max_rows, &used)
        return packed[:rows * row_bytes], sizes[:rows * 8], start + used


def records(type record_type not None, tuple kinds not None, bytes digests not None, sizes, object listing,
            uint64_t start, uint64_t stop):
    """The packed rows *start* to *stop* as objects of *record_type*, whose fields are set as its own constructor would.

    *kinds*: (name, length in bytes) of each digest in a row. *sizes*: native int64, 0 for none, or None for no sizes.
    """
    cdef uint64_t row_bytes = 0, row, at
    cdef list out = []
    cdef dict named
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AsString(digests)
    cdef const int64_t[::1] size_of
    cdef bint sized = sizes is not None
    cdef object record, name
    cdef uint64_t digest_bytes
    for name, digest_bytes in kinds:
        row_bytes += digest_bytes
    if row_bytes == 0 or start > stop or stop > PyBytes_Size(digests) // row_bytes:
        raise ValueError("the rows do not lie within the digests")
    if sized:
        size_of = sizes
        if size_of.shape[0] < <int64_t>stop:
            raise ValueError("fewer sizes than rows")
    for row in range(start, stop):
        named = {}
        at = row * row_bytes
        for name, digest_bytes in kinds:
            named[name] = PyBytes_FromStringAndSize(<const char *>data + at, digest_bytes)
            at += digest_bytes
        record = record_type.__new__(record_type)
        PyObject_GenericSetAttr(record, "digests", named)
        PyObject_GenericSetAttr(record, "size_bytes", size_of[row] if sized and size_of[row] else None)
        PyObject_GenericSetAttr(record, "listing", listing)
        PyObject_GenericSetAttr(record, "op", "add")
        out.append(record)
    return out
