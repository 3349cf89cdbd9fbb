#include "hs_json.h"

enum {
    AT_VALUE,        /* a value has to come */
    AT_VALUE_OR_END, /* a value or the end of the array */
    AT_NAME_OR_END,  /* a member or the end of the object */
    IN_NAME,
    IN_NAME_ESCAPE,
    AT_COLON,
    AT_COMMA_OR_END,
    AT_DOCUMENT_END,
    /* Inside a value that is held or passed over: */
    INNER_VALUE,
    INNER_AFTER,
    INNER_KEY,
    INNER_COLON,
    INNER_STRING,
    INNER_ESCAPE,
    INNER_DIGITS,
    INNER_SCALAR,
    INNER = INNER_VALUE,
};

/* What a byte is outside of strings. */
enum { OTHER, BLANK, SCALAR, COLON, COMMA, QUOTE, OPEN, CLOSE };

#define S SCALAR
static const uint8_t class_of[256] = {
    [' '] = BLANK, ['\n'] = BLANK, ['\r'] = BLANK, ['\t'] = BLANK,
    ['0'] = S, ['1'] = S, ['2'] = S, ['3'] = S, ['4'] = S, ['5'] = S, ['6'] = S, ['7'] = S, ['8'] = S, ['9'] = S,
    ['a'] = S, ['b'] = S, ['c'] = S, ['d'] = S, ['e'] = S, ['f'] = S, ['g'] = S, ['h'] = S, ['i'] = S, ['j'] = S,
    ['k'] = S, ['l'] = S, ['m'] = S, ['n'] = S, ['o'] = S, ['p'] = S, ['q'] = S, ['r'] = S, ['s'] = S, ['t'] = S,
    ['u'] = S, ['v'] = S, ['w'] = S, ['x'] = S, ['y'] = S, ['z'] = S,
    ['A'] = S, ['B'] = S, ['C'] = S, ['D'] = S, ['E'] = S, ['F'] = S, ['G'] = S, ['H'] = S, ['I'] = S, ['J'] = S,
    ['K'] = S, ['L'] = S, ['M'] = S, ['N'] = S, ['O'] = S, ['P'] = S, ['Q'] = S, ['R'] = S, ['S'] = S, ['T'] = S,
    ['U'] = S, ['V'] = S, ['W'] = S, ['X'] = S, ['Y'] = S, ['Z'] = S,
    ['-'] = S, ['+'] = S, ['.'] = S,
    [':'] = COLON, [','] = COMMA, ['"'] = QUOTE, ['{'] = OPEN, ['['] = OPEN, ['}'] = CLOSE, [']'] = CLOSE,
};
#undef S

HS_INLINE int is_blank(uint8_t c) {
    return class_of[c] == BLANK;
}

HS_INLINE int is_scalar(uint8_t c) {
    return class_of[c] == SCALAR;
}

HS_INLINE uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

HS_INLINE int same_name(const uint8_t *text, const char *name, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (lower(text[i]) != lower((uint8_t)name[i])) return 0;
    return 1;
}

/* Index of the lowest byte of x whose highest bit is set; x has only such bits, and at least one. */
HS_INLINE unsigned first_byte(uint64_t x) {
#if defined(__GNUC__) || defined(__clang__)
    return (unsigned)__builtin_ctzll(x) >> 3;
#else
    unsigned i = 0;
    while (!(x & 0xff)) x >>= 8, i++;
    return i;
#endif
}

/* Bytes before the first quote, backslash or control character, at most n. */
HS_INLINE size_t plain_bytes(const uint8_t *p, size_t n) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t x = hs_load64le(p + i);
        uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
        /* Exact up to the first hit: a borrow only reaches the bytes behind it. */
        uint64_t hit = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x)) & highs;
        if (hit) return i + first_byte(hit);
    }
    while (i < n && p[i] != '"' && p[i] != '\\' && p[i] >= 0x20) i++;
    return i;
}

void hs_json_init(hs_json *j, const hs_json_node *nodes, const hs_json_member *members, int member_count, int many) {
    memset(j, 0, sizeof *j);
    j->nodes = nodes;
    j->members = members;
    j->member_count = member_count;
    j->many = many;
    for (int i = 0; i < member_count; i++) j->lengths |= (uint32_t)1 << (members[i].name_bytes & 31);
    j->state = AT_VALUE;
}

