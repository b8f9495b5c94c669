"""CRF, CRFLoss and viterbi against an enumeration of all label sequences."""

from itertools import product
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_device
from helpers.arrays import floats, listed
from helpers.errors import raises

torch = pytest.importorskip("torch")

K = 3
LENGTHS = (4, 1, 0, 3, 4)


def model(k: int = K, seed: int = 0) -> Any:
    """Returns a CRF whose weights are all different."""
    crf = cb.CRF(k).initialize(dtype="float64")
    for i, name in enumerate(crf.param_names):
        crf.set_param(name, floats(*crf.get_param(name).shape, seed=seed + i))
    return crf


def scores_of_all_labelings(X: Any, T: Any, start: Any, end: Any) -> dict[tuple[int, ...], Any]:
    """Returns the score of each label sequence for the input X, in NumPy or PyTorch."""
    scores = {}
    for labels in product(range(len(start)), repeat=len(X)):
        score = start[labels[0]] + end[labels[-1]] if labels else start.sum() * 0
        for i, label in enumerate(labels):
            score = score + X[i, label]
            if i:
                score = score + T[labels[i - 1], label]
        scores[labels] = score
    return scores


def truths(lengths: Any = LENGTHS, k: int = K) -> list[Any]:
    return [np.random.default_rng(i).integers(0, k, n) for i, n in enumerate(lengths)]


@pytest.mark.parametrize("normalize", [True, False])
def test_loss_and_gradients_match_enumeration(normalize: bool) -> None:
    crf, X = model(), listed(*LENGTHS)
    Y, backprop = crf.begin_update(X)
    gradient, value = cb.CRFLoss(normalize=normalize)(Y, truths())
    dX = backprop(gradient)

    scores = [torch.tensor(x, requires_grad=True) for x in X]
    weights = {name: torch.tensor(crf.get_param(name), requires_grad=True)
               for name in crf.param_names}  # fmt: skip
    total = torch.zeros((), dtype=torch.float64)
    for x, labels in zip(scores, truths(), strict=True):
        all_ways = scores_of_all_labelings(x, *weights.values())
        total = total + torch.stack([*all_ways.values()]).logsumexp(0) - all_ways[(*labels,)]
    total = total / len(X) if normalize else total
    total.backward()
    np.testing.assert_allclose(value, total.detach().numpy(), rtol=1e-12)
    for found, x in zip(dX, scores, strict=True):
        expected = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    for name, weight in weights.items():
        np.testing.assert_allclose(crf.get_grad(name), weight.grad, rtol=1e-9, atol=1e-12)


def test_viterbi_finds_the_best_label_sequence() -> None:
    for seed in range(5):
        crf, X = model(seed=seed), listed(*LENGTHS)
        weights = [crf.get_param(name) for name in crf.param_names]
        found = (crf >> cb.viterbi()).predict(X)
        for labels, x in zip(found, X, strict=True):
            all_ways = scores_of_all_labelings(x, *weights)
            assert tuple(labels.tolist()) == max(all_ways, key=lambda way: all_ways[way])


def test_loss_without_transitions_is_the_crossentropy_of_the_rows() -> None:
    X = listed(*LENGTHS)
    gradient, value = cb.CRFLoss()(cb.CRF(K).initialize(dtype="float64").predict(X), truths())
    rows, labels = torch.tensor(np.concatenate(X), requires_grad=True), np.concatenate(truths())
    expected = torch.nn.functional.cross_entropy(rows, torch.tensor(labels), reduction="sum")
    (expected / len(X)).backward()
    np.testing.assert_allclose(value * len(X), expected.detach(), rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(gradient[0]), rows.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("sgd", "left"), [(cb.Adam(0.1), 1), (cb.AdamW(0.1), 1 - 0.1 * 0.01)])
def test_large_scores_and_forbidden_transitions_stay_finite(sgd: cb.Optimizer, left: float) -> None:
    crf = model()
    crf.set_param("T", np.where(np.eye(K), 0.0, -1e6))  # forbids a change of label
    X = [x * 1e4 for x in listed(4, 2)]
    Y, backprop = crf.begin_update(X)
    labels = [np.full(len(x), x.sum(axis=0).argmax()) for x in X]
    gradient, value = cb.CRFLoss()(Y, labels)
    assert np.isfinite(value)
    backprop(gradient, sgd)
    off = ~np.eye(K, dtype=bool)
    np.testing.assert_allclose(crf.get_param("T")[off], -1e6 * left, rtol=1e-14)
    found = (crf >> cb.viterbi()).predict(X)
    assert all(len(set(each.tolist())) == 1 for each in found)


def test_float32_matches_float64_on_long_sequences() -> None:
    """Compares the loss and all gradients; the gradients of a row sum to 0."""
    lengths, k = (2000, 30), 5
    scores = [10 * x for x in listed(*lengths, width=k)]
    field = [floats(k, k), floats(k, seed=1), floats(k, seed=2)]
    results = []
    for dtype in ("float32", "float64"):
        rounded = [each.astype("float32").astype(dtype) for each in (*scores, *field)]
        chain = (rounded[:2], *rounded[2:])
        gradient, value = cb.CRFLoss(normalize=False)(chain, truths(lengths, k))
        assert value.dtype == dtype
        rows = np.concatenate(gradient[0])
        np.testing.assert_allclose(rows.sum(axis=1), 0, atol=1e-6)
        results.append([value, rows, *gradient[1:]])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=5e-4)


