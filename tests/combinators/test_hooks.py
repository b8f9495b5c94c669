"""Checkpointing, highway and debugging wrappers, compared with the plain layer and PyTorch."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import close, floats
from helpers.errors import raises
from helpers.models import SEED, pending_gradients, ready

# -- checkpointed ---------------------------------------------------------------------------------


def _deep() -> Any:
    return (cb.Maxout(4, 3) >> cb.Dropout()) >> cb.checkpointed(cb.noop()) >> cb.Gelu(4)


def _step(model: Any, X: Any, dY: Any, between: Any = None) -> Any:
    rng = np.random.default_rng(SEED)
    Y, backprop = model.begin_update(X, drop=0.5, rng=rng)
    after = rng.random()
    if between is not None:
        between(rng)
    return Y, backprop(dY), pending_gradients(model), after


def test_checkpointed_equals_its_layer_including_dropout() -> None:
    X, dY = floats(20, 3), floats(20, 4)
    plain = ready(_deep(), X)
    model = cb.checkpointed(plain.copy())
    for found, expected in zip(_step(model, X, dY), _step(plain, X, dY), strict=True):
        if isinstance(expected, list):
            assert all(gradient.any() for gradient in expected)
            expected, found = np.concatenate(expected, None), np.concatenate(found, None)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))


def test_checkpointed_ignores_draws_and_updates_between_its_passes() -> None:
    X, dY = floats(20, 3), floats(20, 4)
    plain = ready(_deep(), X)
    model = cb.checkpointed(plain.copy())

    def disturb(rng: Any) -> None:
        rng.random(7)
        model.begin_update(X)[1](dY, cb.SGD(0.5))

    Y, dX, found, _ = _step(model, X, dY, disturb)
    Y2, dX2, expected, _ = _step(plain, X, dY)
    np.testing.assert_array_equal(Y, Y2)
    np.testing.assert_array_equal(dX, dX2)
    np.testing.assert_array_equal(np.concatenate(found, None), np.concatenate(expected, None))


def test_checkpointed_repeats_masks_if_other_threads_draw() -> None:
    rng = np.random.default_rng(SEED)

    def elsewhere(X: Any) -> Any:
        rng.integers(2**32, size=3)  # as another thread might do with the shared generator
        return X, lambda dY: dY

    inner = cb.Dropout(0.5) >> cb.layerize(elsewhere) >> cb.Dropout(0.5)
    Y, backprop = cb.checkpointed(inner).begin_update(np.ones((20, 3)), rng=rng)
    assert 0 < (Y == 0).mean() < 1
    np.testing.assert_array_equal(backprop(np.ones((20, 3))), Y)


def test_checkpointed_frees_inner_outputs_between_its_passes() -> None:
    kept: list[Any] = []

    def forward(X: Any) -> Any:
        Y = X * 2
        kept.append(weakref.ref(Y))
        return Y, lambda dY: dY * 2 + 0 * Y

    inner = cb.layerize(forward) >> cb.layerize(lambda X: (X + 1, lambda dY: dY))
    for model, alive in ((inner, True), (cb.checkpointed(inner), False)):
        kept.clear()
        _, backprop = model.begin_update(floats(3, 2))
        gc.collect()
        assert (kept[0]() is not None) == alive
        close(backprop(np.ones((3, 2))), np.full((3, 2), 2.0))


def test_checkpointed_fails_without_weights() -> None:
    with raises(cb.StateError, "linear"):
        cb.checkpointed(cb.Linear(2, 3)).begin_update(floats(4, 3))


# -- highway --------------------------------------------------------------------------------------


def test_highway_matches_pytorch() -> None:
    torch: Any = pytest.importorskip("torch")
    X, dY = floats(6, 3), floats(6, 3, seed=1)
    model = ready(cb.highway(cb.Linear(3), cb.Linear(3) >> cb.sigmoid_activation()), X)
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    named = [(node, name) for node in model.walk() for name in node.param_names]
    T = torch.tensor(X, requires_grad=True)
    weights = [torch.tensor(node.get_param(name), requires_grad=True) for node, name in named]
    W, b, gate_W, gate_b = weights
    gate = torch.sigmoid(T @ gate_W.T + gate_b)
    expected = gate * (T @ W.T + b) + (1 - gate) * T
    expected.backward(torch.tensor(dY))
    close(Y, expected.detach())
    close(dX, T.grad)
    for (node, name), weight in zip(named, weights, strict=True):
        close(node.get_grad(name), weight.grad)


def test_highway_with_closed_and_open_gate() -> None:
    X = floats(4, 3)
    for value, expected in ((0.0, X), (1.0, np.maximum(X, 0))):
        gate = cb.layerize(lambda X, value=value: (np.full_like(X, value), np.zeros_like))
        np.testing.assert_array_equal(cb.highway(cb.relu(), gate).predict(X), expected)


def test_highway_has_equal_widths_everywhere() -> None:
    model = ready(cb.highway(cb.Relu(), cb.Linear(5)))
    assert (model.get_dim("nI"), model.layers[0].get_dim("nO")) == (5, 5)
    with raises(cb.DimensionError, "4"):
        cb.highway(cb.Linear(4, 4), cb.Linear(5))
    assert model.resize_output(6).predict(floats(2, 6)).shape == (2, 6)


# -- debugging ------------------------------------------------------------------------------------


def test_with_debug_calls_before_each_pass() -> None:
    log: list[Any] = []
    model = cb.with_debug(
        cb.relu(),
        "watched",
        on_forward=lambda layer, X, is_train: log.append((layer.name, X.shape, is_train)),
        on_backprop=lambda dY: log.append(dY.shape),
    )
    model.predict(floats(2, 3))
    _, backprop = model.begin_update(floats(4, 3))
    backprop(floats(4, 3))
    assert log == [("relu", (2, 3), False), ("relu", (4, 3), True), (4, 3)]
    assert list(model.paths()) == ["watched", "watched >> relu"]


class MarkingOps(cb.NumpyOps):
    """Ops that record the ranges that a profiler would see."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Any] = []

    @contextmanager
    def profile_range(self, name: str, color: int = -1) -> Iterator[None]:
        self.log.append((name, color))
        try:
            yield
        finally:
            self.log.append("end")


def test_with_nvtx_range_marks_both_passes() -> None:
    model = cb.with_nvtx_range(cb.relu(), forward_color=3) >> cb.with_nvtx_range(cb.gelu(), "g")
    ops = MarkingOps()
    for node in model.walk():
        node.ops = ops
    _, backprop = model.begin_update(floats(2, 3))
    backprop(floats(2, 3))
    names = [("relu forward", 3), ("g forward", -1), ("g backprop", -1), ("relu backprop", -1)]
    assert ops.log == [each for name in names for each in (name, "end")]


def test_nvtx_range_ends_after_an_error() -> None:
    def fail(X: Any) -> Any:
        raise cb.InputError("no")

    ops, model = MarkingOps(), cb.with_nvtx_range(cb.layerize(fail))
    for node in model.walk():
        node.ops = ops
    with raises(cb.InputError, "no", "'with_nvtx_range >> fail'"):
        model.predict(floats(2))
    assert ops.log == [("fail forward", -1), "end"]
