"""Rows of zeros around sequences."""

from typing import Any

import numpy as np

from combinet import Model, Run
from combinet.ops.sequence import segment_ids
from combinet.shapes import delegates
from combinet.types import Floats2d


def with_margins(layer: Model[Any, Any], rows: int) -> Model[Floats2d, Floats2d]:
    """Applies a layer to all sequences as one, with rows of zeros around and between them.

    The input is an array (n, nI), the output an array (n, nO). The layer must keep the number of
    rows. If its windows reach at most `rows` rows to each side in total, no window reaches into
    another sequence. The layer also transforms the rows of zeros, so they may differ from 0 after
    its first sublayer. Without margins, a window sees 0 beyond the sequence.

    Args:
        layer: Layer for an array of rows. It must keep the number of rows.
        rows: Number of rows of zeros between two sequences.
    """
    return Model(
        "with_margins", _with_margins, layers=[layer], attrs={"rows": rows}, widths=delegates
    )


def _with_margins(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    ops, rows, lengths = run.ops, model.attrs["rows"], run.lengths_of(X)
    places = np.arange(X.shape[0]) + rows * (segment_ids(lengths) + 1)
    total = X.shape[0] + rows * (len(lengths) + 1)
    Y, callback = run.with_lengths(None)(model.layers[0], ops.scatter_rows(X, places, total))

    def backprop(dY: Floats2d) -> Any:
        return ops.take_rows(callback(ops.scatter_rows(dY, places, total)), places)

    return ops.take_rows(Y, places), backprop
