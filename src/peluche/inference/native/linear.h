// Products of rows with a packed matrix.
//
// A matrix is cut into panels of 16 outputs, so that a lane is an output and nothing is summed
// across lanes. Along the inputs, a panel is
//   FLOAT32, FLOAT16  an input's 16 weights after another's;
//   INT8              blocks of 32 inputs: 8 groups of 4 inputs, each 16 outputs × 4 bytes of
//                     128 + level; then 16 scales: weight = scale · level (GGUF's Q8_0);
//   INT4              blocks of 32 inputs: 4 × 16 × 4 bytes, group g low and g + 4 high; then 16
//                     scales and 16 minima: weight = scale · level + minimum (GGUF's Q4_1).
// For the last two, a row's blocks of 32 are rounded to 8 bits, each with a scale of its own.
#pragma once

#include "lanes.h"

constexpr int BLOCK = 32;  // inputs that share a scale
constexpr int AHEAD = 2048;  // bytes from what is read to what is fetched
enum Format : int32_t { FLOAT32, FLOAT16, INT8, INT4 };

// Sizes are whole blocks and pairs of panels; what is added to them is zero.
struct Matrix {
    const uint8_t *data;
    const float *bias;  // (outputs), or null
    int64_t format, outputs, inputs;
};

struct Rounded {
    float scale, sum;  // sum: scale · levels' sum
    int32_t shift;     // −128 · levels' sum
};

// Rows as products read them: numbers, or levels with what belongs to their blocks.
struct Rows {
    int64_t width;
    float *numbers;
    int8_t *levels;
    Rounded *blocks;

    Rows from(int64_t row) const {
        if (levels == nullptr) return {width, numbers + row * width, nullptr, nullptr};
        return {width, nullptr, levels + row * width, blocks + row * (width / BLOCK)};
    }
};

INLINE size_t panel_bytes(const Matrix &m) {
    switch (m.format) {
        case FLOAT32: return m.inputs * LANES * 4;
        case FLOAT16: return m.inputs * LANES * 2;
        case INT8: return m.inputs / BLOCK * (LANES * BLOCK + LANES * 2);
        default: return m.inputs / BLOCK * (LANES * BLOCK / 2 + LANES * 4);
    }
}

// ---- rows to what products read

INLINE void write_row(const Rows &rows, int64_t row, const float *from) {
    if (rows.levels == nullptr) {
        memcpy(rows.numbers + row * rows.width, from, rows.width * 4);
        return;
    }
    for (int64_t b = 0; b < rows.width / BLOCK; b++) {
        Floats low = load(from + b * BLOCK), high = load(from + b * BLOCK + LANES);
        // What is not finite makes the scale, and so all of the row's products, NaN.
        Floats nothing = mul(add(low, high), set(0));
        float most = largest(add(max(absolute(low), absolute(high)), nothing));
        Floats inverse = set(most < 1e-30f ? 0 : 127 / most);
        Ints first = to_ints(mul(low, inverse)), second = to_ints(mul(high, inverse));
        int8_t *at = rows.levels + row * rows.width + b * BLOCK;
        store_bytes(at, first);
        store_bytes(at + LANES, second);
        int32_t total = sum(add(first, second));
        float scale = most / 127;
        rows.blocks[row * (rows.width / BLOCK) + b] = {scale, scale * (float)total, -128 * total};
    }
}

// ---- four products of bytes, summed in each of 16 lanes

#if defined(__AVX512VNNI__)

struct Weights { __m512i u; };
typedef Ints Small;
constexpr bool SHIFTED = true;  // levels enter as 128 + level, and the shift takes 128 off again

