"""Layers that process sequences in both directions."""

import reprlib
from operator import itemgetter
from typing import Any

import numpy as np

from combinet.batches.packed import Packed
from combinet.batches.padded import Padded
from combinet.batches.structure import map_arrays
from combinet.combinators.compose import add_batches
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import Widths
from combinet.core.shape_rules import concatenated
from combinet.errors import DimensionError, InputError, describe
from combinet.types import Form


def bidirectional(l2r: Model[Any, Any], r2l: Model[Any, Any] | None = None) -> Model[Form, Form]:
    """Applies one layer to sequences and one to the reversed sequences, and concatenates columns.

    The input is Padded (longest, sequences, nI). If both layers are recurrent layers such as
    `LSTM`, it can also be a list of arrays or Ragged. The output has the same kind and contains the
    columns of `l2r`, then the columns of `r2l`. Each sequence is reversed within its own length.
    The output of `r2l` is reversed back, so that row t of the output belongs to row t of the input.

    If the width nO of the output is inferred or resized, each layer gets one half.

    Args:
        l2r: Layer for the sequences from left to right.
        r2l: Layer for the sequences from right to left. A copy of `l2r` if None.

    Raises:
        InputError: If X is not such a batch, or if a layer does not return Padded with the same
            lengths.
        DimensionError: If nO is inferred or resized to an odd number.

    Example:
        >>> import numpy as np
        >>> from combinet import noop, with_padded
        >>> with_padded(bidirectional(noop())).predict([np.array([[1.0], [2.0]])])
        [array([[1., 1.],
               [2., 2.]])]

    Source: Schuster and Paliwal 1997, "Bidirectional Recurrent Neural Networks", section II.D.
    """
    layers = [l2r, l2r.copy() if r2l is None else r2l]
    packed = all(layer.accepts == "time_major2d" for layer in layers)
    accepts = "time_major2d" if packed else "padded"
    return Model("bidirectional", _bidirectional, layers=layers, accepts=accepts, widths=_widths)


@innermost
def _bidirectional(model: Model[Any, Any], X: Any, run: Run) -> Any:
    return (_packed if model.accepts == "time_major2d" else _padded)(model, X, run)


def _packed(model: Model[Any, Any], X: Any, run: Run) -> Any:
    """Calls recurrent layers. They read packed rows in either direction, so no data is reversed."""
    batch = Packed.of(X, run.ops)
    order, (l2r, r2l) = batch.order, model.layers
    forth, callback_forth = run(l2r, batch, run.wants_dX)
    back, callback_back = run(r2l, Packed(batch.data, order, not batch.reverse), run.wants_dX)
    nO = forth.data.shape[-1]

    def backprop(dY: Any) -> Any:
        dX = callback_forth(Packed(batch.rows_of(dY, slice(nO)), order))
        other = callback_back(Packed(batch.rows_of(dY, slice(nO, None)), order))
        if dX is None or other is None:
            return None
        return batch.rebuild(X, run.ops.add(dX.data, other.data))

    return batch.rebuild(X, forth.data, back.data), backprop


def _padded(model: Model[Any, Any], X: Padded, run: Run) -> Any:
    l2r, r2l = model.layers
    mirror = _mirror(X)

    def turned_rows(data: Any) -> Any:
        flat = data.reshape(-1, *data.shape[2:])
        return run.ops.take_rows(flat, mirror).reshape(data.shape)

    def turned(batch: Any) -> Any:
        return map_arrays(batch, turned_rows)

    forth, callback_forth = run(l2r, X, run.wants_dX)
    back, callback_back = run(r2l, turned(X), run.wants_dX)
    for Y in (forth, back):
        if not isinstance(Y, Padded) or Y.lengths.tolist() != X.lengths.tolist():
            raise InputError(
                f"{model.name} expected layers that return Padded with the lengths "
                f"{reprlib.repr(X.lengths.tolist())}, got {describe(Y)}"
            )
    nO = forth.data.shape[-1]
    back = turned(back)

    def backprop(dY: Padded) -> Any:
        dX = callback_forth(map_arrays(dY, itemgetter((..., slice(nO)))))
        other = callback_back(turned(map_arrays(dY, itemgetter((..., slice(nO, None))))))
        return add_batches(dX, turned(other))

    return map_arrays(X, lambda _: run.ops.concatenate([forth.data, back.data], -1)), backprop


def _mirror(X: Padded) -> Any:
    """Returns, for each row of the flat data, the row that mirrors it in its sequence."""
    longest, n = len(X.size_at_t), len(X)
    t = np.arange(longest)[:, None]
    return (np.where(t < X.lengths, X.lengths - 1 - t, t) * n + np.arange(n)).reshape(-1)


def _widths(model: Any, nI: Any, nO: Any, infer: Any) -> Widths:
    if nO is not None:
        l2r, r2l = (infer(layer, nI, None)[1] for layer in model.layers)
        if (l2r is None or infer.resize) and l2r == r2l:
            if nO % 2:
                raise DimensionError(f"{model.name} expected an even nO, got {nO}")
            for layer in model.layers:
                infer(layer, nI, nO // 2)
    return concatenated(model, nI, nO, infer)
