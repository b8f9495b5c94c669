"""Measures what a second thread gains, in Python or in BLAS, on an idle and on a busy machine.

    python benchmarks/threads.py [--seconds S] [--json FILE]

A tagger predicts 16 batches. It also adds up the gradients of 16 training passes on one model
before one update. The batches run one after the other, with one or two BLAS threads, or each is cut
in two by `with_threads`, or whole batches are divided between two threads. Times are the tenth
percentile of the wall time of all batches. The second half repeats this while another process keeps
one core busy.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import measure
import models
from combinet import Adam, with_threads

# The number of batches at once, the number of shards of each, and the number of BLAS threads.
WAYS = {
    "one thread": (1, 1, 1),
    "with_threads": (1, 2, 2),
    "whole batches divided": (2, 1, 1),
    "two BLAS threads": (1, 1, 2),
}
BATCHES = 16
BUSY = [sys.executable, "-c", "while True: pass"]


def batches(at_once: int, parts: int, seconds: float) -> list[float]:
    """Returns milliseconds of predicting and of training."""
    X, _ = measure.tagged(BATCHES * 1000)
    groups = [X[i::BATCHES] for i in range(BATCHES)]
    model: Any = with_threads(models.tagger(), parts).initialize(X[:10])
    sgd = Adam(use_averages=False)

    def collect(part: Any) -> None:
        Y, backprop = model.begin_update(part)
        backprop([np.full_like(y, 1e-3) for y in Y])

    with ThreadPoolExecutor(at_once) as pool:

        def predict(_: int) -> None:
            list(pool.map(model.predict, groups))

        def train(_: int) -> None:
            list(pool.map(collect, groups))
            model.finish_update(sgd)

        return measure.clock(predict, train, seconds=seconds, now=time.perf_counter)


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = measure.options(__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each row")
    given = parser.parse_args()
    rows: list[tuple[Any, ...]] = []
    for busy in (False, True):
        alone: list[float] = []
        for way, (at_once, parts, blas) in WAYS.items():
            other = subprocess.Popen(BUSY) if busy else None
            try:
                times = measure.alone(
                    batches, at_once, parts, given.seconds, OPENBLAS_NUM_THREADS=str(blas)
                )
            finally:
                if other:
                    other.kill()
                    other.wait()
            alone = alone or times
            gains = [one / now for one, now in zip(alone, times, strict=True)]
            name = f"{way}, one core busy" if busy else way
            rows.append((name, times[0], gains[0], times[1], gains[1]))
    columns = ("", "predict, ms", "gain", "train, ms", "gain")
    measure.report(columns, rows)
    measure.write(given.json, rows)


if __name__ == "__main__":
    main()
