/* hs_sha1_lanes_text.h -- one SHA-1 lane kernel: included by hs_sha1.c with HS_KERNEL (its name), HS_VEC (the vector
 * family, hs_vec.h) and HS_SETS (how many vectors are interleaved) defined.
 *
 * Eighteen operations a step against a chain of three: one vector already keeps the machine busy, and a second one only
 * spills (AVX2: 3.4 GB/s with one, 2.5 with two; 2 vCPU EPYC, Zen 3). The sum of what is known early is pinned, so that
 * the rotation of the newest word is added last (4 %).
 */
#define SHA1_EXPAND(s, i)                                                                                              \
    if ((i) >= 16)                                                                                                     \
        w[s][(i) & 15] = V(rol)(V(xor)(V(xor)(w[s][((i) + 13) & 15], w[s][((i) + 8) & 15]),                            \
                                       V(xor)(w[s][((i) + 2) & 15], w[s][(i) & 15])), 1);
#define SHA1_CHOOSE(b, c, d) V(sel)(b, c, d)
#define SHA1_PARITY(b, c, d) V(xor)(b, V(xor)(c, d))
#define SHA1_MAJORITY(b, c, d) V(sel)(V(xor)(b, c), d, b)
#define SHA1_TURN(s, f, a, b, c, d, e, i)                                                                              \
    e[s] = V(add)(e[s], V(add)(w[s][(i) & 15], k));                                                                    \
    HS_PIN_VECTOR(e[s]);                                                                                               \
    e[s] = V(add)(e[s], f(b[s], c[s], d[s]));                                                                          \
    HS_PIN_VECTOR(e[s]);                                                                                               \
    e[s] = V(add)(e[s], V(rol)(a[s], 5));                                                                              \
    b[s] = V(rol)(b[s], 30);
#define SHA1_STEP(f, i, a, b, c, d, e)                                                                                 \
    HS_EACH(HS_SETS)(SHA1_EXPAND, i)                                                                                   \
    HS_EACH(HS_SETS)(SHA1_TURN, f, a, b, c, d, e, i)
#define SHA1_FIVE(f, i)                                                                                                \
    SHA1_STEP(f, i, a, b, c, d, e)                                                                                     \
    SHA1_STEP(f, (i) + 1, e, a, b, c, d)                                                                               \
    SHA1_STEP(f, (i) + 2, d, e, a, b, c)                                                                               \
    SHA1_STEP(f, (i) + 3, c, d, e, a, b)                                                                               \
    SHA1_STEP(f, (i) + 4, b, c, d, e, a)
#define SHA1_TWENTY(f, i)                                                                                              \
    {                                                                                                                  \
        const V(t) k = V(set1)(hs_sha1_k[(i) / 20]);                                                                   \
        SHA1_FIVE(f, i)                                                                                                \
        SHA1_FIVE(f, (i) + 5)                                                                                          \
        SHA1_FIVE(f, (i) + 10)                                                                                         \
        SHA1_FIVE(f, (i) + 15)                                                                                         \
    }
#define SHA1_LOAD(s, offset) V(load_be)(w[s], data + (s) * V(width), offset);

V(target)
void HS_KERNEL(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    V(t) a[HS_SETS], b[HS_SETS], c[HS_SETS], d[HS_SETS], e[HS_SETS];
    HS_EACH(HS_SETS)(HS_STATE_READ, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_READ, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_READ, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_READ, d, 3)
    HS_EACH(HS_SETS)(HS_STATE_READ, e, 4)
    for (size_t offset = 0; block_count; block_count--, offset += HS_BLOCK_BYTES) {
        V(t) w[HS_SETS][16], a0[HS_SETS], b0[HS_SETS], c0[HS_SETS], d0[HS_SETS], e0[HS_SETS];
        HS_EACH(HS_SETS)(SHA1_LOAD, offset)
        HS_EACH(HS_SETS)(HS_COPY, a0, a)
        HS_EACH(HS_SETS)(HS_COPY, b0, b)
        HS_EACH(HS_SETS)(HS_COPY, c0, c)
        HS_EACH(HS_SETS)(HS_COPY, d0, d)
        HS_EACH(HS_SETS)(HS_COPY, e0, e)
        SHA1_TWENTY(SHA1_CHOOSE, 0)
        SHA1_TWENTY(SHA1_PARITY, 20)
        SHA1_TWENTY(SHA1_MAJORITY, 40)
        SHA1_TWENTY(SHA1_PARITY, 60)
        HS_EACH(HS_SETS)(HS_SUM, a, a0)
        HS_EACH(HS_SETS)(HS_SUM, b, b0)
        HS_EACH(HS_SETS)(HS_SUM, c, c0)
        HS_EACH(HS_SETS)(HS_SUM, d, d0)
        HS_EACH(HS_SETS)(HS_SUM, e, e0)
    }
    HS_EACH(HS_SETS)(HS_STATE_WRITE, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, d, 3)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, e, 4)
}
#undef HS_KERNEL
#undef HS_VEC
#undef HS_SETS
