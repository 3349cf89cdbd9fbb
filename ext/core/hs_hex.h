/* hs_hex.h -- lines of hexadecimal digests, as they come from a pipe, to packed digests and back.
 *
 * A line ends with \n; blanks, tabs and \r around its text do not count. Either letter case is taken, lower case is written.
 * Any thread. Nothing is allocated, nothing can fail: what is no digest is said to be none.
 */
#ifndef HS_HEX_H
#define HS_HEX_H

#include "hs_port.h"

enum { HS_HEX_MAX_BYTES = 32 };

/* What a line is: its digest's width in bytes (16, 20, 32), or one of these. */
enum { HS_LINE_BLANK = 0, HS_LINE_OTHER = 1 };

typedef struct hs_hex_line {
    uint32_t start, length; /* its text, without what stands around it */
    uint8_t what;
} hs_hex_line;

/* Splits `text` (less than 4 GiB) into at most `room` lines. Bytes behind the last \n are a line only where `last` says that no
 * more will come. Returns the number of lines; *consumed tells how many bytes they took. Digests are decoded one after
 * another to the array of their width -- digests[0] for 16 bytes, [1] for 20, [2] for 32 -- each with room for length / (2
 * width) of them; counts[0..2] say how many. */
size_t hs_hex_lines(const uint8_t *text, size_t length, int last, hs_hex_line *lines, size_t room, uint8_t *const digests[3],
                    size_t counts[3], size_t *consumed);

/* Writes 2 x count characters. */
void hs_hex_encode(const uint8_t *bytes, size_t count, uint8_t *text);

HS_INLINE int hs_hex_slot(unsigned width) { return width == 16 ? 0 : width == 20 ? 1 : 2; }

#endif
