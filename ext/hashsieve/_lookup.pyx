"""Open, verify and ask a set file. See _lookup.pyi for shapes, units and errors.

Buffers and lifetimes live here; hs_set.c does the work without the GIL. ``close`` never pulls memory out from under a
lookup in another thread: the last one out frees it.
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

cimport hashsieve.core as core

import os

from hashsieve.errors import (
    HashsieveError,
    SetDamagedError,
    SetError,
    SetFormatError,
    SetSealError,
    SetVersionError,
    SetWrongKeyError,
    shown,
)

META, FILTER, FENCES, TABLE = core.HS_SECTION_META, core.HS_SECTION_FILTER, core.HS_SECTION_FENCES, core.HS_SECTION_TABLE
SHARED, ENTRIES, GROUPS, REFS = core.HS_SECTION_SHARED, core.HS_SECTION_ENTRIES, core.HS_SECTION_GROUPS, core.HS_SECTION_REFS
SEALED = core.HS_SECTION_SEALED
SECTION_NAMES = {META: "description", FILTER: "filter", FENCES: "fences", TABLE: "table", SHARED: "shared entries",
                 ENTRIES: "entries", GROUPS: "listing groups", REFS: "record ids",
                 SEALED: "sealed"}


cdef const core.hs_os *os_table(object capsule) except NULL:
    if capsule is None:
        return &core.hs_os_libc
    return <const core.hs_os *>PyCapsule_GetPointer(capsule, core.HS_OS_CAPSULE)


cdef class SetFile:
    """An open set file, one generation for ever."""

    cdef core.hs_set set
    cdef readonly str path
    cdef object os_capsule
    cdef bint open_
    cdef bint ready[4]  # set under the GIL when a kind is loaded: a lookup in another thread sees all of it or nothing
    cdef int users

    def __init__(self, path, *, seals=(), os_capsule=None):
        cdef core.hs_set_error error
        cdef core.hs_set_status status
        cdef const core.hs_os *table = os_table(os_capsule)
        cdef int fd
        cdef const core.hs_seal **keys
        cdef unsigned key_count = 0
        self.os_capsule = os_capsule
        if self.open_:
            raise ValueError("a set file object is opened once")
        self.path = os.fsdecode(path)
        memset(&error, 0, sizeof(error))
        try:
            # Not through the table: opening by path is Python's work (wide names on Windows), reading is core's.
            fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "strerror", None) or str(problem)
            raise SetError(f"{shown(path)}: cannot be opened: {reason}") from None
        pinned = []
        keys = <const core.hs_seal **>malloc(max(len(seals), 1) * sizeof(core.hs_seal *))
        try:
            if keys == NULL:
                raise MemoryError
            for seal in seals:
                keys[key_count] = <const core.hs_seal *>PyCapsule_GetPointer(seal.pin(), b"hashsieve.hs_seal")
                pinned.append(seal)
                key_count += 1
            with nogil:
                status = core.hs_set_open(&self.set, table, fd, core.hs_cpu_features(), keys, key_count, &error)
        except BaseException:
            os.close(fd)
            raise
        finally:
            free(keys)
            for seal in pinned:
                seal.unpin()
        if status != core.HS_SET_OK:
            os.close(fd)
            self.raise_for(&error)
        self.open_ = True

    def __dealloc__(self):
        if self.open_:
            core.hs_set_close(&self.set)
            os.close(self.set.fd)

    cdef int raise_for(self, core.hs_set_error *error) except -1:
        name = shown(self.path)
        where = ""
        if error.section:
            where = f", section {SECTION_NAMES.get(error.section >> 8, 'unknown')} ({error.section:#x})"
        if error.page:
            where += f", page {error.page}"
        text = (<bytes>error.text).decode("ascii") if error.text != NULL else "failed"
        if error.status == core.HS_SET_MEMORY:
            raise MemoryError(f"{name}{where}: {text}")
        if error.status == core.HS_SET_NEWER:
            raise SetVersionError(f"{name}{where}: {text}; install a newer hashsieve")
        if error.status == core.HS_SET_DAMAGED:
            raise SetDamagedError(f"{name}{where}: {text}; the file is damaged, install a good copy")
        if error.status == core.HS_SET_IO:
            raise SetDamagedError(f"{name}{where}: {text}: {os.strerror(error.os_errno)}")
        if error.status == core.HS_SET_SEALED:
            raise SetSealError(f"{name}: is sealed; pass --seal-key with the key it was sealed with (seal_key= in Python)")
        if error.status == core.HS_SET_WRONG_KEY:
            raise SetWrongKeyError(f"{name}: {text} than the one given: it names the key "
                                   f"{(<bytes>self.set.seal_key_id[:16]).hex()}; pass that one with --seal-key")
        raise SetFormatError(f"{name}{where}: {text}")

    cdef int enter(self) except -1:
        if not self.open_:
            raise SetError(f"{shown(self.path)}: the set was closed")
        self.users += 1
        return 0

    cdef int leave(self) except -1:
        self.users -= 1
        return 0

    def close(self):
        """Gives memory and file back. SetError while another thread is in a lookup. Closing twice is fine."""
        if not self.open_:
            return
        if self.users:
            raise SetError(f"{shown(self.path)}: the set is in use by another thread")
        self.open_ = False
        memset(self.ready, 0, sizeof(self.ready))
        core.hs_set_close(&self.set)
        os.close(self.set.fd)

    def pin(self):
        """A capsule named ``hashsieve.hs_set`` for another native module; the set cannot be closed until ``unpin``."""
        self.enter()
        return PyCapsule_New(&self.set, b"hashsieve.hs_set", NULL)

    def unpin(self):
        """Ends one ``pin``; its capsule must not be used any more."""
        self.leave()

    @property
    def closed(self):
        """Was ``close`` called?"""
        return not self.open_

    @property
    def header(self):
        """The header's facts, as a dict."""
        cdef unsigned k
        return {
            "generation": self.set.generation,
            "valid_until": self.set.valid_until,
            "entries": self.set.entry_count,
            "pages": self.set.page_count,
            "file_bytes": self.set.file_bytes,
            "sizes": "trusted" if self.set.sizes_policy else "ignored",
            "bits_per_entry": self.set.filter_millibits / 1000,
            "root": PyBytes_FromStringAndSize(<char *>self.set.root, 32),
            "seal_key_id": PyBytes_FromStringAndSize(<char *>self.set.seal_key_id, 16),
            "set_id": PyBytes_FromStringAndSize(<char *>self.set.set_id, 16),
            "sealed": self.set.seal != NULL,
            "signatures": tuple([((<bytes>self.set.signatures[i][:32]), (<bytes>self.set.signatures[i][32:96]))
                                 for i in range(self.set.signature_count)]),
            "kinds": tuple([k + 1 for k in range(4) if self.set.kinds[k].table_section != NULL]),
            "shapes": tuple([(self.set.shapes[i].shape, self.set.shapes[i].count) for i in range(self.set.shape_count)]),
        }

    cdef bytes read_section(self, const core.hs_section *section, uint64_t offset, uint64_t length):
        cdef core.hs_set_page page
        cdef core.hs_set_error error
        cdef core.hs_set_status status
        if offset > section.length or length > section.length - offset:
            raise SetFormatError(f"{shown(self.path)}: a reference points outside of its section")
        cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
        cdef char *to = PyBytes_AsString(out)
        page.number = 0
        self.enter()
        try:
            with nogil:
                status = core.hs_set_read(&self.set, section, offset, to, length, &page, &error)
        finally:
            self.leave()
        if status != core.HS_SET_OK:
            self.raise_for(&error)
        return out

    def sealed_length(self):
        """Length in bytes of the sealed section."""
        return self.set.sealed.length if self.set.sealed != NULL else 0

    def sealed_bytes(self, uint64_t offset, uint64_t length):
        """``length`` bytes at ``offset`` of the sealed section as they are stored, checked."""
        if self.set.sealed == NULL:
            raise SetFormatError(f"{shown(self.path)}: is not sealed")
        return self.read_section(self.set.sealed, offset, length)

    def keys(self, unsigned kind, const uint8_t[::1] digests not None):
        """What the kind's table holds for these packed digests: they themselves, or their fingerprints."""
        cdef unsigned width
        cdef uint64_t count
        cdef bytes out
        cdef const uint8_t *made
        self.check_kind(kind)
        width = core.hs_set_digest_width(kind)
        count = digests.shape[0] // width
        if <uint64_t>digests.shape[0] != count * width:
            raise ValueError(f"{digests.shape[0]} bytes are not packed digests of {width} bytes")
        if not count or not self.set.seal:
            return bytes(digests)
        self.enter()
        try:
            out = PyBytes_FromStringAndSize(NULL, count * core.HS_FINGERPRINT_BYTES)
            made = core.hs_set_keys(&self.set, kind, &digests[0], count, <uint8_t *>PyBytes_AsString(out))
        finally:
            self.leave()
        return out

    def meta(self):
        """The bytes of the description section, checked."""
        return self.read_section(self.set.meta, 0, self.set.meta.length)

    def groups(self):
        """The bytes of the listing groups section, checked; empty where there is none."""
        return self.read_section(self.set.groups, 0, self.set.groups.length) if self.set.groups != NULL else b""

    def refs(self, uint64_t offset, uint64_t length):
        """``length`` bytes (cut at the section's end) at ``offset`` of the record id section, checked."""
        if self.set.refs == NULL or offset >= self.set.refs.length:
            raise SetFormatError(f"{shown(self.path)}: an entry points to a record id that is not there")
        return self.read_section(self.set.refs, offset, min(length, self.set.refs.length - offset))

    def load(self, unsigned kind):
        """Loads filter and fences of a kind into private memory and checks every page of them."""
        cdef core.hs_set_error error
        cdef core.hs_set_status status
        self.check_kind(kind)
        self.enter()
        try:
            with nogil:
                status = core.hs_set_load_kind(&self.set, kind, &error)
        finally:
            self.leave()
        if status != core.HS_SET_OK:
            self.raise_for(&error)
        self.ready[kind - 1] = self.set.kinds[kind - 1].filter.blocks != NULL

    def loaded(self, unsigned kind):
        """Is the filter of this kind in memory?"""
        self.check_kind(kind)
        return bool(self.ready[kind - 1])

    def filter_bytes(self, unsigned kind):
        """Size of the kind's filter in bytes, whether loaded or not."""
        self.check_kind(kind)
        return self.set.kinds[kind - 1].filter_section.length if self.set.kinds[kind - 1].filter_section != NULL else 0

    def fpr(self, unsigned kind):
        """False-positive rate of the loaded filter for a random digest, exact for its bits."""
        cdef double rate
        self.check_loaded(kind)
        self.enter()
        try:
            with nogil:
                rate = core.hs_bloom_fpr(&self.set.kinds[kind - 1].filter)
        finally:
            self.leave()
        return rate

    def verify(self, progress=None):
        """Reads and checks every page. ``progress(done_pages)`` is called between stretches and may raise to stop."""
        cdef core.hs_set_error error
        cdef core.hs_set_status status = core.HS_SET_OK
        cdef core.hs_set_page *page = <core.hs_set_page *>malloc(sizeof(core.hs_set_page))
        cdef uint64_t number, end
        if page == NULL:
            raise MemoryError
        self.enter()
        try:
            page.number = 0
            number = 1
            while number <= self.set.page_count:
                end = min(number + 4096, self.set.page_count + 1)
                with nogil:
                    while number < end and status == core.HS_SET_OK:
                        status = core.hs_set_read_page(&self.set, number, page, &error)
                        number += 1
                if status != core.HS_SET_OK:
                    self.raise_for(&error)
                if progress is not None:
                    progress(number - 1)
        finally:
            free(page)
            self.leave()

    cdef int check_kind(self, unsigned kind) except -1:
        if kind < 1 or kind > 4:
            raise ValueError(f"digest kind codes are 1 to 4, not {kind}")
        return 0

    cdef int check_loaded(self, unsigned kind) except -1:
        self.check_kind(kind)
        if not self.open_:
            raise SetError(f"{shown(self.path)}: the set was closed")
        if not self.ready[kind - 1]:
            raise SetError(f"{shown(self.path)}: the digest kind was not loaded")
        return 0

    def probe_into(self, unsigned kind, const uint8_t[::1] digests not None, uint8_t[::1] may_match not None):
        """Filter only. ``digests``: n packed digests; ``may_match``: n bytes, set to 1 or 0. Returns how many may match."""
        cdef unsigned width = core.hs_set_digest_width(kind)
        cdef uint64_t count, found
        cdef uint8_t *room = NULL
        cdef const uint8_t *keys
        self.check_loaded(kind)
        count = may_match.shape[0]
        if <uint64_t>digests.shape[0] != count * width:
            raise ValueError(f"{digests.shape[0]} bytes are not {count} digests of {width} bytes")
        if count == 0:
            return 0
        self.enter()
        try:
            room = self.room_for_keys(count)
            with nogil:
                keys = core.hs_set_keys(&self.set, kind, &digests[0], count, room)
                found = core.hs_set_probe(&self.set, kind, keys, count, &may_match[0])
        finally:
            free(room)
            self.leave()
        return found

    cdef uint8_t *room_for_keys(self, uint64_t count) except? NULL:
        """Room for the fingerprints of so many digests; none for a plain set."""
        cdef uint8_t *room
        if self.set.seal == NULL:
            return NULL
        room = <uint8_t *>malloc(count * core.HS_FINGERPRINT_BYTES)
        if room == NULL:
            raise MemoryError
        return room

    def lookup_into(self, unsigned kind, const uint8_t[::1] digests not None, int64_t[::1] entries not None):
        """``digests``: n packed digests; ``entries``: n numbers, each set to the first entry or -1. GIL released once."""
        cdef unsigned width = core.hs_set_digest_width(kind)
        cdef uint64_t count = entries.shape[0], found = 0
        cdef uint8_t *may = NULL
        cdef uint8_t *room = NULL
        cdef const uint8_t *keys
        cdef core.hs_set_candidate *candidates = NULL
        cdef core.hs_set_page *page = NULL
        cdef core.hs_set_error error
        cdef core.hs_set_status status = core.HS_SET_OK
        self.check_loaded(kind)
        if <uint64_t>digests.shape[0] != count * width:
            raise ValueError(f"{digests.shape[0]} bytes are not {count} digests of {width} bytes")
        if count == 0:
            return
        self.enter()
        try:
            may = <uint8_t *>malloc(count)
            page = <core.hs_set_page *>malloc(sizeof(core.hs_set_page))
            if may == NULL or page == NULL:
                raise MemoryError
            room = self.room_for_keys(count)
            with nogil:
                keys = core.hs_set_keys(&self.set, kind, &digests[0], count, room)
                found = core.hs_set_probe(&self.set, kind, keys, count, may)
            if found:
                candidates = <core.hs_set_candidate *>malloc(found * sizeof(core.hs_set_candidate))
                if candidates == NULL:
                    raise MemoryError
            with nogil:
                page.number = 0
                memset(&entries[0], 0xff, count * sizeof(int64_t))
                if found:
                    core.hs_set_collect(&self.set, kind, keys, may, count, candidates)
                    status = core.hs_set_confirm(&self.set, kind, keys, candidates, found, &entries[0], page, &error)
            if status != core.HS_SET_OK:
                self.raise_for(&error)
        finally:
            free(may)
            free(room)
            free(candidates)
            free(page)
            self.leave()

    def find(self, unsigned kind, bytes digest not None):
        """One digest: None, or the numbers of all its entries in order. Nothing is read for most unlisted digests."""
        cdef uint8_t may
        cdef core.hs_set_page page
        cdef core.hs_set_error error
        cdef core.hs_set_status status = core.HS_SET_OK
        cdef core.hs_set_hit hit
        cdef int found = 0
        cdef uint64_t entry = 0, index = 0
        cdef uint8_t room[16]
        cdef const uint8_t *bytes_ = <const uint8_t *>PyBytes_AsString(digest)
        self.check_loaded(kind)
        if <unsigned>PyBytes_Size(digest) != core.hs_set_digest_width(kind):
            raise ValueError(f"a digest of kind {kind} has {core.hs_set_digest_width(kind)} bytes, not {len(digest)}")
        bytes_ = core.hs_set_keys(&self.set, kind, bytes_, 1, room)
        if not core.hs_set_probe(&self.set, kind, bytes_, 1, &may):
            return None
        page.number = 0
        self.enter()
        try:
            with nogil:
                status = core.hs_set_find(&self.set, kind, bytes_, &page, &found, &hit, &error)
            if status != core.HS_SET_OK:
                self.raise_for(&error)
            if not found:
                return None
            out = [hit.entry]
            while hit.more:
                with nogil:
                    status = core.hs_set_further(&self.set, kind, hit.row, index, &page, &found, &entry, &error)
                if status != core.HS_SET_OK:
                    self.raise_for(&error)
                if not found:
                    break
                out.append(entry)
                index += 1
            return out
        finally:
            self.leave()

    def entry(self, uint64_t number):
        """(what the tables hold by kind code, size or None, group number or offset, group lies in the record ids)."""
        cdef core.hs_set_page page
        cdef core.hs_set_error error
        cdef core.hs_set_status status
        cdef core.hs_set_entry entry
        cdef uint8_t digest[32]
        cdef unsigned k
        page.number = 0
        self.enter()
        try:
            with nogil:
                status = core.hs_set_entry_at(&self.set, number, &page, &entry, &error)
            if status != core.HS_SET_OK:
                self.raise_for(&error)
            digests = {}
            for k in range(4):
                if entry.shape >> k & 1:
                    with nogil:
                        status = core.hs_set_digest_at(&self.set, k + 1, entry.rows[k], &page, digest, &error)
                    if status != core.HS_SET_OK:
                        self.raise_for(&error)
                    digests[k + 1] = PyBytes_FromStringAndSize(<char *>digest, self.set.kinds[k].digest_width)
        finally:
            self.leave()
        return digests, entry.size if entry.has_size else None, entry.group, bool(entry.group_in_refs)


