/* hs_os.c -- the real system behind hs_os: Linux in full, other POSIX without listing, Windows by descriptor only.
 *
 * One call of the table is one system call: nothing is retried here. An interrupted call comes back as -EINTR and the
 * caller in core goes round, so that a test table which interrupts on purpose exercises the loops that run in the
 * field. The one exception is a second, older call where the kernel does not know the first (statx).
 *
 * What a system lacks answers -ENOSYS. All functions may be called from any thread; there is no state.
 */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* O_NOATIME, syscall() */
#endif

#include "hs_os.h"

#include <errno.h>

/* One read moves at most this much: macOS refuses more than INT_MAX, Windows counts in 32 bits. */
#define READ_LIMIT_BYTES ((size_t)1 << 30)
#define HUGE_PAGE_BYTES ((size_t)2 << 20)

#define WIN_ATTRIBUTE_OFFLINE 0x00001000u
#define WIN_ATTRIBUTE_RECALL_ON_OPEN 0x00040000u
#define WIN_ATTRIBUTE_RECALL_ON_DATA_ACCESS 0x00400000u
#define BSD_FLAG_DATALESS 0x40000000u

int hs_os_cloud_only(const hs_stat *st) {
    const uint32_t recalled =
        WIN_ATTRIBUTE_OFFLINE | WIN_ATTRIBUTE_RECALL_ON_OPEN | WIN_ATTRIBUTE_RECALL_ON_DATA_ACCESS;
    return (st->win_attributes & recalled) != 0 || (st->bsd_flags & BSD_FLAG_DATALESS) != 0;
}

#if !defined(_WIN32)
/* ------------------------------------------------------------------------------------------------ POSIX */

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/sysmacros.h>
#endif

static int at(int dirfd) { return dirfd < 0 ? AT_FDCWD : dirfd; }

/* Non-blocking: should the name have become a FIFO, the open returns and the caller's type check ends it there. */
static int posix_openat(void *ctx, int dirfd, const char *name, int how) {
    (void)ctx;
    int flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;
    switch (how) {
    case HS_OPEN_FILE:
        flags |= O_NONBLOCK;
        break;
    case HS_OPEN_FILE_NOATIME:
        flags |= O_NONBLOCK;
#if defined(O_NOATIME)
        flags |= O_NOATIME;
#endif
        break;
    case HS_OPEN_DIR:
        flags |= O_DIRECTORY;
        break;
    default:
        return -EINVAL;
    }
    int fd = openat(at(dirfd), name, flags);
    return fd < 0 ? -errno : fd;
}

static int64_t timespec_ns(const struct timespec *t) { return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec; }

static void from_stat(const struct stat *st, hs_stat *out) {
    memset(out, 0, sizeof *out);
    out->dev = (uint64_t)st->st_dev;
    out->ino = (uint64_t)st->st_ino;
    out->size = st->st_size < 0 ? 0 : (uint64_t)st->st_size;
    out->nlink = (uint64_t)st->st_nlink;
    out->blocks_512 = (uint64_t)st->st_blocks;
    out->mode = (uint32_t)st->st_mode;
    out->uid = (uint32_t)st->st_uid;
#if defined(__APPLE__)
    out->mtime_ns = timespec_ns(&st->st_mtimespec);
    out->ctime_ns = timespec_ns(&st->st_ctimespec);
    out->btime_ns = timespec_ns(&st->st_birthtimespec);
    out->bsd_flags = (uint32_t)st->st_flags;
#else
    out->mtime_ns = timespec_ns(&st->st_mtim);
    out->ctime_ns = timespec_ns(&st->st_ctim);
#endif
}

static int posix_stat(void *ctx, int dirfd, const char *name, hs_stat *out) {
    (void)ctx;
    struct stat st;
    int failed = name == NULL ? fstat(dirfd, &st) : fstatat(at(dirfd), name, &st, AT_SYMLINK_NOFOLLOW);
    if (failed) return -errno;
    from_stat(&st, out);
    return 0;
}

static int64_t posix_read(void *ctx, int fd, void *buffer, size_t length) {
    (void)ctx;
    ssize_t n = read(fd, buffer, length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES);
    return n < 0 ? -errno : n;
}

