"""Losses of vectors: how far guesses are from what they should be, or from each other."""

from __future__ import annotations

from typing import Any

from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, as_targets, check_floats
from combinet.ops.base import Ops
from combinet.types import Floats, Floats2d


class L2Distance(Loss):
    """Half the squared distance of guesses (n, k) from truths of their shape.

    `loss(guesses, truths)` returns (dY, value): value = sum((Y - T)^2) / 2 and dY = Y - T. With
    `normalize` both are divided by n.

    Example:
        >>> import numpy as np
        >>> from combinet import L2Distance
        >>> dY, value = L2Distance()(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
        >>> dY, float(value)
        (array([[0., 2.]]), 2.0)
    """

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses", 2)
        scale = self.scale(guesses.shape[0])
        gradient = guesses - as_targets(truths, guesses, ops)
        value = (gradient * gradient).sum() * (scale / 2)
        gradient *= scale
        return gradient, value


class CosineDistance(Loss):
    """1 - cosine of the angle between each of the guesses (n, k) and its truth, summed.

    `loss(guesses, truths)` returns (dY, value); with `normalize` both are divided by n. A vector
    of zeros has no direction: its cosine is 0, with no gradient. With `ignore_zeros` a row whose
    truth is such a vector has the value 0 as well, and still counts among the n.

    Example:
        >>> import numpy as np
        >>> from combinet import CosineDistance
        >>> dY, value = CosineDistance()(np.array([[3.0, 4.0]]), np.array([[1.0, 0.0]]))
        >>> round(float(value), 4), dY.round(4)
        (0.4, array([[-0.128,  0.096]]))
    """

    def __init__(self, *, normalize: bool = True, ignore_zeros: bool = False) -> None:
        super().__init__(normalize=normalize)
        self.ignore_zeros = ignore_zeros

    def __call__(self, guesses: Floats2d, truths: Any) -> tuple[Floats2d, Floats]:
        """The gradient and the value."""
        ops = check_floats(guesses, "guesses", 2)
        scale = self.scale(guesses.shape[0])
        Y, Y_size = _directions(ops.xp, guesses)
        T, T_size = _directions(ops.xp, as_targets(truths, guesses, ops))
        cosine = (Y * T).sum(axis=1, keepdims=True)
        gradient = Y * cosine
        gradient -= T * (Y_size > 0)
        gradient *= scale / ops.xp.where(Y_size > 0, Y_size, 1)
        distance = 1 - cosine
        if self.ignore_zeros:
            distance *= T_size > 0
        return gradient, distance.sum() * scale


def _directions(xp: Any, X: Floats2d) -> tuple[Floats2d, Floats2d]:
    """Rows of length 1, those of zeros as they are; and their lengths (n, 1).

    A row is scaled by its largest number first: squares neither overflow nor vanish.
    """
    largest = abs(X).max(axis=1, keepdims=True)
    scaled = X / xp.where(largest > 0, largest, 1)
    size = xp.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    return scaled / xp.where(size > 0, size, 1), size * largest


