"""Windows over sequences, unfolded into rows: what makes a convolution one affine map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from combinet.ops.sequence import SequenceOps, offsets, positions
from combinet.types import Floats2d, Ints1d


class Window(NamedTuple):
    """Which rows a window takes: `width` of them, `dilation` apart, every `stride` rows anew.

    The first begins `before` rows ahead of its sequence, and the last ends at most `after` rows
    behind it. Those rows are zeros.
    """

    width: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def is_centred(self) -> bool:
        """Whether it is that of `SequenceOps.expand_window`: a row between its neighbours."""
        return self == (2 * self.before + 1, 1, 1, self.before, self.before)

    def counts(self, lengths: Ints1d) -> Ints1d:
        """How many windows there are in each sequence."""
        last = lengths + self.before + self.after - self.dilation * (self.width - 1) - 1
        return np.maximum(last // self.stride + 1, 0)


class ConvolutionOps(SequenceOps):
    """Mixed into `Ops`: windows to rows, and back."""

    def unfold(self, X: Floats2d, window: Window, lengths: Ints1d) -> Floats2d:
        """The rows of each window side by side: (n, nI) -> (windows, width * nI)."""
        if window.is_centred:
            return self.expand_window(X, window.before, lengths)
        n, nI = int(window.counts(lengths).sum()), X.shape[1]
        Y: Any = self.xp.zeros((n, window.width, nI), dtype=X.dtype)
        for step, (windows, rows) in enumerate(self._places(window, lengths)):
            Y[:, step][windows] = X[rows]
        return Y.reshape(n, window.width * nI)

    def backprop_unfold(self, dY: Floats2d, window: Window, lengths: Ints1d) -> Floats2d:
        """The gradient of X: the sum of each row's share in the windows that take it."""
        if window.is_centred:
            return self.backprop_expand_window(dY, window.before, lengths)
        shares: Any = dY.reshape(dY.shape[0], window.width, dY.shape[1] // window.width)
        dX: Floats2d = self.xp.zeros((int(lengths.sum()), shares.shape[2]), dtype=dY.dtype)
        for step, (windows, rows) in enumerate(self._places(window, lengths)):
            dX[rows] += shares[:, step][windows]  # at one step no two windows share a row
        return dX

    def _places(self, window: Window, lengths: Ints1d) -> Iterator[tuple[Any, Any]]:
        """For each step: the windows that have a row there, and that row; on the device."""
        counts = window.counts(lengths)
        first = positions(counts) * window.stride - window.before
        begin, length = (np.repeat(each, counts) for each in (offsets(lengths), lengths))
        for step in range(window.width):
            place = first + step * window.dilation
            inside = np.flatnonzero((place >= 0) & (place < length))
            yield self.xp.asarray(inside), self.xp.asarray((begin + place)[inside])
