"""Activations: values and slopes over the whole range, with and without an affine map."""

import inspect
import pickle
from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import value_and_derivative

# -- accuracy: against formulas with 450 digits -----------------------------------------------

ONE, HALF = Decimal(1), Decimal("0.5")
FORMULAS: dict[str, Callable[[Decimal], Decimal]] = {
    "sigmoid_activation": lambda x: ONE / (ONE + (-x).exp()),
    "swish": lambda x: x / (ONE + (-x).exp()),
    "mish": lambda x: x * _tanh((ONE + x.exp()).ln()),
    "dish": lambda x: x * HALF * (ONE + x / (ONE + x * x).sqrt()),
    "elu": lambda x: x if x > 0 else x.exp() - ONE,
    "selu": lambda x: (
        Decimal("1.0507009873554805")
        * (x if x > 0 else Decimal("1.6732632423543772") * (x.exp() - ONE))
    ),
    "hard_sigmoid": lambda x: min(max(x / 5 + HALF, Decimal(0)), ONE),
    "hard_swish": lambda x: x * min(max(x / 5 + HALF, Decimal(0)), ONE),
    "hard_swish_mobilenet": lambda x: x * min(max(x + 3, Decimal(0)), Decimal(6)) / 6,
    "hard_tanh": lambda x: min(max(x, -ONE), ONE),
    "relu_k": lambda x: min(max(x, Decimal(0)), Decimal(6)),
}
SIZES = [1e-30, 1e-9, 0.01, 0.3, 0.9, 1.25, 2.4, 2.9, 5.5, 16.0, 20.5, 38.0, 87.0, 100.0, 700.0]
POINTS = np.array([-x for x in reversed(SIZES)] + SIZES)


def _tanh(x: Decimal) -> Decimal:
    e = (-2 * x).exp()
    return (ONE - e) / (ONE + e)


def exact_values_and_slopes(function: Callable[[Decimal], Decimal], points: Any) -> tuple[Any, Any]:
    """Returns the function and its slope, by central differences, at points that are floats."""
    h = Decimal("1e-60")
    with localcontext(Context(prec=450)):
        at = [Decimal(float(x)) for x in points]
        values = [float(function(x)) for x in at]
        slopes = [float((function(x + h) - function(x - h)) / (2 * h)) for x in at]
    return np.array(values), np.array(slopes)


@pytest.mark.parametrize("name", FORMULAS)
def test_float64_is_accurate_over_the_whole_range(name: str) -> None:
    Y, slope = value_and_derivative(getattr(cb, name)(), POINTS)
    expected_Y, expected_slope = exact_values_and_slopes(FORMULAS[name], POINTS)
    np.testing.assert_allclose(Y, expected_Y, rtol=1e-13, atol=1e-290)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-12, atol=1e-290)


@pytest.mark.parametrize("name", FORMULAS)
def test_float32_is_accurate_over_the_whole_range(name: str) -> None:
    points = POINTS.astype("f")
    Y, slope = value_and_derivative(getattr(cb, name)(), points)
    assert Y.dtype == slope.dtype == np.float32
    expected_Y, expected_slope = exact_values_and_slopes(FORMULAS[name], points)
    np.testing.assert_allclose(Y, expected_Y, rtol=1e-6, atol=1e-36)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-5, atol=1e-36)


