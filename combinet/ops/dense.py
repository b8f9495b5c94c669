"""Row-wise steps: affine maps, activations, maxout, layer norm, softmax, dropout.

Each is one step of a layer, forward or backward, written once for NumPy and CuPy alike over
`self.xp`. None changes an array that it is given.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.ops.erf import erf
from combinet.types import Array, Floats, Floats1d, Floats2d, Floats3d, Shape


class DenseOps(ArrayOps):
    """Mixed into `Ops`: what layers do to each row alone."""

    def matmul(self, A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
        """The product of A (m, k) and B (k, n), put into `out` (m, n), which lies row by row."""
        return self.xp.matmul(A, B, out=out)

    def add(self, X: Array, Y: Array) -> Array:
        """X + Y, of one shape."""
        return self.xp.add(X, Y, out=self.empty(X.shape, X.dtype))

    def multiply(self, X: Array, Y: Array) -> Array:
        """X * Y, of one shape."""
        return self.xp.multiply(X, Y, out=self.empty(X.shape, X.dtype))

    def affine(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """Y = X @ W.T + b, for X (n, nI), W (nO, nI), b (nO,) or None: then Y = X @ W.T."""
        Y = self.matmul(X, W.T, self.empty((X.shape[0], W.shape[0]), X.dtype))
        if b is not None:
            Y += b
        return Y

    def backprop_affine(
        self, dY: Floats2d, X: Floats2d, W: Floats2d, wants_dX: bool = True, wants_db: bool = True
    ) -> tuple[Floats2d | None, Floats2d, Any]:
        """The gradients of X, W and b, given that of Y. dW is column-major, as W is stored.

        Those of X and b are None unless wanted.
        """
        dX = self.matmul(dY, W, self.empty(X.shape, X.dtype)) if wants_dX else None
        dW = self.matmul(X.T, dY, self.empty(W.shape[::-1], W.dtype))
        return dX, dW.T, dY.sum(axis=0) if wants_db else None

    def relu(self, X: Floats) -> Floats:
        """max(X, 0), element by element; NaN stays NaN."""
        return self.xp.maximum(X, 0, out=self.empty(X.shape, X.dtype))

    def affine_relu(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """`relu` of `affine`."""
        return self.relu(self.affine(X, W, b))

    def backprop_relu(self, dY: Floats, Y: Floats) -> Floats:
        """DY where Y > 0, else 0."""
        return self.multiply(dY, Y > 0)

    def gelu(self, X: Floats) -> tuple[Floats, Floats]:
        """X * P and its derivative P + X * p: P is the normal distribution function, p its density.

        Hendrycks and Gimpel 2016, arXiv:1606.08415, equation 1, without approximation.
        """
        X, P = self._normal(X)
        bounded = self.xp.minimum(X, 40)
        derivative: Floats = self.xp.exp(bounded * bounded * -0.5)
        derivative *= bounded
        derivative *= (2 * np.pi) ** -0.5
        derivative += P
        return self.multiply(X, P), derivative

    def gelu_value(self, X: Floats) -> Floats:
        """The first result of `gelu` alone."""
        return self.multiply(*self._normal(X))

    def _normal(self, X: Floats) -> tuple[Floats, Floats]:
        """X, where it is not so far below 0 that P is 0 and infinities would meet it; and P."""
        X = self.xp.maximum(X, -40)
        P = erf(self.xp, X * 0.5**0.5)
        P += 1
        P *= 0.5
        return X, P

    def affine_maxout(
        self, X: Floats2d, W: Floats2d, b: Floats1d | None, nP: int
    ) -> tuple[Floats2d, Array]:
        """The largest of nP pieces of `affine`, and which it was: (n, nO) float, (n, nO) uint8.

        The columns of `affine`, (nP * nO), are those of one piece after another. Of equal pieces
        the first counts.
        """
        Z = self.affine(X, W, b).reshape(X.shape[0], nP, W.shape[0] // nP)
        best: Any = Z[:, 0]
        which = self.xp.zeros(best.shape, dtype="uint8")
        for piece in range(1, nP):
            better = (Z[:, piece] > best).astype("uint8")
            which = self.xp.maximum(which, better * np.uint8(piece))
            best = self.xp.maximum(best, Z[:, piece])
        return best, which

    def backprop_maxout(self, dY: Floats2d, which: Array, nP: int) -> Floats3d:
        """The gradient of each piece, (n, nP, nO): dY where the piece was the largest, else 0."""
        dZ: Floats3d = self.xp.empty((dY.shape[0], nP, dY.shape[1]), dtype=dY.dtype)
        for piece in range(nP):
            self.xp.multiply(dY, which == piece, out=dZ[:, piece])
        return dZ

    def softmax(self, X: Floats) -> Floats:
        """exp(X) / sum(exp(X)) over the last axis.

        No result is below the smallest normal number: a loss may divide by it.
        """
        Y: Floats = self.xp.exp(X - X.max(axis=-1, keepdims=True))
        Y /= Y.sum(axis=-1, keepdims=True)
        return self.xp.maximum(Y, np.finfo(Y.dtype).tiny, out=Y)

    def backprop_softmax(self, dY: Floats, Y: Floats) -> Floats:
        """Y * (dY - sum(Y * dY)), the sum over the last axis."""
        dX = Y * dY
        dX -= Y * dX.sum(axis=-1, keepdims=True)
        return dX

    def layer_norm(self, X: Floats2d, G: Floats1d, b: Floats1d, eps: float) -> tuple[Floats2d, Any]:
        """Y = G * N + b, with N the rows of X at mean 0 and variance 1; N and 1/sd are saved.

        Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4; eps is added to the variance.
        """
        N = X - X.mean(axis=1, keepdims=True)
        scale: Any = (N * N).mean(axis=1, keepdims=True)
        scale += eps
        scale **= -0.5
        N *= scale
        Y: Floats2d = N * G
        Y += b
        return Y, (N, scale, G)

    def backprop_layer_norm(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats1d, Floats1d]:
        """The gradients of X, G and b."""
        N, scale, G = saved
        products = dY * N
        dG, db = products.sum(axis=0), dY.sum(axis=0)
        products *= G
        dX: Floats2d = dY * G
        dX -= dX.mean(axis=1, keepdims=True)
        dX -= N * products.mean(axis=1, keepdims=True)
        dX *= scale
        return dX, dG, db

    def batch_norm(
        self, X: Floats2d, G: Floats1d, b: Floats1d, eps: float
    ) -> tuple[Floats2d, Any, Floats1d, Floats1d]:
        """Y = G * N + b, with N the columns of X at mean 0 and variance 1; the mean and variance.

        N and 1/sd are saved.
        Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1; eps is added to the variance, which
        is the biased one.
        """
        mean: Floats1d = X.mean(axis=0)
        N = X - mean
        var: Floats1d = (N * N).mean(axis=0)
        scale: Floats1d = (var + eps) ** -0.5
        N *= scale
        Y: Floats2d = N * G
        Y += b
        return Y, (N, scale, G), mean, var

    def backprop_batch_norm(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats1d, Floats1d]:
        """The gradients of X, G and b: X makes the mean and the variance as well."""
        N, scale, G = saved
        dG, db = (dY * N).sum(axis=0), dY.sum(axis=0)
        dX: Floats2d = N * (dG / -dY.shape[0])
        dX += dY
        dX -= db / dY.shape[0]
        dX *= G * scale
        return dX, dG, db

    def normalize(
        self, X: Floats2d, mean: Floats1d, var: Floats1d, G: Floats1d, b: Floats1d, eps: float
    ) -> Floats2d:
        """Y = G * (X - mean) / sqrt(var + eps) + b, column by column."""
        Y: Floats2d = X - mean
        Y *= G * (var + eps) ** -0.5
        Y += b
        return Y

    def rms_norm(self, X: Floats2d, G: Floats1d, eps: float) -> tuple[Floats2d, Any]:
        """Y = G * N, with N the rows of X at mean square 1; N and 1/rms are saved.

        Zhang and Sennrich 2019, arXiv:1910.07467, equation 4; eps is added to the mean square.
        """
        scale: Any = (X * X).mean(axis=1, keepdims=True)
        scale += eps
        scale **= -0.5
        N = X * scale
        return N * G, (N, scale, G)

    def backprop_rms_norm(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats1d]:
        """The gradients of X and G."""
        N, scale, G = saved
        products = dY * N
        dG: Floats1d = products.sum(axis=0)
        products *= G
        dX: Floats2d = dY * G
        dX -= N * products.mean(axis=1, keepdims=True)
        dX *= scale
        return dX, dG

    def dropout_mask(self, shape: Shape, rate: float, seed: int, dtype: Any) -> Floats:
        """0 with probability `rate`, else 1 / (1 - rate): what dropout multiplies by.

        The element at flat index i depends on `seed` and i alone, so that every device draws the
        same mask. `seed` is below 2**32. The hash is Ettinger's low-bias 32-bit finalizer
        ("lowbias32", in the constants of the hash-prospector project).
        """
        bits = self.xp.arange(prod(shape), dtype="uint32")
        bits *= np.uint32(0x9E3779B9)
        bits += np.uint32(seed)
        for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
            bits ^= bits >> np.uint32(shift)
            bits *= np.uint32(factor)
        bits ^= bits >> np.uint32(15)
        mask: Floats = (bits >= np.uint32(rate * 2**32)).reshape(shape).astype(dtype)
        mask *= 1 / (1 - rate)
        return mask