INLINE Weights weights(const uint8_t *at) { return {_mm512_loadu_si512(at)}; }
INLINE Weights low_half(Weights w) { return {_mm512_and_si512(w.u, _mm512_set1_epi8(15))}; }
INLINE Weights high_half(Weights w) {
    return {_mm512_and_si512(_mm512_srli_epi16(w.u, 4), _mm512_set1_epi8(15))};
}
INLINE Ints four(const int8_t *at) {
    int32_t bytes;
    memcpy(&bytes, at, 4);
    return set_int(bytes);
}
INLINE Ints dot(Ints sums, const Weights &w, Ints x) { return _mm512_dpbusd_epi32(sums, w.u, x); }
INLINE Small small_zero() { return set_int(0); }
INLINE Small small_dot(Small sums, const Weights &w, Ints x) { return dot(sums, w, x); }
INLINE Ints small_sum(Small sums) { return sums; }

#elif defined(__AVX2__)

struct Weights { __m256i a, b; };

INLINE Weights weights(const uint8_t *at) {
    return {_mm256_loadu_si256((const __m256i *)at), _mm256_loadu_si256((const __m256i *)(at + 32))};
}
INLINE Weights low_half(Weights w) {
    const __m256i mask = _mm256_set1_epi8(15);
    return {_mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask)};
}
INLINE Weights high_half(Weights w) {
    return low_half({_mm256_srli_epi16(w.a, 4), _mm256_srli_epi16(w.b, 4)});
}
INLINE __m256i four(const int8_t *at) {
    int32_t bytes;
    memcpy(&bytes, at, 4);
    return _mm256_set1_epi32(bytes);
}

#if defined(__AVXVNNI__)

typedef Ints Small;
constexpr bool SHIFTED = true;

INLINE Ints dot(Ints sums, const Weights &w, __m256i x) {
    return {_mm256_dpbusd_avx_epi32(sums.a, w.a, x), _mm256_dpbusd_avx_epi32(sums.b, w.b, x)};
}
INLINE Small small_zero() { return set_int(0); }
INLINE Small small_dot(Small sums, const Weights &w, __m256i x) { return dot(sums, w, x); }
INLINE Ints small_sum(Small sums) { return sums; }

#else

// Pairs are summed in 16 bits, which overflow at 255 · 127 · 2. With the sign of the weight put on
// the row's level they reach 127 · 127 · 2 at most; levels of 4 bits leave room for 8 pairs.
struct Small { __m256i a, b; };
constexpr bool SHIFTED = false;

INLINE __m256i dot_half(__m256i sums, __m256i w, __m256i x) {
    w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
INLINE Ints dot(Ints sums, const Weights &w, __m256i x) {
    return {dot_half(sums.a, w.a, x), dot_half(sums.b, w.b, x)};
}
INLINE Small small_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
INLINE Small small_dot(Small sums, const Weights &w, __m256i x) {
    return {_mm256_add_epi16(sums.a, _mm256_maddubs_epi16(w.a, x)),
            _mm256_add_epi16(sums.b, _mm256_maddubs_epi16(w.b, x))};
}
INLINE Ints small_sum(Small sums) {
    const __m256i one = _mm256_set1_epi16(1);
    return {_mm256_madd_epi16(sums.a, one), _mm256_madd_epi16(sums.b, one)};
}

#endif
#else

struct Weights { uint8_t v[4 * LANES]; };
struct Four { int8_t v[4]; };
typedef Ints Small;
constexpr bool SHIFTED = true;

INLINE Weights weights(const uint8_t *at) {
    Weights w;
    memcpy(w.v, at, sizeof w.v);
    return w;
}
INLINE Weights low_half(Weights w) {
    for (uint8_t &v : w.v) v &= 15;
    return w;
}
INLINE Weights high_half(Weights w) {
    for (uint8_t &v : w.v) v >>= 4;
    return w;
}
INLINE Four four(const int8_t *at) { return {{at[0], at[1], at[2], at[3]}}; }
INLINE Ints dot(Ints sums, const Weights &w, Four x) {
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < 4; j++) sums.v[i] += w.v[4 * i + j] * x.v[j];
    return sums;
}
INLINE Small small_zero() { return set_int(0); }
INLINE Small small_dot(Small sums, const Weights &w, Four x) { return dot(sums, w, x); }
INLINE Ints small_sum(Small sums) { return sums; }

#endif

// ---- some rows by one panel (two, of float weights)

