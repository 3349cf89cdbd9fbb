/* hs_pages.h -- sections of a set file as they are written: pages, their hashes, and where both go.
 *
 * Every section's place is known before its first byte, so sections are written side by side, in any order and by any thread; each
 * page is hashed on its way (several pages at once where the CPU does that better), and the hashes go straight to their place in
 * the page list. Nothing of a section is kept but one chunk.
 *
 * One thread for one section. Results: 0 or a negated errno value.
 */
#ifndef HS_PAGES_H
#define HS_PAGES_H

#include "hs_kernels.h"
#include "hs_run.h"

enum { HS_PAGE_BYTES = 4096, HS_PAGE_HASH_BYTES = 16, HS_CHUNK_PAGES = 64 };

/* Hashes of `count` consecutive pages as the page list holds them; `number`: the first one's place in the file. */
void hs_pages_hash(const uint8_t set_id[16], uint32_t section, uint64_t number, const uint8_t *pages, size_t count,
                   const hs_kernel *kernel, uint8_t *hashes);

typedef struct hs_pages {
    const hs_os *os;
    int fd;
    uint8_t set_id[16];
    const hs_kernel *kernel;     /* of SHA-256 */
    uint64_t list_offset;        /* of the page list in the file */
} hs_pages;

typedef struct hs_section_out {
    const hs_pages *pages;
    uint32_t id;
    uint64_t page, length;       /* the chunk's first page in the file; bytes put so far */
    uint8_t *chunk;
    size_t used;
} hs_section_out;

int hs_section_begin(hs_section_out *section, const hs_pages *pages, uint32_t id, uint64_t offset);
int hs_section_put_slowly(hs_section_out *section, const uint8_t *data, size_t length);
int hs_section_pad(hs_section_out *section); /* zeros up to the end of the page */
int hs_section_flush(hs_section_out *section);
void hs_section_free(hs_section_out *section);

HS_INLINE int hs_section_put(hs_section_out *section, const void *data, size_t length) {
    if (HS_UNLIKELY(length >= HS_CHUNK_PAGES * HS_PAGE_BYTES - section->used))
        return hs_section_put_slowly(section, (const uint8_t *)data, length);
    memcpy(section->chunk + section->used, data, length);
    section->used += length;
    section->length += length;
    return 0;
}

#endif
