"""A system that misbehaves on request: a table of system calls around the real one. For tests only, never in a release.

Every native that leaves the process takes such a table as a capsule, so ``Walker(root, os=Faults().capsule)`` walks
through it. Every call takes the GIL, which guards the rules and counters, and gives it up while it is in the system.
The callbacks may change the tree. See the stub.
"""

from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_New, PyCapsule_SetContext
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strcmp, strncpy

cimport hashsieve.core as core

OPERATIONS = ("open", "stat", "read", "pread", "list", "close", "uncached", "advise", "resident", "next-data", "noatime",
              "pwrite")

cdef enum:
    OPEN = 0
    STAT = 1
    READ = 2
    PREAD = 3
    LIST = 4
    CLOSE = 5
    UNCACHED = 6
    ADVISE = 7
    RESIDENT = 8
    NEXT_DATA = 9
    NOATIME = 10
    PWRITE = 11
    OPERATION_COUNT = 12
    RULE_LIMIT = 32
    NAME_BYTES = 256
    FD_LIMIT = 4096

cdef struct rule:
    int operation
    int status          # negated errno value
    int how             # HS_OPEN_* it is about, -1: any
    int64_t nth, every, first  # 0: not restricted
    int64_t left        # failures still to come, -1: no end
    int64_t seen
    bint by_name
    char name[NAME_BYTES]

cdef struct dressing:  # what stat reports about names
    bint by_name
    char name[NAME_BYTES]
    bint sized
    uint64_t size
    uint32_t win_attributes, bsd_flags


cdef class Faults:
    cdef core.hs_os table
    cdef rule rules[RULE_LIMIT]
    cdef int rule_count
    cdef dressing dressings[RULE_LIMIT]
    cdef int dressing_count
    cdef char fd_names[FD_LIMIT][NAME_BYTES]
    cdef int64_t counts[OPERATION_COUNT]
    cdef int64_t byte_counts[OPERATION_COUNT]
    cdef int64_t open_now, open_most
    cdef uint64_t random
    cdef public bint short_reads
    cdef public bint types_unknown
    cdef public int64_t time_granularity_ns, time_offset_ns, clock_offset_ns
    cdef public uint64_t ino_xor, dev_add
    cdef public int64_t listing_bytes
    cdef public str listing_damage
    cdef public object before_open, after_open, before_stat, after_list, after_read
    cdef public bint record_opens
    cdef readonly list opened
    cdef readonly list callback_errors

    def __cinit__(self, *, uint64_t seed=1, bint optional=False):
        self.random = seed * 2 + 1
        self.opened = []
        self.callback_errors = []
        self.table.ctx = <void *>self
        self.table.openat = fault_openat
        self.table.statx = fault_statx
        self.table.read = fault_read
        self.table.pread = fault_pread
        self.table.getdents = fault_getdents
        self.table.pwrite = fault_pwrite
        self.table.close = fault_close
        self.table.clock_monotonic_ns = fault_monotonic
        self.table.clock_realtime_ns = fault_realtime
        self.table.clock_thread_cpu_ns = fault_thread_cpu
        self.table.has_placeholders = not optional
        if optional:
            self.table.pread_uncached = fault_pread_uncached
            self.table.advise = fault_advise
            self.table.resident_pages = fault_resident_pages
            self.table.next_data = fault_next_data
            self.table.set_noatime = fault_set_noatime
            self.table.effective_uid = fault_effective_uid

    @property
    def capsule(self):
        capsule = PyCapsule_New(&self.table, core.HS_OS_CAPSULE, drop_capsule)
        PyCapsule_SetContext(capsule, <void *>self)
        Py_INCREF(self)  # until drop_capsule
        return capsule

    def fail(self, str operation, int errno, *, bytes name=None, int64_t nth=0, int64_t every=0, int64_t first=0,
             int64_t times=-1, how=None):
        if self.rule_count == RULE_LIMIT:
            raise ValueError("too many rules")
        cdef rule *r = &self.rules[self.rule_count]
        memset(r, 0, sizeof(rule))
        r.operation = OPERATIONS.index(operation)
        r.status = -errno
        r.how = -1 if how is None else ("file", "file-noatime", "dir").index(how)
        r.nth, r.every, r.first, r.left = nth, every, first, times
        if name is not None:
            r.by_name = True
            strncpy(r.name, name, NAME_BYTES - 1)
        self.rule_count += 1

    def dress(self, *, bytes name=None, size_bytes=None, uint32_t win_attributes=0, uint32_t bsd_flags=0):
        if self.dressing_count == RULE_LIMIT:
            raise ValueError("too many rules")
        cdef dressing *d = &self.dressings[self.dressing_count]
        memset(d, 0, sizeof(dressing))
        if name is not None:
            d.by_name = True
            strncpy(d.name, name, NAME_BYTES - 1)
        if size_bytes is not None:
            d.sized, d.size = True, size_bytes
        d.win_attributes, d.bsd_flags = win_attributes, bsd_flags
        self.dressing_count += 1

    def clear(self):
        """Takes all failures and dressings back; counters and switches stay."""
        self.rule_count = self.dressing_count = 0

    @property
    def calls(self):
        return {name: self.counts[i] for i, name in enumerate(OPERATIONS)}

    @property
    def bytes_read(self):
        return {name: self.byte_counts[OPERATIONS.index(name)] for name in ("read", "pread", "list", "uncached")}

    @property
    def open_count(self):
        return self.open_now

    @property
    def open_most_count(self):
        return self.open_most

    cdef void call_back(self, int which, const char *name, int fd) noexcept:
        try:
            if which == 0 and self.before_open is not None:
                self.before_open(<bytes>name)
            elif which == 1:
                if self.record_opens:
                    self.opened.append(<bytes>name)
                if self.after_open is not None:
                    self.after_open(<bytes>name, fd)
            elif which == 2 and self.before_stat is not None:
                self.before_stat(<bytes>name)
            elif which == 3 and self.after_list is not None:
                self.after_list(<bytes>name, fd)
        except BaseException as error:
            self.callback_errors.append(error)


