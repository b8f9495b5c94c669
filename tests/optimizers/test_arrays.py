"""Steps for arrays that no model stores: `optimizer(key, weights, gradient)`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet import DimensionError, FormatError, InputError
from helpers.errors import raises
from helpers.models import params_of

RNG = np.random.default_rng(0)
W, GRADIENTS = RNG.normal(size=(3, 4)), RNG.normal(size=(6, 3, 4))
NOTHING = cb.relu()


def steps(sgd: Any, weights: Any = W, gradients: Any = GRADIENTS, key: Any = "W") -> Any:
    for gradient in gradients:
        weights, zeros = sgd(key, weights, gradient)
        assert not zeros.any()
    return weights


def test_steps_of_adam_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.tensor(W))
    adam = torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.5)
    for gradient in GRADIENTS:
        parameter.grad = torch.tensor(gradient)
        adam.step()
    ours = steps(cb.Adam(0.1, L2=0.5, grad_clip=0))
    np.testing.assert_allclose(ours, parameter.detach().numpy(), rtol=1e-6)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "Adam": lambda: cb.Adam(lambda t: 0.1 / (1 + t)),
    "SGD": lambda: cb.SGD(0.1, grad_clip=0.5),
    "Lookahead": lambda: cb.Lookahead(cb.Adam(0.1), k=2),
    "Adafactor": lambda: cb.Adafactor(0.1),
    "noise": lambda: cb.SGD(0.1, grad_noise=0.1, rng=3),
}


def torch_optimizer() -> Any:
    torch = pytest.importorskip("torch")
    from combinet.interop.torch import TorchOptimizer

    return TorchOptimizer(torch.optim.Adagrad, 0.1)


@pytest.mark.parametrize(
    "make", [*OPTIMIZERS.values(), torch_optimizer], ids=[*OPTIMIZERS, "torch"]
)
def test_steps_are_those_of_a_parameter(make: Callable[[], Any]) -> None:
    def forward(model: Any, X: Any, run: Any) -> Any:
        def backprop(dY: Any) -> None:
            run.inc_grad(model, W=dY)

        return run.params(model, "W")[0], backprop

    param = cb.Param((3, 4), lambda shape, rng: W, order="C")
    model = cb.Model("weights", forward, params={"W": param}).initialize(dtype="float64")
    sgd, other = make(), make()
    for gradient in GRADIENTS:
        _, backprop = model.begin_update(np.zeros(1))
        backprop(gradient, other)
    assert np.array_equal(steps(sgd), params_of(model)["weights.W"])
    assert sgd.step == other.step == 6
    assert [np.array_equal(sgd.averages["W"], mean) for mean in other.averages.values()] in (
        [True], [],
    )  # fmt: skip


@pytest.mark.parametrize(
    "make", [*OPTIMIZERS.values(), torch_optimizer], ids=[*OPTIMIZERS, "torch"]
)
def test_state_of_arrays_is_saved_and_resumed_exactly(make: Callable[[], Any]) -> None:
    sgd, key = make(), ("layer", ("W", 3))
    middle = steps(sgd, gradients=GRADIENTS[:3], key=key)
    resumed = make().from_bytes(sgd.to_bytes(NOTHING), NOTHING)
    if sgd.rng is not None:
        resumed.rng.bit_generator.state = sgd.rng.bit_generator.state
    end = steps(sgd, middle, GRADIENTS[3:], key)
    assert np.array_equal(end, steps(resumed, middle, GRADIENTS[3:], key))
    assert resumed.step == sgd.step == 6
    assert resumed.averages.keys() == sgd.averages.keys()
    for name, mean in sgd.averages.items():
        assert np.array_equal(resumed.averages[name], mean)


def test_arguments_are_not_changed() -> None:
    weights, gradient = W.copy(), GRADIENTS[0].copy()
    first, _ = (sgd := cb.Adam(0.1))("W", weights, gradient)
    kept = first.copy()
    sgd("W", first, gradient)
    assert np.array_equal(weights, W)
    assert np.array_equal(gradient, GRADIENTS[0])
    assert np.array_equal(first, kept)


def test_each_key_has_a_state_and_a_count_of_its_own() -> None:
    sgd = cb.Adam(lambda t: 0.1 / (1 + t))
    together = steps(sgd, key="a"), steps(sgd, key="b")
    assert np.array_equal(together[0], together[1])
    assert sgd.step == 6


def test_state_restarts_with_another_shape() -> None:
    sgd = cb.Adam(0.1)
    steps(sgd)
    assert np.array_equal(
        steps(sgd, W[:2], GRADIENTS[:, :2]), steps(cb.Adam(0.1), W[:2], GRADIENTS[:, :2])
    )


def test_state_follows_an_array_to_another_device(strict: Any) -> None:
    sgd, ops = cb.Adam(0.1), cb.CupyOps(0)
    middle = steps(sgd, gradients=GRADIENTS[:3])
    end = steps(sgd, ops.asarray(middle), map(ops.asarray, GRADIENTS[3:]))
    np.testing.assert_allclose(end.get(), steps(cb.Adam(0.1)), rtol=1e-12)


def test_one_step_counts_once() -> None:
    sgd = cb.SGD(lambda t: float(t), grad_clip=0)
    with sgd.one_step():
        first, _ = sgd("a", W, GRADIENTS[0])
        with sgd.one_step():
            sgd("b", W, GRADIENTS[0])
    assert sgd.step == 1
    assert np.array_equal(first, W)  # at the rate of step 0
    with sgd.one_step():
        pass
    assert sgd.step == 1


@pytest.mark.parametrize(("args", "error", "words"), [
    (("W", W.astype("float16"), W), InputError, ["float16", "float32 or float64"]),
    (("W", W.tolist(), W), InputError, ["list of 3"]),
    (("W", W, W[0]), DimensionError, ["(3, 4)", "(4,)"]),
    (("W", W, None), DimensionError, ["NoneType"]),
    ((1.5, W, W), InputError, ["1.5", "key"]),
    ((("a", None), W, W), InputError, ["key"]),
])  # fmt: skip
def test_wrong_arguments_are_named(args: Any, error: Any, words: list[str]) -> None:
    with raises(error, *words):
        cb.Adam(0.1)(*args)


@pytest.mark.parametrize("change", [
    {"arrays": 3}, {"arrays": {"'W'": {"shape": [3, 4], "dtype": "float64"}}},
    {"arrays": {"W": {"shape": [3, 4], "dtype": "float64", "average": None}}},
    {"arrays": {"'W'": {"shape": [-3], "dtype": "float64", "average": None}}},
    {"arrays": {"'W'": {"shape": [3, 4], "dtype": "float64", "average": np.zeros(3)}}},
    {"arrays": {}},
])  # fmt: skip
def test_damaged_state_is_refused_and_changes_nothing(change: dict[str, Any]) -> None:
    from combinet.storage import file_format

    sgd = cb.Adam(0.1)
    steps(sgd)
    content = file_format.decode("optimizer", sgd.to_bytes(NOTHING))
    before = sgd.to_bytes(NOTHING)
    with raises(FormatError):
        sgd.from_bytes(file_format.encode("optimizer", content | change), NOTHING)
    assert sgd.to_bytes(NOTHING) == before
