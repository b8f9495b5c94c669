"""Shared parts of the benchmarks: clocks, separate processes, tables. Does not use combinet."""

from __future__ import annotations

import argparse
import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = (20_000, 3_000, 6_000, 2_000)  # words, prefixes, suffixes, shapes
HERE = str(Path(__file__).parent)


def tenth(times: Sequence[float]) -> float:
    """Returns the tenth percentile, which other work on the machine disturbs least."""
    return sorted(times)[len(times) // 10]


def clock(
    *steps: Callable[[int], Any],
    seconds: float,
    least: int = 5,
    now: Callable[[], float] = time.process_time,
) -> list[float]:
    """Returns milliseconds of each step. Calls the steps in turn with 0, 1, ..., first untimed."""
    times: list[list[float]] = [[] for _ in steps]
    for step in steps:
        step(0)
    stop = time.perf_counter() + seconds
    while len(times[0]) < least or time.perf_counter() < stop:
        for step, seen in zip(steps, times, strict=True):
            start = now()
            step(len(seen))
            seen.append((now() - start) * 1e3)
    return [tenth(seen) for seen in times]


def alone(function: Callable[..., Any], *args: Any, **environment: str) -> Any:
    """Calls a function of one of these files in a separate process and returns its result.

    Arguments and result are passed as JSON. BLAS has one thread unless `environment` overrides it.
    """
    name = Path(inspect.getfile(function)).stem
    program = (
        f"import json, sys; sys.path.insert(0, {HERE!r}); import {name}\n"
        f"print(json.dumps({name}.{function.__name__}(*json.loads(sys.argv[1]))))"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    env |= {f"{blas}_NUM_THREADS": "1" for blas in ("OMP", "OPENBLAS", "MKL")} | environment
    command = [sys.executable, "-c", program, json.dumps(args)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def words(vocabulary: int, n: int, rng: np.random.Generator) -> Any:
    """Returns n ids below `vocabulary`, whose frequencies fall like the frequencies of words."""
    shares = 1 / np.arange(1, vocabulary + 1)
    return rng.choice(vocabulary, n, p=shares / shares.sum())


def tagged(tokens: int) -> tuple[list[Any], list[Any]]:
    """Returns documents of 16 tokens with four hashed features each, and classes below 17."""
    rng = np.random.default_rng(0)
    features = np.stack([words(size, tokens, rng) for size in VOCABULARY], axis=1)
    keys = (features.astype("uint64") + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    ends = range(16, tokens, 16)
    return np.split(keys, ends), np.split(rng.integers(0, 17, tokens), ends)


def options(text: str | None) -> argparse.ArgumentParser:
    """Returns a command line parser with the option --json."""
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", metavar="FILE", help="also write all figures to this file")
    return parser


def report(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints a Markdown table."""
    cells = [columns, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = [
        " | ".join(f"{cell:>{n}}" for cell, n in zip(row, widths, strict=True)) for row in cells
    ]
    lines.insert(1, " | ".join("-" * n for n in widths))
    print("", *(f"| {line} |" for line in lines), sep="\n", flush=True)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write(path: str | None, figures: Any) -> None:
    """Writes figures to a file if `path` is not None."""
    if path:
        Path(path).write_text(json.dumps(figures, indent=1) + "\n")