# The values at -inf and inf, then the slopes there.
INF = np.inf
LIMITS: dict[str, tuple[float, float, float, float]] = {
    "relu": (0, INF, 0, 1),
    "gelu": (0, INF, 0, 1),
    "sigmoid_activation": (0, 1, 0, 0),
    "Logistic": (0, 1, 0, 0),
    "swish": (0, INF, 0, 1),
    "mish": (0, INF, 0, 1),
    "dish": (0, INF, 0, 1),
    "elu": (-1, INF, 0, 1),
    "selu": (-1.6732632423543772 * 1.0507009873554805, INF, 0, 1.0507009873554805),
    "clipped_linear": (0, 1, 0, 0),
    "hard_sigmoid": (0, 1, 0, 0),
    "hard_tanh": (-1, 1, 0, 0),
    "relu_k": (0, 6, 0, 0),
    "hard_swish": (0, INF, 0, 1),
    "hard_swish_mobilenet": (0, INF, 0, 1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LIMITS)
def test_infinities_give_the_limits_and_nan_stays_nan(name: str, dtype: Any) -> None:
    low, high, slope_low, slope_high = LIMITS[name]
    X = np.array([-INF, INF, np.nan], dtype=dtype)
    Y, slope = value_and_derivative(getattr(cb, name)(), X)
    rtol, tiny = 1e-6 if dtype == "float32" else 1e-15, float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(Y, [low, high, np.nan], rtol=rtol, atol=tiny)
    np.testing.assert_allclose(slope[:2], [slope_low, slope_high], rtol=rtol, atol=tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LIMITS)
def test_largest_numbers_have_the_right_value_and_slope(name: str, dtype: Any) -> None:
    low, high, slope_low, slope_high = LIMITS[name]
    most = float(np.finfo(dtype).max)
    X = np.array([-most, -most / 3, most / 3, most], dtype=dtype)[:: 3 if name == "selu" else 1]
    X = X / 2 if name == "selu" else X  # times its scale, 1.05, it would overflow
    Y, slope = value_and_derivative(getattr(cb, name)(), X)
    top = abs(X) * slope_high if high == INF else np.full_like(X, high)
    expected = np.where(X < 0, low, top)
    rtol, tiny = 1e-6 if dtype == "float32" else 1e-15, float(np.finfo(dtype).tiny)
    np.testing.assert_allclose(Y, expected, rtol=rtol, atol=tiny)
    np.testing.assert_allclose(slope, np.where(X < 0, slope_low, slope_high), rtol=rtol, atol=tiny)


@pytest.mark.parametrize("slope", [3.0, -3.0])
def test_steep_clipped_linear_does_not_overflow(slope: float) -> None:
    X = np.array([-3e38, 0.1, 3e38], dtype="f")
    model = cb.clipped_linear(slope=slope, offset=0.5, min_val=-2.0, max_val=2.0)
    Y, dX = value_and_derivative(model, X)
    ends = [-2.0, 2.0] if slope > 0 else [2.0, -2.0]
    np.testing.assert_allclose(Y, [ends[0], 0.1 * slope + 0.5, ends[1]], rtol=1e-6)
    np.testing.assert_allclose(dX, [0, slope, 0])


def test_clipped_linear_may_be_clipped_at_one_end_only() -> None:
    X = np.array([-1e5, -1.0, 4.0])
    Y, dX = value_and_derivative(cb.clipped_linear(slope=2.0, min_val=-INF), X)
    np.testing.assert_allclose(Y, [-2e5, -2.0, 1.0])
    np.testing.assert_allclose(dX, [2, 2, 0])


# -- against PyTorch ---------------------------------------------------------------------------


def _references() -> dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]]:
    F = pytest.importorskip("torch").nn.functional
    return {
        "Relu": (lambda: cb.Relu(4), F.relu),
        "Gelu": (lambda: cb.Gelu(4), F.gelu),
        "Mish": (lambda: cb.Mish(4), F.mish),
        "Swish": (lambda: cb.Swish(4), F.silu),
        "Dish": (lambda: cb.Dish(4), lambda Z: Z / 2 * (1 + Z / (1 + Z * Z).sqrt())),
        "ELU": (lambda: cb.ELU(4, alpha=0.3), lambda Z: F.elu(Z, 0.3)),
        "SELU": (lambda: cb.SELU(4), F.selu),
        "Sigmoid": (lambda: cb.Sigmoid(4), lambda Z: Z.sigmoid()),
        "ClippedLinear": (
            lambda: cb.ClippedLinear(4, slope=-0.7, offset=0.2, min_val=-1.5, max_val=0.9),
            lambda Z: (Z * -0.7 + 0.2).clamp(-1.5, 0.9),
        ),
        "ReluK": (lambda: cb.ReluK(4), F.relu6),
        "ReluK-2": (lambda: cb.ReluK(4, k=2), lambda Z: Z.clamp(0, 2)),
        "HardTanh": (lambda: cb.HardTanh(4), F.hardtanh),
        "HardSigmoid": (lambda: cb.HardSigmoid(4), lambda Z: (Z * 0.2 + 0.5).clamp(0, 1)),
        "HardSwish": (lambda: cb.HardSwish(4), lambda Z: Z * (Z * 0.2 + 0.5).clamp(0, 1)),
        "HardSwishMobilenet": (lambda: cb.HardSwishMobilenet(4), F.hardswish),
    }


