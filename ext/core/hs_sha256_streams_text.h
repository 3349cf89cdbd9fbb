/* hs_sha256_streams_text.h -- SHA-256 of HS_STREAMS interleaved streams with the SHA instructions: included by
 * hs_sha256_lanes.c with HS_KERNEL, HS_VEC (the family, hs_sha_isa.h) and HS_STREAMS defined.
 *
 * One stream waits for the latency of its rounds; a second one nearly doubles the rate, and with a third the instruction
 * itself is the limit: four x86 streams are no faster and spill (1.6, 3.1, 3.3, 3.2 GB/s; 2 vCPU EPYC, Zen 3).
 */
#define SHA256_FETCH(s, quad) w[s][quad] = V(sha256_load)(data[s] + offset + 16 * (quad));
#define SHA256_NEXT(s, quad)                                                                                           \
    w[s][(quad) & 3] =                                                                                                 \
        V(sha256_next)(w[s][(quad) & 3], w[s][((quad) + 1) & 3], w[s][((quad) + 2) & 3], w[s][((quad) + 3) & 3]);
#define SHA256_ROUNDS(s, quad)                                                                                         \
    {                                                                                                                  \
        const V(t) wk = V(add)(w[s][(quad) & 3], k);                                                                   \
        V(sha256_rounds)(s0[s], s1[s], wk)                                                                             \
    }
#define SHA256_QUAD(words, quad)                                                                                       \
    {                                                                                                                  \
        const V(t) k = V(load)(hs_sha256_k + 4 * (quad));                                                              \
        HS_EACH(HS_STREAMS)(words, quad)                                                                               \
        HS_EACH(HS_STREAMS)(SHA256_ROUNDS, quad)                                                                       \
    }

V(target)
void HS_KERNEL(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    V(t) s0[HS_STREAMS], s1[HS_STREAMS];
    uint32_t words[8];
    for (int s = 0; s < HS_STREAMS; s++) {
        for (int i = 0; i < 8; i++) words[i] = state[V(sha256_order)[i] * HS_STREAMS + s];
        s0[s] = V(load)(words);
        s1[s] = V(load)(words + 4);
    }
    for (size_t offset = 0; block_count; block_count--, offset += HS_BLOCK_BYTES) {
        V(t) w[HS_STREAMS][4], before0[HS_STREAMS], before1[HS_STREAMS];
        HS_EACH(HS_STREAMS)(HS_COPY, before0, s0)
        HS_EACH(HS_STREAMS)(HS_COPY, before1, s1)
        SHA256_QUAD(SHA256_FETCH, 0) SHA256_QUAD(SHA256_FETCH, 1)
        SHA256_QUAD(SHA256_FETCH, 2) SHA256_QUAD(SHA256_FETCH, 3)
        SHA256_QUAD(SHA256_NEXT, 4) SHA256_QUAD(SHA256_NEXT, 5)
        SHA256_QUAD(SHA256_NEXT, 6) SHA256_QUAD(SHA256_NEXT, 7)
        SHA256_QUAD(SHA256_NEXT, 8) SHA256_QUAD(SHA256_NEXT, 9)
        SHA256_QUAD(SHA256_NEXT, 10) SHA256_QUAD(SHA256_NEXT, 11)
        SHA256_QUAD(SHA256_NEXT, 12) SHA256_QUAD(SHA256_NEXT, 13)
        SHA256_QUAD(SHA256_NEXT, 14) SHA256_QUAD(SHA256_NEXT, 15)
        HS_EACH(HS_STREAMS)(HS_SUM, s0, before0)
        HS_EACH(HS_STREAMS)(HS_SUM, s1, before1)
    }
    for (int s = 0; s < HS_STREAMS; s++) {
        V(store)(words, s0[s]);
        V(store)(words + 4, s1[s]);
        for (int i = 0; i < 8; i++) state[V(sha256_order)[i] * HS_STREAMS + s] = words[i];
    }
}
#undef HS_KERNEL
#undef HS_VEC
#undef HS_STREAMS
