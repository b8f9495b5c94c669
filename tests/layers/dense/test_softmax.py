"""Softmax, MultiSoftmax and softmax_activation: against PyTorch; their settings."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

torch = pytest.importorskip("torch")
F = torch.nn.functional

from helpers.against_torch import assert_agrees  # noqa: E402


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_temperature_divides_the_scores(temperature: float) -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return (F.linear(X, W, b) / temperature).softmax(dim=-1)

    assert_agrees(cb.Softmax(4, temperature=temperature), floats(7, 5), reference)


def test_numpy_scalar_as_temperature_keeps_the_dtype() -> None:
    X = floats(2, 3).astype("f")
    Y, backprop = cb.Softmax(4, 3, temperature=np.float64(2)).initialize().begin_update(X)
    assert Y.dtype == backprop(Y).dtype == np.float32


def test_logits_match_pytorch() -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return F.linear(X, W, b) / 3

    assert_agrees(cb.Softmax(4, normalize_outputs=False, temperature=3.0), floats(7, 5), reference)


def test_softmax_of_the_logits_gives_the_probabilities() -> None:
    model, X = cb.Softmax(4, init_W=cb.glorot_uniform, temperature=2.0), floats(7, 5)
    expected = model.initialize(X, dtype="float64").predict(X)
    model.attrs["softmax_normalize"] = False
    logits = torch.tensor(model.predict(X))
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, rtol=1e-12)


def test_settings_are_saved() -> None:
    X = floats(7, 5)
    model = cb.Softmax(4, 5, init_W=cb.glorot_uniform, temperature=2.0).initialize(dtype="float64")
    other = cb.Softmax().from_bytes(model.to_bytes())
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_invalid_temperature_is_refused(temperature: float) -> None:
    with raises(cb.InputError, "softmax", "temperature"):
        cb.Softmax(temperature=temperature)


def test_softmax_activation_matches_pytorch() -> None:
    assert_agrees(cb.softmax_activation(), floats(2, 4, 3), lambda X: X.softmax(dim=-1))


SIZES = [3, 1, 4]


def grouped(X: Any, W: Any, b: Any) -> Any:
    groups = F.linear(X, W, b).split(SIZES, dim=1)
    return torch.cat([group.softmax(dim=1) for group in groups], dim=1)


def test_multi_softmax_matches_pytorch() -> None:
    assert_agrees(cb.MultiSoftmax(SIZES), floats(7, 5), grouped)


def test_multi_softmax_of_one_group_equals_softmax() -> None:
    X = floats(7, 5)
    models = [make.initialize(X, rng=1, dtype="float64") for make in
              (cb.MultiSoftmax([4], init_W=cb.glorot_uniform),
               cb.Softmax(4, init_W=cb.glorot_uniform))]  # fmt: skip
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))


def test_multi_softmax_is_as_wide_as_its_groups_together() -> None:
    assert cb.MultiSoftmax(SIZES).get_dim("nO") == 8
    with raises(cb.DimensionError, "multi_softmax", "nO=8", "[3, 1, 4]"):
        cb.MultiSoftmax(SIZES) >> cb.Linear(2, 7)


def test_resize_output_of_multi_softmax_fails() -> None:
    model = cb.MultiSoftmax(SIZES, 5).initialize()
    data = model.to_bytes()
    with raises(cb.DimensionError, "multi_softmax", "nO=8"):
        model.resize_output(9)
    assert model.to_bytes() == data
    assert model.resize_input(6).predict(np.zeros((2, 6), "f")).shape == (2, 8)


@pytest.mark.parametrize("sizes", [[], [2, 0], [1.5]])
def test_invalid_groups_are_refused(sizes: Any) -> None:
    with raises(cb.InputError, "multi_softmax"):
        cb.MultiSoftmax(sizes)