template <int ROWS>
INLINE void panel_int8(const uint8_t *at, const Rows &in, int64_t row, Floats (*out)[2], int which) {
    const int64_t blocks = in.width / BLOCK;
    const int8_t *levels = in.levels + row * in.width;
    const Rounded *rounded = in.blocks + row * blocks;
    Floats total[ROWS];
    for (int r = 0; r < ROWS; r++) total[r] = set(0);
    for (int64_t b = 0; b < blocks; b++, at += LANES * BLOCK + LANES * 2) {
        Ints sums[ROWS];
        for (int r = 0; r < ROWS; r++) sums[r] = set_int(SHIFTED ? rounded[r * blocks + b].shift : 0);
        for (int g = 0; g < BLOCK / 4; g++) {
            Weights w = weights(at + g * LANES * 4);
            __builtin_prefetch(at + g * LANES * 4 + AHEAD);
            for (int r = 0; r < ROWS; r++)
                sums[r] = dot(sums[r], w, four(levels + r * in.width + b * BLOCK + g * 4));
        }
        Floats scales = load((const Half *)(at + LANES * BLOCK));
        for (int r = 0; r < ROWS; r++) {
            Floats scale = mul(scales, set(rounded[r * blocks + b].scale));
            total[r] = fma(to_floats(sums[r]), scale, total[r]);
        }
    }
    for (int r = 0; r < ROWS; r++) out[r][which] = total[r];
}

template <int ROWS>
INLINE void panel_int4(const uint8_t *at, const Rows &in, int64_t row, Floats (*out)[2], int which) {
    const int64_t blocks = in.width / BLOCK;
    const int8_t *levels = in.levels + row * in.width;
    const Rounded *rounded = in.blocks + row * blocks;
    Floats total[ROWS];
    for (int r = 0; r < ROWS; r++) total[r] = set(0);
    for (int64_t b = 0; b < blocks; b++, at += LANES * BLOCK / 2 + LANES * 4) {
        Small sums[ROWS];
        for (int r = 0; r < ROWS; r++) sums[r] = small_zero();
        for (int g = 0; g < BLOCK / 8; g++) {
            Weights both = weights(at + g * LANES * 4);
            __builtin_prefetch(at + g * LANES * 4 + AHEAD);
            Weights low = low_half(both), high = high_half(both);
            for (int r = 0; r < ROWS; r++) {
                const int8_t *x = levels + r * in.width + b * BLOCK + g * 4;
                sums[r] = small_dot(sums[r], low, four(x));
                sums[r] = small_dot(sums[r], high, four(x + BLOCK / 2));
            }
        }
        const Half *tail = (const Half *)(at + LANES * BLOCK / 2);
        Floats scales = load(tail), minima = load(tail + LANES);
        for (int r = 0; r < ROWS; r++) {
            const Rounded &own = rounded[r * blocks + b];
            total[r] = fma(minima, set(own.sum), total[r]);
            total[r] = fma(to_floats(small_sum(sums[r])), mul(scales, set(own.scale)), total[r]);
        }
    }
    for (int r = 0; r < ROWS; r++) out[r][which] = total[r];
}

template <int ROWS, class Number>
INLINE void panels_float(const uint8_t *data, size_t bytes, const Rows &in, int64_t row,
                         Floats (*out)[2]) {
    const float *x = in.numbers + row * in.width;
    for (int first = 0; first < 2; first += PANELS) {
        const Number *at[PANELS];
        Floats total[ROWS][PANELS];
        for (int p = 0; p < PANELS; p++) at[p] = (const Number *)(data + (first + p) * bytes);
        for (int r = 0; r < ROWS; r++)
            for (int p = 0; p < PANELS; p++) total[r][p] = set(0);
        for (int64_t k = 0; k < in.width; k++) {
            Floats w[PANELS];
            for (int p = 0; p < PANELS; p++) {
                w[p] = load(at[p] + k * LANES);
                __builtin_prefetch((const char *)(at[p] + k * LANES) + AHEAD);
            }
            for (int r = 0; r < ROWS; r++) {
                Floats number = set(x[r * in.width + k]);
                for (int p = 0; p < PANELS; p++) total[r][p] = fma(w[p], number, total[r][p]);
            }
        }
        for (int r = 0; r < ROWS; r++)
            for (int p = 0; p < PANELS; p++) out[r][first + p] = total[r][p];
    }
}

