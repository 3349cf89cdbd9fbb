"""Makes set files: records in, sections out, in bounded memory. See _build.pyi for what each call takes and may raise.

Buffers, lifetimes, threads and exceptions live here; the work is done by ext/core without the GIL: hs_batch (records as
rows, sorted runs), hs_gather (entries), hs_tables (digests in order), hs_emit (sections), hs_base (records of a set that is
there already).
"""

from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize, PyBytes_Size
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

cimport hashsieve.core as core

import errno
import os

from hashsieve.errors import SetDamagedError, SetFormatError, UsageError, shown

cdef extern from "Python.h":
    # Not cpython.exc's declaration: the exception it leaves behind is raised later, by `fail`.
    int PyErr_CheckSignals() noexcept

cdef enum:
    SHAPES = 16
    KINDS = 4
    PAGE = 4096
    # Rows between two looks at progress and signals: some 20 to 50 ms.
    STEP = 1 << 18
    MIB = 1 << 20

SECTION_NAMES = {1: "description", 2: "filter", 3: "fences", 4: "table", 5: "shared entries", 6: "entries",
                 7: "listing groups", 8: "record ids", 9: "sealed"}
ROLES = ("known-bad", "known-good", "trusted", "undecided", "test")


class StoppedError(Exception):
    """Ends the work of another thread; never leaves this module's callers."""


cdef const core.hs_os *os_table(object capsule) except NULL:
    if capsule is None:
        return &core.hs_os_libc
    return <const core.hs_os *>PyCapsule_GetPointer(capsule, core.HS_OS_CAPSULE)


cdef const core.hs_kernel *page_kernel() noexcept nogil:
    return core.hs_kernel_default(core.HS_SHA256, core.hs_cpu_features())


cdef int make_file(void *ctx) noexcept nogil:
    with gil:
        return (<Work>ctx).new_file()


cdef int poll(void *ctx) noexcept nogil:
    """Lets Ctrl-C, SIGTERM and a stop by another thread through in the middle of a long sort."""
    with gil:
        # In the main thread the exception is raised when the sort has returned; elsewhere there never is one.
        return 1 if (<Work>ctx).stop else PyErr_CheckSignals()


