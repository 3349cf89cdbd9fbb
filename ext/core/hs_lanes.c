/* hs_lanes.c -- see hs_lanes.h. */
#include "hs_lanes.h"

void hs_lanes_init(hs_lanes *lanes, const int *kinds, unsigned kind_count, uint32_t features,
                   const hs_kernel *const forced[HS_KIND_COUNT]) {
    memset(lanes, 0, sizeof *lanes);
    lanes->features = features;
    lanes->kind_count = kind_count;
    for (unsigned i = 0; i < kind_count; i++) lanes->kinds[i] = (unsigned)kinds[i];
    for (unsigned k = 0; forced && k < HS_KIND_COUNT; k++) lanes->forced[k] = forced[k];
}

unsigned hs_lanes_slot_count(const hs_lanes *lanes) {
    unsigned widest = 1;
    for (unsigned i = 0; i < lanes->kind_count; i++) {
        int kind = (int)lanes->kinds[i];
        const hs_kernel *kernel = lanes->forced[kind] ? lanes->forced[kind] : hs_kernel_default(kind, lanes->features);
        if (kernel->lanes > widest) widest = kernel->lanes;
    }
    return widest;
}

void hs_lanes_start(hs_lanes *lanes, unsigned slot) {
    for (unsigned i = 0; i < lanes->kind_count; i++) hs_lane_start((int)lanes->kinds[i], lanes->state[i][slot], 1, 0);
    lanes->blocks[slot] = 0;
}

void hs_lanes_feed(hs_lanes *lanes, unsigned slot, const uint8_t *data, size_t block_count) {
    hs_lanes_feed_tails(lanes, slot, data, data, block_count);
}

void hs_lanes_feed_tails(hs_lanes *lanes, unsigned slot, const uint8_t *md5_tail, const uint8_t *sha_tail,
                         size_t block_count) {
    lanes->data[0][slot] = md5_tail;
    lanes->data[1][slot] = sha_tail;
    lanes->blocks[slot] = block_count;
}

int hs_lanes_two_tails(const hs_lanes *lanes) {
    int md5 = 0, sha = 0;
    for (unsigned i = 0; i < lanes->kind_count; i++) {
        if (lanes->kinds[i] == HS_MD5) md5 = 1;
        else sha = 1;
    }
    return md5 && sha;
}

/* Runs `count` slots of one kind through kernels, as many at a time as a kernel takes. Packing the states costs some
 * 60 ns a call with 16 lanes of MD5; a step of one block takes 200. */
static void advance(hs_lanes *lanes, unsigned position, const unsigned *slots, unsigned count, size_t block_count) {
    const int kind = (int)lanes->kinds[position];
    const unsigned words = hs_digest_words(kind);
    uint32_t packed[HS_LANES_MAX * HS_STATE_WORDS_MAX];
    const uint8_t *data[HS_LANES_MAX];
    while (count) {
        const hs_kernel *kernel = lanes->forced[kind] ? lanes->forced[kind] : hs_kernel_for(kind, lanes->features, count);
        const unsigned width = kernel->lanes, used = count < width ? count : width;
        for (unsigned l = 0; l < width; l++) {
            /* A lane without a stream digests the first one's data once more, into a state nobody reads. */
            const unsigned slot = slots[l < used ? l : 0];
            data[l] = lanes->data[kind != HS_MD5][slot];
            for (unsigned w = 0; w < words; w++) packed[w * width + l] = lanes->state[position][slot][w];
        }
        kernel->run(packed, data, block_count);
        for (unsigned l = 0; l < used; l++)
            for (unsigned w = 0; w < words; w++) lanes->state[position][slots[l]][w] = packed[w * width + l];
        slots += used;
        count -= used;
    }
}

size_t hs_lanes_step(hs_lanes *lanes) {
    unsigned slots[HS_SLOTS_MAX], count = 0;
    size_t fewest = SIZE_MAX;
    for (unsigned s = 0; s < HS_SLOTS_MAX; s++) {
        if (!lanes->blocks[s]) continue;
        slots[count++] = s;
        if (lanes->blocks[s] < fewest) fewest = lanes->blocks[s];
    }
    if (!count) return 0;
    for (unsigned i = 0; i < lanes->kind_count; i++) advance(lanes, i, slots, count, fewest);
    for (unsigned i = 0; i < count; i++) {
        lanes->data[0][slots[i]] += fewest * HS_BLOCK_BYTES;
        lanes->data[1][slots[i]] += fewest * HS_BLOCK_BYTES;
        lanes->blocks[slots[i]] -= fewest;
    }
    return fewest;
}

void hs_lanes_digest(const hs_lanes *lanes, unsigned slot, unsigned position, uint8_t *digest) {
    hs_lane_digest((int)lanes->kinds[position], lanes->state[position][slot], 1, 0, digest);
}
