"""Functions that change or read a tree of layers."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises


def test_set_dropout_rate_changes_every_dropout_layer() -> None:
    inner = cb.Dropout(0.5)
    model = cb.residual(cb.Linear(8, 8) >> inner) >> cb.Dropout() >> cb.Linear(8, 8)
    assert cb.set_dropout_rate(model, 0.25) is model
    assert [n.attrs["rate"] for n in model.walk() if n.name == "dropout"] == [0.25, 0.25]
    Y, _ = inner.begin_update(np.ones(1000), drop=0.9)
    assert set(Y.tolist()) == {0.0, 1 / 0.75}
    cb.set_dropout_rate(model, None)
    Y, _ = inner.begin_update(np.ones(1000), drop=0.5)
    assert set(Y.tolist()) == {0.0, 2.0}


def test_set_dropout_rate_skips_rates_of_other_layers() -> None:
    other = cb.Model("slope", lambda model, X, run: (X, lambda dY: dY), attrs={"rate": 3.0})
    cb.set_dropout_rate(other >> cb.Dropout(), 0.25)
    assert other.attrs["rate"] == 3.0


def test_set_dropout_rate_fails_for_invalid_rates() -> None:
    model = cb.Dropout(0.5)
    with raises(cb.InputError, "1"):
        cb.set_dropout_rate(model, 1.0)
    assert model.attrs["rate"] == 0.5


def test_get_gradients_returns_copies_of_accumulated_gradients() -> None:
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


def test_replace_node_replaces_every_occurrence() -> None:
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
    assert found.layers[0] is a  # unchanged layers are shared
    assert found.layers[1] is not residual


def test_model_from_replace_node_can_be_trained() -> None:
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


def test_original_and_edited_model_can_be_combined() -> None:
    model, inner = tree()
    found = cb.replace_node(model, inner, cb.relu())
    both = (model | found).initialize()
    assert both.paths().keys() > {"concatenate >> chain[0]", "concatenate >> chain[1]"}
    X = floats(4, 3)
    expected = np.concatenate([model.predict(X), found.predict(X)], axis=1)
    np.testing.assert_array_equal(both.copy().predict(X), expected)


def test_node_can_be_replaced_by_a_model_that_contains_it() -> None:
    model, inner = tree()
    found = cb.replace_node(model, inner, cb.residual(inner))
    assert inner in found.walk()


def test_chain_that_replaces_a_layer_of_a_chain_is_flattened() -> None:
    model = cb.Linear(3, 3) >> cb.relu()
    found = cb.replace_node(model, model.layers[1], cb.Linear(2, 3) >> cb.gelu())
    assert [layer.name for layer in found.layers] == ["linear", "linear", "gelu"]


def test_remove_node_removes_every_occurrence() -> None:
    model, inner = tree()
    found = cb.remove_node(model, inner)
    a, residual, joined = model.layers
    expected = a >> cb.residual(cb.chain(residual.layers[0].layers[1], cb.noop()))
    expected = cb.chain(expected, cb.concatenate(joined.layers[1]))
    X = floats(4, 3)
    np.testing.assert_array_equal(found.predict(X), expected.predict(X))
    assert inner in model.walk()


def test_remove_node_removes_a_term_of_a_sum() -> None:
    a, b, c = (cb.Linear(2, 2) for _ in range(3))
    found = cb.remove_node(cb.add(a, b, c), b)
    assert found.layers == (a, c)


def test_invalid_edits_fail() -> None:
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


def test_edits_that_make_widths_unequal_fail() -> None:
    model = cb.Linear(4, 2) >> cb.Linear(3, 4) >> cb.Linear(2, 3)
    with pytest.raises(cb.DimensionError):
        cb.remove_node(model, model.layers[1])
    with pytest.raises(cb.DimensionError):
        cb.replace_node(model, model.layers[1], cb.Linear(3, 5))


def test_sublayer_of_a_layer_with_parameters_cannot_be_replaced() -> None:
    child = cb.relu()
    model = cb.Model(
        "scaled", lambda model, X, run: run(model.layers[0], X), layers=[child],
        dims={"nI": 2}, params={"s": cb.Param(("nI",), cb.ones)},
    )  # fmt: skip
    with raises(cb.InputError, "scaled", "parameters"):
        cb.replace_node(model >> cb.relu(), child, cb.gelu())
