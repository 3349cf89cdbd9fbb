/* test_kernels.c -- every digest kernel that this CPU can run, against published digests and against kernel 0.
 *
 *     cc -std=c11 -O2 -Wall -Wextra -fsanitize=address,undefined -Iext/core tests/native/test_kernels.c \
 *         ext/core/hs_{cpu,kernels,md5,sha1,sha256,sha256_lanes,hmac}.c && ./a.out
 *     aarch64-linux-gnu-gcc -static (the same), then qemu-aarch64 ./a.out
 *
 * Prints the kernels it ran; ends with 1 if anything was wrong. `./a.out --list` only prints them.
 */
#if !defined(_WIN32)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif
#include <stdio.h>
#include <stdlib.h>

#include "hs_cpu.h"
#include "hs_hmac.h"
#include "hs_kernels.h"

enum { STATE_MAX = HS_STATE_WORDS_MAX * HS_LANES_MAX, BLOCKS_MAX = 8, GUARD = 1 << 16 };

static const char *const kind_name[HS_KIND_COUNT] = {"md5", "sha1", "sha256"};
static unsigned long checks, failures;

static int check(int good, const char *what, int kind, const char *kernel, long detail) {
    checks++;
    if (!good && failures++ < 20) fprintf(stderr, "FAILED %s: %s %s (%ld)\n", what, kind_name[kind], kernel, detail);
    return good;
}

static uint64_t seed = 0x9e3779b97f4a7c15u;
static uint64_t any(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}
static void fill(uint8_t *p, size_t length) {
    for (size_t i = 0; i < length; i++) p[i] = (uint8_t)(any() >> 24);
}

/* Published digests: RFC 1321 appendix A.5; NIST examples for FIPS 180-4 and the empty message. */
typedef struct vector {
    int kind;
    const char *message;
    size_t repeat;
    const char *digest;
} vector;

