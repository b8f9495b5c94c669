"""Conv1d against PyTorch, and against expand_window followed by Linear."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats, listed, padded, ragged
from helpers.errors import raises

torch = pytest.importorskip("torch")
from helpers.against_torch import F, assert_agrees  # noqa: E402

LENGTHS = [6, 0, 1, 9, 2, 3]


def conv1d(rows: Any, W: Any, b: Any, stride: int, dilation: int, padding: str) -> Any:
    """Convolves one sequence (n, nI): padded as in torch.nn.Conv1d, only before, or not at all."""
    total = dilation * (W.shape[2] - 1)
    before = {"same": total // 2, "causal": total, "valid": 0}[padding]
    after = 0 if padding == "valid" else total - before
    X = F.pad(rows.T, (before, after))
    if X.shape[1] <= total or not len(rows):
        return rows[:0] @ W[:, :, 0].T + b
    return F.conv1d(X[None], W, b, stride=stride, dilation=dilation)[0].T


def torch_output_length(n: int, **how: Any) -> int:
    W = torch.zeros(1, 1, how.pop("width"))
    return len(conv1d(torch.zeros(n, 1), W, torch.zeros(1), **how))


@pytest.mark.parametrize("padding", ["same", "causal", "valid"])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_conv1d_matches_pytorch_on_each_sequence(
    width: int, stride: int, dilation: int, padding: str
) -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        parts = [conv1d(rows, W, b, stride, dilation, padding) for rows in X.split(LENGTHS)]
        return torch.cat(parts)

    model = cb.Conv1d(4, width=width, stride=stride, dilation=dilation, padding=padding)
    X = ragged(*LENGTHS)
    assert_agrees(model, X, reference)
    how = {"width": width, "stride": stride, "dilation": dilation, "padding": padding}
    assert model.predict(X).lengths.tolist() == [torch_output_length(n, **how) for n in LENGTHS]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("width", [2, 3, 6])
def test_array_is_one_sequence_and_is_padded_as_in_pytorch(width: int, dilation: int) -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return F.conv1d(X.T[None], W, b, padding="same", dilation=dilation)[0].T

    assert_agrees(cb.Conv1d(4, width=width, dilation=dilation), floats(7, 3), reference)


def test_stride_and_valid_padding_shorten_a_single_array() -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return F.conv1d(X.T[None], W, b, stride=3)[0].T

    assert_agrees(cb.Conv1d(4, width=2, stride=3, padding="valid"), floats(9, 3), reference)


@pytest.mark.parametrize("width", [3, 4])
def test_conv1d_inside_with_flatten_matches_pytorch(width: int) -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return [conv1d(rows, W, b, 1, 1, "same") for rows in X]

    assert_agrees(cb.with_flatten(cb.Conv1d(4, width=width)), listed(*LENGTHS), reference)


def test_with_ragged_allows_shorter_lists() -> None:
    def reference(X: Any, W: Any, b: Any) -> Any:
        return [conv1d(rows, W, b, 2, 1, "same") for rows in X]

    assert_agrees(cb.with_ragged(cb.Conv1d(4, stride=2)), listed(*LENGTHS), reference)


def test_with_ragged_allows_shorter_padded_batches() -> None:
    model = cb.with_ragged(cb.Conv1d(4, stride=3)).initialize(padded(7, 2, 4), dtype="float64")
    Y, backprop = model.begin_update(padded(7, 2, 4))
    expected, backprop_ragged = model.begin_update(ragged(7, 2, 4))
    assert Y.lengths.tolist() == [3, 2, 1]
    assert Y.indices.tolist() == [0, 2, 1]
    dY = floats(6, 4, seed=1)
    dX = backprop(cb.list2padded().predict([dY[:3], dY[3:4], dY[4:]]))
    for one, other in zip(
        cb.padded2list().predict(dX),
        cb.ragged2list().predict(backprop_ragged(cb.Ragged(dY, [3, 1, 2]))),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    for i in range(3):
        np.testing.assert_array_equal(Y[i].data[:, 0], expected[i].data)


def test_same_seed_gives_the_weights_of_expand_window_and_linear() -> None:
    X = ragged(4, 2, 1)
    conv = cb.Conv1d(4, 3, width=5).initialize(rng=1, dtype="float64")
    pair = cb.with_array(cb.expand_window(2) >> cb.Linear(4)).initialize(X, rng=1, dtype="float64")
    np.testing.assert_allclose(conv.predict(X).data, pair.predict(X).data, rtol=1e-12)
    assert abs(conv.get_param("W")).max() <= (6 / (5 * 3 + 4)) ** 0.5


def test_resize_keeps_the_weights_of_each_column() -> None:
    X = floats(6, 3)
    model = cb.Conv1d(4, width=4).initialize(X, dtype="float64")
    before = model.predict(X)
    model.resize_input(5).resize_output(6)
    after = model.predict(np.hstack([X, floats(6, 2, seed=1)]))
    np.testing.assert_allclose(after[:, :4], before, rtol=1e-12)
    assert (after[:, 4:] == 0).all()


def test_resize_keeps_the_weights_of_concatenated_columns() -> None:
    X = floats(6, 3)
    model = (cb.noop() | cb.relu() | cb.Linear(3, 3)) >> cb.Conv1d(4, width=2)
    before = model.initialize(X, dtype="float64").predict(X)
    after = model.resize_input(4).predict(np.hstack([X, np.zeros((6, 1))]))
    np.testing.assert_allclose(after, before, rtol=1e-12)


@pytest.mark.parametrize("how", [{"stride": 2}, {"padding": "valid"}])
@pytest.mark.parametrize("wrap", [cb.with_flatten, cb.with_array])
def test_shorter_output_fails_inside_with_flatten_and_with_array(wrap: Any, how: Any) -> None:
    model = wrap(cb.Conv1d(2, 3, **how)).initialize(dtype="float64")
    with raises(cb.DimensionError, "Ragged"):
        model.predict(listed(4, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"stride": 0}, cb.InputError, "stride ... 0"),
        ({"dilation": 1.5}, cb.InputError, "dilation ... 1.5"),
        ({"padding": "full"}, cb.InputError, "'causal' ... 'valid' ... 'full'"),
        ({"width": 0}, cb.DimensionError, "nW ... 0"),
    ],
)
def test_invalid_settings_are_refused(arguments: Any, error: Any, words: str) -> None:
    with raises(error, words):
        cb.Conv1d(2, 3, **arguments)


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        (listed(2), cb.InputError, "conv1d ... list"),
        (floats(2, 3, 1), cb.InputError, "(2, 3, 1)"),
        (floats(2, 4), cb.DimensionError, "nI=3 ... (2, 4)"),
        (ragged(2, width=4), cb.DimensionError, "nI=3 ... Ragged"),
    ],
)
def test_invalid_input_is_refused(X: Any, error: Any, words: str) -> None:
    with raises(error, words):
        cb.Conv1d(2, 3).initialize(dtype="float64").predict(X)
