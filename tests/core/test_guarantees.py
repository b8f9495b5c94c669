"""Guarantees of passes: reentrancy, shared layers, threads, interception, memory use."""

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import pending_gradients, scale, set_params

ONE = np.ones((1, 1))


# -- reentrant ---------------------------------------------------------------------------------


def test_pending_passes_can_finish_in_any_order() -> None:
    model = (cb.Linear(4, 3) >> cb.gelu() >> cb.Maxout(2)).initialize(dtype="float64")
    X1, X2, dY1, dY2 = floats(5, 3), floats(2, 3, seed=1), floats(5, 2), floats(2, 2)
    alone = [model.begin_update(X)[1](dY) for X, dY in ((X1, dY1), (X2, dY2))]
    _, first = model.begin_update(X1)
    _, second = model.begin_update(X2)
    together = [second(dY2), first(dY1)][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_pending_pass_keeps_its_weights_after_an_update() -> None:
    model = scale(3.0)
    _, old = model.begin_update(2 * ONE)
    model.begin_update(ONE)[1](ONE, cb.SGD(1.0, grad_clip=0))  # w = 3 - 1
    assert old(ONE).item() == 3.0
    assert model.get_grad("W").item() == 2.0
    assert model.begin_update(ONE)[1](ONE).item() == 2.0


def test_pending_pass_keeps_its_weights_after_set_param() -> None:
    model = scale(3.0)
    _, old = model.begin_update(ONE)
    model.set_param("W", [[5.0]])
    assert old(ONE).item() == 3.0
    assert model.begin_update(ONE)[1](ONE).item() == 5.0


def test_pending_pass_keeps_its_weights_after_loading() -> None:
    model = scale(3.0)
    _, old = model.begin_update(ONE)
    model.from_bytes(scale(5.0).to_bytes())
    assert old(ONE).item() == 3.0
    assert model.predict(ONE).item() == 5.0


@pytest.mark.parametrize("view", [lambda W: W, lambda W: W[0], lambda W: W.T.reshape(-1)])
def test_update_does_not_change_an_array_from_get_param(view: Any) -> None:
    model = (cb.Linear(2, 3) >> cb.Linear(2)).initialize(dtype="float64")
    held = view(model.layers[0].get_param("W"))
    before = held.copy()
    for _ in range(2):
        model.begin_update(floats(5, 3))[1](floats(5, 2), cb.Adam(0.1))
    assert np.array_equal(held, before)
    assert not np.array_equal(view(model.layers[0].get_param("W")), before)


def test_update_is_in_place_if_the_weights_are_not_held() -> None:
    model = (cb.Linear(2, 3) >> cb.Maxout(2)).initialize(dtype="float64")
    layer, sgd = model.layers[0], cb.SGD(0.1)
    weights = weakref.ref(layer.get_param("W").base)
    for _ in range(3):
        Y, backprop = model.begin_update(floats(5, 3))
        backprop(Y)
        del backprop
        model.finish_update(sgd)
    assert weights() is layer.get_param("W").base


# -- shared layers -----------------------------------------------------------------------------


def test_shared_layer_sums_its_gradients_and_is_updated_once() -> None:
    # Y = w * (w * x): dY/dw = 2 * w * x, and one step of SGD and of Adam.
    for optimizer, step in ((cb.SGD(0.1, grad_clip=0), 0.1 * 12), (cb.Adam(0.1, grad_clip=0), 0.1)):
        layer = scale(3.0)
        model = layer >> layer
        Y, backprop = model.begin_update(2 * ONE)
        dX = backprop(ONE)
        assert (Y.item(), dX.item()) == (18.0, 9.0)
        assert layer.get_grad("W").item() == 12.0
        model.finish_update(optimizer)
        assert optimizer.step == 1
        assert layer.get_param("W").item() == pytest.approx(3.0 - step, abs=1e-8)


def test_layer_shared_by_two_models_has_one_gradient() -> None:
    layer, other = scale(3.0), scale(2.0)
    one, two = layer >> other, cb.residual(layer)
    one.begin_update(ONE)[1](ONE)
    two.begin_update(ONE)[1](ONE)
    assert layer.get_grad("W").item() == 3.0
    two.finish_update(cb.SGD(1.0, grad_clip=0))
    assert layer.get_param("W").item() == 0.0
    assert not layer.has_grad("W")
    assert other.has_grad("W")


# -- threads -----------------------------------------------------------------------------------


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    results: list[Any] = [None] * len(jobs)

    def run(i: int) -> None:
        results[i] = jobs[i]()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.usefixtures("often_switching")
def test_parallel_passes_match_serial_passes() -> None:
    shared = cb.Linear(4, 4)
    model = (cb.Embed(4, 9) >> shared >> cb.gelu() >> shared).initialize(dtype="float64")
    twin = model.copy()
    batches = [np.random.default_rng(i).integers(0, 9, 6) for i in range(4)]
    # Numbers in eighths add up without rounding, in any order.
    for each in (model, twin):
        set_params(each, lambda W: np.round(W * 8) / 8)

    def work(target: Any, X: Any) -> Any:
        outputs = []
        for _ in range(20):
            Y, backprop = target.begin_update(X)
            backprop(np.ones_like(Y))
            outputs.append(Y)
        return outputs

    serial = [work(twin, X) for X in batches]
    parallel = in_threads(*[lambda X=X: work(model, X) for X in batches])
    for expected, found in zip(serial, parallel, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))
    for one, other in zip(model.walk(), twin.walk(), strict=True):
        for name in one.param_names:
            np.testing.assert_allclose(
                one.get_grad(name), other.get_grad(name), rtol=1e-12, atol=1e-12
            )


