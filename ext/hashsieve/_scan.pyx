# cython: auto_pickle=False
"""Directory walks and files by handle: buffers, lifetimes, locks and exceptions around hs_walk and hs_os.

The stub engine/hashsieve/_scan.pyi documents the names. No policy here: what is walked, skipped, opened or read is
said by the caller.

Lifetimes: whoever holds a handle keeps the capsule of its system call table alive; no class that closes in
__dealloc__ is ever cleared by the garbage collector before that (no_gc_clear), and none of them is part of a cycle of
its own making.

Locks: one for each Walker, around everything that touches its C state; one for each Visited, around the table only.
Both are waited for without the GIL. The visited lock is the inner one.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetPointer, PyCapsule_New, PyCapsule_SetContext
from cpython.pythread cimport (
    NOWAIT_LOCK,
    WAIT_LOCK,
    PyThread_acquire_lock,
    PyThread_allocate_lock,
    PyThread_free_lock,
    PyThread_release_lock,
    PyThread_type_lock,
)
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM
from libc.string cimport memchr, memset

from hashsieve.core cimport *

import os as _os

from hashsieve.errors import ForkError, KernelError, ScanError, SetDamagedError, UsageError

FILE = HS_WALK_FILE
SPECIAL = HS_WALK_SPECIAL
ERROR = HS_WALK_ERROR
GONE = HS_WALK_GONE
SKIPPED = HS_WALK_SKIPPED

ALREADY_VISITED = "already-visited"
MIN_OPEN_DIRS = HS_WALK_MIN_OPEN_DIRS
MAX_BATCH_COUNT = HS_WALK_MAX_BATCH

cdef tuple _OPERATIONS = ("open", "list", "stat")

# A mount refuses O_NOATIME by owner; this many (mount, owner) pairs are more than a machine has.
cdef enum:
    POLICY_LIMIT_COUNT = 4096


cdef const hs_os *_table(object capsule) except NULL:
    if capsule is None:
        return &hs_os_libc
    return <const hs_os *>PyCapsule_GetPointer(capsule, HS_OS_CAPSULE)


cdef object _failure(int64_t status, object path, str operation):
    """The OSError (of the fitting subclass) for a negated errno value."""
    error = OSError(-status, _os.strerror(-status), path)
    error.add_note(f"operation: {operation}")
    return error


cdef int _check_pid(int64_t pid, object what) except -1:
    if hs_os_pid() != pid:
        raise ForkError(f"this {type(what).__name__} was made before a fork; make a new one in the child process")
    return 0


cdef int _check_name(bytes name) except -1:
    """A single name: it must not lead out of the directory, nor end early in C."""
    cdef size_t length = len(name)
    cdef const char *text = PyBytes_AsString(name)
    if length == 0 or memchr(text, 0, length) != NULL or memchr(text, 47, length) != NULL:
        raise UsageError(f"not the name of a directory entry: {name!r}")
    return 0


cdef bytes _path_of(object path):
    cdef bytes raw = _os.fsencode(path)
    if len(raw) == 0 or b"\0" in raw:
        raise UsageError(f"not a path: {raw!r}")
    return raw


cdef bytes _absolute(object path):
    cdef bytes raw = _path_of(path)
    if not raw.startswith(b"/"):
        raise UsageError(f"the walk compares absolute paths; this one is relative: {raw!r}")
    return raw.rstrip(b"/") or b"/"


cdef bytes _joined(bytes directory, bytes name):
    if not name:
        return directory
    if not directory or directory.endswith(b"/"):
        return directory + name
    return directory + b"/" + name


cdef str _type_name(int type):
    if type == HS_DT_LNK:
        return "symlink"
    if type == HS_DT_FIFO:
        return "fifo"
    if type == HS_DT_SOCK:
        return "socket"
    if type == HS_DT_CHR:
        return "char"
    if type == HS_DT_BLK:
        return "block"
    return "other"


# ------------------------------------------------------------------------------------------------ locks

cdef void _acquire(void *lock) noexcept nogil:
    PyThread_acquire_lock(<PyThread_type_lock>lock, WAIT_LOCK)


cdef void _release(void *lock) noexcept nogil:
    PyThread_release_lock(<PyThread_type_lock>lock)


cdef void _lock(PyThread_type_lock lock) noexcept:
    """Taken with the GIL held; it is given up while waiting, since the holder may need it."""
    if not PyThread_acquire_lock(lock, NOWAIT_LOCK):
        with nogil:
            PyThread_acquire_lock(lock, WAIT_LOCK)


# ------------------------------------------------------------------------------------------------ facts

@cython.final
@cython.freelist(64)
cdef class FileStat:
    cdef hs_stat _st

    def __init__(self, *, uint64_t dev=0, uint64_t ino=0, uint64_t size_bytes=0, int64_t mtime_ns=0, int64_t ctime_ns=0,
                 int64_t btime_ns=0, uint32_t mode=0, uint32_t uid=0, uint64_t nlink=1, uint64_t mnt_id=0,
                 uint64_t blocks_512=0, uint32_t win_attributes=0, uint32_t bsd_flags=0):
        self._st.dev, self._st.ino, self._st.size, self._st.nlink = dev, ino, size_bytes, nlink
        self._st.mtime_ns, self._st.ctime_ns, self._st.btime_ns = mtime_ns, ctime_ns, btime_ns
        self._st.mode, self._st.uid, self._st.mnt_id, self._st.blocks_512 = mode, uid, mnt_id, blocks_512
        self._st.win_attributes, self._st.bsd_flags = win_attributes, bsd_flags

    @property
    def dev(self):
        return self._st.dev

    @property
    def ino(self):
        return self._st.ino

    @property
    def size_bytes(self):
        return self._st.size

    @property
    def mtime_ns(self):
        return self._st.mtime_ns

    @property
    def ctime_ns(self):
        return self._st.ctime_ns

    @property
    def btime_ns(self):
        return self._st.btime_ns

    @property
    def mode(self):
        return self._st.mode

    @property
    def uid(self):
        return self._st.uid

    @property
    def nlink(self):
        return self._st.nlink

    @property
    def mnt_id(self):
        return self._st.mnt_id

    @property
    def blocks_512(self):
        return self._st.blocks_512

    @property
    def cloud_only(self):
        return hs_os_cloud_only(&self._st) != 0

    def is_regular(self):
        return self._st.mode & 0o170000 == 0o100000

    def is_directory(self):
        return self._st.mode & 0o170000 == 0o040000

    def same_signature(self, FileStat other not None):
        return (self._st.dev == other._st.dev and self._st.ino == other._st.ino and self._st.size == other._st.size
                and self._st.mtime_ns == other._st.mtime_ns and self._st.ctime_ns == other._st.ctime_ns)

    cdef tuple _values(self):
        return (self._st.dev, self._st.ino, self._st.size, self._st.mtime_ns, self._st.ctime_ns, self._st.btime_ns,
                self._st.mode, self._st.uid, self._st.nlink, self._st.mnt_id, self._st.blocks_512,
                self._st.win_attributes, self._st.bsd_flags)

    def __eq__(self, other):
        return self._values() == (<FileStat>other)._values() if isinstance(other, FileStat) else NotImplemented

    def __hash__(self):
        return hash(self._values())

    def __repr__(self):
        return (f"FileStat(dev={self._st.dev}, ino={self._st.ino}, size_bytes={self._st.size}, "
                f"mtime_ns={self._st.mtime_ns}, ctime_ns={self._st.ctime_ns}, mode={self._st.mode:#o})")


cdef FileStat _stat(const hs_os *table, int dirfd, const char *name, object path):
    cdef FileStat facts = FileStat.__new__(FileStat)
    cdef int status
    with nogil:
        while True:
            status = table.statx(table.ctx, dirfd, name, &facts._st)
            if status != -EINTR:
                break
    if status < 0:
        raise _failure(status, path, "stat")
    return facts


def stat_root(path, bint follow=False, *, os=None):
    cdef bytes raw = _path_of(path)
    cdef const hs_os *table = _table(os)
    if follow:
        raw = _os.path.realpath(raw, strict=True)
    return _stat(table, -1, raw, raw)


def cloud_only(str system not None, uint32_t win_attributes, uint32_t bsd_flags):
    cdef hs_stat facts
    memset(&facts, 0, sizeof(facts))
    if system == "windows":
        facts.win_attributes = win_attributes
    elif system == "macos":
        facts.bsd_flags = bsd_flags
    return hs_os_cloud_only(&facts) != 0


# ------------------------------------------------------------------------------------------------ handles

@cython.final
cdef class OpenPolicy:
    cdef set _refused
    cdef readonly uint64_t retry_count

    def __cinit__(self):
        self._refused = set()

    cdef object _key(self, FileStat facts):
        return (facts._st.mnt_id, facts._st.dev, facts._st.uid)

    def refuses_noatime(self, FileStat stat not None):
        return self._key(stat) in self._refused

    cdef int _remember(self, FileStat facts) except -1:
        if len(self._refused) >= POLICY_LIMIT_COUNT:
            self._refused.clear()
        self._refused.add(self._key(facts))
        return 0


@cython.no_gc_clear
cdef class _Handle:
    """A descriptor with an owner count: closed while another thread is inside a call, it lives until that call is over,
    so that the number cannot come to mean another file under the feet of a read."""

    cdef const hs_os *_table
    cdef object _capsule
    cdef int64_t _pid
    cdef int _fd  # -1: closed, or none of its own
    cdef int _busy_count
    cdef bint _owned, _closing

    def __cinit__(self, *arguments, **options):
        self._fd = -1
        self._pid = hs_os_pid()

    def __dealloc__(self):
        # Closing is right in a forked child too: it has its own copy of the descriptor.
        if self._fd >= 0 and self._owned:
            self._table.close(self._table.ctx, self._fd)

    cdef void _enter(self) noexcept:
        self._busy_count += 1

    cdef void _leave(self) noexcept:
        self._busy_count -= 1
        if self._closing and self._busy_count == 0:
            self._close()

    cdef void _close(self) noexcept:
        cdef int fd = self._fd
        if fd < 0:
            return
        if self._busy_count:
            self._closing = True
            return
        self._closing = False
        self._fd = -1
        if self._owned:
            with nogil:
                self._table.close(self._table.ctx, fd)

    def close(self):
        self._close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._close()


cdef int64_t _fill(const hs_os *table, int fd, char *buffer, size_t length, bint positioned,
                   uint64_t offset) noexcept nogil:
    """Reads until `length` bytes are there or the file ends. The count, or a negated errno value."""
    cdef size_t done = 0
    cdef int64_t got
    while done < length:
        if positioned:
            got = table.pread(table.ctx, fd, buffer + done, length - done, offset + done)
        else:
            got = table.read(table.ctx, fd, buffer + done, length - done)
        if got == -EINTR:
            continue
        if got < 0:
            return got
        if got == 0:
            break
        done += <size_t>got
    return <int64_t>done


@cython.final
@cython.no_gc_clear
cdef class OpenFile(_Handle):
    cdef bytes _directory, _name

    def __init__(self):
        raise TypeError("an OpenFile comes from Directory.open_file, open_path or OpenFile.from_fd")

    @staticmethod
    def from_fd(int fd, *, bint owned=False, path=b"", os=None):
        cdef const hs_os *table = _table(os)
        if fd < 0:
            raise UsageError(f"not a file descriptor: {fd}")
        cdef OpenFile opened = OpenFile.__new__(OpenFile)
        opened._name = _os.fsencode(path)
        opened._directory = b""
        opened._capsule, opened._table, opened._owned, opened._fd = os, table, owned, fd
        return opened

    @property
    def path(self):
        return _joined(self._directory, self._name)

    @property
    def closed(self):
        return self._fd < 0 or self._closing

    def fileno(self):
        self._check()
        return self._fd

    cdef int _check(self) except -1:
        _check_pid(self._pid, self)
        if self._fd < 0 or self._closing:
            raise ValueError("the file is closed")
        return 0

    def stat(self):
        self._check()
        self._enter()
        try:
            return _stat(self._table, self._fd, NULL, None)
        except OSError as error:
            error.filename = self.path
            raise
        finally:
            self._leave()

    cdef _read(self, object buffer, bint positioned, uint64_t offset):
        cdef Py_buffer view
        cdef int64_t got
        cdef const hs_os *table = self._table
        self._check()
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
        self._enter()
        with nogil:
            got = _fill(table, self._fd, <char *>view.buf, <size_t>view.len, positioned, offset)
        self._leave()
        PyBuffer_Release(&view)
        if got < 0:
            raise _failure(got, self.path, "read")
        return got

    def read_into(self, buffer):
        return self._read(buffer, False, 0)

    def pread_into(self, buffer, uint64_t offset_bytes):
        return self._read(buffer, True, offset_bytes)

    def __repr__(self):
        return f"<OpenFile {self.path!r} {'closed' if self.closed else f'fd {self._fd}'}>"


cdef OpenFile _open(const hs_os *table, object capsule, int dirfd, bytes directory, bytes name, OpenPolicy policy,
                    FileStat facts):
    """Opens a file without moving its access time where the system allows it."""
    cdef OpenFile opened = OpenFile.__new__(OpenFile)
    cdef const char *text = PyBytes_AsString(name)
    cdef int how = HS_OPEN_FILE_NOATIME
    cdef bint retried = False
    cdef int fd
    if policy is not None and facts is not None and policy._key(facts) in policy._refused:
        how = HS_OPEN_FILE
    with nogil:
        while True:
            fd = table.openat(table.ctx, dirfd, text, how)
            if fd == -EPERM and how == HS_OPEN_FILE_NOATIME:
                how = HS_OPEN_FILE
                retried = True
            elif fd != -EINTR:
                break
    if fd < 0:
        raise _failure(fd, _joined(directory, name), "open")
    opened._directory, opened._name = directory, name
    opened._capsule, opened._table, opened._owned, opened._fd = capsule, table, True, fd
    # Only a success without the flag shows that the flag was what the system refused.
    if retried and policy is not None:
        policy.retry_count += 1
        if facts is not None:
            policy._remember(facts)
    return opened


def open_path(path, *, OpenPolicy policy=None, FileStat stat=None, os=None):
    cdef bytes raw = _path_of(path)
    return _open(_table(os), os, -1, b"", raw, policy, stat)


# ------------------------------------------------------------------------------------------------ walk

@cython.final
cdef class Visited:
    cdef hs_visited _visited
    cdef PyThread_type_lock _mutex
    cdef int64_t _pid

    def __cinit__(self, size_t limit_count=1_000_000):
        self._pid = hs_os_pid()
        hs_visited_init(&self._visited, limit_count, int.from_bytes(_os.urandom(8), "little"))
        self._mutex = PyThread_allocate_lock()
        if self._mutex == NULL:
            raise MemoryError
        self._visited.lock = <void *>self._mutex
        self._visited.acquire = _acquire
        self._visited.release = _release

    def __dealloc__(self):
        hs_visited_clear(&self._visited)
        # In a forked child the lock may be held for ever by a thread that is not there: left alone.
        if self._mutex != NULL and hs_os_pid() == self._pid:
            PyThread_free_lock(self._mutex)

    def add(self, uint64_t dev, uint64_t ino):
        cdef int is_new
        _check_pid(self._pid, self)
        with nogil:
            is_new = hs_visited_add(&self._visited, dev, ino)
        return is_new != 0

    def __len__(self):
        return self._visited.count

    @property
    def unrecorded_count(self):
        return self._visited.unrecorded_count


@cython.final
@cython.no_gc_clear
cdef class Directory(_Handle):
    cdef Walker _walker
    cdef uint64_t _serial
    cdef readonly bytes path
    cdef readonly uint64_t dev, ino, mnt_id

    def __init__(self):
        raise TypeError("a Directory comes from Walker.next_batch")

    cdef int _begin(self) except -1:
        """The handle to work with: its own, else the walk's, with the walk locked until _end."""
        cdef int fd
        _check_pid(self._pid, self)
        if self._closing:
            raise ValueError("the directory is closed")
        if self._fd >= 0:
            self._enter()
            return self._fd
        _lock(self._walker._mutex)
        fd = hs_walk_dir_fd(self._walker._walk, self._serial) if self._walker._walk != NULL else -1
        if fd < 0:
            PyThread_release_lock(self._walker._mutex)
            raise ValueError("the walk has left this directory; keep() it before asking for the next batch")
        return fd

    cdef void _end(self, int fd) noexcept:
        if fd == self._fd:
            self._leave()
        else:
            PyThread_release_lock(self._walker._mutex)

    @property
    def kept(self):
        return self._fd >= 0

    def keep(self):
        cdef int own = 0
        cdef int fd = self._begin()
        if fd != self._fd:
            # Another handle of the same open directory; still under the lock of the walk, so kept once only.
            with nogil:
                while True:
                    own = self._table.openat(self._table.ctx, fd, b".", HS_OPEN_DIR)
                    if own != -EINTR:
                        break
            PyThread_release_lock(self._walker._mutex)
            if own >= 0:
                self._owned = True
                self._fd = own
        else:
            self._leave()
        if own < 0:
            raise _failure(own, self.path, "open")

    def stat(self, bytes name not None):
        _check_name(name)
        cdef int fd = self._begin()
        try:
            return _stat(self._table, fd, name, None)
        except OSError as error:
            error.filename = _joined(self.path, name)
            raise
        finally:
            self._end(fd)

    def open_file(self, bytes name not None, OpenPolicy policy=None, FileStat stat=None):
        _check_name(name)
        cdef int fd = self._begin()
        try:
            return _open(self._table, self._capsule, fd, self.path, name, policy, stat)
        finally:
            self._end(fd)

    def __repr__(self):
        return f"<Directory {self.path!r}>"


