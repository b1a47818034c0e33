"""Negative sampling compiled by numba: gradient and update in one pass over rows in cache.

A window's pairs share their negatives and move together, as in pWord2Vec (Ji et al. 2016, arXiv
1604.04661, §3.2): the update is a product of small matrices, and rows are fetched from memory once
a window instead of once a pair. No Python lock is held, so threads may share the tables.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

# Linear interpolation between these is exact to 1e-6, and the functions are straight beyond.
LIMIT, CELLS = 16.0, 16384
_points = np.linspace(-LIMIT, LIMIT, CELLS + 1)
SIGMOID = (1 / (1 + np.exp(-_points))).astype(np.float32)
SOFTPLUS = np.logaddexp(0, _points).astype(np.float32)
SCALE = np.float32(CELLS / (2 * LIMIT))

COMPILED = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@njit(**COMPILED)
@no_type_check
def _next(state):
    """xorshift64 (Marsaglia 2003)."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    return state ^ (state << np.uint64(17))


@njit(**COMPILED)
@no_type_check
def _subsample(tokens, position, keep, kept, state):
    """Read up to the next break; returns where it went on from, how many were kept, the state."""
    count = 0
    while position < len(tokens) and tokens[position] >= 0:
        token = tokens[position]
        position += 1
        state = _next(state)
        if np.float32(state >> np.uint64(40)) * np.float32(2**-24) < keep[token]:
            kept[count] = token
            count += 1
    return position + 1, count, state


@njit(**COMPILED)
@no_type_check
def _draw(targets, probability, alias, state):
    """Fill targets[1:] with noise words other than targets[0]."""
    size = np.uint64(len(probability))
    for k in range(1, len(targets)):
        while True:
            state = _next(state)
            word = np.int64(((state >> np.uint64(32)) * size) >> np.uint64(32))
            if np.float32(state & np.uint64(0xFFFFFF)) * np.float32(2**-24) >= probability[word]:
                word = np.int64(alias[word])
            if word != targets[0]:
                break
        targets[k] = word
    return state


@njit(**COMPILED)
@no_type_check
def _learn(read, outputs, targets, steps, change, rate):
    """Move the targets' rows, put what `read` (N, D) is to move by into `change`; give the loss.

    targets[0] is the word that is there, the others are noise. All products are taken before any
    row moves.
    """
    loss = 0.0
    for i in range(len(read)):
        for k in range(len(targets)):
            x, row = read[i], outputs[targets[k]]
            product = np.float32(0)
            for d in range(len(x)):
                product += x[d] * row[d]
            surprise = -product if k == 0 else product
            place = (surprise + np.float32(LIMIT)) * SCALE
            if place <= 0:
                slope = np.float32(0)
            elif place >= CELLS:
                slope = np.float32(1)
                loss += surprise
            else:
                cell = np.int64(place)
                rest = place - np.float32(cell)
                slope = SIGMOID[cell] + rest * (SIGMOID[cell + 1] - SIGMOID[cell])
                loss += SOFTPLUS[cell] + rest * (SOFTPLUS[cell + 1] - SOFTPLUS[cell])
            steps[i, k] = rate * slope if k == 0 else -rate * slope
    change[: len(read)] = 0
    for k in range(len(targets)):
        row = outputs[targets[k]]
        for i in range(len(read)):
            step, moved = steps[i, k], change[i]
            for d in range(len(row)):
                moved[d] += step * row[d]
        for i in range(len(read)):
            step, x = steps[i, k], read[i]
            for d in range(len(row)):
                row[d] += step * x[d]
    return loss


@njit(**COMPILED)
@no_type_check
def train(
    tokens, inputs, outputs, keep, probability, alias, negatives, window, dynamic, skipgram, rate,
    seed, totals,
):  # fmt: skip
    """Train on a piece of text, in place.

    Args:
        tokens: (T,) int32, −1 between texts.
        inputs, outputs: (V, D) float32, changed.
        keep: (V,) from `keep_probabilities`.
        probability, alias: (V,) from `alias_table`.
        window: words on either side; with `dynamic` drawn from 1 to this.
        skipgram: else continuous bag of words.
        rate: learning rate, float32.
        seed: of what is drawn, uint64.
        totals: (2,) float64; the loss in nats and the number of predictions are added.
    """
    state = _next(_next(seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x2545F4914F6CDD1D)))
    kept = np.empty(len(tokens), np.int32)
    targets = np.empty(negatives + 1, np.int64)
    steps = np.empty((2 * window, negatives + 1), np.float32)
    read = np.empty((2 * window, inputs.shape[1]), np.float32)
    change = np.empty_like(read)
    position = 0
    while position < len(tokens):
        position, count, state = _subsample(tokens, position, keep, kept, state)
        for center in range(count):
            reach = window
            if dynamic:
                state = _next(state)
                reach = 1 + np.int64((state >> np.uint64(33)) % np.uint64(window))
            first, last = max(0, center - reach), min(count, center + reach + 1)
            if last - first < 2:
                continue
            targets[0] = kept[center]
            state = _draw(targets, probability, alias, state)
            predictions = last - first - 1 if skipgram else 1
            share = np.float32(predictions) / np.float32(last - first - 1)
            read[:predictions] = 0
            for place in range(first, last):
                if place != center:
                    x = inputs[kept[place]]
                    row = read[place - first - (place > center) if skipgram else 0]
                    for d in range(len(x)):
                        row[d] += share * x[d]
            totals[0] += _learn(read[:predictions], outputs, targets, steps, change, rate)
            totals[1] += predictions
            for place in range(first, last):
                if place != center:
                    x = inputs[kept[place]]
                    row = change[place - first - (place > center) if skipgram else 0]
                    for d in range(len(x)):
                        x[d] += row[d]
