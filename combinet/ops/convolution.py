"""Windows over sequences, unfolded into rows, so that a convolution is one affine map."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from combinet.ops.sequence import SequenceOps, offsets, positions
from combinet.types import Floats2d, Ints1d


class Window(NamedTuple):
    """The rows that each window of a convolution covers.

    A window has `width` rows, `dilation` rows apart. A new window starts every `stride` rows. The
    first window starts `before` rows before its sequence, and the last window ends at most `after`
    rows after it. Rows outside the sequence are zeros.
    """

    width: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def is_centred(self) -> bool:
        """Whether the window is a row with its neighbors on both sides, as in `expand_window`."""
        return self == (2 * self.before + 1, 1, 1, self.before, self.before)

    def counts(self, lengths: Ints1d) -> Ints1d:
        """Returns the number of windows in each sequence."""
        last = lengths + self.before + self.after - self.dilation * (self.width - 1) - 1
        return np.maximum(last // self.stride + 1, 0)


class ConvolutionOps(SequenceOps):
    """Part of `Ops`: rows to windows, and the gradients of windows to rows."""

    def unfold(self, X: Floats2d, window: Window, lengths: Ints1d) -> Floats2d:
        """Returns the rows of each window side by side, an array (windows, width * nI).

        X is (n, nI), and `window` is a `Window` with `width` rows. Windows do not cross the ends of
        the sequences that `lengths` gives.
        """
        if window.is_centred:
            return self.expand_window(X, window.before, lengths)
        n, nI = int(window.counts(lengths).sum()), X.shape[1]
        Y: Any = self.xp.zeros((n, window.width, nI), dtype=X.dtype)
        for step, (windows, rows) in enumerate(self._places(window, lengths)):
            Y[:, step][windows] = X[rows]
        return Y.reshape(n, window.width * nI)

    def backprop_unfold(self, dY: Floats2d, window: Window, lengths: Ints1d) -> Floats2d:
        """Returns the gradient of X (n, nI): for each row the sum of its gradients in all windows.

        dY (windows, width * nI) is the gradient of the result of `unfold` for the same `window` and
        `lengths`.
        """
        if window.is_centred:
            return self.backprop_expand_window(dY, window.before, lengths)
        shares: Any = dY.reshape(dY.shape[0], window.width, dY.shape[1] // window.width)
        dX: Floats2d = self.xp.zeros((int(lengths.sum()), shares.shape[2]), dtype=dY.dtype)
        for step, (windows, rows) in enumerate(self._places(window, lengths)):
            dX[rows] += shares[:, step][windows]  # here each row occurs at most once
        return dX

    def _places(self, window: Window, lengths: Ints1d) -> Iterator[tuple[Any, Any]]:
        """Yields for each place in a window the windows that have a row there, and these rows."""
        counts = window.counts(lengths)
        first = positions(counts) * window.stride - window.before
        begin, length = (np.repeat(each, counts) for each in (offsets(lengths), lengths))
        for step in range(window.width):
            place = first + step * window.dilation
            inside = np.flatnonzero((place >= 0) & (place < length))
            yield self.xp.asarray(inside), self.xp.asarray((begin + place)[inside])