@cython.final
@cython.no_gc  # refers to nothing that could refer back
@cython.freelist(512)
cdef class WalkItem:
    cdef readonly int event
    cdef int _error  # `errno` is a macro in C
    cdef readonly bytes name
    cdef readonly Directory directory
    cdef readonly uint64_t ino
    cdef readonly str detail

    @property
    def errno(self):
        return self._error

    @property
    def path(self):
        return _joined(self.directory.path, self.name)

    def __repr__(self):
        event = ("FILE", "SPECIAL", "ERROR", "GONE", "SKIPPED")[self.event]
        return f"<WalkItem {event} {self.path!r} {self.detail or ''}>"


@cython.final
@cython.no_gc_clear
cdef class Walker:
    cdef hs_walk *_walk
    cdef const hs_os *_table
    cdef object _capsule
    cdef Visited _visited
    cdef PyThread_type_lock _mutex
    cdef int64_t _pid
    cdef tuple _reasons
    cdef bint _feeds  # a Feed reads from it, under a lock of its own
    cdef readonly bytes root
    cdef readonly bint done
    cdef bytes _path
    cdef uint64_t _path_serial

    def __cinit__(self, root, *, skip=(), unsigned max_open_dirs=16, Visited visited=None, os=None):
        cdef hs_walk_skip *skips = NULL
        cdef int status
        cdef bytes path
        self._pid = hs_os_pid()
        self._table = _table(os)
        self._capsule = os
        self._visited = visited if visited is not None else Visited()
        self.root = _absolute(root)
        if max_open_dirs < HS_WALK_MIN_OPEN_DIRS:
            raise UsageError(f"max_open_dirs is {max_open_dirs}, but a walk needs {HS_WALK_MIN_OPEN_DIRS} handles")
        paths = [(_absolute(path_), str(reason)) for path_, reason in skip]
        self._reasons = tuple([reason for _, reason in paths])
        self._mutex = PyThread_allocate_lock()
        if self._mutex == NULL:
            raise MemoryError
        if paths:
            skips = <hs_walk_skip *>PyMem_Malloc(len(paths) * sizeof(hs_walk_skip))
            if skips == NULL:
                raise MemoryError
            for i, (path, _) in enumerate(paths):
                skips[i].path = PyBytes_AsString(path)
                skips[i].path_bytes = len(path)
                skips[i].reason = i
        status = hs_walk_new(&self._walk, self._table, PyBytes_AsString(self.root), len(self.root), skips,
                             len(paths), &self._visited._visited, max_open_dirs)
        PyMem_Free(skips)
        if status == -ENOMEM:
            raise MemoryError
        if status < 0:
            raise UsageError(f"not a root to walk: {self.root!r}")

    def __dealloc__(self):
        hs_walk_free(self._walk)
        if self._mutex != NULL and hs_os_pid() == self._pid:
            PyThread_free_lock(self._mutex)

    def next_batch(self, size_t max_count=1024):
        cdef const hs_walk_item *items = NULL
        cdef hs_walk_dir where
        cdef int64_t count
        cdef list batch
        _check_pid(self._pid, self)
        if max_count == 0:
            raise UsageError("max_count is 0, but an empty batch means the end")
        if self._feeds:
            raise UsageError("this walk belongs to a Feed")
        _lock(self._mutex)
        try:
            if self._walk == NULL:
                raise ValueError("the walk is closed")
            while True:
                with nogil:
                    count = hs_walk_next(self._walk, max_count, &items, &where)
                if count != -EAGAIN:
                    break
                PyErr_CheckSignals()
            if count > 0:
                return self._batch(items, count, &where)
        finally:
            PyThread_release_lock(self._mutex)
        if count == 0:
            self.done = True
            return []
        if count == -ENOMEM:
            raise MemoryError
        if count == -ENOSYS:
            raise ScanError("walking directories is not supported on this system")
        raise _failure(count, self.root, "open")

    cdef list _batch(self, const hs_walk_item *items, int64_t count, const hs_walk_dir *where):
        cdef Directory directory = Directory.__new__(Directory)
        cdef WalkItem item
        cdef list batch = []
        cdef int64_t i
        if self._path is None or where.serial != self._path_serial:
            self._path = PyBytes_FromStringAndSize(where.path, <Py_ssize_t>where.path_bytes)
            self._path_serial = where.serial
        directory._walker, directory._serial, directory.path = self, where.serial, self._path
        directory._table, directory._capsule = self._table, self._capsule
        directory.dev, directory.ino, directory.mnt_id = where.dev, where.ino, where.mnt_id
        for i in range(count):
            item = WalkItem.__new__(WalkItem)
            item.event = items[i].event
            item.name = PyBytes_FromStringAndSize(items[i].name, items[i].name_bytes)
            item.directory = directory
            item.ino = items[i].ino
            if items[i].event == HS_WALK_SPECIAL:
                item.detail = _type_name(items[i].type)
            elif items[i].event == HS_WALK_ERROR:
                item._error = items[i].error
                item.detail = <str>_OPERATIONS[items[i].operation]
            elif items[i].event == HS_WALK_SKIPPED:
                item.detail = ALREADY_VISITED if items[i].reason < 0 else <str>self._reasons[items[i].reason]
            batch.append(item)
        return batch

    @property
    def open_count(self):
        return hs_walk_open_count(self._walk) if self._walk != NULL else 0

    @property
    def entered_count(self):
        return hs_walk_entered_count(self._walk) if self._walk != NULL else 0

    def close(self):
        if self._feeds or hs_os_pid() != self._pid:
            # A pump may be inside it; or, in a forked child, the lock may be held by a thread that exists only in the
            # parent. Dropping the last reference frees without a lock.
            return
        _lock(self._mutex)
        hs_walk_free(self._walk)
        self._walk = NULL
        PyThread_release_lock(self._mutex)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