cdef void drop_capsule(object capsule) noexcept:
    Py_DECREF(<Faults>PyCapsule_GetContext(capsule))


cdef const char *name_of(Faults faults, int fd) noexcept:
    if 0 <= fd < FD_LIMIT:
        return faults.fd_names[fd]
    return b""


cdef int verdict(Faults faults, int operation, const char *name, int how) noexcept:
    """Counts the call; 0, or the status it has to fail with."""
    cdef int i, status = 0
    cdef rule *r
    faults.counts[operation] += 1
    for i in range(faults.rule_count):
        r = &faults.rules[i]
        if r.operation != operation or (r.by_name and strcmp(r.name, name) != 0) or (r.how >= 0 and r.how != how):
            continue
        r.seen += 1
        if status or r.left == 0 or r.seen < r.first or (r.nth and r.seen != r.nth) or (r.every and r.seen % r.every):
            continue
        if r.left > 0:
            r.left -= 1
        status = r.status
    return status


cdef int fault_openat(void *ctx, int dirfd, const char *name, int how) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int fd
    faults.call_back(0, name, -1)
    fd = verdict(faults, OPEN, name, how)
    if fd:
        return fd
    with nogil:
        fd = core.hs_os_libc.openat(NULL, dirfd, name, how)
    if fd < 0:
        return fd
    faults.open_now += 1
    faults.open_most = max(faults.open_most, faults.open_now)
    if fd < FD_LIMIT:
        strncpy(faults.fd_names[fd], name, NAME_BYTES - 1)
    faults.call_back(1, name, fd)
    return fd


