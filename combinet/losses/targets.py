"""Conversion of true classes (numbers, names, rows of probabilities) to targets for guesses.

Class numbers and names become an array of codes (n,): an integer from 0 for a class, MISSING for a
row that does not count, and `negated(i)` for "any class but i". The latter two are not integers, so
that a user's class number never means one of them by mistake.
"""

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
    """Returns the code of "any class but i"."""
    return -0.5 - i


class ClassLoss(Loss):
    """Base class of losses over classes. `CategoricalCrossentropy` describes the arguments."""

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
            raise InputError(f"expected label_smoothing from 0 to below 1, got {label_smoothing!r}")
        if neg_prefix is not None and (names is None or not neg_prefix):
            raise InputError(f"expected `names` and a non-empty neg_prefix, got {neg_prefix!r:.30}")
        self.names = None if names is None else list(names)
        numbers = {name: i for i, name in enumerate(self.names or ())}
        if len(numbers) < len(self.names or ()):
            raise InputError(f"expected different names, got {self.names!r:.200}")
        others = {f"{neg_prefix}{name}": negated(i) for name, i in numbers.items() if neg_prefix}
        # Truths whose code is not the truth itself. If one has two meanings, the later dict wins.
        self.codes: dict[Any, float] = others | numbers | {None: MISSING, missing_value: MISSING}
        self.missing = int(missing_value) if isinstance(missing_value, int | np.integer) else None
        self.label_smoothing = label_smoothing

    def encode(self, sequences: Sequence[Any], ops: Ops) -> Any:
        """Returns the truths of all sequences as one array: codes (n,) or probabilities (n, k).

        Args:
            sequences: Each sequence's class numbers, names or rows of probabilities.
            ops: Array operations of the guesses.

        Raises:
            DimensionError: If the truths of a sequence have neither 1 nor 2 axes.
            InputError: If a truth is neither a class nor a probability, or sequences mix these.
        """
        encoded = [self._encode(truths, ops) for truths in sequences]
        if len(encoded) == 1:
            return encoded[0]
        if len({array.ndim for array in encoded}) > 1:
            raise InputError("expected class numbers or probabilities in all sequences, got both")
        if all(isinstance(array, np.ndarray) for array in encoded):  # for `_check`
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
            raise InputError(f"expected truths of equal length, got {describe(truths)}") from error
        if array.ndim not in (1, 2):
            raise DimensionError(
                "expected class numbers (n,) or rows of probabilities (n, k) as truths, "
                f"got {describe(truths)}"
            )
        if array.size and array.dtype.kind not in ("iu" if array.ndim == 1 else "fiub"):
            what = "integers as class numbers" if array.ndim == 1 else "numbers as probabilities"
            raise InputError(f"expected {what}, got {describe(array)}")
        if array.ndim == 2 or self.missing is None:
            return array
        xp = np if isinstance(array, np.ndarray) else ops.xp
        return xp.where(array == self.missing, MISSING, array)

    def _code(self, truth: Any) -> float:
        if isinstance(truth, str) and self.names is None:
            raise InputError(
                f"expected integers as class numbers, got {truth!r:.60}; for labels pass `names`"
            )
        if truth is None or isinstance(truth, str):
            if truth not in self.codes:
                raise InputError(f"expected one of names {self.names!r:.200}, got {truth!r:.60}")
            return self.codes[truth]
        try:
            number = index(truth)
        except TypeError:
            raise InputError(f"expected a name, integer or None, got {describe(truth)}") from None
        return self.codes.get(number, number)

    def targets(self, guesses: Floats2d, truths: Any, ops: Ops) -> tuple[Floats2d, Any]:
        """Returns two arrays (n, k) in the dtype of the guesses: targets and excluded classes.

        The targets are probabilities, and 0 in rows that do not count. The second array is 1 at the
        class that a row excludes, or None if no row excludes any.

        Args:
            guesses: Probabilities (n, k).
            truths: Codes or probabilities from `encode`.
            ops: Array operations of the guesses.

        Raises:
            DimensionError: If truths do not match the guesses, or a class number on the host is
                out of range.
            InputError: If label_smoothing is set for truths that are probabilities.
        """
        n, k = guesses.shape
        if self.names is not None and len(self.names) != k:
            raise DimensionError(f"expected {len(self.names)} columns, one for each name, got {k}")
        dtype = guesses.dtype
        if truths.ndim == 2 and tuple(truths.shape) == (n, k):
            if self.label_smoothing:
                raise InputError(f"label_smoothing expected classes, got {describe(truths)}")
            rows = ops.asarray(truths).astype(dtype)
            if self.missing is not None and n:
                rows *= (rows.argmax(axis=1) != self.missing)[:, None]
            return rows, None
        if truths.ndim != 1 or truths.shape[0] != n:
            raise DimensionError(
                f"expected {n} class numbers or an array of the shape of {describe(guesses)}, "
                f"got {describe(truths)}"
            )
        # Not on a GPU, where checking would force a device sync.
        excluding = isinstance(truths, np.ndarray) and n > 0 and self._check(truths, k)
        codes = ops.asarray(truths)[:, None]
        classes = ops.xp.arange(k)
        targets = (codes == classes).astype(dtype)
        if self.label_smoothing:
            targets = smooth(targets, self.label_smoothing) * (codes >= 0)
        return targets, (codes == negated(classes)).astype(dtype) if excluding else None

    def _check(self, codes: Any, k: int) -> bool:
        """Returns whether any row excludes a class. Raises DimensionError for other numbers."""
        if codes.min() >= 0 and codes.max() < k:  # the usual case
            return False
        numbers = codes[codes % 1 == 0]
        if len(numbers) and (numbers.min() < 0 or numbers.max() >= k):
            raise DimensionError(
                f"expected class numbers from 0 to {k - 1}, got {int(numbers.min())} to "
                f"{int(numbers.max())}"
            )
        excluding = bool((codes < 0).any())
        if excluding and k < 2:
            raise DimensionError("expected at least two classes to exclude a class, got one")
        return excluding


