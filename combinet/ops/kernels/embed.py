"""Tables of vectors: hashing, gathering, scattering."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.ops.kernels.compiled import kernel


@kernel
def hash_rows(keys: Any, offsets: Any, nV: int, rows: Any) -> None:
    """Key by key: of each mix the lower half, then the upper."""
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
def gather_sum(E: Any, rows: Any, Y: Any) -> None:
    """The first row is copied, the others are added."""
    for i in range(rows.shape[0]):
        y = Y[i]
        first = E[rows[i, 0]]
        for o in range(y.shape[0]):
            y[o] = first[o]
        for k in range(1, rows.shape[1]):
            e = E[rows[i, k]]
            for o in range(y.shape[0]):
                y[o] += e[o]


@kernel
def scatter_add(E: Any, rows: Any, Y: Any) -> None:
    """Row by row, in order."""
    for i in range(rows.shape[0]):
        y = Y[i]
        for k in range(rows.shape[1]):
            e = E[rows[i, k]]
            for o in range(y.shape[0]):
                e[o] += y[o]


@kernel
def write_rows(E: Any, rows: Any, Y: Any) -> None:
    """Row by row: a loop over the columns, since so short a one is better than a call."""
    for i in range(rows.shape[0]):
        e, y = E[rows[i]], Y[i]
        for o in range(y.shape[0]):
            e[o] = y[o]
