"""Measures how long the start takes: the import, and the first training step of a tagger.

    python benchmarks/start.py [--runs N] [--json FILE]

The benchmark measures `import combinet` after `import numpy`, the first step with an empty folder
for Numba's cache, the first step with all kernels cached, and the tenth step. If Numba cannot write
to any cache, every process takes as long as with an empty one. Each run is a separate process. The
figures are minima, because other work on the machine only adds time.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import measure


def _clocked(call: Callable[[], Any]) -> tuple[float, float]:
    """Returns milliseconds of processor time and of wall time."""
    start = time.process_time(), time.perf_counter()
    call()
    return (time.process_time() - start[0]) * 1e3, (time.perf_counter() - start[1]) * 1e3


def importing() -> tuple[float, float]:
    """Measures the import after NumPy has been imported."""
    return _clocked(lambda: __import__("combinet"))


def stepping() -> list[tuple[float, float]]:
    """Measures the first and the tenth training step."""
    from models import steps, tagger  # imported here, because `importing` measures the import

    X, classes = measure.tagged(1000)
    train, _, _ = steps(tagger().initialize(X), [(X, classes)])
    return [_clocked(lambda: train(0)) for _ in range(10)][::9]


def main() -> None:
    """Measures, prints and writes the figures."""
    parser = measure.options(__doc__)
    parser.add_argument("--runs", type=int, default=11)
    given = parser.parse_args()
    measure.alone(importing)  # writes the bytecode
    seen: dict[str, list[tuple[float, float]]] = {
        "import combinet": [measure.alone(importing) for _ in range(given.runs)],
        "first step, nothing cached": [],
        "first step, kernels cached": [],
        "tenth step": [],
    }
    for _ in range(max(1, given.runs // 3)):
        with tempfile.TemporaryDirectory() as folder:
            for name in ("first step, nothing cached", "first step, kernels cached"):
                first, tenth = measure.alone(stepping, NUMBA_CACHE_DIR=folder)
                seen[name].append(first)
                seen["tenth step"].append(tenth)
    rows = [(name, *map(min, zip(*times, strict=True))) for name, times in seen.items()]
    measure.report(("", "processor, ms", "wall, ms"), rows)
    measure.write(given.json, seen)


if __name__ == "__main__":
    main()
