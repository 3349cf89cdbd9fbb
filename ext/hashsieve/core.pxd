"""Declarations of the plain C headers in ext/core, one section a header. Extern only: nothing is defined here."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# ---------------------------------------------------------------- hs_os.h: the table of system calls
cdef extern from "hs_os.h" nogil:
    ctypedef struct hs_stat:
        uint64_t dev, ino, size, nlink, mnt_id, blocks_512
        int64_t mtime_ns, ctime_ns, btime_ns
        uint32_t mode, uid, win_attributes, bsd_flags
    enum:
        HS_OPEN_FILE, HS_OPEN_FILE_NOATIME, HS_OPEN_DIR
        HS_DIRENT_INO, HS_DIRENT_RECLEN, HS_DIRENT_TYPE, HS_DIRENT_NAME
        HS_DT_UNKNOWN, HS_DT_FIFO, HS_DT_CHR, HS_DT_DIR, HS_DT_BLK, HS_DT_REG, HS_DT_LNK, HS_DT_SOCK
    ctypedef struct hs_os:
        void *ctx
        int (*openat)(void *ctx, int dirfd, const char *name, int how) noexcept nogil
        int (*statx)(void *ctx, int dirfd, const char *name, hs_stat *out) noexcept nogil
        int64_t (*read)(void *ctx, int fd, void *buffer, size_t length) noexcept nogil
        int64_t (*pread)(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) noexcept nogil
        int64_t (*getdents)(void *ctx, int fd, void *buffer, size_t length) noexcept nogil
        int (*close)(void *ctx, int fd) noexcept nogil
        int64_t (*clock_monotonic_ns)(void *ctx) noexcept nogil
        int64_t (*clock_realtime_ns)(void *ctx) noexcept nogil
        int64_t (*clock_thread_cpu_ns)(void *ctx) noexcept nogil
    const hs_os hs_os_libc
    const char *HS_OS_CAPSULE
    int hs_os_cloud_only(const hs_stat *st) noexcept
    int64_t hs_os_pid() noexcept
    void *hs_os_map(size_t length) noexcept
    void hs_os_unmap(void *memory, size_t length) noexcept
