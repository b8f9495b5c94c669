"""Attention, transformer blocks and positions: against PyTorch; masks; resizing; errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, listed, padded, ragged
from helpers.errors import raises
from helpers.load_torch import gradients, load_torch
from helpers.models import params_of, pending_gradients

LENGTHS = [3, 1, 5, 3]
MEMORY = [2, 6, 1, 4]


def _docs(width: int, seed: int = 0, lengths: list[int] = LENGTHS) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, width)) for n in lengths]


def _close(found: Any, expected: Any, what: str = "") -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12, err_msg=what)


def _padded(torch: Any, docs: list[Any]) -> tuple[Any, Any]:
    """Returns the docs as a tensor (batch, longest, width), and its padding mask."""
    tensors = [torch.tensor(doc) for doc in docs]
    X = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True).requires_grad_()
    lengths = torch.tensor([len(doc) for doc in docs])
    return X, torch.arange(X.shape[1]) >= lengths[:, None]


def _causal_mask(torch: Any, X: Any) -> Any:
    """Returns the mask of the later rows, which causal attention must not see."""
    return torch.ones(X.shape[1], X.shape[1], dtype=torch.bool).triu(1)


def _randomized(torch: Any, module: Any) -> Any:
    torch.manual_seed(7)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return module


def _check(torch: Any, model: Any, module: Any, docs: list[Any], expected: Any) -> None:
    """Checks output and gradients of a model with input `docs` against a PyTorch module.

    `expected` computes the output of the module from padded batches and their masks.
    """
    many = len(docs) > 1
    model.initialize(tuple(docs) if many else docs[0], dtype="float64")
    load_torch(model, module)
    Y, backprop = model.begin_update(tuple(docs) if many else docs[0])
    R = [floats(*y.shape, seed=50 + i) for i, y in enumerate(Y)]
    dX = backprop(R) if many else [backprop(R)]
    batches = [_padded(torch, each) for each in docs]
    theirs = expected(*(each for batch in batches for each in batch))
    terms = [(out[: len(r)] * torch.tensor(r)).sum() for out, r in zip(theirs, R, strict=True)]
    torch.stack(terms).sum().backward()
    for y, out in zip(Y, theirs, strict=True):
        _close(y, out[: len(y)].detach())
    for found, (X, _) in zip(dX, batches, strict=True):
        for dx, gradient in zip(found, X.grad, strict=True):
            _close(dx, gradient[: len(dx)])
    for name, found, gradient in gradients(model, module):
        _close(found, gradient, name)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention_matches_pytorch(causal: bool, bias: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    twin = torch.nn.MultiheadAttention(8, 2, bias=bias, batch_first=True, dtype=torch.float64)
    model = cb.with_flatten(cb.MultiHeadAttention(8, 8, heads=2, causal=causal, bias=bias))

    def expected(X: Any, mask: Any) -> Any:
        later = _causal_mask(torch, X) if causal else None
        return twin(X, X, X, mask, False, later)[0]

    _check(torch, model, _randomized(torch, twin), [_docs(8)], expected)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("widths", [{}, {"kdim": 6, "vdim": 6}], ids=["one-width", "two-widths"])
def test_cross_attention_matches_pytorch(widths: dict[str, int], bias: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    options = {"batch_first": True, "dtype": torch.float64, "bias": bias, **widths}
    twin = torch.nn.MultiheadAttention(8, 2, **options)
    docs = [_docs(8), _docs(widths.get("kdim", 8), 1, MEMORY)]
    _check(
        torch, cb.CrossAttention(8, heads=2, bias=bias), _randomized(torch, twin), docs,
        lambda X, _, M, mask: twin(X, M, M, mask, False)[0],
    )  # fmt: skip


def _options(torch: Any, pre_norm: bool, activation: str) -> dict[str, Any]:
    return {
        "d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0, "batch_first": True,
        "activation": activation, "norm_first": pre_norm, "dtype": torch.float64,
    }  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("pre_norm", [True, False], ids=["pre-norm", "post-norm"])
def test_encoder_block_matches_pytorch(pre_norm: bool, activation: str) -> None:
    torch: Any = pytest.importorskip("torch")
    twin = torch.nn.TransformerEncoderLayer(**_options(torch, pre_norm, activation))
    model = cb.TransformerEncoder(8, heads=2, hidden=16, pre_norm=pre_norm, activation=activation)
    _check(
        torch, cb.with_flatten(model), _randomized(torch, twin), [_docs(8)],
        lambda X, mask: twin(X, src_key_padding_mask=mask),
    )  # fmt: skip


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("pre_norm", [True, False], ids=["pre-norm", "post-norm"])
def test_decoder_block_matches_pytorch(pre_norm: bool, activation: str) -> None:
    torch: Any = pytest.importorskip("torch")
    twin = torch.nn.TransformerDecoderLayer(**_options(torch, pre_norm, activation))
    model = cb.TransformerDecoder(8, heads=2, hidden=16, pre_norm=pre_norm, activation=activation)
    _check(
        torch, model, _randomized(torch, twin), [_docs(8), _docs(8, 1, MEMORY)],
        lambda X, mask, M, empty: twin(X, M, _causal_mask(torch, X), None, mask, empty),
    )  # fmt: skip


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_encoder_followed_by_decoder_matches_pytorch(bias: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    nn = torch.nn
    options = _options(torch, True, "gelu") | {"layer_norm_eps": 0.5, "bias": bias}
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**options), 2,
                                    enable_nested_tensor=False)  # fmt: skip
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**options), 2)
    ours = [make(8, heads=2, hidden=16, depth=2, eps=0.5, bias=bias)
            for make in (cb.TransformerEncoder, cb.TransformerDecoder)]  # fmt: skip
    twin = nn.Module()
    twin.layers = nn.ModuleList([encoder, decoder])

    def expected(X: Any, mask: Any, M: Any, empty: Any) -> Any:
        memory = encoder(M, src_key_padding_mask=empty)
        return decoder(X, memory, _causal_mask(torch, X), None, mask, empty)

    model = cb.with_getitem(1, cb.with_flatten(ours[0])) >> ours[1]
    docs = [_docs(8), _docs(8, 1, MEMORY)]
    _check(torch, model, _randomized(torch, twin), docs, expected)


def test_swiglu_matches_its_formula() -> None:
    torch: Any = pytest.importorskip("torch")
    model = cb.FeedForward(4, 3, hidden=5, activation="swiglu").initialize(dtype="float64")
    x, r = floats(6, 3), floats(6, 4, seed=1)
    weights = [torch.tensor(W, requires_grad=True) for W in params_of(model).values()]
    V, c, W, b, U, d = weights
    X = torch.tensor(x, requires_grad=True)
    linear = torch.nn.functional.linear
    expected = linear(torch.nn.functional.silu(linear(X, W, b)) * linear(X, V, c), U, d)
    expected.backward(torch.tensor(r))
    Y, backprop = model.begin_update(x)
    _close(Y, expected.detach())
    _close(backprop(r), X.grad)
    for gradient, weight in zip(pending_gradients(model), weights, strict=True):
        _close(gradient, weight.grad)


def test_sigmoid_gate_matches_glu_of_pytorch() -> None:
    torch: Any = pytest.importorskip("torch")
    model = cb.gated(cb.Linear(4, 3), cb.Sigmoid(4, init_W=cb.glorot_uniform))
    model.initialize(dtype="float64")
    x, r = floats(6, 3), floats(6, 4, seed=1)
    (V, c), (W, b) = [(torch.tensor(layer.get_param("W")), torch.tensor(layer.get_param("b")))
                      for layer in model.layers]  # fmt: skip
    X = torch.tensor(x, requires_grad=True)
    both = torch.cat([X @ V.T + c, X @ W.T + b], dim=1)
    expected = torch.nn.functional.glu(both)
    expected.backward(torch.tensor(r))
    Y, backprop = model.begin_update(x)
    _close(Y, expected.detach())
    _close(backprop(r), X.grad)


def _rotated(X: Any) -> Any:
    """Returns complex numbers of columns i and i + d / 2 of a head, row p rotated by p * t."""
    half = X.shape[1] // 2
    t = 10000.0 ** (-2 * np.arange(half) / X.shape[1])
    return (X[:, :half] + 1j * X[:, half:]) * np.exp(1j * np.outer(np.arange(len(X)), t))


@pytest.mark.parametrize("causal", [False, True])
def test_rotary_positions_rotate_queries_and_keys(causal: bool) -> None:
    heads, width = 2, 6
    docs = _docs(3 * heads * width)
    Y = cb.with_array(cb.self_attention(heads, causal=causal, rotary=True)).predict(docs)
    for doc, y in zip(docs, Y, strict=True):
        for h in range(heads):
            Q, K, V = (doc[:, (part * heads + h) * width :][:, :width] for part in range(3))
            scores = (_rotated(Q) @ _rotated(K).conj().T).real / width**0.5
            if causal:
                scores[np.triu_indices(len(doc), 1)] = -np.inf
            P = np.exp(scores)
            _close(y[:, h * width :][:, :width], P / P.sum(axis=1, keepdims=True) @ V)


def test_rotary_scores_depend_only_on_the_distance() -> None:
    row = floats(1, 12)
    P = np.repeat(row, 5, axis=0)  # the same row at five positions
    P[:, 8:] = np.eye(5)[:, :4]  # the output is the softmax without its last column
    Y = cb.self_attention(1, rotary=True).predict(P)
    ratios = np.log(Y[:, 1:] / Y[:, :-1])  # differences of neighbouring scores
    _close(ratios[1, 1], ratios[0, 0])
    _close(ratios[2, 2], ratios[0, 0])
    assert abs(ratios[0, 0]) > 1e-3


def test_rows_do_not_attend_to_other_sequences() -> None:
    model = cb.with_flatten(cb.TransformerEncoder(8, heads=2)).initialize(dtype="float64")
    docs = _docs(8)
    together = model.predict(docs)
    for doc, Y in zip(docs, together, strict=True):
        np.testing.assert_allclose(model.predict([doc])[0], Y, rtol=1e-12)


def test_causal_attention_does_not_see_later_rows() -> None:
    model = cb.TransformerEncoder(8, heads=2, causal=True).initialize(dtype="float64")
    X = _docs(8)[2]
    before = model.predict(X)
    X[3:] += 100
    np.testing.assert_array_equal(model.predict(X)[:3], before[:3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("extreme", [np.nan, np.inf, -np.inf])
def test_causal_attention_ignores_nan_and_infinity_in_later_rows(
    extreme: float, dtype: str
) -> None:
    X = floats(5, 3).astype(dtype)
    model = cb.self_attention(1, causal=True)
    before = model.predict(X)
    X[3:, 1] = extreme  # a key: it affects only scores
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(model.predict(X)[:3], before[:3])


def test_extreme_scores_stay_finite() -> None:
    X = np.full((4, 6), 1e4)
    X[0] = -1e4
    Y, backprop = cb.self_attention(2).begin_update(X)
    assert np.isfinite(Y).all()
    assert np.isfinite(backprop(np.ones_like(Y))).all()


def test_widths_not_divisible_by_the_heads_are_refused() -> None:
    with raises(cb.DimensionError, "3", "heads"):
        cb.MultiHeadAttention(8, heads=3)
    with raises(cb.DimensionError, "6", "4"):
        cb.self_attention(2).predict(np.ones((2, 4)))


def test_resize_input_keeps_queries_keys_and_values_separate() -> None:
    X = _docs(4)[0]
    model = (cb.self_attention(1) >> cb.Linear(2)).initialize(np.ones((1, 6)), dtype="float64")
    wider = np.concatenate([np.pad(part, ((0, 0), (0, 1))) for part in
                            np.split(np.hstack([X, X])[:, :6], 3, axis=1)], axis=1)  # fmt: skip
    assert model.resize_input(9).predict(wider).shape == (3, 2)
    assert (model.layers[1].get_param("W")[:, 2] == 0).all()


def test_sinusoidal_positions_match_their_formula() -> None:
    docs = [np.zeros((2, 4)), np.zeros((3, 4))]
    Y = cb.with_flatten(cb.sinusoidal_positions()).predict(docs)
    for doc in Y:
        for p, row in enumerate(doc):
            expected = [np.sin(p), np.cos(p), np.sin(p / 100), np.cos(p / 100)]
            np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_learned_positions_add_the_row_of_each_position() -> None:
    docs = _docs(3)
    model = cb.with_flatten(cb.LearnedPositions(longest=5)).initialize(docs, dtype="float64")
    P = model.layers[0].get_param("P")
    Y, backprop = model.begin_update(docs)
    for doc, y in zip(docs, Y, strict=True):
        _close(y, doc + P[: len(doc)])
    backprop(docs)
    expected = sum(np.pad(doc, ((0, 5 - len(doc)), (0, 0))) for doc in docs)
    _close(model.layers[0].get_grad("P"), expected)
    with raises(cb.DimensionError, "learned_positions", "5", "6"):
        model.predict([*docs, floats(6, 3)])


# -- padding and empty sequences ------------------------------------------------------------------

SOME_EMPTY = [3, 0, 1, 4, 0, 3]
MEMORIES = [2, 5, 0, 1, 0, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda: cb.with_array(cb.MultiHeadAttention(4, heads=2, rotary=True)),
        lambda: cb.with_array(cb.TransformerEncoder(4, causal=True)),
        lambda: cb.CrossAttention(4),
        lambda: cb.TransformerDecoder(4, heads=2, rotary=True),
    ],
    ids=["self", "encoder", "cross", "decoder"],
)
def test_lists_ragged_and_padded_give_equal_results(make: Any) -> None:
    model = make()
    two = model.name == "with_ragged"
    docs, memory = _docs(4, 0, SOME_EMPTY), _docs(3, 1, MEMORIES)
    model.initialize((docs, memory) if two else docs, dtype="float64")
    R = _docs(4, 2, SOME_EMPTY)
    results = []
    for to, back in (
        (cb.noop, cb.noop), (cb.list2ragged, cb.ragged2list), (cb.list2padded, cb.padded2list),
    ):  # fmt: skip
        X = tuple(to().predict(each) for each in (docs, memory)) if two else to().predict(docs)
        Y, backprop = model.begin_update(X)
        dX = backprop(to().predict(R))
        arrays = [each for part in ((Y, *dX) if two else (Y, dX)) for each in back().predict(part)]
        results.append(arrays)
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert np.isfinite(found).all()
            _close(found, expected)
    for i, doc in enumerate(docs):  # each sequence alone
        if len(doc):
            alone = model.predict(([doc], [memory[i]]) if two else [doc])
            _close(alone[0], results[0][i])


def test_empty_memory_contributes_zeros_and_no_gradient() -> None:
    layer = cb.CrossAttention(4, 3, 2).initialize(dtype="float64")
    last = layer.layers[0].layers[3].layers[0]
    last.set_param("b", [1.0, 2.0, 3.0, 4.0])
    X, M = listed(2, 3), listed(0, 4, width=2)
    Y, backprop = layer.begin_update((X, M))
    np.testing.assert_array_equal(Y[0], [[1.0, 2.0, 3.0, 4.0]] * 2)
    dX, dM = backprop([floats(2, 4), floats(3, 4)])
    np.testing.assert_array_equal(dX[0], np.zeros((2, 3)))
    assert dM[0].shape == (0, 2)
    assert (dX[1] != 0).all()


def test_decoder_sees_only_its_own_memory_and_no_later_rows() -> None:
    model = cb.TransformerDecoder(8, heads=2, depth=2)
    docs, memory = _docs(8), _docs(8, 1, MEMORY)
    before = model.initialize((docs, memory), dtype="float64").predict((docs, memory))
    changed = [memory[0] + 100, *memory[1:]]
    after = model.predict((docs, changed))
    for y, expected in zip(after[1:], before[1:], strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    docs[2][3:] += 100
    np.testing.assert_allclose(model.predict((docs, memory))[2][:3], before[2][:3], rtol=1e-12)


# -- widths and errors ----------------------------------------------------------------------------


def test_decoder_infers_the_memory_width_from_the_previous_layer() -> None:
    memory = cb.with_getitem(1, cb.with_array(cb.Linear(6, 3)))
    model = (memory >> cb.TransformerDecoder(8, depth=2)).initialize(dtype="float64")
    X = (listed(3, 1, width=8), listed(2, 2))
    assert [Y.shape for Y in model.predict(X)] == [(3, 8), (1, 8)]
    assert model.get_dim("nO") == 8
    with raises(cb.DimensionError, "nO=6", "5"):
        memory >> cb.TransformerDecoder(8, 5)


def test_resizing_a_decoder_also_resizes_the_previous_layer() -> None:
    first = cb.Linear(8, 5)
    decoder = cb.TransformerDecoder(8, 3, heads=2, depth=2)
    model = (cb.with_getitem(0, cb.with_array(first)) >> decoder).initialize(dtype="float64")
    model.resize_output(10)
    assert first.get_param("W").shape == (10, 5)
    X = (listed(3, 1, width=5), listed(2, 2))
    assert [Y.shape for Y in model.predict(X)] == [(3, 10), (1, 10)]


def test_resize_output_keeps_queries_keys_and_values_separate() -> None:
    model = (cb.Linear(6, 3) >> cb.self_attention(1)).initialize(dtype="float64")
    W = model.layers[0].get_param("W")
    model.resize_output(3)
    wider = [np.pad(part, ((0, 1), (0, 0))) for part in np.split(W, 3)]
    np.testing.assert_array_equal(model.layers[0].get_param("W"), np.concatenate(wider))


def test_resize_output_keeps_keys_and_values_of_a_memory_separate() -> None:
    queries, memory = cb.Linear(4, 3), cb.Linear(8, 2)
    model = cb.with_getitem(0, cb.with_array(queries)) >> cb.with_getitem(1, cb.with_array(memory))
    model = (model >> cb.cross_attention(2)).initialize(dtype="float64")
    Q, KV = queries.get_param("W"), memory.get_param("W")
    model.resize_output(6)
    np.testing.assert_array_equal(queries.get_param("W"), np.pad(Q, ((0, 2), (0, 0))))
    wider = [np.pad(part, ((0, 2), (0, 0))) for part in np.split(KV, 2)]
    np.testing.assert_array_equal(memory.get_param("W"), np.concatenate(wider))
    assert model.predict((ragged(2, 1), ragged(1, 3, width=2))).data.shape == (3, 6)


def test_cross_attention_refuses_invalid_input_and_settings() -> None:
    layer = cb.CrossAttention(4, 3, 2).initialize(dtype="float64")
    X, M = listed(3, 1), listed(2, 5, width=2)
    with raises(cb.DimensionError, "2", "1"):
        layer.predict((X, M[:1]))
    with raises(cb.InputError, "tuple", "0", "Ragged"):
        layer.predict(X)
    with raises(cb.DimensionError, "linear", "nI=2"):
        layer.predict((X, listed(2, 5)))
    with raises(cb.InputError, "cross_attention", "tuple"):
        cb.cross_attention(1).predict(ragged(2))
    with raises(cb.InputError, "cross_attention", "Ragged"):
        cb.cross_attention(1).predict((ragged(2), padded(2, width=6)))
    M = cb.Ragged(np.ones((2, 6), "f"), [2])
    with raises(cb.InputError, "dtype", "float32"):
        cb.cross_attention(1).predict((ragged(2), M))
    with raises(cb.DimensionError, "2", "3", "6"):
        cb.cross_attention(2).predict((ragged(2), ragged(2, width=6)))
    with raises(cb.DimensionError, "1", "3", "5"):
        cb.cross_attention(1).predict((ragged(2), ragged(2, width=5)))
    with raises(cb.DimensionError, "3", "heads", "8"):
        cb.CrossAttention(8, heads=3)
    for make in (cb.self_attention, cb.cross_attention):
        with raises(cb.InputError, "0"):
            make(0)


def test_invalid_settings_are_refused() -> None:
    with raises(cb.InputError, "activation", "relu", "gelu", "swiglu", "'tanh'"):
        cb.FeedForward(4, activation="tanh")
    with raises(cb.InputError, "norm", "layer", "rms", "'batch'"):
        cb.TransformerEncoder(4, norm="batch")
    with raises(cb.DimensionError, "4", "heads"):
        cb.MultiHeadAttention(4, rotary=True)
    with raises(cb.DimensionError, "2", "heads", "12"):
        cb.self_attention(2, rotary=True).predict(floats(3, 6))
    with raises(cb.DimensionError, "gated"):
        cb.gated(cb.noop(), cb.layerize(lambda X: (X[:1], None))).predict(floats(3, 2))