cdef int64_t rounded(Faults faults, int64_t time_ns) noexcept:
    time_ns += faults.time_offset_ns
    if faults.time_granularity_ns > 1:
        time_ns -= time_ns % faults.time_granularity_ns
    return time_ns


cdef int fault_statx(void *ctx, int dirfd, const char *name, core.hs_stat *out) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef const char *about = name
    cdef int status, i
    cdef dressing *d
    if about == NULL:
        about = name_of(faults, dirfd)
    faults.call_back(2, about, dirfd)
    status = verdict(faults, STAT, about, -1)
    if status:
        return status
    with nogil:
        status = core.hs_os_libc.statx(NULL, dirfd, name, out)
    if status:
        return status
    out.mtime_ns = rounded(faults, out.mtime_ns)
    out.ctime_ns = rounded(faults, out.ctime_ns)
    out.ino ^= faults.ino_xor
    out.dev += faults.dev_add
    for i in range(faults.dressing_count):
        d = &faults.dressings[i]
        if d.by_name and strcmp(d.name, about) != 0:
            continue
        if d.sized:
            out.size = d.size
        out.win_attributes |= d.win_attributes
        out.bsd_flags |= d.bsd_flags
    return 0


cdef size_t wanted(Faults faults, size_t length) noexcept:
    cdef size_t cut
    if not faults.short_reads or length == 0:
        return length
    faults.random ^= faults.random << 13
    faults.random ^= faults.random >> 7
    faults.random ^= faults.random << 17
    cut = 1 + faults.random % 4096
    return min(cut, length)


cdef int64_t fault_read(void *ctx, int fd, void *buffer, size_t length) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t got = verdict(faults, READ, name_of(faults, fd), -1)
    if got:
        return got
    length = wanted(faults, length)
    with nogil:
        got = core.hs_os_libc.read(NULL, fd, buffer, length)
    faults.byte_counts[READ] += max(got, 0)
    return got


