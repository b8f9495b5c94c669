"""Fine-tuning of a pretrained model: a few epochs of AdamW with a low rate and warmup."""

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
    """Trains an initialized model and saves `kept`, the model or a part of it, at `path`.

    `inputs` holds one list if the model takes a list, or several lists if it takes a tuple. Each
    epoch ends with `score()`; the epoch with the highest score is saved.
    """
    rng = np.random.default_rng(seed)
    model.initialize(rng=rng)  # keeps the weights and sets the generator of dropout
    steps = -(-len(truths) // BATCH)
    rate = warmup_linear(LEARN_RATE, epochs * steps // 10, epochs * steps)
    sgd = AdamW(rate, use_averages=False, sparse=True)

    def epoch(number: int) -> Any:
        return batches(BATCH, inputs, truths, rng)

    fit(model, epoch, loss, sgd, score, Plan(epochs, len(truths)), DROP, path, kept)
