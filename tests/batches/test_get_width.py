"""The width of a batch, whatever its form."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats
from helpers.errors import raises

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


def test_on_a_gpu(strict: Any) -> None:
    X = cb.CupyOps(0).asarray(ROWS)
    with strict.counting() as counted:
        assert cb.get_width(X) == 3
    assert counted.to_host == 0, counted.reasons
