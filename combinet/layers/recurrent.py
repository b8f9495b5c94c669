"""Recurrent layers: LSTM, GRU, and the simple RNN.

Each is a layer of one direction; both directions are `bidirectional` of it and depth is a chain,
so that a stack is made of what everybody else can compose as well. A direction has products of its
own: one of both directions, or a batch of two at each step, was measured to be no faster.

Inside, the real rows of Padded are packed, step after step: neither a product nor a cell step
computes padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.combinators import chain
from combinet.data import Padded, map_arrays
from combinet.errors import DimensionError, InputError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.bidirectional import bidirectional
from combinet.layers.dropout import Dropout
from combinet.model import Model
from combinet.node import Param
from combinet.run import Run
from combinet.shape_inference import is_size
from combinet.types import Array, Initializer
from combinet.wrappers import with_array


def LSTM(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Padded, Padded]:
    """Long short-term memory: C[t] = f * C[t-1] + i * g, Y[t] = o * tanh(C[t]), for each sequence.

    i, f, o = sigmoid and g = tanh of W @ X[t] + U @ Y[t-1] + b, a gate for each of their four
    parts; before the first step Y and C are 0. X Padded of (longest, sequences, nI) -> Y Padded
    of (longest, sequences, nO). Params: W (nO, 4, nI), U (nO, 4, nO), b (nO, 4), the gates in the
    order i, f, g, o. Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    With `bi` there are two directions of nO / 2 units, see `bidirectional`; `depth` layers are
    stacked, and in training `dropout` is the rate between one and the next. Raises DimensionError
    for an nO that is odd, with `bi`. `with_padded` makes it take lists of arrays and Ragged.

    Example:
        >>> import numpy as np
        >>> from combinet import with_padded
        >>> model = with_padded(LSTM(4, 3, bi=True)).initialize()
        >>> Y = model.predict([np.ones((5, 3), dtype="float32"), np.ones((2, 3), dtype="float32")])
        >>> [y.shape for y in Y]
        [(5, 4), (2, 4)]
    """
    params = _params(init_W, init_b)
    return _stack("lstm", _lstm, nO, nI, bi, depth, dropout, 4, params)


def GRU(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Padded, Padded]:
    """Gated recurrent units: Y[t] = (1 - z) * n + z * Y[t-1], for each sequence.

    r, z = sigmoid of their parts of W @ X[t] + U @ Y[t-1] + b; n = tanh(W @ X[t] + b +
    r * (U @ Y[t-1] + c)), with its parts; before the first step Y is 0. X Padded of (longest,
    sequences, nI) -> Y Padded of (longest, sequences, nO). Params: W (nO, 3, nI), U (nO, 3, nO),
    b (nO, 3), c (nO,), the gates in the order r, z, n. Cho et al. 2014, arXiv:1406.1078, in the
    form in which r is applied after the product. `bi`, `depth`, `dropout` are those of `LSTM`.

    Example:
        >>> import numpy as np
        >>> from combinet import with_padded
        >>> model = with_padded(GRU(4, 3, depth=2)).initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)
    """
    params = {**_params(init_W, init_b), "c": Param(("nO",), init_b)}
    return _stack("gru", _gru, nO, nI, bi, depth, dropout, 3, params)


def RNN(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    nonlinearity: str = "tanh",
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Padded, Padded]:
    """Y[t] = tanh(W @ X[t] + U @ Y[t-1] + b), for each sequence; before the first step Y is 0.

    `nonlinearity` is "tanh" or "relu". X Padded of (longest, sequences, nI) -> Y Padded of
    (longest, sequences, nO). Params: W (nO, 1, nI), U (nO, 1, nO), b (nO, 1). Elman 1990,
    "Finding Structure in Time". `bi`, `depth`, `dropout` are those of `LSTM`.

    Example:
        >>> import numpy as np
        >>> from combinet import with_padded
        >>> model = with_padded(RNN(4, 3, nonlinearity="relu")).initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)
    """
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f"rnn takes the nonlinearity 'tanh' or 'relu', not {nonlinearity!r}")
    params = _params(init_W, init_b)
    attrs = {"nonlinearity": nonlinearity}
    return _stack("rnn", _rnn, nO, nI, bi, depth, dropout, 1, params, attrs)


def _params(init_W: Initializer, init_b: Initializer) -> dict[str, Param]:
    # The gates in the middle, so that in column-major memory all are one matrix, gate by gate.
    return {
        "W": Param(("nO", "nG", "nI"), init_W),
        "U": Param(("nO", "nG", "nO"), init_W),
        "b": Param(("nO", "nG"), init_b),
    }


def _stack(
    name: str,
    forward: Any,
    nO: int | None,
    nI: int | None,
    bi: bool,
    depth: int,
    dropout: float,
    gates: int,
    params: dict[str, Param],
    attrs: dict[str, Any] | None = None,
) -> Model[Padded, Padded]:
    """A layer of one direction, doubled by `bi`, stacked by `depth`."""
    if not is_size(depth):
        raise InputError(f"{name} has a depth from 1 on, not {depth!r}")
    if bi and nO is not None and nO % 2:
        raise DimensionError(f"{name} has nO / 2 units in each direction: nO is even, not {nO}")
    units = nO // 2 if bi and nO is not None else nO
    layers: list[Model[Any, Any]] = []
    for i in range(depth):
        between = Dropout(dropout)  # here, so that a rate that is none is refused at any depth
        if i and dropout:
            layers.append(with_array(between))
        dims = {"nI": nO if i else nI, "nO": units, "nG": gates}
        layer: Model[Padded, Padded] = Model(
            name, forward, dims=dims, params=params, attrs=attrs, takes="padded3d"
        )
        layers.append(bidirectional(layer) if bi else layer)
    return layers[0] if depth == 1 else chain(*layers)


class _Rows:
    """The real rows of a Padded batch, step after step, and the way there and back."""

    def __init__(self, X: Padded, run: Run) -> None:
        self.like, self.ops, self.wants_dX = X, run.ops, run.wants_dX
        self.sizes = X.size_at_t
        real = np.arange(len(X)) < self.sizes[:, None]
        self.slots = None if real.all() else np.flatnonzero(real)
        self.n = real.size

    def pack(self, X: Padded) -> Array:
        flat: Array = X.data.reshape(self.n, X.data.shape[-1])
        return flat if self.slots is None else self.ops.unpad(flat, self.slots)

    def pad(self, rows: Array) -> Padded:
        flat = rows if self.slots is None else self.ops.pad(rows, self.slots, self.n)
        shape = (len(self.sizes), len(self.like), rows.shape[-1])
        return map_arrays(self.like, lambda _: flat.reshape(shape))


def _flat(*weights: Any) -> list[Any]:
    """Weights (nO, gates, n) as (n, gates * nO), biases as (gates * nO,): views of them."""
    return [each.T.reshape(*each.T.shape[:-2], -1) for each in weights]


def _unflat(gradient: Any, nO: int) -> Any:
    """The gradient of a parameter in its own shape, given that of the flat one."""
    return gradient.reshape(*gradient.shape[:-1], -1, nO).T


def _backprop(
    model: Any, run: Run, rows: _Rows, dZ: Any, dR: Any, X: Any, Y: Any, W: Any
) -> Padded | None:
    """Add the gradients of W, U and b, and give that of X, from those of the gates' arguments."""
    dX, dW, db = run.ops.backprop_affine(dZ, X, W.T, rows.wants_dX)
    dU = run.ops.backprop_recurrent_weights(dR, Y, rows.sizes)
    nO = Y.shape[1]
    run.inc_grad(model, W=_unflat(dW.T, nO), U=_unflat(dU, nO), b=_unflat(db, nO))
    return None if dX is None else rows.pad(dX)


