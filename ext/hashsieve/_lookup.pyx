"""Open, verify and ask a set file. See _lookup.pyi for shapes, units and errors.

Buffers and lifetimes live here; hs_set.c does the work without the GIL. ``close`` never pulls memory out from under a
lookup in another thread: the last one out frees it.
"""

from cpython.bytearray cimport PyByteArray_AsString
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

cimport hashsieve.core as core

import os
import threading
from array import array

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
    cdef str absolute
    cdef object stat_at_open

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
        self.absolute = os.path.abspath(self.path)  # where file_state looks, wherever the process goes meanwhile
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
        self.stat_at_open = os.fstat(fd)
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

    def file_state(self):
        """Is the file still what it was when it was opened: ``same``, ``changed``, ``replaced`` or ``gone``."""
        self.enter()
        try:
            now, then = os.fstat(self.set.fd), self.stat_at_open
        finally:
            self.leave()
        if (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns):
            return "changed"
        try:
            there = os.stat(self.absolute)
        except (OSError, ValueError):
            return "gone"
        return "same" if (there.st_dev, there.st_ino) == (then.st_dev, then.st_ino) else "replaced"

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
        cdef uint8_t *pages = <uint8_t *>malloc(<size_t>core.HS_SET_WINDOW_PAGES * core.HS_SET_PAGE_BYTES)
        cdef uint64_t number, end, step
        if pages == NULL:
            raise MemoryError
        self.enter()
        try:
            number = 1
            while number <= self.set.page_count:
                end = min(number + 4096, self.set.page_count + 1)
                with nogil:
                    while number < end and status == core.HS_SET_OK:
                        step = core.hs_set_section_run(&self.set, number)
                        if step > end - number:
                            step = end - number
                        if step > <uint64_t>core.HS_SET_WINDOW_PAGES:
                            step = core.HS_SET_WINDOW_PAGES
                        status = core.hs_set_read_pages(&self.set, number, step, pages, &error)
                        number += step
                if status != core.HS_SET_OK:
                    self.raise_for(&error)
                if progress is not None:
                    progress(number - 1)
        finally:
            free(pages)
            self.leave()

    def copy_into(self, int fd):
        """Writes the file to a descriptor; nothing reaches it that was not checked, the root page's signatures excepted."""
        cdef core.hs_set_error error
        cdef core.hs_set_status status = core.HS_SET_OK
        cdef uint64_t number, step, stretch = 256
        cdef uint8_t[::1] pages
        cdef core.hs_sha256 hash_
        cdef uint8_t root[32]
        out = bytearray(stretch * core.HS_SET_PAGE_BYTES)
        pages = out
        self.enter()
        try:
            header = self.read_raw(0, core.HS_SET_PAGE_BYTES)
            page_list = self.read_raw(self.set.page_list_offset,
                                      self.set.file_bytes - core.HS_SET_PAGE_BYTES - self.set.page_list_offset)
            core.hs_sha256_init(&hash_, self.set.compress)
            core.hs_sha256_update(&hash_, <const uint8_t *>PyBytes_AsString(header), core.HS_SET_PAGE_BYTES)
            core.hs_sha256_update(&hash_, <const uint8_t *>PyBytes_AsString(page_list), self.set.page_list_bytes)
            core.hs_sha256_final(&hash_, root)
            if memcmp(root, self.set.root, 32) or page_list[self.set.page_list_bytes:].strip(b"\0"):
                raise SetDamagedError(f"{shown(self.path)}: was changed while it was open; install a good copy")
            write_all(fd, header)
            number = 1
            while number <= self.set.page_count:
                step = min(core.hs_set_section_run(&self.set, number), stretch)
                with nogil:
                    status = core.hs_set_read_pages(&self.set, number, step, &pages[0], &error)
                if status != core.HS_SET_OK:
                    self.raise_for(&error)
                write_all(fd, memoryview(out)[:step * core.HS_SET_PAGE_BYTES])
                number += step
            write_all(fd, page_list)
            write_all(fd, self.read_raw(self.set.file_bytes - core.HS_SET_PAGE_BYTES, core.HS_SET_PAGE_BYTES))
        finally:
            self.leave()

    cdef bytes read_raw(self, uint64_t offset, uint64_t length):
        """Bytes as they lie in the file, not checked."""
        cdef core.hs_set_error error
        cdef core.hs_set_status status
        cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
        cdef char *to = PyBytes_AsString(out)
        with nogil:
            status = core.hs_set_read_raw(&self.set, offset, to, length, &error)
        if status != core.HS_SET_OK:
            self.raise_for(&error)
        return out

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

    def probe_into(self, unsigned kind, const uint8_t[::1] digests not None, uint8_t[::1] may_match not None, int threads=1):
        """Filter only. ``digests``: n packed digests; ``may_match``: n bytes, set to 1 or 0. Returns how many may match."""
        cdef Batch batch = self.batch(kind, digests, may_match.shape[0])
        if batch.count == 0:
            return 0
        batch.may_match = &may_match[0]
        self.enter()
        try:
            return in_parts(batch.probe, parts_for(batch.count, threads))
        finally:
            self.leave()

    def lookup_into(self, unsigned kind, const uint8_t[::1] digests not None, int64_t[::1] entries not None, int threads=1):
        """``digests``: n packed digests; ``entries``: n numbers, each set to the first entry or -1. Without the GIL."""
        cdef Batch batch = self.batch(kind, digests, entries.shape[0])
        cdef int parts = parts_for(batch.count, threads)
        if batch.count == 0:
            return
        self.enter()
        try:
            batch.own_memory()
            batch.entries = &entries[0]
            if in_parts(batch.probe, parts):
                # By ranges of digests, not of the batch: each page is then read and checked by one thread, once.
                in_parts(batch.confirm, parts)
        finally:
            self.leave()

    def mark_listed(self, unsigned kind, const uint8_t[::1] digests not None, uint8_t[::1] flags not None, int threads=1):
        """Sets ``flags[i]`` to 1 for each digest that is listed, and leaves the others. Returns how many are."""
        cdef Batch batch = self.batch(kind, digests, flags.shape[0])
        cdef int parts = parts_for(batch.count, threads)
        cdef uint64_t i, found = 0
        if batch.count == 0:
            return 0
        self.enter()
        try:
            batch.own_memory()
            batch.own_entries()
            if in_parts(batch.probe, parts):
                in_parts(batch.confirm, parts)
                with nogil:
                    for i in range(batch.count):
                        if batch.entries[i] >= 0:
                            flags[i] = 1
                            found += 1
        finally:
            self.leave()
        return found

    cdef Batch batch(self, unsigned kind, const uint8_t[::1] digests, uint64_t count):
        cdef unsigned width = core.hs_set_digest_width(kind)
        cdef Batch batch
        self.check_loaded(kind)
        if <uint64_t>digests.shape[0] != count * width:
            raise ValueError(f"{digests.shape[0]} bytes are not {count} digests of {width} bytes")
        batch = Batch.__new__(Batch)
        batch.file = self
        batch.kind = kind
        batch.width = width
        batch.count = count
        batch.digests = batch.keys = &digests[0] if count else NULL
        batch.key_width = self.set.kinds[kind - 1].digest_width
        if self.set.seal != NULL and count:
            batch.keys = batch.key_memory = <uint8_t *>malloc(count * batch.key_width)
            if batch.key_memory == NULL:
                raise MemoryError
        return batch

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