def smooth(rows: Any, smoothing: float) -> Any:
    """Smooths one-hot rows (..., k): 1 - smoothing at the 1, equal parts of smoothing elsewhere.

    Raises InputError if the true class would no longer have the largest number.
    """
    k = rows.shape[-1]
    if not 0 <= smoothing * k < k - 1:
        raise InputError(
            f"expected label_smoothing in [0, {1 - 1 / k:.4g}) for {k} classes, got {smoothing}"
        )
    rest = smoothing / (k - 1)
    return rows * (1 - smoothing - rest) + rest


def to_categorical(Y: Any, n_classes: int | None = None, *, label_smoothing: float = 0.0) -> Floats:
    """Returns one-hot rows, float32 (..., n_classes), for class numbers of any shape.

    Args:
        Y: Class numbers, starting at 0: an array of integers on any device, or a list.
        n_classes: Number of classes. If None, the largest number plus 1; reading it forces a device
            sync on a GPU.
        label_smoothing: Probability that is moved from the true class to all other classes in equal
            parts, from 0 to below 1 - 1 / n_classes.

    Raises:
        DimensionError: If a class number is out of range. On a GPU only without n_classes.
        InputError: If Y has anything but integers, or another argument is out of range.

    Example:
        >>> to_categorical([2, 0], 3, label_smoothing=0.5)
        array([[0.25, 0.25, 0.5 ],
               [0.5 , 0.25, 0.25]], dtype=float32)
    """
    ops = get_array_ops(Y)
    Y = ops.asarray(Y)
    if Y.size and Y.dtype.kind not in "iu":
        raise InputError(f"expected integers as class numbers, got {describe(Y)}")
    host = isinstance(Y, np.ndarray)
    low, high = (int(Y.min()), int(Y.max())) if Y.size and (host or not n_classes) else (0, -1)
    n_classes = high + 1 if n_classes is None else n_classes
    if not is_size(n_classes):
        raise InputError(f"expected at least one class, got {n_classes!r}")
    if low < 0 or high >= n_classes:
        raise DimensionError(f"expected classes from 0 to {n_classes - 1}, got {low} to {high}")
    rows = (Y[..., None] == ops.xp.arange(n_classes)).astype("float32")
    return smooth(rows, label_smoothing) if label_smoothing else rows  # type: ignore[no-any-return]
