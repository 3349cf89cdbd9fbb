/* hs_json.h -- finds wanted values in JSON text that comes in pieces, without building anything.
 *
 * The caller gives a tree of wanted paths. Values at the end of a path are *held*: their bytes stay in the caller's
 * buffer until they are complete, and then come out as a span. Everything else is passed over and need not be kept, so
 * that a document of any size, in one line or many, takes the memory of one held value.
 *
 * Objects and arrays on the way to a wanted path are checked strictly: names, colons, commas, matching ends. In values
 * that are held or passed over strings and brackets alone decide where they end, so that one bad record does not cost
 * the others; what is no JSON there raises a flag, and whoever decodes the value judges it. Numbers and words, escapes,
 * control characters and the order of tokens are looked at, UTF-8 and surrogates are not. A held object with a member on
 * a further wanted path is a container of wanted values instead.
 *
 * Names compare without regard to the case of ASCII letters. The scanner can stop after any byte and go on in the next
 * piece; it allocates nothing, and its state is a plain struct that one thread uses at a time.
 */
#ifndef HS_JSON_H
#define HS_JSON_H

#include "hs_port.h"

enum {
    HS_JSON_MAX_NESTING = 64,  /* of containers on wanted paths, and again inside one value */
    HS_JSON_NAME_BYTES = 128,  /* longest name on a path; longer ones are read and match nothing */
    HS_JSON_MEMBERS = 12,      /* most noted members */
};

/* One step of a wanted path. Children of a node are a list by `next`; `child` is the first. */
typedef struct {
    char name[32];    /* of the member, in lower case; "" = the elements of an array */
    uint8_t name_bytes;
    uint8_t contains; /* the name of the member has to contain `name` only */
    int16_t path;     /* number of the path that ends here, or -1 */
    int16_t child, next; /* -1 = none */
} hs_json_node;

/* A member of held objects whose value is noted, in the spelling that needs no flag. */
typedef struct {
    char name[32];
    uint8_t name_bytes;
} hs_json_member;

enum {
    HS_JSON_ODD_NAME = 1, /* a noted member is spelled in another case */
    HS_JSON_TOO_DEEP = 2, /* nested deeper than HS_JSON_MAX_NESTING */
    HS_JSON_SCALAR = 4,   /* neither an object nor an array */
    HS_JSON_ESCAPED_NAME = 16, /* some name of the object has an escape: it may be that of a noted member, unseen */
    HS_JSON_ODD_TEXT = 8, /* not what the grammar of JSON allows, as far as the scanner can tell */
};

/* A held value that is complete. Offsets count from the start of the caller's buffer, those of members from `start`;
 * member_end 0 = the member is absent. */
typedef struct {
    size_t start, end;
    uint64_t array; /* number of the array it stands in: equal numbers one after another are neighbours */
    int16_t path;
    uint16_t flags;
    uint32_t member_start[HS_JSON_MEMBERS], member_end[HS_JSON_MEMBERS];
} hs_json_value;

typedef enum {
    HS_JSON_OK = 0, /* the piece was read to its end, or `out` is full */
    HS_JSON_WANTS_VALUE,
    HS_JSON_WANTS_CONTAINER, /* what is on a wanted path is neither the array or object it should be nor null */
    HS_JSON_WANTS_COMMA,
    HS_JSON_WANTS_NAME,
    HS_JSON_WANTS_COLON,
    HS_JSON_WANTS_PARTNER, /* the bracket that matches the open one */
    HS_JSON_WANTS_LESS_NESTING,
    HS_JSON_WANTS_END,
} hs_json_status;

typedef struct {
    const hs_json_node *nodes; /* node 0 is the document */
    const hs_json_member *members;
    int member_count;
    int many; /* several documents may follow each other */
    /* Private from here on. */
    int state;
    int depth;
    int16_t stack[HS_JSON_MAX_NESTING + 1]; /* node << 1 | is array */
    uint64_t arrays[HS_JSON_MAX_NESTING + 1];
    uint64_t array_count;
    uint32_t lengths; /* bit n: some noted member has a name of n bytes */
    int node;     /* of the value that comes next, or -1 */
    int escaped;  /* the name that is being read has an escape */
    int name_bytes;
    uint8_t name[HS_JSON_NAME_BYTES];
    /* The value that is being held or passed over. */
    int holding;
    size_t start;
    uint64_t inner_depth;
    uint64_t inner_kinds;
    int in_key, opened, key_node, member, digits;
    size_t key_start, member_start, scalar_start;
    hs_json_value value;
} hs_json;

void hs_json_init(hs_json *j, const hs_json_node *nodes, const hs_json_member *members, int member_count, int many);

/* Reads buf[*pos .. length), moves *pos on, and appends complete values to `out`. With HS_JSON_OK and *pos < length
 * `out` is full: call again. With any other status *pos is where it is wrong. */
hs_json_status hs_json_scan(hs_json *j, const uint8_t *buf, size_t length, size_t *pos, hs_json_value *out,
                            size_t capacity, size_t *count);

/* Offset of the first byte that is still needed: the start of the held value, or `pos`. */
size_t hs_json_needed(const hs_json *j, size_t pos);

/* The caller removed `dropped` bytes from the front of its buffer. */
void hs_json_shift(hs_json *j, size_t dropped);

/* Whether the text may end here. Call at the end: a number at the top has no end of its own. */
int hs_json_complete(const hs_json *j);

#endif
