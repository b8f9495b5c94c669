"""Initialized models, and functions that read their parameters and gradients."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import combinet as cb
from combinet.types import Array

SEED = 3


def ready(model: Any, X: Any = None) -> Any:
    return model.initialize(X, rng=SEED, dtype="float64")


def named_params(model: Any) -> Iterator[tuple[str, Any, str]]:
    """The path, the layer and the name of each parameter that has a value."""
    for path, layer in model.paths().items():
        for name in layer.param_names:
            if layer.has_param(name):
                yield f"{path}.{name}", layer, name


def params_of(model: Any) -> dict[str, Any]:
    return {path: layer.get_param(name).copy() for path, layer, name in named_params(model)}


def set_params(model: Any, change: Callable[[Any], Any]) -> None:
    """Sets each parameter to `change(value)`."""
    for _, layer, name in named_params(model):
        layer.set_param(name, change(layer.get_param(name)))


def pending_gradients(model: Any) -> list[Array]:
    """The pending gradients in the order of the parameters.

    A buffer has no gradient; its value after the next update includes the passes' statistics.
    """
    updated = model.copy()
    updated.finish_update(cb.SGD(0.0))
    after = params_of(updated)
    return [
        layer.get_grad(name) if layer.has_grad(name) else after[path]
        for path, layer, name in named_params(model)
    ]


def has_gradients(model: Any) -> bool:
    return any(layer.has_grad(name) for _, layer, name in named_params(model))


def averages_of(model: Any, averages: Mapping[tuple[int, str], Any]) -> dict[str, Any]:
    """The averages of all parameters by path, from those of a model or an optimizer."""
    return {path: averages[layer.id, name] for path, layer, name in named_params(model)}


def scale(value: float) -> Any:
    """A layer with one weight: Y = w * X + 0."""
    model = cb.Linear(1, 1, init_W=lambda shape, rng: np.full(shape, value))
    return model.initialize(dtype="float64")


def value_and_derivative(model: Any, X: Any) -> tuple[Any, Any]:
    Y, backprop = model.begin_update(X)
    return Y, backprop(np.ones_like(X))


def train(model: Any, X: Any, target: Any, sgd: Any, steps: int = 3, together: bool = True) -> None:
    """Updates a model in the backward pass or, if not `together`, by finish_update."""
    for _ in range(steps):
        Y, backprop = model.begin_update(X)
        if together:
            backprop(Y - target, sgd)
        else:
            backprop(Y - target)
            model.finish_update(sgd)
