"""Class numbers as rows of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.errors import DimensionError, InputError, describe
from combinet.losses.targets import smooth
from combinet.ops.backends import get_array_ops
from combinet.types import Floats, is_size


def to_categorical(Y: Any, n_classes: int | None = None, *, label_smoothing: float = 0.0) -> Floats:
    """Class numbers of any shape as rows, float32 (..., n_classes): 1 at the class, else 0.

    With `label_smoothing` it is 1 - label_smoothing there, and the rest in equal parts at the
    others. Without `n_classes` there are as many as the largest number says; it is read, which
    on a GPU waits. Raises DimensionError for numbers beyond, InputError for what is no number.

    Example:
        >>> to_categorical([2, 0], 3, label_smoothing=0.5)
        array([[0.25, 0.25, 0.5 ],
               [0.5 , 0.25, 0.25]], dtype=float32)
    """
    ops = get_array_ops(Y)
    Y = ops.asarray(Y)
    if Y.size and Y.dtype.kind not in "iu":
        raise InputError(f"class numbers are integers, not {describe(Y)}")
    host = isinstance(Y, np.ndarray)
    low, high = (int(Y.min()), int(Y.max())) if Y.size and (host or not n_classes) else (0, -1)
    n_classes = high + 1 if n_classes is None else n_classes
    if not is_size(n_classes):
        raise InputError(f"there is at least one class, not {n_classes!r}")
    if low < 0 or high >= n_classes:
        raise DimensionError(f"class numbers are from 0 to {n_classes - 1}, not {low} to {high}")
    rows = (Y[..., None] == ops.xp.arange(n_classes)).astype("float32")
    return smooth(rows, label_smoothing) if label_smoothing else rows  # type: ignore[no-any-return]
