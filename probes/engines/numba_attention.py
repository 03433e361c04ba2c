"""Decode attention over a cache of slots, and root-mean-square norms; for probe processes only."""

from __future__ import annotations

import numpy as np
from numba import prange

from probes.engines.numba_bits import float_of_bits, kernel, parallel_kernel, put, widen

__all__ = ["CHUNK", "absorb", "attend", "exponential", "leave", "normalise", "place"]

CHUNK = 128  # tokens that one task reads: enough tasks for all cores, also for one sequence


@parallel_kernel
def attend(q, keys, values, slots, lengths, tops, sums, parts, y):  # type: ignore[no-untyped-def]
    """y (rows, heads, dimension) of one token per row; keys, values (slots, kv heads, tokens, dimension).

    Row r sees tokens 0 ... lengths[r] of slot slots[r]. Each chunk of tokens gives a maximum, a sum and a weighted sum;
    the second loop joins them ("flash decoding", Dao et al. 2023). Scratch: tops and sums (tasks, group), parts (tasks,
    group, dimension), for rows x kv heads x chunks tasks; sums and parts are zero at the start.
    """
    rows, heads = q.shape[:2]
    kv_heads = keys.shape[1]
    group, chunks = heads // kv_heads, tops.shape[0] // (rows * kv_heads)
    for task in prange(rows * kv_heads * chunks):
        r, kv, chunk = task // (kv_heads * chunks), task // chunks % kv_heads, task % chunks
        begin, end = chunk * CHUNK, min((chunk + 1) * CHUNK, lengths[r] + 1)
        if begin < end:
            _chunk(
                q[r, kv * group : (kv + 1) * group], keys[slots[r], kv, begin:end], values[slots[r], kv, begin:end],
                tops[task], sums[task], parts[task],
            )  # fmt: skip
    for task in prange(rows * heads):
        r, head = task // heads, task % heads
        first = (r * kv_heads + head // group) * chunks
        _join(tops, sums, parts, first, chunks, head % group, y[r, head])


@kernel
def _chunk(q, keys, values, top, total, part):  # type: ignore[no-untyped-def]
    tokens = keys.shape[0]
    scores = np.zeros((q.shape[0], (tokens + 3) // 4 * 4), np.float32)
    _score(q, keys, scores)
    for h in range(scores.shape[0]):
        row, highest, sum_ = scores[h], np.float32(-np.inf), np.float32(0)
        for t in range(tokens):
            highest = max(highest, row[t])
        for t in range(tokens):
            row[t] = exponential(row[t] - highest)
            sum_ += row[t]
        row[tokens:] = 0
        top[h], total[h] = highest, sum_
    _mix(scores, values, part)


@kernel
def _score(q, keys, scores):  # type: ignore[no-untyped-def]
    """scores (group, tokens) = q (group, dimension) . keys (tokens, dimension) / sqrt(dimension), four at once."""
    group, dim = q.shape
    scale = np.float32(1 / np.sqrt(dim))
    query, lines = np.empty((group, dim), np.float32), np.empty((4, dim), np.float32)
    for h in range(group):
        for d in range(dim):
            query[h, d] = widen(q[h, d]) * scale
    for first in range(0, keys.shape[0], 4):
        _widen_four(keys, first, lines)
        line0, line1, line2, line3 = lines[0], lines[1], lines[2], lines[3]
        for h in range(group):
            wanted = query[h]
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for d in range(dim):
                s0 += wanted[d] * line0[d]
                s1 += wanted[d] * line1[d]
                s2 += wanted[d] * line2[d]
                s3 += wanted[d] * line3[d]
            row = scores[h, first : first + 4]
            row[0], row[1], row[2], row[3] = s0, s1, s2, s3


@kernel
def _mix(scores, values, part):  # type: ignore[no-untyped-def]
    """part (group, dimension) += scores (group, tokens) @ values (tokens, dimension), four tokens at once."""
    dim = values.shape[1]
    lines = np.empty((4, dim), np.float32)
    for first in range(0, values.shape[0], 4):
        _widen_four(values, first, lines)
        line0, line1, line2, line3 = lines[0], lines[1], lines[2], lines[3]
        for h in range(scores.shape[0]):
            row, target = scores[h, first : first + 4], part[h]
            w0, w1, w2, w3 = row[0], row[1], row[2], row[3]
            for d in range(dim):
                target[d] += w0 * line0[d] + w1 * line1[d] + w2 * line2[d] + w3 * line3[d]


@kernel
def _widen_four(entries, first, lines):  # type: ignore[no-untyped-def]
    """lines (4, dimension) = the entries from `first`; beyond the end the last one again."""
    for k in range(4):
        entry, line = entries[min(first + k, entries.shape[0] - 1)], lines[k]
        for d in range(line.shape[0]):
            line[d] = widen(entry[d])


@kernel
def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x) of a float32 <= 0 to 3e-7, without a call, so that loops over it vectorise.

    2^(whole + rest) with the series of 2^rest around 0 for |rest| <= 1/2.
    """
    power = max(x, np.float32(-87)) * np.float32(1.4426950408889634)
    whole = np.floor(power + np.float32(0.5))
    rest = (power - whole) * np.float32(0.6931471805599453)
    series = np.float32(1 / 720) + rest * np.float32(1 / 5040)
    series = np.float32(1 / 120) + rest * series
    series = np.float32(1 / 24) + rest * series
    series = np.float32(1 / 6) + rest * series
    series = np.float32(0.5) + rest * series
    series = np.float32(1) + rest * (np.float32(1) + rest * series)
    return series * float_of_bits(np.uint32(np.int32(whole) + np.int32(127)) << np.uint32(23))


@kernel
def _join(tops, sums, parts, first, chunks, head, y):  # type: ignore[no-untyped-def]
    highest = np.float32(-np.inf)
    for c in range(first, first + chunks):
        highest = max(highest, tops[c, head])
    total, joined = np.float32(0), np.zeros(y.shape[0], np.float32)
    for c in range(first, first + chunks):
        if sums[c, head] > 0:
            factor = np.exp(tops[c, head] - highest)
            total += sums[c, head] * factor
            for d in range(y.shape[0]):
                joined[d] += parts[c, head, d] * factor
    for d in range(y.shape[0]):
        put(y, d, joined[d] / total)


@kernel
def normalise(x, weight, epsilon, y):  # type: ignore[no-untyped-def]
    """y (rows, width) = x / root mean square of each row * weight."""
    width = x.shape[1]
    for r in range(x.shape[0]):
        row, target, total = x[r], y[r], np.float32(0)
        for j in range(width):
            value = widen(row[j])
            total += value * value
        factor = np.float32(1) / np.sqrt(total / np.float32(width) + np.float32(epsilon))
        for j in range(width):
            put(target, j, widen(row[j]) * factor * widen(weight[j]))


@parallel_kernel
def absorb(q, k_b, y):  # type: ignore[no-untyped-def]
    """y (rows, heads, rank) = q (rows, heads, nope) times k_b (heads, nope, rank), per head."""
    for head in prange(q.shape[1]):
        total = np.empty(k_b.shape[2], np.float32)
        for r in range(q.shape[0]):
            total[:] = 0
            for i in range(q.shape[2]):
                row, value = k_b[head, i], widen(q[r, head, i])
                for d in range(row.shape[0]):
                    total[d] += value * widen(row[d])
            target = y[r, head]
            for d in range(total.shape[0]):
                put(target, d, total[d])


@parallel_kernel
def leave(x, v_b, y):  # type: ignore[no-untyped-def]
    """y (rows, heads, v) = x (rows, heads, rank) times v_b (heads, v, rank), per head."""
    for head in prange(x.shape[1]):
        for r in range(x.shape[0]):
            given, target = x[r, head], y[r, head]
            for i in range(target.shape[0]):
                row, total = v_b[head, i], np.float32(0)
                for d in range(row.shape[0]):
                    total += widen(given[d]) * widen(row[d])
                put(target, i, total)


@kernel
def place(x, norms, epsilon, cosine, sine, slots, lengths, q, keys, values):  # type: ignore[no-untyped-def]
    """Split x (rows, (heads + 2 kv heads) x dimension) into q (rows, heads, dimension), and the next key and value of
    each row's slot; queries and keys normalised (norms (2, dimension) or empty) and turned by the row's angle.
    """
    heads, kv_heads, dim = q.shape[1], keys.shape[1], q.shape[2]
    line = np.empty(dim, np.float32)
    for r in range(x.shape[0]):
        for h in range(heads + kv_heads):
            part = x[r, h * dim : (h + 1) * dim]
            for d in range(dim):
                line[d] = widen(part[d])
            if norms.shape[0]:
                _scale(line, norms[0 if h < heads else 1], epsilon)
            if h < heads:
                _turn(line, cosine[r], sine[r], q[r, h])
            else:
                _turn(line, cosine[r], sine[r], keys[slots[r], h - heads, lengths[r]])
        for h in range(kv_heads):
            first = (heads + kv_heads + h) * dim
            values[slots[r], h, lengths[r], :] = x[r, first : first + dim]


@kernel
def _scale(line, weight, epsilon):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for d in range(line.shape[0]):
        total += line[d] * line[d]
    factor = np.float32(1) / np.sqrt(total / np.float32(line.shape[0]) + np.float32(epsilon))
    for d in range(line.shape[0]):
        line[d] = line[d] * factor * widen(weight[d])


@kernel
def _turn(line, cosine, sine, target):  # type: ignore[no-untyped-def]
    half = line.shape[0] // 2
    for d in range(half):
        first, second, c, s = line[d], line[d + half], widen(cosine[d]), widen(sine[d])
        put(target, d, first * c - second * s)
        put(target, d + half, second * c + first * s)
