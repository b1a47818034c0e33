// Attention over keys and values in blocks of memory that sequences share.
//
// In each run of 16 slots of a block, a head's keys are kept feature by feature (16 slots in a
// row), so that a score is a lane and nothing is summed across lanes, and its values slot by slot.
// Those of 8 bits are levels, with a scale for each slot's key and one for its value behind them.
// Keys are looked at in segments of SEGMENT positions, whose parts are put together at the end:
// what is computed for a query depends on its own past only, wherever the work is cut.
#pragma once

#include "lanes.h"

constexpr int64_t SEGMENT = 512;
constexpr int MOST_QUERIES = 4;  // at once; a tile of them is a multiple

// 16 slots of a head: (width, 16) keys, then (16, padded) values; `scales` are of the 16 keys, then
// of the 16 values, and null where numbers are kept as such.
template <class Number>
struct Run {
    Number *keys, *values;
    float *scales;
};

// Where one layer's keys and values lie.
template <class Number>
struct Memory {
    static constexpr bool SCALED = sizeof(Number) == 1;
    char *at;  // of the layer
    int64_t block_size, kv_heads, width, padded;  // padded: width, to whole lanes

    inline int64_t run_bytes() const {
        return LANES * ((width + padded) * (int64_t)sizeof(Number) + (SCALED ? 2 * 4 : 0));
    }
    inline Run<Number> run(const int32_t *blocks, int64_t position, int64_t head) const {
        int64_t runs = block_size / LANES, place = position % block_size / LANES;
        int64_t number = (blocks[position / block_size] * runs + place) * kv_heads + head;
        Number *keys = (Number *)(at + number * run_bytes());
        float *scales = SCALED ? (float *)(keys + LANES * (width + padded)) : nullptr;
        return {keys, keys + LANES * width, scales};
    }
};

// A vector as whole numbers from −127 to 127, and zeros up to whole lanes: its scale. As in
// `write_row`, what is not finite makes the scale NaN.
INLINE float to_levels(const float *vector, int64_t width, int64_t padded, int8_t *levels) {
    float whole[padded], most = 0;
    memset(whole, 0, padded * 4);
    memcpy(whole, vector, width * 4);
    for (int64_t i = 0; i < padded; i += LANES) {
        Floats part = load(whole + i);
        float top = largest(add(absolute(part), mul(part, set(0))));
        most = most >= top || most != most ? most : top;
    }
    Floats inverse = set(most < 1e-30f ? 0 : 127 / most);
    for (int64_t i = 0; i < padded; i += LANES)
        store_bytes(levels + i, to_ints(mul(load(whole + i), inverse)));
    return most / 127;
}

template <class Number>
INLINE void remember(const Memory<Number> &memory, const int32_t *blocks, int64_t position,
                     int64_t head, const float *key, const float *value) {
    const Run<Number> run = memory.run(blocks, position, head);
    const int64_t slot = position % LANES;
    Number rounded[memory.padded], *values = run.values + slot * memory.padded;
    if constexpr (Memory<Number>::SCALED) {
        run.scales[slot] = to_levels(key, memory.width, memory.padded, rounded);
        run.scales[LANES + slot] = to_levels(value, memory.width, memory.padded, values);
    } else {
        for (int64_t i = 0; i < memory.padded; i += LANES) {
            store(rounded + i, load(key + i));
            store(values + i, load(value + i));
        }
    }
    for (int64_t i = 0; i < memory.width; i++) run.keys[i * LANES + slot] = rounded[i];
}

// What a query found in a segment: the sum of its weights, the largest score, the mixed values.
struct Part {
    float *largest, *total, *mixed;
};

template <int QUERIES, class Number>
INLINE void score(const Run<Number> &run, const float *const *queries, int64_t width,
                  float **scores) {
    const Number *keys = run.keys;
    Floats even[QUERIES], odd[QUERIES];
    for (int q = 0; q < QUERIES; q++) even[q] = odd[q] = set(0);
    int64_t i = 0;
    for (; i + 1 < width; i += 2) {
        Floats first = load(keys + i * LANES), second = load(keys + (i + 1) * LANES);
        for (int q = 0; q < QUERIES; q++) {
            even[q] = fma(first, set(queries[q][i]), even[q]);
            odd[q] = fma(second, set(queries[q][i + 1]), odd[q]);
        }
    }
    for (int q = 0; q < QUERIES; q++) {
        if (i < width) even[q] = fma(load(keys + i * LANES), set(queries[q][i]), even[q]);
        Floats total = add(even[q], odd[q]);
        store(scores[q], Memory<Number>::SCALED ? mul(total, load(run.scales)) : total);
    }
}

// Adds values, weighted, to what the queries mix; `parts` runs of 16 features.
template <int QUERIES, int PARTS, class Number>
INLINE void mix(const Number *values, int64_t slots, int64_t padded, float *const *weights,
                float *const *mixed) {
    Floats total[QUERIES][PARTS];
    for (int q = 0; q < QUERIES; q++)
        for (int p = 0; p < PARTS; p++) total[q][p] = load(mixed[q] + p * LANES);
    for (int64_t slot = 0; slot < slots; slot++) {
        Floats value[PARTS];
        for (int p = 0; p < PARTS; p++) value[p] = load(values + slot * padded + p * LANES);
        for (int q = 0; q < QUERIES; q++) {
            Floats weight = set(weights[q][slot]);
            for (int p = 0; p < PARTS; p++) total[q][p] = fma(value[p], weight, total[q][p]);
        }
    }
    for (int q = 0; q < QUERIES; q++)
        for (int p = 0; p < PARTS; p++) store(mixed[q] + p * LANES, total[q][p]);
}

