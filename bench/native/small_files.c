/* small_files.c -- what the system calls alone cost for a folder of files: openat, fstat, read, fstat, close for each name,
 * or (second argument "stat") statx alone. The floor that a scan is compared with. Prints files and CPU nanoseconds a file.
 * Build: cc -O2 small_files.c -o small_files
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static double cpu_ns(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e9 + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * 1e3;
}

int main(int argc, char **argv) {
    static char buffer[32 * 1024];
    if (argc < 2) return 2;
    int only_stat = argc > 2 && strcmp(argv[2], "stat") == 0;
    double start = cpu_ns();
    DIR *directory = opendir(argv[1]);
    if (!directory) return 1;
    long count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat before, after;
        struct statx facts;
        if (entry->d_type != DT_REG) continue;
        count++;
        if (only_stat) {
            if (statx(dirfd(directory), entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &facts)) return 1;
            continue;
        }
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
        if (fd < 0 || fstat(fd, &before) || read(fd, buffer, sizeof buffer) < 0 || fstat(fd, &after) || close(fd)) return 1;
    }
    closedir(directory);
    printf("%ld %.1f\n", count, (cpu_ns() - start) / (count ? count : 1));
    return 0;
}
