"""Losses of vectors that one model made of several inputs: what is alike shall be near."""

from __future__ import annotations

from typing import Any

from combinet.errors import DimensionError, InputError, describe
from combinet.losses.base import Loss, check_floats
from combinet.ops.base import Ops
from combinet.types import Floats, Floats2d


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
        alike = ops.asarray(truths)
        if tuple(alike.shape) != (A.shape[0],) or alike.dtype.kind not in "fiub":
            raise DimensionError(
                f"truths for {describe(A)} are {A.shape[0]} numbers, 1 or 0, not {describe(truths)}"
            )
        xp, alike = ops.xp, alike.astype(A.dtype)[:, None]
        scale = self.scale(A.shape[0])
        difference = A - B
        distance = xp.sqrt((difference * difference).sum(axis=1, keepdims=True))
        lacking = xp.maximum(self.margin - distance, 0)
        value = (alike * distance**2 + (1 - alike) * lacking**2).sum() * (scale / 2)
        push = lacking / xp.where(distance > 0, distance, 1)
        dA = difference * ((alike - (1 - alike) * push) * scale)
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

    def get_grad(self, guesses: Any, truths: None = None) -> Any:
        """The gradients alone."""
        return self(guesses, truths)[0]

    def get_loss(self, guesses: Any, truths: None = None) -> Floats:
        """The value alone."""
        return self(guesses, truths)[1]


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
