"""RAdam, AdamW, Nesterov, Lion, Lookahead and noise, against torch.optim or a formula."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises
from helpers.optimizers import (
    RATE,
    Twin,
    add_gradients,
    assert_identical,
    assert_same,
    falling,
    gradients,
    layouts,
    make_parts,
    train,
    weights,
    whole,
)

BETAS = {"beta1": 0.8, "beta2": 0.95}
ADDED = {"L2": 0.2, "L2_is_weight_decay": False}
DECOUPLED = {"weight_decay": 0.2, "decoupled_weight_decay": True}
NESTEROV = {"momentum": 0.9, "nesterov": True}
PAIRS: dict[str, tuple[Callable[..., Any], dict[str, Any], str, dict[str, Any]]] = {
    "nesterov": (cb.SGD, NESTEROV, "SGD", NESTEROV),
    "nesterov-L2": (cb.SGD, NESTEROV | ADDED, "SGD", NESTEROV | {"weight_decay": 0.2}),
    "adamw": (cb.AdamW, {}, "AdamW", {}),
    "adamw-options": (
        cb.AdamW,
        BETAS | {"L2": 0.2, "eps": 1e-3},
        "AdamW",
        {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.2},
    ),
    "radam": (cb.RAdam, {}, "RAdam", {}),
    "radam-options": (
        cb.RAdam, BETAS | {"eps": 1e-3}, "RAdam", {"betas": (0.8, 0.95), "eps": 1e-3},
    ),
    "radam-early": (cb.RAdam, {"beta2": 0.6}, "RAdam", {"betas": (0.9, 0.6)}),
    "radam-L2": (cb.RAdam, ADDED, "RAdam", {"weight_decay": 0.2}),
    "radam-decay": (cb.RAdam, {"L2": 0.2}, "RAdam", DECOUPLED),
}  # fmt: skip


@layouts
@pytest.mark.parametrize("pair", PAIRS)
def test_fifty_steps_match_pytorch(pair: str, layout: Any) -> None:
    make, ours, name, theirs = PAIRS[pair]
    model, parts = layout()
    twin = Twin(model, name, lr=RATE, **theirs)
    optimizer = make(RATE, grad_clip=5.0, **ours)
    for i in range(50):  # trains the model, one layer and two layers in turn
        add_gradients([model, parts[0], parts[2] >> parts[1]][i % 3], i)
        twin.step(clip=5.0)
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


@pytest.mark.parametrize("pair", PAIRS)
def test_schedule_sets_the_rate_of_each_step(pair: str) -> None:
    make, ours, name, theirs = PAIRS[pair]
    model, _ = whole()
    twin = Twin(model, name, lr=RATE, **theirs)
    optimizer = make(falling, grad_clip=0, **ours)
    for step in range(50):
        add_gradients(model, step)
        twin.step(rate=RATE / (1 + 0.05 * step))
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_radam_pairs_cover_steps_with_and_without_rectification() -> None:
    """Rectification starts at step 6 with beta2 = 0.999, and never with beta2 = 0.6."""
    most = 2 / (1 - 0.999) - 1
    rho = [most - 2 * t * 0.999**t / (1 - 0.999**t) for t in range(1, 8)]
    assert [r > 5 for r in rho] == [False] * 5 + [True] * 2
    most = 2 / (1 - 0.6) - 1
    assert most < 5  # rho stays below this limit: no rectification


@pytest.mark.parametrize("L2", [0.0, 0.2])
def test_fifty_steps_of_lion_match_the_formula(L2: float) -> None:
    model, parts = whole()
    lion = cb.Lion(falling, beta1=0.8, beta2=0.95, L2=L2, grad_clip=0)
    W, m = weights(model), dict.fromkeys(weights(model), 0.0)
    for step in range(50):
        add_gradients([model, parts[0], parts[2] >> parts[1]][step % 3], step)
        rate = RATE / (1 + 0.05 * step)
        for path, dW in zip(W, gradients(model), strict=True):
            if dW is not None:  # arXiv:2302.06675, algorithm 2
                c = 0.8 * m[path] + (1 - 0.8) * dW
                W[path] = W[path] - rate * (np.sign(c) + L2 * W[path])
                m[path] = 0.95 * m[path] + (1 - 0.95) * dW
        model.finish_update(lion)
        assert_same(weights(model), W)


INNER: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "sgd": (lambda: cb.SGD(RATE, grad_clip=0), "SGD", {}),
    "adam": (lambda: cb.Adam(RATE, grad_clip=0), "Adam", {}),
    "adamw": (lambda: cb.AdamW(RATE, L2=0.2, grad_clip=0), "AdamW", {"weight_decay": 0.2}),
    "L2": (lambda: cb.SGD(RATE, grad_clip=0, **ADDED), "SGD", {"weight_decay": 0.2}),
}


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("inner", INNER)
def test_lookahead_matches_pytorch_with_slow_weights(inner: str, k: int) -> None:
    make, name, theirs = INNER[inner]
    model, parts = whole()
    twin = Twin(model, name, lr=RATE, **theirs)
    torch = twin.torch
    optimizer = cb.Lookahead(make(), k=k, alpha=0.3)
    slow, counts = weights(model), dict.fromkeys(twin.params, 0)
    for i in range(50):
        add_gradients([model, parts[0], parts[2] >> parts[1]][i % 3], i)
        twin.step()
        for path, param in twin.params.items():  # arXiv:1907.08610, algorithm 1
            counts[path] += param.grad is not None
            if param.grad is not None and counts[path] % k == 0:
                slow[path] = slow[path] + 0.3 * (param.detach().numpy() - slow[path])
                with torch.no_grad():
                    param.copy_(torch.tensor(slow[path]))
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())
    assert len(set(counts.values())) > 1


def test_lookahead_has_the_settings_of_the_inner_optimizer() -> None:
    inner = cb.Adam(
        falling, L2=0.1, grad_clip=0.7, L2_is_weight_decay=False, use_averages=False,
        average_decay=0.5, grad_noise=0.2, rng=0,
    )  # fmt: skip
    outer = cb.Lookahead(inner)
    for name in (
        "learn_rate", "L2", "grad_clip", "L2_is_weight_decay", "use_averages", "average_decay",
        "grad_noise", "rng",
    ):  # fmt: skip
        assert getattr(outer, name) == getattr(inner, name)


def flat(arrays: Any) -> Any:
    """Returns all numbers in the order of a store, where weights are column-major."""
    return np.concatenate([array.T.ravel() for array in arrays])


def test_noise_is_added_to_the_clipped_gradient() -> None:
    model, _ = whole()
    sgd = cb.SGD(0.1, grad_clip=1.0, grad_noise=lambda step: 0.5 / (1 + step), rng=7)
    rng = np.random.default_rng(7)
    for step in range(5):
        before = flat(weights(model).values())
        add_gradients(model, step)
        dW = flat(gradients(model))
        dW = dW / max(1.0, float((dW**2).sum()) ** 0.5)
        noise = rng.normal(0.0, 0.5 / (1 + step), dW.size)
        model.finish_update(sgd)
        np.testing.assert_allclose(
            flat(weights(model).values()), before - 0.1 * (dW + noise), rtol=1e-12, atol=1e-14
        )


def test_optimizers_that_share_a_generator_draw_different_noise() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(2):
        model, _ = whole()
        train(model, cb.SGD(0.1, grad_noise=0.5, rng=rng), range(2))
        found.append(flat(weights(model).values()))
    assert not np.isclose(*found).any()


MAKERS: dict[str, Callable[[], cb.Optimizer]] = {
    "nesterov": lambda: cb.SGD(falling, momentum=0.9, nesterov=True),
    "adamw": lambda: cb.AdamW(falling),
    "radam": lambda: cb.RAdam(falling, L2=0.1),
    "lion": lambda: cb.Lion(falling, L2=0.1),
    "lookahead": lambda: cb.Lookahead(cb.Adam(falling, L2=0.1), k=3),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@makers
def test_moments_are_resized_with_the_model(make: Any) -> None:
    """A model that was made smaller trains like a model that always had that size."""
    model = cb.Linear(6, 4).initialize(dtype="float64")
    small = cb.Linear(4, 4).initialize(dtype="float64")
    for name in ("W", "b"):
        small.set_param(name, model.get_param(name)[:4])
    sgds = [make(), make()]
    for each in sgds:
        each.grad_clip = 0.0
    rng = np.random.default_rng(0)
    for step in range(12):
        if step == 7:
            model.resize_output(4)
        X, dY = rng.normal(size=(3, 4)), rng.normal(size=(3, 6))
        for each, sgd in zip((model, small), sgds, strict=True):
            Y, backprop = each.begin_update(X)
            backprop(dY[:, : Y.shape[1]], sgd)
    assert_same(
        dict(zip("Wb", weights(model).values(), strict=True)),
        dict(zip("Wb", weights(small).values(), strict=True)),
    )


@makers
def test_gpu_matches_cpu_and_copies_nothing_to_the_host(make: Any, strict: Any) -> None:
    (stayed, _), (moved, _) = whole(), whole()
    ours, theirs = make(), make()
    train(stayed, ours, range(8))
    moved.to_gpu(0)
    for seed in range(8):
        X, dY = (moved.ops.asarray(floats(3, 4, seed=s)) for s in (seed, seed + 1000))
        moved.begin_update(X)[1](dY)
        with strict.counting() as counted:
            moved.finish_update(theirs)
        assert counted.to_host == 0, counted.reasons
    assert_same(weights(moved.to_cpu()), weights(stayed))


def test_state_of_another_optimizer_is_refused() -> None:
    model, _ = whole()
    sgd = cb.Lookahead(cb.Adam(0.1))
    train(model, sgd, range(1))
    state = sgd.to_bytes(model)
    for other in (cb.Adam(0.1), cb.Lookahead(cb.AdamW(0.1)), cb.RAdam(0.1)):
        with raises(cb.FormatError, "Lookahead(Adam)"):
            other.from_bytes(state, model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cb.SGD(0.1, nesterov=True), "momentum="),
        (lambda: cb.AdamW(L2_is_weight_decay=False), "Adam"),
        (lambda: cb.Lookahead(cb.SGD(0.1), k=0), "0 ... 0.5"),
        (lambda: cb.Lookahead(cb.SGD(0.1), alpha=0.0), "5 ... 0.0"),
        (lambda: cb.SGD(0.1, grad_noise=0.1), "rng="),
        (lambda: setattr(cb.SGD(0.1), "grad_noise", 0.1), "rng="),
        (lambda: cb.Lookahead(cb.Lookahead(cb.SGD(0.1))), "Lookahead"),
        (lambda: setattr(cb.SGD(0.1), "learn_rate", -0.1), "SGD ... learn_rate ... -0.1"),
        (lambda: cb.Adam("0.1"), "Adam ... learn_rate ... '0.1'"),
        (lambda: cb.Lion(None), "Lion ... learn_rate ... None"),
        (lambda: cb.Adam(iter([0.1])), "Adam ... list_iterator"),
        (lambda: cb.SGD(math.nan), "SGD ... learn_rate ... nan"),
        (lambda: cb.SGD(0.1, L2="x"), "SGD ... L2 ... 'x'"),
        (lambda: cb.SGD(0.1, momentum=1.5), "SGD ... momentum ... 1.5"),
        (lambda: cb.SGD(0.1, average_decay=2.0), "SGD ... average_decay ... 2.0"),
        (lambda: cb.SGD(0.1, grad_clip=-1), "SGD ... grad_clip ... -1"),
        (lambda: cb.SGD(0.1, threads=2.5), "SGD ... threads ... 2.5"),
        (lambda: cb.Adam(beta1=1.0), "Adam ... beta1 ... 1.0"),
        (lambda: cb.RAdam(beta2=1.5), "RAdam ... beta2 ... 1.5"),
        (lambda: cb.AdamW(eps=-1.0), "AdamW ... eps ... -1.0"),
        (lambda: cb.Lion(beta2=np.ones(2)), "Lion ... beta2 ... array"),
    ],
)
def test_invalid_settings_are_refused(make: Any, message: str) -> None:
    with raises(cb.InputError, message):
        make()


@pytest.mark.parametrize("make", [cb.SGD, cb.Adam])
def test_schedules_can_be_replaced_by_numbers(make: Any) -> None:
    settings = {"learn_rate": 0.5, "L2": 0.1, "grad_noise": 0.2}
    found = []
    for sgd in (make(rng=0, **settings), make(falling, rng=0)):
        for name, value in settings.items():
            setattr(sgd, name, value)
        model, _ = whole()
        train(model, sgd, range(2))
        found.append(weights(model))
    assert_same(*found)


class Failing(Exception):
    pass


def fails(step: int) -> float:
    raise Failing


@pytest.mark.parametrize("name", ["learn_rate", "L2", "grad_noise"])
@pytest.mark.parametrize("schedule", [fails, lambda step: math.nan, lambda step: None])
def test_failing_schedule_leaves_model_and_optimizer_unchanged(name: str, schedule: Any) -> None:
    model, twin = whole()[0], whole()[0]
    sgd, control = (cb.Adam(0.1, grad_noise=0.2, grad_clip=0.01, rng=0) for _ in range(2))
    add_gradients(model, 0), add_gradients(twin, 0)
    good = getattr(sgd, name)
    setattr(sgd, name, schedule)
    with pytest.raises((Failing, cb.InputError)) as raised:
        model.finish_update(sgd)
    if raised.type is cb.InputError:
        assert all(word in str(raised.value) for word in ("Adam", name, str(schedule(0))))
    setattr(sgd, name, good)
    model.finish_update(sgd), twin.finish_update(control)
    assert_identical(weights(model), weights(twin))
    assert sgd.to_bytes(model) == control.to_bytes(twin)


def test_layers_trained_separately_count_their_own_steps() -> None:
    """The correction of RAdam depends on the step count of each parameter."""
    together, alone = make_parts(2), make_parts(2)
    for parts in (together, alone):
        cb.chain(*parts).initialize(rng=0, dtype="float64")
    sgds = cb.RAdam(0.1), cb.RAdam(0.1)
    train(together[0], sgds[0], range(6))
    train(together[1], sgds[0], range(2))
    train(alone[1], sgds[1], range(2))
    assert_same(weights(together[1]), weights(alone[1]))
