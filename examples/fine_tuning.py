"""Fine-tuning a model that has learned elsewhere: a few epochs of AdamW, a low rate with warmup."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from combinet import AdamW, Loss, Model, minibatch, warmup_linear
from combinet.types import Array
from training import progress

BATCH, LEARN_RATE, DROP = 32, 1e-4, 0.1


def fine_tune(
    model: Model[Any, Any],
    inputs: Sequence[list[Any]],
    truths: Array,
    loss: Loss,
    score: Callable[[], float],
    epochs: int,
    seed: int,
    kept: Model[Any, Any],
    path: Path,
) -> None:
    """Train an initialized model; keep `kept`, which is or is part of it, at `path` if it is best.

    `inputs` are what the model takes, a list, or the lists whose tuple it takes. Each epoch ends
    with `score()`, of which the highest is the best.
    """
    rng = np.random.default_rng(seed)
    model.initialize(rng=rng)  # the weights stay: this hands in the generator of dropout
    steps = epochs * -(-len(truths) // BATCH)
    rate = warmup_linear(LEARN_RATE, steps // 10, steps)
    sgd = AdamW(rate, use_averages=False, sparse=True)
    best = -np.inf
    path.parent.mkdir(parents=True, exist_ok=True)
    for epoch in range(1, epochs + 1):
        total, done, start, line = 0.0, 0, time.perf_counter(), ""
        for *X, T in minibatch(BATCH, *inputs, truths, rng=rng):
            Y, backprop = model.begin_update(X[0] if len(X) == 1 else tuple(X), drop=DROP)
            dY, value = loss(Y, T)
            backprop(dY, sgd)
            total, done = total + float(value) * len(T), done + len(T)
            speed = done / (time.perf_counter() - start)
            line = f"epoch {epoch}/{epochs}  {speed:5,.0f} examples/s  loss {total / done:.4f}"
            progress(f"{line}  {done / len(truths):4.0%}")
        reached = score()
        better = reached > best
        if better:
            best = reached
            kept.to_disk(path)
        progress(f"{line}  dev {reached:.4f}{'  saved' if better else ''}", end="\n")
