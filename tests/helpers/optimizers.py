"""Small models, functions that train them, and PyTorch's optimizers for comparison."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.storage import file_format
from helpers.arrays import floats
from helpers.models import named_params, params_of


def make_parts(n: int = 3) -> list[Any]:
    return [cb.Linear(4, 4) for _ in range(n)]


def initialized(*models: Any) -> None:
    for seed, model in enumerate(models):
        model.initialize(rng=seed, dtype="float64")


def whole() -> tuple[Any, list[Any]]:
    """A model with one store for all layers."""
    parts = make_parts()
    model = cb.chain(*parts)
    initialized(model)
    return model, parts


def apart() -> tuple[Any, list[Any]]:
    """A model with a separate store for each layer."""
    parts = make_parts()
    initialized(*parts)
    return cb.chain(*parts), parts


def part_of_more() -> tuple[Any, list[Any]]:
    """A model of the first, third and fourth of five layers that share a store."""
    parts = make_parts(5)
    initialized(cb.chain(*parts))
    chosen = [parts[0], parts[2], parts[3]]
    return cb.chain(*chosen), chosen


layouts = pytest.mark.parametrize("layout", [whole, apart, part_of_more])


def add_gradients(model: Any, seed: int) -> None:
    """Makes a forward and a backward pass with random input and output gradient."""
    Y, backprop = model.begin_update(floats(3, 4, seed=seed))
    backprop(floats(*Y.shape, seed=seed + 1000))


def train(model: Any, sgd: Any, seeds: Any) -> None:
    for seed in seeds:
        add_gradients(model, seed)
        model.finish_update(sgd)


def weights(model: Any) -> dict[str, Any]:
    return params_of(model)


def gradients(model: Any) -> Iterator[Any]:
    for _, layer, name in named_params(model):
        yield layer.get_grad(name) if layer.has_grad(name) else None


def state_of(optimizer: Any, model: Any) -> dict[str, dict[str, Any]]:
    """Copies of the optimizer's arrays for each updated parameter, by path."""
    content = file_format.decode("optimizer", optimizer.to_bytes(model))
    return {path: saved["arrays"] for path, saved in content["kept"].items()}


def assert_same(found: dict[Any, Any], expected: dict[Any, Any], within: float = 1e-9) -> None:
    assert found.keys() == expected.keys()
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], rtol=within, atol=within / 1000)


def assert_identical(found: dict[Any, Any], expected: dict[Any, Any]) -> None:
    assert_same(found, expected, within=0)


RATE = 0.003


def falling(step: int) -> float:
    return RATE / (1 + 0.05 * step)


class Twin:
    """PyTorch parameters updated by a PyTorch optimizer with a model's accumulated gradients."""

    def __init__(self, model: Any, name: str, **options: Any) -> None:
        self.torch = pytest.importorskip("torch")
        self.model = model
        self.params = {path: self._param(W) for path, W in weights(model).items()}
        self.optim = getattr(self.torch.optim, name)(self.params.values(), **options)

    def _param(self, W: Any) -> Any:
        return self.torch.nn.Parameter(self.torch.tensor(W))

    def step(self, clip: float = 0.0, rate: float | None = None) -> None:
        for param, gradient in zip(self.params.values(), gradients(self.model), strict=True):
            param.grad = None if gradient is None else self.torch.tensor(gradient)
        found = [param.grad for param in self.params.values() if param.grad is not None]
        norm = float(self.torch.nn.utils.get_total_norm(found))
        for gradient in found if clip and norm > clip else []:
            gradient *= clip / norm  # clip_grad_norm_ would add 1e-6 to the norm
        for group in self.optim.param_groups:
            group["lr"] = group["lr"] if rate is None else rate
        self.optim.step()

    def weights(self) -> dict[str, Any]:
        return {path: param.detach().numpy() for path, param in self.params.items()}


class Counting(cb.SGD):
    """SGD that counts its calls of `apply`."""

    calls = 0

    def apply(self, *args: Any) -> None:
        self.calls += 1
        super().apply(*args)
