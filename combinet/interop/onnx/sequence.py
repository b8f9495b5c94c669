"""Layers that look at a row's neighbours, its place, or a whole sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.interop.onnx.export import Converter, Export
from combinet.interop.onnx.graph import Sequences, Tensor
from combinet.interop.onnx.layout import Layout, with_zero_row
from combinet.layers import (
    Conv1d,
    LearnedPositions,
    ParametricAttention,
    expand_window,
    reduce_first,
    reduce_last,
    reduce_max,
    reduce_mean,
    reduce_sum,
    sinusoidal_positions,
)
from combinet.layers.conv1d import window_of
from combinet.node import Forward
from combinet.ops.convolution import Window


def _unfold(X: Sequences, window: Window, to: Export) -> Sequences:
    """The rows of each window side by side, (windows, width * nI), zeros beyond a sequence."""
    inside = to.layout(X.lengths)
    reach = window.before + window.after - window.dilation * (window.width - 1) - 1
    counts = to.op("Max", X.lengths + (reach + window.stride), 0) / window.stride
    windows = to.layout(counts)
    first = windows.positions * window.stride - window.before
    place = first.unsqueeze(1) + np.arange(window.width) * window.dilation
    begin, length = (each.take(windows.owners).unsqueeze(1)
                     for each in (inside.starts, X.lengths))  # fmt: skip
    real = (place >= 0) & (place < length)
    rows = with_zero_row(X.rows).take(to.op("Where", real, place + begin, inside.total))
    return Sequences(rows.reshape(0, window.width * X.rows.width), counts)


def _expand_window(model: Any, X: Tensor, to: Export) -> Tensor:
    w = model.attrs["window_size"]
    return _unfold(Sequences(X, to.lengths_of(X)), Window(2 * w + 1, 1, 1, w, w), to).rows


def _conv1d(model: Any, X: Any, to: Export) -> Any:
    W, *b = to.params(model, *model.param_names)
    flat = W.transpose(0, 2, 1).reshape(model.get_dim("nO"), -1)
    batch = X if isinstance(X, Sequences) else Sequences(X, to.lengths_of(X))
    unfolded = _unfold(batch, window_of(model), to)
    rows = to.op("Gemm", unfolded.rows, flat, *b, transB=1)
    return Sequences(rows, unfolded.lengths) if batch is X else rows


def waves(places: Tensor, speeds: Any, cosine: Any, dtype: Any) -> Tensor:
    """Sines of places (n,) times speeds (k,), (n, k), cosines where `cosine` is true.

    Angles are in float64, and both are by one operator, for which onnxruntime has float64.
    """
    angles = places.cast("float64").unsqueeze(1) * speeds + np.where(cosine, np.pi / 2, 0.0)
    return places.graph.op("Sin", angles).cast(dtype)


def _sinusoidal_positions(model: Any, X: Tensor, to: Export) -> Tensor:
    columns, places = np.arange(X.width), to.layout(to.lengths_of(X)).positions
    speeds = 10000.0 ** -(columns // 2 * 2 / X.width)
    return X + waves(places, speeds, columns % 2, X.dtype)


def _learned_positions(model: Any, X: Tensor, to: Export) -> Tensor:
    (P,) = to.params(model, "P")
    return X + P.take(to.layout(to.lengths_of(X)).positions)


def _parametric_attention(model: Any, X: Sequences, to: Export) -> Sequences:
    keys = to.over(X.lengths)(model.layers[0], X.rows)
    (Q,) = to.params(model, "Q")
    shares = _softmax(to.layout(X.lengths), keys @ Q)
    return Sequences(X.rows * shares.unsqueeze(1), X.lengths)


def _softmax(layout: Layout, scores: Tensor) -> Tensor:
    """exp(X) / sum(exp(X)), the sum over each sequence alone: (total,) -> (total,)."""
    largest = layout.max(scores).take(layout.owners)
    powers = layout.op("Exp", scores - largest)
    return powers / layout.sum(powers).take(layout.owners)


def _reduce_sum(model: Any, X: Sequences, to: Export) -> Tensor:
    return to.layout(X.lengths).sum(X.rows)


def _reduce_mean(model: Any, X: Sequences, to: Export) -> Tensor:
    return to.layout(X.lengths).mean(X.rows)


def _reduce_max(model: Any, X: Sequences, to: Export) -> Tensor:
    return to.layout(X.lengths).max(X.rows)


def _reduce_first(model: Any, X: Sequences, to: Export) -> Tensor:
    return X.rows.take(to.layout(X.lengths).starts)


def _reduce_last(model: Any, X: Sequences, to: Export) -> Tensor:
    return X.rows.take(to.layout(X.lengths).starts + X.lengths - 1)


CONVERTERS: dict[Forward, Converter] = {
    expand_window().forward: _expand_window,
    Conv1d().forward: _conv1d,
    sinusoidal_positions().forward: _sinusoidal_positions,
    LearnedPositions(longest=1).forward: _learned_positions,
    ParametricAttention().forward: _parametric_attention,
    reduce_sum().forward: _reduce_sum,
    reduce_mean().forward: _reduce_mean,
    reduce_max().forward: _reduce_max,
    reduce_first().forward: _reduce_first,
    reduce_last().forward: _reduce_last,
}
