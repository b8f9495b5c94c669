"""Wrappers and models of tuples, compared with plain layers, single items and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.batches.structure import map_arrays
from combinet.types import Array
from helpers.arrays import close, floats, ids, keys, listed, ragged
from helpers.errors import raises
from helpers.models import named_params, pending_gradients, ready


def arrays(X: Any) -> list[Array]:
    """The arrays of a batch."""
    return X if isinstance(X, list) else [X.data]


def recorder(calls: list[Any]) -> Any:
    """A layer that records its inputs."""
    return cb.with_debug(cb.noop(), on_forward=lambda layer, X, is_train: calls.append(X))


# -- uniqued --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "column", "X"),
    [
        (cb.Embed(4, 5), None, ids(40, below=5)),
        (cb.HashEmbed(4, 9, column=1), None, ids(40, below=2).reshape(20, 2)),
        (cb.HashEmbed(4, 9, column=1), 1, ids(40, below=3).reshape(20, 2)),
        (cb.HashEmbed(4, 9, column=0), -2, keys(6, 2)[[0, 3, 3, 5, 0]]),
        (cb.Embed(4, 5), None, ids(1)[:1] % 5),
    ],
)
def test_uniqued_matches_its_layer(layer: Any, column: Any, X: Any) -> None:
    plain = ready(layer.copy())
    model = cb.uniqued(plain.copy(), column=column)
    dY = floats(len(X), 4)
    Y, backprop = model.begin_update(X)
    expected, plain_backprop = plain.begin_update(X)
    np.testing.assert_array_equal(Y, expected)
    assert backprop(dY) is None
    plain_backprop(dY)
    close(model.layers[0].get_grad("E"), plain.get_grad("E"))


@pytest.mark.parametrize(("column", "distinct"), [(None, 4), (0, 2), (1, 3)])
def test_uniqued_calls_its_layer_with_distinct_rows_only(column: Any, distinct: int) -> None:
    X = np.array([[1, 5], [2, 5], [1, 5], [1, 6], [2, 7], [1, 6]])
    calls: list[Any] = []
    cb.uniqued(recorder(calls), column=column).predict(X)
    assert len(calls) == 1
    assert calls[0].shape == (distinct, 2)
    kept = calls[0] if column is None else calls[0][:, column]
    assert len(np.unique(kept, axis=0)) == distinct


def test_unique_rows_matches_numpy() -> None:
    X = ids(180, below=4).reshape(60, 3)
    first, inverse = cb.NumpyOps().unique_rows(X)
    _, expected = np.unique(X, axis=0, return_index=True)
    assert sorted(first) == sorted(expected)
    np.testing.assert_array_equal(X[first][inverse], X)


def test_uniqued_fails_for_invalid_input() -> None:
    with raises(cb.InputError, "uniqued", "float64"):
        cb.uniqued(cb.noop()).predict(floats(3))
    with raises(cb.InputError, "uniqued", "2", "int64"):
        cb.uniqued(cb.noop(), column=2).predict(np.zeros((3, 2), "int64"))
    merged = cb.layerize(lambda X: (X[:1], lambda dY: None))
    with raises(cb.DimensionError, "rows"):
        cb.uniqued(merged).predict(np.arange(3))


# -- siamese, tuplify, with_getitem ---------------------------------------------------------------


def test_siamese_matches_two_calls_of_its_layer() -> None:
    X1, X2, dY = floats(5, 3), floats(5, 3, seed=1), floats(5)
    model = ready(cb.siamese(cb.Gelu(4), cb.CauchySimilarity()), (X1, X2))
    layer, similarity = (each.copy() for each in model.layers)
    Y, backprop = model.begin_update((X1, X2))
    dX = backprop(dY)
    Y1, callback1 = layer.begin_update(X1)
    Y2, callback2 = layer.begin_update(X2)
    expected, callback = similarity.begin_update((Y1, Y2))
    d1, d2 = callback(dY)
    close(Y, expected)
    for found, wanted in zip(dX, (callback1(d1), callback2(d2)), strict=True):
        close(found, wanted)
    for name in ("W", "b"):
        close(model.layers[0].get_grad(name), layer.get_grad(name))


def test_cauchy_similarity_matches_pytorch() -> None:
    torch: Any = pytest.importorskip("torch")
    X1, X2, dY = floats(5, 3), floats(5, 3, seed=1), floats(5, seed=2)
    model = ready(cb.CauchySimilarity(init_W=cb.uniform(0.5, 2)), (X1, X2))
    Y, backprop = model.begin_update((X1, X2))
    dX1, dX2 = backprop(dY)
    T1, T2, W = (torch.tensor(each, requires_grad=True) for each in (X1, X2, model.get_param("W")))
    expected = 1 / (1 + (W * (T1 - T2) ** 2).sum(dim=1))
    expected.backward(torch.tensor(dY))
    close(Y, expected.detach())
    for found, wanted in ((dX1, T1), (dX2, T2), (model.get_grad("W"), W)):
        close(found, wanted.grad)


def test_siamese_and_cauchy_similarity_fail_for_invalid_input() -> None:
    model = ready(cb.siamese(cb.noop(), cb.CauchySimilarity(3)))
    with raises(cb.InputError, "siamese", "tuple"):
        model.predict(floats(2, 3))
    with raises(cb.DimensionError, "(n, 3)", "(4, 3)"):
        model.predict((floats(2, 3), floats(4, 3)))
    for wrong in ("uint8", "float32"):
        X = np.ones((2, 3), wrong)
        for pair in ((X, X), (floats(2, 3), X)):
            with raises(cb.InputError, "cauchy_similarity", wrong):
                model.predict(pair)
    with raises(cb.DimensionError, "nO=4", "cauchy_similarity", "3"):
        cb.siamese(cb.Linear(4), cb.CauchySimilarity(3))


def test_tuplify_sums_the_input_gradients() -> None:
    X, dYs = floats(5, 3), (floats(5, 2), floats(5, 3), floats(5, 4))
    model = ready(cb.tuplify(cb.Linear(2), cb.noop(), cb.Linear(4)), X)
    Y, backprop = model.begin_update(X)
    W1, W2 = (model.layers[i].get_param("W") for i in (0, 2))
    assert isinstance(Y, tuple)
    np.testing.assert_array_equal(Y[1], X)
    close(Y[0], X @ W1.T)
    close(backprop(dYs), dYs[0] @ W1 + dYs[1] + dYs[2] @ W2)
    with raises(cb.DimensionError, "nI"):
        cb.tuplify(cb.Linear(2, 3), cb.Linear(2, 4))
    with raises(cb.InputError, "layer"):
        cb.tuplify()


def _pairs(n: int) -> Any:
    return (listed(*range(1, n + 1)), listed(*range(n, 0, -1), width=2))


TUPLES = {
    "tuplify": (lambda: cb.tuplify(cb.Linear(2), cb.Gelu(3)) >> cb.with_getitem(1, cb.Linear(2)),
                floats(4, 3)),
    "residual": (lambda: cb.residual(cb.with_getitem(0, cb.Linear(3))) ** 2,
                 (floats(4, 3), floats(2, 2))),
    "add": (lambda: cb.tuplify(cb.Linear(2), cb.noop()) + cb.tuplify(cb.noop(), cb.Linear(2)),
            floats(4, 2)),
    "crf": (lambda: cb.with_flatten(cb.Linear(2)) >> cb.CRF(2), listed(3, 1)),
    "memory": (lambda: cb.tuplify(cb.CrossAttention(4), cb.tuple_getitem(1)), _pairs(3)),
    "checkpointed": (lambda: cb.checkpointed(cb.tuplify(cb.Linear(2), cb.noop())), floats(4, 3)),
    "with_cpu": (lambda: cb.with_cpu(cb.tuplify(cb.Linear(2), cb.noop())), floats(4, 3)),
    "with_list": (lambda: cb.with_list(cb.with_getitem(0, cb.with_array(cb.Linear(2)))), _pairs(2)),
}  # fmt: skip


@pytest.mark.parametrize(("make", "X"), TUPLES.values(), ids=TUPLES)
def test_gradient_of_none_in_a_tuple_equals_zeros(make: Any, X: Any) -> None:
    model = ready(make(), X)
    dY = [map_arrays(y, lambda y: floats(*y.shape, seed=1)) for y in model.predict(X)]
    for i, zeros in enumerate(map_arrays(dY, np.zeros_like)):
        (dX, found), (zeros_dX, expected) = (
            both_gradients(model.copy(), X, (*dY[:i], item, *dY[i + 1 :])) for item in (None, zeros)
        )
        for each, other in zip(found, expected, strict=True):
            close(each, other)
        same_but_for_none(dX, zeros_dX)


def both_gradients(model: Any, X: Any, dY: Any) -> tuple[Any, list[Any]]:
    dX = model.begin_update(X)[1](dY)
    return dX, [
        layer.get_grad(name) if layer.has_grad(name) else layer.get_param(name) * 0
        for _, layer, name in named_params(model)
    ]


def same_but_for_none(X: Any, Y: Any) -> None:
    if isinstance(X, list | tuple):
        for x, y in zip(X, Y, strict=True):
            same_but_for_none(x, y)
    elif X is None:
        map_arrays(Y, lambda y: close(y, 0))
    else:
        close(X, Y)


def test_tuplify_skips_the_backward_pass_for_a_gradient_of_none() -> None:
    calls: list[Any] = []
    skipped = cb.with_debug(cb.noop(), on_backprop=calls.append)
    _, backprop = cb.tuplify(skipped, cb.noop()).begin_update(floats(2))
    np.testing.assert_array_equal(backprop((None, floats(2))), floats(2))
    assert backprop((None, None)) is None
    assert calls == []


def test_siamese_input_gradient_is_none_for_an_unused_input() -> None:
    X = (floats(2, 3), floats(2, 3, seed=1))
    model = ready(cb.siamese(cb.Linear(4, 3), cb.tuple_getitem(0)))
    dX1, dX2 = model.begin_update(X)[1](floats(2, 4))
    close(dX1, floats(2, 4) @ model.layers[0].get_param("W"))
    assert dX2 is None
    nothing = cb.layerize(lambda X: (X[0], lambda dY: None))
    assert cb.siamese(cb.noop(), nothing).begin_update(X)[1](floats(2, 3)) is None


@pytest.mark.parametrize("idx", [1, -2])
def test_with_getitem_does_not_change_the_other_items(idx: int) -> None:
    X = (floats(2, 3), floats(4, 3), np.array([5]))
    model = ready(cb.with_getitem(idx, cb.Linear(2, 3)))
    Y = model.predict(X)
    assert Y[0] is X[0]
    assert Y[2] is X[2]
    np.testing.assert_array_equal(Y[1], model.layers[0].predict(X[1]))


def test_with_getitem_fails_for_invalid_input() -> None:
    for X in (floats(2, 3), (floats(2, 3),)):
        with raises(cb.InputError, "with_getitem", "1"):
            cb.with_getitem(1, cb.noop()).predict(X)


def test_tuple_getitem_returns_one_item() -> None:
    X = (floats(2, 3), floats(4, 3))
    Y, backprop = cb.tuple_getitem(1).begin_update(X)
    assert Y is X[1]
    dX = backprop(X[1])
    assert dX[0] is None
    np.testing.assert_array_equal(dX[1], X[1])
    for wrong in (floats(2, 3), X[:1]):
        with raises(cb.InputError, "tuple_getitem", "1"):
            cb.tuple_getitem(1).predict(wrong)


def test_each_item_of_a_tuple_has_its_own_width() -> None:
    pair = cb.tuplify(cb.Linear(4, 3), cb.Linear(2))
    model = pair >> cb.with_getitem(1, cb.Linear(5)) >> cb.tuple_getitem(1) >> cb.Linear(6)
    model.initialize()  # needs no sample
    assert [layer.get_dim("nI") for layer in model.walk("dfs_pre") if layer.name == "linear"] == [
        3, 3, 2, 5,
    ]  # fmt: skip
    with raises(cb.DimensionError, "nO=2", "tuplify", "3"):
        pair >> cb.with_getitem(1, cb.Linear(5, 3))
    with raises(cb.DimensionError, "linear", "tuple"):
        pair >> cb.Linear(5)
    with raises(cb.DimensionError, "columns"):
        pair | pair
    assert pair.maybe_get_dim("nO") is None
    assert pair.get_dim("nI") == 3


def test_width_is_inferred_backwards_through_a_tuple() -> None:
    model = cb.tuplify(cb.noop(), cb.Linear()) >> cb.with_getitem(0, cb.relu())
    ready(model >> cb.tuple_getitem(1) >> cb.Linear(2, 7), floats(5, 3))
    assert model.layers[0].layers[1].get_param("W").shape == (7, 3)


def test_resize_passes_through_a_tuple() -> None:
    X = floats(5, 3)
    first, last = cb.Linear(4, 3), cb.residual(cb.Linear(4))
    model = cb.tuplify(first, cb.noop()) >> cb.tuple_getitem(0) >> last
    before = ready(model).predict(X)
    model.resize_output(6)
    assert first.get_dim("nO") == 6
    after = model.predict(X)
    np.testing.assert_array_equal(after, np.pad(before, ((0, 0), (0, 2))))
    with raises(cb.DimensionError, "width"):
        cb.with_getitem(0, cb.Linear(4, 3)).resize_output(5)


@pytest.mark.parametrize("wrap", [cb.with_list, cb.with_ragged, cb.with_padded])
@pytest.mark.parametrize("form", [cb.noop, cb.list2ragged, cb.list2padded])
def test_wrapper_converts_each_tuple_item_and_restores_the_first_type(wrap: Any, form: Any) -> None:
    X, M = form().predict(listed(1, 0, 3)), listed(2, 4, 0, width=2)
    inner = wrap(cb.with_getitem(1, cb.with_array(cb.Linear(3, 2))) >> cb.tuple_getitem(0))
    Y, backprop = ready(wrap(inner)).begin_update((X, M))
    dX, dM = backprop(Y)
    assert dM is None
    for each in (Y, dX):
        assert type(each) is type(X)
        for found, expected in zip(arrays(each), arrays(X), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_tuple_of_empty_lists_stays_empty() -> None:
    Y, backprop = cb.with_ragged(cb.tuple_getitem(0)).begin_update(([], []))
    assert Y == []
    assert backprop([]) == ([], [])


# -- map_list, with_square_sequences, with_reshape ------------------------------------------------


def cumsum_times_input() -> Any:
    """A layer in which output row i depends on all rows up to i of the sequence."""
    return cb.layerize(lambda X: (np.cumsum(X, axis=1) * X, lambda dY: _backprop_rows(X, dY)))


def _backprop_rows(X: Array, dY: Array) -> Array:
    after = np.cumsum((dY * X)[:, ::-1], axis=1)[:, ::-1]
    return dY * np.cumsum(X, axis=1) + after


def test_with_square_sequences_matches_single_sequences() -> None:
    X, dY = listed(3, 1, 3, 2, 1, 3), listed(3, 1, 3, 2, 1, 3, width=2)
    inner = ready(cumsum_times_input() >> cb.with_reshape(cb.Linear(2)), X[0][None])
    model = cb.with_square_sequences(inner.copy())
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    for x, y, dy, dx in zip(X, Y, dY, dX, strict=True):
        y_alone, backprop_alone = inner.begin_update(x[None])
        close(y, y_alone[0])
        close(dx, backprop_alone(dy[None])[0])
    for found, expected in zip(pending_gradients(model), pending_gradients(inner), strict=True):
        close(found, expected)


def test_with_square_sequences_makes_one_pass_per_length() -> None:
    calls: list[Any] = []
    cb.with_square_sequences(recorder(calls)).predict(listed(3, 1, 3, 2, 1, 3))
    assert [X.shape for X in calls] == [(2, 1, 3), (1, 2, 3), (3, 3, 3)]
    assert cb.with_square_sequences(cb.noop()).predict([]) == []


def test_with_square_sequences_fails_for_invalid_batches() -> None:
    summed = cb.layerize(lambda X: (X.sum(axis=1), lambda dY: None))
    with raises(cb.DimensionError, "(1, 3)"):
        cb.with_square_sequences(summed).predict(listed(2))
    with raises(cb.InputError, "length"):
        cb.with_square_sequences(cb.noop()).predict([floats(2, 3), floats(2, 4)])


def test_map_list_matches_single_items() -> None:
    X, dY = listed(3, 1, 4), listed(3, 1, 4, width=2)
    layer = ready(cb.expand_window(1) >> cb.Linear(2), X[0])
    model = cb.map_list(layer.copy())
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    for x, y, dy, dx in zip(X, Y, dY, dX, strict=True):
        alone, backprop_alone = layer.begin_update(x)
        close(y, alone)
        close(dx, backprop_alone(dy))
    for found, expected in zip(pending_gradients(model), pending_gradients(layer), strict=True):
        close(found, expected)
    assert model.predict([]) == []


def test_map_list_treats_its_items_as_whole_sequences() -> None:
    halves = cb.layerize(lambda X: ([X[:2], X[2:]], lambda dY: np.concatenate(dY)))
    model = cb.with_array(halves >> cb.map_list(cb.expand_window(1)) >> cb.list2array())
    X = listed(1, 3)  # lengths differ from those of the halves
    rows = np.concatenate(X)
    expected = [cb.expand_window(1).predict(half) for half in (rows[:2], rows[2:])]
    np.testing.assert_array_equal(np.concatenate(model.predict(X)), np.concatenate(expected))


def test_with_reshape_matches_single_sequences() -> None:
    X, dY = floats(2, 3, 4, 5), floats(2, 3, 4, 2)
    layer = ready(cb.expand_window(1) >> cb.Linear(2), X[0, 0])
    model = cb.with_reshape(layer.copy())
    Y, backprop = model.begin_update(X)
    dX = backprop(dY)
    assert Y.shape == (2, 3, 4, 2)
    for where in np.ndindex(2, 3):
        alone, backprop_alone = layer.begin_update(X[where])
        close(Y[where], alone)
        close(dX[where], backprop_alone(dY[where]))
    for found, expected in zip(pending_gradients(model), pending_gradients(layer), strict=True):
        close(found, expected)


def test_with_reshape_fails_for_invalid_arrays() -> None:
    with raises(cb.InputError, "with_reshape", "float64"):
        cb.with_reshape(cb.noop()).predict(floats(3))
    first = cb.layerize(lambda X: (X[:1], lambda dY: None))
    with raises(cb.InputError, "6", "(1, 4)"):
        cb.with_reshape(first).predict(floats(2, 3, 4))


# -- pooling --------------------------------------------------------------------------------------


def test_concatenated_reductions_join_their_columns() -> None:
    X = ragged(3, 1, 2)
    Y = (cb.reduce_mean() | cb.reduce_max()).predict(X)
    parts = np.split(X.data, [3, 4])
    close(Y, [np.concatenate([part.mean(axis=0), part.max(axis=0)]) for part in parts])


# -- with_array2d ----------------------------------------------------------------------------------


@pytest.mark.parametrize("X", [[np.ones(3)], cb.Ragged(np.ones(3), [3]), np.ones((2, 2, 2))])
def test_with_array2d_fails_for_arrays_that_are_not_2d(X: Any) -> None:
    with raises(cb.InputError, "with_array2d"):
        cb.with_array2d(cb.noop()).predict(X)


def test_expand_window_fails_if_rows_were_removed_before() -> None:
    model = cb.with_flatten(cb.array_getitem(slice(1)) >> cb.expand_window(1))
    with raises(cb.DimensionError, "5", "1", "expand_window"):
        model.predict(listed(3, 2))
