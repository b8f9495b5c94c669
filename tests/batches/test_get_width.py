"""get_width of all forms of batches."""

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
def test_get_width_supports_all_forms_of_batches(X: Any, width: int) -> None:
    assert cb.get_width(X) == width


def test_get_width_along_another_axis() -> None:
    assert cb.get_width(ROWS, dim=0) == 5


def test_get_width_of_a_dict_fails() -> None:
    with raises(cb.InputError, "dict"):
        cb.get_width({})


def test_get_width_on_gpu_copies_nothing_to_the_host(strict: Any) -> None:
    X = cb.CupyOps(0).asarray(ROWS)
    with strict.counting() as counted:
        assert cb.get_width(X) == 3
    assert counted.to_host == 0, counted.reasons
