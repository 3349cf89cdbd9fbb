/* hs_os.h -- the table of system calls that core uses, libc by default.
 *
 * Every call of core that leaves the process goes through such a table, so that a test can fill one which fails, is
 * interrupted, reads short, rounds times or changes file ids. Results are >= 0, or a negated errno value: nothing in
 * core reads errno. `ctx` is handed back to every call.
 */
#ifndef HS_OS_H
#define HS_OS_H

#include "hs_port.h"

typedef struct hs_stat {
    uint64_t dev, ino, size, nlink, mnt_id;
    uint64_t blocks_512;                     /* allocated blocks of 512 bytes */
    int64_t mtime_ns, ctime_ns, btime_ns;    /* since 1970, UTC; btime_ns 0 where unknown */
    uint32_t mode, uid;
    uint32_t win_attributes;                 /* FILE_ATTRIBUTE_*, 0 elsewhere */
    uint32_t bsd_flags;                      /* st_flags (macOS), 0 elsewhere */
} hs_stat;

/* How a name is opened. All of them: no-follow, close-on-exec. */
enum { HS_OPEN_FILE = 0, HS_OPEN_FILE_NOATIME = 1, HS_OPEN_DIR = 2 };

/* One directory entry as getdents leaves it (the layout of Linux struct linux_dirent64). */
enum { HS_DIRENT_INO = 0, HS_DIRENT_RECLEN = 16, HS_DIRENT_TYPE = 18, HS_DIRENT_NAME = 19 };
enum { HS_DT_UNKNOWN = 0, HS_DT_FIFO = 1, HS_DT_CHR = 2, HS_DT_DIR = 4, HS_DT_BLK = 6, HS_DT_REG = 8, HS_DT_LNK = 10,
       HS_DT_SOCK = 12 };

typedef struct hs_os {
    void *ctx;
    /* Opens `name` relative to dirfd (-1: the working directory); files are opened non-blocking. */
    int (*openat)(void *ctx, int dirfd, const char *name, int how);
    /* Facts about `name` in dirfd, not following a link; name NULL: about the open descriptor itself. */
    int (*statx)(void *ctx, int dirfd, const char *name, hs_stat *out);
    int64_t (*read)(void *ctx, int fd, void *buffer, size_t length);
    int64_t (*pread)(void *ctx, int fd, void *buffer, size_t length, uint64_t offset);
    /* Fills `buffer` with entries in the layout above; 0 at the end. */
    int64_t (*getdents)(void *ctx, int fd, void *buffer, size_t length);
    int (*close)(void *ctx, int fd);
    int64_t (*clock_monotonic_ns)(void *ctx);
    int64_t (*clock_realtime_ns)(void *ctx);
    int64_t (*clock_thread_cpu_ns)(void *ctx);

    /* From here on a call may be NULL, or answer -ENOSYS or -EOPNOTSUPP: then the caller does without. */

    /* pread that leaves the page cache as it was: what it had to bring in goes again, what was there stays. */
    int64_t (*pread_uncached)(void *ctx, int fd, void *buffer, size_t length, uint64_t offset);
    /* Tells the system what will be read, or is not needed any more (HS_ADVISE_*); length 0: to the end. */
    int (*advise)(void *ctx, int fd, uint64_t offset, uint64_t length, int advice);
    /* Number of pages of the range that are in the page cache. */
    int64_t (*resident_pages)(void *ctx, int fd, uint64_t offset, uint64_t length);
    /* Where the next bytes that are not a hole begin, at or behind `offset`; -ENXIO: only a hole up to the end. */
    int64_t (*next_data)(void *ctx, int fd, uint64_t offset);
    /* Reads through this descriptor no longer move the access time. For files of one's own. */
    int (*set_noatime)(void *ctx, int fd);
    /* The user id that HS_OPEN_FILE_NOATIME is allowed for without privilege. */
    int64_t (*effective_uid)(void *ctx);
    /* Writes into a file of one's own; may take less than it was given. Compiling needs it, nothing else does. */
    int64_t (*pwrite)(void *ctx, int fd, const void *buffer, size_t length, uint64_t offset);

    /* Nonzero: files whose content is elsewhere exist here, so facts are asked by name before a file is opened. */
    int has_placeholders;
} hs_os;

enum { HS_ADVISE_SEQUENTIAL = 0, HS_ADVISE_WILL_NEED = 1, HS_ADVISE_DONT_NEED = 2 };

/* The real system. Constant; shared by all threads. */
extern const hs_os hs_os_libc;

/* A file whose content is not on this machine: opening or reading it would download it. Decided from what a listing
 * tells, before any open. Windows: FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS, _RECALL_ON_OPEN, _OFFLINE; macOS: SF_DATALESS. */
int hs_os_cloud_only(const hs_stat *st);

#define HS_OS_CAPSULE "hashsieve.hs_os"

/* Number of this process: what an object compares with the number it was made under, to notice a fork. */
int64_t hs_os_pid(void);

/* Large private memory, zeroed, huge pages where offered; NULL when there is none. */
void *hs_os_map(size_t length);
void hs_os_unmap(void *memory, size_t length);

/* The same for keys: not swapped out and not part of a core dump where the system can be asked for that, and wiped before it
 * is given back. NULL may be given back. */
void *hs_os_map_secret(size_t length);
void hs_os_unmap_secret(void *memory, size_t length);

#endif
