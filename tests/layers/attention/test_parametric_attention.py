"""ParametricAttention with a key_transform, against PyTorch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, ragged
from helpers.errors import raises

torch = pytest.importorskip("torch")
from helpers.against_torch import F, assert_agrees, windows  # noqa: E402

LENGTHS = [2, 5, 0, 1, 3]


def attended(keys: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the layer in PyTorch; `keys(rows, *weights)` computes the keys of a sequence."""

    def reference(X: Any, Q: Any, *weights: Any) -> Any:
        parts = X.split(LENGTHS)
        return torch.cat([x * (keys(x, *weights) @ Q).softmax(0)[:, None] for x in parts])

    return reference


def wide(rows: Any, W: Any, b: Any) -> Any:
    return F.gelu(rows @ W.T + b)


def convolved(rows: Any, W: Any, b: Any) -> Any:
    return windows(rows, 1) @ W.T + b


TRANSFORMS = {
    "as-wide-as-X": (cb.Gelu, wide),
    "wider": (lambda: cb.Gelu(7), wide),
    "windows": (lambda: cb.expand_window(1) >> cb.Linear(4), convolved),
    "no-weights": (cb.relu, lambda rows: rows.relu()),
    "no-transform": (lambda: None, lambda rows: rows),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_key_transform_matches_pytorch(name: str) -> None:
    make, keys = TRANSFORMS[name]
    model = cb.ParametricAttention(key_transform=make())
    assert_agrees(model, ragged(*LENGTHS), attended(keys))


def sizes(model: Any) -> list[dict[str, int]]:
    return [node.dims for node in model.walk() if node.dims]


def test_widths_are_inferred_and_the_query_is_as_wide_as_the_keys() -> None:
    X = ragged(*LENGTHS)
    model = cb.ParametricAttention(key_transform=cb.Linear()).initialize(X)
    assert sizes(model) == [{"nI": 3, "nK": 3}, {"nI": 3, "nO": 3}]
    model = cb.ParametricAttention(key_transform=cb.Linear(5, 3)).initialize()
    assert sizes(model) == [{"nI": 3, "nK": 5}, {"nI": 3, "nO": 5}]
    assert model.get_param("Q").shape == (5,)


@pytest.mark.parametrize(
    ("make", "after"),
    [
        (lambda: cb.Linear(5), [{"nI": 4, "nK": 5}, {"nI": 4, "nO": 5}]),
        (cb.relu, [{"nI": 4, "nK": 4}]),
        (cb.LayerNorm, [{"nI": 4, "nK": 4}, {"nI": 4}]),
    ],
)
def test_resize_reaches_the_key_transform(make: Any, after: Any) -> None:
    X = ragged(*LENGTHS)
    for change in (cb.Model.resize_input, cb.Model.resize_output):
        model = cb.ParametricAttention(key_transform=make()).initialize(X, dtype="float64")
        change(model, 4)
        assert sizes(model) == after
        assert model.get_param("Q").shape == (after[0]["nK"],)


def test_resize_input_keeps_the_output_of_old_columns() -> None:
    X = ragged(*LENGTHS)
    model = cb.ParametricAttention(key_transform=cb.Gelu(5)).initialize(X, dtype="float64")
    before = model.predict(X).data
    wider = cb.Ragged(np.hstack([X.data, floats(11, 2, seed=1)]), LENGTHS)
    after = model.resize_input(5).predict(wider).data
    np.testing.assert_allclose(after[:, :3], before, rtol=1e-12)


@pytest.mark.parametrize("keys", [lambda X: X[:, :2], lambda X: X[1:], lambda X: [X]])
def test_keys_of_another_shape_are_refused(keys: Any) -> None:
    transform = cb.layerize(lambda X: (keys(X), lambda dY: dY))
    model = cb.ParametricAttention(3, key_transform=transform).initialize(dtype="float64")
    with raises(cb.DimensionError, "parametric_attention", "(11, 3)"):
        model.predict(ragged(*LENGTHS))


def test_invalid_key_transform_is_refused() -> None:
    with raises(cb.InputError, "parametric_attention", "str"):
        cb.ParametricAttention(3, key_transform="relu")  # type: ignore[arg-type]
    with raises(cb.DimensionError, "parametric_attention"):
        cb.ParametricAttention(3, key_transform=cb.Linear(4, 5))