# ------------------------------------------------------------------------------------------------ kernels

cdef tuple _KERNEL_KINDS = ("md5", "sha1", "sha256")

KERNEL_FEATURES = {HS_CPU_SSE2: "sse2", HS_CPU_AVX2: "avx2", HS_CPU_SHANI: "sha-ni", HS_CPU_NEON: "neon",
                   HS_CPU_ARM_SHA1: "arm-sha1", HS_CPU_ARM_SHA2: "arm-sha2"}


cdef const hs_kernel *_kernel(str kind, str name) except NULL:
    """The kernel that was demanded by name, or KernelError with the reason why it cannot be had."""
    cdef int status = HS_KERNEL_OK
    if kind not in _KERNEL_KINDS:
        raise KernelError(f"no kernels for {kind!r}; kinds with kernels: {', '.join(_KERNEL_KINDS)}")
    cdef int number = _KERNEL_KINDS.index(kind)
    cdef bytes text = name.encode("ascii", "replace").replace(b"\0", b"?")
    cdef const hs_kernel *kernel = hs_kernel_find(number, text, hs_cpu_features(), &status)
    if kernel != NULL:
        return kernel
    known = ", ".join(each["name"] for each in kernels() if each["kind"] == kind)
    if status == HS_KERNEL_NOT_BUILT:
        raise KernelError(f"the {kind} kernel {name!r} was not built for this processor family; known: {known}")
    if status == HS_KERNEL_NO_CPU:
        raise KernelError(f"this CPU cannot run the {kind} kernel {name!r}; known: {known}")
    raise KernelError(f"there is no {kind} kernel {name!r}; known: {known}")


