"""Compares Adam on 200 small parameters with Adam on one array of the same total size.

    python benchmarks/optimizer.py [--rounds N] [--json FILE]

Times are the tenth percentile of the processor time of `finish_update`, measured in turn.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import measure
from combinet import Adam, Embed, Linear, concatenate

MOST = 1.3  # the highest acceptable ratio of the two times
LAYERS = 100  # with two parameters each


def updates(width: int, rounds: int) -> list[float]:
    """Returns milliseconds of an update of W and b of LAYERS layers, and of a table as large."""
    many = concatenate(*(Linear(width, width) for _ in range(LAYERS)))
    numbers = LAYERS * width * (width + 1)
    pairs: list[tuple[Any, Any, Any]] = [
        (many.initialize(), np.ones((1, width), "f"), Adam()),
        (Embed(2, numbers // 2).initialize(), np.zeros(1, "int64"), Adam()),
    ]
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for (model, X, sgd), seen in zip(pairs, times, strict=True):
            Y, backprop = model.begin_update(X)
            backprop(np.ones_like(Y))
            del backprop  # otherwise the update would copy the weights that the pass holds
            start = time.process_time()
            model.finish_update(sgd)
            seen.append((time.process_time() - start) * 1e3)
    return [measure.tenth(seen) for seen in times]


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = measure.options(__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args()
    rows = []
    for width in (32, 64, 96, 128):
        many, one = measure.alone(updates, width, given.rounds)
        numbers = LAYERS * width * (width + 1)
        rows.append((numbers // (2 * LAYERS), numbers, many, one, many / one))
    columns = ("numbers in each", "in all", "200 parameters, ms", "one array, ms", "ratio")
    measure.report(columns, rows)
    least = min((row[0] for row in rows if row[-1] <= MOST), default=None)
    print(f"\nThe ratio is at most {MOST} from {least} numbers in each.")
    measure.write(given.json, [dict(zip(columns, row, strict=True)) for row in rows])


if __name__ == "__main__":
    main()
