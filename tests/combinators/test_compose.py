"""Combinators that add or join outputs accept memory-mapped arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (cb.residual(cb.relu()), lambda X: X + np.maximum(X, 0)),
        (cb.add(cb.noop(), cb.relu()), lambda X: X + np.maximum(X, 0)),
        (cb.gated(cb.noop(), cb.relu()), lambda X: X * np.maximum(X, 0)),
        (cb.concatenate(cb.noop(), cb.relu()), lambda X: np.hstack([X, np.maximum(X, 0)])),
    ],
    ids=["residual", "add", "gated", "concatenate"],
)
def test_memory_mapped_input_works_as_an_array(model: Any, expected: Any, tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "X", dtype="float32", mode="w+", shape=(3, 4))
    mapped[:] = floats(3, 4)
    assert np.array_equal(model.predict(mapped), expected(np.asarray(mapped)))


def test_output_mapped_from_a_file_takes_a_gradient_in_memory(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "X", dtype="float32", mode="w+", shape=(3, 4))
    dY = floats(3, 4).astype("float32")
    for model in (cb.noop(), cb.tuplify(cb.noop(), cb.noop())):
        Y, backprop = model.begin_update(mapped)
        dX = backprop((dY, dY) if isinstance(Y, tuple) else dY)
        assert np.array_equal(dX, dY * (2 if isinstance(Y, tuple) else 1))
