/* hs_hex.c -- see hs_hex.h. */
#include "hs_hex.h"

/* Value of a character as a hex digit, 0xff where it is none. */
HS_INLINE unsigned digit(uint8_t c) {
    unsigned number = c - '0', letter = (c | 0x20u) - 'a';
    return number < 10 ? number : letter < 6 ? letter + 10 : 0xff;
}

static int decode(const uint8_t *text, unsigned width, uint8_t *out) {
    unsigned bad = 0;
    for (unsigned i = 0; i < width; i++) {
        unsigned high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        bad |= high | low; /* digits stay below 16 */
        out[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return bad < 16;
}

HS_INLINE int around(uint8_t c) { return c == ' ' || c == '\t' || c == '\r'; }

size_t hs_hex_lines(const uint8_t *text, size_t length, int last, hs_hex_line *lines, size_t room, uint8_t *const digests[3],
                    size_t counts[3], size_t *consumed) {
    size_t at = 0, line_count = 0;
    counts[0] = counts[1] = counts[2] = 0;
    while (at < length && line_count < room) {
        const uint8_t *newline = memchr(text + at, '\n', length - at);
        if (!newline && !last) break;
        size_t start = at, end = newline ? (size_t)(newline - text) : length;
        at = newline ? end + 1 : end;
        while (start < end && around(text[start])) start++;
        while (end > start && around(text[end - 1])) end--;
        hs_hex_line *line = &lines[line_count++];
        line->start = (uint32_t)start;
        line->length = (uint32_t)(end - start);
        line->what = end == start ? HS_LINE_BLANK : HS_LINE_OTHER;
        if (end - start != 32 && end - start != 40 && end - start != 64) continue;
        unsigned width = (unsigned)(end - start) / 2;
        int slot = hs_hex_slot(width);
        if (decode(text + start, width, digests[slot] + counts[slot] * width)) {
            counts[slot]++;
            line->what = (uint8_t)width;
        }
    }
    *consumed = at;
    return line_count;
}

void hs_hex_encode(const uint8_t *bytes, size_t count, uint8_t *text) {
    static const uint8_t DIGITS[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = DIGITS[bytes[i] >> 4];
        text[2 * i + 1] = DIGITS[bytes[i] & 15];
    }
}
