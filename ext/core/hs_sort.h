/* hs_sort.h -- sorts packed rows of equal width by their first bytes, in place.
 *
 * Most-significant-digit radix sort ("American flag sort", P. McIlroy, K. Bostic, M. D. McIlroy, "Engineering Radix
 * Sort", Computing Systems 6(1), 1993): digests are uniform, so three byte passes leave buckets small enough for an
 * insertion sort, and rows are moved without a second copy of the data. Rows that share long prefixes cost a pass of
 * counting a byte, nothing more. Stack: at most key_bytes frames of 4.5 KiB. Not stable: equal keys keep no order.
 */
#ifndef HS_SORT_H
#define HS_SORT_H

#include "hs_port.h"

enum { HS_SORT_MAX_WIDTH = 256 };

/* Asked now and then (about every million rows moved); anything but 0 ends the sort early. */
typedef int (*hs_sort_poll)(void *ctx);

/* Sorts `count` rows of `width` bytes (1..HS_SORT_MAX_WIDTH) by memcmp of their first `key_bytes` (<= width) bytes. Returns
 * 0, or what `poll` (may be NULL) answered: then all rows are there, in some order. */
int hs_sort_rows(uint8_t *rows, uint64_t count, size_t width, size_t key_bytes, hs_sort_poll poll, void *ctx);

#endif
