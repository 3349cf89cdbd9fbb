/* bare_loop.c -- the system calls of a scan and nothing else: what bench/scan.py measures scans against.
 *
 *     cc -std=c11 -O2 bench/native/bare_loop.c -o bare_loop
 *     ./bare_loop names|stat|read DIRECTORY
 *
 * Walks the tree by directory handles, links not followed, other file systems not entered. names: only lists. stat: statx
 * of every regular file. read: openat, fstat, read to the end in pieces of 32 KiB, fstat, close of every regular file; a
 * file that came whole with the first short read is not read again to see its end. Prints files and bytes.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 32 << 10 };

static enum { NAMES, STAT, READ } mode;
static unsigned long long files, bytes;
static dev_t device;
static char buffer[PIECE];

static void read_file(int directory, const char *name) {
    struct stat before, after;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return;
    if (fstat(fd, &before) == 0 && S_ISREG(before.st_mode)) {
        off_t done = 0;
        for (;;) {
            ssize_t got = read(fd, buffer, PIECE);
            if (got <= 0) break;
            done += got;
            if (got < PIECE && done == before.st_size) break;
        }
        bytes += (unsigned long long)done;
        (void)fstat(fd, &after);
    }
    close(fd);
}

static void walk(int fd) {
    DIR *directory = fdopendir(fd);
    struct stat facts;
    if (!directory) {
        close(fd);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_type == DT_DIR) {
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
            int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (below < 0) continue;
            if (fstat(below, &facts) == 0 && facts.st_dev == device) walk(below);
            else close(below);
        } else if (entry->d_type == DT_REG) {
            files++;
            if (mode == READ) {
                read_file(fd, entry->d_name);
            } else if (mode == STAT) {
                struct statx x;
                if (statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, &x) == 0)
                    bytes += x.stx_size;
            }
        }
    }
    closedir(directory);
}

int main(int argc, char **argv) {
    struct stat facts;
    if (argc != 3) return 2;
    mode = strcmp(argv[1], "read") == 0 ? READ : strcmp(argv[1], "stat") == 0 ? STAT : NAMES;
    int fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &facts)) {
        fprintf(stderr, "%s: %s\n", argv[2], strerror(errno));
        return 1;
    }
    device = facts.st_dev;
    walk(fd);
    printf("{\"files\": %llu, \"bytes\": %llu}\n", files, bytes);
    return 0;
}
