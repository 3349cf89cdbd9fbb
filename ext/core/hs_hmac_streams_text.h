/* hs_hmac_streams_text.h -- fingerprints of HS_STREAMS digests at once with the SHA instructions: included by hs_hmac.c with
 * HS_KERNEL, HS_VEC (the family, hs_sha_isa.h) and HS_STREAMS defined.
 *
 * The state stays in registers between the inner and the outer compression, and the texts of the inner ones are laid out some
 * time before they are loaded: a wide load right behind the narrow stores it covers waits for them to reach the cache.
 */
#define HMAC_FETCH(s, quad) w[s][quad] = V(sha256_load)(blocks[at + (s)] + 16 * (quad));
#define HMAC_GIVE(s, quad) w[s][quad] = given;
#define HMAC_NEXT(s, quad)                                                                                             \
    w[s][(quad) & 3] =                                                                                                 \
        V(sha256_next)(w[s][(quad) & 3], w[s][((quad) + 1) & 3], w[s][((quad) + 2) & 3], w[s][((quad) + 3) & 3]);
#define HMAC_ROUNDS(s, quad)                                                                                           \
    {                                                                                                                  \
        const V(t) wk = V(add)(w[s][(quad) & 3], k);                                                                   \
        V(sha256_rounds)(s0[s], s1[s], wk)                                                                             \
    }
#define HMAC_QUAD(words, quad)                                                                                         \
    {                                                                                                                  \
        const V(t) k = V(load)(hs_sha256_k + 4 * (quad));                                                              \
        HS_EACH(HS_STREAMS)(words, quad)                                                                               \
        HS_EACH(HS_STREAMS)(HMAC_ROUNDS, quad)                                                                         \
    }
#define HMAC_HAVE(s, quad)
#define HMAC_START(s, first) s0[s] = first##0; s1[s] = first##1;
#define HMAC_SUM(s, first) s0[s] = V(add)(s0[s], first##0); s1[s] = V(add)(s1[s], first##1);
#define HMAC_WORDS(s, x) V(sha256_words)(w[s][0], w[s][1], s0[s], s1[s])
#define HMAC_STORE(s, x) V(sha256_store_first)(results[s], s0[s], s1[s]);
#define HMAC_REST                                                                                                      \
    HMAC_QUAD(HMAC_NEXT, 4) HMAC_QUAD(HMAC_NEXT, 5) HMAC_QUAD(HMAC_NEXT, 6) HMAC_QUAD(HMAC_NEXT, 7)                    \
    HMAC_QUAD(HMAC_NEXT, 8) HMAC_QUAD(HMAC_NEXT, 9) HMAC_QUAD(HMAC_NEXT, 10) HMAC_QUAD(HMAC_NEXT, 11)                  \
    HMAC_QUAD(HMAC_NEXT, 12) HMAC_QUAD(HMAC_NEXT, 13) HMAC_QUAD(HMAC_NEXT, 14) HMAC_QUAD(HMAC_NEXT, 15)

V(target)
static void HS_KERNEL(const hs_hmac_key *key, uint8_t code, const uint8_t *digests, size_t width, size_t count,
                      uint8_t *out) {
    enum { AHEAD = 8 * HS_STREAMS };
    static const uint32_t outer_end[8] = {0x80000000u, 0, 0, 0, 0, 0, 0, (HS_SHA256_BLOCK_BYTES + HS_SHA256_BYTES) * 8};
    uint8_t blocks[AHEAD][HS_SHA256_BLOCK_BYTES], results[HS_STREAMS][HS_FINGERPRINT_BYTES];
    uint32_t words[4][4];
    for (int i = 0; i < 4; i++) {
        words[0][i] = key->inner[V(sha256_order)[i]];
        words[1][i] = key->inner[V(sha256_order)[4 + i]];
        words[2][i] = key->outer[V(sha256_order)[i]];
        words[3][i] = key->outer[V(sha256_order)[4 + i]];
    }
    const V(t) inner0 = V(load)(words[0]), inner1 = V(load)(words[1]);
    const V(t) outer0 = V(load)(words[2]), outer1 = V(load)(words[3]);
    set_texts(blocks, count < AHEAD ? (count + HS_STREAMS - 1) / HS_STREAMS * HS_STREAMS : AHEAD, code, width);
    while (count) {
        const size_t have = count < AHEAD ? count : AHEAD;
        put_digests(blocks, digests, width, have);
        for (size_t at = 0; at < have; at += HS_STREAMS) {
            V(t) w[HS_STREAMS][4], s0[HS_STREAMS], s1[HS_STREAMS];
            HS_EACH(HS_STREAMS)(HMAC_START, inner)
            HMAC_QUAD(HMAC_FETCH, 0) HMAC_QUAD(HMAC_FETCH, 1) HMAC_QUAD(HMAC_FETCH, 2) HMAC_QUAD(HMAC_FETCH, 3)
            HMAC_REST
            HS_EACH(HS_STREAMS)(HMAC_SUM, inner)
            HS_EACH(HS_STREAMS)(HMAC_WORDS, 0)
            V(t) given = V(load)(outer_end);
            HS_EACH(HS_STREAMS)(HMAC_GIVE, 2)
            given = V(load)(outer_end + 4);
            HS_EACH(HS_STREAMS)(HMAC_GIVE, 3)
            HS_EACH(HS_STREAMS)(HMAC_START, outer)
            HMAC_QUAD(HMAC_HAVE, 0) HMAC_QUAD(HMAC_HAVE, 1) HMAC_QUAD(HMAC_HAVE, 2) HMAC_QUAD(HMAC_HAVE, 3)
            HMAC_REST
            HS_EACH(HS_STREAMS)(HMAC_SUM, outer)
            HS_EACH(HS_STREAMS)(HMAC_STORE, 0)
            const size_t take = have - at < HS_STREAMS ? have - at : HS_STREAMS;
            memcpy(out, results, take * HS_FINGERPRINT_BYTES);
            out += take * HS_FINGERPRINT_BYTES;
        }
        digests += have * width;
        count -= have;
    }
    hs_wipe(words, sizeof words);
}
#undef HMAC_FETCH
#undef HMAC_GIVE
#undef HMAC_NEXT
#undef HMAC_ROUNDS
#undef HMAC_QUAD
#undef HMAC_HAVE
#undef HMAC_START
#undef HMAC_SUM
#undef HMAC_WORDS
#undef HMAC_STORE
#undef HMAC_REST
#undef HS_KERNEL
#undef HS_VEC
#undef HS_STREAMS