static const vector vectors[] = {
    {HS_MD5, "", 1, "d41d8cd98f00b204e9800998ecf8427e"},
    {HS_MD5, "a", 1, "0cc175b9c0f1b6a831c399e269772661"},
    {HS_MD5, "abc", 1, "900150983cd24fb0d6963f7d28e17f72"},
    {HS_MD5, "message digest", 1, "f96b697d7cb7938d525a2f31aaf161d0"},
    {HS_MD5, "abcdefghijklmnopqrstuvwxyz", 1, "c3fcd3d76192e4007dfb496cca67e13b"},
    {HS_MD5, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 1, "d174ab98d277d9f5a5611c2c9f419d9f"},
    {HS_MD5, "1234567890", 8, "57edf4a22be3c955ac49da2e2107b67a"},
    {HS_SHA1, "", 1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {HS_SHA1, "abc", 1, "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {HS_SHA1, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "84983e441c3bd26ebaae4aa1f95129e5e54670f1"},
    {HS_SHA1, "a", 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
    {HS_SHA256, "", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {HS_SHA256, "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {HS_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {HS_SHA256, "a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

/* A whole message through one lane, while the other lanes chew noise. */
static void digest_in_lane(const hs_kernel *k, unsigned lane, const uint8_t *message, size_t length,
                           const uint8_t *noise, uint8_t *digest) {
    uint32_t state[STATE_MAX];
    uint8_t tail[2 * HS_BLOCK_BYTES];
    const uint8_t *data[HS_LANES_MAX];
    size_t whole = length / HS_BLOCK_BYTES;
    size_t tail_blocks = hs_lane_tail(k->kind, message + whole * HS_BLOCK_BYTES, length, tail);
    for (unsigned i = 0; i < k->lanes; i++) hs_lane_start(k->kind, state, k->lanes, i);
    for (unsigned i = 0; i < k->lanes; i++) data[i] = noise;
    data[lane] = message;
    k->run(state, data, whole);
    data[lane] = tail;
    k->run(state, data, tail_blocks);
    hs_lane_digest(k->kind, state, k->lanes, lane, digest);
}

static void known_digests(const hs_kernel *k) {
    for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
        if (vectors[v].kind != k->kind) continue;
        size_t unit = strlen(vectors[v].message), length = unit * vectors[v].repeat;
        uint8_t *message = malloc(length + 1), *noise = malloc(length + 2 * HS_BLOCK_BYTES);
        if (!message || !noise) exit(2);
        for (size_t i = 0; i < vectors[v].repeat; i++) memcpy(message + i * unit, vectors[v].message, unit);
        fill(noise, length + 2 * HS_BLOCK_BYTES);
        for (unsigned lane = 0; lane < k->lanes; lane++) {
            uint8_t digest[HS_DIGEST_BYTES_MAX];
            char text[2 * HS_DIGEST_BYTES_MAX + 1] = "";
            digest_in_lane(k, lane, message, length, noise, digest);
            for (unsigned i = 0; i < 4 * hs_digest_words(k->kind); i++) sprintf(text + 2 * i, "%02x", digest[i]);
            check(strcmp(text, vectors[v].digest) == 0, "published digest", k->kind, k->name, (long)v);
        }
        free(message);
        free(noise);
    }
}

/* Random states and data, lane by lane against kernel 0. data[] must hold block_count blocks each. */
static void same_as_portable(const hs_kernel *k, const uint8_t *const *data, size_t block_count, const char *what) {
    size_t unused;
    const hs_kernel *portable = hs_kernel_table(k->kind, &unused);
    const unsigned words = hs_digest_words(k->kind);
    uint32_t state[STATE_MAX + 1], before[STATE_MAX + 1];
    for (unsigned i = 0; i <= words * k->lanes; i++) before[i] = (uint32_t)(any() >> 16);
    memcpy(state, before, sizeof state[0] * (words * k->lanes + 1));
    k->run(state, data, block_count);
    check(state[words * k->lanes] == before[words * k->lanes], "wrote past the state", k->kind, k->name, 0);
    for (unsigned lane = 0; lane < k->lanes; lane++) {
        uint32_t one[HS_STATE_WORDS_MAX], got[HS_STATE_WORDS_MAX];
        hs_lane_move(k->kind, one, 1, 0, before, k->lanes, lane);
        hs_lane_move(k->kind, got, 1, 0, state, k->lanes, lane);
        portable->run(one, data + lane, block_count);
        check(memcmp(one, got, 4 * words) == 0, what, k->kind, k->name, (long)(block_count * 100 + lane));
    }
}

static void random_blocks(const hs_kernel *k) {
    static uint8_t memory[HS_LANES_MAX * 64 * HS_BLOCK_BYTES + 64];
    const uint8_t *data[HS_LANES_MAX];
    for (int turn = 0; turn < 40; turn++) {
        fill(memory, sizeof memory);
        for (size_t blocks = 0; blocks <= BLOCKS_MAX; blocks++) {
            for (unsigned i = 0; i < k->lanes; i++)
                data[i] = memory + any() % (sizeof memory - BLOCKS_MAX * HS_BLOCK_BYTES);
            same_as_portable(k, data, blocks, "random data, any alignment");
        }
        for (unsigned i = 0; i < k->lanes; i++) data[i] = memory + turn;
        same_as_portable(k, data, 3, "all lanes share their data");
        for (unsigned i = 0; i < k->lanes; i++) data[i] = memory + i * 64 * HS_BLOCK_BYTES + turn % 17;
        same_as_portable(k, data, 63, "many blocks");
    }
    /* All zeros and all ones, where a carry that leaks into a neighbouring lane shows. */
    for (int byte = 0; byte <= 0xff; byte += 0xff) {
        memset(memory, byte, sizeof memory);
        for (unsigned i = 0; i < k->lanes; i++) data[i] = memory + i;
        same_as_portable(k, data, 4, "constant data");
    }
}

/* Reading one byte before or past the data of any lane ends the test with a signal. */
static void guarded_pages(const hs_kernel *k) {
#if !defined(_WIN32)
    uint8_t *memory = mmap(NULL, 3 * GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const uint8_t *data[HS_LANES_MAX];
    if (memory == MAP_FAILED) exit(2);
    if (mprotect(memory, GUARD, PROT_NONE) || mprotect(memory + 2 * GUARD, GUARD, PROT_NONE)) exit(2);
    fill(memory + GUARD, GUARD);
    for (size_t blocks = 0; blocks <= BLOCKS_MAX; blocks++) {
        for (unsigned edge = 0; edge < k->lanes; edge++) {
            for (unsigned i = 0; i < k->lanes; i++) data[i] = memory + GUARD + 1 + i;
            data[edge] = memory + 2 * GUARD - blocks * HS_BLOCK_BYTES;
            same_as_portable(k, data, blocks, "data at the end of a page");
        }
        for (unsigned i = 0; i < k->lanes; i++) data[i] = memory + GUARD;
        same_as_portable(k, data, blocks, "data at the start of a page");
    }
    munmap(memory, 3 * GUARD);
#else
    (void)k;
#endif
}

/* Every length around the places where the padding changes, padded here byte by byte. */
static void tails(int kind) {
    size_t unused;
    const hs_kernel *portable = hs_kernel_table(kind, &unused);
    uint8_t message[512 + 2 * HS_BLOCK_BYTES], padded[512 + 2 * HS_BLOCK_BYTES];
    for (size_t length = 0; length <= 260; length++) {
        uint8_t digest[HS_DIGEST_BYTES_MAX], expected[HS_DIGEST_BYTES_MAX];
        uint32_t state[HS_STATE_WORDS_MAX];
        const uint8_t *p = padded;
        size_t end = length;
        fill(message, length);
        memcpy(padded, message, length);
        for (padded[end++] = 0x80; end % HS_BLOCK_BYTES != 56; end++) padded[end] = 0;
        for (int i = 0; i < 64; i += 8)
            padded[end++] = (uint8_t)(((uint64_t)length * 8) >> (kind == HS_MD5 ? i : 56 - i));
        hs_lane_start(kind, state, 1, 0);
        portable->run(state, &p, end / HS_BLOCK_BYTES);
        hs_lane_digest(kind, state, 1, 0, expected);
        digest_in_lane(portable, 0, message, length, message, digest);
        check(memcmp(digest, expected, 4 * hs_digest_words(kind)) == 0, "padding", kind, "portable", (long)length);
    }
    /* 5 GiB and one byte: a bit length of more than 32 bits, no data but the last byte. */
    uint8_t tail[2 * HS_BLOCK_BYTES], last = 7;
    const uint64_t length = (5ull << 30) + 1;
    size_t blocks = hs_lane_tail(kind, &last, length, tail);
    uint64_t bits = kind == HS_MD5 ? hs_load64le(tail + 56) : hs_load64be(tail + 56);
    check(blocks == 1 && tail[0] == 7 && tail[1] == 0x80 && bits == length * 8, "long length", kind, "portable", 0);
    check(hs_lane_tail(kind, NULL, length - 1, tail) == 1 && tail[0] == 0x80, "no rest", kind, "portable", 0);
}

static void table(int kind) {
    size_t count;
    const hs_kernel *t = hs_kernel_table(kind, &count);
    const uint32_t all = 0xffffffffu;
    int status;
    check(strcmp(t->name, "portable") == 0 && t->lanes == 1 && t->needs == 0 && t->run, "kernel 0", kind, t->name, 0);
    for (size_t i = 0; i < count; i++) {
        check(t[i].kind == kind && t[i].step_ns > 0, "row", kind, t[i].name, 0);
        check(t[i].lanes >= 1 && t[i].lanes <= HS_LANES_MAX, "lanes", kind, t[i].name, (long)t[i].lanes);
        for (size_t j = 0; j < i; j++) check(strcmp(t[i].name, t[j].name) != 0, "name twice", kind, t[i].name, 0);
        const hs_kernel *found = hs_kernel_find(kind, t[i].name, all, &status);
        check(found == (t[i].run ? t + i : NULL), "find", kind, t[i].name, status);
        check(status == (t[i].run ? HS_KERNEL_OK : HS_KERNEL_NOT_BUILT), "status", kind, t[i].name, status);
        found = hs_kernel_find(kind, t[i].name, HS_CPU_KNOWN, &status);
        if (t[i].run && t[i].needs)
            check(!found && status == HS_KERNEL_NO_CPU, "find without CPU", kind, t[i].name, status);
    }
    check(!hs_kernel_find(kind, "Portable", all, &status), "find", kind, "Portable", status);
    check(status == HS_KERNEL_UNKNOWN, "status", kind, "Portable", status);
    check(hs_kernel_default(kind, HS_CPU_KNOWN) == t, "default of a bare CPU", kind, "portable", 0);
    check(hs_kernel_for(kind, HS_CPU_KNOWN, HS_LANES_MAX) == t, "choice of a bare CPU", kind, "portable", 0);
    for (uint32_t features = 0; features < 1u << 11; features++) {
        for (unsigned live = 0; live <= HS_LANES_MAX; live++) {
            const hs_kernel *k = live ? hs_kernel_for(kind, features, live) : hs_kernel_default(kind, features);
            if (!k->run || (k->needs & ~features)) check(0, "choice that cannot run", kind, k->name, (long)live);
            if (live == 1 && k->lanes > 1) check(0, "lanes for a single stream", kind, k->name, (long)live);
        }
    }
}

/* Fingerprints: the portable kernel against HMAC made the long way, and the others against it; digests and results lie in
 * memory of exactly their size. */
static void fingerprints(const hs_hmac_kernel *kernel) {
    static const size_t widths[] = {1, 16, 20, 32, 54};
    const hs_hmac_kernel *portable;
    uint8_t secret[HS_SEAL_KEY_BYTES];
    hs_hmac_key key;
    size_t kernel_count;
    portable = hs_hmac_kernel_table(&kernel_count);
    fill(secret, sizeof secret);
    hs_hmac_init(&key, hs_sha256_compress_portable, secret, sizeof secret);
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        const size_t width = widths[w];
        for (size_t count = 1; count <= 26; count++) { /* all lanes, and the widest group and a bit */
            uint8_t *digests = malloc(width * count), *made = malloc(HS_FINGERPRINT_BYTES * count);
            uint8_t *right = malloc(HS_FINGERPRINT_BYTES * count), text[1 + 54], mac[HS_SHA256_BYTES];
            const uint8_t code = (uint8_t)any();
            if (!digests || !made || !right) exit(2);
            fill(digests, width * count);
            portable->run(&key, code, digests, width, count, right);
            for (size_t i = 0; kernel == portable && i < count; i++) {
                text[0] = code;
                memcpy(text + 1, digests + i * width, width);
                hs_hmac(&key, hs_sha256_compress_portable, text, 1 + width, mac);
                check(!memcmp(mac, right + i * HS_FINGERPRINT_BYTES, HS_FINGERPRINT_BYTES), "hmac", HS_SHA256, "portable", (long)i);
            }
            kernel->run(&key, code, digests, width, count, made);
            check(!memcmp(made, right, HS_FINGERPRINT_BYTES * count), "fingerprints", HS_SHA256, kernel->name, (long)count);
            free(digests);
            free(made);
            free(right);
        }
    }
}

/* RFC 4231, section 4.3. */
static void known_mac(hs_sha256_compress compress) {
    static const char text[] = "what do ya want for nothing?";
    static const uint8_t right[8] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e};
    uint8_t mac[HS_SHA256_BYTES];
    hs_hmac_key key;
    hs_hmac_init(&key, compress, "Jefe", 4);
    hs_hmac(&key, compress, text, sizeof text - 1, mac);
    check(!memcmp(mac, right, sizeof right), "rfc 4231", HS_SHA256, "hmac", 0);
}

int main(int argc, char **argv) {
    const uint32_t features = hs_cpu_features();
    const int list_only = argc > 1 && strcmp(argv[1], "--list") == 0;
    for (int kind = 0; kind < HS_KIND_COUNT; kind++) {
        size_t count;
        const hs_kernel *t = hs_kernel_table(kind, &count);
        printf("%s:", kind_name[kind]);
        for (size_t i = 0; i < count; i++) {
            if (!t[i].run || (t[i].needs & ~features)) continue;
            printf(" %s", t[i].name);
            if (list_only) continue;
            known_digests(t + i);
            random_blocks(t + i);
            guarded_pages(t + i);
        }
        printf("\n");
        if (list_only) continue;
        tails(kind);
        table(kind);
    }
    size_t count;
    const hs_hmac_kernel *t = hs_hmac_kernel_table(&count);
    printf("fingerprints:");
    for (size_t i = 0; i < count; i++) {
        if (!t[i].run || (t[i].needs & ~features)) continue;
        printf(" %s", t[i].name);
        if (!list_only) fingerprints(t + i);
    }
    printf("\n");
    if (!list_only) {
        known_mac(hs_sha256_compress_portable);
        known_mac(hs_sha256_choose(features));
    }
    if (!list_only) printf("%lu checks, %lu failures\n", checks, failures);
    return failures != 0;
}
