/* hs_text.h -- rows of hex digests in text to packed digests, for as long as the rows are plain.
 *
 * A plain row is one of which no rule of any list format has anything to say: the digits of a digest of the stated
 * length in any letter case and nothing else, or then two blanks or a blank and an asterisk and a name; in a table a
 * decimal size, digests between commas, and a name. Everything else (comments, escapes, other lengths, placeholders,
 * pieces, digests no list may carry, line ends within a name) ends the run just before its line, so that the reader
 * above decides about that line by its full rules. The functions therefore never refuse and never drop a row.
 *
 * Text must hold whole lines only: every line, the last one too, has its end. Reads exactly `length` bytes, writes at
 * most `max_rows` rows, allocates nothing, keeps no state, may be called from any thread.
 */
#ifndef HS_TEXT_H
#define HS_TEXT_H

#include "hs_port.h"

enum { HS_TEXT_MAX_COLUMNS = 12 };

/* The end of a line: LF (one CR before it belongs to it), CR or NUL. What ends a line elsewhere may not stand in a name. */
typedef struct {
    uint8_t end;
    /* Packed digests that end a run where they stand, by length in bytes; few. */
    const uint8_t *stops_16, *stops_20, *stops_32;
    uint32_t stop_count_16, stop_count_20, stop_count_32;
} hs_text_rules;

/* One column between size and name: a digest of `digest_bytes` (16, 20 or 32) to be put at `offset` of the packed row, or
 * with 0 a column that is passed over. */
typedef struct {
    uint32_t digest_bytes, offset;
} hs_text_column;

/* Rows "HEX", "HEX  NAME" and "HEX *NAME", digests of `digest_bytes`. Returns the rows taken; `*used` is the offset of the
 * first line that was not taken. */
uint64_t hs_text_digest_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, unsigned digest_bytes,
                              uint8_t *out, uint64_t max_rows, size_t *used);

/* Rows "SIZE,COLUMN,...,NAME", digests in `row_bytes` a row and sizes (0..10^18-1) beside. As above. */
uint64_t hs_text_sized_rows(const hs_text_rules *rules, const uint8_t *text, size_t length, const hs_text_column *columns,
                            unsigned column_count, unsigned row_bytes, uint8_t *out, int64_t *sizes_bytes,
                            uint64_t max_rows, size_t *used);

/* Rows "TAG (NAME) = HEX": `tag` is all before the name, its bracket included. As above. */
uint64_t hs_text_tagged_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, const uint8_t *tag,
                              size_t tag_bytes, unsigned digest_bytes, uint8_t *out, uint64_t max_rows, size_t *used);

/* Rows "HEX<separator>REST"; with `sizes_bytes` not NULL "HEX<separator>SIZE<separator>REST", "*" being a size of 0. */
uint64_t hs_text_keyed_lines(const hs_text_rules *rules, const uint8_t *text, size_t length, unsigned digest_bytes,
                             uint8_t separator, uint8_t *out, int64_t *sizes_bytes, uint64_t max_rows, size_t *used);

/* Rows of cells between commas, in quotes or not, of which a free text in the middle may hold anything: the first
 * `left_count` columns are found from the left, the last `right_count` from the right. `offset` is HS_TEXT_SIZE for the column
 * that holds the size, if there is one, and HS_TEXT_EMPTY for one that says something where it is not empty. As above. */
enum { HS_TEXT_SIZE = 0xffff, HS_TEXT_EMPTY = 0xfffe };
uint64_t hs_text_split_rows(const hs_text_rules *rules, const uint8_t *text, size_t length, const hs_text_column *columns,
                            unsigned left_count, unsigned right_count, unsigned row_bytes, uint8_t *out,
                            int64_t *sizes_bytes, uint64_t max_rows, size_t *used);

#endif
