"""SparseLinear: output and gradients against PyTorch; hashing; resizing; errors."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, sparse
from helpers.errors import raises

LENGTHS = [3, 0, 1, 5, 0, 2]


def test_output_is_a_weighted_sum_of_the_hashed_rows() -> None:
    torch: Any = pytest.importorskip("torch")
    X = keys, values, lengths = sparse(*LENGTHS)
    model = cb.SparseLinear(4, 11, init_W=cb.normal(), init_b=cb.normal()).initialize(
        dtype="float64"
    )
    E, b, weights = (
        torch.tensor(array, requires_grad=True)
        for array in (model.get_param("W").copy(), model.get_param("b").copy(), values)
    )
    rows = torch.tensor(cb.NumpyOps().hash_rows(keys, 0, 11)[:, :2].copy()).reshape(-1)
    offsets = torch.tensor(2 * (np.cumsum(lengths) - lengths))
    expected = b + torch.nn.functional.embedding_bag(
        rows, E, offsets, mode="sum", per_sample_weights=weights.repeat_interleave(2)
    )
    Y, backprop = model.begin_update(X)
    dY = floats(6, 4)
    expected.backward(torch.tensor(dY))
    none, d_values, nothing = backprop(dY)
    assert none is nothing is None
    for found, tensor in (
        (Y, expected.detach()),
        (d_values, weights.grad),
        (model.get_grad("W"), E.grad),
        (model.get_grad("b"), b.grad),
    ):
        np.testing.assert_allclose(found, tensor, rtol=1e-9, atol=1e-12)


def rows_of_one_key(n: int) -> Any:
    return np.arange(n, dtype="uint64"), np.ones(n), np.ones(n, "int64")


@pytest.mark.parametrize("length", [10, 48, 100])
def test_keys_are_spread_evenly_over_the_table(length: int) -> None:
    n = 200 * length
    model = cb.SparseLinear(2, length).initialize(dtype="float64")
    model.begin_update(rows_of_one_key(n))[1](np.ones((n, 2)))
    counts = model.get_grad("W")[:, 0]
    chi_square = ((counts - 2 * n / length) ** 2).sum() / (2 * n / length)
    assert counts.sum() == 2 * n
    assert abs(chi_square - (length - 1)) < 4 * (2 * (length - 1)) ** 0.5


def test_outputs_share_no_weights() -> None:
    model = cb.SparseLinear(3, 50).initialize(dtype="float64")
    dY = np.zeros((40, 3))
    dY[:, 1] = 1
    model.begin_update(rows_of_one_key(40))[1](dY, cb.SGD(1.0))
    Y = model.predict(rows_of_one_key(40))
    assert (Y[:, [0, 2]] == 0).all()
    assert (Y[:, 1] < 0).all()


def test_only_the_hashed_rows_have_a_gradient() -> None:
    model = cb.SparseLinear(2, 1000).initialize(dtype="float64")
    model.begin_update(rows_of_one_key(3))[1](np.ones((3, 2)))
    named = cb.NumpyOps().hash_rows(rows_of_one_key(3)[0], 0, 1000, 2)
    assert set(np.flatnonzero(model.get_grad("W").any(axis=1))) == set(named.ravel())


def test_signed_keys_equal_unsigned_keys_with_the_same_bits() -> None:
    model = cb.SparseLinear(2, 100, init_W=cb.normal()).initialize(dtype="float64")
    counts = np.ones(2, "int32")
    signed = model.predict((np.array([-1, 5]), np.ones(2), counts))
    unsigned = model.predict((np.array([2**64 - 1, 5], "uint64"), np.ones(2), counts))
    np.testing.assert_array_equal(signed, unsigned)


def test_bag_of_words_classifier_learns() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 120)
    words = classes[:, None] * 1000 + rng.integers(0, 1000, (120, 20))  # a vocabulary per class
    X = words.ravel().astype("uint64"), np.full(2400, 0.05), np.full(120, 20)
    model = cb.SparseLinear(3, 2**14) >> cb.softmax_activation()
    model.initialize(dtype="float64")
    loss, sgd = cb.CategoricalCrossentropy(), cb.Adam(0.1)
    for _ in range(20):
        Y, backprop = model.begin_update(X)
        backprop(loss(Y, classes)[0], sgd)
    assert (model.predict(X).argmax(axis=1) == classes).all()


KEYS, VALUES, COUNTS = sparse(3, 2)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (KEYS, cb.InputError, "keys ... lengths ... (5,)"),
        ((KEYS, VALUES), cb.InputError, "tuple ... 2"),
        ((KEYS, COUNTS, COUNTS), cb.InputError, "uint64 ... (5,) ... int64 ... (2,)"),
        ((VALUES, VALUES, COUNTS), cb.InputError, "tuple ... float64"),
        ((KEYS, VALUES, VALUES), cb.InputError, "tuple"),
        ((KEYS, VALUES, [3, 2]), cb.InputError, "list"),
        ((KEYS, VALUES[:, None], COUNTS), cb.InputError, "(5, 1)"),
        ((KEYS, VALUES.astype("f"), COUNTS), cb.InputError, "float64 ... float32"),
        ((KEYS, VALUES[:4], COUNTS), cb.DimensionError, "key"),
        ((KEYS, VALUES, COUNTS[:1]), cb.DimensionError, "keys ... 5 ... 3"),
        ((KEYS, VALUES, np.array([6, -1])), cb.DimensionError, "0"),
    ],
)
def test_invalid_input_is_refused(X: Any, error: Any, words: str) -> None:
    model = cb.SparseLinear(2, 7).initialize(dtype="float64")
    with raises(error, words):
        model.predict(X)


def test_number_of_outputs_is_inferred_from_the_target() -> None:
    model = cb.SparseLinear(length=7).initialize(sparse(3, 2), np.zeros((2, 4)))
    assert model.get_param("W").shape == (7, 4)
    assert not model.get_param("W").any()
    with raises(cb.DimensionError, "sparse_linear", "nO"):
        cb.SparseLinear(length=7).initialize(sparse(3, 2))


@pytest.mark.parametrize("size", [6, 3])
def test_resize_output_keeps_the_weights(size: int) -> None:
    X = sparse(*LENGTHS)
    model = cb.SparseLinear(4, 11, init_W=cb.normal()).initialize(dtype="float64")
    before = model.predict(X)
    after = model.resize_output(size).predict(X)
    np.testing.assert_array_equal(after[:, :4], before[:, :size])
    assert not after[:, 4:].any()
