"""Recurrent layers: LSTM, GRU, and the simple RNN.

Each is a layer of one direction; both directions are `bidirectional` of it and depth is a chain,
so that a stack is made of what everybody else can compose as well. A direction has products of its
own: one of both directions, or a batch of two at each step, was measured to be no faster.

Inside, rows are packed in time-major order, see `combinet.batches.packed`, so that no step
computes padding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from combinet.batches.packed import Packed
from combinet.combinators.compose import chain
from combinet.combinators.with_batches import with_array
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.dense.dropout import Dropout
from combinet.layers.dense.linear import affine, affine_params
from combinet.layers.sequence.bidirectional import bidirectional
from combinet.types import Initializer, is_size

if TYPE_CHECKING:
    from combinet.types import Form


def LSTM(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    bias: bool = True,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Form, Form]:
    """Long short-term memory: C[t] = f * C[t-1] + i * g, Y[t] = o * tanh(C[t]), for each sequence.

    i, f, o = sigmoid and g = tanh of W @ X[t] + U @ Y[t-1] + b, a gate for each of their four
    parts; before the first step Y and C are 0. X list of (n, nI), Ragged or Padded -> Y of the
    same kind, with nO columns. Params: W (nO, 4, nI), U (nO, 4, nO), b (nO, 4), the gates in the
    order i, f, g, o. Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    With `bi` there are two directions of nO / 2 units, see `bidirectional`; `depth` layers are
    stacked, and in training `dropout` is the rate between one and the next. Raises DimensionError
    for an nO that is odd, with `bi`. `bias=False` leaves out the biases.

    Example:
        >>> import numpy as np
        >>> model = LSTM(4, 3, bi=True).initialize()
        >>> Y = model.predict([np.ones((5, 3), dtype="float32"), np.ones((2, 3), dtype="float32")])
        >>> [y.shape for y in Y]
        [(5, 4), (2, 4)]
    """
    layer = partial(_layer, "lstm", _lstm, 4, _params(init_W, init_b, bias))
    return _stack(layer, nO, nI, bi, depth, dropout)


def GRU(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    bias: bool = True,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Form, Form]:
    """Gated recurrent units: Y[t] = (1 - z) * n + z * Y[t-1], for each sequence.

    r, z = sigmoid of their parts of W @ X[t] + U @ Y[t-1] + b; n = tanh(W @ X[t] + b +
    r * (U @ Y[t-1] + c)), with its parts; before the first step Y is 0. X list of (n, nI),
    Ragged or Padded -> Y of the same kind, with nO columns. Params: W (nO, 3, nI), U (nO, 3, nO),
    b (nO, 3), c (nO,), the gates in the order r, z, n. Cho et al. 2014, arXiv:1406.1078, in the
    form in which r is applied after the product. `bi`, `depth`, `dropout`, `bias` as in `LSTM`.

    Example:
        >>> import numpy as np
        >>> model = GRU(4, 3, depth=2).initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)
    """
    params = _params(init_W, init_b, bias)
    if bias:
        params["c"] = Param(("nO",), init_b)
    return _stack(partial(_layer, "gru", _gru, 3, params), nO, nI, bi, depth, dropout)


def RNN(
    nO: int | None = None,
    nI: int | None = None,
    *,
    bi: bool = False,
    depth: int = 1,
    dropout: float = 0.0,
    nonlinearity: str = "tanh",
    bias: bool = True,
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
) -> Model[Form, Form]:
    """Y[t] = tanh(W @ X[t] + U @ Y[t-1] + b), for each sequence; before the first step Y is 0.

    `nonlinearity` is "tanh" or "relu". X list of (n, nI), Ragged or Padded -> Y of the
    same kind, with nO columns. Params: W (nO, 1, nI), U (nO, 1, nO), b (nO, 1). Elman 1990,
    "Finding Structure in Time". `bi`, `depth`, `dropout`, `bias` are those of `LSTM`.

    Example:
        >>> import numpy as np
        >>> model = RNN(4, 3, nonlinearity="relu").initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)
    """
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f"rnn takes the nonlinearity 'tanh' or 'relu', not {nonlinearity!r}")
    params, attrs = _params(init_W, init_b, bias), {"nonlinearity": nonlinearity}
    return _stack(partial(_layer, "rnn", _rnn, 1, params, attrs=attrs), nO, nI, bi, depth, dropout)


def _params(init_W: Initializer, init_b: Initializer, bias: bool) -> dict[str, Param]:
    # The gates in the middle, so that in column-major memory all are one matrix, gate by gate.
    params = affine_params(init_W, init_b, bias, ("nO", "nG", "nI"))
    return {"W": params.pop("W"), "U": Param(("nO", "nG", "nO"), init_W), **params}


def _layer(
    name: str, forward: Any, nG: int, params: Any, nO: int | None, nI: int | None, attrs: Any = None
) -> Model[Any, Any]:
    """A layer of one direction."""
    dims = {"nI": nI, "nO": nO, "nG": nG}
    return Model(name, forward, dims=dims, params=params, attrs=attrs, accepts="time_major2d")


def _stack(
    layer: partial[Any], nO: int | None, nI: int | None, bi: bool, depth: int, dropout: float
) -> Model[Form, Form]:
    """A layer of one direction, doubled by `bi`, stacked by `depth`."""
    name = layer.args[0]
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
        one = layer(units, nO if i else nI)
        layers.append(bidirectional(one) if bi else one)
    return layers[0] if depth == 1 else chain(*layers)


def _recur(model: Any, X: Any, run: Run, recurrence: Callable[..., Any]) -> Any:
    """Packs X, runs `recurrence` on its product with W, and returns a batch of the form of X.

    `recurrence(Z, U, order)`, with c as well if there is one, returns the outputs Y and a function
    of their gradient, which returns the gradients of Z and of each row's product with U.
    """
    batch = Packed.of(X, run.ops)
    W, U, *biases = run.params(model, *model.param_names)
    Z, backprop_affine = affine(model, batch.data, run, weights=(W, *biases[:1]))
    order = batch.order.sizes, batch.reverse
    Y, backprop_gates = recurrence(Z, U.T.reshape(len(U), -1), order, *biases[1:])

    def backprop(dY: Any) -> Any:
        dZ, dR = backprop_gates(batch.rows_of(dY))
        dU = run.ops.backprop_recurrent_weights(dR, Y, order)
        run.inc_grad(model, U=dU.reshape(U.T.shape).T)
        dX = backprop_affine(dZ)
        return None if dX is None else batch.rebuild(X, dX)

    return batch.rebuild(X, Y), backprop


def _lstm(model: Model[Any, Any], X: Any, run: Run) -> Any:
    def recurrence(Z: Any, U: Any, order: Any) -> Any:
        Y, saved = run.ops.lstm(Z, U, order)
        return Y, lambda dY: (run.ops.backprop_lstm(dY, saved),) * 2

    return _recur(model, X, run, recurrence)


def _gru(model: Model[Any, Any], X: Any, run: Run) -> Any:
    def recurrence(Z: Any, U: Any, order: Any, c: Any = None) -> Any:
        nO, bias = U.shape[0], c is not None
        Y, saved = run.ops.gru(Z, U, c if bias else run.ops.zeros((nO,), U.dtype), order)

        def backprop(dY: Any) -> Any:
            dZ, dR = run.ops.backprop_gru(dY, saved)
            if bias:
                run.inc_grad(model, c=dR[:, 2 * nO :].sum(axis=0))
            return dZ, dR

        return Y, backprop

    return _recur(model, X, run, recurrence)


def _rnn(model: Model[Any, Any], X: Any, run: Run) -> Any:
    activation = model.attrs["nonlinearity"]

    def recurrence(Z: Any, U: Any, order: Any) -> Any:
        Y, saved = run.ops.rnn(Z, U, activation, order)
        return Y, lambda dY: (run.ops.backprop_rnn(dY, saved),) * 2

    return _recur(model, X, run, recurrence)
