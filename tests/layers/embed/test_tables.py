"""layerize, array_getitem, tables of vectors, and layers that map ids: results and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.layers.embed.tables import DeviceTable
from combinet.text import hash_text
from helpers.arrays import close, floats, ids
from helpers.errors import raises
from helpers.models import SEED, ready

# -- layerize and array_getitem -------------------------------------------------------------------


def test_layerize_returns_a_layer_named_after_the_function() -> None:
    @cb.layerize
    def double(X: Any) -> Any:
        return X * 2, lambda dY: dY * 2

    assert double.name == "double"
    Y, backprop = (double >> double).begin_update(floats(2, 3))
    close(Y, floats(2, 3) * 4)
    close(backprop(np.ones((2, 3))), np.full((2, 3), 4.0))
    for wrong in (3, cb.relu()):
        with raises(cb.InputError, "layerize", "backprop"):
            cb.layerize(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "index",
    [1, -1, slice(None, None, 2), [0, 0, 3], [], (slice(None), 2), (0, [1, 1, 2]),
     ([2, 2, 0], [1, 1, 2]), (slice(1, 3), slice(None), 0)],
    ids=str,
)  # fmt: skip
def test_array_getitem_matches_pytorch(index: Any) -> None:
    torch: Any = pytest.importorskip("torch")
    X = floats(4, 3, 2)
    T = torch.tensor(X, requires_grad=True)
    Y, backprop = cb.array_getitem(index).begin_update(X)
    plain = slice(0, X.shape[0], 2) if index == slice(None, None, 2) else index
    expected = T[plain]
    np.testing.assert_array_equal(Y, expected.detach())
    dY = floats(*Y.shape, seed=1)
    expected.backward(torch.tensor(dY))
    close(backprop(dY), T.grad)


@pytest.mark.parametrize("index", [4, -5, [0, 4], (0, 3), (0, 0, 0, 0)], ids=str)
def test_array_getitem_refuses_indices_out_of_range(index: Any) -> None:
    with raises(cb.DimensionError, "array_getitem", "(4, 3, 2)"):
        cb.array_getitem(index).predict(floats(4, 3, 2))


@pytest.mark.parametrize(
    "index",
    [[True, False, True, True], [0.9, 1.9], True, None, ..., "a", 1.0, (0, np.array([True] * 3))],
    ids=str,
)
def test_array_getitem_refuses_indices_that_are_not_integers(index: Any) -> None:
    with raises(cb.InputError, "array_getitem"):
        cb.array_getitem(index)


def test_array_getitem_of_ids_has_no_gradient() -> None:
    model = cb.array_getitem((slice(None), 1)) >> cb.Embed(2, 5)
    Y, backprop = ready(model).begin_update(np.array([[0, 1], [2, 3]]))
    assert backprop(np.ones_like(Y)) is None
    with raises(cb.InputError, "array_getitem", "list"):
        cb.array_getitem(0).predict([floats(2)])  # type: ignore[arg-type]


# -- tables ---------------------------------------------------------------------------------------


def test_static_vectors_are_not_trained_or_saved() -> None:
    table = floats(7, 3)
    before = table.copy()
    model = ready(cb.StaticVectors(table) >> cb.Linear(2))
    X = ids(20)
    np.testing.assert_array_equal(model.layers[0].predict(X), table[X])
    Y, backprop = model.begin_update(X)
    assert backprop(np.ones_like(Y), cb.SGD(0.1)) is None
    np.testing.assert_array_equal(table, before)
    assert model.layers[0].param_names == ()
    assert len(ready(cb.StaticVectors(floats(9000, 3))).to_bytes()) < 1000
    assert model.copy().layers[0].attrs["vectors"] is model.layers[0].attrs["vectors"]


def test_static_vectors_have_the_width_of_their_table() -> None:
    model = cb.StaticVectors(floats(7, 3)) >> cb.Linear(2)
    assert ready(model).layers[1].get_dim("nI") == 3
    for call in (lambda: cb.StaticVectors(floats(7, 3)) >> cb.Linear(2, 4),
                 lambda: cb.StaticVectors(floats(7, 3)).resize_output(4)):  # fmt: skip
        with raises(cb.DimensionError, "nO=3"):
            call()
    assert model.resize_output(5).predict(ids(3)).shape == (3, 5)


def test_static_vectors_refuse_invalid_ids_and_tables() -> None:
    with raises(cb.DimensionError, "0", "6", "2", "7"):
        cb.StaticVectors(floats(7, 3)).predict(np.array([2, 7]))
    for wrong in (np.zeros((2, 2), "int64"), floats(3), [[1.0]]):
        with raises(cb.InputError, "StaticVectors", "nO"):
            cb.StaticVectors(wrong)  # type: ignore[arg-type]


def test_table_is_copied_to_a_device_once() -> None:
    copied: list[Any] = []

    class Elsewhere(cb.NumpyOps):
        name = "elsewhere"

        def asarray(self, X: Any, dtype: Any = None) -> Any:
            copied.append(X)
            return super().asarray(X, dtype).copy()

    table, ops = DeviceTable(floats(3)), Elsewhere()
    assert table.on(ops) is table.on(ops)
    assert len(copied) == 1
    assert table.on(cb.NumpyOps()) is table.array


def test_remap_ids_looks_up_keys_in_the_mapping() -> None:
    mapping = {"a": 3, "b": 0, 7: 5}
    words = ["b", "c", "a", 7, "a"]
    Y = cb.remap_ids(mapping, default=9).predict(words)
    assert Y.tolist() == [mapping.get(word, 9) for word in words]
    assert Y.dtype.kind == "i"
    assert cb.remap_ids(mapping).predict([]).shape == (0,)
    with raises(cb.InputError, "premap_ids"):
        cb.remap_ids(mapping).predict(np.arange(3))  # type: ignore[arg-type]
    with raises(cb.InputError, "remap_ids", "list"):
        cb.remap_ids(mapping).predict([["a"]])  # type: ignore[list-item]


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32"])
def test_premap_ids_looks_up_ids_in_the_mapping(dtype: str) -> None:
    known = [0, 3, 2**31 - 1, 5] + ([2**64 - 1, 2**63] if dtype == "uint64" else [-1, -(2**31)])
    mapping = {key: 10 * i for i, key in enumerate(known)}
    X = np.array([*known, 1, 4, 2**31 - 2, *known[::-1]], dtype)
    expected = [mapping.get(x, 77) for x in X.tolist()]
    np.testing.assert_array_equal(cb.premap_ids(mapping, 77).predict(X), expected)
    rows = np.stack([X, X[::-1]], axis=1)
    Y = cb.premap_ids(mapping, 77, column=1).predict(rows)
    np.testing.assert_array_equal(Y, expected[::-1])
    assert cb.premap_ids({}, 4).predict(X).tolist() == [4] * len(X)


def test_premap_ids_refuses_invalid_keys_and_input() -> None:
    with raises(cb.InputError, "ints", "str"):
        cb.premap_ids({"a": 1})  # type: ignore[dict-item]
    with raises(cb.InputError, "premap_ids"):
        cb.premap_ids({1: 1}).predict(floats(3))


def test_strings2arrays_hashes_each_word() -> None:
    docs = [["a", "cat", "a"], [], ["cat"]]
    Y = cb.strings2arrays().predict(docs)
    assert [y.shape for y in Y] == [(3, 1), (0, 1), (1, 1)]
    assert [y[:, 0].tolist() for y in Y] == [[hash_text(word) for word in doc] for doc in docs]
    with raises(cb.InputError, "'word'"):
        cb.strings2arrays().predict(["word"])


def test_to_device_leaves_lists_of_words_unchanged() -> None:
    assert cb.to_device([["a"], ["b"]], cb.NumpyOps()) == [["a"], ["b"]]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (
            cb.Ragged(np.ones(2, "f"), [2]),
            cb.InputError,
            "embed_bag ... Ragged ... float32",
        ),
        (cb.Ragged(np.ones((2, 1, 1), "i"), [2]), cb.InputError, "embed_bag ... Ragged"),
        (cb.Ragged(np.array([0, 7]), [2]), cb.DimensionError, "embed_bag ... 6 ... 7"),
        (cb.Ragged(np.array([-1, 1]), [2]), cb.DimensionError, "embed_bag ... 6 ... -1"),
        (np.array([1]), cb.InputError, "embed_bag ... Ragged ... int64"),
    ],
)
def test_embed_bag_refuses_invalid_input(X: Any, error: Any, message: str) -> None:
    with raises(error, message):
        cb.EmbedBag(2, 7).initialize().predict(X)
    with raises(cb.InputError, "'mean'", "'sum'", "'max'"):
        cb.EmbedBag(2, 7, reduce="max")


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (lambda: cb.Embed(2, 7), lambda X: X),
        (lambda: cb.EmbedBag(2, 7), lambda X: cb.Ragged(X, [2])),
        (lambda: cb.StaticVectors(floats(7, 2)), lambda X: X),
        (lambda: cb.HashEmbed(2, 7), lambda X: X),
    ],
)
def test_byte_order_of_ids_does_not_matter(make: Any, form: Any) -> None:
    model = make().initialize(rng=SEED)
    close(model.predict(form(np.array([6, 1], ">i8"))), model.predict(form(np.array([6, 1]))))
    if "hash" not in model.name:
        with raises(cb.DimensionError, "0", "6", "1", 2**56):
            model.predict(form(np.array([1, 2**56], ">i8")))
