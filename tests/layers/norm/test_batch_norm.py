"""BatchNorm and its running statistics, against PyTorch and against their formula."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import testing
from helpers.arrays import close, floats
from helpers.errors import raises
from helpers.optimizers import Counting

EPS = {"eps": 0.01, "momentum": 0.3}


def batch(seed: int, n: int = 7, nI: int = 3) -> Any:
    return floats(n, nI, seed=seed) * [1, 5, 0.2] + [0, -3, 2]


def statistics(model: Any) -> tuple[Any, Any]:
    return np.array(model.get_param("mean")), np.array(model.get_param("var"))


def ready(**options: Any) -> Any:
    return cb.BatchNorm(3, **options).initialize(dtype="float64")


def run(model: Any, X: Any, seed: int = 0) -> Any:
    """Runs a forward pass and its backward pass."""
    Y, backprop = model.begin_update(X)
    return backprop(floats(*Y.shape, seed=seed))


def moved(values: tuple[Any, Any], batches: list[Any], rate: float) -> list[Any]:
    """Returns the statistics (mean, var) after an update: moved toward those of the batches."""
    seen = [(X.mean(axis=0), X.var(axis=0, ddof=1)) for X in batches]
    return [
        (1 - rate) * value + rate * np.mean(each, axis=0)
        for value, each in zip(values, zip(*seen, strict=True), strict=True)
    ]


# -- PyTorch -----------------------------------------------------------------------------------


def _twin(torch: Any, model: Any) -> Any:
    """Returns Linear, BatchNorm and Linear of PyTorch with the weights of the model."""
    twin = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, **EPS), torch.nn.Linear(4, 2)
    ).double()
    names = {"G": "weight", "b": "bias", "W": "weight", "mean": "running_mean"}
    for ours, theirs in zip(model.layers, twin, strict=True):
        with torch.no_grad():
            for name in ours.param_names:
                target = getattr(theirs, "running_var" if name == "var" else names[name])
                if ours.name == "linear" and name == "b":
                    target = theirs.bias
                target.copy_(torch.tensor(np.array(ours.get_param(name))))
    return twin


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training_and_prediction_match_pytorch(momentum: float) -> None:
    torch: Any = pytest.importorskip("torch")
    model: Any = cb.Linear(4, 3) >> cb.BatchNorm(**EPS) >> cb.Linear(2)
    model.initialize(rng=1, dtype="float64")
    norm = model.layers[1]
    norm.set_param("G", floats(4, seed=2))
    norm.set_param("b", floats(4, seed=3))
    norm.set_param("mean", floats(4, seed=4))
    norm.set_param("var", floats(4, seed=5) ** 2)
    twin = _twin(torch, model)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=momentum)
    sgd = cb.SGD(0.1, momentum=momentum, grad_clip=0)
    for step in range(5):
        X, dY = batch(step), floats(7, 2, seed=step + 100)
        T = torch.tensor(X, requires_grad=True)
        theirs.zero_grad()
        expected = twin(T)
        expected.backward(torch.tensor(dY))
        Y, backprop = model.begin_update(X)
        close(Y, expected.detach())
        close(backprop(dY), T.grad)
        close(norm.get_grad("G"), twin[1].weight.grad)
        close(norm.get_grad("b"), twin[1].bias.grad)
        theirs.step()
        model.finish_update(sgd)
        close(norm.get_param("mean"), twin[1].running_mean)
        close(norm.get_param("var"), twin[1].running_var)
    for n in (7, 1, 0):
        X = batch(9, n)
        close(model.predict(X), twin.eval()(torch.tensor(X)).detach())
    close(model.layers[0].get_param("W"), twin[0].weight.detach())


def test_float32_input_gives_float32_results() -> None:
    torch: Any = pytest.importorskip("torch")
    X = batch(0).astype("f")
    model = cb.BatchNorm().initialize(X)
    Y, backprop = model.begin_update(X)
    dX = backprop(Y, cb.SGD(0.1))
    arrays = [Y, dX, model.predict(X), *statistics(model)]
    assert {array.dtype for array in arrays} == {np.dtype("float32")}
    expected = torch.nn.functional.batch_norm(torch.tensor(X), None, None, training=True)
    np.testing.assert_allclose(Y, expected, rtol=1e-4, atol=1e-5)


# -- passes and updates ------------------------------------------------------------------------


def test_forward_pass_and_prediction_do_not_change_statistics() -> None:
    model = ready()
    before = model.to_bytes()
    _, pending = model.begin_update(batch(0))
    model.predict(batch(1))
    sgd = cb.SGD(0.1)
    model.finish_update(sgd)
    assert (model.to_bytes(), sgd.step) == (before, 0)
    pending(floats(7, 3))
    assert [cb.StateError] * 2 == [_error_of_get_grad(model, name) for name in ("mean", "var")]
    close(statistics(model), (np.zeros(3), np.ones(3)))


def _error_of_get_grad(model: Any, name: str) -> Any:
    assert not model.has_grad(name)
    with raises(cb.StateError, name) as caught:
        model.get_grad(name)
    return caught.type


def test_update_after_several_passes_moves_statistics_once() -> None:
    model, batches = ready(momentum=0.3), [batch(seed, 5 + seed) for seed in range(3)]
    for X in batches:
        run(model, X)
    before = statistics(model)
    model.finish_update(cb.SGD(0.1))
    close(statistics(model), moved(before, batches, 0.3))


def test_shared_layer_averages_over_both_inputs() -> None:
    norm = ready(momentum=0.3)
    X = batch(0)
    Y, _ = norm.begin_update(X)
    before = statistics(norm)
    run(norm >> cb.relu() >> norm, X)
    norm.finish_update(cb.SGD(0.1))
    close(statistics(norm), moved(before, [X, np.maximum(Y, 0)], 0.3))


def test_pass_that_ends_after_an_update_counts_in_the_next_update() -> None:
    model, sgd = ready(momentum=0.3), cb.SGD(0.1)
    _, first = model.begin_update(batch(0))
    _, second = model.begin_update(batch(1))
    second(floats(7, 3), sgd)
    between = statistics(model)
    close(between, moved((np.zeros(3), np.ones(3)), [batch(1)], 0.3))
    first(floats(7, 3), sgd)
    close(statistics(model), moved(between, [batch(0)], 0.3))


def test_pass_repeated_by_checkpointed_counts_once() -> None:
    norm = ready(momentum=0.3)
    model, X = cb.checkpointed(norm), batch(0)
    run(model, X)
    model.finish_update(cb.SGD(0.1))
    close(statistics(norm), moved((np.zeros(3), np.ones(3)), [X], 0.3))


@pytest.mark.usefixtures("often_switching")
def test_passes_in_several_threads_all_count() -> None:
    model, together = ready(momentum=0.3), threading.Barrier(4)
    batches = [batch(seed) for seed in range(4)]

    def work(X: Any) -> None:
        for _ in range(10):
            together.wait()
            run(model, X)

    threads = [threading.Thread(target=work, args=(X,)) for X in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    before = statistics(model)
    model.finish_update(cb.SGD(0.1))
    close(statistics(model), moved(before, batches, 0.3))


def test_update_of_one_layer_leaves_other_statistics_unchanged() -> None:
    first, second = cb.BatchNorm(3), cb.BatchNorm(3)
    model = (first >> second).initialize(dtype="float64")
    run(model, batch(0))
    first.finish_update(cb.SGD(0.1))
    assert (first.get_param("mean") != 0).all()
    assert (second.get_param("mean") == 0).all()
    second.finish_update(cb.SGD(0.1))
    assert (second.get_param("var") != 1).all()


# -- optimizers --------------------------------------------------------------------------------


MAKERS: dict[str, Any] = {
    "clip": lambda: cb.SGD(0.1, grad_clip=0.01),
    "noise": lambda: cb.SGD(0.1, grad_noise=5.0, rng=0),
    "L2": lambda: cb.SGD(0.1, L2=0.5),
    "L2-in-the-gradient": lambda: cb.Adam(0.1, L2=0.5, L2_is_weight_decay=False),
    "momentum": lambda: cb.SGD(0.1, momentum=0.9),
    "radam": lambda: cb.RAdam(0.1),
    "lion": lambda: cb.Lion(0.1),
    "lookahead": lambda: cb.Lookahead(cb.Adam(0.1), k=2),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@makers
def test_optimizer_settings_do_not_affect_statistics(make: Any) -> None:
    model, sgd = ready(momentum=0.3), make()
    expected: Any = statistics(model)
    for seed in range(5):
        run(model, batch(seed), seed)
        expected = moved(expected, [batch(seed)], 0.3)
        model.finish_update(sgd)
        close(statistics(model), expected)
    assert sgd.step == 5


def test_gradient_norm_does_not_include_statistics() -> None:
    model, X = ready(), batch(0) + 1e6
    run(model, X)
    dG, db = model.get_grad("G"), model.get_grad("b")
    model.finish_update(cb.SGD(1.0, grad_clip=0.5))
    scale = 0.5 / ((dG**2).sum() + (db**2).sum()) ** 0.5
    close(model.get_param("G"), 1 - scale * dG)
    close(model.get_param("b"), -scale * db)


def test_update_uses_one_operation_for_weights_and_one_for_statistics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model: Any = cb.clone(cb.Linear(3, 3) >> cb.BatchNorm(), 4).initialize(dtype="float64")
    sgd, sizes = Counting(0.1), []
    average = cb.Ops.average

    def counted(self: Any, mean: Any, W: Any, decay: float) -> None:
        sizes.append(W.size)
        average(self, mean, W, decay)

    monkeypatch.setattr(cb.Ops, "average", counted)
    run(model, batch(0))
    model.finish_update(sgd)
    assert sgd.calls == 1
    assert sizes == [4 * (9 + 3 + 3 + 3), 4 * (3 + 3)]  # the averages, the statistics


def test_update_is_in_place_if_statistics_are_not_held_elsewhere() -> None:
    model: Any = cb.BatchNorm(momentum=0.1) >> cb.BatchNorm(3, momentum=0.2)
    model.initialize(dtype="float64")
    norm, sgd = model.layers[0], cb.SGD(0.1)

    def addresses() -> tuple[int, int]:
        return norm.get_param("mean").ctypes.data, norm.averages[norm.id, "mean"].ctypes.data

    run(model, batch(0))
    model.finish_update(sgd)
    before = addresses()
    run(model, batch(1))
    model.finish_update(sgd)
    assert addresses() == before


def test_update_does_not_change_statistics_held_by_the_user() -> None:
    model = ready()
    held = model.get_param("mean")
    run(model, batch(0))
    model.finish_update(cb.SGD(0.1))
    assert (held == 0).all()
    assert (model.get_param("mean") != 0).all()


def test_average_of_a_statistic_is_the_statistic() -> None:
    model, sgd = ready(momentum=0.3), cb.SGD(0.5)
    for seed in range(5):
        run(model, batch(seed), seed)
        model.finish_update(sgd)
    mean, var = statistics(model)
    G, b = (sgd.averages[model.id, name] for name in ("G", "b"))
    assert not np.allclose(G, model.get_param("G"))
    X = batch(9)
    with model.use_params(sgd.averages):
        close(model.predict(X), G * (X - mean) / np.sqrt(var + 1e-5) + b)


def test_layer_with_only_statistics_is_updated() -> None:
    """Uses a custom layer without trained weights: it subtracts a running mean from its input."""

    def forward(model: Any, X: Any, run: Any) -> Any:
        (mean,) = run.params(model, "mean")

        def backprop(dY: Any) -> Any:
            run.inc_grad(model, mean=X.mean(axis=0))
            return dY

        return X - mean, backprop

    params = {"mean": cb.Param(("nI",), cb.zeros, ema_rate=0.5)}
    model: Any = cb.Model("centre", forward, dims={"nI": 3}, params=params)
    model.initialize(dtype="float64")
    run(model, batch(0))
    model.finish_update(cb.Adam(0.1))
    close(model.predict(batch(1)), batch(1) - batch(0).mean(axis=0) / 2)


# -- saving, copying, resizing, devices --------------------------------------------------------


def _train(model: Any, sgd: Any, seeds: Any) -> None:
    for seed in seeds:
        run(model, batch(seed), seed)
        model.finish_update(sgd)


@makers
def test_training_continues_from_bytes(make: Any) -> None:
    model: Any = (cb.Linear(3, 3) >> cb.BatchNorm()).initialize(dtype="float64")
    sgd = make()
    _train(model, sgd, range(3))
    resumed: Any = (cb.Linear(3) >> cb.BatchNorm()).from_bytes(model.to_bytes())
    sgd2 = make().from_bytes(sgd.to_bytes(model), resumed)
    assert sgd2.to_bytes(resumed) == sgd.to_bytes(model)
    if sgd.rng is not None:
        sgd2.rng.bit_generator.state = sgd.rng.bit_generator.state
    for each, optimizer in ((model, sgd), (resumed, sgd2)):
        _train(each, optimizer, range(3, 6))
    assert resumed.to_bytes() == model.to_bytes()


def test_copy_has_separate_statistics_and_pending_updates() -> None:
    model = ready(momentum=0.3)
    run(model, batch(0))
    run(model, batch(1))
    twin = model.copy()
    twin.finish_update(cb.SGD(0.1))
    close(statistics(model), (np.zeros(3), np.ones(3)))
    close(statistics(twin), moved(statistics(model), [batch(0), batch(1)], 0.3))


def test_resize_keeps_old_statistics_and_initializes_new_ones() -> None:
    model: Any = (cb.Linear(3, 3) >> cb.BatchNorm(momentum=0.3)).initialize(dtype="float64")
    sgd = cb.Adam(0.1)
    _train(model, sgd, range(3))
    norm, X = model.layers[1], batch(9)
    before, (mean, var) = model.predict(X), statistics(norm)
    model.resize_output(5)
    close(statistics(norm), ([*mean, 0, 0], [*var, 1, 1]))
    after = model.predict(X)
    close(after[:, :3], before)
    assert (after[:, 3:] == 0).all()
    averages = [sgd.averages[norm.id, name] for name in ("mean", "var")]
    close(averages, statistics(norm))
    Z = model.layers[0].predict(X)
    before, expected = statistics(norm), moved(statistics(norm), [Z], 0.3)
    run(model, X)
    model.finish_update(sgd)
    close(statistics(norm), expected)
    model.resize_output(2)
    close(statistics(norm), [each[:2] for each in expected])


def test_gpu_training_matches_cpu_and_copies_nothing_to_the_host(strict: Any) -> None:
    stayed, gone = ready(), ready()
    sgds = cb.Adam(0.1), cb.Adam(0.1)
    _train(stayed, sgds[0], range(2))
    _train(gone, sgds[1], range(2))
    gone.to_gpu(0)
    for seed in range(2, 5):
        X, dY = (gone.ops.asarray(each) for each in (batch(seed), floats(7, 3, seed=seed)))
        with strict.counting() as counted:
            gone.begin_update(X)[1](dY, sgds[1])
            gone.predict(X)
        assert counted.to_host == 0, counted.reasons
        run(stayed, batch(seed), seed)
        stayed.finish_update(sgds[0])
    close(statistics(gone.to_cpu()), statistics(stayed))


def test_width_is_inferred_from_data() -> None:
    twice = cb.layerize(lambda X: (np.hstack([X, X]), lambda dY: dY[:, :3] + dY[:, 3:]))
    model = (twice >> cb.BatchNorm() >> cb.Linear(2)).initialize(batch(0), dtype="float64")
    assert model.layers[1].get_dim("nI") == 6
    assert model.predict(batch(0)).shape == (7, 2)


# -- parameters and errors ---------------------------------------------------------------------


def test_statistics_are_parameters_without_gradients() -> None:
    model = ready()
    run(model, batch(0))
    assert [name for _, name in cb.get_gradients(model)] == ["G", "b"]
    assert repr(model) == "batch_norm  nI=3  12: 12 parameters"
    assert model.has_param("var")
    model.set_param("var", [4.0, 9.0, 16.0])
    close(model.predict(np.ones((1, 3))), [1 / np.sqrt(np.array([4, 9, 16]) + 1e-5)])


@pytest.mark.parametrize("n", [0, 1])
def test_training_fails_with_fewer_than_2_rows(n: int) -> None:
    model = (cb.Linear(3, 3) >> cb.BatchNorm()).initialize(dtype="float64")
    with raises(cb.DimensionError, "2", f"({n}, 3)", "'chain >> batch_norm'"):
        model.begin_update(batch(0, n))
    assert model.predict(batch(0, n)).shape == (n, 3)


@pytest.mark.parametrize("options", [{"momentum": 0.0}, {"momentum": 1.5}])
def test_invalid_momentum_is_refused(options: Any) -> None:
    with raises(cb.InputError, "momentum"):
        cb.BatchNorm(**options)


@pytest.mark.parametrize("make", [cb.BatchNorm, cb.LayerNorm, cb.RMSNorm])
@pytest.mark.parametrize("eps", [0.0, -1e-5, float("nan")])
def test_invalid_eps_is_refused(make: Any, eps: float) -> None:
    with raises(cb.InputError, "eps"):
        make(eps=eps)


def test_other_widths_are_refused() -> None:
    with raises(cb.DimensionError, "nI=3"):
        ready().predict(floats(2, 4))
    with raises(cb.DimensionError, "batch_norm", "3"):
        cb.Linear(4) >> cb.BatchNorm(3)


def test_backward_pass_of_a_prediction_fails() -> None:
    model = ready()
    run = cb.Run(model.ops, model.rng, train=False)
    Y, backprop = run(model, batch(0))
    close(Y, model.predict(batch(0)))
    with raises(cb.StateError, "backward"):
        backprop(Y)


def test_check_layer_passes_if_check_predict_is_skipped() -> None:
    model = cb.Linear(3, 3) >> cb.BatchNorm()
    with raises(AssertionError, "predict"):
        testing.check_layer(model, batch(0))
    testing.check_layer(model, batch(0), skip=[testing.check_predict])
