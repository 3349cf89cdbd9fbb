/* hs_sha1_streams_text.h -- SHA-1 of HS_STREAMS interleaved streams with the SHA instructions: included by hs_sha1.c
 * with HS_KERNEL, HS_VEC (the family, hs_sha_isa.h) and HS_STREAMS defined.
 *
 * One stream waits for the latency of its rounds; the others fill the gaps (1.7, 3.1, 3.8, 4.1 GB/s with one to four;
 * 2 vCPU EPYC, Zen 3).
 */
#define SHA1_FETCH(s, quad) w[s][quad] = V(sha1_load)(data[s] + offset + 16 * (quad));
#define SHA1_NEXT(s, quad)                                                                                             \
    w[s][(quad) & 3] =                                                                                                 \
        V(sha1_next)(w[s][(quad) & 3], w[s][((quad) + 1) & 3], w[s][((quad) + 2) & 3], w[s][((quad) + 3) & 3]);
#define SHA1_ROUNDS(s, quad) V(sha1_rounds)(abcd[s], e[s], w[s][(quad) & 3], quad)
#define SHA1_GIVEN(quad)                                                                                               \
    HS_EACH(HS_STREAMS)(SHA1_FETCH, quad)                                                                              \
    HS_EACH(HS_STREAMS)(SHA1_ROUNDS, quad)
#define SHA1_EXPANDED(quad)                                                                                            \
    HS_EACH(HS_STREAMS)(SHA1_NEXT, quad)                                                                               \
    HS_EACH(HS_STREAMS)(SHA1_ROUNDS, quad)
#define SHA1_BLOCK_SUM(s, unused)                                                                                      \
    abcd[s] = V(add)(abcd[s], abcd0[s]);                                                                               \
    e[s] = V(sha1_e_sum)(e[s], e0[s]);

V(target)
void HS_KERNEL(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    V(t) abcd[HS_STREAMS];
    V(e_t) e[HS_STREAMS];
    uint32_t words[4];
    for (int s = 0; s < HS_STREAMS; s++) {
        for (int i = 0; i < 4; i++) words[i] = state[V(sha1_order)[i] * HS_STREAMS + s];
        abcd[s] = V(load)(words);
        e[s] = V(sha1_e)(state[4 * HS_STREAMS + s]);
    }
    for (size_t offset = 0; block_count; block_count--, offset += HS_BLOCK_BYTES) {
        V(t) w[HS_STREAMS][4], abcd0[HS_STREAMS];
        V(e_t) e0[HS_STREAMS];
        HS_EACH(HS_STREAMS)(HS_COPY, abcd0, abcd)
        HS_EACH(HS_STREAMS)(HS_COPY, e0, e)
        SHA1_GIVEN(0) SHA1_GIVEN(1) SHA1_GIVEN(2) SHA1_GIVEN(3)
        SHA1_EXPANDED(4) SHA1_EXPANDED(5) SHA1_EXPANDED(6) SHA1_EXPANDED(7)
        SHA1_EXPANDED(8) SHA1_EXPANDED(9) SHA1_EXPANDED(10) SHA1_EXPANDED(11)
        SHA1_EXPANDED(12) SHA1_EXPANDED(13) SHA1_EXPANDED(14) SHA1_EXPANDED(15)
        SHA1_EXPANDED(16) SHA1_EXPANDED(17) SHA1_EXPANDED(18) SHA1_EXPANDED(19)
        HS_EACH(HS_STREAMS)(SHA1_BLOCK_SUM, 0)
    }
    for (int s = 0; s < HS_STREAMS; s++) {
        V(store)(words, abcd[s]);
        for (int i = 0; i < 4; i++) state[V(sha1_order)[i] * HS_STREAMS + s] = words[i];
        state[4 * HS_STREAMS + s] = V(sha1_e_word)(e[s]);
    }
}
#undef HS_KERNEL
#undef HS_VEC
#undef HS_STREAMS