def test_loss_accepts_names_unsigned_labels_and_ragged_batches() -> None:
    names = ["B", "I", "O"]
    Y = model().predict(listed(*LENGTHS))
    labels = truths()
    gradient, value = cb.CRFLoss(names=names)(Y, [[names[i] for i in each] for each in labels])
    plain, expected = cb.CRFLoss()(Y, labels)
    assert value == expected
    unsigned = [labels[0].astype("uint64"), *labels[1:]]
    assert cb.CRFLoss()(Y, unsigned)[1] == expected
    ragged = model().predict(cb.Ragged(np.concatenate(Y[0]), LENGTHS))
    other, value = cb.CRFLoss()(ragged, labels)
    assert value == expected
    np.testing.assert_array_equal(other[0].data, np.concatenate(plain[0]))
    np.testing.assert_array_equal(other[1], gradient[1])


def test_empty_batch_has_loss_0() -> None:
    Y = model().predict([])
    gradient, value = cb.CRFLoss()(Y, [])
    assert value == 0
    assert gradient[0] == []
    assert (model() >> cb.viterbi()).predict([]) == []


def test_crf_learns_transitions() -> None:
    # All rows have equal features: only the previous label determines the next.
    rng = np.random.default_rng(0)
    labels = [np.arange(n) % 2 * 2 + rng.integers(0, 1, n) for n in (5, 6, 3, 8)]
    X = [np.ones((len(each), 1), "f") for each in labels]
    model = cb.with_flatten(cb.Linear(3)) >> cb.CRF()
    model.initialize(X)
    sgd, loss = cb.Adam(0.1), cb.CRFLoss()
    for _ in range(60):
        Y, backprop = model.begin_update(X)
        gradient, value = loss(Y, labels)
        backprop(gradient, sgd)
    assert value < 0.1
    found = (model >> cb.viterbi()).predict(X)
    assert [each.tolist() for each in found] == [each.tolist() for each in labels]


def test_resize_output_keeps_the_old_weights() -> None:
    crf = model()
    before = {name: crf.get_param(name) for name in crf.param_names}
    tagger = cb.with_array(cb.Linear(K, 2)) >> crf
    tagger.initialize(dtype="float64").resize_output(K + 1)
    assert tagger.layers[0].layers[0].get_dim("nO") == K + 1
    for name, old in before.items():
        new = crf.get_param(name)
        np.testing.assert_array_equal(new[tuple(slice(K) for _ in new.shape)], old)
        assert np.count_nonzero(new) == np.count_nonzero(old)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (floats(3, K), "crf ... list ... Ragged ... float64"),
        ([floats(3, K), np.array([1])], "crf ... floats"),
        ([floats(3, 2)], "crf ... nO=3"),
        ([floats(3, K).astype("f")], "crf ... float64 ... float32"),
    ],
)
def test_invalid_input_is_refused(X: Any, message: str) -> None:
    with raises((cb.InputError, cb.DimensionError), message):
        model().predict(X)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1, 2]], "lengths"),
        ([[0, 1], [0]], "[3, 1] ... [2, 1]"),
        ([[0, 1, 3], [0]], "2 ... 3"),
        ([[0, -1, 2], [0]], "2 ... -1"),
        ([[0, -(2**63), 2], [0]], f"2 ... {-(2**63)}"),
        ([[0, None, 2], [0]], "CRFLoss ... None"),
        ([[0.0, 1.0, 2.0], [0.0]], "integers"),
        ([np.eye(3), np.eye(3)[:1]], "CRFLoss ... (4, 3)"),
        ([np.eye(3), [0]], "sequences"),
        (["BIO", "O"], "str"),
        (None, "[3, 1] ... NoneType"),
        ([["B", "I", "O"], ["O"]], "`names`"),
    ],
)
def test_invalid_labels_are_refused(labels: Any, message: str) -> None:
    Y = model().predict(listed(3, 1))
    with raises((cb.InputError, cb.DimensionError), message):
        cb.CRFLoss()(Y, labels)


def test_viterbi_and_loss_refuse_input_that_is_not_from_a_crf() -> None:
    with raises(cb.InputError, "viterbi", "CRF"):
        cb.viterbi().predict(listed(2))
    with raises(cb.DimensionError, "CRFLoss"):
        cb.CRFLoss()((listed(2, width=2), *model().predict(listed(2))[1:]), [[0, 1]])


def test_loss_fails_if_names_and_labels_differ_in_number() -> None:
    with raises(cb.DimensionError, "2", "3"):
        cb.CRFLoss(names=["B", "I"])(model().predict(listed(2)), [["B", "I"]])


def test_crf_gives_the_same_results_on_numpy_ops() -> None:
    check_device(cb.CRF(K), listed(*LENGTHS), cb.NumpyOps())
