/* kernels.c -- which digest kernel is the fastest, and from how many live streams on?
 *
 *     cc -std=c11 -O3 -Iext/core bench/native/kernels.c \
 *         ext/core/hs_{cpu,kernels,md5,sha1,sha256,sha256_lanes}.c -lcrypto
 *     ./a.out [rounds]
 *
 * Up to 24 buffers of 64 KiB, then of 4 KiB, are digested from start to end by every kernel this CPU can run and by
 * OpenSSL's EVP (what Python's hashlib calls), one after the other in every round, so that a noisy neighbour or a
 * change of clock meets all of them. Printed: GB/s of the fastest and of the median round; for buffers that all begin
 * at a page boundary ("aligned") the fastest only: their lines fall into the same sets of the first-level cache. Last,
 * for each number of live streams, the kernel that ends first: on this CPU and on CPUs that lack some of its
 * instructions.
 */
#define _POSIX_C_SOURCE 200809L
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "hs_cpu.h"
#include "hs_kernels.h"

enum { BUFFERS = 24, LARGE = 64 << 10, SMALL = 4 << 10, KERNELS_MAX = 16, PAGE = 4096, STAGGER = 192 };

static const char *const kind_name[HS_KIND_COUNT] = {"md5", "sha1", "sha256"};
static const EVP_MD *evp[HS_KIND_COUNT];
static EVP_MD_CTX *evp_context;

/* Buffer i begins i * STAGGER bytes behind a page boundary. */
static const uint8_t *staggered[BUFFERS], *aligned[BUFFERS];

typedef struct row {
    const hs_kernel *kernel; /* NULL: OpenSSL */
    double *large, *small, *together; /* seconds a byte of each round */
} row;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static volatile uint8_t sink;

static void digest_all(const row *r, int kind, const uint8_t *const *data, size_t length, unsigned streams) {
    uint8_t digest[HS_DIGEST_BYTES_MAX];
    if (!r->kernel) {
        for (unsigned i = 0; i < streams; i++) {
            EVP_DigestInit_ex2(evp_context, evp[kind], NULL);
            EVP_DigestUpdate(evp_context, data[i], length);
            EVP_DigestFinal_ex(evp_context, digest, NULL);
            sink = digest[0];
        }
        return;
    }
    const unsigned lanes = r->kernel->lanes;
    uint32_t state[HS_STATE_WORDS_MAX * HS_LANES_MAX];
    uint8_t tail[2 * HS_BLOCK_BYTES];
    const uint8_t *tails[HS_LANES_MAX];
    size_t blocks = hs_lane_tail(kind, NULL, length, tail);
    for (unsigned i = 0; i < lanes; i++) tails[i] = tail;
    for (unsigned i = 0; i + lanes <= streams; i += lanes) {
        for (unsigned lane = 0; lane < lanes; lane++) hs_lane_start(kind, state, lanes, lane);
        r->kernel->run(state, data + i, length / HS_BLOCK_BYTES);
        r->kernel->run(state, tails, blocks);
        for (unsigned lane = 0; lane < lanes; lane++) hs_lane_digest(kind, state, lanes, lane, digest);
        sink = digest[0];
    }
}

static double seconds_a_byte(const row *r, int kind, const uint8_t *const *data, size_t length) {
    const unsigned lanes = r->kernel ? r->kernel->lanes : 1, streams = BUFFERS / lanes * lanes;
    const int repeats = length == LARGE ? 1 : 8;
    double start = now();
    for (int i = 0; i < repeats; i++) digest_all(r, kind, data, length, streams);
    return (now() - start) / repeats / ((double)streams * (double)length);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void winners(const row *rows, size_t count, uint32_t features, const char *what) {
    printf("  winner by live streams, %-12s", what);
    const char *before = "";
    for (unsigned live = 1; live <= BUFFERS; live++) {
        double best = 1e9;
        const char *name = "";
        for (size_t i = 0; i < count; i++) {
            const hs_kernel *k = rows[i].kernel;
            if (!k || (k->needs & ~features)) continue;
            double t = rows[i].small[0] * k->lanes * ((live + k->lanes - 1) / k->lanes);
            if (t < best) {
                best = t;
                name = k->name;
            }
        }
        if (strcmp(name, before) != 0) printf("  %u: %s", live, name);
        before = name;
    }
    printf("\n");
}

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? atoi(argv[1]) : 300;
    const uint32_t features = hs_cpu_features();
    evp_context = EVP_MD_CTX_new();
    for (int i = 0; i < BUFFERS; i++) {
        uint8_t *memory = aligned_alloc(PAGE, LARGE + 2 * PAGE);
        if (!memory || !evp_context || rounds < 1) return 2;
        for (size_t j = 0; j < LARGE + 2 * PAGE; j++) memory[j] = (uint8_t)(j * 167 + (size_t)i);
        aligned[i] = memory;
        staggered[i] = memory + i * STAGGER;
    }
    printf("%d rounds; GB/s: fastest (median)\n", rounds);
    for (int kind = 0; kind < HS_KIND_COUNT; kind++) {
        row rows[KERNELS_MAX];
        size_t table_count, count = 0;
        const hs_kernel *table = hs_kernel_table(kind, &table_count);
        evp[kind] = EVP_MD_fetch(NULL, kind_name[kind], NULL);
        rows[count++].kernel = NULL;
        for (size_t i = 0; i < table_count; i++)
            if (table[i].run && !(table[i].needs & ~features)) rows[count++].kernel = table + i;
        for (size_t i = 0; i < count; i++) {
            rows[i].large = malloc(sizeof(double) * (size_t)rounds);
            rows[i].small = malloc(sizeof(double) * (size_t)rounds);
            rows[i].together = malloc(sizeof(double) * (size_t)rounds);
        }
        for (int round = 0; round < rounds; round++)
            for (size_t i = 0; i < count; i++) {
                rows[i].large[round] = seconds_a_byte(rows + i, kind, staggered, LARGE);
                rows[i].small[round] = seconds_a_byte(rows + i, kind, staggered, SMALL);
                rows[i].together[round] = seconds_a_byte(rows + i, kind, aligned, LARGE);
            }
        printf("\n%-8s %-10s  %-14s %-14s %-9s %-8s %s\n", kind_name[kind], "kernel", "64 KiB", "4 KiB", "aligned",
               "step ns", "x OpenSSL");
        for (size_t i = 0; i < count; i++) {
            const row *r = rows + i;
            qsort(r->large, (size_t)rounds, sizeof(double), ascending);
            qsort(r->small, (size_t)rounds, sizeof(double), ascending);
            qsort(r->together, (size_t)rounds, sizeof(double), ascending);
            printf("         %-10s  %5.2f (%5.2f)  %5.2f (%5.2f)", r->kernel ? r->kernel->name : "OpenSSL", 1e-9 / r->large[0],
                   1e-9 / r->large[rounds / 2], 1e-9 / r->small[0], 1e-9 / r->small[rounds / 2]);
            printf("  %5.2f     %-8.0f %5.2f\n", 1e-9 / r->together[0],
                   r->large[0] * HS_BLOCK_BYTES * 1e9 * (r->kernel ? r->kernel->lanes : 1), rows[0].large[0] / r->large[0]);
        }
        winners(rows, count, features, "this CPU");
        winners(rows, count, features & ~(uint32_t)HS_CPU_SHANI, "no SHA");
        winners(rows, count, features & ~(uint32_t)HS_CPU_AVX2, "no AVX2");
        winners(rows, count, features & ~(uint32_t)(HS_CPU_AVX2 | HS_CPU_SHANI), "neither");
    }
    return 0;
}
