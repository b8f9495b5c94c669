"""ONNX export of single layers: options and inputs that the table of cases does not cover."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.ops.formulas.primitives import PRIMITIVES
from helpers.arrays import floats, listed
from helpers.errors import raises

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from combinet.interop.onnx import to_onnx
from helpers.load_onnx import Session, check


def single(*shape: int, seed: int = 0) -> Any:
    return floats(*shape, seed=seed).astype("float32")


def docs(*lengths: int, width: int = 3) -> Any:
    return [x.astype("float32") for x in listed(*lengths, width=width)]


# -- formulas ----------------------------------------------------------------------------------

FORMULAS: list[Callable[[Any], Any]] = [
    lambda x: (x + 1) * (2 - x) / (3 + x),
    lambda x: -(+x) + np.maximum(x, 0.5) - np.minimum(x, 0.25),
    lambda x: np.where((x < 0.25) | ~(x <= 0.625) & (x != 0.875), np.abs(x), np.sign(x) * 2),
    lambda x: np.where((x == 0.5) | (x > 0.75), np.sqrt(x), x**1.7),
    lambda x: np.exp(x) + np.expm1(x) + np.log(x) + np.log1p(x),
    lambda x: np.logaddexp(x, 1 - x) + np.logaddexp(40 * x, -3),
    lambda x: np.sin(x) + np.cos(x) * np.tan(x) + np.arcsin(x) - np.arccos(x) + np.arctan(x),
    lambda x: np.sinh(x) + np.cosh(x) + np.tanh(x) + np.arcsinh(x) + np.arctanh(x),
    lambda x: np.arccosh(1 + x),
    lambda x: np.where(x > 0.5, 1.0, 0.0) + np.positive(x),
    lambda x: x,
]


@pytest.mark.parametrize("i", range(len(FORMULAS)))
def test_formula_matches_numpy(i: int) -> None:
    X = np.arange(1, 16, dtype="float32").reshape(15, 1) / 16  # exact, so the conditions are too
    Y = Session(cb.elementwise(FORMULAS[i]), X)(X)["Y"]
    assert Y.dtype == "float32"
    np.testing.assert_allclose(Y, FORMULAS[i](X.astype(float)), rtol=2e-5, atol=1e-6)


def test_formulas_cover_every_primitive() -> None:
    steps = [cb.elementwise(f).attrs["value"].steps for f in FORMULAS]
    assert {step.op for each in steps for step in each} == set(PRIMITIVES)


@pytest.mark.parametrize(
    "layer",
    [cb.relu, cb.gelu, cb.mish, cb.swish, cb.dish, cb.elu, cb.selu, cb.hard_swish,
     cb.hard_swish_mobilenet, cb.hard_sigmoid, cb.hard_tanh, cb.relu_k, cb.sigmoid_activation,
     lambda: cb.clipped_linear(min_val=-np.inf, max_val=np.inf)],
)  # fmt: skip
def test_activations_match_for_large_values(layer: Any) -> None:
    check(layer(), np.linspace(-60, 60, 241, dtype="float32"))


# -- keys --------------------------------------------------------------------------------------


def test_hash_embed_matches_for_64_bit_keys() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2**64, 1000, dtype="uint64")
    X[:4] = [0, 1, 2**63, 2**64 - 1]
    model = cb.HashEmbed(2, 1_000_003, seed=7).initialize(dtype="float64", rng=1)
    check(model, X, X[:1])
    signed = X.astype("int64")
    assert (signed < 0).any()
    check(model, signed)
    np.testing.assert_array_equal(Session(model, X)(X)["Y"], Session(model, signed)(signed)["Y"])


def test_embed_accepts_ids_of_other_dtypes() -> None:
    model = cb.Embed(3, 7).initialize()
    for dtype in ("uint64", "int32", "uint8"):
        check(model, np.array([6, 0, 3], dtype))


def test_premap_ids_accepts_signed_and_unsigned_ids() -> None:
    model = cb.premap_ids({2**64 - 1: 3, 5: 4}, default=9)
    check(model, np.array([5, -1, 0]))
    check(model, np.array([2**64 - 1, 6], "uint64"))


def test_remap_ids_accepts_words() -> None:
    check(cb.remap_ids({"a": 1, "é": 2}, default=7), ["é", "b", "a"], ["x"])
    with raises(cb.InputError, "'remap_ids'"):
        to_onnx(cb.remap_ids({1: 1}), ["a"])


# -- parts of arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [0, -1, (1, 2), (slice(None), 0), slice(1, None), slice(None, None, -1), slice(-2, None),
     (slice(None, -1), slice(1, 3)), slice(5, 0, -2), [1, -1], (slice(2), [0, 0], slice(1, None)),
     (0, slice(None), -1), (slice(None),)],
    ids=str,
)  # fmt: skip
def test_array_getitem_matches_numpy(index: Any) -> None:
    X = single(6, 4, 3)
    np.testing.assert_array_equal(Session(cb.array_getitem(index), X)(X)["Y"], X[index])


@pytest.mark.parametrize("index", [([0, 1], [1, 0]), (0, slice(None), [0, 1])])
def test_array_getitem_with_lists_on_several_axes_fails(index: Any) -> None:
    with raises(cb.InputError, "axis"):
        to_onnx(cb.array_getitem(index), single(4, 3, 2))


def test_map_list_applies_array_getitem_to_each_item() -> None:
    layer = cb.map_list(cb.array_getitem(slice(None, None, -1)))
    check(layer, docs(3, 1, 2), docs(2), docs(1, 1, 5))


def test_map_list_supports_layers_that_change_lengths() -> None:
    layer = cb.map_list(cb.with_list(cb.with_ragged(cb.Conv1d(2, stride=2)))).initialize(docs(3))
    check(layer, docs(3, 0, 5), docs(1), docs(6, 7))


def test_map_list_fails_if_items_are_not_arrays() -> None:
    with raises(cb.InputError, "'map_list'"):
        to_onnx(cb.map_list(cb.tuplify(cb.noop(), cb.noop())), docs(2))


def test_residual_of_a_tuple_can_be_exported() -> None:
    layer: Any = cb.residual(cb.with_getitem(0, cb.with_array(cb.gelu())))
    check(layer, (docs(2, 1), single(4, 3)), (docs(3), single(1, 3)))


# -- sequences ---------------------------------------------------------------------------------

EMPTY = [docs(0), docs(0, 0), docs(0, 3, 0), docs(4, 0, 0, 1, 0)]


@pytest.mark.parametrize(
    "layer",
    [
        cb.with_flatten(cb.expand_window(2)),
        cb.with_flatten(cb.sinusoidal_positions()),
        cb.with_ragged(cb.Conv1d(2, stride=3, dilation=2, padding="causal")),
        cb.with_ragged(cb.Conv1d(2, width=2, padding="valid")),
        cb.with_padded(cb.LSTM(2, bi=True)),
        cb.with_padded(cb.GRU(2)),
        cb.with_padded(cb.LSTM(2, bias=False)),
        cb.with_padded(cb.GRU(2, bias=False)),
        cb.with_padded(cb.RNN(2)),
        cb.with_flatten(cb.Linear(12) >> cb.self_attention(2, causal=True, rotary=True)),
        cb.with_ragged(cb.ParametricAttention()),
        cb.list2ragged() >> cb.reduce_mean(),
        cb.list2ragged() >> cb.reduce_sum(),
    ],
    ids=lambda layer: layer.layers[0].name,
)
def test_empty_sequences_match_predict(layer: Any) -> None:
    X = docs(3, 2, 7)
    check(layer.copy().initialize(X, rng=1), X, *EMPTY)


def test_cross_attention_with_empty_memory_matches_predict() -> None:
    layer = cb.CrossAttention(4, 3, 3, heads=2).initialize(rng=1)
    check(layer, (docs(3, 1), docs(2, 2)), (docs(3, 1), docs(0, 0)), (docs(0, 2), docs(5, 0)))


def test_reduce_sum_is_exact_for_many_rows() -> None:
    X = cb.Ragged(np.ones((300_000, 2), "float32"), [1, 199_999, 100_000])
    Y = Session(cb.reduce_sum(), X)(X)["Y"]
    np.testing.assert_array_equal(Y, np.array([[1] * 2, [199_999] * 2, [100_000] * 2]))


def test_viterbi_matches_predict() -> None:
    model: Any = cb.CRF(5, init_T=cb.normal(1.0)) >> cb.viterbi()
    model.initialize(rng=1)
    batches = [docs(*np.random.default_rng(i).integers(0, 9, 20), width=5) for i in range(5)]
    check(model, *batches, docs(0, width=5), docs(1, width=5))


# -- dtypes ------------------------------------------------------------------------------------


def test_float64_stays_float64() -> None:
    model = cb.with_flatten(cb.expand_window(1) >> cb.Maxout(4) >> cb.LayerNorm() >> cb.Softmax(2))
    check(model.initialize(listed(3), dtype="float64", rng=1), listed(3, 0, 2), listed(4))