cdef class Batch:
    """One batch of digests on its way through filter and table, in parts that any threads may work on at once."""

    cdef SetFile file
    cdef unsigned kind, width
    cdef uint64_t count
    cdef const uint8_t *digests
    cdef const uint8_t *keys  # what the table holds for them: the digests, or fingerprints that `probe` makes
    cdef uint8_t *key_memory
    cdef unsigned key_width
    cdef uint8_t *may_match
    cdef uint8_t *memory  # may_match, where it is this object's own
    cdef int64_t *entries
    cdef int64_t *entry_memory

    def __dealloc__(self):
        free(self.key_memory)
        free(self.memory)
        free(self.entry_memory)

    cdef int own_memory(self) except -1:
        self.may_match = self.memory = <uint8_t *>malloc(self.count)
        if self.memory == NULL:
            raise MemoryError
        return 0

    cdef int own_entries(self) except -1:
        self.entries = self.entry_memory = <int64_t *>malloc(self.count * sizeof(int64_t))
        if self.entry_memory == NULL:
            raise MemoryError
        return 0

    def probe(self, unsigned part, unsigned parts):
        """The filter for one stretch of the batch; its entries become -1. Returns how many may match."""
        cdef uint64_t start = self.count // parts * part
        cdef uint64_t length = (self.count if part + 1 == parts else self.count // parts * (part + 1)) - start
        cdef uint64_t found
        cdef uint8_t *room = self.key_memory + start * self.key_width if self.key_memory != NULL else NULL
        cdef const uint8_t *keys
        with nogil:
            keys = core.hs_set_keys(&self.file.set, self.kind, self.digests + start * self.width, length, room)
            found = core.hs_set_probe(&self.file.set, self.kind, keys, length, self.may_match + start)
            if self.entries != NULL:
                memset(self.entries + start, 0xff, length * sizeof(int64_t))
        return found

    def confirm(self, unsigned part, unsigned parts):
        """The table for the filter hits in one range of digests."""
        cdef core.hs_set_candidate *candidates = NULL
        cdef core.hs_set_window *window = NULL
        cdef core.hs_set_error error
        cdef core.hs_set_status status = core.HS_SET_OK
        cdef uint64_t found
        with nogil:
            found = core.hs_set_collect(&self.file.set, self.kind, self.keys, self.may_match, self.count, part, parts, NULL)
        if not found:
            return 0
        try:
            candidates = <core.hs_set_candidate *>malloc(found * sizeof(core.hs_set_candidate))
            window = <core.hs_set_window *>malloc(sizeof(core.hs_set_window))
            if candidates == NULL or window == NULL:
                raise MemoryError
            with nogil:
                window.page.number = 0
                core.hs_set_collect(&self.file.set, self.kind, self.keys, self.may_match, self.count, part, parts, candidates)
                status = core.hs_set_confirm(&self.file.set, self.kind, self.keys, candidates, found, self.entries, window,
                                             &error)
            if status != core.HS_SET_OK:
                self.file.raise_for(&error)
        finally:
            free(candidates)
            free(window)
        return 0


cdef int parts_for(uint64_t count, int threads) except -1:
    if threads < 1:
        raise ValueError(f"threads is a number of at least 1, not {threads}")
    # A thread costs about 100 microseconds to start, what some 10,000 digests cost.
    return max(1, min(threads, count // 65536))


cdef object in_parts(object work, int parts):
    """``work(part, parts)`` for every part, the first in this thread; the sum of what they return. Raises what one raised."""
    if parts == 1:
        return work(0, 1)
    results, problems = [0] * parts, []

    def run(part):
        try:
            results[part] = work(part, parts)
        except BaseException as problem:
            problems.append(problem)

    threads = []
    try:
        for part in range(1, parts):
            thread = threading.Thread(target=run, args=(part,), name="hashsieve-lookup", daemon=True)
            thread.start()
            threads.append(thread)
        run(0)
    finally:
        # Whatever comes: they work on the caller's memory, so nobody leaves before they have.
        for thread in threads:
            while thread.is_alive():
                try:
                    thread.join()
                except BaseException as problem:
                    problems.append(problem)
    if problems:
        raise problems[0]
    return sum(results)


cdef class DigestLines:
    """A stretch of text with a digest on each line, and the text of answers to it."""

    cdef bytes text
    cdef core.hs_hex_line *lines
    cdef size_t line_count
    cdef uint8_t *digests[3]
    cdef size_t counts[3]
    cdef size_t reached[3]  # digests passed by `answer`
    cdef size_t reached_line
    cdef readonly size_t consumed
    cdef list held

    def __cinit__(self, bytes text not None, bint last, size_t room=65536):
        cdef size_t length = len(text)
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AsString(text)
        cdef unsigned slot, width
        if length >= 1 << 31:
            raise ValueError("text comes in stretches of less than 2 GiB")
        self.text = text
        self.held = []
        self.lines = <core.hs_hex_line *>malloc(max(room, 1) * sizeof(core.hs_hex_line))
        if self.lines == NULL:
            raise MemoryError
        for slot, width in enumerate((16, 20, 32)):
            packed = bytearray(length // (2 * width) * width + width)
            self.held.append(packed)
            self.digests[slot] = <uint8_t *>PyByteArray_AsString(packed)
            self.reached[slot] = 0
        with nogil:
            self.line_count = core.hs_hex_lines(p, length, last, self.lines, room, self.digests, self.counts, &self.consumed)

    def __dealloc__(self):
        free(self.lines)

    def __len__(self):
        return self.line_count

    def digests_of(self, unsigned width):
        """The digests of this width, packed, in the order of their lines."""
        cdef int slot = core.hs_hex_slot(width)
        return memoryview(self.held[slot])[:self.counts[slot] * width]

    def answer(self, dict before, dict after, dict hits):
        """The text for all lines up to the next that is no plain miss, and that line: see the stub."""
        cdef const uint8_t *pre[3]
        cdef const uint8_t *post[3]
        cdef const uint8_t *hit[3]
        cdef size_t pre_bytes[3]
        cdef size_t post_bytes[3]
        cdef size_t reached[3]
        cdef size_t need = 0, at = self.reached_line, line
        cdef unsigned slot, width, what
        cdef bytes piece
        cdef bytearray flags
        for slot, width in enumerate((16, 20, 32)):
            piece = before[width]
            pre[slot], pre_bytes[slot] = <const uint8_t *>PyBytes_AsString(piece), len(piece)
            piece = after[width]
            post[slot], post_bytes[slot] = <const uint8_t *>PyBytes_AsString(piece), len(piece)
            flags = hits[width]
            if <size_t>len(flags) < self.counts[slot]:
                raise ValueError("a flag for every digest")
            hit[slot] = <const uint8_t *>PyByteArray_AsString(flags)
            reached[slot] = self.reached[slot]
        with nogil:
            while at < self.line_count:
                what = self.lines[at].what
                if what == core.HS_LINE_OTHER:
                    break
                if what != core.HS_LINE_BLANK:
                    slot = core.hs_hex_slot(what)
                    if hit[slot][reached[slot]]:
                        break
                    reached[slot] += 1
                    need += pre_bytes[slot] + 2 * what + post_bytes[slot]
                at += 1
        out = PyBytes_FromStringAndSize(NULL, need)
        cdef uint8_t *to = <uint8_t *>PyBytes_AsString(out)
        with nogil:
            for line in range(self.reached_line, at):
                what = self.lines[line].what
                if what == core.HS_LINE_BLANK:
                    continue
                slot = core.hs_hex_slot(what)
                memcpy(to, pre[slot], pre_bytes[slot])
                to += pre_bytes[slot]
                core.hs_hex_encode(self.digests[slot] + self.reached[slot] * what, what, to)
                self.reached[slot] += 1
                to += 2 * what
                memcpy(to, post[slot], post_bytes[slot])
                to += post_bytes[slot]
        if at == self.line_count:
            self.reached_line = at
            return out, None
        self.reached_line = at + 1
        what = self.lines[at].what
        if what == core.HS_LINE_OTHER:
            return out, (at, -1, self.text[self.lines[at].start:self.lines[at].start + self.lines[at].length])
        slot = core.hs_hex_slot(what)
        digest = PyBytes_FromStringAndSize(<char *>self.digests[slot] + self.reached[slot] * what, what)
        self.reached[slot] += 1
        return out, (at, self.reached[slot] - 1, digest)


cdef write_all(int fd, data):
    rest = memoryview(data)
    while len(rest):
        rest = rest[os.write(fd, rest):]


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


def page_hashes(const uint8_t[::1] set_id not None, unsigned section, uint64_t first, const uint8_t[::1] pages not None, uint32_t features=0xffffffff):
    """Tests: hashes of packed pages as the page list holds them, 16 bytes each; numbers count up from ``first``."""
    cdef size_t count = pages.shape[0] // core.HS_SET_PAGE_BYTES, i
    if set_id.shape[0] != 16 or not count or pages.shape[0] % core.HS_SET_PAGE_BYTES:
        raise ValueError("a set id of 16 bytes and whole pages")
    out = bytearray(count * core.HS_SET_HASH_BYTES)
    cdef uint8_t[::1] to = out
    numbers = array("Q", range(first, first + count))
    cdef uint64_t[::1] numbered = numbers
    cdef const uint8_t **at = <const uint8_t **>malloc(count * sizeof(const uint8_t *))
    if at == NULL:
        raise MemoryError
    for i in range(count):
        at[i] = &pages[i * core.HS_SET_PAGE_BYTES]
    core.hs_set_hash_pages(&set_id[0], section, &numbered[0], at, count, core.hs_cpu_features() & features,
                           <uint8_t (*)[16]>&to[0])
    free(at)
    return bytes(out)


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
