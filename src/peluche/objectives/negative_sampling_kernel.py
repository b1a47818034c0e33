"""Negative sampling compiled by numba: gradient and update in one pass over rows in cache.

Predictions that stand together share their negatives and move together, as in pWord2Vec (Ji et al.
2016, arXiv 1604.04661, §3.2): in skip-gram those of a window, in a continuous bag of words those
of `BAGS` windows side by side. The update is then a product of small matrices, and rows are fetched
from memory once for several predictions. No Python lock is held, so threads may share the tables.
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

# Windows of a continuous bag of words that share their negatives. Two are 1.2 times as fast, and
# lose a point of analogies and of MEN's correlation.
BAGS = 1

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
def _draw(noise, probability, alias, state):
    """Fill `noise` with words by chance."""
    size = np.uint64(len(probability))
    for k in range(len(noise)):
        state = _next(state)
        word = np.int64(((state >> np.uint64(32)) * size) >> np.uint64(32))
        if np.float32(state & np.uint64(0xFFFFFF)) * np.float32(2**-24) >= probability[word]:
            word = np.int64(alias[word])
        noise[k] = word
    return state


@njit(**COMPILED)
@no_type_check
def _surprise(product):
    """−log σ(product) and its slope, without its sign."""
    place = (np.float32(LIMIT) - product) * SCALE
    if place <= 0:
        return np.float32(0), np.float32(0)
    if place >= CELLS:
        return -product, np.float32(1)
    cell = np.int64(place)
    rest = place - np.float32(cell)
    loss = SOFTPLUS[cell] + rest * (SOFTPLUS[cell + 1] - SOFTPLUS[cell])
    return loss, SIGMOID[cell] + rest * (SIGMOID[cell + 1] - SIGMOID[cell])


@njit(**COMPILED)
@no_type_check
def _read(inputs, text, centers, firsts, lasts, read):
    """The mean of the words of each window but its center: (N, D)."""
    for i in range(len(read)):
        row = read[i]
        row[:] = 0
        words = 0
        for place in range(firsts[i], lasts[i]):
            if place != centers[i]:
                words += 1
                x = inputs[text[place]]
                for d in range(len(row)):
                    row[d] += x[d]
        if words > 1:
            share = np.float32(1) / np.float32(words)
            for d in range(len(row)):
                row[d] *= share


@njit(**COMPILED)
@no_type_check
def _dot(x, row):
    """Their inner product."""
    product = np.float32(0)
    for d in range(len(x)):
        product += x[d] * row[d]
    return product


@njit(**COMPILED)
@no_type_check
def _learn(read, words, outputs, noise, steps, change, rate):
    """Move the outputs, put what `read` (N, D) is to move by into `change`; give the loss.

    `words` (N,) are those that are there. All products are taken before any row moves. Noise that
    is the word itself does not count.
    """
    total = 0.0
    for i in range(len(read)):
        x, word = read[i], words[i]
        product = _dot(x, outputs[word])
        loss, slope = _surprise(product)
        total += loss
        steps[i, 0] = rate * slope
        for k in range(len(noise)):
            if noise[k] == word:
                steps[i, k + 1] = 0
            else:
                loss, slope = _surprise(-_dot(x, outputs[noise[k]]))
                total += loss
                steps[i, k + 1] = -rate * slope
    for i in range(len(read)):
        step, row, moved = steps[i, 0], outputs[words[i]], change[i]
        for d in range(len(moved)):
            moved[d] = step * row[d]
    for k in range(len(noise)):
        row = outputs[noise[k]]
        for i in range(len(read)):
            step, moved = steps[i, k + 1], change[i]
            for d in range(len(row)):
                moved[d] += step * row[d]
        for i in range(len(read)):
            step, x = steps[i, k + 1], read[i]
            for d in range(len(row)):
                row[d] += step * x[d]
    for i in range(len(read)):
        step, row, x = steps[i, 0], outputs[words[i]], read[i]
        for d in range(len(row)):
            row[d] += step * x[d]
    return total


@njit(**COMPILED)
@no_type_check
def _move(inputs, text, centers, firsts, lasts, change):
    """Each word of a window but its center moves by the window's whole change."""
    for i in range(len(change)):
        moved = change[i]
        for place in range(firsts[i], lasts[i]):
            if place != centers[i]:
                x = inputs[text[place]]
                for d in range(len(moved)):
                    x[d] += moved[d]


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
    text = np.empty(len(tokens), np.int32)
    noise = np.empty(negatives, np.int64)
    # What is read for a prediction: the words from first to last, but not the center.
    rows = 2 * window if skipgram else BAGS
    centers, firsts, lasts = np.empty((3, rows), np.int64)
    words = np.empty(rows, np.int64)
    steps = np.empty((rows, negatives + 1), np.float32)
    read = np.empty((rows, inputs.shape[1]), np.float32)
    change = np.empty_like(read)
    position = 0
    while position < len(tokens):
        position, count, state = _subsample(tokens, position, keep, text, state)
        n = 0
        for center in range(count):
            reach = window
            if dynamic:
                state = _next(state)
                reach = 1 + np.int64((state >> np.uint64(33)) % np.uint64(window))
            first, last = max(0, center - reach), min(count, center + reach + 1)
            if skipgram:
                for place in range(first, last):
                    if place != center:
                        centers[n], firsts[n], lasts[n] = center, place, place + 1
                        n += 1
            elif last - first > 1:
                centers[n], firsts[n], lasts[n] = center, first, last
                n += 1
            if n == 0 or not (skipgram or n == rows or center == count - 1):
                continue
            state = _draw(noise, probability, alias, state)
            for i in range(n):
                words[i] = text[centers[i]]
            _read(inputs, text, centers, firsts, lasts, read[:n])
            totals[0] += _learn(read[:n], words, outputs, noise, steps, change, rate)
            _move(inputs, text, centers, firsts, lasts, change[:n])
            totals[1] += n
            n = 0
