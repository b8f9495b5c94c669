"""Models made ready to run, and what is read from them."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.types import Array

SEED = 3


def ready(model: Any, X: Any = None) -> Any:
    return model.initialize(X, rng=SEED, dtype="float64")


def gradients(model: Any) -> list[Array]:
    """The gradients that wait, layer by layer."""
    return [slot.of(slot.store.gradient).copy() for slot in model.slots_by_path().values()]


def params_of(model: Any) -> dict[str, Any]:
    return {path: slot.view.copy() for path, slot in model.slots_by_path().items()}


def scale(value: float) -> Any:
    """A layer with one weight: Y = w * X + 0."""
    model = cb.Linear(1, 1, init_W=lambda shape, rng: np.full(shape, value))
    return model.initialize(dtype="float64")


def value_and_derivative(model: Any, X: Any) -> tuple[Any, Any]:
    Y, backprop = model.begin_update(X)
    return Y, backprop(np.ones_like(X))
