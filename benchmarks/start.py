"""What it takes to begin: the import, and the first training step of a tagger.

    python benchmarks/start.py [--runs N] [--json FILE]

`import combinet` on top of `import numpy`; then the first step with no compiled kernel in Numba's
cache (an empty folder), which is also what every process pays where no cache can be written; the
first step with all of them there; and a step later on. Each run is a process of its own; the least
of them counts, since other work only adds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import Any

import measure


def _clocked(call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of processor time and of the wall clock."""
    start = time.process_time(), time.perf_counter()
    call()
    return (time.process_time() - start[0]) * 1e3, (time.perf_counter() - start[1]) * 1e3


def importing() -> tuple[float, float]:
    """The import, when NumPy is there already."""
    return _clocked(lambda: __import__("combinet"))


def stepping() -> list[tuple[float, float]]:
    """The first step of training and the tenth."""
    from models import steps, tagger  # only here: `importing` measures the import

    X, classes = measure.tagged(1000)
    train, _, _ = steps(tagger().initialize(X), [(X, classes)])
    return [_clocked(lambda: train(0)) for _ in range(10)][::9]


def main() -> None:
    """Measure, print, write."""
    parser = measure.options(__doc__)
    parser.add_argument("--runs", type=int, default=11)
    given = parser.parse_args()
    measure.alone(importing)  # which writes the bytecode
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
