"""Recurrent layers by ONNX's own, over padded sequences of their lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor


def _gates(weight: Tensor, order: Sequence[int]) -> Tensor:
    """A weight (nO, gates, ...) as ONNX has it, (1, gates * nO, ...), the gates in its order."""
    columns = [weight.width] if len(weight.shape) == 3 else []
    axes = (1, 0, 2) if columns else (1, 0)
    return weight.take(order, axis=1).transpose(*axes).reshape(1, -1, *columns)


def _recurrent(
    model: Any,
    X: Sequences,
    to: Export,
    name: str,
    order: Sequence[int],
    c: Tensor,
    **attrs: Any,
) -> Sequences:
    """A layer of one direction; `c` (gates, nO) is the bias beside the recurrent product."""
    W, U = to.params(model, "W", "U")
    named = to.params(model, "b") if "b" in model.param_names else []
    b = _gates(named[0], order) if named else _no_bias(model, to).reshape(1, -1)
    biases = to.op("Concat", b, c.reshape(1, -1), axis=1)
    layout = to.layout(X.lengths)
    Y = to.op(
        name,
        layout.pad(X.rows),
        _gates(W, order),
        _gates(U, order),
        biases,
        X.lengths.cast("int32"),
        hidden_size=model.get_dim("nO"),
        **attrs,
    )
    return Sequences(layout.unpad(to.op("Squeeze", Y, [1])), X.lengths)


def _no_bias(model: Any, to: Export) -> Tensor:
    gates, nO = model.get_dim("nG"), model.get_dim("nO")
    return to.graph.constant(np.zeros((gates, nO), model.dtype))


@converts(cb.LSTM())
def _lstm(model: Any, X: Sequences, to: Export) -> Sequences:
    return _recurrent(model, X, to, "LSTM", [0, 3, 1, 2], _no_bias(model, to))  # i o f g


@converts(cb.GRU())
def _gru(model: Any, X: Sequences, to: Export) -> Sequences:
    c = _no_bias(model, to)
    if "c" in model.param_names:
        (new,) = to.params(model, "c")
        zeros = np.zeros((2, model.get_dim("nO")), model.dtype)
        c = to.op("Concat", zeros, new.unsqueeze(0), axis=0)
    order = [1, 0, 2]  # z r n
    return _recurrent(model, X, to, "GRU", order, c, linear_before_reset=1)


@converts(cb.RNN())
def _rnn(model: Any, X: Sequences, to: Export) -> Sequences:
    activations = [model.attrs["nonlinearity"].capitalize()]
    return _recurrent(model, X, to, "RNN", [0], _no_bias(model, to), activations=activations)


@converts(cb.bidirectional(cb.RNN()))
def _bidirectional(model: Any, X: Sequences, to: Export) -> Sequences:
    l2r, r2l = model.layers
    layout = to.layout(X.lengths)
    mirror = layout.last.take(layout.segment_ids) - layout.positions
    forth, back = to(l2r, X), to(r2l, Sequences(X.rows.take(mirror), X.lengths))
    return Sequences(to.op("Concat", forth.rows, back.rows.take(mirror), axis=-1), X.lengths)
