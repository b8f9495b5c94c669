"""Recurrent layers: LSTM, GRU and the simple RNN.

Each constructor makes layers of one direction, combines two directions with `bidirectional`, and
stacks layers in a chain. Each direction computes its own products: one product for both directions,
or a batch of two at each step, was no faster in measurements.

The rows of a batch are packed in time-major order (`combinet.batches.packed`), so no step computes
padding.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from combinet.batches.packed import Packed
from combinet.combinators.compose import chain
from combinet.combinators.with_batches import with_array
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.dense.dropout import Dropout
from combinet.layers.dense.linear import affine, affine_params
from combinet.layers.sequence.bidirectional import bidirectional
from combinet.types import Form, Initializer, is_size


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

    Each gate has a part of W @ X[t] + U @ Y[t-1] + b: i, f and o are the sigmoid of their parts, g
    is the tanh of its part. The order of the gates is i, f, g, o. Before the first step, Y and C
    are 0.

    The input is a list of arrays (n_i, nI), Ragged or Padded. The output has the same kind, with nO
    columns.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        bi: Whether to process sequences in both directions, see `bidirectional`. Each direction has
            nO / 2 units, so nO must be even.
        depth: Number of stacked layers, at least 1.
        dropout: Dropout rate between stacked layers, from 0 to below 1.
        bias: Whether to add the biases b.
        init_W: Initializer of the weights W (nO, 4, nI) and U (nO, 4, nO) of each layer.
            `glorot_uniform` by default.
        init_b: Initializer of the biases b (nO, 4) of each layer. `zeros` by default.

    Raises:
        InputError: If `depth` or `dropout` is out of range.
        DimensionError: If `bi` is set and nO is odd, or if X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> model = LSTM(4, 3, bi=True).initialize()
        >>> Y = model.predict([np.ones((5, 3), dtype="float32"), np.ones((2, 3), dtype="float32")])
        >>> [y.shape for y in Y]
        [(5, 4), (2, 4)]

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.
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

    The gates r and z are the sigmoid of their parts of W @ X[t] + U @ Y[t-1] + b. The candidate n
    is tanh(W @ X[t] + b + r * (U @ Y[t-1] + c)), with its own parts of W, U and b. The order of the
    gates is r, z, n. Before the first step, Y is 0.

    The input is a list of arrays (n_i, nI), Ragged or Padded. The output has the same kind, with nO
    columns.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        bi: Whether to process sequences in both directions, see `bidirectional`. Each direction has
            nO / 2 units, so nO must be even.
        depth: Number of stacked layers, at least 1.
        dropout: Dropout rate between stacked layers, from 0 to below 1.
        bias: Whether to add the biases b and c.
        init_W: Initializer of the weights W (nO, 3, nI) and U (nO, 3, nO) of each layer.
            `glorot_uniform` by default.
        init_b: Initializer of the biases b (nO, 3) and c (nO,) of each layer. `zeros` by default.

    Raises:
        InputError: If `depth` or `dropout` is out of range.
        DimensionError: If `bi` is set and nO is odd, or if X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> model = GRU(4, 3, depth=2).initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)

    Source: Cho et al. 2014, arXiv:1406.1078, in the form that applies r after the product.
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
    """Simple recurrent layer: Y[t] = tanh(W @ X[t] + U @ Y[t-1] + b), for each sequence.

    Before the first step, Y is 0. The input is a list of arrays (n_i, nI), Ragged or Padded. The
    output has the same kind, with nO columns.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        bi: Whether to process sequences in both directions, see `bidirectional`. Each direction has
            nO / 2 units, so nO must be even.
        depth: Number of stacked layers, at least 1.
        dropout: Dropout rate between stacked layers, from 0 to below 1.
        nonlinearity: "tanh" or "relu", which replaces tanh.
        bias: Whether to add the biases b.
        init_W: Initializer of the weights W (nO, 1, nI) and U (nO, 1, nO) of each layer.
            `glorot_uniform` by default.
        init_b: Initializer of the biases b (nO, 1) of each layer. `zeros` by default.

    Raises:
        InputError: If `nonlinearity` has another value, or `depth` or `dropout` is out of range.
        DimensionError: If `bi` is set and nO is odd, or if X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> model = RNN(4, 3, nonlinearity="relu").initialize()
        >>> model.predict([np.ones((5, 3), dtype="float32")])[0].shape
        (5, 4)

    Source: Elman 1990, "Finding Structure in Time".
    """
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(f"rnn expected nonlinearity 'tanh' or 'relu', got {nonlinearity!r}")
    params, attrs = _params(init_W, init_b, bias), {"nonlinearity": nonlinearity}
    return _stack(partial(_layer, "rnn", _rnn, 1, params, attrs=attrs), nO, nI, bi, depth, dropout)


def _params(init_W: Initializer, init_b: Initializer, bias: bool) -> dict[str, Param]:
    # The gates are the middle axis: in column-major memory, they form one matrix, gate by gate.
    params = affine_params(init_W, init_b, bias, ("nO", "nG", "nI"))
    return {"W": params.pop("W"), "U": Param(("nO", "nG", "nO"), init_W), **params}


def _layer(
    name: str, forward: Any, nG: int, params: Any, nO: int | None, nI: int | None, attrs: Any = None
) -> Model[Any, Any]:
    """Returns a layer of one direction."""
    dims = {"nI": nI, "nO": nO, "nG": nG}
    return Model(name, forward, dims=dims, params=params, attrs=attrs, accepts="time_major2d")


def _stack(
    layer: partial[Any], nO: int | None, nI: int | None, bi: bool, depth: int, dropout: float
) -> Model[Form, Form]:
    """Returns `depth` layers, in two directions if `bi` is set."""
    name = layer.args[0]
    if not is_size(depth):
        raise InputError(f"{name} expected a depth of 1 or more, got {depth!r}")
    if bi and nO is not None and nO % 2:
        raise DimensionError(f"{name} expected an even nO for its two directions, got {nO}")
    units = nO // 2 if bi and nO is not None else nO
    layers: list[Model[Any, Any]] = []
    for i in range(depth):
        between = Dropout(dropout)  # made even if not used, because it checks the rate
        if i and dropout:
            layers.append(with_array(between))
        one = layer(units, nO if i else nI)
        layers.append(bidirectional(one) if bi else one)
    return layers[0] if depth == 1 else chain(*layers)


def _recur(model: Any, X: Any, run: Run, recurrence: Callable[..., Any]) -> Any:
    """Packs X, runs `recurrence` on X @ W.T + b, and returns a batch of the same kind as X.

    `recurrence(Z, U, order)`, which also receives c if the layer has it, returns the output Y and a
    function. The function takes the gradient of Y and returns the gradients of Z and of the product
    of each row with U.
    """
    batch = Packed.of(X, run.ops)
    W, U, *biases = run.params(model)
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


@innermost
def _lstm(model: Model[Any, Any], X: Any, run: Run) -> Any:
    def recurrence(Z: Any, U: Any, order: Any) -> Any:
        Y, saved = run.ops.lstm(Z, U, order)
        return Y, lambda dY: (run.ops.backprop_lstm(dY, saved),) * 2

    return _recur(model, X, run, recurrence)


@innermost
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


@innermost
def _rnn(model: Model[Any, Any], X: Any, run: Run) -> Any:
    activation = model.attrs["nonlinearity"]

    def recurrence(Z: Any, U: Any, order: Any) -> Any:
        Y, saved = run.ops.rnn(Z, U, activation, order)
        return Y, lambda dY: (run.ops.backprop_rnn(dY, saved),) * 2

    return _recur(model, X, run, recurrence)
