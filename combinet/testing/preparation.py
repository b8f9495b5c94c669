"""Models ready to be checked, and reads of their weights and gradients by public methods."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np

from combinet.batches.structure import map_arrays, to_device
from combinet.combinators.compose import chain
from combinet.core.model import Model
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.optimizers.sgd import SGD
from combinet.storage.file_format import to_host

SEED = 20170216

AnyModel: TypeAlias = Model[Any, Any]


def prepared(model: AnyModel, X: Any, ops: Ops | None, seed: int = SEED) -> tuple[AnyModel, Any]:
    """Returns copies of the model, with small random numbers added to its weights, and of X."""
    model = randomized(model.copy(), X, seed)
    if ops is not None and ops.device >= 0:
        model.to_gpu(ops.device)
    else:
        model._move(ops or default_ops())
    if type(model).begin_update is not Model.begin_update:
        model = chain(model)  # which gives it the arguments rng and wants_dX
    # deepcopy array by array: an array that occurs twice in X must become two arrays.
    return model, to_device(map_arrays(X, deepcopy), model.ops)


def randomized(model: AnyModel, X: Any, seed: int = SEED) -> AnyModel:
    """Initializes a model in float64 and adds small random numbers to its weights."""
    if all(layer.dtype in (None, np.float64) for layer in model.walk()):
        model.initialize(X, rng=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    for _, layer, name in parameters(model):
        W = to_host(layer.get_param(name))
        layer.set_param(name, W + rng.normal(0, 0.1, W.shape))
    return model


def parameters(model: AnyModel) -> Iterator[tuple[str, AnyModel, str]]:
    """The path, the layer and the name of each parameter that has a value."""
    for path, layer in model.paths().items():
        for name in layer.param_names:
            if layer.has_param(name):
                yield f"{path}.{name}", layer, name


def weights(model: AnyModel) -> dict[str, Any]:
    """Returns the weights on the host by path."""
    return {path: to_host(layer.get_param(name)) for path, layer, name in parameters(model)}


def gradients(model: AnyModel) -> dict[str, Any]:
    """Returns the accumulated gradients on the host by path. Buffers have none."""
    return {
        path: to_host(layer.get_grad(name))
        for path, layer, name in parameters(model)
        if layer.has_grad(name)
    }


def observations(model: AnyModel) -> dict[str, Any]:
    """Returns by path the means of what the passes observed for buffers since the last update.

    An update moves a buffer by its rate toward this mean. So the mean follows from the values of a
    copy before and after an update.
    """
    rates = {p: layer.param(name).ema_rate for p, layer, name in parameters(model)}
    if not any(rate is not None for rate in rates.values()):
        return {}
    before, updated = weights(model), model.copy()
    updated.finish_update(SGD(0.0))
    after = weights(updated)
    return {
        path: before[path] + (after[path] - before[path]) / rate
        for path, rate in rates.items()
        if rate is not None and not np.array_equal(after[path], before[path])
    }