def _lstm(model: Model[Any, Any], X: Padded, run: Run) -> Any:
    W, U, b = _flat(*run.params(model, "W", "U", "b"))
    rows = _Rows(X, run)
    packed = rows.pack(X)
    gates = run.ops.affine(packed, W.T, b)
    Y, C, T = run.ops.lstm(gates, U, rows.sizes)

    def backprop(dY: Padded) -> Padded | None:
        dZ = run.ops.backprop_lstm(rows.pack(dY), gates, C, T, U, rows.sizes)
        return _backprop(model, run, rows, dZ, dZ, packed, Y, W)

    return rows.pad(Y), backprop


def _gru(model: Model[Any, Any], X: Padded, run: Run) -> Any:
    *weights, c = run.params(model, "W", "U", "b", "c")
    W, U, b = _flat(*weights)
    rows = _Rows(X, run)
    packed = rows.pack(X)
    gates = run.ops.affine(packed, W.T, b)
    Y, M = run.ops.gru(gates, U, c, rows.sizes)

    def backprop(dY: Padded) -> Padded | None:
        dZ, dR = run.ops.backprop_gru(rows.pack(dY), gates, Y, M, U, rows.sizes)
        run.inc_grad(model, c=dR[:, 2 * Y.shape[1] :].sum(axis=0))
        return _backprop(model, run, rows, dZ, dR, packed, Y, W)

    return rows.pad(Y), backprop


def _rnn(model: Model[Any, Any], X: Padded, run: Run) -> Any:
    W, U, b = _flat(*run.params(model, "W", "U", "b"))
    rows, activation = _Rows(X, run), model.attrs["nonlinearity"]
    packed = rows.pack(X)
    Y = run.ops.rnn(run.ops.affine(packed, W.T, b), U, rows.sizes, activation)

    def backprop(dY: Padded) -> Padded | None:
        dZ = run.ops.backprop_rnn(rows.pack(dY), Y, U, rows.sizes, activation)
        return _backprop(model, run, rows, dZ, dZ, packed, Y, W)

    return rows.pad(Y), backprop
