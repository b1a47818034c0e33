// One step of a decoder over the rows of several sequences, all layers in one call.
//
// RMSNorm, rotary positions, grouped-query attention over keys and values in shared blocks, SwiGLU
// (Llama: Touvron et al. 2023, arXiv 2302.13971, §2.2), and what its relatives add to that. Threads
// enter once and meet at a barrier of their own between parts; work within a part is taken in pieces
// by whoever is free. Which thread does a piece does not change it.

#include <sched.h>
#include <stdlib.h>
#include <time.h>
#if defined(_OPENMP)
#include <omp.h>
#endif

#include "attention.h"
#include "linear.h"

extern "C" {

// What a layer lacks is null.
struct Layer {
    // Of what a part reads, and of what it gives: (width of hidden), zeros added.
    const float *attention_norm, *feed_forward_norm, *attention_out_norm, *feed_forward_out_norm;
    const float *query_norm, *key_norm;  // of each head: (head_width), zeros added
    const float *cosines, *sines;        // (positions, head_width / 2)
    int64_t window;                      // how many positions it looks back, its own included
    Matrix qkv, out, gate_up, down;
};

enum Activation : int32_t { SWIGLU, GEGLU_TANH };
enum Cache : int32_t { FLOAT32_CACHE, FLOAT16_CACHE, INT8_CACHE };  // what keys and values are kept as

// Sizes are in numbers. `hidden` and `inner` are whole blocks; the model's own may be smaller. A cap
// that is 0 is none.
struct Model {
    int64_t layer_count, d_model, hidden, inner, heads, kv_heads, head_width, vocabulary;
    float epsilon, embedding_scale, score_scale, score_cap, logit_cap;
    Activation activation;
    Cache kv_cache;
    const Layer *layers;
    Matrix embedding, head;
    const float *input_norm, *norm;
    void *memory;  // (layers, blocks, …): see attention.h
    int64_t blocks, block_size;
};

struct Batch {
    int64_t rows, chunks, wanted;
    const int32_t *tokens, *positions, *sequence;  // of each row: the last is its chunk
    const int64_t *first_row, *first_block;        // of each chunk, and one more
    const int32_t *tables;                         // block tables, one after another
    const int32_t *wanted_rows;
    float *logits;  // (wanted, vocabulary)
    float *states;  // what they are made of, (wanted, d_model); or null
};

}  // extern "C"

namespace {

enum Phase { EMBED, NORM, QKV, ROTATE, ATTEND, OUT, FEED_NORM, GATE_UP, DOWN, HEAD, PHASES };

constexpr int TILE = 8;      // rows of a sequence that attend together
constexpr int64_t ROWS_AT_ONCE = 256;  // of a product by itself: what stays in a core's cache
constexpr int SPINS = 2000;  // before a waiting thread lets others run

double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

INLINE void pause() {
#if defined(__AVX2__)
    _mm_pause();
#endif
}

// Threads that go through the parts of a step together.
struct Team {
    int threads;
    int arrived = 0, generation = 0;
    int64_t next = 0;  // piece of the present part

    void wait() {
        int now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
        if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == threads) {
            arrived = 0;
            next = 0;
            __atomic_store_n(&generation, now + 1, __ATOMIC_RELEASE);
            return;
        }
        for (int spins = 0; __atomic_load_n(&generation, __ATOMIC_ACQUIRE) == now;)
            if (++spins < SPINS) pause();
            else sched_yield();
    }

    template <class Work>
    void each(int64_t pieces, Work work) {
        for (;;) {
            int64_t piece = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
            if (piece >= pieces) break;
            work(piece);
        }
        wait();
    }
};

// Memory for a step, handed out from one allocation of the caller's.
struct Arena {
    char *at;
    int64_t used = 0;

    template <class T>
    T *take(int64_t count) {
        T *found = (T *)(at + used);
        used += (count * (int64_t)sizeof(T) + 63) / 64 * 64;
        return found;
    }
    Rows rows(int64_t count, int64_t width, bool rounded) {
        Rows made = {width, nullptr, nullptr, nullptr};
        if (rounded) {
            made.levels = take<int8_t>(count * width);
            made.blocks = take<Rounded>(count * (width / BLOCK));
        } else {
            made.numbers = take<float>(count * width);
        }
        return made;
    }
};

