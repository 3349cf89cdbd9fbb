/* hs_sha256_lanes_text.h -- one SHA-256 lane kernel: included by hs_sha256_lanes.c with HS_KERNEL (its name), HS_VEC
 * (the vector family, hs_vec.h) and HS_SETS (how many vectors are interleaved) defined.
 *
 * Some fifty operations a step: one vector keeps the machine busy, a second one only spills (AVX2: 1.6 GB/s with one,
 * 1.1 with two; 2 vCPU EPYC, Zen 3). Sixteen steps are the loop body: unrolled to 64, they outgrow the cache of decoded
 * instructions (1.3 GB/s). The majority is (a ^ b ? c : b); its a ^ b is the b ^ c of the next step.
 */
#define SHA256_ROR(x, n) V(rol)((x), 32 - (n))
#define SHA256_EXPAND(s, i)                                                                                            \
    {                                                                                                                  \
        const V(t) w1 = w[s][((i) + 1) & 15], w14 = w[s][((i) + 14) & 15];                                             \
        const V(t) s0 = V(xor)(V(xor)(SHA256_ROR(w1, 7), SHA256_ROR(w1, 18)), V(shr)(w1, 3));                          \
        const V(t) s1 = V(xor)(V(xor)(SHA256_ROR(w14, 17), SHA256_ROR(w14, 19)), V(shr)(w14, 10));                     \
        w[s][i] = V(add)(V(add)(w[s][i], s0), V(add)(w[s][((i) + 9) & 15], s1));                                       \
    }
#define SHA256_TURN(s, a, b, c, d, e, f, g, h, i)                                                                      \
    {                                                                                                                  \
        V(t) x = V(add)(h[s], V(add)(w[s][i], k));                                                                     \
        x = V(add)(x, V(sel)(e[s], f[s], g[s]));                                                                       \
        x = V(add)(x, V(ror3)(e[s], 6, 11, 25));                                                                       \
        d[s] = V(add)(d[s], x);                                                                                        \
        x = V(add)(x, V(sel)(V(xor)(a[s], b[s]), c[s], b[s]));                                                         \
        h[s] = V(add)(x, V(ror3)(a[s], 2, 13, 22));                                                                    \
    }
#define SHA256_GIVEN(i, a, b, c, d, e, f, g, h)                                                                        \
    {                                                                                                                  \
        const V(t) k = V(set1)(hs_sha256_k[round + (i)]);                                                              \
        HS_EACH(HS_SETS)(SHA256_TURN, a, b, c, d, e, f, g, h, i)                                                       \
    }
#define SHA256_EXPANDED(i, a, b, c, d, e, f, g, h)                                                                     \
    HS_EACH(HS_SETS)(SHA256_EXPAND, i)                                                                                 \
    SHA256_GIVEN(i, a, b, c, d, e, f, g, h)
#define SHA256_EIGHT(step, i)                                                                                          \
    step(i, a, b, c, d, e, f, g, h)                                                                                    \
    step((i) + 1, h, a, b, c, d, e, f, g)                                                                              \
    step((i) + 2, g, h, a, b, c, d, e, f)                                                                              \
    step((i) + 3, f, g, h, a, b, c, d, e)                                                                              \
    step((i) + 4, e, f, g, h, a, b, c, d)                                                                              \
    step((i) + 5, d, e, f, g, h, a, b, c)                                                                              \
    step((i) + 6, c, d, e, f, g, h, a, b)                                                                              \
    step((i) + 7, b, c, d, e, f, g, h, a)
#define SHA256_LOAD(s, offset) V(load_be)(w[s], data + (s) * V(width), offset);

V(target)
void HS_KERNEL(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    V(t) a[HS_SETS], b[HS_SETS], c[HS_SETS], d[HS_SETS], e[HS_SETS], f[HS_SETS], g[HS_SETS], h[HS_SETS];
    HS_EACH(HS_SETS)(HS_STATE_READ, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_READ, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_READ, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_READ, d, 3)
    HS_EACH(HS_SETS)(HS_STATE_READ, e, 4)
    HS_EACH(HS_SETS)(HS_STATE_READ, f, 5)
    HS_EACH(HS_SETS)(HS_STATE_READ, g, 6)
    HS_EACH(HS_SETS)(HS_STATE_READ, h, 7)
    for (size_t offset = 0; block_count; block_count--, offset += HS_BLOCK_BYTES) {
        V(t) w[HS_SETS][16], a0[HS_SETS], b0[HS_SETS], c0[HS_SETS], d0[HS_SETS];
        V(t) e0[HS_SETS], f0[HS_SETS], g0[HS_SETS], h0[HS_SETS];
        int round = 0;
        HS_EACH(HS_SETS)(SHA256_LOAD, offset)
        HS_EACH(HS_SETS)(HS_COPY, a0, a)
        HS_EACH(HS_SETS)(HS_COPY, b0, b)
        HS_EACH(HS_SETS)(HS_COPY, c0, c)
        HS_EACH(HS_SETS)(HS_COPY, d0, d)
        HS_EACH(HS_SETS)(HS_COPY, e0, e)
        HS_EACH(HS_SETS)(HS_COPY, f0, f)
        HS_EACH(HS_SETS)(HS_COPY, g0, g)
        HS_EACH(HS_SETS)(HS_COPY, h0, h)
        SHA256_EIGHT(SHA256_GIVEN, 0)
        SHA256_EIGHT(SHA256_GIVEN, 8)
        for (round = 16; round < 64; round += 16) {
            SHA256_EIGHT(SHA256_EXPANDED, 0)
            SHA256_EIGHT(SHA256_EXPANDED, 8)
        }
        HS_EACH(HS_SETS)(HS_SUM, a, a0)
        HS_EACH(HS_SETS)(HS_SUM, b, b0)
        HS_EACH(HS_SETS)(HS_SUM, c, c0)
        HS_EACH(HS_SETS)(HS_SUM, d, d0)
        HS_EACH(HS_SETS)(HS_SUM, e, e0)
        HS_EACH(HS_SETS)(HS_SUM, f, f0)
        HS_EACH(HS_SETS)(HS_SUM, g, g0)
        HS_EACH(HS_SETS)(HS_SUM, h, h0)
    }
    HS_EACH(HS_SETS)(HS_STATE_WRITE, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, d, 3)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, e, 4)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, f, 5)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, g, 6)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, h, 7)
}
#undef HS_KERNEL
#undef HS_VEC
#undef HS_SETS