@pytest.mark.usefixtures("often_switching")
@pytest.mark.parametrize(
    ("layer", "X"),
    [(cb.Linear(200, 200), np.ones((1, 200))), (cb.Embed(200, 200), np.arange(200))],
    ids=["dense", "rows"],
)
def test_parallel_passes_lose_no_gradients(layer: Any, X: Any) -> None:
    Y, together = layer.initialize(dtype="float64").predict(X), threading.Barrier(4)

    def work() -> None:
        _, backprop = layer.begin_update(X)
        together.wait()
        backprop(np.ones_like(Y))

    # With noise, an update fills the whole gradient array; the next pass must overwrite it.
    sgd = cb.SGD(0.0, grad_noise=1.0, rng=0)
    for _ in range(20):
        in_threads(work, work, work, work)
        assert all((layer.get_grad(name) == 4).all() for name in layer.param_names)
        layer.finish_update(sgd)


@pytest.mark.usefixtures("often_switching")
def test_pass_during_updates_sees_consistent_weights_per_layer() -> None:
    model = scale(0.0)  # W == b == 0, which stay equal in training on X = 1, dY = -1
    sgd, done = cb.SGD(1.0, grad_clip=0), threading.Event()

    def train() -> None:
        for _ in range(800):
            model.begin_update(ONE)[1](-ONE, sgd)  # W and b both grow by 1
        done.set()

    def read() -> list[Any]:
        seen = []
        while not done.is_set():
            seen.append(model.predict(ONE).item())
        return seen

    _, seen = in_threads(train, read)
    assert seen
    assert all(W_and_b % 2 == 0 for W_and_b in seen)  # an odd sum mixes two updates


@pytest.mark.usefixtures("often_switching")
def test_saving_during_updates_is_consistent_per_layer() -> None:
    model = scale(0.0)
    sgd, done = cb.SGD(1.0, grad_clip=0, use_averages=False), threading.Event()

    def train() -> None:
        for _ in range(800):
            model.begin_update(ONE)[1](-ONE, sgd)
        done.set()

    def save() -> list[bytes]:
        saved = []
        while not done.is_set():
            saved.append(model.to_bytes())
        return saved

    _, saved = in_threads(train, save)
    for data in saved:
        loaded = cb.Linear(1, 1).from_bytes(data)
        assert loaded.get_param("W").item() == loaded.get_param("b").item()


@pytest.mark.usefixtures("often_switching")
def test_concurrent_updates_apply_each_gradient_once() -> None:
    model = scale(0.0)
    sgd = cb.SGD(1.0, grad_clip=0)

    def train() -> None:
        for _ in range(500):
            model.begin_update(ONE)[1](-ONE, sgd)

    in_threads(train, train, train)
    assert model.get_param("W").item() == 1500


# -- one interception point --------------------------------------------------------------------