cdef class Work:
    """What everything that works out of core shares: temporary files, the memory to use, the wish to stop."""

    cdef core.hs_temp_maker maker
    cdef object open_file, os_capsule, problem
    cdef bint stop
    cdef uint64_t memory_bytes, buffer_bytes, spool_bytes

    def __cinit__(self, open_file, uint64_t memory_bytes, uint64_t buffer_bytes, os_capsule=None, **_):
        self.open_file = open_file
        self.os_capsule = os_capsule
        self.maker.os = os_table(os_capsule)
        self.maker.make = make_file
        self.maker.ctx = <void *>self
        self.memory_bytes = memory_bytes
        self.buffer_bytes = max(buffer_bytes, 64)
        self.spool_bytes = min(max(memory_bytes // 256, 256), 2 * MIB)

    cdef int new_file(self) noexcept:
        cdef int fd
        try:
            fd = self.open_file()
            return fd
        except BaseException as problem:
            self.problem = problem
            return core.HS_RUN_CALLER

    cdef int fail(self, int status) except -1:
        """Raises what a negative status means."""
        if status == core.HS_RUN_STOPPED:
            if self.stop:
                raise StoppedError
            return -1  # the exception of the signal handler waits to be raised
        if status == core.HS_RUN_CALLER and self.problem is not None:
            problem, self.problem = self.problem, None
            raise problem
        if status == core.HS_GATHER_TOO_MANY_IDS:
            raise UsageError(f"the record ids of one entry take more than {core.HS_MAX_GROUP_BYTES} bytes")
        if status == core.HS_GATHER_NOT_IN_BASE:
            raise UsageError("a record to cancel is not in the base; it was made for another set")
        if status == -errno.ENOMEM:
            raise MemoryError("no memory left for compiling; give it less with --memory, or free some")
        raise OSError(-status, os.strerror(-status))


cdef class Batch:
    """Records in memory, and the runs they become."""

    cdef Work work
    cdef core.hs_batch batch
    cdef core.hs_runs runs[SHAPES]

    def __cinit__(self, Work work, const uint8_t[::1] widths, uint64_t most_bytes):
        self.work = work
        core.hs_batch_init(&self.batch, &widths[0], most_bytes)

    def __dealloc__(self):
        cdef unsigned shape
        core.hs_batch_clear(&self.batch)
        for shape in range(SHAPES):
            core.hs_runs_clear(&self.runs[shape])

    cdef int spill(self, core.hs_spool *spool, uint64_t offset) except -1:
        cdef int status
        with nogil:
            status = core.hs_batch_spill(&self.batch, spool, offset, self.runs, poll, <void *>self.work)
        return self.work.fail(status) if status < 0 else 0


cdef int read_sealed(void *ctx, int part, uint64_t offset, uint8_t *out, uint64_t length) noexcept nogil:
    with gil:
        return (<Base>ctx).read_part(part, offset, out, length)


cdef class Base:
    """Records of an open set file, in order."""

    cdef Work work
    cdef object file, capsule
    cdef core.hs_base base
    cdef uint32_t *class_map
    cdef object sealed
    cdef core.hs_base_sealed parts

    def __cinit__(self, Work work, file, list classes, sealed):
        cdef unsigned i, n = len(classes)
        cdef int status
        cdef const core.hs_set *set_
        self.work = work
        self.class_map = <uint32_t *>malloc((n + <size_t>1) * sizeof(uint32_t))
        if self.class_map == NULL:
            raise MemoryError
        for i in range(n):
            self.class_map[i] = classes[i]
        self.capsule = file.pin()
        self.file = file
        set_ = <const core.hs_set *>PyCapsule_GetPointer(self.capsule, b"hashsieve.hs_set")
        self.sealed = sealed
        if sealed is not None:
            self.parts.read = read_sealed
            self.parts.ctx = <void *>self
            self.parts.size_width, self.parts.group_width = sealed.widths
            for i, length in enumerate(sealed.lengths):
                self.parts.lengths[i] = length
        with nogil:
            status = core.hs_base_init(&self.base, set_, &self.parts if self.parts.read != NULL else NULL, &work.maker,
                                       self.class_map, n, work.memory_bytes // 4,
                                       work.buffer_bytes, page_kernel(), poll, <void *>work)
        if status < 0:
            self.fail(status)

    def __dealloc__(self):
        core.hs_base_clear(&self.base)
        free(self.class_map)
        if self.capsule is not None:
            self.file.unpin()

    cdef int read_part(self, int part, uint64_t offset, uint8_t *out, uint64_t length) noexcept:
        cdef const uint8_t[::1] piece
        try:
            piece = self.sealed.part(part, offset, length)
            if <uint64_t>piece.shape[0] != length:
                raise ValueError("a part that ends early")
            if length:
                memcpy(out, &piece[0], length)
            return 0
        except BaseException as problem:
            self.work.problem = problem
            return core.HS_RUN_CALLER

    cdef int fail(self, int status) except -1:
        cdef core.hs_set_error *error = &self.base.error
        if status != core.HS_BASE_DAMAGED:
            return self.work.fail(status)
        where = f", section {SECTION_NAMES.get(error.section >> 8, 'unknown')} ({error.section:#x})" if error.section else ""
        if error.page:
            where += f", page {error.page}"
        text = (<bytes>error.text).decode("ascii")
        name = shown(self.file.path)
        if error.status == core.HS_SET_FORMAT:
            raise SetFormatError(f"{name}{where}: {text}")
        if error.status == core.HS_SET_IO:
            raise SetDamagedError(f"{name}{where}: {text}: {os.strerror(error.os_errno)}")
        raise SetDamagedError(f"{name}{where}: {text}; the file is damaged, install a good copy")

    cdef int prepare(self, check) except -1:
        cdef int status = 1
        cdef uint64_t done = 0
        while status > 0:
            with nogil:
                status = core.hs_base_prepare_step(&self.base, STEP, &done)
            if status < 0:
                self.fail(status)
            if check is not None:
                check("base", done, None)
            if PyErr_CheckSignals():
                return -1
        return 0


cdef class Builder(Work):
    """Collects records and writes them as a set."""

    cdef uint8_t widths[KINDS]
    cdef readonly unsigned jobs
    cdef bint merged
    cdef readonly uint64_t record_count
    cdef Batch current
    cdef list free_batches, pending, bases
    cdef object pool
    cdef core.hs_spool run_spool
    cdef core.hs_runs runs[SHAPES]
    cdef core.hs_sorter removed
    cdef uint8_t *removed_keys
    cdef uint32_t *final_class
    cdef uint32_t *source_of_class
    cdef uint8_t *role_of_class
    cdef core.hs_gather gather
    cdef core.hs_column columns[SHAPES]
    cdef core.hs_tables tables_
    cdef core.hs_emit emit
    cdef uint8_t test_digests[KINDS][32]
    cdef uint64_t test_size, test_group
    cdef bint tables_made
    cdef core.hs_pages pages
    cdef uint64_t entry_offsets[SHAPES]
    cdef core.hs_spool sealed_columns
    cdef uint64_t part_done[KINDS + 1]

    def __cinit__(self, open_file, uint64_t memory_bytes, uint64_t buffer_bytes, os_capsule=None, *, unsigned jobs,
                  bytes widths not None):
        cdef unsigned k
        if len(widths) != KINDS or jobs < 1:
            raise ValueError("a width for each kind, and at least one job")
        self.jobs = jobs
        for k in range(KINDS):
            self.widths[k] = widths[k]
        core.hs_spool_init(&self.run_spool, &self.maker, memory_bytes // 2)
        core.hs_spool_init(&self.sealed_columns, &self.maker, self.spool_bytes)
        core.hs_sorter_init(&self.removed, &self.maker, core.HS_REMOVED_BYTES, memory_bytes // 8, self.buffer_bytes, poll,
                            <void *>self)
        for k in range(SHAPES):
            core.hs_spool_init(&self.columns[k].digests, &self.maker, self.spool_bytes)
            core.hs_spool_init(&self.columns[k].values, &self.maker, self.spool_bytes)
        self.free_batches = []
        self.pending = []
        self.bases = []

    def __dealloc__(self):
        self.give_back()

    cdef void give_back(self) noexcept:
        cdef unsigned shape
        core.hs_tables_clear(&self.tables_)
        core.hs_gather_clear(&self.gather)
        core.hs_spool_clear(&self.run_spool)
        core.hs_spool_clear(&self.sealed_columns)
        core.hs_sorter_clear(&self.removed)
        for shape in range(SHAPES):
            core.hs_runs_clear(&self.runs[shape])
            core.hs_spool_clear(&self.columns[shape].digests)
            core.hs_spool_clear(&self.columns[shape].values)
        free(self.removed_keys); free(self.final_class); free(self.source_of_class); free(self.role_of_class)
        self.removed_keys = NULL
        self.final_class = self.source_of_class = NULL
        self.role_of_class = NULL

    def close(self):
        """Ends other threads and gives memory and temporary files back; the builder is of no further use."""
        self.stop = True
        self.merged = True
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None
        self.pending = []
        self.free_batches = []
        self.current = None
        self.bases = []
        self.give_back()

    # ------------------------------------------------------------ records in

    cdef Batch batch(self):
        if self.current is None:
            self.current = Batch(self, <const uint8_t[:KINDS]>self.widths, max(self.memory_bytes * 7 // 8 // self.jobs, 1))
        return self.current

    cdef int check_open(self, unsigned shape) except -1:
        if self.merged:
            raise ValueError("the builder was merged already")
        if shape == 0 or shape >= SHAPES:
            raise ValueError("a shape has a bit for each of its kinds")
        return 0

    def add(self, unsigned shape, bytes digests not None, int64_t size, uint32_t class_number, bytes ref,
            bint cancel=False):
        """One record."""
        cdef core.hs_row row
        cdef Batch batch
        cdef int status
        self.check_open(shape)
        if PyBytes_Size(digests) != core.hs_shape_bytes(shape, self.widths):
            raise ValueError("digests do not fit the shape")
        if ref is not None and len(ref) > core.HS_MAX_REF_BYTES:
            raise ValueError("the record id is too long")
        row.size = <uint64_t>(size + 1)
        row.class_number = class_number
        row.op = core.HS_OP_CANCEL if cancel else core.HS_OP_ADD
        row.ref = 0 if ref is None else <unsigned>len(ref) + 1
        row.ref_at = <const uint8_t *>PyBytes_AsString(ref) if ref is not None else NULL
        batch = self.batch()
        status = core.hs_batch_add(&batch.batch, shape, <const uint8_t *>PyBytes_AsString(digests), &row)
        if status < 0:
            self.fail(status)
        self.record_count += 1
        if core.hs_batch_full(&batch.batch):
            self.rotate()

    def add_packed(self, unsigned shape, const uint8_t[::1] digests not None, uint32_t class_number,
                   const int64_t[::1] sizes=None):
        """Many records of one listing without refs: ``digests`` are packed one after another; ``sizes``, 0 = none."""
        cdef unsigned digest_bytes
        cdef uint64_t count, done = 0
        cdef core.hs_row row
        cdef int status
        cdef int64_t took
        cdef Batch batch
        self.check_open(shape)
        digest_bytes = core.hs_shape_bytes(shape, self.widths)
        if digests.shape[0] % digest_bytes:
            raise ValueError("digests do not fit the shape")
        count = digests.shape[0] // digest_bytes
        if sizes is not None:
            if <uint64_t>sizes.shape[0] != count:
                raise ValueError("as many sizes as records are needed")
            row.class_number = class_number
            row.op = core.HS_OP_ADD
            row.ref = 0
            row.ref_at = NULL
            for done in range(count):
                if not 0 <= sizes[done] < <int64_t>1 << 62:
                    raise ValueError("a size is a number from 0 to 2**62 - 1")
                row.size = <uint64_t>sizes[done] + 1 if sizes[done] else 0
                batch = self.batch()
                status = core.hs_batch_add(&batch.batch, shape, &digests[done * digest_bytes], &row)
                if status < 0:
                    self.fail(status)
                self.record_count += 1
                if core.hs_batch_full(&batch.batch):
                    self.rotate()
            return
        while done < count:
            batch = self.batch()
            with nogil:
                took = core.hs_batch_add_packed(&batch.batch, shape, &digests[done * digest_bytes], count - done, class_number)
            if took < 0:
                self.fail(<int>took)
            done += took
            self.record_count += took
            if core.hs_batch_full(&batch.batch):
                self.rotate()

    def add_rows(self, const uint8_t[::1] rows not None, const uint32_t[::1] class_map not None):
        """Rows as ``Difference`` gives them; ``class_map[n]`` is the number here of their class n."""
        cdef const uint8_t *p
        cdef const uint8_t *end
        cdef unsigned shape, digest_bytes
        cdef core.hs_row row
        cdef Batch batch
        cdef int status
        if rows.shape[0] == 0:
            return
        p = &rows[0]
        end = p + rows.shape[0]
        while p < end:
            shape = p[0]
            self.check_open(shape)
            digest_bytes = core.hs_shape_bytes(shape, self.widths)
            if end - p < 1 + digest_bytes + core.HS_ROW_FULL_TAIL:
                raise ValueError("a row ends early")
            row = core.hs_row_parse(p + 1 + digest_bytes, core.HS_ROW_FULL)
            if row.ref > core.HS_MAX_REF_BYTES + 1 or row.class_number >= class_map.shape[0] or \
                    row.size > <uint64_t>1 << 62 or (row.op != core.HS_OP_ADD and row.op != core.HS_OP_CANCEL):
                raise ValueError("a row that cannot be")
            row.class_number = class_map[row.class_number]
            if end - row.ref_at < (row.ref - 1 if row.ref else 0):
                raise ValueError("a row ends early")
            batch = self.batch()
            status = core.hs_batch_add(&batch.batch, shape, p + 1, &row)
            if status < 0:
                self.fail(status)
            self.record_count += 1
            p = row.ref_at + (row.ref - 1 if row.ref else 0)
            if core.hs_batch_full(&batch.batch):
                self.rotate()

    def remove(self, uint32_t source, bytes ref not None):
        """Takes out every record of this source and id, whenever it was or will be added."""
        cdef int status = 0
        cdef uint8_t *key
        self.check_open(1)
        key = core.hs_sorter_add(&self.removed, &status)
        if key == NULL:
            self.fail(status)
        core.hs_removed_key(source, <const uint8_t *>PyBytes_AsString(ref), len(ref),
                            core.hs_sha256_choose(core.hs_cpu_features()), key)

    def add_base(self, file, list classes, sealed=None):
        """All records of an open set file; ``classes[n]`` is the number here of its class n."""
        cdef Base base
        cdef unsigned k
        self.check_open(1)
        base = Base(self, file, classes, sealed)
        for k in range(KINDS):
            if base.base.widths[k] != self.widths[k]:
                raise ValueError("a base that is sealed otherwise")
        self.bases.append(base)

    cdef int take_runs(self, Batch batch) except -1:
        """The runs of a batch that was spilled become the builder's; the batch is empty again."""
        cdef unsigned shape
        cdef size_t i
        cdef core.hs_run *run
        for shape in range(SHAPES):
            for i in range(batch.runs[shape].count):
                run = &batch.runs[shape].list[i]
                if core.hs_runs_add(&self.runs[shape], run.offset, run.bytes, run.layout) < 0:
                    raise MemoryError
            core.hs_runs_clear(&batch.runs[shape])
        core.hs_batch_reset(&batch.batch)
        return 0

    def _spill_elsewhere(self, Batch batch, uint64_t offset):
        batch.spill(&self.run_spool, offset)

    cdef int reap(self, bint wait) except -1:
        """Takes back the batches that other threads are done with."""
        still = []
        for future, batch in self.pending:
            if wait or future.done():
                future.result()
                self.take_runs(batch)
                self.free_batches.append(batch)
            else:
                still.append((future, batch))
        self.pending = still
        return 0

    cdef int rotate(self) except -1:
        """The batch is full: to another thread with it when one is idle, else it is sorted and spilled here."""
        cdef Batch batch = self.current
        cdef uint64_t offset = 0, length = core.hs_batch_run_bytes(&batch.batch)
        cdef int status
        self.reap(False)
        with nogil:
            status = core.hs_spool_reserve(&self.run_spool, length, &offset)
        if status < 0:
            self.fail(status)
        if len(self.pending) < self.jobs - 1:
            if self.pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self.pool = ThreadPoolExecutor(self.jobs - 1, "hashsieve-sort")
            self.current = self.free_batches.pop() if self.free_batches else None
            self.pending.append((self.pool.submit(self._spill_elsewhere, batch, offset), batch))
        else:
            batch.spill(&self.run_spool, offset)
            self.take_runs(batch)
        return 0

    cdef int end_of_records(self) except -1:
        """Everything that was added becomes runs: in memory, where all of it is little."""
        cdef Batch batch = self.current
        cdef bint small
        self.reap(False)
        if batch is not None and batch.batch.used_bytes:
            small = self.run_spool.fd < 0 and not self.pending and batch.batch.used_bytes <= self.memory_bytes // 3
            if small:
                batch.spill(&self.run_spool, 0xffffffffffffffff)
                self.take_runs(batch)
            else:
                self.rotate()
        self.reap(True)
        self.current = None
        self.free_batches = []
        cdef int status = core.hs_spool_finish(&self.run_spool)
        return self.fail(status) if status < 0 else 0

    # ------------------------------------------------------------ merging

    cdef int open_merge(self, unsigned shape, unsigned *digest_bytes, core.hs_runs *runs, core.hs_spool *spool, size_t first,
                        size_t count, list bases, core.hs_cursor **cursors, core.hs_cursor ***list_,
                        core.hs_merge *merge) except -1:
        """A merge over some runs and bases. Whatever happens, the caller ends it with close_merge."""
        cdef size_t i, total = count + len(bases)
        cdef uint64_t share = min(max(self.memory_bytes // 2 // max(total, 1), self.buffer_bytes), 4 * MIB)
        cdef core.hs_run *run
        cdef core.hs_cursor *cursor
        cdef Base base
        cdef int status
        cursors[0] = <core.hs_cursor *>calloc(total, sizeof(core.hs_cursor))
        list_[0] = <core.hs_cursor **>calloc(total, sizeof(core.hs_cursor *))
        if cursors[0] == NULL or list_[0] == NULL:
            raise MemoryError
        for i in range(count):
            run = &runs.list[first + i]
            cursor = cursors[0] + i
            cursor.next = core.hs_cursor_next_row
            cursor.layout = run.layout
            cursor.width = core.hs_row_bytes(digest_bytes[0], run.layout)
            cursor.ctx = digest_bytes
            status = core.hs_reader_open(&cursor.reader, spool, run.offset, run.bytes, share)
            if status < 0:
                self.fail(status)
            list_[0][i] = cursor
        for i in range(len(bases)):
            base = bases[i]
            status = core.hs_base_open(&base.base, shape, &cursor)
            if status < 0:
                base.fail(status)
            list_[0][count + i] = cursor
        with nogil:
            status = core.hs_merge_open(merge, list_[0], <unsigned>total, core.hs_order_rows)
        if status < 0:
            self.fail_merge(status, bases)
        return 0

    cdef int fail_merge(self, int status, list bases) except -1:
        cdef Base base
        for base in bases:
            if base.base.error.status:
                return base.fail(status)
        return self.fail(status)

    cdef void close_merge(self, size_t count, core.hs_cursor *cursors, core.hs_cursor **list_, core.hs_merge *merge) noexcept:
        cdef size_t i
        core.hs_merge_close(merge)
        if cursors != NULL:
            for i in range(count):
                core.hs_reader_close(&cursors[i].reader)
        free(cursors)
        free(list_)

    cdef int copy_runs(self, unsigned shape, unsigned *digest_bytes, core.hs_runs *runs, core.hs_spool *spool, size_t first,
                       size_t count, list bases, core.hs_spool *out, core.hs_runs *out_runs) except -1:
        """Some runs and bases become one run."""
        cdef core.hs_cursor *cursors = NULL
        cdef core.hs_cursor **list_ = NULL
        cdef core.hs_merge merge
        cdef uint64_t start = core.hs_spool_bytes(out), rows = 0
        cdef int status = 1
        memset(&merge, 0, sizeof(merge))
        try:
            self.open_merge(shape, digest_bytes, runs, spool, first, count, bases, &cursors, &list_, &merge)
            while status > 0:
                with nogil:
                    status = core.hs_gather_copy_step(&self.gather, &merge, digest_bytes[0], out, STEP, &rows)
                if status < 0:
                    self.fail_merge(status, bases)
                if PyErr_CheckSignals():
                    return -1
        finally:
            self.close_merge(count, cursors, list_, &merge)
        if core.hs_runs_add(out_runs, start, core.hs_spool_bytes(out) - start, core.HS_ROW_FULL) < 0:
            raise MemoryError
        return 0

    cdef int gather_shape(self, unsigned shape, check, uint64_t *rows) except -1:
        cdef core.hs_column *column = &self.columns[shape]
        cdef core.hs_cursor *cursors = NULL
        cdef core.hs_cursor **list_ = NULL
        cdef core.hs_merge merge
        cdef core.hs_spool *spool = &self.run_spool
        cdef core.hs_spool passed[2]
        cdef core.hs_runs passed_runs[2]
        cdef core.hs_runs *runs = &self.runs[shape]
        cdef Base base
        cdef list bases = []
        cdef size_t first, count = 0, at_once
        cdef unsigned k = 0, turn = 0
        cdef uint64_t left, chunk
        cdef int status = 1
        for base in self.bases:
            if core.hs_base_entries(&base.base, shape):
                bases.append(base)
        if not runs.count and not bases:
            return 0
        while not shape >> k & 1:
            k += 1
        column.shape = shape
        column.digest_bytes = core.hs_shape_bytes(shape, self.widths)
        column.lowest_bytes = self.widths[k]
        column.first_entry = self.gather.entry_count
        column.test_lowest = self.test_digests[k]
        memset(&merge, 0, sizeof(merge))
        memset(passed_runs, 0, sizeof(passed_runs))
        core.hs_spool_init(&passed[0], &self.maker, 0)
        core.hs_spool_init(&passed[1], &self.maker, 0)
        at_once = min(max(self.memory_bytes // 2 // self.buffer_bytes, 2), 1024)
        try:
            self.first_removed(&left)
            # More runs than one merge takes, or more removed ids than memory holds: rows are merged into fewer runs first.
            while left or runs.count + len(bases) > at_once:
                turn ^= 1
                core.hs_spool_clear(&passed[turn])
                core.hs_runs_clear(&passed_runs[turn])
                for first in range(0, runs.count, at_once):
                    count = min(at_once, runs.count - first)
                    self.copy_runs(shape, &column.digest_bytes, runs, spool, first, count, [], &passed[turn],
                                   &passed_runs[turn])
                if bases:
                    self.copy_runs(shape, &column.digest_bytes, runs, spool, 0, 0, bases, &passed[turn], &passed_runs[turn])
                    bases = []
                status = core.hs_spool_finish(&passed[turn])
                if status < 0:
                    self.fail(status)
                spool = &passed[turn]
                runs = &passed_runs[turn]
                if left:
                    self.next_removed(&left)
                if check is not None:
                    check(rows[0])
            count = runs.count
            self.open_merge(shape, &column.digest_bytes, runs, spool, 0, count, bases, &cursors, &list_, &merge)
            status = 1
            while status > 0:
                with nogil:
                    status = core.hs_gather_step(&self.gather, column, &merge, STEP, rows)
                if status < 0:
                    self.fail_merge(status, bases)
                if check is not None:
                    check(rows[0])
                if PyErr_CheckSignals():
                    return -1
            status = core.hs_spool_finish(&column.digests)
            if status == 0:
                status = core.hs_spool_finish(&column.values)
            if status < 0:
                self.fail(status)
        finally:
            self.close_merge(count, cursors, list_, &merge)
            for turn in range(2):
                core.hs_spool_clear(&passed[turn])
                core.hs_runs_clear(&passed_runs[turn])
        return 0

    cdef int first_removed(self, uint64_t *left) except -1:
        """Loads the first removed ids, as many as memory takes; ``left``: how many are still to come."""
        cdef int status
        left[0] = 0
        self.gather.removed_count = 0
        if not self.removed.count:
            return 0
        status = core.hs_sorter_rewind(&self.removed)
        if status < 0:
            self.fail(status)
        left[0] = self.removed.count
        return self.next_removed(left)

    cdef int next_removed(self, uint64_t *left) except -1:
        cdef uint64_t most = max(self.memory_bytes // 8 // core.HS_REMOVED_BYTES, 1), n = 0
        cdef const uint8_t *key
        cdef int status
        if self.removed_keys == NULL:
            self.removed_keys = <uint8_t *>malloc(min(most, self.removed.count) * core.HS_REMOVED_BYTES)
            if self.removed_keys == NULL:
                raise MemoryError
        while n < min(most, left[0]):
            key = core.hs_sorter_row(&self.removed)
            memcpy(self.removed_keys + n * core.HS_REMOVED_BYTES, key, core.HS_REMOVED_BYTES)
            n += 1
            status = core.hs_sorter_next(&self.removed)
            if status < 0:
                self.fail(status)
        left[0] -= n
        self.gather.removed = self.removed_keys
        self.gather.removed_count = n
        return 0

    def merge(self, list final_class, list class_roles, list class_sources, bytes test_digests not None,
              uint32_t test_class, uint64_t test_size, check=None):
        """Sorts and merges all records into entries."""
        cdef uint32_t i, n = len(final_class)
        cdef unsigned shape, k, at = 0
        cdef uint64_t rows = 0, total
        cdef Base base
        cdef int status
        cdef uint8_t body[32]
        cdef size_t used
        cdef int64_t group
        if self.stop or self.tables_made:
            raise ValueError("the builder was used up")
        for k in range(KINDS):
            memcpy(self.test_digests[k], PyBytes_AsString(test_digests) + at, self.widths[k])
            at += self.widths[k]
        if len(test_digests) != at:
            raise ValueError("test digests of all kinds")
        if not self.merged:
            self.merged = True
            self.end_of_records()
            with nogil:
                status = core.hs_sorter_finish(&self.removed)
            if status < 0:
                self.fail(status)
            for base in self.bases:
                base.prepare(check)
        else:
            # Once more, with other class numbers.
            core.hs_gather_clear(&self.gather)
            for shape in range(SHAPES):
                core.hs_spool_clear(&self.columns[shape].digests)
                core.hs_spool_clear(&self.columns[shape].values)
                self.columns[shape].entries = 0
                self.columns[shape].lowest_shared = 0
                self.columns[shape].before_test = 0
            for base in self.bases:
                status = core.hs_base_rewind(&base.base)
                if status < 0:
                    base.fail(status)
        free(self.final_class); free(self.source_of_class); free(self.role_of_class)
        self.final_class = <uint32_t *>malloc((n + 1) * sizeof(uint32_t))
        self.source_of_class = <uint32_t *>malloc((n + 1) * sizeof(uint32_t))
        self.role_of_class = <uint8_t *>malloc(n + 1)
        if self.final_class == NULL or self.source_of_class == NULL or self.role_of_class == NULL:
            raise MemoryError
        for i in range(n):
            self.final_class[i] = final_class[i]
            self.source_of_class[i] = class_sources[i]
            self.role_of_class[i] = ROLES.index(class_roles[i])
        status = core.hs_gather_init(&self.gather, &self.maker, self.spool_bytes, n, self.final_class, self.source_of_class,
                                     self.role_of_class, core.hs_sha256_choose(core.hs_cpu_features()))
        if status < 0:
            self.fail(status)
        total = self.record_count
        for base in self.bases:
            for shape in range(1, SHAPES):
                total += core.hs_base_entries(&base.base, shape)
        step = None if check is None else lambda done: check("merge", min(done, total), total)
        for shape in range(1, SHAPES):
            self.gather_shape(shape, step, &rows)
        core.hs_gather_end(&self.gather)
        status = core.hs_spool_finish(&self.gather.refs)
        if status < 0:
            self.fail(status)
        if self.gather.entry_count:
            used = 1 + core.hs_store_varint(body + 2, test_class)
            body[1] = 1
            body[1 + used] = 0
            body[0] = used + 1
            group = core.hs_groups_add(&self.gather.groups, body, used + 2)
            if group < 0:
                self.fail(<int>group)
            self.test_group = <uint64_t>group << 1
            self.test_size = test_size + 1
        return [i for i in range(n) if self.gather.used[i]]

    @property
    def entry_count(self):
        """Distinct combinations of digests and size, after ``merge``; the test entry is not counted."""
        return self.gather.entry_count

    @property
    def every_size(self):
        """Does every entry have a size? After ``merge``."""
        return bool(self.gather.every_size)

    @property
    def role_counts(self):
        """Entries that have a listing of the role, by role; after ``merge``."""
        return {role: self.gather.role_counts[i] for i, role in enumerate(ROLES) if self.gather.role_counts[i]}

    @property
    def conflicts(self):
        """Digests whose entries carry different digests of another kind, after ``tables``."""
        return self.tables_.conflicts

    # ------------------------------------------------------------ tables

    def _make_table(self, unsigned k):
        cdef int status = 1
        while status > 0:
            with nogil:
                status = core.hs_tables_step(&self.tables_, k, STEP, &self.part_done[k])
            if status < 0:
                self.fail(status)
            if self.stop:
                raise StoppedError

    cdef int side_by_side(self, list parts, check, stage, total) except -1:
        """Runs the parts, several at once when there are several jobs; looks after progress and signals meanwhile."""
        cdef unsigned i
        if self.jobs > 1 and len(parts) > 1:
            from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

            with ThreadPoolExecutor(self.jobs, "hashsieve-build") as pool:
                futures = [pool.submit(part, *arguments) for part, *arguments in parts]
                try:
                    waiting = set(futures)
                    while waiting:
                        finished, waiting = wait(waiting, timeout=0.1, return_when=FIRST_EXCEPTION)
                        if check is not None:
                            check(stage, self.all_done(), total)
                        for future in finished:
                            future.result()
                except BaseException:
                    self.stop = True
                    raise
        else:
            for part, *arguments in parts:
                part(*arguments)
                if check is not None:
                    check(stage, self.all_done(), total)
                if PyErr_CheckSignals():
                    return -1
        return 0

    cdef uint64_t all_done(self):
        cdef unsigned i
        cdef uint64_t total = 0
        for i in range(KINDS + 1):
            total += self.part_done[i]
        return total

    def tables(self, check=None):
        """Makes the table of every kind: its distinct digests in order, each with its first entry."""
        cdef unsigned k, shape
        cdef int status
        cdef uint64_t total = 0, done = 0
        cdef const uint8_t *test[KINDS]
        self.bases = []
        core.hs_spool_clear(&self.run_spool)
        core.hs_sorter_clear(&self.removed)
        if not self.gather.entry_count:
            return
        for k in range(KINDS):
            test[k] = self.test_digests[k]
        status = core.hs_tables_init(&self.tables_, &self.maker, self.columns, self.widths, self.gather.entry_count, test,
                                     self.memory_bytes * 3 // 8 // self.jobs, self.memory_bytes // 8, self.buffer_bytes,
                                     self.spool_bytes, poll, <void *>self)
        self.tables_made = True
        if status < 0:
            self.fail(status)
        kinds = [k for k in range(KINDS) if self.tables_.union_shape >> k & 1 and k != self.tables_.implicit]
        for k in kinds:
            total += 1  # the test entry
            for shape in range(1, SHAPES):
                if shape >> k & 1:
                    total += self.columns[shape].entries * (1 if shape & (1 << k) - 1 == 0 else 2)
        memset(self.part_done, 0, sizeof(self.part_done))
        self.side_by_side([(self._make_table, k) for k in kinds], check, "tables", total)
        status = 1
        while status > 0:
            with nogil:
                status = core.hs_conflicts_step(&self.tables_, STEP, &done)
            if status < 0:
                self.fail(status)
            if check is not None:
                check("conflicts", done, self.gather.entry_count)
            if PyErr_CheckSignals():
                return -1

    def distinct_counts(self):
        """Distinct digests by kind code, the test digest not counted unless a record lists it too."""
        cdef unsigned k
        return {k + 1: self.tables_.table[k].row_count - (1 if self.tables_.table[k].test_alone else 0)
                for k in range(KINDS) if self.gather.entry_count and self.tables_.union_shape >> k & 1}

    # ------------------------------------------------------------ sections

    def plan(self, uint64_t millibits, bint sealed):
        """The sections but the description, in file order, as (id, flags, length, count, aux)."""
        cdef core.hs_section sections[core.HS_EMIT_MAX_SECTIONS]
        cdef unsigned n = 0, i
        if self.gather.entry_count:
            core.hs_emit_init(&self.emit, &self.tables_, &self.gather, millibits, sealed, self.test_size, self.test_group)
            n = core.hs_emit_plan(&self.emit, sections)
        return [(sections[i].id, sections[i].flags, sections[i].length, sections[i].count, sections[i].aux) for i in range(n)]

    def _write_kind(self, unsigned k, uint64_t filter_, uint64_t fences, uint64_t table, uint64_t shared):
        cdef core.hs_emit_kind part
        cdef int status
        status = core.hs_emit_kind_open(&part, &self.emit, k, &self.pages, filter_, fences, table, shared)
        try:
            if status == 0:
                status = 1
            while status > 0:
                with nogil:
                    status = core.hs_emit_kind_step(&part, STEP, &self.part_done[k])
                if self.stop:
                    raise StoppedError
                if status > 0 and PyErr_CheckSignals():
                    raise_pending()
            if status < 0:
                self.fail(status)
        finally:
            core.hs_emit_kind_close(&part)

    def _write_entries(self, bint sealed):
        cdef core.hs_emit_entries part
        cdef int status
        status = core.hs_emit_entries_open(&part, &self.emit, &self.pages, self.entry_offsets,
                                           &self.sealed_columns if sealed else NULL)
        try:
            if status == 0:
                status = 1
            while status > 0:
                with nogil:
                    status = core.hs_emit_entries_step(&part, STEP, &self.part_done[KINDS])
                if self.stop:
                    raise StoppedError
                if status > 0 and PyErr_CheckSignals():
                    raise_pending()
            if status < 0:
                self.fail(status)
        finally:
            core.hs_emit_entries_close(&part)

    def _write_refs(self, uint64_t offset):
        cdef int status
        with nogil:
            status = core.hs_emit_spool(&self.pages, core.HS_SECTION_REFS << 8, offset, &self.gather.refs)
        if status < 0:
            self.fail(status)

    def write_bytes(self, uint32_t section, uint64_t offset, const uint8_t[::1] data not None):
        """A section of these bytes."""
        cdef int status
        with nogil:
            status = core.hs_emit_bytes(&self.pages, section, offset, &data[0], data.shape[0])
        if status < 0:
            self.fail(status)

    def into(self, int fd, bytes set_id not None, uint64_t list_offset):
        """Where sections go."""
        if len(set_id) != 16:
            raise ValueError("a set id has 16 bytes")
        self.pages.os = self.maker.os
        self.pages.fd = fd
        memcpy(self.pages.set_id, PyBytes_AsString(set_id), 16)
        self.pages.kernel = page_kernel()
        self.pages.list_offset = list_offset

    def write_sections(self, dict offsets not None, bint sealed=False, check=None):
        """All planned sections, at these offsets by section id."""
        cdef unsigned k, shape
        cdef uint64_t total = 0
        if not self.gather.entry_count:
            return
        parts = []
        memset(self.part_done, 0, sizeof(self.part_done))
        for section, offset in offsets.items():
            if section >> 8 == core.HS_SECTION_ENTRIES:
                shape = section & 0xff
                self.entry_offsets[0 if shape & core.HS_SHAPE_TEST else shape] = offset
        for k in range(KINDS):
            if self.tables_.union_shape >> k & 1:
                at = [offsets.get(kind << 8 | (k + 1), 0) for kind in (core.HS_SECTION_FILTER, core.HS_SECTION_FENCES,
                                                                       core.HS_SECTION_TABLE, core.HS_SECTION_SHARED)]
                parts.append((self._write_kind, k, *at))
                total += self.tables_.table[k].row_count
        parts.append((self._write_entries, sealed))
        total += self.gather.entry_count
        if core.HS_SECTION_REFS << 8 in offsets:
            parts.append((self._write_refs, offsets[core.HS_SECTION_REFS << 8]))
        self.side_by_side(parts, check, "write", total)
        if core.HS_SECTION_GROUPS << 8 in offsets:
            self.write_bytes(core.HS_SECTION_GROUPS << 8, offsets[core.HS_SECTION_GROUPS << 8],
                             <const uint8_t[:self.gather.groups.used]>self.gather.groups.bytes)


    @property
    def column_widths(self):
        """Bytes of size and of group in a sealed set's columns; after ``plan``."""
        if not self.gather.entry_count:
            return 0, 0
        return self.emit.size_width, self.emit.group_width

    def lengths(self):
        """Bytes of listing groups and of record ids; after ``merge``."""
        return self.gather.groups.used, core.hs_spool_bytes(&self.gather.refs)

    def column_pieces(self):
        """The columns of a sealed set in pieces; after ``write_sections``."""
        cdef int status = core.hs_spool_finish(&self.sealed_columns)
        if status < 0:
            self.fail(status)
        return Pieces.over(self, &self.sealed_columns) if self.gather.entry_count else iter([bytes(2)])

    def group_bytes(self):
        """The listing groups, as a section has them; after ``merge``."""
        return PyBytes_FromStringAndSize(<char *>self.gather.groups.bytes, self.gather.groups.used)

    def ref_pieces(self):
        """The record ids in pieces, as a section has them; after ``merge``."""
        return Pieces.over(self, &self.gather.refs)

    def section(self, uint32_t section, uint64_t offset):
        """A section to be written piece by piece."""
        return Section.of(self, section, offset)


cdef class Pieces:
    """What a finished spool holds, in pieces: an iterator of bytes."""

    cdef Work work
    cdef core.hs_reader reader

    @staticmethod
    cdef Pieces over(Work work, core.hs_spool *spool):
        cdef Pieces self = Pieces.__new__(Pieces)
        self.work = work
        cdef int status = core.hs_reader_open(&self.reader, spool, 0, core.hs_spool_bytes(spool), MIB)
        if status < 0:
            work.fail(status)
        return self

    def __dealloc__(self):
        core.hs_reader_close(&self.reader)

    def __iter__(self):
        return self

    def __next__(self):
        cdef int64_t there = core.hs_reader_need(&self.reader, 1)
        if there < 0:
            self.work.fail(<int>there)
        if there == 0:
            raise StopIteration
        there = min(there, MIB)
        out = PyBytes_FromStringAndSize(<char *>self.reader.buffer + self.reader.at, there)
        self.reader.at += there
        return out


cdef class Section:
    """One section, written piece by piece."""

    cdef Builder builder
    cdef core.hs_section_out out

    @staticmethod
    cdef Section of(Builder builder, uint32_t section, uint64_t offset):
        cdef Section self = Section.__new__(Section)
        self.builder = builder
        cdef int status = core.hs_section_begin(&self.out, &builder.pages, section, offset)
        if status < 0:
            builder.fail(status)
        return self

    def __dealloc__(self):
        core.hs_section_free(&self.out)

    def put(self, const uint8_t[::1] data not None):
        """The next bytes."""
        cdef int status = 0
        if data.shape[0]:
            with nogil:
                status = core.hs_section_put(&self.out, &data[0], data.shape[0])
        if status < 0:
            self.builder.fail(status)

    def end(self):
        """No more bytes; how many there were."""
        cdef int status
        with nogil:
            status = core.hs_section_flush(&self.out)
        if status < 0:
            self.builder.fail(status)
        return self.out.length


cdef int raise_pending() except -1:
    """Raises the exception that a signal handler left behind."""
    return -1


cdef class Difference(Work):
    """The rows of two sets that only one of them has, in order: an iterator of packed rows."""

    cdef Base old, new
    cdef unsigned shape
    cdef bint opened, ready
    cdef core.hs_cursor *a
    cdef core.hs_cursor *b
    cdef uint64_t done, total
    cdef object check

    def __init__(self, open_file, uint64_t memory_bytes, uint64_t buffer_bytes, os_capsule=None, *, old, list old_classes,
                 new, list new_classes, old_sealed=None, new_sealed=None, check=None):
        cdef unsigned shape
        self.old = Base(self, old, old_classes, old_sealed)
        self.new = Base(self, new, new_classes, new_sealed)
        self.shape = 1
        self.check = check
        for shape in range(1, SHAPES):
            self.total += max(core.hs_base_entries(&self.old.base, shape), core.hs_base_entries(&self.new.base, shape))

    def __iter__(self):
        return self

    def close(self):
        """Gives memory, temporary files and both sets back."""
        self.old = self.new = None
        self.shape = SHAPES

    cdef int open_shape(self) except -1:
        cdef Base base
        cdef int status
        cdef core.hs_cursor *cursor
        for base in (self.old, self.new):
            cursor = NULL
            if core.hs_base_entries(&base.base, self.shape):
                status = core.hs_base_open(&base.base, self.shape, &cursor)
                if status == 0:
                    status = cursor.next(cursor)
                if status < 0:
                    base.fail(status)
            if base is self.old:
                self.a = cursor
            else:
                self.b = cursor
        self.opened = True
        return 0

    def __next__(self):
        cdef bytes out
        cdef size_t used = 0
        cdef int status
        cdef uint8_t *to
        if self.old is None:
            raise StopIteration
        if not self.ready:
            self.old.prepare(None)
            self.new.prepare(None)
            self.ready = True
        out = PyBytes_FromStringAndSize(NULL, MIB)
        to = <uint8_t *>PyBytes_AsString(out)
        while self.shape < SHAPES and used < MIB - 16384:
            if not self.opened:
                self.open_shape()
            with nogil:
                status = core.hs_base_diff_step(self.a, self.b, self.shape, self.old.base.digest_bytes[self.shape], to, MIB,
                                                &used, STEP, &self.done)
            if status < 0:
                if self.old.base.error.status:
                    self.old.fail(status)
                self.new.fail(status)
            if self.check is not None:
                self.check("compare", self.done, self.total)
            if PyErr_CheckSignals():
                raise_pending()
            if status == 0:
                self.opened = False
                self.shape += 1
        if not used:
            raise StopIteration
        return out[:used]


def sort_rows_once(uint8_t[::1] rows not None, size_t width, size_t key_bytes):
    """Tests: sorts packed rows of ``width`` bytes in place by their first ``key_bytes`` bytes with the native sort."""
    if not 0 < width <= core.HS_SORT_MAX_WIDTH or key_bytes > width or rows.shape[0] % width:
        raise ValueError("rows of 1 to 256 bytes, and a key that fits into them")
    cdef uint64_t count = rows.shape[0] // width
    if count:
        with nogil:
            core.hs_sort_rows(&rows[0], count, width, key_bytes, NULL, NULL)


def page_hashes(bytes set_id not None, uint32_t section, uint64_t number, const uint8_t[::1] pages not None, str kernel=None):
    """Tests: hashes of consecutive pages by the kernel chosen for this CPU, or by the one of this name."""
    cdef const core.hs_kernel *k = page_kernel()
    cdef int status = 0
    cdef bytes name
    if len(set_id) != 16 or pages.shape[0] % PAGE or not pages.shape[0]:
        raise ValueError("16 bytes of set id, and whole pages")
    if kernel is not None:
        name = kernel.encode()
        k = core.hs_kernel_find(core.HS_SHA256, <const char *>name, core.hs_cpu_features(), &status)
        if k == NULL:
            raise ValueError(f"kernel {kernel!r} cannot run here")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, pages.shape[0] // PAGE * 16)
    core.hs_pages_hash(<const uint8_t *>PyBytes_AsString(set_id), section, number, &pages[0], pages.shape[0] // PAGE, k,
                       <uint8_t *>PyBytes_AsString(out))
    return out