def sha256_once(const uint8_t[::1] data not None, bint portable=False):
    """SHA-256 of a buffer by the native code: by the chosen kernel, or by the portable one."""
    cdef uint8_t digest[32]
    cdef uint8_t nothing = 0
    cdef size_t length = data.shape[0]
    cdef const uint8_t *p = &data[0] if length else &nothing
    cdef core.hs_sha256_compress compress = core.hs_sha256_compress_portable if portable else core.hs_sha256_choose(core.hs_cpu_features())
    with nogil:
        core.hs_sha256_once(compress, p, length, digest)
    return PyBytes_FromStringAndSize(<char *>digest, 32)


def probe_agrees(const uint8_t[::1] blocks not None, const uint8_t[::1] digests not None, unsigned width):
    """Tests: answers of the chosen probe kernel and of the portable one for the same filter bytes, as a pair of bytes."""
    cdef core.hs_bloom filter_
    cdef size_t count = digests.shape[0] // width
    if blocks.shape[0] % 32 or not blocks.shape[0] or not count or width < 12:
        raise ValueError("blocks of 32 bytes and digests of at least 12 bytes")
    filter_.blocks = &blocks[0]
    filter_.block_count = blocks.shape[0] // 32
    chosen, portable = bytearray(count), bytearray(count)
    cdef uint8_t[::1] a = chosen, b = portable
    core.hs_bloom_choose(core.hs_cpu_features())(&filter_, &digests[0], width, count, &a[0])
    core.hs_bloom_probe_portable(&filter_, &digests[0], width, count, &b[0])
    return bytes(chosen), bytes(portable)