cdef tuple _planned(object kinds, tuple known):
    """The kinds of a plan: at least one, each once, in the order of *known*."""
    plan = tuple([str(kind) for kind in kinds])
    if not plan or plan != tuple([kind for kind in known if kind in plan]):
        raise UsageError(f"kinds are some of {', '.join(known)}, in this order, not {plan}")
    return plan


def kernels():
    cdef const hs_kernel *table
    cdef size_t count, i
    cdef uint32_t features = hs_cpu_features()
    out = []
    for number, kind in enumerate(_KERNEL_KINDS):
        table = hs_kernel_table(number, &count)
        for i in range(count):
            state = "chosen" if &table[i] == hs_kernel_default(number, features) else "available"
            if table[i].run == NULL:
                state = "not built"
            elif table[i].needs & ~features:
                state = "no cpu"
            needs = [name for bit, name in KERNEL_FEATURES.items() if table[i].needs & bit]
            out.append({"kind": kind, "name": (<bytes>table[i].name).decode("ascii"), "lanes": table[i].lanes,
                        "needs": " ".join(needs), "state": state,
                        "gb_per_second": table[i].lanes * 64.0 / table[i].step_ns if table[i].step_ns else 0.0})
    return out


cdef class Lanes:
    """See the stub."""

    cdef hs_lanes _lanes
    cdef unsigned _kind_count
    cdef tuple _kinds
    cdef list _held  # the buffers that were fed

    def __init__(self, kinds, forced=None):
        cdef int numbers[4]
        cdef const hs_kernel *demanded[4]
        for i in range(4):
            demanded[i] = NULL
        for kind, name in (forced or {}).items():
            demanded[_KERNEL_KINDS.index(kind)] = _kernel(kind, name)
        self._kinds = _planned(kinds, _KERNEL_KINDS)
        self._kind_count = len(self._kinds)
        for i, kind in enumerate(self._kinds):
            numbers[i] = _KERNEL_KINDS.index(kind)
        hs_lanes_init(&self._lanes, numbers, self._kind_count, hs_cpu_features(), demanded)
        self._held = [None] * HS_SLOTS_MAX

    @property
    def slot_count(self):
        return hs_lanes_slot_count(&self._lanes)

    cdef int _check(self, unsigned slot) except -1:
        if slot >= HS_SLOTS_MAX:
            raise UsageError(f"slots are 0 to {HS_SLOTS_MAX - 1}")
        return 0

    def start(self, unsigned slot):
        self._check(slot)
        hs_lanes_start(&self._lanes, slot)

    def feed(self, unsigned slot, bytes blocks not None):
        self._check(slot)
        if len(blocks) % 64 or not blocks or self._lanes.blocks[slot]:
            raise UsageError("whole blocks of 64 bytes, for a slot that has none left")
        self._held[slot] = blocks
        hs_lanes_feed(&self._lanes, slot, <const uint8_t *>(<const char *>blocks), len(blocks) // 64)

    def feed_tails(self, unsigned slot, bytes md5_tail not None, bytes sha_tail not None):
        self._check(slot)
        if len(md5_tail) % 64 or not md5_tail or len(md5_tail) != len(sha_tail) or self._lanes.blocks[slot]:
            raise UsageError("two tails of the same number of blocks, for a slot that has none left")
        self._held[slot] = (md5_tail, sha_tail)
        hs_lanes_feed_tails(&self._lanes, slot, <const uint8_t *>(<const char *>md5_tail),
                            <const uint8_t *>(<const char *>sha_tail), len(md5_tail) // 64)

    def waiting(self, unsigned slot):
        self._check(slot)
        return self._lanes.blocks[slot]

    def step(self):
        cdef size_t done
        with nogil:
            done = hs_lanes_step(&self._lanes)
        return done

    def digest(self, unsigned slot):
        cdef uint8_t digest[32]
        self._check(slot)
        out = {}
        for position, kind in enumerate(self._kinds):
            hs_lanes_digest(&self._lanes, slot, position, digest)
            out[kind] = PyBytes_FromStringAndSize(<char *>digest, hs_set_digest_width(_KERNEL_KINDS.index(kind) + 1))
        return out


# ------------------------------------------------------------------------------------------------ pipeline

WALK, NO_MATCH, HIT, MOVED, LINKED = HS_PIPE_WALK, HS_PIPE_NO_MATCH, HS_PIPE_HIT, HS_PIPE_MOVED, HS_PIPE_LINKED
PIPE_ERROR, PIPE_GONE, PIPE_SPECIAL, CLOUD_ONLY = HS_PIPE_ERROR, HS_PIPE_GONE, HS_PIPE_SPECIAL, HS_PIPE_CLOUD_ONLY
TOO_LARGE, NOT_MEDIA = HS_PIPE_TOO_LARGE, HS_PIPE_NOT_MEDIA
DONE, TICK, FULL, STOPPED = HS_PIPE_DONE, HS_PIPE_TICK, HS_PIPE_FULL, HS_PIPE_STOPPED
LINK_READING, LINK_ASK, LINK_NOTHING = HS_LINK_READING, HS_LINK_ASK, HS_LINK_NOTHING
LINK_KNOWN_GOOD, LINK_UNDECIDED = HS_LINK_KNOWN_GOOD, HS_LINK_UNDECIDED
ASK, KNOWN_GOOD, UNDECIDED = 0, 1, 2

cdef tuple _PIPE_OPERATIONS = ("open", "list", "stat", "read")


@cython.final
cdef class StopFlag:
    cdef volatile uint32_t _word

    def set(self):
        self._word = 1

    def is_set(self):
        return self._word != 0


@cython.final
@cython.no_gc_clear
cdef class Sizes:
    """See the stub."""

    cdef hs_sizes _sizes
    cdef bint _used  # by a pump, without a lock

    def __dealloc__(self):
        hs_sizes_clear(&self._sizes)

    def add_set(self, set_file):
        if self._used:
            raise UsageError("a pump uses these sizes: they are not to be changed any more")
        cdef hs_set_page *page
        cdef hs_set_error error
        cdef hs_set_status status
        cdef const hs_set *set_ = <const hs_set *>PyCapsule_GetPointer(set_file.pin(), b"hashsieve.hs_set")
        page = <hs_set_page *>PyMem_Malloc(sizeof(hs_set_page))
        try:
            if page == NULL:
                raise MemoryError
            page.number = 0
            with nogil:
                status = hs_sizes_add_set(&self._sizes, set_, page, &error)
        finally:
            PyMem_Free(page)
            set_file.unpin()
        if status == HS_SET_MEMORY:
            raise MemoryError
        if status != HS_SET_OK:
            raise SetDamagedError(f"{set_file.path}: sizes cannot be read: {(<bytes>error.text).decode('ascii')}")

    def add_rows(self, const uint8_t[::1] rows not None, size_t row_bytes, unsigned size_bytes):
        cdef size_t at
        cdef uint64_t size
        if self._used:
            raise UsageError("a pump uses these sizes: they are not to be changed any more")
        if not size_bytes or size_bytes > 8 or row_bytes < size_bytes or rows.shape[0] % row_bytes:
            raise SetDamagedError("sizes cannot be read: an entry has no size")
        for at in range(0, rows.shape[0], row_bytes):
            size = hs_load_le(&rows[at], size_bytes)
            if not size:
                raise SetDamagedError("sizes cannot be read: an entry has no size")
            if not hs_sizes_add(&self._sizes, size - 1):
                raise MemoryError

    def __len__(self):
        return self._sizes.count

    def __contains__(self, uint64_t size):
        return hs_sizes_have(&self._sizes, size) != 0


# ------------------------------------------------------------------------------------------------ calls made elsewhere

NO_ANSWER, ENDED, BROKEN = HS_REMOTE_NO_ANSWER, HS_REMOTE_ENDED, HS_REMOTE_BROKEN


cdef void _drop_remote(object capsule) noexcept:
    Py_DECREF(<Remote>PyCapsule_GetContext(capsule))


@cython.final
@cython.no_gc_clear
cdef class Remote:
    cdef hs_remote *_remote
    cdef object _inner
    cdef tuple _stops

    def __cinit__(self, *, double patience_seconds, stops=(), os=None):
        cdef const volatile uint32_t *words[HS_REMOTE_STOPS]
        cdef const hs_os *table = _table(os)
        cdef size_t count = 0
        cdef int status
        cdef int64_t patience_ns = <int64_t>(patience_seconds * 1e9)
        self._inner, self._stops = os, tuple(stops)
        if len(self._stops) > HS_REMOTE_STOPS:
            raise UsageError(f"at most {HS_REMOTE_STOPS} stop flags, not {len(self._stops)}")
        for flag in self._stops:
            words[count] = &(<StopFlag?>flag)._word
            count += 1
        with nogil:
            status = hs_remote_new(&self._remote, table, patience_ns, words, count)
        if status < 0:
            raise _failure(status, None, "fork")

    def __dealloc__(self):
        hs_remote_free(self._remote)

    @property
    def capsule(self):
        capsule = PyCapsule_New(<void *>hs_remote_table(self._remote), HS_OS_CAPSULE, _drop_remote)
        PyCapsule_SetContext(capsule, <void *>self)
        Py_INCREF(self)  # until _drop_remote
        return capsule

    @property
    def over(self):
        return hs_remote_state(self._remote)

    @property
    def child_pid(self):
        return hs_remote_child(self._remote)

    def readlink(self, path):
        cdef bytes raw = _path_of(path)
        cdef const char *text = PyBytes_AsString(raw)
        cdef char target[4096]
        cdef int64_t got
        with nogil:
            got = hs_remote_readlink(self._remote, text, target, sizeof(target))
        if got < 0:
            raise _failure(got, raw, "readlink")
        return PyBytes_FromStringAndSize(target, <Py_ssize_t>got)

    def open_directory(self, path):
        cdef bytes raw = _absolute(path)
        cdef const char *text = PyBytes_AsString(raw)
        cdef int fd
        with nogil:
            fd = hs_remote_open_dir(self._remote, text)
        if fd < 0:
            raise _failure(fd, raw, "open")
        cdef Directory directory = Directory.__new__(Directory)
        directory.path = raw
        directory._table, directory._capsule = hs_remote_table(self._remote), self.capsule
        directory._owned, directory._fd = True, fd
        return directory

    def end(self):
        with nogil:
            hs_remote_end(self._remote)

    def reap(self):
        return hs_remote_reap(self._remote) != 0


SNIFF_BYTES = HS_SNIFF_BYTES


def looks_like_media(const uint8_t[::1] start not None):
    return start.shape[0] > 0 and hs_looks_like_media(&start[0], start.shape[0]) != 0


cdef struct _File:
    const char *path
    size_t path_bytes
    int fd


cdef struct _FileList:
    _File *files
    size_t count, next


cdef int _next_file(void *ctx, hs_candidate *out) noexcept nogil:
    cdef _FileList *these = <_FileList *>ctx
    if these.next == these.count:
        return 0
    cdef _File *file = &these.files[these.next]
    these.next += 1
    memset(out, 0, sizeof(hs_candidate))
    out.event = HS_WALK_FILE
    out.dirfd = -1
    out.fd = file.fd
    out.dir = b""
    out.name = file.path
    out.name_bytes = file.path_bytes
    return 1


@cython.final
@cython.no_gc_clear
cdef class Feed:
    cdef hs_source _source
    cdef hs_walk_source _walk_source
    cdef hs_links _links
    cdef _FileList _files
    cdef Walker _walker
    cdef object _held
    cdef PyThread_type_lock _mutex
    cdef int64_t _pid

    def __cinit__(self, Walker walker=None, *, files=None, size_t link_limit_count=1_000_000):
        self._pid = hs_os_pid()
        hs_links_init(&self._links, link_limit_count)
        self._mutex = PyThread_allocate_lock()
        if self._mutex == NULL:
            raise MemoryError
        self._source.lock = <void *>self._mutex
        self._source.acquire = _acquire
        self._source.release = _release
        if (walker is None) == (files is None):
            raise UsageError("a feed takes a walk or files")
        if walker is not None:
            if walker._walk == NULL or walker._feeds:
                raise UsageError("the walk is closed, or belongs to another Feed")
            walker._feeds = True
            self._walker = walker
            hs_walk_source_init(&self._walk_source, walker._walk)
            self._source.ctx = &self._walk_source
            self._source.next = hs_walk_source_next
            return
        cdef bytes raw
        pairs = [(_path_of(path) if fd < 0 else _os.fsencode(path), fd) for path, fd in files]
        self._held = pairs
        self._files.files = <_File *>PyMem_Malloc(max(len(pairs), 1) * sizeof(_File))
        if self._files.files == NULL:
            raise MemoryError
        self._files.count = len(pairs)
        for i, (path, fd) in enumerate(pairs):
            raw = path
            self._files.files[i].path = raw
            self._files.files[i].path_bytes = len(raw)
            self._files.files[i].fd = fd
        self._source.ctx = &self._files
        self._source.next = _next_file

    def __dealloc__(self):
        hs_links_clear(&self._links)
        PyMem_Free(self._files.files)
        if self._mutex != NULL and hs_os_pid() == self._pid:
            PyThread_free_lock(self._mutex)

    def link_state(self, FileStat stat not None):
        """What is known of a hard-linked file: 0 nothing, else a LINK_* number."""
        cdef uint32_t state
        _check_pid(self._pid, self)
        _lock(self._mutex)
        state = hs_links_state(&self._links, &stat._st)
        PyThread_release_lock(self._mutex)
        return state


@cython.final
@cython.freelist(64)
cdef class PipeEvent:
    cdef readonly int event, walk_event, errno_
    cdef readonly bytes path
    cdef readonly str detail
    cdef readonly OpenFile file
    cdef readonly FileStat before, after
    cdef readonly uint64_t bytes_read
    cdef readonly dict digests
    cdef readonly bint settled, linked

    def __repr__(self):
        return f"<PipeEvent {self.event} {self.path!r} {self.detail or ''}>"


# The blake3 objects of the slots of one pump, and behind them what makes a new one; called from C, the GIL is taken.
cdef int _blake3_start(void *ctx, unsigned slot) noexcept with gil:
    try:
        hashers = <list>(<object>ctx)
        hashers[slot] = hashers[HS_SLOTS_MAX]()
        return 0
    except BaseException:
        return -ENOMEM


cdef int _blake3_update(void *ctx, unsigned slot, const uint8_t *data, size_t length) noexcept with gil:
    try:
        (<list>(<object>ctx))[slot].update(<const uint8_t[:length]>data)
        return 0
    except BaseException:
        return -ENOMEM


cdef int _blake3_finish(void *ctx, unsigned slot, uint8_t *digest) noexcept with gil:
    try:
        hashers = <list>(<object>ctx)
        out = hashers[slot].digest()
        for i in range(32):
            digest[i] = out[i]
        hashers[slot] = None
        return 0
    except BaseException:
        return -ENOMEM


@cython.final
@cython.no_gc_clear
cdef class Pump:
    cdef hs_pipe *_pipe
    cdef const hs_os *_table
    cdef object _capsule
    cdef Feed _feed
    cdef StopFlag _stop
    cdef Sizes _sizes
    cdef tuple _set_files, _kinds
    cdef list _pinned, _hashers
    cdef hs_external_digest _external
    cdef int64_t _pid
    cdef bint _running

    def __cinit__(self, Feed feed not None, *, sets, kinds, StopFlag stop=None, max_size_bytes=None, bint media_only=False,
                  Sizes sizes=None, bint tell_all=False, forced=None, os=None):
        cdef hs_pipe_config config
        cdef int numbers[4]
        cdef const hs_kernel *demanded[4]
        cdef const hs_kernel *kernel
        cdef hs_pipe_set *pinned = NULL
        memset(&config, 0, sizeof(config))
        self._pid = hs_os_pid()
        self._capsule, self._table = os, _table(os)
        self._feed, self._stop, self._sizes = feed, stop, sizes
        self._kinds = _planned(kinds, _KERNEL_KINDS + ("blake3",))
        self._pinned = []
        own = [kind for kind in self._kinds if kind != "blake3"]
        for i in range(4):
            demanded[i] = NULL
        for i, kind in enumerate(own):
            numbers[i] = _KERNEL_KINDS.index(kind)
        for kind, name in (forced or {}).items():
            kernel = _kernel(kind, name)
            demanded[kernel.kind] = kernel
        if "blake3" in self._kinds:
            import blake3

            self._hashers = [None] * HS_SLOTS_MAX + [blake3.blake3]
            self._external.ctx = <void *>self._hashers
            self._external.code = 4
            self._external.start = _blake3_start
            self._external.update = _blake3_update
            self._external.finish = _blake3_finish
            config.external = &self._external
        pairs = list(sets)
        pinned = <hs_pipe_set *>PyMem_Malloc(max(len(pairs), 1) * sizeof(hs_pipe_set))
        if pinned == NULL:
            raise MemoryError
        try:
            for i, (set_file, ruling) in enumerate(pairs):
                pinned[i].set = <const hs_set *>PyCapsule_GetPointer(set_file.pin(), b"hashsieve.hs_set")
                pinned[i].ruling = ruling
                self._pinned.append(set_file)
            config.os = self._table
            config.source = &feed._source
            config.links = &feed._links
            config.sets = pinned
            config.set_count = len(pairs)
            config.kinds = numbers
            config.kind_count = len(own)
            config.features = hs_cpu_features()
            config.forced = demanded
            config.max_size_bytes = 0xffffffffffffffff if max_size_bytes is None else max_size_bytes
            config.media_only = media_only
            if sizes is not None:
                sizes._used = True
                config.sizes = &sizes._sizes
            config.tell_all = tell_all
            config.stop = &stop._word if stop is not None else NULL
            self._pipe = hs_pipe_new(&config)
            if self._pipe == NULL:
                raise MemoryError
        finally:
            PyMem_Free(pinned)

    def __dealloc__(self):
        hs_pipe_free(self._pipe)

    def __del__(self):
        self.close()

    def close(self):
        """Closes what is open and lets go of the sets; not while another thread is inside ``run``."""
        if self._running:
            raise UsageError("the pump is running in another thread")
        hs_pipe_free(self._pipe)
        self._pipe = NULL
        pinned, self._pinned = self._pinned, []
        for set_file in pinned or ():
            set_file.unpin()

    @property
    def slot_count(self):
        return hs_pipe_slot_count(self._pipe) if self._pipe != NULL else 0

    def run(self, double seconds):
        cdef int status
        cdef int64_t nanoseconds = <int64_t>(seconds * 1e9)
        cdef size_t count, i
        cdef const hs_pipe_event *events
        _check_pid(self._pid, self)
        if self._pipe == NULL or self._running:
            raise UsageError("the pump was closed, or is running in another thread")
        self._running = True
        with nogil:
            status = hs_pipe_run(self._pipe, nanoseconds)
        self._running = False
        events = hs_pipe_events(self._pipe, &count)
        out = [self._told(&events[i]) for i in range(count)]
        if status == -ENOSYS:
            raise ScanError("walking directories is not supported on this system")
        return status, out

    cdef PipeEvent _told(self, const hs_pipe_event *e):
        cdef PipeEvent event = PipeEvent.__new__(PipeEvent)
        cdef FileStat before, after
        cdef OpenFile file
        event.event, event.walk_event, event.errno_ = e.event, e.walk_event, e.error
        event.path = PyBytes_FromStringAndSize(e.path, <Py_ssize_t>e.path_bytes)
        event.bytes_read, event.settled, event.linked = e.bytes_read, e.settled, e.link
        if e.event == HS_PIPE_WALK:
            if e.walk_event == HS_WALK_SPECIAL:
                event.detail = _type_name(e.type)
            elif e.walk_event == HS_WALK_ERROR:
                event.detail = <str>_OPERATIONS[e.operation]
            elif e.walk_event == HS_WALK_SKIPPED:
                event.detail = ALREADY_VISITED if e.reason < 0 else <str>self._feed._walker._reasons[e.reason]
            return event
        if e.event == HS_PIPE_ERROR:
            event.detail = <str>_PIPE_OPERATIONS[e.operation]
        elif e.event == HS_PIPE_SPECIAL:
            event.detail = "directory" if e.type == HS_DT_DIR else _type_name(e.type)
        before, after = FileStat.__new__(FileStat), FileStat.__new__(FileStat)
        before._st, after._st = e.before, e.after
        event.before, event.after = before, after
        if e.ended:
            event.digests = {}
            position = 0
            for kind in self._kinds:
                if kind != "blake3":
                    event.digests[kind] = PyBytes_FromStringAndSize(
                        <char *>e.digests[position], hs_set_digest_width(_KERNEL_KINDS.index(kind) + 1))
                    position += 1
            if "blake3" in self._kinds:
                event.digests["blake3"] = PyBytes_FromStringAndSize(<char *>e.digests[position], 32)
        if e.fd >= 0:
            file = OpenFile.__new__(OpenFile)
            file._directory, file._name = b"", event.path
            file._capsule, file._table, file._owned, file._fd = self._capsule, self._table, True, e.fd
            event.file = file
        return event

    def counters(self):
        if self._pipe == NULL:
            raise UsageError("the pump was closed")
        cdef const hs_pipe_counters *c = hs_pipe_count(self._pipe)
        return {"no_match": c.no_match, "known_good": c.known_good, "undecided": c.undecided, "bytes_read": c.bytes_read,
                "gated_empty": c.gated_empty, "gated_size": c.gated_size, "hole_bytes": c.hole_bytes}