static int64_t posix_pread(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) {
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX) return -EINVAL;
    ssize_t n = pread(fd, buffer, length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int64_t posix_pwrite(void *ctx, int fd, const void *buffer, size_t length, uint64_t offset) {
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX) return -EFBIG;
    ssize_t n = pwrite(fd, buffer, length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int posix_close(void *ctx, int fd) {
    (void)ctx;
    return close(fd) ? -errno : 0;
}

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    return clock_gettime(clock, &t) ? -errno : timespec_ns(&t);
}

static int64_t posix_monotonic(void *ctx) {
    (void)ctx;
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t posix_realtime(void *ctx) {
    (void)ctx;
    return clock_ns(CLOCK_REALTIME);
}

static int64_t posix_thread_cpu(void *ctx) {
    (void)ctx;
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t hs_os_pid(void) { return (int64_t)getpid(); }

void *hs_os_map(size_t length) {
#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif
    if (length == 0) return NULL;
    void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
#if defined(MADV_HUGEPAGE)
    if (length >= HUGE_PAGE_BYTES) (void)madvise(memory, length, MADV_HUGEPAGE); /* a wish; small pages serve as well */
#endif
    return memory;
}

void hs_os_unmap(void *memory, size_t length) {
    if (memory != NULL) (void)munmap(memory, length);
}

void *hs_os_map_secret(size_t length) {
    void *memory = hs_os_map(length);
    if (memory == NULL) return NULL;
    (void)mlock(memory, length); /* a wish: there may be a limit on it */
#if defined(MADV_DONTDUMP)
    (void)madvise(memory, length, MADV_DONTDUMP);
#endif
    return memory;
}

void hs_os_unmap_secret(void *memory, size_t length) {
    if (memory == NULL) return;
    hs_wipe(memory, length);
    hs_os_unmap(memory, length); /* which unlocks it */
}

#if defined(__linux__)
/* ------------------------------------------------------------------------------------------------ Linux */

/* Numbers for build machines whose headers are older than the call. */
#if !defined(SYS_statx)
#if defined(__x86_64__)
#define SYS_statx 332
#elif defined(__aarch64__) || defined(__riscv)
#define SYS_statx 291
#endif
#endif

#if defined(SYS_statx)
/* The kernel's struct statx (include/uapi/linux/stat.h), spelled out since C libraries disagree on whether and where
 * they declare it. 256 bytes; `spare` is written by newer kernels and not read here. */
struct kernel_time {
    int64_t seconds;
    uint32_t nanoseconds;
    int32_t reserved;
};
struct kernel_statx {
    uint32_t mask, block_bytes;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare_mode;
    uint64_t ino, size, blocks, attributes_mask;
    struct kernel_time atime, btime, ctime, mtime;
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id;
    uint64_t spare[13];
};
_Static_assert(sizeof(struct kernel_statx) == 256, "layout of struct statx");

enum { STATX_BASIC = 0x7ff, STATX_BIRTH = 0x800, STATX_MOUNT = 0x1000 };
#define AT_EMPTY_PATH_ 0x1000    /* an empty name means the descriptor itself */
#define AT_NO_AUTOMOUNT_ 0x800   /* looking at a mount trigger does not mount */

static int64_t kernel_time_ns(const struct kernel_time *t) { return t->seconds * 1000000000 + t->nanoseconds; }
#endif

static int linux_statx(void *ctx, int dirfd, const char *name, hs_stat *out) {
#if defined(SYS_statx)
    struct kernel_statx st;
    memset(&st, 0, sizeof st);
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT_ | (name == NULL ? AT_EMPTY_PATH_ : 0);
    long failed = syscall(SYS_statx, name == NULL ? dirfd : at(dirfd), name == NULL ? "" : name, flags,
                          STATX_BASIC | STATX_BIRTH | STATX_MOUNT, &st);
    if (!failed) {
        memset(out, 0, sizeof *out);
        out->dev = (uint64_t)makedev(st.dev_major, st.dev_minor);
        out->ino = st.ino;
        out->size = st.size;
        out->nlink = st.nlink;
        out->blocks_512 = st.blocks;
        out->mode = st.mode;
        out->uid = st.uid;
        out->mtime_ns = kernel_time_ns(&st.mtime);
        out->ctime_ns = kernel_time_ns(&st.ctime);
        out->btime_ns = st.mask & STATX_BIRTH ? kernel_time_ns(&st.btime) : 0;
        out->mnt_id = st.mask & STATX_MOUNT ? st.mnt_id : 0; /* since Linux 5.8 */
        return 0;
    }
    /* Kernels before 4.11 lack the call; sandboxes older than it refuse it with EPERM, which a stat never means. */
    if (errno != ENOSYS && errno != EPERM) return -errno;
#endif
    return posix_stat(ctx, dirfd, name, out);
}

static int64_t linux_getdents(void *ctx, int fd, void *buffer, size_t length) {
    (void)ctx;
    long n = syscall(SYS_getdents64, fd, buffer, length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES);
    return n < 0 ? -errno : n;
}

/* Linux 6.14: pages that this read brings in go again, pages that were there stay (preadv2(2)). */
#if !defined(RWF_DONTCACHE)
#define RWF_DONTCACHE 0x00000080
#endif

static int64_t linux_pread_uncached(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) {
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX) return -EINVAL;
    struct iovec part = {buffer, length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES};
    ssize_t n = preadv2(fd, &part, 1, (off_t)offset, RWF_DONTCACHE);
    return n < 0 ? -errno : n;
}

static int linux_advise(void *ctx, int fd, uint64_t offset, uint64_t length, int advice) {
    (void)ctx;
    const int linux_advice[] = {POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED};
    return -posix_fadvise(fd, (off_t)offset, (off_t)length, linux_advice[advice]);
}

/* Linux 6.5: cachestat(2), number 451 on every architecture. */
static int64_t linux_resident_pages(void *ctx, int fd, uint64_t offset, uint64_t length) {
    (void)ctx;
    uint64_t range[2] = {offset, length}, counts[5] = {0}; /* cached, dirty, write-back, evicted, recently evicted */
    return syscall(451, fd, range, counts, 0) ? -errno : (int64_t)counts[0];
}

static int64_t linux_next_data(void *ctx, int fd, uint64_t offset) {
    (void)ctx;
    if (offset > (uint64_t)INT64_MAX) return -EINVAL;
    off_t at_data = lseek(fd, (off_t)offset, SEEK_DATA);
    return at_data < 0 ? -errno : at_data;
}

static int linux_set_noatime(void *ctx, int fd) {
    (void)ctx;
    return fcntl(fd, F_SETFL, O_NONBLOCK | O_NOATIME) ? -errno : 0;
}

static int64_t linux_effective_uid(void *ctx) {
    (void)ctx;
    return (int64_t)geteuid();
}

#define OS_STATX linux_statx
#define OS_GETDENTS linux_getdents
#else

static int64_t no_getdents(void *ctx, int fd, void *buffer, size_t length) {
    (void)ctx, (void)fd, (void)buffer, (void)length;
    return -ENOSYS;
}

#define OS_STATX posix_stat
#define OS_GETDENTS no_getdents
#endif

const hs_os hs_os_libc = {
    .ctx = NULL,
    .openat = posix_openat,
    .statx = OS_STATX,
    .read = posix_read,
    .pread = posix_pread,
    .getdents = OS_GETDENTS,
    .close = posix_close,
    .clock_monotonic_ns = posix_monotonic,
    .clock_realtime_ns = posix_realtime,
    .clock_thread_cpu_ns = posix_thread_cpu,
    .pwrite = posix_pwrite,
#if defined(__linux__)
    .pread_uncached = linux_pread_uncached,
    .advise = linux_advise,
    .resident_pages = linux_resident_pages,
    .next_data = linux_next_data,
    .set_noatime = linux_set_noatime,
    .effective_uid = linux_effective_uid,
#else
    .has_placeholders = 1,
#endif
};

#else
/* ------------------------------------------------------------------------------------------------ Windows */

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <io.h>
#include <process.h>

#define TICKS_1601_TO_1970 116444736000000000LL /* of 100 ns */

static int windows_error(DWORD error) {
    switch (error) {
    case ERROR_INVALID_HANDLE:
        return -EBADF;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION:
    case ERROR_LOCK_VIOLATION:
        return -EACCES;
    case ERROR_NOT_ENOUGH_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static int64_t filetime_ticks(const FILETIME *t) {
    return (int64_t)(((uint64_t)t->dwHighDateTime << 32) | t->dwLowDateTime);
}

static int64_t filetime_ns(const FILETIME *t) { return (filetime_ticks(t) - TICKS_1601_TO_1970) * 100; }

static int win_openat(void *ctx, int dirfd, const char *name, int how) {
    (void)ctx, (void)dirfd, (void)name, (void)how;
    return -ENOSYS;
}

/* Of an open descriptor only. ctime_ns stays 0: the change time needs a call this table does not make yet. */
static int win_statx(void *ctx, int dirfd, const char *name, hs_stat *out) {
    (void)ctx;
    if (name != NULL) return -ENOSYS;
    HANDLE handle = (HANDLE)_get_osfhandle(dirfd);
    if (handle == INVALID_HANDLE_VALUE) return -EBADF;
    BY_HANDLE_FILE_INFORMATION facts;
    if (!GetFileInformationByHandle(handle, &facts)) return windows_error(GetLastError());
    memset(out, 0, sizeof *out);
    out->dev = facts.dwVolumeSerialNumber;
    out->ino = ((uint64_t)facts.nFileIndexHigh << 32) | facts.nFileIndexLow;
    out->size = ((uint64_t)facts.nFileSizeHigh << 32) | facts.nFileSizeLow;
    out->nlink = facts.nNumberOfLinks;
    out->mtime_ns = filetime_ns(&facts.ftLastWriteTime);
    out->btime_ns = filetime_ns(&facts.ftCreationTime);
    out->mode = facts.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? 0040000u : 0100000u;
    out->win_attributes = facts.dwFileAttributes;
    return 0;
}

static int64_t win_read(void *ctx, int fd, void *buffer, size_t length) {
    (void)ctx, (void)fd, (void)buffer, (void)length;
    return -ENOSYS;
}

/* A position in the OVERLAPPED makes a synchronous handle read there. It also moves the handle's own position, which
 * nobody uses on descriptors that are read this way. */
static int64_t win_pread(void *ctx, int fd, void *buffer, size_t length, uint64_t offset) {
    (void)ctx;
    HANDLE handle = (HANDLE)_get_osfhandle(fd);
    if (handle == INVALID_HANDLE_VALUE) return -EBADF;
    OVERLAPPED position;
    memset(&position, 0, sizeof position);
    position.Offset = (DWORD)offset;
    position.OffsetHigh = (DWORD)(offset >> 32);
    DWORD n = 0;
    if (!ReadFile(handle, buffer, (DWORD)(length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES), &n, &position)) {
        DWORD error = GetLastError();
        return error == ERROR_HANDLE_EOF ? 0 : windows_error(error);
    }
    return n;
}

static int64_t win_pwrite(void *ctx, int fd, const void *buffer, size_t length, uint64_t offset) {
    (void)ctx;
    HANDLE handle = (HANDLE)_get_osfhandle(fd);
    if (handle == INVALID_HANDLE_VALUE) return -EBADF;
    OVERLAPPED position;
    memset(&position, 0, sizeof position);
    position.Offset = (DWORD)offset;
    position.OffsetHigh = (DWORD)(offset >> 32);
    DWORD n = 0;
    if (!WriteFile(handle, buffer, (DWORD)(length < READ_LIMIT_BYTES ? length : READ_LIMIT_BYTES), &n, &position))
        return windows_error(GetLastError());
    return (int64_t)n;
}

static int64_t win_getdents(void *ctx, int fd, void *buffer, size_t length) {
    (void)ctx, (void)fd, (void)buffer, (void)length;
    return -ENOSYS;
}

static int win_close(void *ctx, int fd) {
    (void)ctx;
    return _close(fd) ? -EBADF : 0;
}

static int64_t win_monotonic(void *ctx) {
    (void)ctx;
    LARGE_INTEGER count, frequency;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&count);
    int64_t seconds = count.QuadPart / frequency.QuadPart, rest = count.QuadPart % frequency.QuadPart;
    return seconds * 1000000000 + rest * 1000000000 / frequency.QuadPart;
}

static int64_t win_realtime(void *ctx) {
    (void)ctx;
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return filetime_ns(&now);
}

static int64_t win_thread_cpu(void *ctx) {
    (void)ctx;
    FILETIME created, ended, kernel, user;
    if (!GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user)) return -EIO;
    return (filetime_ticks(&kernel) + filetime_ticks(&user)) * 100;
}

int64_t hs_os_pid(void) { return (int64_t)_getpid(); }

void *hs_os_map(size_t length) {
    return length ? VirtualAlloc(NULL, length, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) : NULL;
}

void hs_os_unmap(void *memory, size_t length) {
    (void)length;
    if (memory != NULL) VirtualFree(memory, 0, MEM_RELEASE);
}

void *hs_os_map_secret(size_t length) {
    void *memory = hs_os_map(length);
    if (memory != NULL) (void)VirtualLock(memory, length); /* a wish: there is a limit on it */
    return memory;
}

void hs_os_unmap_secret(void *memory, size_t length) {
    if (memory == NULL) return;
    hs_wipe(memory, length);
    hs_os_unmap(memory, length);
}

const hs_os hs_os_libc = {
    .ctx = NULL,
    .openat = win_openat,
    .statx = win_statx,
    .read = win_read,
    .pread = win_pread,
    .getdents = win_getdents,
    .close = win_close,
    .clock_monotonic_ns = win_monotonic,
    .clock_realtime_ns = win_realtime,
    .clock_thread_cpu_ns = win_thread_cpu,
    .pwrite = win_pwrite,
    .has_placeholders = 1,
};
#endif
