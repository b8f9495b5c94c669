"""Losses of classes with names, missing truths, negation and smoothing; focal loss."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, probs
from helpers.errors import raises

NAMES = ["a", "b", "c", "d"]
CLASSES = np.array([2, 0, 1, 1, 3])
LABELS = ["c", "a", "b", "b", "d"]
both = pytest.mark.parametrize("normalize", [True, False])


P = probs(5, 4, seed=1)


def assert_close(found: Any, expected: Any, within: float = 1e-12) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=within, atol=within)
    np.testing.assert_allclose(found[1], expected[1], rtol=within)


def assert_slopes(loss: Any, guesses: Any, truths: Any) -> None:
    """Checks the gradient against central differences of the value."""
    found, h = loss.get_grad(guesses, truths), 1e-6
    for index in np.ndindex(*guesses.shape):
        step = np.zeros(guesses.shape)
        step[index] = h
        ahead, behind = loss.get_loss(guesses + step, truths), loss.get_loss(guesses - step, truths)
        np.testing.assert_allclose(found[index], (ahead - behind) / (2 * h), rtol=1e-7, atol=1e-8)


@both
@pytest.mark.parametrize("truths", [LABELS, tuple(LABELS), np.array(LABELS), CLASSES.tolist()])
def test_names_are_equivalent_to_column_numbers(truths: Any, normalize: bool) -> None:
    loss = cb.CategoricalCrossentropy(names=NAMES, normalize=normalize)
    assert_close(loss(P, truths), cb.CategoricalCrossentropy(normalize=normalize)(P, CLASSES))


@both
@pytest.mark.parametrize(
    ("options", "truths"),
    [
        ({"missing_value": 1}, CLASSES),
        ({"missing_value": 1}, CLASSES.tolist()),
        ({"missing_value": 1}, np.eye(4)[CLASSES]),
        ({"missing_value": -1}, [2, 0, -1, -1, 3]),
        ({"missing_value": -1}, np.array([2, 0, -1, -1, 3], dtype="int8")),
        ({"missing_value": 99}, np.array([2, 0, 99, 99, 3], dtype="uint8")),
        ({"missing_value": np.int64(1)}, CLASSES.tolist()),
        ({"missing_value": np.uint8(1)}, np.eye(4)[CLASSES]),
        ({"missing_value": np.int8(-1)}, [2, 0, -1, None, 3]),
        ({"names": NAMES, "missing_value": "b"}, LABELS),
        ({"names": NAMES, "missing_value": ""}, ["c", "a", "", "", "d"]),
        ({"names": NAMES}, ["c", "a", None, None, "d"]),
        ({}, [2, 0, None, None, 3]),
    ],
)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_missing_truths_have_no_loss_and_no_gradient(
    options: Any, truths: Any, smoothing: float, normalize: bool
) -> None:
    torch = pytest.importorskip("torch")
    if smoothing and np.ndim(truths) == 2:
        return  # refused; tested below
    loss = cb.CategoricalCrossentropy(normalize=normalize, label_smoothing=smoothing, **options)
    leaf = torch.tensor(P, requires_grad=True)
    targets = np.where(np.eye(4)[CLASSES] == 1, 1 - smoothing, smoothing / 3)
    targets[[2, 3]] = 0
    expected = -(torch.tensor(targets) * leaf.log()).sum() / (5 if normalize else 1)
    expected.backward()
    assert_close(loss(P, truths), (leaf.grad.numpy(), expected.item()))


@both
def test_smoothing_matches_pytorch(normalize: bool) -> None:
    """PyTorch spreads e over all k classes, combinet e' over the others: e' = e (k - 1) / k."""
    torch = pytest.importorskip("torch")
    scores = floats(5, 4, seed=1)
    model = cb.Softmax(4, 4, init_W=lambda shape, rng: np.eye(4)).initialize(dtype="float64")
    Y, backprop = model.begin_update(scores)
    loss = cb.CategoricalCrossentropy(normalize=normalize, label_smoothing=0.2 * 3 / 4)
    dY, value = loss(Y, CLASSES)
    leaf = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        leaf,
        torch.tensor(CLASSES),
        label_smoothing=0.2,
        reduction="mean" if normalize else "sum",
    )
    expected.backward()
    assert_close((backprop(dY), value), (leaf.grad.numpy(), expected.item()), within=1e-10)


@both
def test_class_weights_match_pytorch(normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    weights = np.array([0.5, 2.0, 3.0, 1.0])
    truths = cb.to_categorical(CLASSES, 4) * weights[CLASSES][:, None]
    found = cb.CategoricalCrossentropy(normalize=normalize)(P, truths)
    leaf = torch.tensor(P, requires_grad=True)
    classes, by = torch.tensor(CLASSES), torch.tensor(weights)
    expected = torch.nn.functional.nll_loss(leaf.log(), classes, by, reduction="sum")
    expected = expected / (5 if normalize else 1)  # PyTorch would divide by the weights
    expected.backward()
    assert_close(found, (leaf.grad.numpy(), expected.item()))


@both
def test_smoothing_matches_thinc_at_the_scores(normalize: bool) -> None:
    thinc = pytest.importorskip("thinc.api")
    options: Any = {"normalize": normalize, "names": NAMES, "label_smoothing": 0.1}
    truths = ["c", "a", None, "b", "d"]
    theirs = thinc.CategoricalCrossentropy(**options).get_grad(P.astype("f"), truths)
    dY = cb.CategoricalCrossentropy(**options).get_grad(P, truths)
    at_scores = P * (dY - (P * dY).sum(axis=1, keepdims=True))  # through the softmax
    np.testing.assert_allclose(at_scores, theirs, rtol=1e-5, atol=1e-7)


NEGATED = ["c", "!a", None, "!d", "b"]


@both
def test_negated_name_means_any_other_class(normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    loss = cb.CategoricalCrossentropy(names=NAMES, neg_prefix="!", normalize=normalize)
    leaf = torch.tensor(P, requires_grad=True)
    terms = [leaf[0, 2], leaf[1, 1:].sum(), leaf[3, :3].sum(), leaf[4, 1]]
    expected = -sum(term.log() for term in terms) / (5 if normalize else 1)
    expected.backward()
    assert_close(loss(P, NEGATED), (leaf.grad.numpy(), expected.item()))
    assert_slopes(loss, P, NEGATED)


def test_gradient_of_a_negated_name_matches_thinc_at_its_score() -> None:
    thinc = pytest.importorskip("thinc.api")
    options: Any = {"names": NAMES, "neg_prefix": "!", "normalize": False}
    theirs = thinc.CategoricalCrossentropy(**options).get_grad(P.astype("f"), ["!b"] * 5)
    dY = cb.CategoricalCrossentropy(**options).get_grad(P, ["!b"] * 5)
    at_scores = P * (dY - (P * dY).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(at_scores[:, 1], theirs[:, 1], rtol=1e-5)


def test_smoothing_does_not_affect_negated_names() -> None:
    options: Any = {"names": NAMES, "neg_prefix": "!"}
    plain = cb.CategoricalCrossentropy(**options)
    smooth = cb.CategoricalCrossentropy(label_smoothing=0.1, **options)
    assert_close(smooth(P, ["!b"] * 5), plain(P, ["!b"] * 5))
    assert_slopes(smooth, P, NEGATED)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [50.0, 1e3, 1e4])
def test_negated_names_have_the_right_gradient_at_extreme_scores(size: float, dtype: str) -> None:
    """The gradient at the score of the negated class is its probability, however large."""
    model = cb.Softmax(3, 3, init_W=lambda shape, rng: np.eye(3)).initialize(dtype=dtype)
    Y, backprop = model.begin_update(np.array([[size, 0, -size], [-size, size, 0]], dtype))
    loss = cb.CategoricalCrossentropy(names=["a", "b", "c"], neg_prefix="-", normalize=False)
    dY, value = loss(Y, ["-a", "-a"])
    assert np.isfinite(dY).all()
    assert np.isfinite(value)
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(backprop(dY)[:, 0], [1, 0], rtol=0, atol=tolerance)


def test_exact_name_takes_precedence_over_the_negation_prefix() -> None:
    loss = cb.CategoricalCrossentropy(names=["!a", "a"], neg_prefix="!")
    p = probs(1, 2)
    assert_close(loss(p, ["!a"]), cb.CategoricalCrossentropy()(p, [0]))
    assert_close(loss(p, ["!!a"]), loss(p, ["a"]))


def test_sequence_loss_accepts_names() -> None:
    options: Any = {"names": NAMES, "neg_prefix": "!", "label_smoothing": 0.1}
    loss = cb.SequenceCategoricalCrossentropy(**options)
    dY, value = loss([P[:2], P[:0], P[2:]], [NEGATED[:2], [], NEGATED[2:]])
    whole, total = cb.CategoricalCrossentropy(normalize=False, **options)(P, NEGATED)
    assert [len(d) for d in dY] == [2, 0, 3]
    assert_close((np.concatenate(dY), value), (whole / 3, total / 3))


@pytest.mark.parametrize("truths", [[2, None, 1, 1, 3], np.array([2, -1, 1, 1, 3])])
def test_sequence_loss_accepts_missing_truths(truths: Any) -> None:
    loss = cb.SequenceCategoricalCrossentropy(missing_value=-1, normalize=False)
    dY, value = loss([P[:2], P[2:]], [truths[:2], truths[2:]])
    kept = [0, 2, 3, 4]
    expected, total = cb.CategoricalCrossentropy(normalize=False)(P[kept], CLASSES[[0, 2, 3, 4]])
    np.testing.assert_array_equal(dY[0][1], 0)
    assert_close((np.concatenate(dY)[kept], value), (expected, total))


@both
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("truths", ["classes", "probabilities"])
def test_focal_loss_matches_its_formula(truths: str, gamma: float, normalize: bool) -> None:
    torch = pytest.importorskip("torch")
    targets = probs(5, 4) if truths == "probabilities" else np.eye(4)[CLASSES]
    leaf = torch.tensor(P, requires_grad=True)
    expected = -(torch.tensor(targets) * (1 - leaf) ** gamma * leaf.log()).sum()
    expected = expected / 5 if normalize else expected
    expected.backward()
    loss = cb.FocalLoss(gamma=gamma, normalize=normalize)
    given = targets if truths == "probabilities" else CLASSES
    assert_close(loss(P, given), (leaf.grad.numpy(), expected.item()))


def test_focal_loss_accepts_names_and_missing_truths() -> None:
    loss = cb.FocalLoss(names=NAMES, missing_value="?", normalize=False)
    dY, value = loss(P, ["c", "?", "b", "b", "d"])
    kept = [0, 2, 3, 4]
    expected, total = cb.FocalLoss(normalize=False)(P[kept], CLASSES[kept])
    np.testing.assert_array_equal(dY[1], 0)
    assert_close((dY[kept], value), (expected, total))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_of_a_certain_guess_is_finite(gamma: float) -> None:
    tiny = np.finfo("f").tiny
    guesses = np.array([[1, tiny], [tiny, 1]], "f")
    dY, value = cb.FocalLoss(gamma=gamma)(guesses, [0, 0])
    assert np.isfinite(dY).all()
    np.testing.assert_allclose(value, -np.log(tiny) / 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "truths", "error", "message"),
    [
        ({}, LABELS, cb.InputError, "'c' ... `names`"),
        ({"names": NAMES}, ["x"] * 5, cb.InputError, "'x' ... names"),
        ({"names": NAMES}, ["!a"] * 5, cb.InputError, "'!a' ... names"),
        ({"names": NAMES, "neg_prefix": "!"}, ["!x"] * 5, cb.InputError, "'!x'"),
        ({"names": NAMES[:3]}, ["a"] * 5, cb.DimensionError, "3 ... 4"),
        ({"missing_value": -1}, [0, 1, -2, 1, 0], cb.DimensionError, "3 ... -2"),
        ({"missing_value": -1}, [0, 1, 4, 1, 0], cb.DimensionError, "3"),
        ({}, [0, 1, -(2**63), 1, 0], cb.DimensionError, f"3 ... {-(2**63)}"),
        ({}, [0, 1, 1 - 2**62, 1, 0], cb.DimensionError, f"3 ... {1 - 2**62}"),
        ({}, [0, 1, -(2**63), None, 0], cb.DimensionError, f"3 ... {-(2**63)}"),
        ({}, [0, 1, 2**70, None, 0], cb.DimensionError, f"3 ... {2**70}"),
        ({"names": NAMES}, [-(2**62), "a", "b", "c", "d"], cb.DimensionError, "3"),
        (
            {"missing_value": 0},
            np.array([0, 1, 2**63, 1, 0], "uint64"),
            cb.DimensionError,
            f"{2**63}",
        ),
        ({}, [1.7, 0, None, 1, 0], cb.InputError, "integer ... None ... float"),
        ({}, [float("nan"), 0, None, 1, 0], cb.InputError, "integer ... None ... float"),
        ({}, [[0.25] * 4] * 4 + [None], cb.InputError, "None ... list"),
        ({"names": NAMES}, [1.7, "a", "b", "c", "d"], cb.InputError, "None ... float"),
        ({"names": NAMES}, [["a"], "a", "b", "c", "d"], cb.InputError, "list"),
        (
            {"label_smoothing": 0.1},
            probs(5, 4),
            cb.InputError,
            "label_smoothing",
        ),
        ({"label_smoothing": 0.8}, CLASSES, cb.InputError, "4 ... 0.8"),
    ],
)
def test_invalid_truths_are_refused(options: Any, truths: Any, error: Any, message: str) -> None:
    with raises(error, message):
        cb.CategoricalCrossentropy(**options)(P, truths)


def test_negation_of_the_only_class_is_refused() -> None:
    with raises(cb.DimensionError, "class"):
        cb.CategoricalCrossentropy(names=["a"], neg_prefix="!")(np.ones((1, 1)), ["!a"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cb.CategoricalCrossentropy(label_smoothing=1.0), "1.0"),
        (lambda: cb.CategoricalCrossentropy(label_smoothing=-0.1), "-0.1"),
        (lambda: cb.CategoricalCrossentropy(neg_prefix="!"), "names"),
        (lambda: cb.CategoricalCrossentropy(names=["a", "a"]), "names"),
        (lambda: cb.FocalLoss(gamma=-1.0), "gamma ... -1.0"),
    ],
)
def test_invalid_settings_are_refused(make: Any, message: str) -> None:
    with raises(cb.InputError, message):
        make()


def test_arguments_are_not_changed() -> None:
    labels, numbers, guesses = list(NEGATED), np.array([2, -1, 1, 1, 3]), P.copy()
    guesses.flags.writeable = numbers.flags.writeable = False
    cb.CategoricalCrossentropy(names=NAMES, neg_prefix="!")(guesses, labels)
    cb.CategoricalCrossentropy(missing_value=-1, label_smoothing=0.1)(guesses, numbers)
    cb.CategoricalCrossentropy(missing_value=1)(guesses, np.eye(4)[CLASSES])
    cb.FocalLoss(missing_value=-1)(guesses, numbers)
    assert labels == NEGATED


ON_GPU: dict[str, tuple[dict[str, Any], Any]] = {
    "names": ({"names": NAMES, "neg_prefix": "!"}, NEGATED),
    "numbers": ({"missing_value": 1, "label_smoothing": 0.1}, CLASSES),
    "bytes": ({"missing_value": 99}, np.array([2, 0, 99, 1, 3], "uint8")),
    "rows": ({"missing_value": 1}, np.eye(4)[CLASSES]),
}


@pytest.mark.parametrize("name", ON_GPU)
def test_gpu_matches_cpu_and_copies_nothing_to_the_host(name: str, strict: Any) -> None:
    ops = cb.CupyOps(0)
    options, truths = ON_GPU[name]
    there = truths if isinstance(truths, list) else ops.asarray(truths)
    guesses: Any = ops.asarray(P)
    loss = cb.CategoricalCrossentropy(**options)
    listed = cb.SequenceCategoricalCrossentropy(**options)
    with strict.counting() as counted:
        dY, value = loss(guesses, there)
        dYs, total = listed([guesses[:2], guesses[2:]], [there[:2], there[2:]])
    assert counted.to_host == 0, counted.reasons
    expected, expected_value = loss(P, truths)
    assert_close((dY.get(), value.get()), (expected, expected_value))
    found = np.concatenate([each.get() for each in dYs])
    assert_close((found, total.get()), (expected * 5 / 2, expected_value * 5 / 2))


def test_focal_loss_on_gpu_matches_cpu(strict: Any) -> None:
    ops, loss = cb.CupyOps(0), cb.FocalLoss(missing_value=1)
    guesses, truths = ops.asarray(P), ops.asarray(CLASSES)
    with strict.counting() as counted:
        dY, value = loss(guesses, truths)
    assert counted.to_host == 0, counted.reasons
    assert_close((dY.get(), value.get()), loss(P, CLASSES))