cdef int64_t fault_pread(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t got = verdict(faults, PREAD, name_of(faults, fd), -1)
    if got:
        return got
    length = wanted(faults, length)
    with nogil:
        got = core.hs_os_libc.pread(NULL, fd, buffer, length, offset)
    faults.byte_counts[PREAD] += max(got, 0)
    if faults.after_read is not None:
        try:
            faults.after_read(<bytes>name_of(faults, fd), offset, got)
        except BaseException as error:
            faults.callback_errors.append(error)
    return got


cdef int64_t fault_pwrite(void *ctx, int fd, const void *buffer, size_t length, uint64_t offset) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t written = verdict(faults, PWRITE, name_of(faults, fd), -1)
    if written:
        return written
    length = wanted(faults, length)
    with nogil:
        written = core.hs_os_libc.pwrite(NULL, fd, buffer, length, offset)
    return written


cdef int64_t fault_getdents(void *ctx, int fd, void *buffer, size_t length) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t got = verdict(faults, LIST, name_of(faults, fd), -1)
    cdef int64_t at = 0
    cdef uint16_t entry_bytes
    cdef uint64_t ino
    cdef uint8_t *entry = NULL
    if got:
        return got
    if faults.listing_bytes:
        length = min(length, <size_t>faults.listing_bytes)
    with nogil:
        got = core.hs_os_libc.getdents(NULL, fd, buffer, length)
    faults.byte_counts[LIST] += max(got, 0)
    while at < got:
        entry = <uint8_t *>buffer + at
        memcpy(&entry_bytes, entry + core.HS_DIRENT_RECLEN, 2)
        memcpy(&ino, entry + core.HS_DIRENT_INO, 8)
        ino ^= faults.ino_xor
        memcpy(entry + core.HS_DIRENT_INO, &ino, 8)
        if faults.types_unknown:
            entry[core.HS_DIRENT_TYPE] = core.HS_DT_UNKNOWN
        at += entry_bytes
    if got > 0 and faults.listing_damage is not None:  # of the last entry
        if faults.listing_damage == "no-length":
            memset(entry + core.HS_DIRENT_RECLEN, 0, 2)
        elif faults.listing_damage == "long":
            memset(entry + core.HS_DIRENT_RECLEN, 0x7f, 2)
        elif faults.listing_damage == "no-end":
            memset(entry + core.HS_DIRENT_NAME, 120, entry_bytes - core.HS_DIRENT_NAME)
        elif faults.listing_damage == "slash":
            entry[core.HS_DIRENT_NAME] = 47
        elif faults.listing_damage == "no-name":
            entry[core.HS_DIRENT_NAME] = 0
        elif faults.listing_damage == "cut":
            got -= entry_bytes - core.HS_DIRENT_NAME
    faults.call_back(3, name_of(faults, fd), fd)
    return got


cdef int fault_close(void *ctx, int fd) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int status = verdict(faults, CLOSE, name_of(faults, fd), -1)
    faults.open_now -= 1
    with nogil:
        core.hs_os_libc.close(NULL, fd)  # always: what fails is only the answer, as on the real system
    return status


cdef int64_t fault_monotonic(void *ctx) noexcept with gil:
    return core.hs_os_libc.clock_monotonic_ns(NULL) + (<Faults>ctx).clock_offset_ns


cdef int64_t fault_realtime(void *ctx) noexcept with gil:
    return core.hs_os_libc.clock_realtime_ns(NULL) + (<Faults>ctx).clock_offset_ns


cdef int64_t fault_thread_cpu(void *ctx) noexcept with gil:
    return core.hs_os_libc.clock_thread_cpu_ns(NULL)


cdef int64_t fault_pread_uncached(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t got = verdict(faults, UNCACHED, name_of(faults, fd), -1)
    if got:
        return got
    with nogil:
        got = core.hs_os_libc.pread_uncached(NULL, fd, buffer, length, offset)
    faults.byte_counts[UNCACHED] += max(got, 0)
    return got


cdef int fault_advise(void *ctx, int fd, uint64_t offset, uint64_t length, int advice) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int status = verdict(faults, ADVISE, name_of(faults, fd), -1)
    return status if status else core.hs_os_libc.advise(NULL, fd, offset, length, advice)


cdef int64_t fault_resident_pages(void *ctx, int fd, uint64_t offset, uint64_t length) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t pages = verdict(faults, RESIDENT, name_of(faults, fd), -1)
    return pages if pages else core.hs_os_libc.resident_pages(NULL, fd, offset, length)


cdef int64_t fault_next_data(void *ctx, int fd, uint64_t offset) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int64_t at = verdict(faults, NEXT_DATA, name_of(faults, fd), -1)
    return at if at else core.hs_os_libc.next_data(NULL, fd, offset)


cdef int fault_set_noatime(void *ctx, int fd) noexcept with gil:
    cdef Faults faults = <Faults>ctx
    cdef int status = verdict(faults, NOATIME, name_of(faults, fd), -1)
    return status if status else core.hs_os_libc.set_noatime(NULL, fd)


cdef int64_t fault_effective_uid(void *ctx) noexcept with gil:
    return core.hs_os_libc.effective_uid(NULL)


# ---- a system in which calls about some names wait for ever, in the child processes of the one that made it ----------

cdef extern from *:
    """
    #if defined(__linux__)
    #include <stdlib.h>
    #include <sys/mman.h>
    #include <unistd.h>
    #include <time.h>
    static void *stall_shared(void) {
        void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return memory == MAP_FAILED ? NULL : memory;
    }
    static void stall_sleep(int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        nanosleep(&t, NULL);
    }
    static void stall_die(void) { _exit(1); }
    #else
    static void *stall_shared(void) { return NULL; }
    static void stall_sleep(int64_t ns) { (void)ns; }
    static void stall_die(void) {}
    #endif
    """
    int64_t *stall_shared() nogil
    void stall_sleep(int64_t ns) nogil
    void stall_die() nogil

cdef struct stall:
    int operation
    int64_t ns
    int64_t times
    char name[NAME_BYTES]

cdef struct stalls:
    int64_t owner
    int count
    int64_t *seen  # shared with the children: one number for each rule
    stall rules[RULE_LIMIT]
    char fd_names[256][NAME_BYTES]


cdef void stall_for(stalls *s, int operation, const char *name) noexcept nogil:
    cdef int i
    cdef int64_t seen
    if core.hs_os_pid() == s.owner:
        return
    for i in range(s.count):
        if s.rules[i].operation == operation and (s.rules[i].name[0] == 0 or strcmp(s.rules[i].name, name) == 0):
            seen = s.seen[i]
            s.seen[i] = seen + 1
            if s.rules[i].times >= 0 and seen >= s.rules[i].times:
                continue
            if s.rules[i].ns < 0:
                stall_die()
            stall_sleep(s.rules[i].ns)


cdef int stall_openat(void *ctx, int dirfd, const char *name, int how) noexcept nogil:
    cdef stalls *s = <stalls *>ctx
    stall_for(s, OPEN, name)
    cdef int fd = core.hs_os_libc.openat(NULL, dirfd, name, how)
    if 0 <= fd < 256:
        strncpy(s.fd_names[fd], name, NAME_BYTES - 1)
    return fd


cdef int stall_statx(void *ctx, int dirfd, const char *name, core.hs_stat *out) noexcept nogil:
    cdef stalls *s = <stalls *>ctx
    if name != NULL:
        stall_for(s, STAT, name)
    return core.hs_os_libc.statx(NULL, dirfd, name, out)


cdef int64_t stall_pread(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept nogil:
    cdef stalls *s = <stalls *>ctx
    if 0 <= fd < 256:
        stall_for(s, PREAD, s.fd_names[fd])
    return core.hs_os_libc.pread(NULL, fd, buffer, length, offset)


cdef int64_t stall_getdents(void *ctx, int fd, void *buffer, size_t length) noexcept nogil:
    cdef stalls *s = <stalls *>ctx
    if 0 <= fd < 256:
        stall_for(s, LIST, s.fd_names[fd])
    return core.hs_os_libc.getdents(NULL, fd, buffer, length)


cdef class Stalls:
    cdef core.hs_os table
    cdef stalls state

    def __cinit__(self):
        self.table = core.hs_os_libc
        self.table.ctx = <void *>&self.state
        self.table.openat = stall_openat
        self.table.statx = stall_statx
        self.table.pread = stall_pread
        self.table.getdents = stall_getdents
        self.table.pread_uncached = NULL
        self.state.owner = core.hs_os_pid()
        self.state.seen = stall_shared()
        if self.state.seen == NULL:
            raise MemoryError

    @property
    def capsule(self):
        capsule = PyCapsule_New(&self.table, core.HS_OS_CAPSULE, drop_stalls)
        PyCapsule_SetContext(capsule, <void *>self)
        Py_INCREF(self)  # until drop_stalls
        return capsule

    def add(self, str operation, bytes name=b"", double seconds=600, int64_t times=-1):
        """*seconds* below 0: the child dies there."""
        if self.state.count == RULE_LIMIT:
            raise ValueError("too many rules")
        cdef stall *rule = &self.state.rules[self.state.count]
        rule.operation = OPERATIONS.index(operation)
        rule.ns = <int64_t>(seconds * 1e9)
        rule.times = times
        strncpy(rule.name, name, NAME_BYTES - 1)
        self.state.count += 1

    @property
    def seen(self):
        """How often each rule was met."""
        return [self.state.seen[i] for i in range(self.state.count)]


cdef void drop_stalls(object capsule) noexcept:
    Py_DECREF(<Stalls>PyCapsule_GetContext(capsule))
