"""Batches, classes as rows, widths, and changes to a finished tree of layers."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

# -- to_categorical, get_width --------------------------------------------------------------------


@pytest.mark.parametrize("Y", [[0, 2, 1], np.array([[1, 0], [2, 2]]), np.zeros((0,), "int64"), 1])
def test_to_categorical_is_rows_of_the_identity(Y: Any) -> None:
    found = cb.to_categorical(Y, 3)
    np.testing.assert_array_equal(found, np.eye(3)[np.asarray(Y)])
    assert found.dtype == np.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("n", [3, 5, None])
def test_to_categorical_is_that_of_thinc(smoothing: float, n: int | None) -> None:
    thinc = pytest.importorskip("thinc.api")
    Y = np.array([0, 2, 1, 2])
    found = cb.to_categorical(Y, n, label_smoothing=smoothing)
    expected = thinc.to_categorical(Y, n, label_smoothing=smoothing)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("args", "smoothing", "error", "message"),
    [
        (([0, 3], 3), 0.0, cb.DimensionError, "2 ... 3"),
        (([0, -1], 3), 0.0, cb.DimensionError, "2 ... -1"),
        (([0.5], 3), 0.0, cb.InputError, "float64"),
        (([], None), 0.0, cb.InputError, "class ... 0"),
        (([0], 0), 0.0, cb.InputError, "class ... 0"),
        (([0, 1], 2), 0.5, cb.InputError, "2 ... 0.5"),
        (([0], 1), 0.1, cb.InputError, "1 ... 0 ... 0.1"),
        (([0, 1], 2), -0.1, cb.InputError, "-0.1"),
    ],
)
def test_what_has_no_rows_is_refused(args: Any, smoothing: float, error: Any, message: str) -> None:
    with raises(error, message):
        cb.to_categorical(*args, label_smoothing=smoothing)


ROWS = floats(5, 3)


@pytest.mark.parametrize(
    ("X", "width"),
    [
        (ROWS, 3),
        ([ROWS, ROWS], 3),
        (cb.Ragged(ROWS, [2, 3]), 3),
        (cb.list2padded().predict([ROWS, ROWS[:2]]), 3),
        (np.array([4, 0, 9]), 10),
        ([np.array([4, 0, 9])], 10),
        ([np.array([4, 0]), np.zeros(0, "int64"), np.array([9])], 10),
        ([], 0),
        (np.zeros((0, 4)), 4),
        (np.zeros(0, "int64"), 0),
    ],
)
def test_get_width(X: Any, width: int) -> None:
    assert cb.get_width(X) == width


def test_get_width_along_another_axis() -> None:
    assert cb.get_width(ROWS, dim=0) == 5


def test_get_width_of_what_has_none() -> None:
    with raises(cb.InputError, "dict"):
        cb.get_width({})


# -- minibatch -------------------------------------------------------------------------------------

DOCS = [floats(n, 2, seed=n) for n in (3, 1, 0, 4, 2, 5, 1)]


def joined(batches: list[Any]) -> list[Any]:
    return [each for batch in batches for each in batch]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_batches_are_the_whole_in_order(size: int) -> None:
    batches = list(cb.minibatch(size, DOCS))
    assert [len(batch) for batch in batches] == [
        min(size, 7 - start) for start in range(0, 7, size)
    ]
    assert all(a is b for a, b in zip(joined(batches), DOCS, strict=True))


def test_sizes_by_a_schedule() -> None:
    sizes = cb.compounding(1.0, 4.0, 1.5)  # 1, 1.5, 2.25, 3.375, 4, ...
    assert [len(b) for b in cb.minibatch(sizes, list(range(14)))] == [1, 1, 2, 3, 4, 3]


@pytest.mark.parametrize("rng", [None, 3])
@pytest.mark.parametrize(
    "form", [list, tuple, cb.list2ragged().predict, cb.list2padded().predict], ids=str
)
def test_every_form_of_batch_keeps_its_form(form: Any, rng: Any) -> None:
    X = form(DOCS)
    parts = list(cb.minibatch(3, X, np.arange(7), rng=rng))
    assert [type(part) for part, _ in parts] == [type(X)] * 3
    order = np.concatenate([numbers for _, numbers in parts])
    assert (order.tolist() == list(range(7))) == (rng is None)
    assert sorted(order.tolist()) == list(range(7))
    back: Any = {cb.Ragged: cb.ragged2list(), cb.Padded: cb.padded2list()}.get(type(X), cb.noop())
    for found, i in zip(joined([back.predict(part) for part, _ in parts]), order, strict=True):
        np.testing.assert_array_equal(found, DOCS[i])


def test_the_order_is_drawn_from_the_generator() -> None:
    rng = np.random.default_rng(5)
    before = np.random.get_state()[1].copy()
    first, second = (joined(list(cb.minibatch(4, list(range(50)), rng=rng))) for _ in range(2))
    assert first != second
    assert joined(list(cb.minibatch(4, list(range(50)), rng=5))) == first
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_nothing_has_no_batches() -> None:
    assert list(cb.minibatch(3, [])) == []
    assert list(cb.minibatch(3, [], [], rng=0)) == []


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((2, [1, 2], [1]), cb.DimensionError, "[2, 1]"),
        ((0, [1, 2]), cb.InputError, "int ... 0"),
        ((2.5, [1, 2]), cb.InputError, "int ... 2.5"),
        ((lambda i: 1 - i, [1, 2]), cb.InputError, "int ... 0"),
        ((2, iter([1, 2])), cb.InputError, "list_iterator"),
    ],
)
def test_what_cannot_be_divided_is_refused(args: Any, error: Any, message: str) -> None:
    with raises(error, message):
        list(cb.minibatch(*args))


# -- trees -----------------------------------------------------------------------------------------


def test_set_dropout_rate_reaches_every_dropout_and_nothing_else() -> None:
    inner = cb.Dropout(0.5)
    model = cb.residual(cb.Linear(8, 8) >> inner) >> cb.Dropout() >> cb.Linear(8, 8)
    assert cb.set_dropout_rate(model, 0.25) is model
    assert [n.attrs["rate"] for n in model.walk() if n.name == "dropout"] == [0.25, 0.25]
    Y, _ = inner.begin_update(np.ones(1000), drop=0.9)
    assert set(Y.tolist()) == {0.0, 1 / 0.75}
    cb.set_dropout_rate(model, None)
    Y, _ = inner.begin_update(np.ones(1000), drop=0.5)
    assert set(Y.tolist()) == {0.0, 2.0}


def test_a_rate_of_something_else_stays() -> None:
    other = cb.Model("slope", lambda model, X, run: (X, lambda dY: dY), attrs={"rate": 3.0})
    cb.set_dropout_rate(other >> cb.Dropout(), 0.25)
    assert other.attrs["rate"] == 3.0


def test_set_dropout_rate_refuses_what_is_no_rate() -> None:
    model = cb.Dropout(0.5)
    with raises(cb.InputError, "1"):
        cb.set_dropout_rate(model, 1.0)
    assert model.attrs["rate"] == 0.5


def test_get_gradients_are_those_that_wait() -> None:
    first, second = cb.Linear(4, 3), cb.Linear(2, 4)
    model = (first >> second).initialize(dtype="float64")
    assert cb.get_gradients(model) == {}
    X, dY = floats(5, 4), floats(5, 2, seed=1)
    _, backprop = second.begin_update(X)
    backprop(dY)
    found = cb.get_gradients(model)
    assert found.keys() == {(second.id, "W"), (second.id, "b")}
    W, dW = found[second.id, "W"]
    np.testing.assert_array_equal(W, second.get_param("W"))
    np.testing.assert_allclose(dW, dY.T @ X, rtol=1e-12)
    dW[...] = 0  # a copy
    np.testing.assert_allclose(second.get_grad("W"), dY.T @ X, rtol=1e-12)


def tree() -> tuple[Any, Any]:
    inner = cb.Linear(3, 3)
    model = cb.Linear(3, 3) >> cb.residual(inner >> cb.relu()) >> (inner | cb.Linear(2, 3))
    return model.initialize(dtype="float64"), inner


def test_replace_node_wherever_it_stands() -> None:
    model, inner = tree()
    other = cb.Linear(3, 3).initialize(rng=9, dtype="float64")
    X = floats(4, 3)
    before, drawn = model.predict(X), repr(model)
    found = cb.replace_node(model, inner, other)
    a, residual, joined = model.layers
    expected = a >> cb.residual(other >> cb.relu()) >> (other | joined.layers[1])
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert not np.allclose(found.predict(X), before)
    np.testing.assert_array_equal(model.predict(X), before)
    assert repr(model) == drawn
    assert inner in model.walk()
    assert inner not in found.walk()
    assert [*found.walk()].count(other) == 1
    assert found.layers[0] is a  # shared, as is all that has not changed
    assert found.layers[1] is not residual


def test_what_has_been_replaced_trains_as_any_model() -> None:
    model, inner = tree()
    other = cb.Linear(3, 3).initialize(rng=9, dtype="float64")
    found = cb.replace_node(model, inner, other)
    Y, backprop = found.begin_update(floats(4, 3))
    before = inner.get_param("W").copy(), other.get_param("W").copy()
    backprop(np.ones(Y.shape), cb.SGD(0.1))
    np.testing.assert_array_equal(inner.get_param("W"), before[0])
    assert not np.allclose(other.get_param("W"), before[1])
    copied = found.copy()
    np.testing.assert_array_equal(copied.predict(floats(4, 3)), found.predict(floats(4, 3)))


def test_both_trees_may_stand_in_one() -> None:
    model, inner = tree()
    found = cb.replace_node(model, inner, cb.relu())
    both = (model | found).initialize()
    assert both.paths().keys() > {"concatenate >> chain[0]", "concatenate >> chain[1]"}
    X = floats(4, 3)
    expected = np.concatenate([model.predict(X), found.predict(X)], axis=1)
    np.testing.assert_array_equal(both.copy().predict(X), expected)


def test_a_node_may_be_replaced_by_one_that_holds_it() -> None:
    model, inner = tree()
    found = cb.replace_node(model, inner, cb.residual(inner))
    assert inner in found.walk()


def test_a_chain_in_a_chain_is_its_layers() -> None:
    model = cb.Linear(3, 3) >> cb.relu()
    found = cb.replace_node(model, model.layers[1], cb.Linear(2, 3) >> cb.gelu())
    assert [layer.name for layer in found.layers] == ["linear", "linear", "gelu"]


def test_remove_node_wherever_it_stands() -> None:
    model, inner = tree()
    found = cb.remove_node(model, inner)
    a, residual, joined = model.layers
    expected = a >> cb.residual(cb.chain(residual.layers[0].layers[1], cb.noop()))
    expected = cb.chain(expected, cb.concatenate(joined.layers[1]))
    X = floats(4, 3)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert inner in model.walk()


def test_remove_a_term_of_a_sum() -> None:
    a, b, c = (cb.Linear(2, 2) for _ in range(3))
    found = cb.remove_node(cb.add(a, b, c), b)
    assert found.layers == (a, c)


def test_what_must_stay_is_refused() -> None:
    model, _ = tree()
    residual = model.layers[1]
    with raises(cb.InputError, "residual", "chain", "noop()"):
        cb.remove_node(model, residual.layers[0])
    with raises(cb.InputError, "chain", "linear"):
        cb.remove_node(cb.chain(a := cb.Linear(2, 2), a), a)
    for change in (cb.remove_node, lambda model, node: cb.replace_node(model, node, cb.relu())):
        with raises(cb.InputError, "linear", "chain"):
            change(model, cb.Linear())
        with raises(cb.InputError, "chain"):
            change(model, model)


def test_widths_that_do_not_fit_are_refused() -> None:
    model = cb.Linear(4, 2) >> cb.Linear(3, 4) >> cb.Linear(2, 3)
    with pytest.raises(cb.DimensionError):
        cb.remove_node(model, model.layers[1])
    with pytest.raises(cb.DimensionError):
        cb.replace_node(model, model.layers[1], cb.Linear(3, 5))


def test_layers_of_a_layer_with_parameters_stay() -> None:
    child = cb.relu()
    model = cb.Model(
        "scaled", lambda model, X, run: run(model.layers[0], X), layers=[child],
        dims={"nI": 2}, params={"s": cb.Param(("nI",), cb.ones)},
    )  # fmt: skip
    with raises(cb.InputError, "scaled", "parameters"):
        cb.replace_node(model >> cb.relu(), child, cb.gelu())


def test_utilities_on_a_gpu(strict: Any) -> None:
    ops = cb.CupyOps(0)
    Y, X = ops.asarray(np.array([2, 0, 1])), ops.asarray(ROWS)
    with strict.counting() as counted:
        rows = cb.to_categorical(Y, 3, label_smoothing=0.1)
        batches = list(cb.minibatch(2, X, rng=0))
        assert cb.get_width(X) == 3
    assert counted.to_host == 0, counted.reasons
    np.testing.assert_allclose(
        rows.get(), cb.to_categorical([2, 0, 1], 3, label_smoothing=0.1), rtol=1e-6
    )
    for found, expected in zip(batches, cb.minibatch(2, ROWS, rng=0), strict=True):
        np.testing.assert_array_equal(found.get(), expected)
