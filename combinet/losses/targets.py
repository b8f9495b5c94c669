"""True classes, as numbers, names or rows of probabilities, as targets for rows of guesses.

Every form of classes becomes one: numbers (n,), whole from 0 on for a class, MISSING for a row that
doesn't count, and `negated(i)` for "any class but i". No integer that is given means these two.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss
from combinet.ops.backends import get_array_ops
from combinet.ops.base import Ops
from combinet.types import Floats, Floats2d, is_size

MISSING = float("nan")


def negated(i: Any) -> Any:
    """The code of "any class but i"."""
    return -0.5 - i


class ClassLoss(Loss):
    """The base of losses over classes: their keywords, and how truths name classes.

    See `CategoricalCrossentropy` for what they mean.
    """

    def __init__(
        self,
        *,
        normalize: bool = True,
        names: Sequence[str] | None = None,
        missing_value: str | int | None = None,
        neg_prefix: str | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(normalize=normalize)
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing is from 0 to below 1, not {label_smoothing!r}")
        if neg_prefix is not None and (names is None or not neg_prefix):
            raise InputError("neg_prefix is a text before one of `names`, which must be given")
        self.names = None if names is None else list(names)
        numbers = {name: i for i, name in enumerate(self.names or ())}
        if len(numbers) < len(self.names or ()):
            raise InputError(f"names are all different, not {self.names}")
        others = {f"{neg_prefix}{name}": negated(i) for name, i in numbers.items() if neg_prefix}
        # What has another code than itself; of what means two things the last counts.
        self.codes: dict[Any, float] = others | numbers | {None: MISSING, missing_value: MISSING}
        self.missing = int(missing_value) if isinstance(missing_value, int | np.integer) else None
        self.label_smoothing = label_smoothing

    def encode(self, sequences: Sequence[Any], ops: Ops) -> Any:
        """The truths of sequences, one after the other, as one array: codes, or probabilities."""
        encoded = [self._encode(truths, ops) for truths in sequences]
        if len(encoded) == 1:
            return encoded[0]
        if len({array.ndim for array in encoded}) > 1:
            raise InputError("truths are class numbers in all sequences, or in none")
        if all(isinstance(array, np.ndarray) for array in encoded):  # where numbers can be checked
            return np.concatenate(encoded) if encoded else np.zeros(0, "int64")
        return ops.concatenate([*map(ops.asarray, encoded)])

    def _encode(self, truths: Any, ops: Ops) -> Any:
        if isinstance(truths, np.ndarray) and truths.dtype.kind in "UO":
            truths = truths.tolist()
        if isinstance(truths, list | tuple) and any(
            truth is None or isinstance(truth, str) for truth in truths
        ):
            return np.array([self._code(truth) for truth in truths], dtype="float64")
        try:
            array = ops.asarray(truths) if hasattr(truths, "dtype") else np.asarray(truths)
        except ValueError as error:
            raise InputError(f"rows of truths have one length, not {describe(truths)}") from error
        if array.ndim not in (1, 2):
            raise DimensionError(
                "truths are class numbers (n,) or rows of probabilities (n, k), "
                f"not {describe(truths)}"
            )
        if array.size and array.dtype.kind not in ("iu" if array.ndim == 1 else "fiub"):
            what = "class numbers are integers" if array.ndim == 1 else "probabilities are numbers"
            raise InputError(f"{what}, not {describe(array)}")
        if array.ndim == 2 or self.missing is None:
            return array
        xp = np if isinstance(array, np.ndarray) else ops.xp
        return xp.where(array == self.missing, MISSING, array)

    def _code(self, truth: Any) -> float:
        if isinstance(truth, str) and self.names is None:
            raise InputError(
                f"class numbers are integers, not {truth!r}: labels need the loss's `names`"
            )
        if truth is None or isinstance(truth, str):
            if truth not in self.codes:
                raise InputError(f"{truth!r} is none of the names {self.names}")
            return self.codes[truth]
        try:
            number = index(truth)
        except TypeError:
            raise InputError(f"a class is a name, integer or None, not {describe(truth)}") from None
        return self.codes.get(number, number)

    def targets(self, guesses: Floats2d, truths: Any, ops: Ops) -> tuple[Floats2d, Any]:
        """Targets (n, k) of the guesses' dtype, 0 in rows that don't count; and what is negated.

        The latter is an array like it, 1 at the one class that a row excludes; None where no row
        does. `truths` are what `encode` gave. Raises DimensionError or InputError.
        """
        n, k = guesses.shape
        if self.names is not None and len(self.names) != k:
            raise DimensionError(f"{len(self.names)} names are for as many columns, not {k}")
        dtype = guesses.dtype
        if truths.ndim == 2 and tuple(truths.shape) == (n, k):
            if self.label_smoothing:
                raise InputError(f"label_smoothing is for classes, not {describe(truths)}")
            rows = ops.asarray(truths).astype(dtype)
            if self.missing is not None and n:
                rows *= (rows.argmax(axis=1) != self.missing)[:, None]
            return rows, None
        if truths.ndim != 1 or truths.shape[0] != n:
            raise DimensionError(
                f"truths for {describe(guesses)} are {n} class numbers or an array of its shape, "
                f"not {describe(truths)}"
            )
        # On a GPU nobody looks.
        excluding = isinstance(truths, np.ndarray) and n > 0 and self._check(truths, k)
        codes = ops.asarray(truths)[:, None]
        classes = ops.xp.arange(k)
        targets = (codes == classes).astype(dtype)
        if self.label_smoothing:
            targets = smooth(targets, self.label_smoothing) * (codes >= 0)
        return targets, (codes == negated(classes)).astype(dtype) if excluding else None

    def _check(self, codes: Any, k: int) -> bool:
        """Whether any code negates. Raises DimensionError for a number that is no class."""
        if codes.min() >= 0 and codes.max() < k:  # as it mostly is
            return False
        numbers = codes[codes % 1 == 0]
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= k):
            raise DimensionError(
                f"class numbers are from 0 to {k - 1}, not {int(numbers.min())} to "
                f"{int(numbers.max())}"
            )
        excluding = bool((codes < 0).any())
        if excluding and k < 2:
            raise DimensionError("of one class none can be excluded")
        return excluding


def smooth(rows: Any, smoothing: float) -> Any:
    """Rows of one 1 (..., k), with 1 - smoothing there and equal parts of the rest elsewhere.

    Raises InputError if the 1 would not stand out any more.
    """
    k = rows.shape[-1]
    if not 0 <= smoothing * k < k - 1:
        raise InputError(
            f"label_smoothing for {k} classes is from 0 to below {(k - 1) / k:.4g}, not {smoothing}"
        )
    rest = smoothing / (k - 1)
    return rows * (1 - smoothing - rest) + rest


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
