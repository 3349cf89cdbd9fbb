/* hs_kernels.h -- every digest kernel there is, and which one to use.
 *
 * A kernel advances several independent streams of one digest kind at once, on the level of the compression function:
 * block_count whole blocks of 64 bytes for each of its lanes. Cutting files into blocks, starting and finishing them is
 * the caller's work, with the helpers below. Kernel 0 of each kind is the portable one and the oracle of the others.
 *
 * Lane state is word-major: word w of lane l is state[w * lanes + l]. A lane without work points to any readable 64 *
 * block_count bytes; its state is then meaningless. Lanes may share their data, the data may have any alignment, and
 * nothing past it is read. Buffers that all begin at a page boundary compete for the same lines of the first-level
 * cache: beginning buffer i at 64 * i or more bytes behind one is worth 9 % with sixteen lanes of MD5.
 *
 * Any thread. Nothing allocates, nothing can fail but hs_kernel_find.
 */
#ifndef HS_KERNELS_H
#define HS_KERNELS_H

#include "hs_port.h"

enum { HS_MD5 = 0, HS_SHA1 = 1, HS_SHA256 = 2, HS_KIND_COUNT = 3 };

enum { HS_BLOCK_BYTES = 64, HS_LANES_MAX = 24, HS_STATE_WORDS_MAX = 8, HS_DIGEST_BYTES_MAX = 32 };

typedef void hs_lane_fn(uint32_t *state, const uint8_t *const *data, size_t block_count);

typedef struct hs_kernel {
    const char *name; /* unique among the kernels of its kind */
    int kind;         /* HS_MD5 ... */
    unsigned lanes;   /* 1 ... HS_LANES_MAX */
    uint32_t needs;   /* HS_CPU_* bits, all of them */
    unsigned step_ns; /* time of one block on all lanes: the table in hs_kernels.c says where that was measured */
    hs_lane_fn *run;  /* NULL: not built for this architecture */
} hs_kernel;

/* The kernels of a kind, portable first; also those that were not built or cannot run here. */
const hs_kernel *hs_kernel_table(int kind, size_t *count);

/* The measured winner for a steady supply of streams on a CPU with these HS_CPU_* bits. */
const hs_kernel *hs_kernel_default(int kind, uint32_t features);

/* The measured winner for the last `live` streams (1 ... HS_LANES_MAX), when no more will come to fill the lanes. */
const hs_kernel *hs_kernel_for(int kind, uint32_t features, unsigned live);

enum { HS_KERNEL_OK = 0, HS_KERNEL_UNKNOWN = 1, HS_KERNEL_NOT_BUILT = 2, HS_KERNEL_NO_CPU = 3 };

/* The kernel of that name. NULL if it cannot run, and *status says why: nobody has heard of it, it was compiled out,
 * the CPU lacks it. */
const hs_kernel *hs_kernel_find(int kind, const char *name, uint32_t features, int *status);

/* 4, 5 or 8 words of state, and as many of digest. */
unsigned hs_digest_words(int kind);

/* Sets one lane to the beginning of a stream. */
void hs_lane_start(int kind, uint32_t *state, unsigned lanes, unsigned lane);

/* Carries a stream to a lane of another kernel. The two states must not overlap. */
void hs_lane_move(int kind, uint32_t *to, unsigned to_lanes, unsigned to_lane, const uint32_t *from,
                  unsigned from_lanes, unsigned from_lane);

/* Writes the end of a stream of length_bytes: `rest` (its last length_bytes % 64 bytes, may be NULL if there are none),
 * the padding and the length. Returns how many blocks that makes, 1 or 2. */
size_t hs_lane_tail(int kind, const uint8_t *rest, uint64_t length_bytes, uint8_t tail[2 * HS_BLOCK_BYTES]);

/* The digest of a stream whose tail has been run: 4 * hs_digest_words(kind) bytes. */
void hs_lane_digest(int kind, const uint32_t *state, unsigned lanes, unsigned lane, uint8_t *digest);

#endif