// Rows of a chunk that look at a segment of its past together.
struct Piece {
    int32_t chunk, first, last, segment;  // rows first to last - 1
};

INLINE int64_t whole(int64_t size, int64_t of) { return (size + of - 1) / of; }

struct Step {
    const Model &m;
    const Batch &b;
    Team team;
    double *seconds, last = 0;
    int64_t padded, group, segments = 0, widest = 0, piece_count = 0, features, qkv_width;
    float *hidden, *change, *qkv, *mixed, *inner, *largest_scores, *totals, *parts, *scores;
    Rows x, attended, activated, final_rows;
    Piece *pieces;

    // Lays memory out; returns how many bytes that takes.
    int64_t plan(char *memory) {
        Arena arena{memory};
        const bool rounded = m.head.format >= INT8;
        padded = whole(m.head_width, LANES) * LANES;
        group = m.heads / m.kv_heads;
        features = m.layers[0].out.inputs;
        qkv_width = m.layers[0].qkv.outputs;
        int64_t most_pieces = 0;
        for (int64_t layer = 0; layer < m.layer_count; layer++)
            if (m.layers[layer].window > widest) widest = m.layers[layer].window;
        for (int64_t c = 0; c < b.chunks; c++) {
            const int64_t own = end_of(b.first_row[c + 1] - 1) - first_of(c);
            if (own > segments) segments = own;
            most_pieces += whole(b.first_row[c + 1] - b.first_row[c], TILE) * own;
        }
        hidden = arena.take<float>(b.rows * m.hidden);
        change = arena.take<float>(b.rows * m.hidden);
        qkv = arena.take<float>(b.rows * qkv_width + LANES);
        mixed = arena.take<float>(b.rows * features + LANES);
        inner = arena.take<float>(b.rows * m.inner);
        largest_scores = arena.take<float>(segments * b.rows * m.heads);
        totals = arena.take<float>(segments * b.rows * m.heads);
        parts = arena.take<float>(segments * b.rows * m.heads * padded);
        scores = arena.take<float>(team.threads * TILE * group * SEGMENT);
        x = arena.rows(b.rows, m.hidden, rounded);
        attended = arena.rows(b.rows, features, rounded);
        activated = arena.rows(b.rows, m.inner, rounded);
        final_rows = arena.rows(b.wanted, m.hidden, rounded);
        pieces = arena.take<Piece>(most_pieces);
        return arena.used;
    }

    void cut() {
        for (int32_t c = 0; c < b.chunks; c++)
            for (int64_t r = b.first_row[c]; r < b.first_row[c + 1]; r += TILE) {
                int64_t end = r + TILE < b.first_row[c + 1] ? r + TILE : b.first_row[c + 1];
                for (int32_t s = first_of(c); s < end_of(end - 1); s++)
                    pieces[piece_count++] = {c, (int32_t)r, (int32_t)end, s};
            }
    }

    // The first segment that any layer looks at from a chunk; nothing is kept of those before.
    int64_t first_of(int64_t chunk) { return seen_by(b.first_row[chunk], widest).from / SEGMENT; }

    // The segment after a row's own.
    int64_t end_of(int64_t row) { return whole(b.positions[row] + 1, SEGMENT); }

    // Where is what a head of a row finds in a segment.
    int64_t place_of(int64_t segment, int64_t row, int64_t head) {
        return ((segment - first_of(b.sequence[row])) * b.rows + row) * m.heads + head;
    }

    // Of `size` numbers, whole lanes, all but `width` are zeros that were added.
    void normalise(const float *row, const float *weights, int64_t size, int64_t width, float *to) {
        Floats squares = set(0);
        for (int64_t i = 0; i < size; i += LANES) {
            Floats part = load(row + i);
            squares = fma(part, part, squares);
        }
        Floats scale = set(1.0f / sqrtf(sum(squares) / (float)width + m.epsilon));
        for (int64_t i = 0; i < size; i += LANES)
            store(to + i, mul(mul(load(row + i), scale), load(weights + i)));
    }

