"""Adafactor: against torch.optim.Adafactor; its state after saving, copying, resizing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import averages_of
from helpers.optimizers import (
    RATE,
    Twin,
    add_gradients,
    assert_identical,
    assert_same,
    falling,
    gradients,
    layouts,
    state_of,
    train,
    weights,
    whole,
)

PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "decay": ({"L2": 0.2}, {"weight_decay": 0.2}),
    "slow": ({"beta2_decay": -0.3, "d": 1.7}, {"beta2_decay": -0.3, "d": 1.7}),
    "eps": ({"eps": (0.5, 0.9)}, {"eps": (0.5, 0.9)}),
    "beta2-0": ({"beta2_decay": 0}, {"beta2_decay": 0}),
}
pairs = pytest.mark.parametrize("pair", PAIRS)


def param_state(optimizer: Any, layer: Any, name: str) -> dict[str, Any]:
    return state_of(optimizer, layer)[f"{layer.name}.{name}"]


@layouts
@pairs
@pytest.mark.parametrize("rate", [RATE, 0.2])  # 0.2 is above 1 / sqrt(t) from t = 26 on
def test_fifty_steps_match_pytorch(pair: str, layout: Any, rate: float) -> None:
    ours, theirs = PAIRS[pair]
    model, parts = layout()
    twin = Twin(model, "Adafactor", lr=rate, **theirs)
    optimizer = cb.Adafactor(rate, grad_clip=0, **ours)
    for i in range(50):  # trains the model, one layer and two layers in turn
        add_gradients([model, parts[0], parts[2] >> parts[1]][i % 3], i)
        twin.step()
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_defaults_match_pytorch() -> None:
    model, _ = whole()
    twin = Twin(model, "Adafactor")
    optimizer = cb.Adafactor()
    optimizer.grad_clip = 0
    for i in range(50):
        add_gradients(model, i)
        twin.step()
        model.finish_update(optimizer)
    assert_same(weights(model), twin.weights())


def test_zero_gradients_match_pytorch() -> None:
    """Gradients of a row, a column and a vector are 0: eps avoids a division 0 / 0."""
    model, _ = whole()
    twin = Twin(model, "Adafactor", lr=RATE)
    optimizer = cb.Adafactor(RATE)
    X, dY = floats(3, 4), floats(3, 4, seed=1)
    X[:, 0] = dY[:, 1] = 0
    for scale in (0.0, 1e-30, 1.0, 0.0):
        model.begin_update(X)[1](dY * scale)
        twin.step()
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


class PiecesFirst(Twin):
    """Moves the pieces of a maxout to the first axis, because PyTorch factors the last two."""

    def _param(self, W: Any) -> Any:
        return super()._param(np.moveaxis(W, 1, 0) if W.ndim == 3 else W)

    def step(self, clip: float = 0.0, rate: float | None = None) -> None:
        for param, dW in zip(self.params.values(), gradients(self.model), strict=True):
            param.grad = self.torch.tensor(np.moveaxis(dW, 1, 0) if dW.ndim == 3 else dW)
        self.optim.step()

    def weights(self) -> dict[str, Any]:
        return {
            path: np.moveaxis(W, 0, 1) if W.ndim == 3 else W
            for path, W in super().weights().items()
        }


def test_each_piece_of_maxout_is_factored_separately() -> None:
    model: Any = cb.Maxout(5, 4, pieces=3) >> cb.Maxout(4, pieces=2)
    model.initialize(rng=0, dtype="float64")
    twin = PiecesFirst(model, "Adafactor", lr=RATE, weight_decay=0.2)
    optimizer = cb.Adafactor(RATE, L2=0.2, grad_clip=0)
    for i in range(50):
        add_gradients(model, i)
        twin.step()
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())
    shapes = {
        name: array.shape for name, array in param_state(optimizer, model.layers[0], "W").items()
    }
    assert shapes == {"rows": (5, 3, 1), "columns": (1, 3, 4)}


def test_tables_and_scalar_parameters_match_pytorch() -> None:
    """Uses a parameter that is stored row by row, and a parameter without axes."""

    def forward(model: Any, X: Any, run: Any) -> Any:
        (w,) = run.params(model, "w")

        def backprop(dY: Any) -> Any:
            run.inc_grad(model, w=(dY * X).sum())
            return dY * w

        return X * w, backprop

    scale = cb.Model[Any, Any]("scale", forward, params={"w": cb.Param((), cb.ones)})
    model = (cb.Embed(3, 5) >> scale).initialize(rng=0, dtype="float64")
    twin = Twin(model, "Adafactor", lr=RATE)
    optimizer = cb.Adafactor(RATE, grad_clip=0, use_averages=True)
    for i in range(50):
        Y, backprop = model.begin_update(np.arange(5))
        backprop(floats(*Y.shape, seed=i))
        twin.step()
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_schedule_sets_the_rate_of_each_step() -> None:
    model, _ = whole()
    twin = Twin(model, "Adafactor", weight_decay=0.2)
    optimizer = cb.Adafactor(falling, L2=0.2, grad_clip=0)
    for step in range(50):
        add_gradients(model, step)
        twin.step(rate=RATE / (1 + 0.05 * step))
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_clipping_and_L2_change_the_gradient_before_the_update() -> None:
    """Adafactor of PyTorch receives gradients that are already clipped and include L2."""
    model, _ = whole()
    twin = Twin(model, "Adafactor", lr=RATE)
    optimizer = cb.Adafactor(RATE, grad_clip=0.5, L2=0.2, L2_is_weight_decay=False)
    for step in range(10):
        add_gradients(model, step)
        found = [twin.torch.tensor(dW) for dW in gradients(model)]
        norm = float(twin.torch.nn.utils.get_total_norm(found))
        for param, dW in zip(twin.params.values(), found, strict=True):
            param.grad = dW * (0.5 / norm) + 0.2 * param.detach()
        twin.optim.step()
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


# -- state -------------------------------------------------------------------------------------


def test_averages_are_kept_if_use_averages_is_true() -> None:
    model, _ = whole()
    optimizer = cb.Adafactor(0.1, use_averages=True, average_decay=0.5)
    means = weights(model)
    for t in range(1, 6):
        train(model, optimizer, [t])
        decay = min(0.5, (1 + t) / (10 + t))
        means = {p: m + (1 - decay) * (weights(model)[p] - m) for p, m in means.items()}
    assert_same(averages_of(model, optimizer.averages), means)


MAKERS: dict[str, Any] = {
    "adafactor": lambda: cb.Adafactor(falling, L2=0.1),
    "lookahead": lambda: cb.Lookahead(cb.Adafactor(falling, L2=0.1), k=3),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def test_lookahead_matches_pytorch_with_slow_weights() -> None:
    model, _ = whole()
    twin = Twin(model, "Adafactor", lr=RATE)
    optimizer = cb.Lookahead(cb.Adafactor(RATE, grad_clip=0), k=5, alpha=0.3)
    slow = weights(model)
    for i in range(1, 51):
        add_gradients(model, i)
        twin.step()
        for path, param in twin.params.items() if i % 5 == 0 else ():
            slow[path] = slow[path] + 0.3 * (param.detach().numpy() - slow[path])
            with twin.torch.no_grad():
                param.copy_(twin.torch.tensor(slow[path]))
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_state_of_other_shapes_is_refused_and_changes_nothing() -> None:
    wide, deep = (cb.Linear(*sizes).initialize(dtype="float64") for sizes in ((5, 4), (4, 4)))
    sgd, other = cb.Adafactor(), cb.Adafactor()
    for model, each in ((wide, sgd), (deep, other)):
        Y, backprop = model.begin_update(floats(3, 4))
        backprop(Y, each)
    before = other.to_bytes(deep)
    with raises(cb.DimensionError, "'linear.W'", "(4, 1)", "(5, 1)"):
        other.from_bytes(sgd.to_bytes(wide), deep)
    assert other.to_bytes(deep) == before


def test_state_moves_to_a_new_store_with_the_model() -> None:
    model, parts = whole()
    sgd = cb.Adafactor(RATE)
    train(model, sgd, range(3))
    before = sgd.to_bytes(model)
    cb.chain(*parts, cb.Linear(2, 4)).initialize(dtype="float64")
    assert sgd.to_bytes(model) == before


def test_copied_model_starts_with_an_empty_state() -> None:
    model, _ = whole()
    sgd = cb.Adafactor(RATE)
    train(model, sgd, range(3))
    twin, state = model.copy(), sgd.to_bytes(model)
    same = whole()[0].from_bytes(model.to_bytes())
    train(twin, sgd, range(3, 6))
    train(same, cb.Adafactor(RATE), range(3, 6))
    assert_identical(weights(twin), weights(same))
    sgd.step = 3  # it also counted the updates of the copy
    assert sgd.to_bytes(model) == state


def test_resize_keeps_rows_and_columns_and_adds_zeros() -> None:
    model = cb.Linear(4, 3).initialize(dtype="float64")
    sgd = cb.Adafactor(RATE)
    Y, backprop = model.begin_update(floats(5, 3))
    backprop(Y, sgd)
    W, b = param_state(sgd, model, "W"), param_state(sgd, model, "b")
    model.resize_output(6)
    wider = param_state(sgd, model, "W")
    np.testing.assert_array_equal(wider["rows"], [*W["rows"], [0], [0]])
    np.testing.assert_array_equal(wider["columns"], W["columns"])
    np.testing.assert_array_equal(param_state(sgd, model, "b")["variance"], [*b["variance"], 0, 0])
    model.resize_input(2)
    narrower = param_state(sgd, model, "W")
    np.testing.assert_array_equal(narrower["rows"], wider["rows"])
    np.testing.assert_array_equal(narrower["columns"], W["columns"][:, :2])
    before = weights(model)
    Y, backprop = model.begin_update(floats(5, 2))
    backprop(floats(5, 6, seed=1), sgd)
    assert all(np.isfinite(W).all() for W in weights(model).values())
    assert (weights(model)["linear.W"] != before["linear.W"]).all()


def test_resize_keeps_the_state_of_columns_after_expand_window() -> None:
    X = floats(5, 2)
    model: Any = cb.residual(cb.expand_window(1) >> cb.Linear(2)).initialize(X, dtype="float64")
    sgd, linear = cb.Adafactor(RATE), model.layers[0].layers[1]
    model.begin_update(X)[1](floats(5, 2, seed=1), sgd)
    before = param_state(sgd, linear, "W")
    model.resize_output(3)
    after = param_state(sgd, linear, "W")
    np.testing.assert_array_equal(after["columns"][:, [0, 1, 3, 4, 6, 7]], before["columns"])
    assert (after["columns"][:, [2, 5, 8]] == 0).all()
    np.testing.assert_array_equal(after["rows"], [*before["rows"], [0]])


@makers
def test_gpu_matches_cpu_and_copies_nothing_to_the_host(make: Any, strict: Any) -> None:
    (stayed, _), (moved, _) = whole(), whole()
    ours, theirs = make(), make()
    train(stayed, ours, range(8))
    train(moved, theirs, range(3))
    moved.to_gpu(0)
    for seed in range(3, 8):
        X, dY = (moved.ops.asarray(floats(3, 4, seed=s)) for s in (seed, seed + 1000))
        moved.begin_update(X)[1](dY)
        with strict.counting() as counted:
            moved.finish_update(theirs)
        assert counted.to_host == 0, counted.reasons
    assert_same(weights(moved.to_cpu()), weights(stayed))


def test_batch_norm_statistics_are_updated_and_state_is_restored() -> None:
    model: Any = (cb.Linear(3, 3) >> cb.BatchNorm(momentum=0.5)).initialize(dtype="float64")
    sgd, X = cb.Adafactor(RATE), floats(5, 3)
    Z = model.layers[0].predict(X)
    Y, backprop = model.begin_update(X)
    backprop(Y, sgd)
    np.testing.assert_allclose(model.layers[1].get_param("mean"), Z.mean(axis=0) / 2)
    state = sgd.to_bytes(model)
    resumed: Any = (cb.Linear(3) >> cb.BatchNorm(momentum=0.5)).from_bytes(model.to_bytes())
    assert cb.Adafactor(RATE).from_bytes(state, resumed).to_bytes(resumed) == state


@pytest.mark.parametrize(
    "options", [{"beta2_decay": 0.1}, {"d": 0.9}, {"eps": 1e-3}, {"eps": (None, -1.0)}]
)
def test_invalid_settings_are_refused(options: Any) -> None:
    ((name, value),) = options.items()
    with raises(cb.InputError, "Adafactor", name, value):
        cb.Adafactor(**options)
