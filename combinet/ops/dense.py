"""Operations on single rows: affine maps, relu, gelu, maxout, norms, softmax, dropout.

Each method is one forward or backward step of a layer, written over `self.xp` for NumPy and CuPy.
Only `matmul` writes into an argument.
"""

from math import prod
from typing import Any

import numpy as np

from combinet.ops.arrays import ArrayOps
from combinet.ops.erf import erf
from combinet.types import Array, Floats, Floats1d, Floats2d, Floats3d, Shape


class DenseOps(ArrayOps):
    """Part of `Ops`: the forward and backward steps of layers that compute each row separately.

    `batch_norm` is the exception: it computes statistics over all rows.
    """

    def matmul(self, A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
        """Writes A @ B into `out` and returns `out`.

        A is (m, k), B is (k, n), and `out` is a C-contiguous array (m, n).
        """
        return self.xp.matmul(A, B, out=out)

    def add(self, X: Array, Y: Array) -> Array:
        """Returns X + Y, for arrays of equal shapes."""
        return self.xp.add(X, Y, out=self.empty(X.shape, X.dtype))

    def multiply(self, X: Array, Y: Array) -> Array:
        """Returns X * Y, for arrays of equal shapes."""
        return self.xp.multiply(X, Y, out=self.empty(X.shape, X.dtype))

    def affine(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """Returns Y = X @ W.T + b, or Y = X @ W.T if b is None.

        X is (n, nI), W is (nO, nI), b is (nO,), and Y is (n, nO).
        """
        Y = self.matmul(X, W.T, self.empty((X.shape[0], W.shape[0]), X.dtype))
        if b is not None:
            Y += b
        return Y

    def backprop_affine(
        self, dY: Floats2d, X: Floats2d, W: Floats2d, wants_dX: bool = True, wants_db: bool = True
    ) -> tuple[Floats2d | None, Floats2d, Any]:
        """Returns the gradients of the arguments of `affine`, given the gradient dY (n, nO).

        dX = dY @ W, an array (n, nI), or None unless `wants_dX`. dW = dY.T @ X, an array (nO, nI)
        in column-major order, because W is stored in this order. db is the sum of the rows of dY,
        an array (nO,), or None unless `wants_db`.
        """
        dX = self.matmul(dY, W, self.empty(X.shape, X.dtype)) if wants_dX else None
        dW = self.matmul(X.T, dY, self.empty(W.shape[::-1], W.dtype))
        return dX, dW.T, dY.sum(axis=0) if wants_db else None

    def relu(self, X: Floats) -> Floats:
        """Returns max(X, 0), element by element, for X of any shape. NaN stays NaN."""
        return self.xp.maximum(X, 0, out=self.empty(X.shape, X.dtype))

    def affine_relu(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """Returns Y = max(X @ W.T + b, 0), or Y = max(X @ W.T, 0) if b is None.

        X is (n, nI), W is (nO, nI), b is (nO,), and Y is (n, nO).
        """
        return self.relu(self.affine(X, W, b))

    def backprop_relu(self, dY: Floats, Y: Floats) -> Floats:
        """Returns the gradient of X: dY where Y > 0, and 0 elsewhere.

        Y is the result of `relu`, and dY its gradient, of the same shape.
        """
        return self.multiply(dY, Y > 0)

    def gelu(self, X: Floats) -> tuple[Floats, Floats]:
        """Returns Y = X * P(X) and the derivative P(X) + X * p(X), both in the shape of X.

        P is the standard normal distribution function and p its density.

        Source: Hendrycks and Gimpel 2016, arXiv:1606.08415, equation 1, without approximation.
        """
        X, P = self._normal(X)
        bounded = self.xp.minimum(X, 40)
        derivative: Floats = self.xp.exp(bounded * bounded * -0.5)
        derivative *= bounded
        derivative *= (2 * np.pi) ** -0.5
        derivative += P
        return self.multiply(X, P), derivative

    def gelu_value(self, X: Floats) -> Floats:
        """Returns Y = X * P(X), the first result of `gelu`, without the derivative."""
        return self.multiply(*self._normal(X))

    def _normal(self, X: Floats) -> tuple[Floats, Floats]:
        """Returns max(X, -40) and P(X). Below -40, P is 0, and -inf * 0 would be NaN."""
        X = self.xp.maximum(X, -40)
        P = erf(self.xp, X * 0.5**0.5)
        P += 1
        P *= 0.5
        return X, P

    def affine_maxout(
        self, X: Floats2d, W: Floats2d, b: Floats1d | None, nP: int
    ) -> tuple[Floats2d, Array]:
        """Returns the largest of nP affine maps, element by element, and the index of that map.

        X is (n, nI), W is (nP * nO, nI), b is (nP * nO,) or None. The columns of X @ W.T + b are nP
        consecutive pieces of nO columns. The first result (n, nO) is the maximum over the pieces.
        The second result (n, nO) is the piece that has it, as uint8. Among equal pieces the first
        wins.
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
        """Returns the gradient of each piece (n, nP, nO): dY if the piece was the largest, else 0.

        dY is (n, nO). `which` (n, nO) is the second result of `affine_maxout` with `nP` pieces.
        """
        dZ: Floats3d = self.xp.empty((dY.shape[0], nP, dY.shape[1]), dtype=dY.dtype)
        for piece in range(nP):
            self.xp.multiply(dY, which == piece, out=dZ[:, piece])
        return dZ

    def softmax(self, X: Floats) -> Floats:
        """Returns exp(X) / sum(exp(X)), with the sum over the last axis.

        X has any shape, and the result has the same shape. Each result is at least the smallest
        normal number of the dtype, so that a loss can divide by it.
        """
        Y: Floats = self.xp.exp(X - X.max(axis=-1, keepdims=True))
        Y /= Y.sum(axis=-1, keepdims=True)
        return self.xp.maximum(Y, np.finfo(Y.dtype).tiny, out=Y)

    def backprop_softmax(self, dY: Floats, Y: Floats) -> Floats:
        """Returns the gradient of X, Y * (dY - sum(Y * dY)), with the sum over the last axis.

        Y is the result of `softmax`, and dY its gradient, of the same shape.
        """
        dX = Y * dY
        dX -= Y * dX.sum(axis=-1, keepdims=True)
        return dX

    def layer_norm(self, X: Floats2d, G: Floats1d, b: Floats1d, eps: float) -> tuple[Floats2d, Any]:
        """Returns Y = G * N + b, where each row of N has mean 0 and variance 1, and `saved`.

        N = (X - mean) / sqrt(var + eps), with the mean and the variance of each row. X, N and Y are
        (n, nI); G and b are (nI,). `saved` holds N, 1 / sqrt(var + eps) and G.

        Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4.
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
        """Returns the gradients of X (n, nI), G (nI,) and b (nI,), given the gradient dY (n, nI).

        `saved` is the second result of `layer_norm`.
        """
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
        """Returns Y = G * N + b, `saved`, mean and var: each column of N has mean 0, variance 1.

        N = (X - mean) / sqrt(var + eps), with the mean and the biased variance of each column. X, N
        and Y are (n, nI); G, b, mean and var are (nI,). `saved` holds N, 1 / sqrt(var + eps) and G.

        Source: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1.
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
        """Returns the gradients of X (n, nI), G (nI,) and b (nI,), given the gradient dY (n, nI).

        The gradient of X includes its influence on the mean and the variance. `saved` is the second
        result of `batch_norm`.
        """
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
        """Returns Y = G * (X - mean) / sqrt(var + eps) + b, with given statistics of each column.

        X and Y are (n, nI); mean, var, G and b are (nI,).
        """
        Y: Floats2d = X - mean
        Y *= G * (var + eps) ** -0.5
        Y += b
        return Y

    def rms_norm(self, X: Floats2d, G: Floats1d, eps: float) -> tuple[Floats2d, Any]:
        """Returns Y = G * N, where each row of N has mean square 1, and `saved`.

        N = X / sqrt(mean(X * X) + eps), with the mean over each row. X, N and Y are (n, nI); G is
        (nI,). `saved` holds N, 1 / sqrt(mean(X * X) + eps) and G.

        Source: Zhang and Sennrich 2019, arXiv:1910.07467, equation 4.
        """
        scale: Any = (X * X).mean(axis=1, keepdims=True)
        scale += eps
        scale **= -0.5
        N = X * scale
        return N * G, (N, scale, G)

    def backprop_rms_norm(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats1d]:
        """Returns the gradients of X (n, nI) and G (nI,), given the gradient dY (n, nI).

        `saved` is the second result of `rms_norm`.
        """
        N, scale, G = saved
        products = dY * N
        dG: Floats1d = products.sum(axis=0)
        products *= G
        dX: Floats2d = dY * G
        dX -= N * products.mean(axis=1, keepdims=True)
        dX *= scale
        return dX, dG

    def dropout_mask(self, shape: Shape, rate: float, seed: int, dtype: Any) -> Floats:
        """Returns an array that is 0 with probability `rate`, and 1 / (1 - rate) elsewhere.

        Dropout multiplies its input by this mask. `shape` and `dtype` are the shape and dtype of
        the mask. `rate` is from 0 to below 1. `seed` is an int from 0 to below 2**32. The element
        at flat index i depends only on `seed` and i, so every device draws the same mask.

        Source: Ettinger's low-bias 32-bit finalizer ("lowbias32", in the constants of the
        hash-prospector project).
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