    void norm(const float *row, const float *weights, const Rows &to, int64_t place) {
        float normed[m.hidden];
        normalise(row, weights, m.hidden, m.d_model, normed);
        write_row(to, place, normed);
    }

    // What lies behind the head is its neighbour's.
    void norm_head(float *head, const float *weights) {
        if (weights == nullptr) return;
        float own[padded];
        memset(own, 0, padded * 4);
        memcpy(own, head, m.head_width * 4);
        normalise(own, weights, padded, m.head_width, own);
        memcpy(head, own, m.head_width * 4);
    }

    void embed(int64_t row) {
        float *to = hidden + row * m.hidden;
        memset(to, 0, m.hidden * 4);
        const int64_t token = b.tokens[row], lane = token % LANES;
        const uint8_t *panel = m.embedding.data + token / LANES * panel_bytes(m.embedding);
        read_output(m.embedding, panel, lane, to);
        for (int64_t i = 0; i < m.hidden; i++) to[i] *= m.embedding_scale;
        if (m.input_norm != nullptr) normalise(to, m.input_norm, m.hidden, m.d_model, to);
    }

    void turn(const Layer &layer, float *head, int64_t position, float scale) {
        const int64_t half = m.head_width / 2;
        const float *cosine = layer.cosines + position * half, *sine = layer.sines + position * half;
        for (int64_t i = 0; i < half; i++) {
            float first = head[i], second = head[half + i];
            head[i] = (first * cosine[i] - second * sine[i]) * scale;
            head[half + i] = (second * cosine[i] + first * sine[i]) * scale;
        }
    }

    const int32_t *table(int64_t chunk) { return b.tables + b.first_block[chunk]; }

    template <class Number>
    void rotate(const Layer &layer, const Memory<Number> &memory, int64_t row) {
        float *query = qkv + row * qkv_width, *key = query + m.heads * m.head_width;
        const float *value = key + m.kv_heads * m.head_width;
        const int64_t position = b.positions[row];
        for (int64_t h = 0; h < m.heads; h++, query += m.head_width) {
            norm_head(query, layer.query_norm);
            turn(layer, query, position, m.score_scale);
        }
        for (int64_t h = 0; h < m.kv_heads; h++, key += m.head_width, value += m.head_width) {
            norm_head(key, layer.key_norm);
            turn(layer, key, position, 1);
            remember(memory, table(b.sequence[row]), position, h, key, value);
        }
    }

    // All positions that a row sees.
    Seen seen_by(int64_t row, int64_t window) {
        const int64_t until = b.positions[row] + 1;
        return {until > window ? until - window : 0, until};
    }

    template <class Number>
    void look(const Memory<Number> &memory, int64_t window, const Piece &piece, int64_t kv_head,
              float *scores) {
        const int64_t first = piece.segment * SEGMENT, last = first + SEGMENT;
        if (seen_by(piece.first, window).from >= last) return;
        const float *queries[TILE * m.heads];
        Seen seen[TILE * m.heads];
        Part found[TILE * m.heads];
        int count = 0;
        auto inside = [&](int64_t position) {
            return (position < first ? first : position > last ? last : position) - first;
        };
        for (int64_t row = piece.first; row < piece.last; row++)
            for (int64_t g = 0; g < group; g++, count++) {
                const Seen all = seen_by(row, window);
                int64_t head = kv_head * group + g;
                int64_t place = place_of(piece.segment, row, head);
                queries[count] = qkv + row * qkv_width + head * m.head_width;
                seen[count] = {inside(all.from), inside(all.until)};
                found[count] = {largest_scores + place, totals + place, parts + place * padded};
            }
        attend(memory, table(piece.chunk), first, kv_head, queries, seen, count, m.score_cap,
               scores, found);
    }

