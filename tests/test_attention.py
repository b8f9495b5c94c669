"""Attention and the transformer's blocks against PyTorch, and what no mask may let through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb

LENGTHS = [3, 1, 5, 3]


def _docs(width: int, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, width)) for n in LENGTHS]


def _load(linear: Any, weight: Any, bias: Any) -> None:
    linear.set_param("W", weight.detach().numpy())
    linear.set_param("b", bias.detach().numpy())


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_pytorchs(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    twin = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(twin.in_proj_bias)
    model = cb.MultiHeadAttention(8, 8, heads=2, causal=causal).initialize(dtype="float64")
    first, _, last = model.layers
    _load(first, twin.in_proj_weight, twin.in_proj_bias)
    _load(last, twin.out_proj.weight, twin.out_proj.bias)
    docs, R = _docs(8), _docs(8, seed=1)
    Y, backprop = cb.with_flatten(model).begin_update(docs)
    dX = backprop(R)
    for x, r, y, dx in zip(docs, R, Y, dX, strict=True):
        X = torch.tensor(x[None], requires_grad=True)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(len(x), dtype=torch.float64)
        expected, _ = twin(X, X, X, attn_mask=mask if causal else None, need_weights=False)
        (expected * torch.tensor(r)).sum().backward()
        np.testing.assert_allclose(y, expected[0].detach(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(dx, X.grad[0], rtol=1e-9, atol=1e-12)
    for layer, weight, bias in (
        (first, twin.in_proj_weight, twin.in_proj_bias),
        (last, twin.out_proj.weight, twin.out_proj.bias),
    ):
        np.testing.assert_allclose(layer.get_grad("W"), weight.grad, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.get_grad("b"), bias.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pre_norm", [True, False])
def test_a_block_is_pytorchs(pre_norm: bool) -> None:
    torch = pytest.importorskip("torch")
    twin = torch.nn.TransformerEncoderLayer(
        8, 2, 16, 0.0, activation="gelu", batch_first=True, norm_first=pre_norm,
        dtype=torch.float64,
    )  # fmt: skip
    model = cb.TransformerEncoder(8, heads=2, hidden=16, pre_norm=pre_norm)
    model.initialize(dtype="float64")
    linears = [node for node in model.walk("dfs_pre") if node.name == "linear"]
    attention = twin.self_attn
    _load(linears[0], attention.in_proj_weight, attention.in_proj_bias)
    _load(linears[1], attention.out_proj.weight, attention.out_proj.bias)
    _load(linears[2], twin.linear1.weight, twin.linear1.bias)
    _load(linears[3], twin.linear2.weight, twin.linear2.bias)
    x, r = _docs(8)[2], _docs(8, seed=1)[2]
    Y, backprop = model.begin_update(x)
    X = torch.tensor(x[None], requires_grad=True)
    expected = twin(X)
    (expected * torch.tensor(r)).sum().backward()
    np.testing.assert_allclose(Y, expected[0].detach(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(backprop(r), X.grad[0], rtol=1e-9, atol=1e-12)


def test_no_row_sees_another_sequence() -> None:
    model = cb.with_flatten(cb.TransformerEncoder(8, heads=2)).initialize(dtype="float64")
    docs = _docs(8)
    together = model.predict(docs)
    for doc, Y in zip(docs, together, strict=True):
        np.testing.assert_allclose(model.predict([doc])[0], Y, rtol=1e-12)


def test_no_row_sees_a_later_one_when_causal() -> None:
    model = cb.TransformerEncoder(8, heads=2, causal=True).initialize(dtype="float64")
    X = _docs(8)[2]
    before = model.predict(X)
    X[3:] += 100
    np.testing.assert_array_equal(model.predict(X)[:3], before[:3])


def test_extreme_scores_stay_finite() -> None:
    X = np.full((4, 6), 1e4)
    X[0] = -1e4
    Y, backprop = cb.attend(2).begin_update(X)
    assert np.isfinite(Y).all()
    assert np.isfinite(backprop(np.ones_like(Y))).all()


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(cb.DimensionError, match="3 heads share evenly"):
        cb.MultiHeadAttention(8, heads=3)
    with pytest.raises(cb.DimensionError, match="a multiple of 6 columns, not 4"):
        cb.attend(2).predict(np.ones((2, 4)))


def test_resizing_keeps_queries_keys_and_values_apart() -> None:
    X = _docs(4)[0]
    model = (cb.attend(1) >> cb.Linear(2)).initialize(np.ones((1, 6)), dtype="float64")
    wider = np.concatenate([np.pad(part, ((0, 0), (0, 1))) for part in
                            np.split(np.hstack([X, X])[:, :6], 3, axis=1)], axis=1)  # fmt: skip
    assert model.resize_input(9).predict(wider).shape == (3, 2)
    assert (model.layers[1].get_param("W")[:, 2] == 0).all()


def test_positions_are_the_papers() -> None:
    docs = [np.zeros((2, 4)), np.zeros((3, 4))]
    Y = cb.with_flatten(cb.sinusoidal_positions()).predict(docs)
    for doc in Y:
        for p, row in enumerate(doc):
            expected = [np.sin(p), np.cos(p), np.sin(p / 100), np.cos(p / 100)]
            np.testing.assert_allclose(row, expected, rtol=1e-12)