class ContrastiveLoss(Loss):
    """Pulls vectors of a kind together, pushes others apart up to a distance of `margin`.

    `loss((A, B), truths)` returns ((dA, dB), value), for vectors A and B (n, k) and truths (n,),
    1 where a pair is of one kind and 0 where it is not. With d the Euclidean distance of a pair,
    the value is the sum of d^2 / 2 where the truth is 1 and of max(0, margin - d)^2 / 2 where it
    is 0. With `normalize` all is divided by n. Where d is 0 there is no direction to push in:
    the gradient is 0. Hadsell, Chopra and LeCun 2006, equation 4 (whose Y is 1 - truth).

    Example:
        >>> import numpy as np
        >>> from combinet import ContrastiveLoss
        >>> A, B = np.array([[0.0, 0.0], [0.0, 0.0]]), np.array([[0.3, 0.4], [0.3, 0.4]])
        >>> (dA, dB), value = ContrastiveLoss(normalize=False)((A, B), np.array([1, 0]))
        >>> dA.round(4), round(float(value), 4)
        (array([[-0.3, -0.4],
               [ 0.3,  0.4]]), 0.25)
    """

    def __init__(self, *, margin: float = 1.0, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        self.margin = _positive(margin)

    def __call__(
        self, guesses: tuple[Floats2d, Floats2d], truths: Any
    ) -> tuple[tuple[Floats2d, Floats2d], Floats]:
        """The gradients and the value."""
        ops = _check_vectors(guesses, 2)
        A, B = guesses
        same = ops.asarray(truths)
        if tuple(same.shape) != (A.shape[0],) or same.dtype.kind not in "fiub":
            raise DimensionError(
                f"truths for {describe(A)} are {A.shape[0]} numbers, 1 or 0, not {describe(truths)}"
            )
        xp, same = ops.xp, same.astype(A.dtype)[:, None]
        scale = self.scale(A.shape[0])
        difference = A - B
        distance = xp.sqrt((difference * difference).sum(axis=1, keepdims=True))
        lacking = xp.maximum(self.margin - distance, 0)
        value = (same * distance**2 + (1 - same) * lacking**2).sum() * (scale / 2)
        push = lacking / xp.where(distance > 0, distance, 1)
        dA = difference * ((same - (1 - same) * push) * scale)
        return (dA, -dA), value


class TripletLoss(Loss):
    """An anchor shall be nearer to a vector of its kind than to one of another, by `margin`.

    `loss((anchor, positive, negative))` returns (gradients of the three, value), for vectors
    (n, k): the value is the sum of max(0, |anchor - positive|^2 - |anchor - negative|^2 + margin),
    of squared Euclidean distances. With `normalize` all is divided by n. There are no truths.
    Schroff, Kalenichenko and Philbin 2015, arXiv:1503.03832, section 3.1.

    Example:
        >>> import numpy as np
        >>> from combinet import TripletLoss
        >>> anchor, positive, negative = np.array([[0.0]]), np.array([[0.5]]), np.array([[-0.6]])
        >>> (dA, dP, dN), value = TripletLoss()((anchor, positive, negative))
        >>> dA.item(), dP.item(), dN.item(), round(float(value), 4)
        (-2.2, 1.0, 1.2, 0.09)
    """

    def __init__(self, *, margin: float = 0.2, normalize: bool = True) -> None:
        super().__init__(normalize=normalize)
        self.margin = _positive(margin)

    def __call__(
        self, guesses: tuple[Floats2d, Floats2d, Floats2d], truths: None = None
    ) -> tuple[tuple[Floats2d, Floats2d, Floats2d], Floats]:
        """The gradients and the value."""
        if truths is not None:
            raise InputError(f"a triplet says itself what is alike: no truths, {describe(truths)}")
        ops = _check_vectors(guesses, 3)
        anchor, positive, negative = guesses
        scale = self.scale(anchor.shape[0])
        near, far = anchor - positive, anchor - negative
        lacking = (near * near - far * far).sum(axis=1, keepdims=True) + self.margin
        weight = (lacking > 0) * (2 * scale)
        value = ops.xp.maximum(lacking, 0).sum() * scale
        weight = weight.astype(anchor.dtype)
        return ((near - far) * weight, -near * weight, far * weight), value


def _positive(margin: float) -> float:
    if not margin > 0:
        raise InputError(f"a margin is above 0, not {margin!r}")
    return margin


def _check_vectors(guesses: Any, count: int) -> Ops:
    if not isinstance(guesses, list | tuple) or len(guesses) != count:
        raise InputError(f"guesses are {count} arrays of vectors, not {describe(guesses)}")
    found = [check_floats(vectors, "vectors", 2) for vectors in guesses]
    if len({(vectors.shape, str(vectors.dtype)) for vectors in guesses}) > 1:
        shapes = " and ".join(map(describe, guesses))
        raise DimensionError(f"vectors that are compared have one shape and dtype, not {shapes}")
    return found[0]
