"""Recurrent layers by ONNX's recurrent operators, over padded sequences."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor


def _recurrent(
    model: Any,
    X: Sequences,
    to: Export,
    name: str,
    order: list[int],
    *weights: Tensor,
    **attrs: Any,
) -> Sequences:
    """Returns a layer of one direction: the operator `name`, with gates in ONNX's order."""
    W, U, *biases = (_gates(weight, order) for weight in weights)
    nO, layout = model.get_dim("nO"), to.layout(X.lengths)
    no_bias = np.zeros((1, model.get_dim("nG") * nO), model.dtype)
    b = to.op("Concat", *[*biases, no_bias, no_bias][:2], axis=1)
    lengths = X.lengths.cast("int32")
    Y = to.op(name, layout.pad(X.rows), W, U, b, lengths, hidden_size=nO, **attrs)
    return Sequences(layout.unpad(to.op("Squeeze", Y, [1])), X.lengths)


def _gates(weight: Tensor, order: list[int]) -> Tensor:
    """Returns a weight (nO, gates, ...) as ONNX's (1, gates * nO, ...), gates in this order."""
    axes = len(weight.shape)
    turned = weight.take(order, axis=1).transpose(*(1, 0, 2)[:axes])
    return turned.reshape(*(1, -1, 0)[:axes])


@converts(cb.LSTM())
def _lstm(model: Any, X: Sequences, to: Export, *weights: Tensor) -> Sequences:
    return _recurrent(model, X, to, "LSTM", [0, 3, 1, 2], *weights)  # i o f g


@converts(cb.GRU())
def _gru(model: Any, X: Sequences, to: Export, *weights: Tensor) -> Sequences:
    *others, last = weights
    if "c" in model.param_names:  # the bias c in r * (U @ Y + c), for the new value only
        no_bias = np.zeros((model.get_dim("nO"), 2), model.dtype)
        last = to.op("Concat", no_bias, last.unsqueeze(1), axis=1)
    # z r n
    return _recurrent(model, X, to, "GRU", [1, 0, 2], *others, last, linear_before_reset=1)


@converts(cb.RNN())
def _rnn(model: Any, X: Sequences, to: Export, *weights: Tensor) -> Sequences:
    activations = [model.attrs["nonlinearity"].capitalize()]
    return _recurrent(model, X, to, "RNN", [0], *weights, activations=activations)


@converts(cb.bidirectional(cb.RNN()))
def _bidirectional(model: Any, X: Sequences, to: Export) -> Sequences:
    l2r, r2l = model.layers
    layout = to.layout(X.lengths)
    mirror = layout.last.take(layout.segment_ids) - layout.positions
    forth, back = to(l2r, X), to(r2l, Sequences(X.rows.take(mirror), X.lengths))
    return Sequences(to.op("Concat", forth.rows, back.rows.take(mirror), axis=-1), X.lengths)
