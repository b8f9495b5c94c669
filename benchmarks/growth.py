"""Measures how time and memory grow with tokens, depth, parameters and the rows of a table.

    python benchmarks/growth.py [--seconds S] [--quick] [--plots DIR] [--json FILE]

The first part measures one training step and one prediction of a tagger on all tokens at once.
Times are the tenth percentile of processor time with one thread. Memory is the peak of the resident
set above its size before (Linux). It includes the pool of blocks for large arrays
(combinet/ops/workspace.py), but not the unused parts of these blocks, whose sizes are powers of
two. Each row runs in its own process. Parameters of the tables are not counted, because a token
reads only a few of their rows. The exponent is the slope of the upper half on logarithmic axes; 1
is linear.

The second part measures a training step of a text classifier with Adam(sparse=True). Its table has
50 thousand or 5 million rows (6 GB); both are measured in turn, first on the same ids, then with
each word's row drawn from the whole table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import measure
import models

LINEAR = 1.1  # the largest exponent that counts as linear, because large arrays leave the caches
ROWS = (50_000, 5_000_000)
COLUMNS = ("train, ms", "predict, ms", "train, MB", "predict, MB")
AXES: dict[str, list[tuple[int, int, int]]] = {  # tokens, width, depth
    "tokens": [(n * 1000, 32, 4) for n in (1, 2, 5, 10, 20, 50, 100, 200)],
    "depth": [(2000, 96, n) for n in (1, 2, 4, 8, 16, 32, 64)],
    "parameters": [(1000, n, 4) for n in (32, 64, 128, 256, 512, 1024)],
}


def resident(name: str) -> float:
    """Returns the size of the resident set in MB (VmRSS), or its peak (VmHWM)."""
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) / 1024


def tagger(tokens: int, width: int, depth: int, seconds: float) -> tuple[int, list[float]]:
    """Returns the number of parameters outside the tables, and the values for COLUMNS."""
    X, classes = measure.tagged(tokens)
    model = models.tagger(width, depth).initialize(X[:2])
    # A step on two documents loads all kernels and allocates Adam's state.
    train, predict, _ = models.steps(model, [(X, classes), (X[:2], classes[:2])])
    train(1)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which includes the setup
    (predicting,) = measure.clock(lambda _: predict(0), seconds=seconds)
    predicted = resident("VmHWM") - before
    (training,) = measure.clock(lambda _: train(0), seconds=seconds)
    named = ((node, name) for node in model.walk() for name in node.param_names)
    size = sum(node.get_param(name).size for node, name in named if name != "E")
    return size, [training, predicting, resident("VmHWM") - before, predicted]


def tables(apart: bool, seconds: float) -> list[float]:
    """Returns milliseconds of a sparse step for each of ROWS; `apart` scatters the rows."""
    rng = np.random.default_rng(0)
    batches = [np.split(measure.words(ROWS[0], 256 * 40, rng), 256) for _ in range(8)]
    steps = []
    for rows in ROWS:
        places = rng.permutation(rows)[: ROWS[0]] if apart else np.arange(rows)
        data = [([places[ids] for ids in X], rng.integers(0, 4, len(X))) for X in batches]
        train, _, _ = models.steps(models.textcat(rows).initialize(data[0][0]), data, sparse=True)
        for i in range(len(data)):  # the first use of these rows allocates Adam's state for them
            train(i)
        steps.append(train)
    return measure.clock(*steps, seconds=seconds)


def exponent(sizes: Any, values: Any) -> float:
    """Returns the slope over the upper half of the sizes, on logarithmic axes."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def plot(axis: str, sizes: list[int], rows: list[list[float]], folder: str) -> None:
    """Plots times against sizes, with a dotted line of linear growth through the last point."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": axis})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.5, 3.2), layout="constrained")
    for name, times in zip(("train", "predict"), zip(*rows, strict=True), strict=False):
        (line,) = axes.loglog(sizes, times, "o-", label=name)
        linear = [times[-1] * size / sizes[-1] for size in sizes]
        axes.loglog(sizes, linear, ":", color=line.get_color(), label=f"{name}, if linear")
    axes.set(xlabel=axis, ylabel="ms")
    axes.minorticks_off()
    axes.legend()
    figure.savefig(Path(folder) / f"growth-{axis}.svg", metadata={"Date": None})


def main() -> None:
    """Measures, prints, plots and writes the figures."""
    parser = measure.options(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each step of each row")
    parser.add_argument("--quick", action="store_true", help="leave out the largest sizes")
    parser.add_argument("--plots", metavar="DIR", help="folder for plots as SVG (needs matplotlib)")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    for axis, points in AXES.items():
        sizes, rows = [], []
        for tokens, width, depth in points[: -1 if given.quick else None]:
            size, row = measure.alone(tagger, tokens, width, depth, given.seconds)
            sizes.append({"tokens": tokens, "depth": depth, "parameters": size}[axis])
            rows.append(row)
        slopes = [exponent(sizes, column) for column in zip(*rows, strict=True)]
        table = [(size, *row) for size, row in zip(sizes, rows, strict=True)]
        measure.report((axis, *COLUMNS), [*table, ("exponent", *slopes)])
        print("Linear or less." if max(slopes) <= LINEAR else "NOT LINEAR.")
        figures[axis] = {"columns": [axis, *COLUMNS], "rows": table, "exponents": slopes}
        if given.plots:
            plot(axis, sizes, rows, given.plots)
    if not given.quick:
        both = [measure.alone(tables, apart, given.seconds) for apart in (False, True)]
        kinds = ("the same ids", "from the whole table")
        figures["rows"] = [
            (kind, *times, times[1] / times[0]) for kind, times in zip(kinds, both, strict=True)
        ]
        measure.report(("", *(f"{n:,} rows, ms" for n in ROWS), "ratio"), figures["rows"])
    measure.write(given.json, figures)


if __name__ == "__main__":
    main()