class Recording(cb.Run):
    """A pass that records the name of every layer that it calls."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.names: list[str] = []

    def __call__(self, layer: Any, X: Any, wants_dX: bool = True) -> Any:
        self.names.append(layer.name)
        return super().__call__(layer, X, wants_dX)


def test_run_subclass_intercepts_every_layer() -> None:
    inner = cb.residual(cb.expand_window(1) >> cb.Maxout(3)) >> cb.LayerNorm()
    model = cb.chain(
        cb.with_flatten(cb.Linear(3, 2) | cb.noop()),
        cb.with_array(cb.Linear(3)),
        cb.with_list(cb.with_padded(cb.with_ragged(cb.with_array(inner)))),
        cb.list2ragged(),
        cb.add(cb.ParametricAttention(), cb.noop()),
        cb.reduce_mean(),
        cb.Softmax(2),
    ).initialize([np.ones((2, 2)), np.ones((3, 2))], dtype="float64")
    run = Recording(model.ops, np.random.default_rng(0))
    X = [floats(2, 2), floats(3, 2)]
    Y, backprop = run(model, X)
    assert sorted(run.names) == sorted(node.name for node in model.walk())
    assert np.array_equal(Y, model.predict(X))
    assert len(backprop(np.ones_like(Y))) == 2


# -- memory ------------------------------------------------------------------------------------


def peak(call: Callable[[], Any]) -> int:
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_predict_memory_does_not_grow_with_depth() -> None:
    X = floats(200, 25)
    shallow, deep = (
        (cb.residual(cb.Maxout(25, 25) >> cb.gelu()) ** n).initialize(dtype="float64")
        for n in (4, 64)
    )
    assert peak(lambda: deep.predict(X)) < peak(lambda: shallow.predict(X)) + X.nbytes // 2
    assert peak(lambda: deep.begin_update(X)) > 5 * peak(lambda: deep.predict(X))


def test_dropping_backprop_frees_the_outputs_of_the_pass() -> None:
    kept = []

    def watch(model: Any, X: Any, run: Any) -> Any:
        Y = X + 1
        kept.append(weakref.ref(Y))
        return Y, lambda dY: dY * Y

    watching: Any = cb.Model("watch", watch)
    model = watching >> cb.relu() >> cb.Linear(2, 2)
    model.initialize(dtype="float64")
    gc.disable()
    try:
        Y, backprop = model.begin_update(floats(3, 2))
        assert kept[-1]() is not None
        del Y, backprop
        assert kept[-1]() is None
        model.predict(floats(3, 2))
        assert kept[-1]() is None
    finally:
        gc.enable()


def exercise(model: Any) -> Any:
    X = floats(5, 3)
    sgd = cb.Adam(0.1)
    Y, backprop = model.begin_update(X)
    backprop(Y, sgd)
    model.predict(X)
    with model.use_params(sgd.averages):
        model.predict(X)
    data = model.to_bytes()
    model.from_bytes(data)
    repr(model), model.paths(), [*model.walk()]
    model.get_dim("nO")
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda: (cb.Linear(4, 3) >> cb.relu() >> cb.Maxout(3)).initialize(dtype="float64"),
        lambda: (cb.Linear(4, 3) >> cb.Maxout(3)).initialize(dtype="float64").copy(),
        lambda: (cb.Linear(4, 3) >> cb.Maxout(2)).initialize(dtype="float64").resize_output(5),
        lambda: exercise(
            (cb.Linear(4, 3) | cb.noop()).initialize(np.ones((1, 3)), dtype="float64")
        ),
    ],
    ids=["chain", "copy", "resized", "used"],
)
def test_dropped_model_frees_its_weights_immediately(build: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        model = build()
        exercise(model)
        weights = weakref.ref(model.layers[0].get_param("W").base)
        del model
        assert weights() is None
    finally:
        gc.enable()


def test_backprop_fails_after_its_optimizer_was_applied() -> None:
    model = cb.Linear(2, 3).initialize()
    Y, backprop = model.begin_update(np.ones((1, 3), "f"))
    where = model.get_param("W").ctypes.data
    backprop(Y)
    backprop(Y, cb.SGD(0.1))
    assert model.get_param("W").ctypes.data == where  # no copy: no callback needs the old weights
    with raises(cb.StateError, "linear"):
        backprop(Y)


@pytest.mark.parametrize("layer", [cb.Linear(4, 6), cb.Embed(4, 6)], ids=repr)
def test_clear_gradients_discards_accumulated_gradients(layer: Any) -> None:
    X: Any = np.array([1, 2, 2]) if layer.name == "embed" else np.ones((3, 6))
    model = layer.copy().initialize(dtype="float64") >> cb.Linear(2, 4).initialize(dtype="float64")
    gradients = []
    for passes in (1, 3):
        for _ in range(passes):
            model.clear_gradients()
            Y, backprop = model.begin_update(X)
            backprop(np.ones_like(Y))
        gradients.append(pending_gradients(model))
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_array_equal(found, expected)
    model.clear_gradients()
    before = model.to_bytes()
    model.finish_update(cb.SGD(1.0))
    assert model.to_bytes() == before
