"""Crossentropies against PyTorch and central differences; extreme, empty and invalid input."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, probs
from helpers.errors import raises

CLASSES = np.array([2, 0, 1, 1, 3])
normalized = pytest.mark.parametrize("normalize", [True, False])


def value_of(guesses: Any, targets: Any, normalize: bool) -> float:
    total = -float((targets * np.log(guesses)).sum())
    return total / len(guesses) if normalize else total


@normalized
@pytest.mark.parametrize("truths", ["classes", "one-hot", "probabilities"])
def test_value_and_gradient_match_pytorch(truths: str, normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    targets = {
        "classes": CLASSES,
        "one-hot": np.eye(4)[CLASSES],
        "probabilities": probs(5, 4),
    }
    guesses = probs(5, 4, seed=1)
    found, value = cb.CategoricalCrossentropy(normalize=normalize)(guesses, targets[truths])
    leaf = torch.tensor(guesses, requires_grad=True)
    if truths == "classes":
        reduction = "mean" if normalize else "sum"
        expected = torch.nn.functional.nll_loss(
            leaf.log(), torch.tensor(CLASSES), reduction=reduction
        )
    else:
        expected = -(torch.tensor(targets[truths]) * leaf.log()).sum()
        expected = expected / 5 if normalize else expected
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-12)


@normalized
@pytest.mark.parametrize("truths", ["classes", "probabilities"])
def test_loss_after_softmax_matches_cross_entropy_of_pytorch(truths: str, normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    targets = CLASSES if truths == "classes" else probs(5, 4)
    model = cb.Softmax(4, 4, init_W=lambda shape, rng: np.eye(4)).initialize(dtype="float64")
    scores = floats(5, 4, seed=1) * 3
    Y, backprop = model.begin_update(scores)
    dY, value = cb.CategoricalCrossentropy(normalize=normalize)(Y, targets)
    leaf = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(targets), reduction="mean" if normalize else "sum"
    )
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-12)
    np.testing.assert_allclose(backprop(dY), leaf.grad.numpy(), rtol=1e-9, atol=1e-15)


@normalized
def test_gradient_matches_central_differences(normalize: bool) -> None:
    guesses, targets, h = probs(3, 4), probs(3, 4, seed=1), 1e-6
    loss = cb.CategoricalCrossentropy(normalize=normalize)
    dY, _ = loss(guesses, targets)
    for index in np.ndindex(3, 4):
        step = np.zeros((3, 4))
        step[index] = h
        slope = (loss(guesses + step, targets)[1] - loss(guesses - step, targets)[1]) / (2 * h)
        np.testing.assert_allclose(dY[index], slope, rtol=1e-8)


@normalized
def test_sequence_loss_is_divided_by_the_number_of_sequences(normalize: bool) -> None:
    guesses = [probs(3, 4), probs(1, 4, seed=1), probs(2, 4, seed=2)]
    truths = [np.array([0, 3, 1]), np.array([2]), np.array([1, 1])]
    dY, value = cb.SequenceCategoricalCrossentropy(normalize=normalize)(guesses, truths)
    n = 3 if normalize else 1
    total = sum(value_of(p, np.eye(4)[t], False) for p, t in zip(guesses, truths, strict=True))
    np.testing.assert_allclose(value, total / n, rtol=1e-12)
    for found, p, t in zip(dY, guesses, truths, strict=True):
        np.testing.assert_allclose(found, -np.eye(4)[t] / p / n, rtol=1e-12)


def test_sequence_loss_accepts_probabilities() -> None:
    guesses, truths = (
        [probs(3, 4), probs(1, 4)],
        [probs(3, 4, seed=1), probs(1, 4, seed=2)],
    )
    dY, value = cb.SequenceCategoricalCrossentropy()(guesses, truths)
    total = sum(value_of(p, t, False) for p, t in zip(guesses, truths, strict=True))
    np.testing.assert_allclose(value, total / 2, rtol=1e-12)
    for found, p, t in zip(dY, guesses, truths, strict=True):
        np.testing.assert_allclose(found, -t / p / 2, rtol=1e-12)


@pytest.mark.parametrize("empty", [[], np.zeros((0, 4))], ids=["list", "array"])
def test_empty_sequence_counts_in_the_number_of_sequences(empty: Any) -> None:
    truth = np.eye(4)[[0, 3, 1]] if isinstance(empty, np.ndarray) else [0, 3, 1]
    guesses = [np.zeros((0, 4)), probs(3, 4)]
    dY, value = cb.SequenceCategoricalCrossentropy()(guesses, [empty, truth])
    assert dY[0].shape == (0, 4)
    np.testing.assert_allclose(dY[1], -np.eye(4)[[0, 3, 1]] / guesses[1] / 2, rtol=1e-12)
    np.testing.assert_allclose(
        value, value_of(guesses[1], np.eye(4)[[0, 3, 1]], False) / 2, rtol=1e-12
    )


@pytest.mark.parametrize("kinds", [("uint64", "int64"), ("uint64", "int8"), ("uint8", "uint64")])
def test_sequence_loss_accepts_mixed_integer_dtypes(kinds: Any) -> None:
    guesses = [probs(5, 4), probs(5, 4, seed=1)]
    truths = [CLASSES.astype(kind) for kind in kinds]
    total = sum(value_of(p, np.eye(4)[CLASSES], False) for p in guesses)
    value = cb.SequenceCategoricalCrossentropy()(guesses, truths)[1]
    np.testing.assert_allclose(value, total / 2, rtol=1e-12)


def test_sequences_without_rows_have_loss_0() -> None:
    dY, value = cb.SequenceCategoricalCrossentropy()([np.zeros((0, 4))] * 2, [[], []])
    assert [d.shape for d in dY] == [(0, 4), (0, 4)]
    assert value == 0


def test_batch_without_sequences_has_loss_0() -> None:
    dY, value = cb.SequenceCategoricalCrossentropy()([], [])
    assert dY == []
    assert value == 0


@normalized
@pytest.mark.parametrize("truths", [[], np.zeros(0, int), np.zeros((0, 4))])
def test_batch_without_rows_has_loss_0(truths: Any, normalize: bool) -> None:
    dY, value = cb.CategoricalCrossentropy(normalize=normalize)(np.zeros((0, 4)), truths)
    assert dY.shape == (0, 4)
    assert value == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [50.0, 1e3, 1e4])
def test_extreme_scores_give_the_right_gradient(size: float, dtype: str) -> None:
    """The gradient at the scores is p - t, however wrong or right the guess is."""
    model = cb.Softmax(3, 3, init_W=lambda shape, rng: np.eye(3)).initialize(dtype=dtype)
    scores = np.array([[size, 0, -size]] * 3 + [[size, size, -size]], dtype=dtype)
    classes = np.array([0, 1, 2, 2])
    Y, backprop = model.begin_update(scores)
    dY, value = cb.CategoricalCrossentropy(normalize=False)(Y, classes)
    assert np.isfinite(dY).all()
    assert np.isfinite(value)
    p = np.array([[1, 0, 0]] * 3 + [[0.5, 0.5, 0]])  # to within exp(-50)
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(backprop(dY), p - np.eye(3)[classes], rtol=0, atol=tolerance)


def test_guesses_and_truths_are_not_changed() -> None:
    guesses, truths = probs(5, 4), probs(5, 4, seed=1)
    guesses.flags.writeable = truths.flags.writeable = False
    dY, _ = cb.CategoricalCrossentropy()(guesses, truths)
    assert not np.shares_memory(dY, truths)
    cb.SequenceCategoricalCrossentropy()([guesses], [truths])


@pytest.mark.parametrize(
    "truths", [CLASSES, CLASSES.tolist(), CLASSES.astype("uint8"), probs(5, 4)]
)
def test_gradient_has_the_dtype_of_the_guesses(truths: Any) -> None:
    dY, _ = cb.CategoricalCrossentropy()(probs(5, 4).astype("f"), truths)
    assert dY.dtype == np.float32
    (dY,), _ = cb.SequenceCategoricalCrossentropy()([probs(5, 4).astype("f")], [truths])
    assert dY.dtype == np.float32


GUESSES = probs(5, 4)


@pytest.mark.parametrize(
    ("guesses", "truths", "error", "message"),
    [
        (GUESSES, CLASSES[:3], cb.DimensionError, "(5, 4) ... (3,)"),
        (GUESSES, probs(5, 3), cb.DimensionError, "(5, 3)"),
        (GUESSES, 3, cb.DimensionError, "int"),
        (GUESSES, "abcde", cb.DimensionError, "str"),
        (GUESSES, [[1]] * 4 + [[1, 0]], cb.InputError, "length ... list"),
        (GUESSES, [["0.25"] * 4] * 5, cb.InputError, "<U4 ... (5, 4)"),
        (GUESSES, [[None, 1, 0, 0]] * 5, cb.InputError, "object ... (5, 4)"),
        (GUESSES, [0, 1, 4, 2, 0], cb.DimensionError, "3 ... 4"),
        (GUESSES, [0, 1, -1, 2, 0], cb.DimensionError, "3 ... -1"),
        (GUESSES, [0.0, 1.0, 2.0, 2.0, 0.0], cb.InputError, "float64 ... (5,)"),
        (GUESSES, list("abcde"), cb.InputError, "integers ... 'a'"),
        (GUESSES.tolist(), CLASSES, cb.InputError, "list"),
        (
            [GUESSES],
            [CLASSES],
            cb.InputError,
            "CategoricalCrossentropy ... SequenceCategoricalCrossentropy",
        ),
        (GUESSES > 0.3, CLASSES, cb.InputError, "bool ... (5, 4)"),
        (GUESSES[0], CLASSES, cb.InputError, "(4,)"),
    ],
)
def test_invalid_guesses_and_truths_are_refused(
    guesses: Any, truths: Any, error: Any, message: str
) -> None:
    with raises(error, message):
        cb.CategoricalCrossentropy()(guesses, truths)


@pytest.mark.parametrize(
    ("guesses", "truths", "error", "message"),
    [
        (GUESSES, [CLASSES], cb.InputError, "(5, 4)"),
        (cb.Ragged(GUESSES, [5]), [CLASSES], cb.InputError, "Ragged ... ragged2list()"),
        ([GUESSES] * 2, ["abcde"] * 2, cb.DimensionError, "str"),
        ([GUESSES], [CLASSES, CLASSES], cb.DimensionError, "1 ... list ... 2"),
        ([GUESSES], None, cb.DimensionError, "NoneType"),
        ([GUESSES], [3], cb.DimensionError, "0 ... 5 ... int"),
        ([GUESSES, GUESSES], [CLASSES, [0, 1]], cb.DimensionError, "1 ... 5 ... list ... 2"),
        ([GUESSES, probs(5, 3)], [CLASSES] * 2, cb.InputError, "(5, 4) ... (5, 3)"),
        ([GUESSES], [[0, 1, 4, 2, 0]], cb.DimensionError, "3 ... 4"),
        ([GUESSES, GUESSES], [CLASSES, probs(5, 4)], cb.InputError, "sequences"),
    ],
)
def test_invalid_sequences_are_refused(guesses: Any, truths: Any, error: Any, message: str) -> None:
    with raises(error, message):
        cb.SequenceCategoricalCrossentropy()(guesses, truths)


SCORES = np.array([[-1.0, 2.0], [3.0, -4.0]])  # like outputs of a layer without softmax


@pytest.mark.parametrize(
    ("loss", "guesses", "truths"),
    [
        (cb.CategoricalCrossentropy(), SCORES, [1, 0]),
        (cb.CategoricalCrossentropy(), abs(SCORES), [1, 0]),
        (cb.CategoricalCrossentropy(names=["a", "b"], neg_prefix="!"), SCORES, ["!a", "b"]),
        (cb.SequenceCategoricalCrossentropy(), [SCORES], [[1, 0]]),
        (cb.FocalLoss(), SCORES, [1, 0]),
        (cb.BinaryCrossentropy(), SCORES, [[1, 0], [0, 1]]),
        (cb.BinaryCrossentropy(), SCORES, [[0, 1], [1, 0]]),
        (cb.BinaryCrossentropy(normalize=False), SCORES, [[0, 1], [1, 0]]),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_guesses_that_are_not_probabilities_are_refused(
    loss: Any, guesses: Any, truths: Any
) -> None:
    name = type(loss).__name__
    with raises(cb.InputError, name, "probabilities"):
        loss(guesses, truths)


def test_probability_rounded_to_above_1_is_accepted() -> None:
    guesses = np.array([[1 + 2**-22, 2**-23]], "f")
    assert cb.CategoricalCrossentropy()(guesses, [0])[1] < 0
    assert cb.BinaryCrossentropy()(guesses[:, :1], [[1]])[1] < 0


@pytest.mark.parametrize("loss", [cb.CategoricalCrossentropy(), cb.FocalLoss()])
def test_nan_in_guesses_gives_a_value_of_nan(loss: Any) -> None:
    assert np.isnan(loss(np.array([[np.nan, 0.5]]), [1])[1])