    void gather(int64_t window, int64_t row) {
        float *to = mixed + row * features;
        const Seen seen = seen_by(row, window);
        const int64_t first = seen.from / SEGMENT, own = whole(seen.until, SEGMENT) - first;
        for (int64_t h = 0; h < m.heads; h++) {
            const int64_t place = place_of(first, row, h);
            float out[padded];
            put_together(largest_scores + place, totals + place, parts + place * padded, own,
                         b.rows * m.heads, padded, out);
            memcpy(to + h * m.head_width, out, m.head_width * 4);
        }
        for (int64_t i = m.heads * m.head_width; i < features; i++) to[i] = 0;
        write_row(attended, row, to);
    }

    // Adds a product, normalised if there is a norm for it, to the hidden rows.
    void add_product(const Matrix &matrix, const Rows &from, const float *out_norm) {
        float *to = out_norm == nullptr ? hidden : change;
        team.each(matrix.outputs / BLOCK, [&](int64_t pair) {
            multiply(matrix, pair, from, b.rows, [&](int64_t r, Floats first, Floats second) {
                float *at = to + r * m.hidden + pair * BLOCK;
                if (out_norm == nullptr) {
                    first = add(load(at), first);
                    second = add(load(at + LANES), second);
                }
                store(at, first);
                store(at + LANES, second);
            });
        });
        if (out_norm == nullptr) return;
        team.each(b.rows, [&](int64_t r) {
            float *row = hidden + r * m.hidden, *changed = change + r * m.hidden;
            normalise(changed, out_norm, m.hidden, m.d_model, changed);
            for (int64_t i = 0; i < m.hidden; i += LANES)
                store(row + i, add(load(row + i), load(changed + i)));
        });
    }

    // gate · σ(t): for GELU, x (1 + tanh(t / 2)) / 2, t is √(8 / π) (x + 0.044715 x³).
    Floats activate(Floats gate) {
        Floats t = gate;
        if (m.activation == GEGLU_TANH) {
            Floats square = mul(gate, gate);
            t = mul(gate, fma(square, set(0.0713548163f), set(1.5957691216f)));
        }
        return div(gate, add(set(1), exponential(sub(set(0), t))));
    }

    // A part is over; its time is counted by one thread.
    void tick(int thread, Phase phase) {
        if (thread) return;
        double time = now();
        seconds[phase] += time - last;
        last = time;
    }

    template <class Number>
    void run_layer(int64_t index, int thread) {
        const Layer &layer = m.layers[index];
        const int64_t rows = b.rows;
        Memory<Number> memory{nullptr, m.block_size, m.kv_heads, m.head_width, padded};
        memory.at = (char *)m.memory +
                    index * m.blocks * (m.block_size / LANES) * m.kv_heads * memory.run_bytes();
        team.each(rows, [&](int64_t r) { norm(hidden + r * m.hidden, layer.attention_norm, x, r); });
        tick(thread, NORM);
        team.each(layer.qkv.outputs / BLOCK, [&](int64_t pair) {
            multiply(layer.qkv, pair, x, rows, [&](int64_t r, Floats first, Floats second) {
                store(qkv + r * qkv_width + pair * BLOCK, first);
                store(qkv + r * qkv_width + pair * BLOCK + LANES, second);
            });
        });
        tick(thread, QKV);
        team.each(rows, [&](int64_t r) { rotate(layer, memory, r); });
        tick(thread, ROTATE);
        float *own_scores = scores + thread * TILE * group * SEGMENT;
        team.each(piece_count * m.kv_heads, [&](int64_t i) {
            look(memory, layer.window, pieces[i / m.kv_heads], i % m.kv_heads, own_scores);
        });
        team.each(rows, [&](int64_t r) { gather(layer.window, r); });
        tick(thread, ATTEND);
        add_product(layer.out, attended, layer.attention_out_norm);
        tick(thread, OUT);
        team.each(rows,
                  [&](int64_t r) { norm(hidden + r * m.hidden, layer.feed_forward_norm, x, r); });
        tick(thread, FEED_NORM);
        team.each(layer.gate_up.outputs / BLOCK, [&](int64_t pair) {
            multiply(layer.gate_up, pair, x, rows, [&](int64_t r, Floats gate, Floats up) {
                store(inner + r * m.inner + pair * LANES, mul(activate(gate), up));
            });
        });
        team.each(rows, [&](int64_t r) { write_row(activated, r, inner + r * m.inner); });
        tick(thread, GATE_UP);
        add_product(layer.down, activated, layer.feed_forward_out_norm);
        tick(thread, DOWN);
    }

