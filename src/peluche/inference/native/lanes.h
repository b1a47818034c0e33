// Sixteen numbers at a time, for the instruction set that this is compiled for.
//
// Every operation rounds the same way whatever stands beside it, and fused multiply-adds are
// written out (compile with -ffp-contract=off): a row's result never depends on its neighbours.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))  // compiled once, not at each call

typedef uint16_t Half;  // an IEEE half-precision number

constexpr int LANES = 16;

#if defined(__AVX512F__)

// Rows at once that a kernel of floats, and of bytes, has registers for.
constexpr int FLOAT_ROWS = 12, BYTE_ROWS = 8;
constexpr int PANELS = 2;  // of float weights at once
typedef __m512 Floats;
typedef __m512i Ints;

INLINE Floats set(float x) { return _mm512_set1_ps(x); }
INLINE Floats load(const float *at) { return _mm512_loadu_ps(at); }
INLINE Floats load(const Half *at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)at));
}
INLINE Floats load(const int8_t *at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)at)));
}
INLINE void store(float *at, Floats x) { _mm512_storeu_ps(at, x); }
INLINE void store(Half *at, Floats x) {
    _mm256_storeu_si256((__m256i *)at, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
INLINE Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
INLINE Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
INLINE Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
INLINE Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
INLINE Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
// The second argument where either is NaN.
INLINE Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
INLINE Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
INLINE Floats nearest(Floats a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
INLINE Floats times_power_of_two(Floats a, Floats n) { return _mm512_scalef_ps(a, n); }

INLINE Ints set_int(int32_t x) { return _mm512_set1_epi32(x); }
INLINE Ints add(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
INLINE Ints to_ints(Floats a) { return _mm512_cvtps_epi32(a); }
INLINE Floats to_floats(Ints a) { return _mm512_cvtepi32_ps(a); }
INLINE void store_bytes(int8_t *at, Ints a) {
    _mm_storeu_si128((__m128i *)at, _mm512_cvtsepi32_epi8(a));
}
INLINE void store_ints(int32_t *at, Ints a) { _mm512_storeu_si512(at, a); }

#elif defined(__AVX2__)

constexpr int FLOAT_ROWS = 4, BYTE_ROWS = 4;
constexpr int PANELS = 1;
struct Floats { __m256 a, b; };
struct Ints { __m256i a, b; };

INLINE Floats set(float x) { __m256 v = _mm256_set1_ps(x); return {v, v}; }
INLINE Floats load(const float *at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
INLINE Floats load(const Half *at) {
    return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)at)),
            _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(at + 8)))};
}
INLINE Floats load(const int8_t *at) {
    auto eight = [](const int8_t *at) {
        return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)at)));
    };
    return {eight(at), eight(at + 8)};
}
INLINE void store(float *at, Floats x) { _mm256_storeu_ps(at, x.a); _mm256_storeu_ps(at + 8, x.b); }
INLINE void store(Half *at, Floats x) {
    _mm_storeu_si128((__m128i *)at, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(at + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
INLINE Floats add(Floats x, Floats y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
INLINE Floats sub(Floats x, Floats y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
INLINE Floats mul(Floats x, Floats y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
INLINE Floats div(Floats x, Floats y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
INLINE Floats fma(Floats x, Floats y, Floats z) {
    return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
INLINE Floats max(Floats x, Floats y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
INLINE Floats min(Floats x, Floats y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
INLINE Floats nearest(Floats x) {
    const int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(x.a, mode), _mm256_round_ps(x.b, mode)};
}
INLINE Ints to_ints(Floats x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
INLINE Floats times_power_of_two(Floats x, Floats n) {
    // Half the power at a time, so that exponents stay in range.
    Ints half = to_ints(nearest(mul(n, set(0.5f)))), whole = to_ints(n);
    auto power = [](__m256i e) {
        __m256i biased = _mm256_add_epi32(e, _mm256_set1_epi32(127));
        return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
    };
    Floats first = {power(half.a), power(half.b)};
    Floats second = {power(_mm256_sub_epi32(whole.a, half.a)),
                     power(_mm256_sub_epi32(whole.b, half.b))};
    return mul(mul(x, first), second);
}

INLINE Ints set_int(int32_t x) { __m256i v = _mm256_set1_epi32(x); return {v, v}; }
INLINE Ints add(Ints x, Ints y) {
    return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
INLINE Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
INLINE void store_bytes(int8_t *at, Ints x) {
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((__m128i *)at, _mm_packs_epi16(low, high));
}
INLINE void store_ints(int32_t *at, Ints x) {
    _mm256_storeu_si256((__m256i *)at, x.a);
    _mm256_storeu_si256((__m256i *)(at + 8), x.b);
}

#else

constexpr int FLOAT_ROWS = 4, BYTE_ROWS = 4;
constexpr int PANELS = 1;
struct Floats { float v[LANES]; };
struct Ints { int32_t v[LANES]; };

#define EACH(type, ...)                                                                            \
    do {                                                                                           \
        type made;                                                                                 \
        for (int i = 0; i < LANES; i++) made.v[i] = __VA_ARGS__;                                   \
        return made;                                                                               \
    } while (0)

INLINE float from_half(Half h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, rest = h & 1023;
    if (exponent == 0) {
        float small = (float)rest * 0x1p-24f;
        return sign ? -small : small;
    }
    uint32_t bits = sign | ((exponent == 31 ? 255 : exponent + 112) << 23) | (rest << 13);
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
INLINE Half to_half(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    Half sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return sign | 0x7e00;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits < 0x38800000) return sign | (Half)lrintf(fabsf(x) * 0x1p24f);
    bits += 0xfff + ((bits >> 13) & 1);  // to the nearest, halves to even
    return sign | (Half)((bits >> 13) - (112 << 10));
}

INLINE Floats set(float x) { EACH(Floats, x); }
INLINE Floats load(const float *at) { EACH(Floats, at[i]); }
INLINE Floats load(const Half *at) { EACH(Floats, from_half(at[i])); }
INLINE Floats load(const int8_t *at) { EACH(Floats, (float)at[i]); }
INLINE void store(float *at, Floats x) { memcpy(at, x.v, sizeof x.v); }
INLINE void store(Half *at, Floats x) {
    for (int i = 0; i < LANES; i++) at[i] = to_half(x.v[i]);
}
INLINE Floats add(Floats x, Floats y) { EACH(Floats, x.v[i] + y.v[i]); }
INLINE Floats sub(Floats x, Floats y) { EACH(Floats, x.v[i] - y.v[i]); }
INLINE Floats mul(Floats x, Floats y) { EACH(Floats, x.v[i] * y.v[i]); }
INLINE Floats div(Floats x, Floats y) { EACH(Floats, x.v[i] / y.v[i]); }
INLINE Floats fma(Floats x, Floats y, Floats z) { EACH(Floats, x.v[i] * y.v[i] + z.v[i]); }
INLINE Floats max(Floats x, Floats y) { EACH(Floats, x.v[i] > y.v[i] ? x.v[i] : y.v[i]); }
INLINE Floats min(Floats x, Floats y) { EACH(Floats, x.v[i] < y.v[i] ? x.v[i] : y.v[i]); }
INLINE Floats nearest(Floats x) { EACH(Floats, rintf(x.v[i])); }
INLINE Floats times_power_of_two(Floats x, Floats n) { EACH(Floats, ldexpf(x.v[i], (int)n.v[i])); }

INLINE Ints set_int(int32_t x) { EACH(Ints, x); }
INLINE Ints add(Ints x, Ints y) { EACH(Ints, x.v[i] + y.v[i]); }
INLINE Ints to_ints(Floats x) { EACH(Ints, (int32_t)lrintf(x.v[i])); }
INLINE Floats to_floats(Ints x) { EACH(Floats, (float)x.v[i]); }
INLINE void store_bytes(int8_t *at, Ints x) {
    for (int i = 0; i < LANES; i++) at[i] = (int8_t)x.v[i];
}
INLINE void store_ints(int32_t *at, Ints x) { memcpy(at, x.v, sizeof x.v); }

#endif

INLINE float sum(Floats x) {
    float v[LANES];
    store(v, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) v[i] += v[i + half];
    return v[0];
}

INLINE int32_t sum(Ints x) {
    int32_t v[LANES], total = 0;
    store_ints(v, x);
    for (int i = 0; i < LANES; i++) total += v[i];
    return total;
}

// NaN if one is NaN.
INLINE float largest(Floats x) {
    float v[LANES];
    store(v, x);
    float found = v[0];
    for (int i = 1; i < LANES; i++) found = found >= v[i] || found != found ? found : v[i];
    return found;
}

INLINE Floats absolute(Floats x) { return max(sub(set(0), x), x); }

// e^x = 2^n (1 + rest).
struct Power {
    Floats rest, n;
};

// Within 2 units in the last place (Cody & Waite's reduction, a polynomial of degree 6).
INLINE Power power_of_two(Floats x) {
    x = min(set(88.0f), max(set(-87.0f), x));
    Floats n = nearest(mul(x, set(1.44269504f)));
    Floats r = fma(n, set(-0.693359375f), x);
    r = fma(n, set(2.12194440e-4f), r);
    Floats p = set(1.9875691500e-4f);
    const float rest[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f,
                          0.5f};
    for (float c : rest) p = fma(p, r, set(c));
    return {fma(p, mul(r, r), r), n};
}

INLINE Floats exponential(Floats x) {
    Power e = power_of_two(x);
    return times_power_of_two(add(e.rest, set(1)), e.n);
}

// (e^2x − 1) / (e^2x + 1), whose numerator loses nothing near 0.
INLINE Floats hyperbolic_tangent(Floats x) {
    Power e = power_of_two(add(x, x));
    Floats whole = sub(times_power_of_two(set(1), e.n), set(1));
    Floats less_one = add(times_power_of_two(e.rest, e.n), whole);
    return div(less_one, add(less_one, set(2)));
}

// No further from 0 than `cap`, which is approached slowly; as it is where that is 0.
INLINE Floats soft_capped(Floats x, float cap) {
    return cap == 0 ? x : mul(set(cap), hyperbolic_tangent(div(x, set(cap))));
}