// ---- all rows by a pair of panels

template <int ROWS>
APART void pair_of_panels(const Matrix &m, int64_t pair, const Rows &in, int64_t row,
                          Floats (*out)[2]) {
    const size_t bytes = panel_bytes(m);
    const uint8_t *data = m.data + 2 * pair * bytes;
    switch (m.format) {
        case FLOAT32: return panels_float<ROWS, float>(data, bytes, in, row, out);
        case FLOAT16: return panels_float<ROWS, Half>(data, bytes, in, row, out);
        case INT8:
            for (int p = 0; p < 2; p++) panel_int8<ROWS>(data + p * bytes, in, row, out, p);
            return;
        default:
            for (int p = 0; p < 2; p++) panel_int4<ROWS>(data + p * bytes, in, row, out, p);
    }
}

// `finish(row, first, second)` is given the 16 outputs of both panels for each row.
template <class Finish>
INLINE void multiply(const Matrix &m, int64_t pair, const Rows &in, int64_t rows, Finish finish) {
    const int64_t most = in.levels == nullptr ? FLOAT_ROWS : BYTE_ROWS;
    Floats out[FLOAT_ROWS][2];
    for (int64_t row = 0, some; row < rows; row += some) {
        const int64_t left = rows - row;
        for (some = most; some > left;) some = some > 8 ? 8 : some / 2;
        switch (some) {
            case 1: pair_of_panels<1>(m, pair, in, row, out); break;
            case 2: pair_of_panels<2>(m, pair, in, row, out); break;
            case 4: pair_of_panels<4>(m, pair, in, row, out); break;
            case 8: pair_of_panels<8>(m, pair, in, row, out); break;
            default: pair_of_panels<FLOAT_ROWS>(m, pair, in, row, out);
        }
        if (m.bias != nullptr) {
            const float *bias = m.bias + pair * BLOCK;
            const Floats first = load(bias), second = load(bias + LANES);
            for (int r = 0; r < some; r++) {
                out[r][0] = add(out[r][0], first);
                out[r][1] = add(out[r][1], second);
            }
        }
        for (int r = 0; r < some; r++) finish(row + r, out[r][0], out[r][1]);
    }
}

// ---- one output's weights

// `panel` is the output's, `lane` its place in it; padding is not written as it is zero.
INLINE void read_output(const Matrix &m, const uint8_t *panel, int64_t lane, float *to) {
    for (int64_t k = 0; k < m.inputs; k++) {
        float lanes[LANES];
        const int64_t b = k / BLOCK, in_block = k % BLOCK;
        if (m.format == FLOAT32) {
            memcpy(to + k, panel + (k * LANES + lane) * 4, 4);
        } else if (m.format == FLOAT16) {
            store(lanes, load((const Half *)panel + k * LANES));
            to[k] = lanes[lane];
        } else if (m.format == INT8) {
            const uint8_t *block = panel + b * (LANES * BLOCK + LANES * 2);
            store(lanes, load((const Half *)(block + LANES * BLOCK)));
            int level = block[in_block / 4 * LANES * 4 + lane * 4 + in_block % 4] - 128;
            to[k] = lanes[lane] * (float)level;
        } else {
            const uint8_t *block = panel + b * (LANES * BLOCK / 2 + LANES * 4);
            const Half *tail = (const Half *)(block + LANES * BLOCK / 2);
            const int64_t group = in_block / 4;
            int both = block[group % 4 * LANES * 4 + lane * 4 + in_block % 4];
            store(lanes, load(tail));
            float scale = lanes[lane];
            store(lanes, load(tail + LANES));
            to[k] = scale * (float)(group < 4 ? both & 15 : both >> 4) + lanes[lane];
        }
    }
}
