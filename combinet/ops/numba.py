"""Array operations on the CPU, compiled by Numba where NumPy would need several passes."""

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np

from combinet.ops.embed import N_HASHES, seed_offsets
from combinet.ops.formulas.program import Program
from combinet.ops.numpy import NumpyOps
from combinet.ops.recurrent import Order, filled, halves, steps
from combinet.ops.update import AdamStep
from combinet.types import Array, Floats, Floats1d, Floats2d, Floats3d, Ints, Ints1d, Ints2d

# Functions that `vectorized` does not implement. A loop that calls the C library for them is slower
# than NumPy.
_NO_LOOP = {"power", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "arcsinh",
            "arccosh", "arctanh"}  # fmt: skip


# The dtypes that kernels support. NumPy computes floats of other sizes and of other byte orders.
_COMPILED = (np.dtype("float32"), np.dtype("float64"))


class NumbaOps(NumpyOps):
    """`NumpyOps` with kernels compiled by Numba. The default if Numba is installed.

    `Ops` documents what each method computes. The first call that needs a kernel imports Numba.

    Example:
        >>> import numpy as np
        >>> from combinet import NumbaOps
        >>> NumbaOps().affine(np.ones((1, 2)), np.eye(2))
        array([[1., 1.]])
    """

    @cached_property
    def kernels(self) -> Any:
        """The package of compiled kernels."""
        return import_module("combinet.ops.kernels")

    def hash_rows(self, keys: Ints1d, seed: int, nV: int, k: int = N_HASHES) -> Ints2d:
        """See `Ops.hash_rows`."""
        rows = np.empty((keys.shape[0], k), "int64")
        self.kernels.embed.hash_rows(keys, seed_offsets(seed, k), nV, rows)
        return rows

    def unique(self, ids: Sequence[Ints]) -> Ints1d:
        """See `Ops.unique`. A hash table finds the distinct ids, so that only these are sorted."""
        flat: Any = np.concatenate([each.reshape(-1) for each in ids])
        table = np.full(2 << max(len(flat) - 1, 0).bit_length(), -1)
        out: Any = np.empty(len(flat), flat.dtype)
        return np.sort(out[: self.kernels.embed.unique(flat, table, out)])

    def gather_sum(self, E: Floats2d, rows: Ints2d) -> Floats2d:
        """See `Ops.gather_sum`."""
        Y = self.empty((rows.shape[0], E.shape[1]), E.dtype)
        self.kernels.embed.gather_sum(E, rows, Y)
        return Y

    def scatter_add(self, E: Floats2d, rows: Ints2d, Y: Floats2d) -> None:
        """See `Ops.scatter_add`."""
        self.kernels.embed.scatter_add(E, rows, Y)

    def take_rows(self, X: Array, rows: Ints1d) -> Array:
        """See `Ops.take_rows`. The kernel supports only rows of contiguous matrices."""
        if X.ndim != 2 or not X.flags.c_contiguous or X.dtype not in _COMPILED:
            return super().take_rows(X, rows)
        return self.gather_sum(X, np.asarray(rows)[:, None])

    def embed_bag(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, mean: bool) -> Floats2d:
        """See `Ops.embed_bag`."""
        Y = self.empty((len(lengths), E.shape[1]), E.dtype)
        self.kernels.embed.embed_bag(E, ids, lengths, mean, Y)
        return Y

    def scatter_bags(self, E: Floats2d, ids: Ints1d, lengths: Ints1d, Y: Floats2d) -> None:
        """See `Ops.scatter_bags`."""
        self.kernels.embed.scatter_bags(E, ids, lengths, Y)

    def set_rows(self, E: Floats2d, rows: Ints, Y: Any) -> None:
        """See `Ops.set_rows`."""
        if isinstance(Y, np.ndarray):
            self.kernels.embed.set_rows(E, rows.reshape(-1), Y)
        else:
            self.kernels.embed.fill_rows(E, rows.reshape(-1), E.dtype.type(Y))

    def affine(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """See `Ops.affine`."""
        Y = self.matmul(X, W.T, self.empty((X.shape[0], W.shape[0]), X.dtype))
        if b is not None:
            self.kernels.dense.add_bias(Y, b)
        return Y

    def affine_relu(self, X: Floats2d, W: Floats2d, b: Floats1d | None = None) -> Floats2d:
        """See `Ops.affine_relu`. Adds the bias and applies the rectifier in one pass, in place."""
        if b is None:
            return super().affine_relu(X, W)
        Y = self.matmul(X, W.T, self.empty((X.shape[0], W.shape[0]), X.dtype))
        self.kernels.dense.add_relu(Y, b)
        return Y

    def affine_maxout(
        self, X: Floats2d, W: Floats2d, b: Floats1d | None, nP: int
    ) -> tuple[Floats2d, Array]:
        """See `Ops.affine_maxout`. Adds the bias and takes the maximum in one pass."""
        b = np.zeros(len(W), W.dtype) if b is None else b  # the kernel always adds a bias
        n, nO = X.shape[0], W.shape[0] // nP
        Y, which = self.empty((n, nO), X.dtype), self.empty((n, nO), "uint8")
        Z = self.matmul(X, W.T, self.empty((n, nP * nO), X.dtype))
        self.kernels.dense.add_maxout(Z.reshape(n, nP, nO), b.reshape(nP, nO), Y, which)
        return Y, which

    def backprop_maxout(self, dY: Floats2d, which: Array, nP: int) -> Floats3d:
        """See `Ops.backprop_maxout`."""
        dZ = self.empty((dY.shape[0], nP, dY.shape[1]), dY.dtype)
        self.kernels.dense.backprop_maxout(dY, which, dZ)
        return dZ

    def layer_norm(self, X: Floats2d, G: Floats1d, b: Floats1d, eps: float) -> tuple[Floats2d, Any]:
        """See `Ops.layer_norm`."""
        Y, N = self.empty(X.shape, X.dtype), self.empty(X.shape, X.dtype)
        scale: Any = np.empty((X.shape[0], 1), dtype=X.dtype)
        self.kernels.dense.layer_norm(X, G, b, eps, Y, N, scale)
        return Y, (N, scale, G)

    def backprop_layer_norm(self, dY: Floats2d, saved: Any) -> tuple[Floats2d, Floats1d, Floats1d]:
        """See `Ops.backprop_layer_norm`."""
        N, scale, G = saved
        dX = self.empty(dY.shape, dY.dtype)
        dG, db = np.zeros_like(G), np.zeros_like(G)
        self.kernels.dense.backprop_layer_norm(dY, N, scale, G, dX, dG, db)
        return dX, dG, db

    def relu(self, X: Floats) -> Floats:
        """See `Ops.relu`."""
        if X.dtype not in _COMPILED:
            return super().relu(X)
        Y = self.empty(X.shape, X.dtype)
        self.kernels.dense.relu(X.reshape(-1), Y.reshape(-1))
        return Y

    def gelu(self, X: Floats) -> tuple[Floats, Floats]:
        """See `Ops.gelu`. The float32 kernel is precise to the last digits of small results too."""
        if X.dtype != np.float32:
            return super().gelu(X)
        Y, slope = self.empty(X.shape, X.dtype), self.empty(X.shape, X.dtype)
        self.kernels.dense.gelu(X.reshape(-1), Y.reshape(-1), slope.reshape(-1))
        return Y, slope

    def gelu_value(self, X: Floats) -> Floats:
        """See `Ops.gelu_value`. Uses the same kernel as `gelu`."""
        if X.dtype != np.float32:
            return super().gelu_value(X)
        Y = self.empty(X.shape, X.dtype)
        self.kernels.dense.gelu(X.reshape(-1), Y.reshape(-1), None)
        return Y

    def softmax(self, X: Floats) -> Floats:
        """See `Ops.softmax`. Only float32 has a kernel."""
        if X.dtype != np.float32 or not X.size:
            return super().softmax(X)
        Y = self.empty(X.shape, X.dtype)
        self.kernels.dense.softmax(X.reshape(-1, X.shape[-1]), Y.reshape(-1, X.shape[-1]))
        return Y

    def backprop_softmax(self, dY: Floats, Y: Floats) -> Floats:
        """See `Ops.backprop_softmax`."""
        if Y.dtype not in _COMPILED or not Y.size:
            return super().backprop_softmax(dY, Y)
        dX = self.empty(Y.shape, Y.dtype)
        self.kernels.dense.backprop_softmax(*(X.reshape(-1, Y.shape[-1]) for X in (dY, Y, dX)))
        return dX

    def attention_weights(self, S: Any, scale: float, causal: bool) -> None:
        """See `Ops.attention_weights`. Only float32 has a kernel."""
        loops: Any = self.kernels.sequence if S.dtype == np.float32 else super()
        loops.attention_weights(S.reshape(-1, *S.shape[2:]), S.dtype.type(scale), causal)

    def backprop_attention_weights(self, dP: Any, P: Any, scale: float) -> None:
        """See `Ops.backprop_attention_weights`."""
        loops: Any = self.kernels.sequence if P.dtype in _COMPILED else super()
        rows = (X.reshape(-1, X.shape[-1]) for X in (dP, P))
        loops.backprop_attention_weights(*rows, P.dtype.type(scale))

    def reduce_sum(self, X: Floats2d, lengths: Ints1d) -> Floats2d:
        """See `Ops.reduce_sum`."""
        if X.dtype not in _COMPILED:
            return super().reduce_sum(X, lengths)
        Y = self.empty((len(lengths), X.shape[1]), X.dtype)
        self.kernels.sequence.reduce_sum(X, lengths, Y)
        return Y

    def expand_window(self, X: Floats2d, window: int, lengths: Ints1d) -> Floats2d:
        """See `Ops.expand_window`."""
        if X.dtype not in _COMPILED:
            return super().expand_window(X, window, lengths)
        n, nI = X.shape
        Y = self.empty((n, 2 * window + 1, nI), X.dtype)
        self.kernels.sequence.expand_window(X, window, lengths, Y)
        return Y.reshape(n, (2 * window + 1) * nI)

    def backprop_expand_window(self, dY: Floats2d, window: int, lengths: Ints1d) -> Floats2d:
        """See `Ops.backprop_expand_window`."""
        if dY.dtype not in _COMPILED:
            return super().backprop_expand_window(dY, window, lengths)
        n, nI = dY.shape[0], dY.shape[1] // (2 * window + 1)
        dX = self.empty((n, nI), dY.dtype)
        shares = dY.reshape(n, 2 * window + 1, nI)
        self.kernels.sequence.backprop_expand_window(shares, window, lengths, dX)
        return dX

    def run_program(self, program: Program, X: Floats, *outputs: Floats) -> None:
        """See `Ops.run_program`. One compiled loop if `vectorized` has all functions it needs."""
        if X.dtype not in _COMPILED or not _NO_LOOP.isdisjoint(step.op for step in program.steps):
            super().run_program(program, X, *outputs)
        else:
            loops = import_module("combinet.ops.formulas.numba_loops")
            loops.loop(program.code, X.dtype.type)(X, *outputs)

    def adam(self, W: Floats1d, dW: Floats1d, moments: Sequence[Any], step: AdamStep) -> None:
        """See `Ops.adam`."""
        self.kernels.update.adam(W, dW, *moments, tuple(step))

    def adam_rows(self, rows: Ints1d, W: Any, dW: Any, moments: Any, step: AdamStep) -> None:
        """See `Ops.adam_rows`. Reads and writes each number once, in place."""
        self.kernels.update.adam_rows(rows, W, dW, *moments, tuple(step))

    def lstm(self, Z: Floats2d, U: Floats2d, order: Order) -> tuple[Floats2d, Any]:
        """See `Ops.lstm`. One kernel call computes all steps of a single sequence."""
        if Z.dtype != np.float32 or order[0][:1].sum() != 1:
            return super().lstm(Z, U, order)
        Y, C, T = (self.empty((Z.shape[0], U.shape[0]), Z.dtype) for _ in range(3))
        half = halves((True, True, False, True), U.shape[0], Z.dtype)
        self.kernels.recurrent.lstm_alone(Z, U, half, order[1], C, T, Y)
        return Y, (Z, C, T, U, order)

    def lstm_cell(self, Z: Any, R: Any, half: Any, last: Any, C: Any, T: Any, Y: Any) -> None:
        """See `Ops.lstm_cell`. Only float32 has a kernel; its tanh is precise to 2e-7."""
        loops: Any = self.kernels.recurrent if Z.dtype == np.float32 else super()
        loops.lstm_cell(Z, R, half, last, C, T, Y)

    def backprop_lstm(self, dY: Floats2d, saved: Any) -> Floats2d:
        """See `Ops.backprop_lstm`. Works step by step, which reads and writes less memory."""
        gates, C, T, U, order = saved
        dZ = self.empty(gates.shape, gates.dtype)
        first = int(order[0][:1].sum())
        dH, dC, start = (np.zeros((first, C.shape[1]), C.dtype) for _ in range(3))
        for rows, before, continued in reversed(list(steps(*order))):
            last, dz = filled(start, C[before], rows), dZ[rows]
            n = len(last)
            self.kernels.recurrent.backprop_lstm_cell(
                dY[rows], gates[rows], last, T[rows], dH[:n], dC[:n], dz
            )
            if continued.stop:
                np.matmul(dz[continued], U.T, out=dH[continued])
        return dZ
