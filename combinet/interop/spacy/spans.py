"""The rows of spans within documents."""

from typing import Any

import numpy as np

from combinet import Model, Ragged, Run
from combinet.batches.convert import list_to_ragged, ragged_to_list
from combinet.ops.backends import default_ops
from combinet.ops.sequence import offsets, positions, segment_ids
from combinet.shapes import ShapeInference, Width, Widths, item


def extract_spans() -> Model[Any, Ragged]:
    """Returns the rows of each span, as one sequence per span.

    The input is a tuple: a list of arrays (n_i, nI), one for each document, and a Ragged of
    integers (total, 2), the first row of each span and the row after its last. The output is a
    Ragged with nI columns. Spans may share rows. The gradient of the spans is None.
    """
    return Model("extract_spans", _extract_spans, widths=_widths)


def _extract_spans(model: Model[Any, Any], X: Any, run: Run) -> Any:
    docs, spans = X
    rows = list_to_ragged(docs)
    begin, end = default_ops().asarray(spans.data).astype("int64").T
    lengths = end - begin
    begin = begin + offsets(rows.lengths)[segment_ids(spans.lengths)]
    taken = run.ops.asarray(np.repeat(begin, lengths) + positions(lengths))
    shape, dtype = rows.data.shape, rows.data.dtype

    def backprop(dY: Ragged) -> Any:
        total: Any = run.ops.zeros(shape, dtype)
        run.ops.scatter_add(total, taken[:, None], dY.data)
        return ragged_to_list(Ragged.unchecked(total, rows.lengths)), None

    return Ragged.unchecked(run.ops.take_rows(rows.data, taken), lengths), backprop


def _widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    width = infer.same(model, item(nI, 0), nO)
    return (width, None), width
