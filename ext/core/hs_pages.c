/* hs_pages.c -- see hs_pages.h. */
#include "hs_pages.h"

#include <errno.h>
#include <stdlib.h>

/* The hashed text is 28 bytes of prefix and the page: its first block is put together, the next 63 lie in the page as they
 * are, and the last 28 bytes of the page go with the padding. */
enum { PREFIX = 28, HEAD = HS_BLOCK_BYTES - PREFIX, BLOCKS = (HS_PAGE_BYTES - HEAD) / HS_BLOCK_BYTES,
       REST = HS_PAGE_BYTES - HEAD - BLOCKS * HS_BLOCK_BYTES };

void hs_pages_hash(const uint8_t set_id[16], uint32_t section, uint64_t number, const uint8_t *pages, size_t count,
                   const hs_kernel *kernel, uint8_t *hashes) {
    uint32_t state[HS_STATE_WORDS_MAX * HS_LANES_MAX];
    uint8_t heads[HS_LANES_MAX][HS_BLOCK_BYTES], tails[HS_LANES_MAX][2 * HS_BLOCK_BYTES], digest[HS_DIGEST_BYTES_MAX];
    const uint8_t *head[HS_LANES_MAX], *body[HS_LANES_MAX], *tail[HS_LANES_MAX];
    unsigned lanes = kernel->lanes;
    for (size_t done = 0; done < count; done += lanes) {
        unsigned live = count - done < lanes ? (unsigned)(count - done) : lanes;
        for (unsigned l = 0; l < lanes; l++) {
            unsigned from = l < live ? l : 0; /* a lane without a page repeats the first */
            const uint8_t *page = pages + (done + from) * HS_PAGE_BYTES;
            hs_lane_start(HS_SHA256, state, lanes, l);
            memcpy(heads[l], set_id, 16);
            hs_store32le(heads[l] + 16, section);
            hs_store64le(heads[l] + 20, number + done + from);
            memcpy(heads[l] + PREFIX, page, HEAD);
            hs_lane_tail(HS_SHA256, page + HS_PAGE_BYTES - REST, PREFIX + HS_PAGE_BYTES, tails[l]);
            head[l] = heads[l];
            body[l] = page + HEAD;
            tail[l] = tails[l];
        }
        kernel->run(state, head, 1);
        kernel->run(state, body, BLOCKS);
        kernel->run(state, tail, 1);
        for (unsigned l = 0; l < live; l++) {
            hs_lane_digest(HS_SHA256, state, lanes, l, digest);
            memcpy(hashes + (done + l) * HS_PAGE_HASH_BYTES, digest, HS_PAGE_HASH_BYTES);
        }
    }
}

int hs_section_begin(hs_section_out *section, const hs_pages *pages, uint32_t id, uint64_t offset) {
    memset(section, 0, sizeof *section);
    section->pages = pages;
    section->id = id;
    section->page = offset / HS_PAGE_BYTES;
    section->chunk = malloc(HS_CHUNK_PAGES * HS_PAGE_BYTES);
    return section->chunk == NULL ? -ENOMEM : 0;
}

void hs_section_free(hs_section_out *section) {
    free(section->chunk);
    section->chunk = NULL;
}

int hs_section_flush(hs_section_out *section) {
    const hs_pages *pages = section->pages;
    uint8_t hashes[HS_CHUNK_PAGES * HS_PAGE_HASH_BYTES];
    size_t count = (section->used + HS_PAGE_BYTES - 1) / HS_PAGE_BYTES;
    if (count == 0) return 0;
    memset(section->chunk + section->used, 0, count * HS_PAGE_BYTES - section->used);
    hs_pages_hash(pages->set_id, section->id, section->page, section->chunk, count, pages->kernel, hashes);
    int status = hs_write_all(pages->os, pages->fd, section->chunk, count * HS_PAGE_BYTES, section->page * HS_PAGE_BYTES);
    if (status == 0)
        status = hs_write_all(pages->os, pages->fd, hashes, count * HS_PAGE_HASH_BYTES,
                              pages->list_offset + (section->page - 1) * HS_PAGE_HASH_BYTES);
    section->page += count;
    section->used = 0;
    return status;
}

int hs_section_put_slowly(hs_section_out *section, const uint8_t *data, size_t length) {
    section->length += length;
    while (length) {
        size_t take = HS_CHUNK_PAGES * HS_PAGE_BYTES - section->used;
        if (take > length) take = length;
        memcpy(section->chunk + section->used, data, take);
        section->used += take;
        data += take;
        length -= take;
        if (section->used == HS_CHUNK_PAGES * HS_PAGE_BYTES) {
            int status = hs_section_flush(section);
            if (status < 0) return status;
        }
    }
    return 0;
}

int hs_section_pad(hs_section_out *section) {
    size_t rest = section->used % HS_PAGE_BYTES;
    static const uint8_t zeros[HS_PAGE_BYTES];
    return rest ? hs_section_put(section, zeros, HS_PAGE_BYTES - rest) : 0;
}