    void run_head(int thread) {
        team.each(b.wanted, [&](int64_t i) {
            float normed[m.hidden];
            normalise(hidden + b.wanted_rows[i] * m.hidden, m.norm, m.hidden, m.d_model, normed);
            write_row(final_rows, i, normed);
            if (b.states != nullptr) memcpy(b.states + i * m.d_model, normed, m.d_model * 4);
        });
        team.each(m.head.outputs / BLOCK, [&](int64_t pair) {
            const int64_t first_output = pair * BLOCK, left = m.vocabulary - first_output;
            multiply(m.head, pair, final_rows, b.wanted, [&](int64_t r, Floats first, Floats second) {
                float *to = b.logits + r * m.vocabulary + first_output;
                float both[BLOCK];
                float *at = left >= BLOCK ? to : both;
                store(at, soft_capped(first, m.logit_cap));
                store(at + LANES, soft_capped(second, m.logit_cap));
                if (left < BLOCK && left > 0) memcpy(to, both, left * 4);
            });
        });
        tick(thread, HEAD);
    }

    void run(int thread) {
        if (thread == 0) last = now();
        team.each(b.rows, [&](int64_t r) { embed(r); });
        tick(thread, EMBED);
        for (int64_t layer = 0; layer < m.layer_count; layer++)
            switch (m.kv_cache) {
                case FLOAT32_CACHE: run_layer<float>(layer, thread); break;
                case FLOAT16_CACHE: run_layer<Half>(layer, thread); break;
                default: run_layer<int8_t>(layer, thread);
            }
        run_head(thread);
    }
};

}  // namespace

extern "C" {

// Bytes of `memory` that a step needs; the step is taken if there are so many.
//
// `seconds` (PHASES) are added to.
int64_t peluche_step(const Model *model, const Batch *batch, int threads, char *memory,
                     int64_t bytes, double *seconds) {
    Step step{*model, *batch, Team{threads}, seconds};
    int64_t needed = step.plan(memory);
    if (needed > bytes) return needed;
    step.cut();
#if defined(_OPENMP)
#pragma omp parallel num_threads(threads)
    {
        // There may be fewer than were asked for.
#pragma omp single
        step.team.threads = omp_get_num_threads();
        step.run(omp_get_thread_num());
    }
#else
    step.team.threads = 1;
    step.run(0);
#endif
    return needed;
}

// Rows (rows, inputs) by a matrix: (rows, outputs), both in whole blocks. `memory` is for rows that
// are rounded: 3 bytes of it for each number, and 256.
void peluche_multiply(const Matrix *matrix, const float *from, int64_t rows, float *to,
                      char *memory, int threads) {
    Arena arena{memory};
    const bool rounded = matrix->format >= INT8;
    Rows all = {matrix->inputs, (float *)from, nullptr, nullptr};
    if (rounded) {
        all = arena.rows(rows, matrix->inputs, true);
        for (int64_t r = 0; r < rows; r++) write_row(all, r, from + r * matrix->inputs);
    }
    const int64_t pairs = matrix->outputs / BLOCK, tiles = whole(rows, ROWS_AT_ONCE);
    (void)threads;  // where there is no OpenMP
#if defined(_OPENMP)
#pragma omp parallel for num_threads(threads) schedule(dynamic)
#endif
    for (int64_t piece = 0; piece < tiles * pairs; piece++) {
        const int64_t row = piece / pairs * ROWS_AT_ONCE, pair = piece % pairs;
        const int64_t some = row + ROWS_AT_ONCE < rows ? ROWS_AT_ONCE : rows - row;
        multiply(*matrix, pair, all.from(row), some, [&](int64_t r, Floats first, Floats second) {
            float *at = to + (row + r) * matrix->outputs + pair * BLOCK;
            store(at, first);
            store(at + LANES, second);
        });
    }
}

}  // extern "C"