template <int QUERIES, class Number>
INLINE void mix_all(const Number *values, int64_t slots, int64_t padded, float *const *weights,
                    float *const *mixed) {
    constexpr int PARTS = 2 * PANELS;
    int64_t i = 0;
    for (; i + PARTS * LANES <= padded; i += PARTS * LANES) {
        float *at[QUERIES];
        for (int q = 0; q < QUERIES; q++) at[q] = mixed[q] + i;
        mix<QUERIES, PARTS>(values + i, slots, padded, weights, at);
    }
    for (; i < padded; i += LANES) {
        float *at[QUERIES];
        for (int q = 0; q < QUERIES; q++) at[q] = mixed[q] + i;
        mix<QUERIES, 1>(values + i, slots, padded, weights, at);
    }
}

// Positions of a segment that a query sees: `from`, and those before `until`.
struct Seen {
    int64_t from, until;
};

// Softmax's numerators of the scores that are seen, in place; the rest of whole lanes are 0.
INLINE void weigh(float *scores, Seen seen, float cap, const Part &part) {
    const int64_t first = seen.from / LANES * LANES;
    if (cap != 0)
        for (int64_t i = first; i < seen.until; i += LANES)
            store(scores + i, soft_capped(load(scores + i), cap));
    for (int64_t i = first; i < seen.from; i++) scores[i] = -INFINITY;
    for (int64_t i = seen.until; i % LANES; i++) scores[i] = -INFINITY;
    Floats most = set(-INFINITY);
    for (int64_t i = first; i < seen.until; i += LANES) most = max(most, load(scores + i));
    float top = largest(most);
    Floats total = set(0);
    for (int64_t i = first; i < seen.until; i += LANES) {
        Floats weight = exponential(sub(load(scores + i), set(top)));
        store(scores + i, weight);
        for (int64_t j = i; j < seen.from; j++) scores[j] = 0;
        for (int64_t j = seen.until; j < i + LANES; j++) scores[j] = 0;
        total = add(total, load(scores + i));
    }
    *part.largest = top;
    *part.total = sum(total);
}

// One segment of the past of a tile of queries that share a head of keys and values.
//
// `seen`: of each query; neither end falls from one to the next.
// `cap`: of scores; 0 for none.
// `scores`: room for SEGMENT numbers a query.
template <class Number>
APART void attend(const Memory<Number> &memory, const int32_t *blocks, int64_t first, int64_t head,
                  const float *const *queries, const Seen *seen, int count, float cap,
                  float *scores, const Part *parts) {
    const int64_t least = seen[0].from / LANES * LANES, most = seen[count - 1].until;
    for (int64_t slot = least; slot < most; slot += LANES) {
        const Run<Number> run = memory.run(blocks, first + slot, head);
        for (int q = 0; q < count; q += MOST_QUERIES) {
            float *at[MOST_QUERIES];
            for (int i = 0; i < MOST_QUERIES && q + i < count; i++) at[i] = scores + (q + i) * SEGMENT + slot;
            switch (count - q) {
                case 1: score<1>(run, queries + q, memory.width, at); break;
                case 2: score<2>(run, queries + q, memory.width, at); break;
                case 3: score<3>(run, queries + q, memory.width, at); break;
                default: score<4>(run, queries + q, memory.width, at);
            }
        }
    }
    for (int q = 0; q < count; q++) {
        memset(parts[q].mixed, 0, memory.padded * 4);
        weigh(scores + q * SEGMENT, seen[q], cap, parts[q]);
    }
    for (int64_t slot = least; slot < most; slot += LANES) {
        const Run<Number> run = memory.run(blocks, first + slot, head);
        if (Memory<Number>::SCALED)
            for (int q = 0; q < count; q++) {
                float *weights = scores + q * SEGMENT + slot;
                store(weights, mul(load(weights), load(run.scales + LANES)));
            }
        for (int q = 0; q < count;) {
            float *weights[MOST_QUERIES], *mixed[MOST_QUERIES];
            int some = count - q < MOST_QUERIES ? count - q : MOST_QUERIES;
            // Slots that a query does not see may hold anything, so that 0 times it may be NaN.
            if (seen[q + some - 1].from > slot || seen[q].until < slot + LANES) some = 1;
            const int64_t from = seen[q].from > slot ? seen[q].from - slot : 0;
            const int64_t left = seen[q].until - slot, slots = (left < LANES ? left : LANES) - from;
            for (int i = 0; i < some; i++) {
                weights[i] = scores + (q + i) * SEGMENT + slot + from;
                mixed[i] = parts[q + i].mixed;
            }
            const Number *at = run.values + from * memory.padded;
            switch (some) {
                case 1: mix_all<1>(at, slots, memory.padded, weights, mixed); break;
                case 2: mix_all<2>(at, slots, memory.padded, weights, mixed); break;
                case 3: mix_all<3>(at, slots, memory.padded, weights, mixed); break;
                default: mix_all<4>(at, slots, memory.padded, weights, mixed);
            }
            q += some;
        }
    }
}

// A query's parts become its output: their sum over the sum of all weights.
INLINE void put_together(const float *largest_scores, const float *totals, const float *mixed,
                         int64_t segments, int64_t stride, int64_t padded, float *out) {
    float most = largest_scores[0];
    for (int64_t s = 1; s < segments; s++) {
        float other = largest_scores[s * stride];
        most = most >= other || most != most ? most : other;
    }
    float total = 0;
    for (int64_t s = 0; s < segments; s++)
        total += totals[s * stride] * expf(largest_scores[s * stride] - most);
    for (int64_t i = 0; i < padded; i += LANES) {
        Floats all = set(0);
        for (int64_t s = 0; s < segments; s++) {
            float weight = expf(largest_scores[s * stride] - most) / total;
            all = fma(load(mixed + s * stride * padded + i), set(weight), all);
        }
        store(out + i, all);
    }
}
