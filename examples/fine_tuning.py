"""Fine-tuning a model that has learned elsewhere: a few epochs of AdamW, a low rate with warmup."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from combinet import AdamW, Loss, Model, warmup_linear
from combinet.types import Array
from fitting import Plan, batches, fit

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
    steps = -(-len(truths) // BATCH)
    rate = warmup_linear(LEARN_RATE, epochs * steps // 10, epochs * steps)
    sgd = AdamW(rate, use_averages=False, sparse=True)

    def epoch(number: int) -> Any:
        return batches(BATCH, inputs, truths, rng)

    fit(model, epoch, loss, sgd, score, Plan(epochs, len(truths)), DROP, path, kept)
