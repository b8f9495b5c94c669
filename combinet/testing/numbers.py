"""Comparisons of batches, and what they measured."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, to_device
from combinet.ops.backends import default_ops, get_array_ops
from combinet.types import Array

_RELATIVE, _ABSOLUTE = 1e-9, 1e-12


@dataclass(frozen=True)
class Finding:
    """What a check measured.

    Args:
        what: The compared number that is nearest to its tolerance, such as "predict at (0, 1)".
        difference: How far this number is from the expected one.
        tolerance: The largest difference that passes.
        numbers: How many numbers were compared.
        skipped: Why the check does not apply to the model. "" if it does.

    Example:
        >>> Finding("predict at (0, 1)", 1e-13, 1e-12, 6)
        6 numbers, largest difference 1e-13 of predict at (0, 1), tolerance 1e-12
    """

    what: str = ""
    difference: float = 0.0
    tolerance: float = 0.0
    numbers: int = 0
    skipped: str = ""

    def __repr__(self) -> str:
        if self.skipped or not self.numbers:
            return self.skipped or "no numbers to compare"
        count = f"{self.numbers} number{'s' * (self.numbers > 1)}"
        if not self.difference:
            return f"{count}, all equal"
        return (
            f"{count}, largest difference {self.difference:.2g} of {self.what}, "
            f"tolerance {self.tolerance:.2g}"
        )


def worst(findings: Iterable[Finding]) -> Finding:
    """Returns the finding nearest to its tolerance, with the count of all numbers."""
    each = [*findings]
    largest = max(each, key=lambda f: f.difference / (f.tolerance or 1.0), default=Finding())
    return replace(largest, numbers=sum(f.numbers for f in each))


def compare(what: str, found: Any, expected: Any) -> Finding:
    """Compares two batches, or two dicts of arrays, of the same structure.

    Raises AssertionError if a number differs by more than 1e-12 plus 1e-9 of the expected one.
    """
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), f"{what}: expected {[*expected]}, got {[*found]}"
        return worst(compare(f"{what} {key}", found[key], expected[key]) for key in expected)
    found, expected = (to_device(X, default_ops()) for X in (found, expected))
    assert type(found) is type(expected), f"{what}: expected {expected!r}, got {found!r}"
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected), f"{what}: expected {expected!r}, got {found!r}"
    arrays, others = arrays_of(found), arrays_of(expected)
    name = what if len(others) < 2 else f"{what}[{{}}]"
    return worst(
        _compare_arrays(name.format(i), a, b)
        for i, (a, b) in enumerate(zip(arrays, others, strict=True))
    )


def _compare_arrays(what: str, found: Any, expected: Any) -> Finding:
    """Compares two NumPy arrays. Integers in a tuple have None as their gradient."""
    assert (found is None) == (expected is None), f"{what}: expected {expected!r}, got {found!r}"
    if expected is None:
        return Finding()
    assert found.shape == expected.shape, (
        f"{what}: expected the shape {expected.shape}, got {found.shape}"
    )
    if not expected.size:
        return Finding()
    a, b = np.asarray(found, "float64"), np.asarray(expected, "float64")
    with np.errstate(all="ignore"):
        same = (found == expected) | (np.isnan(a) & np.isnan(b))
        difference = np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
        tolerance = _ABSOLUTE + _RELATIVE * np.where(np.isfinite(b), np.abs(b), 0)
        flat = int(np.argmax(difference / tolerance))
    index = tuple(map(int, np.unravel_index(flat, a.shape)))
    place = f"{what} at {index}"
    finding = Finding(place, float(difference[index]), float(tolerance[index]), a.size)
    assert finding.difference <= finding.tolerance, (
        f"{place}: expected {expected[index]}, got {found[index]}, a difference of "
        f"{finding.difference:.2g} where the tolerance is {finding.tolerance:.2g}"
    )
    return finding


def arrays_of(X: Any) -> list[Any]:
    """Returns the arrays of a batch in order, without strings."""
    if isinstance(X, list | tuple):
        return [array for x in X for array in arrays_of(x)]
    if isinstance(X, str):
        return []
    if isinstance(X, Ragged):
        return [X.rows]
    return [X.data] if isinstance(X, Padded) else [X]


def random_like(Y: Any, seed: int = 0) -> Any:
    """Returns random numbers in the form of Y, and 0 in the padding of Padded."""
    rng = np.random.default_rng(seed)

    def draw(y: Any) -> Array:
        R = rng.normal(size=y.shape)
        if isinstance(Y, Padded):
            real = np.arange(len(Y.size_at_t))[:, None] < Y.lengths
            R *= real.reshape(real.shape + (1,) * (R.ndim - 2))
        drawn: Array = get_array_ops(y).asarray(R, y.dtype)
        return drawn

    return map_arrays(Y, draw)


def frozen(X: Any) -> Any:
    """Makes the NumPy arrays of a batch read-only and returns the batch."""
    for array in arrays_of(X):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return X
