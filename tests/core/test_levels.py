"""Batches of several levels: the oracle is a loop over the items of the innermost level."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import combinet as cb
from combinet import InputError, Ragged
from combinet.testing import check_layer
from helpers.errors import raises
from helpers.models import pending_gradients, ready

WIDTH = 3


def documents(depth: int, seed: int = 0, empty: bool = True) -> Any:
    """Nested lists of `depth` levels above arrays (n, WIDTH), with empty items of each level."""
    rng = np.random.default_rng(seed)

    def item(depth: int) -> Any:
        if not depth:
            return rng.normal(size=(rng.integers(0 if empty else 1, 4), WIDTH))
        return [item(depth - 1) for _ in range(rng.integers(0 if empty else 1, 4))]

    return [item(depth), [item(depth - 1)] if depth else item(0), item(depth)]


def nested(X: Any) -> Any:
    """Lists as Ragged of the same depth."""
    if isinstance(X[0], list):
        return Ragged(nested([x for each in X for x in each]), [len(each) for each in X])
    return Ragged(np.concatenate(X), [len(x) for x in X])


def leaves(X: Any) -> list[Any]:
    """The arrays of nested lists, or the sequences of the innermost level of a Ragged."""
    if isinstance(X, Ragged):
        return leaves(X.data) if isinstance(X.data, Ragged) else [X[i] for i in range(len(X))]
    return [leaf for x in X for leaf in leaves(x)] if isinstance(X, list) else [X]


def like(X: Any, arrays: Any) -> Any:
    """Nested lists of the same structure, with the next arrays as leaves."""
    return [like(x, arrays) for x in X] if isinstance(X, list) else next(arrays)


DEPTHS = pytest.mark.parametrize("depth", [1, 2, 3])


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(found, list):
        assert len(found) == len(expected)
        for x, y in zip(found, expected, strict=True):
            same(x, y)
    elif isinstance(found, Ragged):
        assert found.lengths.tolist() == expected.lengths.tolist()
        same(found.data, expected.data)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def innermost_lists(X: Any) -> list[Any]:
    """The lists of arrays in nested lists."""
    return [X] if not isinstance(X[0], list) else [y for x in X for y in innermost_lists(x)]


# -- batches -------------------------------------------------------------------------------------


def test_index_of_a_ragged_of_ragged_selects_documents() -> None:
    docs = documents(2)
    batch = nested(docs)
    assert len(batch) == 3
    for index in (slice(1, 3), slice(None, None, -1), [2, 0], slice(0, 0)):
        chosen = docs[index] if isinstance(index, slice) else [docs[i] for i in index]
        if chosen:
            same(batch[index], nested(chosen))
        assert len(batch[index]) == len(chosen)
    same(batch[1], nested(docs[1:2]))
    same(batch.rows, np.concatenate(leaves(docs)))


def test_minibatches_of_documents_stay_documents() -> None:
    docs = documents(1, seed=3)
    for chosen, order in zip(
        cb.minibatch(2, nested(docs), rng=1), cb.minibatch(2, np.arange(3), rng=1), strict=True
    ):
        same(chosen, nested([docs[i] for i in order]))


@DEPTHS
def test_lists_and_ragged_of_any_depth_are_converted(depth: int) -> None:
    docs = documents(depth)
    same(cb.list2ragged().predict(docs), nested(docs))
    same(cb.ragged2list().predict(nested(docs)), docs)
    Y, backprop = cb.list2array().begin_update(docs)
    same(Y, np.concatenate(leaves(docs)))
    same(backprop(Y), docs)


def test_data_of_another_kind_is_refused() -> None:
    with raises(InputError, "Ragged", "list of 2"):
        Ragged([1, 2], [2])  # type: ignore[arg-type]
    with raises(cb.DimensionError, "Ragged", "lengths"):
        Ragged(Ragged(np.zeros((3, 1)), [2, 1]), [3])


# -- layers --------------------------------------------------------------------------------------

BY_ROW: dict[str, Callable[[], Any]] = {
    "with_flatten": lambda: cb.with_flatten(cb.expand_window(1) >> cb.Maxout(4)),
    "with_array": lambda: cb.with_array(cb.expand_window(1) >> cb.Linear(4)),
    "with_array2d": lambda: cb.with_array2d(cb.Linear(4)),
    "with_list": lambda: cb.with_list(cb.with_flatten(cb.Linear(4))),
    "with_ragged": lambda: cb.with_ragged(cb.ParametricAttention()),
    "with_padded": lambda: cb.with_padded(cb.with_array(cb.Linear(2))),
    "LSTM": lambda: cb.LSTM(4),
    "GRU": lambda: cb.GRU(2, depth=2),
    "RNN": lambda: cb.RNN(2),
    "bidirectional": lambda: cb.LSTM(4, bi=True),
    "ParametricAttention": lambda: cb.ParametricAttention(),
    "Conv1d": lambda: cb.Conv1d(4, 3),
    "TransformerEncoder": lambda: cb.with_array(cb.Linear(4) >> cb.TransformerEncoder(4, heads=2)),
    "residual": lambda: cb.residual(cb.with_array(cb.Linear(3))),
    "|": lambda: cb.with_array(cb.Linear(2)) | cb.with_array(cb.Linear(3)),
    "with_threads": lambda: cb.with_threads(cb.with_array(cb.Linear(2)), 2),
    "with_cpu": lambda: cb.with_cpu(cb.with_array(cb.Linear(2))),
    "checkpointed": lambda: cb.checkpointed(cb.with_array(cb.Linear(2))),
    "square": lambda: cb.with_square_sequences(cb.with_reshape(cb.Linear(2))),
}  # fmt: skip
LISTS_ONLY, RAGGED_ONLY = {"with_flatten", "square"}, {"ParametricAttention", "Conv1d"}


@DEPTHS
@pytest.mark.parametrize("form", [list, Ragged])
@pytest.mark.parametrize("name", [*BY_ROW])
def test_layer_computes_each_innermost_sequence_alone(name: str, form: Any, depth: int) -> None:
    if name in (LISTS_ONLY if form is Ragged else RAGGED_ONLY):
        pytest.skip(f"{name} does not accept {form.__name__}")
    docs = documents(depth)
    flat = leaves(docs)
    model = BY_ROW[name]()
    batch = docs if form is list else nested(docs)
    single: Any = [flat] if form is list else [Ragged(x, [len(x)]) for x in flat]
    single = [[x] for x in flat] if form is list else single
    ready(model, batch)
    Y, backprop = model.begin_update(batch)
    dX = backprop(Y)
    gradients = pending_gradients(model)
    model.clear_gradients()
    parts = [model.begin_update(x) for x in single]
    back = [callback(y) for y, callback in parts]
    if form is list:
        same(Y, like(docs, iter(y[0] for y, _ in parts)))
        same(dX, like(docs, iter(dx[0] for dx in back)))
    else:
        same(Y, nested(like(docs, iter(y.data for y, _ in parts))))
        same(dX, nested(like(docs, iter(dx.data for dx in back))))
    for found, expected in zip(gradients, pending_gradients(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


REDUCTIONS = [cb.reduce_sum, cb.reduce_mean, cb.reduce_max, cb.reduce_first, cb.reduce_last]


@DEPTHS
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_reduction_removes_the_innermost_level(reduce: Any, depth: int) -> None:
    docs = documents(depth, empty=False)
    functions = {"sum": np.sum, "mean": np.mean, "max": np.max}
    function = functions.get(reduce.__name__.removeprefix("reduce_"))
    row = -1 if reduce is cb.reduce_last else 0

    expected = [function(x, axis=0) if function else x[row] for x in leaves(docs)]
    Y = reduce().predict(nested(docs))
    assert isinstance(Y, Ragged)
    same(Y.rows, np.array(expected))
    assert len(leaves(Y)) == len({id(x) for x in innermost_lists(docs)})
    all_levels = reduce()
    for _ in range(depth):
        all_levels = all_levels >> reduce()
    assert all_levels.predict(nested(docs)).shape == (3, WIDTH)
    check_layer(all_levels, nested(docs))


def test_empty_documents_and_sentences_are_zeros() -> None:
    docs = [[np.zeros((0, WIDTH)), np.ones((2, WIDTH))], []]
    model = cb.list2ragged() >> cb.reduce_sum() >> cb.reduce_sum()
    assert np.array_equal(model.predict(docs), [[2] * WIDTH, [0] * WIDTH])


def hierarchical() -> Any:
    """Words to sentences to documents, with attention at both levels."""

    def pool(nO: int) -> Any:
        return cb.LSTM(nO, bi=True) >> cb.ParametricAttention(
            key_transform=cb.Linear(3) >> cb.elementwise(np.tanh)
        ) >> cb.reduce_sum()  # fmt: skip

    return cb.list2ragged() >> pool(4) >> pool(6) >> cb.Softmax(2)


def test_hierarchical_attention_satisfies_all_invariants() -> None:
    check_layer(hierarchical(), documents(1, empty=False))


def test_hierarchical_attention_matches_pytorch() -> None:
    torch = pytest.importorskip("torch")
    docs = documents(1, seed=5, empty=False)
    model = (cb.list2ragged() >> cb.ParametricAttention() >> cb.reduce_sum()
             >> cb.ParametricAttention() >> cb.reduce_sum())  # fmt: skip
    ready(model, docs)
    Q1, Q2 = (torch.tensor(model[i].get_param("Q"), requires_grad=True) for i in (1, 3))
    words = [[torch.tensor(x, requires_grad=True) for x in doc] for doc in docs]

    def attend(X: Any, Q: Any) -> Any:
        return torch.softmax(X @ Q, dim=0) @ X

    Y_torch = torch.stack([attend(torch.stack([attend(x, Q1) for x in doc]), Q2) for doc in words])
    Y, backprop = model.begin_update(docs)
    np.testing.assert_allclose(Y, Y_torch.detach(), rtol=1e-10)
    dX = backprop(np.cos(Y))
    Y_torch.backward(torch.cos(Y_torch.detach()))
    same(dX, like(docs, iter(x.grad.numpy() for doc in words for x in doc)))
    np.testing.assert_allclose(model[1].get_grad("Q"), Q1.grad, rtol=1e-9)
    np.testing.assert_allclose(model[3].get_grad("Q"), Q2.grad, rtol=1e-9)


def test_dims_are_inferred_when_the_first_document_is_empty() -> None:
    docs = [[], [np.ones((2, WIDTH))]]
    model = (cb.with_flatten(cb.Linear(4)) >> cb.list2ragged() >> cb.reduce_sum()).initialize(docs)
    assert model.get_dim("nI") == WIDTH


def test_columns_are_joined_when_the_first_document_is_empty() -> None:
    docs = [[], [np.ones((2, WIDTH))]]
    model = cb.with_flatten(cb.noop()) | cb.with_flatten(cb.noop())
    Y, backprop = model.begin_update(docs)
    same(Y, [[], [np.ones((2, 2 * WIDTH))]])
    same(backprop(Y), [[], [np.full((2, WIDTH), 2.0)]])


# -- map_list ------------------------------------------------------------------------------------


def counted(calls: list[int]) -> Any:
    def forward(model: Any, X: Any, run: Any) -> Any:
        calls.append(len(X))
        return np.tanh(X), lambda dY: dY * (1 - np.tanh(X) ** 2)

    return cb.Model("tanh", forward)


POOLS: list[Callable[[], Any]] = [
    cb.noop, cb.list2ragged, lambda: cb.list2ragged() >> (cb.reduce_mean() | cb.reduce_sum()),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS, ids=["words", "ragged", "pooled"])
def test_map_list_processes_all_words_in_one_pass(pool: Callable[[], Any]) -> None:
    docs, calls = documents(1, seed=2, empty=False), []  # type: ignore[var-annotated]
    inner = (
        cb.with_flatten(counted(calls))
        if pool is cb.noop
        else (cb.with_flatten(counted(calls)) >> pool())
    )
    Y, backprop = cb.map_list(inner).begin_update(docs)
    dX = backprop(Y)
    assert calls == [sum(map(len, leaves(docs)))]
    for y, dx, doc in zip(Y, dX, docs, strict=True):
        expected, callback = inner.begin_update(doc)
        same(y, expected)
        same(dx, callback(expected))


def test_map_list_calls_other_layers_for_each_item() -> None:
    calls: list[int] = []
    layer = cb.layerize(lambda X: (calls.append(len(X)) or X, lambda dY: dY))
    docs = documents(1, empty=False)
    cb.map_list(layer).predict(docs)
    assert calls == [*map(len, docs)]


# -- refused -------------------------------------------------------------------------------------


def test_layer_for_one_level_says_so() -> None:
    layer = cb.Model("own", lambda model, X, run: (X, None), accepts="ragged2d")
    with raises(InputError, "own", "Ragged of 3: Ragged", "one level", "combinet.innermost"):
        layer.predict(nested(documents(1)))
    with raises(InputError, "with_list", "one level"):
        docs = documents(1)
        cb.with_list(cb.tuple_getitem(0)).predict((nested(docs), nested(docs)))
    with raises(InputError, "reduce_sum", "Ragged of 3: Ragged", "int64"):
        cb.reduce_sum().predict(Ragged(Ragged(np.arange(4), [1, 2, 1]), [1, 1, 1]))


@given(st.integers(0, 4), st.integers(0, 10_000))
def test_sums_of_random_documents_equal_a_recursion(depth: int, seed: int) -> None:
    docs = documents(depth, seed)
    if not leaves(docs):
        return

    def total(X: Any) -> Any:
        return sum(map(total, X), np.zeros(WIDTH)) if isinstance(X, list) else X.sum(axis=0)

    model = cb.list2ragged()
    for _ in range(depth + 1):
        model = model >> cb.reduce_sum()
    np.testing.assert_allclose(model.predict(docs), [*map(total, docs)], atol=1e-12)
