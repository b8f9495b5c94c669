"""Compares a layer's output and gradients with a PyTorch function, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.batches.structure import map_arrays
from helpers.models import named_params, params_of, set_params

torch = pytest.importorskip("torch")
F = torch.nn.functional


def leaf(X: Any) -> Any:
    """A tensor with the values of an array, or a list of tensors for a list."""
    if isinstance(X, list):
        return [leaf(x) for x in X]
    if isinstance(X, cb.Ragged):
        return leaf(X.data)
    return torch.tensor(np.array(X), requires_grad=X.dtype.kind == "f")


def arrays(X: Any) -> list[Any]:
    if isinstance(X, list):
        return X
    return [X.data] if isinstance(X, cb.Ragged) else [X]


def assert_close(found: Any, tensor: Any) -> None:
    np.testing.assert_allclose(found, tensor.detach().numpy(), rtol=1e-9, atol=1e-12)


def ready(model: Any, X: Any) -> tuple[Any, dict[str, Any]]:
    """The model with random weights, and tensors of these weights by path."""
    model.initialize(X, rng=1, dtype="float64")
    rng = np.random.default_rng(2)
    set_params(model, lambda W: rng.normal(size=W.shape))
    return model, {path: leaf(W) for path, W in params_of(model).items()}


def gradients(model: Any) -> dict[str, Any]:
    return {path: layer.get_grad(name) for path, layer, name in named_params(model)}


def assert_agrees(model: Any, X: Any, reference: Callable[..., Any]) -> None:
    """Checks Y, dX and all weight gradients against `reference(X, *weights)` and autograd."""
    model, weights = ready(model, X)
    Y, backprop = model.begin_update(X)
    rng = np.random.default_rng(3)
    dY = map_arrays(Y, lambda y: rng.normal(size=y.shape))
    dX = backprop(dY)
    inputs = leaf(X)
    outputs = reference(inputs, *weights.values())
    outputs = outputs if isinstance(outputs, list) else [outputs]
    torch.autograd.backward(outputs, [torch.tensor(each) for each in arrays(dY)])
    for found, expected in zip(arrays(Y), outputs, strict=True):
        assert_close(found, expected)
    if dX is not None:
        tensors = inputs if isinstance(inputs, list) else [inputs]
        for found, tensor in zip(arrays(dX), tensors, strict=True):
            assert_close(found, tensor.grad)
    for path, gradient in gradients(model).items():
        assert_close(gradient, weights[path].grad)


def windows(rows: Any, w: int) -> Any:
    """Each row of a sequence, joined with w neighbours on either side."""
    n = len(rows)
    if n == 0:
        return rows.repeat(1, 2 * w + 1)
    return F.pad(rows, (0, 0, w, w)).unfold(0, 2 * w + 1, 1).permute(0, 2, 1).reshape(n, -1)
