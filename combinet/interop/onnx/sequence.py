"""Layers that read the neighbors or the position of a row, or a whole sequence."""

from collections.abc import Callable
from typing import Any

import numpy as np

import combinet as cb
from combinet.core.model import Model
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor
from combinet.interop.onnx.layout import Layout, with_zero_row
from combinet.layers.sequence.conv1d import window_of
from combinet.ops.convolution import Window


def _unfold(X: Sequences, window: Window, to: Export) -> Sequences:
    """Returns each window as one row, (windows, width * nI), with zeros beyond a sequence."""
    inside = to.layout(X.lengths)
    reach = window.before + window.after - window.dilation * (window.width - 1) - 1
    counts = to.op("Max", X.lengths + (reach + window.stride), 0) / window.stride
    windows = to.layout(counts)
    first = windows.positions * window.stride - window.before
    place = first.unsqueeze(1) + np.arange(window.width) * window.dilation
    begin, length = (each.take(windows.segment_ids).unsqueeze(1)
                     for each in (inside.offsets, X.lengths))  # fmt: skip
    real = (place >= 0) & (place < length)
    rows = with_zero_row(X.rows).take(to.op("Where", real, place + begin, inside.total))
    return Sequences(rows.reshape(0, window.width * X.rows.width), counts)


@converts(cb.expand_window())
def _expand_window(model: Any, X: Tensor, to: Export) -> Tensor:
    w = model.attrs["window_size"]
    return _unfold(to.sequences(X), Window(2 * w + 1, 1, 1, w, w), to).rows


@converts(cb.Conv1d())
def _conv1d(model: Any, X: Any, to: Export, W: Tensor, *b: Tensor) -> Any:
    flat = W.transpose(0, 2, 1).reshape(model.get_dim("nO"), -1)
    unfolded = _unfold(to.sequences(X), window_of(model), to)
    rows = to.op("Gemm", unfolded.rows, flat, *b, transB=1)
    return Sequences(rows, unfolded.lengths) if isinstance(X, Sequences) else rows


def waves(places: Tensor, speeds: Any, cosine: Any, dtype: Any) -> Tensor:
    """Returns sines of positions (n,) times speeds (k,): (n, k). Cosines where `cosine` is true.

    The angles are float64. Cosines use the operator Sin too, which onnxruntime supports for
    float64.
    """
    angles = places.cast("float64").unsqueeze(1) * speeds + np.where(cosine, np.pi / 2, 0.0)
    return places.graph.op("Sin", angles).cast(dtype)


@converts(cb.sinusoidal_positions())
def _sinusoidal_positions(model: Any, X: Tensor, to: Export) -> Tensor:
    columns, places = np.arange(X.width), to.layout(to.lengths_of(X)).positions
    speeds = 10000.0 ** -(columns // 2 * 2 / X.width)
    return X + waves(places, speeds, columns % 2, X.dtype)


@converts(cb.LearnedPositions(longest=1))
def _learned_positions(model: Any, X: Tensor, to: Export, P: Tensor) -> Tensor:
    return X + P.take(to.layout(to.lengths_of(X)).positions)


@converts(cb.ParametricAttention())
def _parametric_attention(model: Any, X: Sequences, to: Export, Q: Tensor) -> Sequences:
    layout = to.layout(X.lengths)
    scores = to.with_lengths(X.lengths)(model.layers[0], X.rows) @ Q
    powers = to.op("Exp", scores - layout.max(scores).take(layout.segment_ids))
    shares = powers / layout.sum(powers).take(layout.segment_ids)
    return Sequences(X.rows * shares.unsqueeze(1), X.lengths)


def _reduction(layer: Model[Any, Any], reduce: Callable[[Layout, Tensor], Tensor]) -> None:
    converts(layer)(lambda model, X, to: reduce(to.layout(X.lengths), X.rows))


_reduction(cb.reduce_sum(), Layout.sum)
_reduction(cb.reduce_mean(), Layout.mean)
_reduction(cb.reduce_max(), Layout.max)
_reduction(cb.reduce_first(), lambda layout, rows: rows.take(layout.offsets))
_reduction(cb.reduce_last(), lambda layout, rows: rows.take(layout.last))
