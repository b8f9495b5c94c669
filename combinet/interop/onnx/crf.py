"""Conditional random fields: scores of labels, and the best sequence of labels."""

from typing import Any

import numpy as np

import combinet as cb
from combinet.interop.onnx.export import Export, converts
from combinet.interop.onnx.graph import Sequences, Tensor

converts(cb.CRF())(lambda model, X, to, *weights: (X, *weights))


@converts(cb.viterbi())
def _viterbi(model: Any, X: tuple[Sequences, Tensor, Tensor, Tensor], to: Export) -> Sequences:
    (rows, lengths), T, start, end = X
    layout, labels = to.layout(lengths), np.arange(rows.width)
    scores, real, times = layout.pad(rows), layout.mask, layout.steps.size(0)

    def forth(t: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
        """Returns each label's best score at step t, and the label before it in that sequence."""
        ways = best.unsqueeze(2) + T
        goes_on = (real.take(t) & (t >= 1)).unsqueeze(1)
        score = to.op("ReduceMax", ways, [1], keepdims=0) + scores.take(t)
        came_from = to.op("ArgMax", ways, axis=1, keepdims=0)
        return to.op("Where", goes_on, score, best), to.op("Where", goes_on, came_from, labels)

    best, came_from = to.graph.loop(times, scores.take(0) + start, forth)

    def back(i: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the labels at the previous step and at this one. Runs from the last step."""
        before = came_from.take(to.op("Squeeze", times - 1 - i, [0]))
        return to.op("GatherElements", before, label.unsqueeze(1), axis=1).reshape(-1), label

    _, found = to.graph.loop(times, to.op("ArgMax", best + end, axis=1, keepdims=0), back)
    return Sequences(layout.unpad(found.slice(None, None, step=-1)), lengths)
