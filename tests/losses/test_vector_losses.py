"""Losses of vectors and of binary classes, against PyTorch and Thinc."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

both = pytest.mark.parametrize("normalize", [True, False])
A, B, C = (floats(6, 3, seed=seed) for seed in range(3))
P = 1 / (1 + np.exp(-A))
YES = (B > 0).astype("int64")
ALIKE = np.array([1, 0, 0, 1, 0, 1])


def by_torch(formula: Any, *arrays: Any, normalize: bool) -> tuple[list[Any], float]:
    """Returns gradients and value of a formula of tensors, divided by the rows if normalize."""
    torch = pytest.importorskip("torch")
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = formula(torch, *leaves) / (len(arrays[0]) if normalize else 1)
    value.backward()
    return [leaf.grad.numpy() for leaf in leaves], value.item()


def assert_close(found: Any, expected: Any) -> None:
    gradients = found[0] if isinstance(found[0], tuple) else [found[0]]
    for gradient, other in zip(gradients, expected[0], strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)


@both
def test_l2_distance_matches_pytorch(normalize: bool) -> None:
    def formula(torch: Any, X: Any) -> Any:
        return torch.nn.functional.mse_loss(X, torch.tensor(B), reduction="sum") / 2

    found = cb.L2Distance(normalize=normalize)(A, B)
    assert_close(found, by_torch(formula, A, normalize=normalize))


@both
def test_gradient_of_l2_distance_matches_thinc(normalize: bool) -> None:
    thinc = pytest.importorskip("thinc.api")
    theirs = thinc.L2Distance(normalize=normalize).get_grad(A, B)
    np.testing.assert_allclose(cb.L2Distance(normalize=normalize).get_grad(A, B), theirs)


@both
@pytest.mark.parametrize("ignore_zeros", [True, False])
def test_cosine_distance_matches_pytorch(ignore_zeros: bool, normalize: bool) -> None:
    T = B.copy()
    T[2] = 0

    def formula(torch: Any, X: Any) -> Any:
        distance = 1 - torch.nn.functional.cosine_similarity(X, torch.tensor(T))
        return (distance * torch.tensor(T.any(axis=1))).sum() if ignore_zeros else distance.sum()

    found = cb.CosineDistance(normalize=normalize, ignore_zeros=ignore_zeros)(A, T)
    assert_close(found, by_torch(formula, A, normalize=normalize))


@both
@pytest.mark.parametrize("ignore_zeros", [True, False])
def test_cosine_distance_matches_thinc(ignore_zeros: bool, normalize: bool) -> None:
    thinc = pytest.importorskip("thinc.api")
    T = B.copy()
    T[2] = 0 if ignore_zeros else T[2]
    options = {"normalize": normalize, "ignore_zeros": ignore_zeros}
    ours, theirs = cb.CosineDistance(**options)(A, T), thinc.CosineDistance(**options)(A, T)
    # Thinc adds 1e-8 to every number.
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e10, 1e30])
def test_cosine_distance_does_not_depend_on_vector_lengths(size: float) -> None:
    X, T = A.astype("f"), B.astype("f")
    dY, value = cb.CosineDistance()(X * np.float32(size), T * np.float32(size))
    expected, expected_value = cb.CosineDistance()(X, T)
    np.testing.assert_allclose(dY * np.float32(size), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)


def test_cosine_distance_of_zeros_is_1_without_gradient() -> None:
    dY, value = cb.CosineDistance()(np.zeros((2, 3)), B[:2])
    np.testing.assert_array_equal(dY, 0)
    assert value == 1


@both
def test_binary_crossentropy_of_probabilities_matches_pytorch(normalize: bool) -> None:
    def formula(torch: Any, X: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy(
            X, torch.tensor(YES, dtype=X.dtype), reduction="sum"
        )

    found = cb.BinaryCrossentropy(normalize=normalize)(P, YES)
    assert_close(found, by_torch(formula, P, normalize=normalize))


@both
@pytest.mark.parametrize("truths", [YES, YES > 0, YES.tolist(), np.abs(np.sin(C))])
def test_binary_crossentropy_of_scores_matches_pytorch(truths: Any, normalize: bool) -> None:
    def formula(torch: Any, X: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(
            X, torch.tensor(np.asarray(truths, dtype="float64")), reduction="sum"
        )

    found = cb.BinaryCrossentropy(normalize=normalize, logits=True)(A, truths)
    assert_close(found, by_torch(formula, A, normalize=normalize))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_scores_give_the_right_value_and_gradient(dtype: str) -> None:
    scores = np.array([-1e4, -100, 0, 100, 1e4], dtype)
    dY, value = cb.BinaryCrossentropy(logits=True, normalize=False)(scores, np.ones(5))
    np.testing.assert_allclose(dY, [-1, -1, -0.5, 0, 0], atol=1e-7)
    np.testing.assert_allclose(value, 1e4 + 100 + np.log(2), rtol=1e-6)
    assert dY.dtype == dtype


@pytest.mark.filterwarnings("error")
def test_infinite_scores_give_a_finite_value_and_gradient() -> None:
    loss = cb.BinaryCrossentropy(logits=True, normalize=False)
    scores = np.array([np.inf, -np.inf, 0])
    dY, value = loss(scores, np.array([1, 0, 1]))
    np.testing.assert_array_equal(dY, [0, 0, -0.5])
    np.testing.assert_allclose(value, np.log(2), rtol=1e-15)
    dY, value = loss(scores, np.array([1, 1, 1]))
    np.testing.assert_array_equal(dY, [0, -1, -0.5])
    assert value == np.finfo("float64").max  # the largest float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_0_and_1_give_finite_results(dtype: str) -> None:
    guesses = np.array([0, 0, 1, 1], dtype)
    dY, value = cb.BinaryCrossentropy()(guesses, np.array([0, 1, 0, 1]))
    assert np.isfinite(dY).all()
    assert np.isfinite(value)
    assert (np.sign(dY) == [1, -1, 1, -1]).all()


@both
@pytest.mark.parametrize("margin", [0.5, 1.0, 4.0])
def test_contrastive_loss_matches_its_formula(margin: float, normalize: bool) -> None:
    def formula(torch: Any, X: Any, Z: Any) -> Any:
        distance = (X - Z).norm(dim=1)
        alike = torch.tensor(ALIKE)
        return (alike * distance**2 + (1 - alike) * (margin - distance).clamp(min=0) ** 2).sum() / 2

    found = cb.ContrastiveLoss(margin=margin, normalize=normalize)((A, B), ALIKE)
    assert_close(found, by_torch(formula, A, B, normalize=normalize))


def test_contrastive_loss_of_equal_vectors_has_no_gradient() -> None:
    (dA, dB), value = cb.ContrastiveLoss()((A, A.copy()), np.zeros(6))
    np.testing.assert_array_equal(dA, 0)
    np.testing.assert_array_equal(dB, 0)
    np.testing.assert_allclose(value, 0.5)


@both
@pytest.mark.parametrize("margin", [0.2, 1.0, 4.0])
def test_triplet_loss_matches_pytorch(margin: float, normalize: bool) -> None:
    def formula(torch: Any, anchor: Any, positive: Any, negative: Any) -> Any:
        return torch.nn.functional.triplet_margin_with_distance_loss(
            anchor, positive, negative, margin=margin, reduction="sum",
            distance_function=lambda X, Z: ((X - Z) ** 2).sum(dim=-1),
        )  # fmt: skip

    found = cb.TripletLoss(margin=margin, normalize=normalize)((A, B, C))
    assert_close(found, by_torch(formula, A, B, C, normalize=normalize))


def test_triplets_beyond_the_margin_have_no_gradient() -> None:
    (dA, dP, dN), _ = cb.TripletLoss()((A, B, C))
    still = ((A - B) ** 2).sum(axis=1) + 0.2 <= ((A - C) ** 2).sum(axis=1)
    assert 0 < still.sum() < 6
    for gradient in (dA, dP, dN):
        assert (gradient.any(axis=1) == ~still).all()


CALLS: dict[str, tuple[Any, Any, Any]] = {
    "categorical": (cb.CategoricalCrossentropy(), P / P.sum(axis=1, keepdims=True), ALIKE),
    "sequence": (cb.SequenceCategoricalCrossentropy(), [P[:2], P[2:]], [ALIKE[:2], ALIKE[2:]]),
    "focal": (cb.FocalLoss(), P, ALIKE),
    "binary": (cb.BinaryCrossentropy(), P, YES),
    "logits": (cb.BinaryCrossentropy(logits=True), A, YES),
    "L2": (cb.L2Distance(), A, B),
    "cosine": (cb.CosineDistance(ignore_zeros=True), A, B),
    "contrastive": (cb.ContrastiveLoss(), (A, B), ALIKE),
    "triplet": (cb.TripletLoss(), (A, B, C), None),
    "crf": (cb.CRFLoss(), ([A[:2], A[2:]], B[:3], B[3], B[4]), [ALIKE[:2], ALIKE[2:]]),
}
calls = pytest.mark.parametrize("name", CALLS)


def each_array(X: Any, change: Any) -> Any:
    if isinstance(X, list | tuple):
        return type(X)([each_array(x, change) for x in X])
    return X if X is None else change(X)


def flat(X: Any) -> list[Any]:
    return [y for x in X for y in flat(x)] if isinstance(X, list | tuple) else [X]


def test_calls_cover_every_loss() -> None:
    losses = {value for name in cb.__all__ if isinstance(value := getattr(cb, name), type)}
    expected = {each for each in losses if issubclass(each, cb.Loss)} - {cb.Loss}
    assert {type(loss) for loss, _, _ in CALLS.values()} == expected


@calls
def test_get_grad_and_get_loss_match_a_call(name: str) -> None:
    loss, guesses, truths = CALLS[name]
    gradient, value = loss(guesses, truths)
    for found, expected in zip(flat(loss.get_grad(guesses, truths)), flat(gradient), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert loss.get_loss(guesses, truths) == value
    assert np.ndim(value) == 0


@calls
def test_arguments_are_not_changed(name: str) -> None:
    loss, guesses, truths = CALLS[name]

    def locked(X: Any) -> Any:
        X = X.copy()
        X.flags.writeable = False
        return X

    gradient, _ = loss(each_array(guesses, locked), each_array(truths, locked))
    for found, given in zip(flat(gradient), flat(guesses), strict=True):
        assert found.shape == given.shape
        assert not np.shares_memory(found, given)


@calls
def test_gradient_has_the_dtype_of_the_guesses(name: str) -> None:
    loss, guesses, truths = CALLS[name]
    gradient, _ = loss(each_array(guesses, lambda X: X.astype("f")), truths)
    assert {found.dtype for found in flat(gradient)} == {np.dtype("float32")}


@pytest.mark.parametrize("name", sorted(CALLS.keys() - {"crf"}))  # tested in test_crf.py
def test_batch_without_rows_has_loss_0(name: str) -> None:
    loss, guesses, truths = CALLS[name]
    none = each_array(guesses, lambda X: X[:0]), each_array(truths, lambda X: X[:0])
    gradient, value = loss(*none)
    assert [found.shape for found in flat(gradient)] == [X.shape for X in flat(none[0])]
    assert value == 0


@calls
def test_gpu_matches_cpu_and_copies_nothing_to_the_host(name: str, strict: Any) -> None:
    ops = cb.CupyOps(0)
    loss, guesses, truths = CALLS[name]
    on_gpu = [each_array(X, ops.asarray) for X in (guesses, truths)]
    with strict.counting() as counted:
        gradient, value = loss(*on_gpu)
    assert counted.to_host == 0, counted.reasons
    expected, expected_value = loss(guesses, truths)
    for found, other in zip(flat(gradient), flat(expected), strict=True):
        np.testing.assert_allclose(found.get(), other, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(value.get(), expected_value, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "guesses", "truths", "error", "message"),
    [
        (cb.L2Distance(), A, B[:3], cb.DimensionError, "(6, 3) ... (3, 3)"),
        (cb.L2Distance(), A[0], B[0], cb.InputError, "(n, k) ... (3,)"),
        (cb.L2Distance(), YES, YES, cb.InputError, "int64"),
        (cb.CosineDistance(), A, B[:, :2], cb.DimensionError, "(6, 2)"),
        (cb.CosineDistance(), A, [["a"] * 3] * 6, cb.InputError, "<U1"),
        (cb.BinaryCrossentropy(), P, YES[0], cb.DimensionError, "int64 ... (3,)"),
        (cb.BinaryCrossentropy(), P.tolist(), YES, cb.InputError, "list"),
        (cb.ContrastiveLoss(), A, ALIKE, cb.InputError, "2 ... float64"),
        (cb.ContrastiveLoss(), (A, B[:2]), ALIKE, cb.DimensionError, "(6, 3) ... (2, 3)"),
        (cb.ContrastiveLoss(), (A, B), ALIKE[:2], cb.DimensionError, "6 ... (2,)"),
        (cb.TripletLoss(), (A, B), None, cb.InputError, "3 ... tuple"),
        (cb.TripletLoss(), (A, B, C), ALIKE, cb.InputError, "truths"),
    ],
)
def test_invalid_guesses_and_truths_are_refused(
    loss: Any, guesses: Any, truths: Any, error: Any, message: str
) -> None:
    with raises(error, message):
        loss(guesses, truths)


@pytest.mark.parametrize("make", [cb.ContrastiveLoss, cb.TripletLoss])
def test_margin_must_be_above_0(make: Any) -> None:
    with raises(cb.InputError, "0"):
        make(margin=0)
