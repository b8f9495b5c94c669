"""to_categorical against the identity matrix and against Thinc."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.errors import raises


@pytest.mark.parametrize("Y", [[0, 2, 1], np.array([[1, 0], [2, 2]]), np.zeros((0,), "int64"), 1])
def test_to_categorical_returns_rows_of_the_identity_matrix(Y: Any) -> None:
    found = cb.to_categorical(Y, 3)
    np.testing.assert_array_equal(found, np.eye(3)[np.asarray(Y)])
    assert found.dtype == np.float32


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("n", [3, 5, None])
def test_to_categorical_matches_thinc(smoothing: float, n: int | None) -> None:
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
def test_invalid_arguments_are_refused(
    args: Any, smoothing: float, error: Any, message: str
) -> None:
    with raises(error, message):
        cb.to_categorical(*args, label_smoothing=smoothing)


def test_gpu_matches_cpu_and_copies_nothing_to_the_host(strict: Any) -> None:
    Y = cb.CupyOps(0).asarray(np.array([2, 0, 1]))
    with strict.counting() as counted:
        rows = cb.to_categorical(Y, 3, label_smoothing=0.1)
    assert counted.to_host == 0, counted.reasons
    expected = cb.to_categorical([2, 0, 1], 3, label_smoothing=0.1)
    np.testing.assert_allclose(rows.get(), expected, rtol=1e-6)
