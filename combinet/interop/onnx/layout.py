"""The positions of the rows of concatenated sequences, as tensors. See `ops.sequence`."""

from functools import cached_property
from typing import Any

import numpy as np

from combinet.interop.onnx.graph import Tensor


class Layout:
    """Tensors that follow from the lengths (sequences,). The graph computes each of them once."""

    def __init__(self, lengths: Tensor) -> None:
        self.lengths = lengths
        self.graph = lengths.graph
        self.op = lengths.graph.op

    @cached_property
    def total(self) -> Tensor:
        """The number of rows (1,)."""
        return self.op("ReduceSum", self.lengths)

    @cached_property
    def offsets(self) -> Tensor:
        """The first row of each sequence (sequences,)."""
        return self.op("CumSum", self.lengths, 0, exclusive=1)

    @cached_property
    def last(self) -> Tensor:
        """The last row of each sequence (sequences,)."""
        return self.offsets + self.lengths - 1

    @cached_property
    def segment_ids(self) -> Tensor:
        """The index of the sequence that each row belongs to (total,)."""
        # Sums a 1 at the start of each sequence. An empty one starts where the next one starts.
        marks = self.graph.full(self.total + 1, np.zeros(1, "int64"))
        ones = self.graph.full(self.lengths.size(0), np.ones(1, "int64"))
        marks = self.op("ScatterElements", marks, self.offsets, ones, reduction="add")
        return self.op("CumSum", marks, 0).slice(0, -1) - 1

    @cached_property
    def positions(self) -> Tensor:
        """The position of each row in its sequence (total,)."""
        rows = self.op("Range", 0, self.op("Squeeze", self.total, [0]), 1)
        return rows - self.offsets.take(self.segment_ids)

    @cached_property
    def steps(self) -> Tensor:
        """The numbers below the largest length (longest,). There is at least one."""
        lengths = self.op("Concat", self.lengths, [1], axis=0)
        return self.op("Range", 0, self.op("ReduceMax", lengths, keepdims=0), 1)

    @cached_property
    def mask(self) -> Tensor:
        """Whether a row of padded sequences is real, (longest, sequences) of bool."""
        return self.steps.unsqueeze(1) < self.lengths

    def pad(self, rows: Tensor) -> Tensor:
        """Rows (total, nI) as (longest, sequences, nI), padded with zeros."""
        numbers = self.steps.unsqueeze(1) + self.offsets
        return with_zero_row(rows).take(self.op("Where", self.mask, numbers, self.total))

    def unpad(self, padded: Tensor) -> Tensor:
        """Returns the rows of padded sequences in their original order. The inverse of `pad`."""
        places = [each.unsqueeze(1) for each in (self.positions, self.segment_ids)]
        return self.op("GatherND", padded, self.op("Concat", *places, axis=1))

    def sum(self, rows: Tensor) -> Tensor:
        """Returns the sum of each sequence's rows; 0 for an empty sequence."""
        return self._reduce(rows, "add", 0.0)

    def mean(self, rows: Tensor) -> Tensor:
        """Returns the mean of each sequence's rows; 0 for an empty sequence."""
        counts = self.op("Max", self.lengths, 1).cast(rows.dtype)
        return self.sum(rows) / counts.unsqueeze(1)

    def max(self, rows: Tensor) -> Tensor:
        """Returns the maximum of each sequence's rows, by column."""
        return self._reduce(rows, "max", -np.inf)

    def _reduce(self, rows: Tensor, reduction: str, start: float) -> Tensor:
        shape = self.op("Concat", self.lengths.size(0), self.op("Shape", rows, start=1), axis=0)
        initial = self.graph.full(shape, np.full(1, start, rows.dtype))
        segment_ids = self.segment_ids.reshape(-1, *[1] * (len(rows.shape) - 1))
        segment_ids = self.op("Expand", segment_ids, self.op("Shape", rows))
        return self.op("ScatterElements", initial, segment_ids, rows, reduction=reduction)


def with_zero_row(rows: Tensor) -> Tensor:
    """Returns the rows, followed by one row of zeros."""
    shape: Any = (1, *rows.shape[1:])
    return rows.graph.op("Concat", rows, np.zeros(shape, rows.dtype), axis=0)