size_t hs_json_needed(const hs_json *j, size_t pos) {
    return j->holding ? j->start : pos;
}

void hs_json_shift(hs_json *j, size_t dropped) {
    j->start -= dropped;
    j->key_start -= dropped;
    j->member_start -= dropped;
    j->scalar_start -= dropped;
}

int hs_json_complete(const hs_json *j) {
    return j->state == AT_DOCUMENT_END || (j->depth == 0 && j->state == INNER_SCALAR && !j->holding);
}

static int hex_digit(uint8_t c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Resolves the escapes of a name in place. Names on paths are ASCII: what is not becomes one byte that matches nothing.
 * Returns the new length. */
static int unescape(uint8_t *name, int bytes) {
    int to = 0;
    for (int from = 0; from < bytes; from++) {
        uint8_t c = name[from];
        if (c == '\\' && from + 1 < bytes) {
            c = name[++from];
            if (c == 'u' && from + 4 < bytes) {
                int code = 0;
                for (int i = 1; i <= 4; i++) {
                    int digit = hex_digit(name[from + i]);
                    if (digit < 0) return 0;
                    code = code << 4 | digit;
                }
                from += 4;
                c = code < 0x80 ? (uint8_t)code : 0xff;
            } else if (c == 'b' || c == 'f' || c == 'n' || c == 'r' || c == 't' || c == 'u') {
                c = 0xff;
            }
        }
        name[to++] = c;
    }
    return to;
}

/* The child of `node` that a member of this name leads to, or -1. */
static int child_named(const hs_json *j, int node, const uint8_t *name, size_t bytes) {
    for (int child = j->nodes[node].child; child >= 0; child = j->nodes[child].next) {
        const hs_json_node *n = &j->nodes[child];
        if (!n->name_bytes || bytes < n->name_bytes) continue;
        if (!n->contains) {
            if (bytes == n->name_bytes && same_name(name, n->name, bytes)) return child;
        } else {
            for (size_t at = 0; at + n->name_bytes <= bytes; at++)
                if (same_name(name + at, n->name, n->name_bytes)) return child;
        }
    }
    return -1;
}

/* The child of `node` for the elements of an array, or -1. */
static int child_element(const hs_json *j, int node) {
    for (int child = j->nodes[node].child; child >= 0; child = j->nodes[child].next)
        if (!j->nodes[child].name_bytes) return child;
    return -1;
}

static int has_members(const hs_json *j, int node) {
    for (int child = j->nodes[node].child; child >= 0; child = j->nodes[child].next)
        if (j->nodes[child].name_bytes) return 1;
    return 0;
}

static hs_json_status push(hs_json *j, int node, int is_array) {
    if (j->depth == HS_JSON_MAX_NESTING) return HS_JSON_WANTS_LESS_NESTING;
    j->stack[j->depth] = (int16_t)(node << 1 | is_array);
    if (is_array) j->arrays[j->depth] = ++j->array_count;
    j->depth++;
    if (is_array) {
        j->node = child_element(j, node);
        j->state = AT_VALUE_OR_END;
    } else {
        j->state = AT_NAME_OR_END;
    }
    return HS_JSON_OK;
}

static void after_value(hs_json *j) {
    j->state = j->depth ? AT_COMMA_OR_END : AT_DOCUMENT_END;
}

/* What the name between key_start and `end` means for the held object. */
static void end_key(hs_json *j, const uint8_t *buf, size_t end) {
    const uint8_t *name = buf + j->key_start;
    size_t bytes = end - j->key_start;
    j->in_key = 0;
    j->member = -1;
    j->member_start = end + 1; /* until the value comes, if it does */
    j->key_node = -1;
    if (j->escaped) j->value.flags |= HS_JSON_ESCAPED_NAME;
    for (int i = bytes < 32 && j->lengths >> bytes & 1 ? 0 : j->member_count; i < j->member_count; i++) {
        const hs_json_member *m = &j->members[i];
        if (bytes == m->name_bytes && same_name(name, m->name, bytes)) {
            if (memcmp(name, m->name, bytes)) j->value.flags |= HS_JSON_ODD_NAME;
            j->member = i;
            break;
        }
    }
    if (j->nodes[j->node].child >= 0) {
        if (!j->escaped) {
            j->key_node = child_named(j, j->node, name, bytes);
        } else if (bytes <= HS_JSON_NAME_BYTES) {
            uint8_t copy[HS_JSON_NAME_BYTES];
            memcpy(copy, name, bytes);
            j->key_node = child_named(j, j->node, copy, (size_t)unescape(copy, (int)bytes));
        }
    }
}

/* The value of a noted member ends before `end`. */
static void end_member(hs_json *j, const uint8_t *buf, size_t end) {
    while (end > j->member_start && is_blank(buf[end - 1])) end--;
    j->value.member_start[j->member] = (uint32_t)(j->member_start - j->start);
    j->value.member_end[j->member] = (uint32_t)(end - j->start);
    j->member = -1;
}

static hs_json_status begin_inner(hs_json *j, uint8_t c, size_t pos) {
    int path = j->node < 0 ? -1 : j->nodes[j->node].path;
    if (c != '{' && c != '[' && c != '"' && !is_scalar(c)) return HS_JSON_WANTS_VALUE;
    j->holding = path >= 0;
    j->start = pos;
    j->inner_depth = 0;
    j->inner_kinds = 0;
    j->in_key = j->opened = 0;
    j->member = j->key_node = -1;
    if (j->holding) {
        memset(&j->value, 0, sizeof j->value);
        j->value.path = (int16_t)path;
        j->value.array = j->depth ? j->arrays[j->depth - 1] : 0;
    }
    if (c == '{' || c == '[') {
        j->state = INNER_VALUE; /* the bracket is read there */
    } else {
        if (j->holding) j->value.flags |= HS_JSON_SCALAR;
        j->scalar_start = pos;
        j->state = c == '"' ? INNER_STRING : INNER_SCALAR;
    }
    return HS_JSON_OK;
}

static hs_json_status begin_value(hs_json *j, uint8_t c, size_t *pos) {
    hs_json_status status;
    if (j->node >= 0 && j->nodes[j->node].path < 0) {
        if ((c == '[' && child_element(j, j->node) >= 0) || (c == '{' && has_members(j, j->node))) {
            ++*pos;
            return push(j, j->node, c == '[');
        }
        if (c != 'n' && j->nodes[j->node].child >= 0) return HS_JSON_WANTS_CONTAINER;
    }
    status = begin_inner(j, c, *pos);
    if (status == HS_JSON_OK && j->state == INNER_STRING) ++*pos;
    return status;
}

/* The held object turns out to hold wanted values itself: it becomes a container, and its value at `pos` is one too. */
static hs_json_status become_container(hs_json *j, size_t *pos, int is_array) {
    int key_node = j->key_node;
    j->holding = 0;
    hs_json_status status = push(j, j->node, 0);
    if (status == HS_JSON_OK) status = push(j, key_node, is_array);
    if (status == HS_JSON_OK) ++*pos;
    return status;
}

/* Whether the bytes are a number or one of the three words of JSON. */
static int is_literal(const uint8_t *p, size_t n) {
    size_t i = 0;
    if (n == 4 && (!memcmp(p, "null", 4) || !memcmp(p, "true", 4))) return 1;
    if (n == 5 && !memcmp(p, "false", 5)) return 1;
    if (i < n && p[i] == '-') i++;
    if (i == n || p[i] < '0' || p[i] > '9') return 0;
    if (p[i] == '0') i++;
    else
        while (i < n && p[i] >= '0' && p[i] <= '9') i++;
    if (i < n && p[i] == '.') {
        if (++i == n || p[i] < '0' || p[i] > '9') return 0;
        while (i < n && p[i] >= '0' && p[i] <= '9') i++;
    }
    if (i < n && (p[i] == 'e' || p[i] == 'E')) {
        i++;
        if (i < n && (p[i] == '+' || p[i] == '-')) i++;
        if (i == n || p[i] < '0' || p[i] > '9') return 0;
        while (i < n && p[i] >= '0' && p[i] <= '9') i++;
    }
    return i == n;
}

/* Returns with *pos at the end of the piece or behind the value; the state says which.
 *
 * The jumps follow the grammar, so that records written alike take the same way through them. What the grammar does not
 * allow sets HS_JSON_ODD_TEXT; from there on only strings and brackets decide, as everywhere in the value. */
static hs_json_status scan_inner(hs_json *j, const uint8_t *buf, size_t length, size_t *pos) {
    size_t p = *pos;
    uint8_t c;
    switch (j->state) {
    case INNER_AFTER: goto after;
    case INNER_KEY: goto key;
    case INNER_COLON: goto colon;
    case INNER_STRING: goto string;
    case INNER_ESCAPE: goto escape;
    case INNER_DIGITS: goto digits;
    case INNER_SCALAR: goto scalar;
    default: goto value;
    }

#define NEXT(then)                                  \
    while (p < length && is_blank(buf[p])) p++;     \
    if (p == length) {                              \
        j->state = then;                            \
        *pos = p;                                   \
        return HS_JSON_OK;                          \
    }                                               \
    c = buf[p]

value:
    NEXT(INNER_VALUE);
    if (j->key_node >= 0 && j->inner_depth == 1) {
        if ((c == '[' && child_element(j, j->key_node) >= 0) || (c == '{' && has_members(j, j->key_node))) {
            *pos = p;
            return become_container(j, pos, c == '[');
        }
        j->key_node = -1;
    }
    if (j->inner_depth == 1) j->member_start = p;
    switch (class_of[c]) {
    case QUOTE:
        j->opened = 0;
        p++;
        goto string;
    case SCALAR:
        j->opened = 0;
        j->scalar_start = p;
        goto scalar;
    case OPEN: goto open;
    case CLOSE:
        if (j->opened && c == ']') goto close;
    }
    goto odd;

key:
    NEXT(INNER_KEY);
    if (c == '"') {
        j->opened = 0;
        p++;
        if (j->inner_depth == 1 && j->holding) {
            j->escaped = 0;
            j->key_start = p;
        }
        j->in_key = 1;
        goto string;
    }
    if (c == '}' && j->opened) goto close;
    goto odd;

colon:
    NEXT(INNER_COLON);
    if (c != ':') goto odd;
    p++;
    goto value;

after:
    NEXT(INNER_AFTER);
    if (c == ',') {
    comma:
        if (j->inner_depth == 1 && j->member >= 0) end_member(j, buf, p);
        p++;
        if (j->inner_depth > HS_JSON_MAX_NESTING) goto value;
        if (j->inner_kinds >> (j->inner_depth - 1) & 1) goto value;
        goto key;
    }
    if (c == '}' || c == ']') goto close;
    goto odd;

odd: /* whatever stands here, take it by its class */
    j->value.flags |= HS_JSON_ODD_TEXT;
    switch (class_of[c]) {
    case QUOTE: p++; goto string;
    case SCALAR: j->scalar_start = p; goto scalar;
    case OPEN: goto open;
    case CLOSE: goto close;
    case COMMA: goto comma;
    default: p++; goto after;
    }

open:
    if (j->inner_depth >= HS_JSON_MAX_NESTING) {
        if (!j->holding) {
            *pos = p;
            return HS_JSON_WANTS_LESS_NESTING;
        }
        j->value.flags |= HS_JSON_TOO_DEEP;
    } else if (c == '[') {
        j->inner_kinds |= (uint64_t)1 << j->inner_depth;
    } else {
        j->inner_kinds &= ~((uint64_t)1 << j->inner_depth);
    }
    j->inner_depth++;
    j->opened = 1;
    p++;
    if (c == '[') goto value;
    goto key;

close:
    j->opened = 0;
    if (j->inner_depth <= HS_JSON_MAX_NESTING && (int)(j->inner_kinds >> (j->inner_depth - 1) & 1) != (c == ']')) {
        *pos = p;
        return HS_JSON_WANTS_PARTNER;
    }
    if (j->inner_depth == 1 && j->member >= 0) end_member(j, buf, p);
    p++;
    if (--j->inner_depth == 0) goto complete;
    goto after;

string:
    p += plain_bytes(buf + p, length - p);
    if (p == length) {
        j->state = INNER_STRING;
        *pos = p;
        return HS_JSON_OK;
    }
    c = buf[p++];
    if (c == '"') {
        if (j->in_key) {
            j->in_key = 0;
            if (j->inner_depth == 1 && j->holding) end_key(j, buf, p - 1);
            goto colon;
        }
        if (j->inner_depth == 0) goto complete;
        goto after;
    }
    if (c != '\\') {
        j->value.flags |= HS_JSON_ODD_TEXT;
        goto string;
    }
    if (j->in_key) j->escaped = 1;

escape:
    if (p == length) {
        j->state = INNER_ESCAPE;
        *pos = p;
        return HS_JSON_OK;
    }
    c = buf[p++];
    if (c == 'u') {
        j->digits = 0;
        goto digits;
    }
    if (!strchr("\"\\/bfnrt", c) || !c) j->value.flags |= HS_JSON_ODD_TEXT;
    goto string;

digits:
    for (; j->digits < 4; j->digits++, p++) {
        if (p == length) {
            j->state = INNER_DIGITS;
            *pos = p;
            return HS_JSON_OK;
        }
        if (hex_digit(buf[p]) < 0) {
            j->value.flags |= HS_JSON_ODD_TEXT;
            break;
        }
    }
    goto string;

scalar:
    while (p < length && is_scalar(buf[p])) p++;
    if (p == length) {
        j->state = INNER_SCALAR;
        *pos = p;
        return HS_JSON_OK;
    }
    if (j->holding && !is_literal(buf + j->scalar_start, p - j->scalar_start)) j->value.flags |= HS_JSON_ODD_TEXT;
    if (j->inner_depth == 0) goto complete;
    goto after;

complete:
    *pos = p;
    after_value(j);
    return HS_JSON_OK;
#undef NEXT
}

hs_json_status hs_json_scan(hs_json *j, const uint8_t *buf, size_t length, size_t *pos, hs_json_value *out,
                            size_t capacity, size_t *count) {
    *count = 0;
    while (*pos < length) {
        hs_json_status status = HS_JSON_OK;
        uint8_t c = buf[*pos];
        if (j->state >= INNER) {
            status = scan_inner(j, buf, length, pos);
            if (status != HS_JSON_OK) return status;
            if (j->holding && j->state < INNER) {
                j->holding = 0;
                j->value.start = j->start;
                j->value.end = *pos;
                out[(*count)++] = j->value;
                if (*count == capacity) return HS_JSON_OK;
            }
            continue;
        }
        if (j->state == IN_NAME_ESCAPE || (j->state == IN_NAME && c != '"')) {
            if (j->name_bytes < HS_JSON_NAME_BYTES) j->name[j->name_bytes] = c;
            if (j->name_bytes <= HS_JSON_NAME_BYTES) j->name_bytes++;
            if (c < 0x20) return HS_JSON_WANTS_NAME;
            if (j->state == IN_NAME && c == '\\') {
                j->escaped = 1;
                j->state = IN_NAME_ESCAPE;
            } else {
                j->state = IN_NAME;
            }
            ++*pos;
            continue;
        }
        if (is_blank(c)) {
            ++*pos;
            continue;
        }
        switch (j->state) {
        case AT_VALUE_OR_END:
            if (c == ']') {
                ++*pos;
                j->depth--;
                after_value(j);
                break;
            }
            /* fall through */
        case AT_VALUE:
            status = begin_value(j, c, pos);
            break;
        case AT_NAME_OR_END:
            if (c == '}') {
                ++*pos;
                j->depth--;
                after_value(j);
            } else if (c == '"') {
                ++*pos;
                j->name_bytes = 0;
                j->escaped = 0;
                j->state = IN_NAME;
            } else {
                status = HS_JSON_WANTS_NAME;
            }
            break;
        case IN_NAME:
            ++*pos;
            j->node = -1;
            if (j->name_bytes <= HS_JSON_NAME_BYTES) {
                int bytes = j->escaped ? unescape(j->name, j->name_bytes) : j->name_bytes;
                j->node = child_named(j, j->stack[j->depth - 1] >> 1, j->name, (size_t)bytes);
            }
            j->state = AT_COLON;
            break;
        case AT_COLON:
            if (c != ':') return HS_JSON_WANTS_COLON;
            ++*pos;
            j->state = AT_VALUE;
            break;
        case AT_COMMA_OR_END: {
            int top = j->stack[j->depth - 1];
            if (c == ',') {
                ++*pos;
                if (top & 1) {
                    j->node = child_element(j, top >> 1);
                    j->state = AT_VALUE_OR_END;
                } else {
                    j->state = AT_NAME_OR_END;
                }
            } else if (c == ((top & 1) ? ']' : '}')) {
                ++*pos;
                j->depth--;
                after_value(j);
            } else {
                status = HS_JSON_WANTS_COMMA;
            }
            break;
        }
        default: /* AT_DOCUMENT_END */
            if (!j->many) return HS_JSON_WANTS_END;
            j->node = 0;
            status = begin_value(j, c, pos);
        }
        if (status != HS_JSON_OK) return status;
    }
    return HS_JSON_OK;
}
