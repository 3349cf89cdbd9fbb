/* hs_md5_lanes_text.h -- one MD5 lane kernel: included by hs_md5.c with HS_KERNEL (its name), HS_VEC (the vector
 * family, hs_vec.h) and HS_SETS (how many vectors are interleaved) defined.
 *
 * A step is a chain from the newest word to the next one, and the chain, not the number of operations, limits a single
 * vector. So everything that does not hang on the newest word is summed first, and that sum is pinned, since gcc would
 * regroup it and put one addition back on the chain (11 %). More vectors fill the gaps: 4.1, 7.0 and 7.6 GB/s with one,
 * two and three of AVX2 (2 vCPU EPYC, Zen 3), where three still keep their twelve words in registers.
 *
 *     round 1   a + m + k        then + (b ? c : d)
 *     round 2   a + m + k + (~d & c)   then + (d & b): the two terms of (d ? b : c) share no bit, "or" is "+"
 *     round 3   a + m + k        then + (b ^ (c ^ d))
 *     round 4   a + m + (k - 1)  then - (c ^ (~b & d)): c ^ (b | ~d) is the complement of that, and ~x = -x - 1
 *
 * The constants are broadcast where they are used, through a pinned pointer: otherwise the compiler copies all 64 to
 * the stack before the first block, 12 % of the time of a one-block call.
 */
#define MD5_FREE(s, a, c, d, g, round)                                                                                 \
    x[s] = V(add)(a[s], V(add)(k, m[s][g]));                                                                           \
    if (round == 2) x[s] = V(add)(x[s], V(andnot)(d[s], c[s]));                                                        \
    HS_PIN_VECTOR(x[s]);
#define MD5_CHAIN(s, a, b, c, d, shift, round)                                                                         \
    x[s] = round == 1   ? V(add)(x[s], V(sel)(b[s], c[s], d[s]))                                                       \
           : round == 2 ? V(add)(x[s], V(and)(d[s], b[s]))                                                             \
           : round == 3 ? V(add)(x[s], V(xor)(b[s], V(xor)(c[s], d[s])))                                               \
                        : V(sub)(x[s], V(xor)(c[s], V(andnot)(b[s], d[s])));                                           \
    a[s] = V(add)(b[s], V(rol)(x[s], shift));
#define MD5_STEP(round, a, b, c, d, g, shift, i)                                                                       \
    {                                                                                                                  \
        const V(t) k = V(set1)(constants[i]);                                                                          \
        V(t) x[HS_SETS];                                                                                               \
        HS_EACH(HS_SETS)(MD5_FREE, a, c, d, (g) & 15, round)                                                           \
        HS_EACH(HS_SETS)(MD5_CHAIN, a, b, c, d, shift, round)                                                          \
    }
/* Steps i to i + 3; `first` and `stride` give their message words. */
#define MD5_FOUR(round, i, first, stride, s0, s1, s2, s3)                                                              \
    MD5_STEP(round, a, b, c, d, (first) + (i) * (stride), s0, i)                                                       \
    MD5_STEP(round, d, a, b, c, (first) + ((i) + 1) * (stride), s1, (i) + 1)                                           \
    MD5_STEP(round, c, d, a, b, (first) + ((i) + 2) * (stride), s2, (i) + 2)                                           \
    MD5_STEP(round, b, c, d, a, (first) + ((i) + 3) * (stride), s3, (i) + 3)
#define MD5_SIXTEEN(round, i, first, stride, s0, s1, s2, s3)                                                           \
    MD5_FOUR(round, i, first, stride, s0, s1, s2, s3)                                                                  \
    MD5_FOUR(round, (i) + 4, first, stride, s0, s1, s2, s3)                                                            \
    MD5_FOUR(round, (i) + 8, first, stride, s0, s1, s2, s3)                                                            \
    MD5_FOUR(round, (i) + 12, first, stride, s0, s1, s2, s3)
#define MD5_LOAD(s, offset) V(load_le)(m[s], data + (s) * V(width), offset);

V(target)
void HS_KERNEL(uint32_t *state, const uint8_t *const *data, size_t block_count) {
    const uint32_t *constants = lane_k;
    V(t) a[HS_SETS], b[HS_SETS], c[HS_SETS], d[HS_SETS];
    HS_PIN(constants);
    HS_EACH(HS_SETS)(HS_STATE_READ, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_READ, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_READ, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_READ, d, 3)
    for (size_t offset = 0; block_count; block_count--, offset += HS_BLOCK_BYTES) {
        V(t) m[HS_SETS][16], a0[HS_SETS], b0[HS_SETS], c0[HS_SETS], d0[HS_SETS];
        HS_EACH(HS_SETS)(MD5_LOAD, offset)
        HS_EACH(HS_SETS)(HS_COPY, a0, a)
        HS_EACH(HS_SETS)(HS_COPY, b0, b)
        HS_EACH(HS_SETS)(HS_COPY, c0, c)
        HS_EACH(HS_SETS)(HS_COPY, d0, d)
        MD5_SIXTEEN(1, 0, 0, 1, 7, 12, 17, 22)
        MD5_SIXTEEN(2, 16, 1, 5, 5, 9, 14, 20)
        MD5_SIXTEEN(3, 32, 5, 3, 4, 11, 16, 23)
        MD5_SIXTEEN(4, 48, 0, 7, 6, 10, 15, 21)
        HS_EACH(HS_SETS)(HS_SUM, a, a0)
        HS_EACH(HS_SETS)(HS_SUM, b, b0)
        HS_EACH(HS_SETS)(HS_SUM, c, c0)
        HS_EACH(HS_SETS)(HS_SUM, d, d0)
    }
    HS_EACH(HS_SETS)(HS_STATE_WRITE, a, 0)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, b, 1)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, c, 2)
    HS_EACH(HS_SETS)(HS_STATE_WRITE, d, 3)
}
#undef HS_KERNEL
#undef HS_VEC
#undef HS_SETS
