"""Kernels for tables of vectors: hashing, gathering, scattering."""

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import add, copy, kernel
from combinet.ops.kernels.prefetch import AHEAD, prefetch


@kernel
def hash_rows(keys: Any, offsets: Any, nV: int, rows: Any) -> None:
    """Key by key: for each mix first the lower half, then the upper half."""
    low, high, n = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(nV)
    for i in range(keys.shape[0]):
        row = rows[i]
        for pair in range(offsets.shape[0]):
            x = keys[i] + offsets[pair]
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x = x ^ (x >> np.uint64(31))
            row[2 * pair] = ((x & low) * n) >> high
            row[2 * pair + 1] = ((x >> high) * n) >> high


@kernel
def unique(ids: Any, table: Any, out: Any) -> Any:
    """Writes each distinct id into `out`, in order of first occurrence, and returns their number.

    `table` is full of -1. Its size is a power of 2 and at least twice the number of ids. An id goes
    to the first free place from the one that its hash names.

    Source: Fibonacci hashing, Knuth 1998, section 6.4.
    """
    mask, n = table.shape[0] - 1, 0
    for i in range(ids.shape[0]):
        number = np.int64(ids[i])
        place = (
            np.int64((np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
        )
        while table[place] != number:
            if table[place] < 0:
                table[place] = out[n] = number
                n += 1
                break
            place = (place + 1) & mask
    return n


@kernel
def gather_sum(E: Any, rows: Any, Y: Any) -> None:
    """Copies the first row and adds the others."""
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            prefetch(E, rows[min(i + AHEAD // 2, last), k])
        y = Y[i]
        copy(E[rows[i, 0]], y)
        for k in range(1, rows.shape[1]):
            add(E[rows[i, k]], y)


@kernel
def embed_bag(E: Any, ids: Any, lengths: Any, mean: Any, Y: Any) -> None:
    """Sequence by sequence. Adding four rows at a time reads and writes the sum less often."""
    place, last = 0, ids.shape[0] - 1
    for i in range(lengths.shape[0]):
        y, stop = Y[i], place + lengths[i]
        y[:] = 0
        while place + 4 <= stop:
            for k in range(4):
                prefetch(E, ids[min(place + AHEAD + k, last)])
            a, b, c, d = E[ids[place]], E[ids[place + 1]], E[ids[place + 2]], E[ids[place + 3]]
            for o in range(y.shape[0]):
                y[o] += a[o] + b[o] + c[o] + d[o]
            place += 4
        while place < stop:
            add(E[ids[place]], y)
            place += 1
        if mean:
            share = E.dtype.type(1 / max(lengths[i], 1))
            for o in range(y.shape[0]):
                y[o] *= share


@kernel
def scatter_bags(E: Any, ids: Any, lengths: Any, Y: Any) -> None:
    """Sequence by sequence, row by row."""
    start, last = 0, ids.shape[0] - 1
    for i in range(lengths.shape[0]):
        for place in range(start, start + lengths[i]):
            prefetch(E, ids[min(place + AHEAD, last)])
            add(Y[i], E[ids[place]])
        start += lengths[i]


@kernel
def set_rows(E: Any, rows: Any, Y: Any) -> None:
    """Row by row."""
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        prefetch(E, rows[min(i + AHEAD, last)])
        copy(Y[i], E[rows[i]])


@kernel
def fill_rows(E: Any, rows: Any, value: Any) -> None:
    """Row by row."""
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        prefetch(E, rows[min(i + AHEAD, last)])
        E[rows[i]] = value


@kernel
def scatter_add(E: Any, rows: Any, Y: Any) -> None:
    """Row by row, in order."""
    last = rows.shape[0] - 1
    for i in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            prefetch(E, rows[min(i + AHEAD // 2, last), k])
        for k in range(rows.shape[1]):
            add(Y[i], E[rows[i, k]])
