"""Layers and a whole model against PyTorch: output, gradients and training, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.against_torch import (
    F,
    assert_agrees,
    assert_close,
    gradients,
    leaf,
    ready,
    torch,
    windows,
)
from helpers.arrays import floats, keys, listed, ragged
from helpers.models import params_of


def maxout(X: Any, W: Any, b: Any) -> Any:
    return (torch.einsum("ni,opi->nop", X, W) + b).max(dim=-1).values


LAYERS = {
    "Linear": (lambda: cb.Linear(4), lambda X, W, b: F.linear(X, W, b)),
    "Relu": (lambda: cb.Relu(4), lambda X, W, b: F.relu(F.linear(X, W, b))),
    "Gelu": (lambda: cb.Gelu(4), lambda X, W, b: F.gelu(F.linear(X, W, b))),
    "Softmax": (lambda: cb.Softmax(4), lambda X, W, b: F.linear(X, W, b).softmax(dim=-1)),
    "Maxout": (lambda: cb.Maxout(4, pieces=3), maxout),
    "LayerNorm": (cb.LayerNorm, lambda X, G, b: F.layer_norm(X, X.shape[1:], G, b)),
    "LayerNorm-eps": (
        lambda: cb.LayerNorm(eps=0.5),
        lambda X, G, b: F.layer_norm(X, X.shape[1:], G, b, 0.5),
    ),
    "Linear-no-bias": (lambda: cb.Linear(4, bias=False), lambda X, W: F.linear(X, W)),
    "Relu-no-bias": (lambda: cb.Relu(4, bias=False), lambda X, W: F.relu(F.linear(X, W))),
    "Swish-no-bias": (lambda: cb.Swish(4, bias=False), lambda X, W: F.silu(F.linear(X, W))),
    "Softmax-no-bias": (
        lambda: cb.Softmax(4, bias=False),
        lambda X, W: F.linear(X, W).softmax(dim=-1),
    ),
    "Maxout-no-bias": (lambda: cb.Maxout(4, bias=False), lambda X, W: maxout(X, W, 0)),
    "Conv1d-no-bias": (
        lambda: cb.Conv1d(4, bias=False),
        lambda X, W: F.conv1d(X.T[None], W, padding=1)[0].T,
    ),
    "LayerNorm-no-bias": (
        lambda: cb.LayerNorm(bias=False),
        lambda X, G: F.layer_norm(X, X.shape[1:], G),
    ),
    "relu": (cb.relu, F.relu),
    "gelu": (cb.gelu, F.gelu),
    "window": (lambda: cb.expand_window(2), lambda X: windows(X, 2)),
    "residual": (
        lambda: cb.residual(cb.Gelu(5)),
        lambda X, W, b: X + F.gelu(F.linear(X, W, b)),
    ),
    "concatenate": (
        lambda: cb.Linear(2) | cb.relu(),
        lambda X, W, b: torch.cat([F.linear(X, W, b), F.relu(X)], dim=1),
    ),
    "add": (
        lambda: cb.Linear(5) + cb.gelu(),
        lambda X, W, b: F.linear(X, W, b) + F.gelu(X),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_on_rows_matches_pytorch(name: str) -> None:
    make, reference = LAYERS[name]
    assert_agrees(make(), floats(7, 5), reference)


def test_maxout_in_float32_matches_pytorch() -> None:
    X = floats(7, 5).astype("f")
    model = cb.Maxout(4, 5).initialize(rng=0)
    W, b = leaf(model.get_param("W")), leaf(model.get_param("b"))
    Y = model.predict(X)
    assert Y.dtype == np.float32
    np.testing.assert_allclose(Y, maxout(leaf(X), W, b).detach().numpy(), rtol=1e-5, atol=1e-6)


def test_embed_matches_pytorch() -> None:
    ids = np.array([3, 0, 3, 6, 3])
    assert_agrees(cb.Embed(4, 7), ids, F.embedding)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_embed_bag_matches_pytorch(reduce: str) -> None:
    X = cb.Ragged(np.array([3, 0, 3, 6, 3, 1]), [3, 0, 2, 1])
    model, weights = ready(cb.EmbedBag(4, 7, reduce=reduce), X)
    (E,) = weights.values()
    ids, offsets = torch.tensor(X.data), torch.tensor([0, 3, 3, 5])
    expected = F.embedding_bag(ids, E, offsets, mode=reduce)
    Y, backprop = model.begin_update(X)
    dY = floats(4, 4)
    assert backprop(dY) is None
    expected.backward(torch.tensor(dY))
    assert_close(Y, expected)
    assert_close(model.get_grad("E"), E.grad)


def test_hash_embed_sums_the_hashed_rows() -> None:
    X = keys(20)[:, 0]
    rows = torch.tensor(cb.NumpyOps().hash_rows(X, 5, 11))
    model = cb.HashEmbed(4, 11, seed=5)
    model, weights = ready(model, X)
    (E,) = weights.values()
    expected = F.embedding_bag(rows, E, mode="sum")
    Y, backprop = model.begin_update(X)
    dY = floats(20, 4)
    assert backprop(dY) is None
    expected.backward(torch.tensor(dY))
    assert_close(Y, expected)
    assert_close(model.get_grad("E"), E.grad)


@pytest.mark.parametrize("w", [1, 2, 4])
def test_windows_do_not_cross_sequences(w: int) -> None:
    X = listed(3, 0, 1, 6)
    assert_agrees(
        cb.with_flatten(cb.expand_window(w)), X, lambda X: [windows(rows, w) for rows in X]
    )


REDUCTIONS = {
    "reduce_sum": lambda rows: rows.sum(dim=0),
    "reduce_mean": lambda rows: rows.mean(dim=0),
    "reduce_max": lambda rows: rows.max(dim=0).values,
    "reduce_first": lambda rows: rows[0],
    "reduce_last": lambda rows: rows[-1],
}


def by_sequence(lengths: Any, function: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda X: torch.stack([function(rows) for rows in X.split(lengths)])


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction_matches_pytorch(name: str) -> None:
    lengths = [2, 5, 1, 3]
    model = getattr(cb, name)()
    assert_agrees(model, ragged(*lengths), by_sequence(lengths, REDUCTIONS[name]))


def attended(lengths: Any) -> Callable[..., Any]:
    def reference(X: Any, Q: Any) -> Any:
        return torch.cat([rows * (rows @ Q).softmax(0)[:, None] for rows in X.split(lengths)])

    return reference


def test_parametric_attention_matches_pytorch() -> None:
    lengths = [2, 5, 0, 1, 3]
    assert_agrees(cb.ParametricAttention(), ragged(*lengths), attended(lengths))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_parametric_attention_with_reduction_matches_pytorch(name: str) -> None:
    lengths = [2, 5, 1, 3]
    reduction = by_sequence(lengths, REDUCTIONS[name])

    def reference(X: Any, Q: Any) -> Any:
        return reduction(attended(lengths)(X, Q))

    assert_agrees(cb.ParametricAttention() >> getattr(cb, name)(), ragged(*lengths), reference)


def test_shared_layer_receives_the_sum_of_its_gradients() -> None:
    layer = cb.Linear(5, 5)

    def reference(X: Any, W: Any, b: Any) -> Any:
        return F.linear(F.gelu(F.linear(X, W, b)), W, b)

    assert_agrees(layer >> cb.gelu() >> layer, floats(7, 5), reference)


def test_softmax_with_crossentropy_matches_pytorch() -> None:
    X, classes = floats(6, 5), np.array([0, 3, 3, 1, 2, 0])
    model, weights = ready(cb.Softmax(4), X)
    Y, backprop = model.begin_update(X)
    dY, value = cb.CategoricalCrossentropy()(Y, classes)
    dX = backprop(dY)
    inputs = leaf(X)
    expected = F.cross_entropy(F.linear(inputs, *weights.values()), torch.tensor(classes))
    expected.backward()
    assert_close(value, expected)
    assert_close(dX, inputs.grad)
    for path, gradient in gradients(model).items():
        assert_close(gradient, weights[path].grad)


DOCS = [keys(n, columns=2) for n in (4, 1, 7, 0, 2)]
TAGS = [np.arange(len(doc)) % 3 for doc in DOCS]


def make_tagger() -> Any:
    embed = cb.HashEmbed(6, 50, column=0) | cb.HashEmbed(6, 30, column=1, seed=1)
    block = cb.expand_window(1) >> cb.Maxout(6, pieces=2) >> cb.LayerNorm()
    return cb.with_flatten(embed >> cb.Maxout(6) >> cb.residual(block) ** 2 >> cb.Softmax(3))


def torch_logits(weights: list[Any]) -> Any:
    """Computes the scores of the tagger before the softmax, for all rows, with PyTorch."""
    E0, E1, W, b, *blocks, W_out, b_out = weights
    hash_rows = cb.NumpyOps().hash_rows
    data = np.concatenate(DOCS)
    bags = [
        F.embedding_bag(torch.tensor(hash_rows(data[:, column], seed, E.shape[0])), E, mode="sum")
        for column, seed, E in ((0, 0, E0), (1, 1, E1))
    ]
    X = maxout(torch.cat(bags, dim=1), W, b)
    for i in range(0, len(blocks), 4):
        W, b, G, shift = blocks[i : i + 4]
        expanded = torch.cat([windows(rows, 1) for rows in X.split([len(doc) for doc in DOCS])])
        X = X + F.layer_norm(maxout(expanded, W, b), (6,), G, shift)
    return F.linear(X, W_out, b_out)


def torch_loss(weights: list[Any]) -> Any:
    tags = torch.tensor(np.concatenate(TAGS))
    return F.cross_entropy(torch_logits(weights), tags, reduction="sum") / len(DOCS)


def test_output_and_gradients_of_a_tagger_match_pytorch() -> None:
    model, weights = ready(make_tagger(), DOCS)
    Y, backprop = model.begin_update(DOCS)
    dY, value = cb.SequenceCategoricalCrossentropy()(Y, TAGS)
    assert backprop(dY) is None
    expected = torch_loss(list(weights.values()))
    expected.backward()
    assert_close(np.concatenate(Y), torch_logits(list(weights.values())).softmax(dim=1))
    assert_close(value, expected)
    for path, gradient in gradients(model).items():
        assert_close(gradient, weights[path].grad)


def test_training_of_a_tagger_matches_pytorch() -> None:
    model, weights = ready(make_tagger(), DOCS)
    sgd, loss = cb.Adam(0.01, L2=0.1, grad_clip=0), cb.SequenceCategoricalCrossentropy()
    theirs = torch.optim.AdamW(weights.values(), lr=0.01, weight_decay=0.1)
    values = []
    for _ in range(20):
        Y, backprop = model.begin_update(DOCS)
        dY, value = loss(Y, TAGS)
        backprop(dY, sgd)
        theirs.zero_grad()
        expected = torch_loss(list(weights.values()))
        expected.backward()
        theirs.step()
        assert_close(value, expected)
        values.append(float(value))
    assert values[-1] < values[0] / 2
    for path, W in params_of(model).items():
        np.testing.assert_allclose(W, weights[path].detach().numpy(), rtol=0, atol=1e-9)