NAMES = [
    "Relu", "Gelu", "Mish", "Swish", "Dish", "ELU", "SELU", "Sigmoid", "ClippedLinear", "ReluK",
    "ReluK-2", "HardTanh", "HardSigmoid", "HardSwish", "HardSwishMobilenet",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_activation_with_affine_map_matches_pytorch(name: str) -> None:
    F = pytest.importorskip("torch").nn.functional
    from helpers.against_torch import assert_agrees

    make, reference = _references()[name]
    assert_agrees(make(), floats(9, 5) * 2, lambda X, W, b: reference(F.linear(X, W, b)))


WEIGHTLESS = {
    "mish": "mish", "swish": "silu", "elu": "elu", "selu": "selu", "relu_k": "relu6",
    "hard_tanh": "hardtanh", "hard_swish_mobilenet": "hardswish", "sigmoid_activation": "sigmoid",
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_activation_without_affine_map_matches_pytorch(name: str) -> None:
    F = pytest.importorskip("torch").nn.functional
    from helpers.against_torch import assert_agrees

    assert_agrees(getattr(cb, name)(), floats(2, 9, 5) * 4, getattr(F, WEIGHTLESS[name]))


# -- normalize and dropout ---------------------------------------------------------------------

FINISHED = [
    cb.Relu, cb.Gelu, cb.Mish, cb.Swish, cb.Dish, cb.ELU, cb.SELU, cb.ClippedLinear, cb.ReluK,
    cb.HardTanh, cb.HardSigmoid, cb.HardSwish, cb.HardSwishMobilenet, cb.Maxout,
]  # fmt: skip


@pytest.mark.parametrize("make", FINISHED, ids=lambda make: make.__name__)
def test_normalize_and_dropout_add_layers_after_the_activation(make: Any) -> None:
    X, dY = floats(6, 3), floats(6, 4)
    models = [make(4, 3, normalize=True, dropout=0.4), make(4, 3) >> cb.LayerNorm(4)
              >> cb.Dropout(0.4)]  # fmt: skip
    results = []
    for model in models:
        model.initialize(rng=3, dtype="float64")
        Y, backprop = model.begin_update(X, rng=np.random.default_rng(1))
        results.append((model.predict(X), Y, backprop(dY)))
    assert [layer.name for layer in models[0].walk()] == [layer.name for layer in models[1].walk()]
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert (results[0][1] == 0).any()
    assert results[0][0].any(axis=0).all()
    assert len(make(4, 3).layers) == 0
    assert [layer.name for layer in make(4, 3, dropout=0.0).layers][1:] == ["dropout"]
    assert [layer.name for layer in make(normalize=True).layers][1:] == ["layer_norm"]


def test_invalid_dropout_rate_is_refused() -> None:
    with raises(cb.InputError, "dropout"):
        cb.Mish(dropout=1.0)


# -- settings ----------------------------------------------------------------------------------


def test_settings_are_saved() -> None:
    X = floats(4, 3)
    for model, other in (
        (cb.elu(0.3), cb.elu()),
        (cb.relu_k(0.5), cb.relu_k()),
        (cb.clipped_linear(slope=0.3, offset=0.1), cb.clipped_linear()),
    ):
        expected = model.predict(X)
        assert not np.array_equal(other.predict(X), expected)
        np.testing.assert_array_equal(other.from_bytes(model.to_bytes()).predict(X), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cb.clipped_linear(slope=0.0), "slope=0.0"),
        (lambda: cb.ClippedLinear(min_val=1.0, max_val=1.0), "min_val=1.0 ... max_val=1.0"),
        (lambda: cb.HardTanh() >> cb.clipped_linear(max_val=float("nan")), "max_val=nan"),
        (lambda: cb.relu_k(0.0), "k ... 0.0"),
        (lambda: cb.ReluK(k=-1.0), "k ... -1.0"),
    ],
)
def test_invalid_settings_are_refused(make: Callable[[], Any], message: str) -> None:
    with raises(cb.InputError, message):
        make()


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_integers_are_refused(name: str) -> None:
    with raises(cb.InputError, "int64", "(3,)"):
        getattr(cb, name)().predict(np.arange(3))


def test_monotonic_activations_never_decrease() -> None:
    X = np.linspace(-50, 50, 2001)
    for name in ("sigmoid_activation", "elu", "selu", "hard_tanh", "hard_sigmoid", "relu_k"):
        Y = getattr(cb, name)().predict(X)
        assert all(a <= b for a, b in pairwise(Y.tolist())), name


def test_selu_keeps_mean_and_variance() -> None:
    # Klambauer et al. 2017, theorem 1: (0, 1) is the fixed point; by Gauss-Hermite quadrature.
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    Y = cb.selu().predict(nodes)
    np.testing.assert_allclose([weights @ Y, weights @ (Y * Y)], [0, 1], atol=2e-3)


@pytest.mark.parametrize("make", [cb.Swish, cb.HardSwish, cb.SELU, cb.Relu])
def test_constructors_have_a_full_signature_and_can_be_pickled(make: Any) -> None:
    parameters = inspect.signature(make).parameters
    first = {"SELU": cb.lecun_normal}.get(make.__name__, cb.he_normal)
    assert {name: each.default for name, each in parameters.items()} == {
        "nO": None, "nI": None, "init_W": first, "init_b": cb.zeros, "bias": True,
        "dropout": None, "normalize": False,
    }  # fmt: skip
    assert parameters["nI"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["init_W"].kind is inspect.Parameter.KEYWORD_ONLY
    assert pickle.loads(pickle.dumps(make)) is make is getattr(cb, make.__qualname__)
    with pytest.raises(TypeError, match="unexpected keyword"):
        make(anything=1)
