"""A training loop: it scores the model after each epoch and keeps the best one on disk."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet import Model, Optimizer, minibatch
from combinet.types import Array, Generator

Loss: TypeAlias = Callable[[Any, Any], tuple[Any, Any]]  # outputs, truths -> gradient, value


class Batch(NamedTuple):
    """The data of one step, and how many words or examples it contains."""

    X: Any
    truths: Any
    size: int


class Plan(NamedTuple):
    """How long training takes, and how its progress is shown."""

    epochs: int
    size: int  # words or examples in an epoch
    unit: str = "examples"
    score: str = "dev {:.4f}"  # how the score is shown


def fit(
    model: Model[Any, Any],
    epoch: Callable[[int], Iterator[Batch]],
    loss: Loss,
    sgd: Optimizer,
    score: Callable[[], float],
    plan: Plan,
    drop: float,
    path: Path,
    kept: Model[Any, Any] | None = None,
) -> None:
    """Trains an initialized model on the batches of `epoch(number)`, with numbers from 0.

    `loss` returns means over the batch. Each epoch ends with `score()`, which uses the running
    averages of the weights if the optimizer keeps them. If the score is the highest so far, the
    model is saved with the weights that were scored. `kept` is the part of the model to save; the
    whole model if None.
    """
    best = -np.inf
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(plan.epochs):
        total, size, start, line = 0.0, 0, time.perf_counter(), ""
        for batch in epoch(number):
            Y, backprop = model.begin_update(batch.X, drop=drop)
            dY, value = loss(Y, batch.truths)
            backprop(dY, sgd)
            total, size = total + float(value) * batch.size, size + batch.size
            speed = size / (time.perf_counter() - start)
            line = f"epoch {number + 1}/{plan.epochs}  {speed:7,.0f} {plan.unit}/s"
            line += f"  loss {total / size:.4f}"
            progress(f"{line}  {size / plan.size:4.0%}")
        with model.use_params(sgd.averages):
            reached = score()
            better = reached > best
            if better:
                best = reached
                (kept or model).to_disk(path, averages=False)
        shown = plan.score.format(reached)
        progress(f"{line}  {shown}{'  saved' if better else ''}", end="\n")


def batches(
    size: int, inputs: Sequence[list[Any]], truths: Array, rng: Generator
) -> Iterator[Batch]:
    """Yields one epoch of batches of `size` examples. Several inputs become a tuple."""
    for *X, T in minibatch(size, *inputs, truths, rng=rng):
        yield Batch(X[0] if len(X) == 1 else tuple(X), T, len(T))


def progress(line: str, end: str = "") -> None:
    """Prints a line. A terminal shows it in place of the last one; a file gets only final lines."""
    if end or sys.stdout.isatty():
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, end=end, flush=True)
