"""Batches as Thinc holds them and as combinet does: the arrays are the same, the classes differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc import types

from combinet.batches.padded import Padded, ordered_columns
from combinet.batches.ragged import Ragged
from combinet.batches.structure import rebuild


def to_combinet(X: Any) -> Any:
    """A batch of Thinc's as combinet's; what is neither Ragged nor Padded is the same in both."""
    if isinstance(X, list | tuple):
        return rebuild(X, [to_combinet(x) for x in X])
    if isinstance(X, types.Ragged):
        data: Any = X.dataXd
        return Ragged(data, on_host(X.lengths))
    if isinstance(X, types.Padded):
        padded: Any = X.data
        return Padded(padded, *map(on_host, (X.size_at_t, X.lengths, X.indices)))
    return X


def to_thinc(X: Any) -> Any:
    """The other way round.

    Columns of Padded come in the order in which Thinc puts them: of equally long sequences the one
    given last is the first. So they fit those that Thinc's own layers go on with.
    """
    if isinstance(X, list | tuple):
        return rebuild(X, [to_thinc(x) for x in X])
    if isinstance(X, Ragged):
        rows: Any = X.data
        lengths: Any = X.lengths.astype("int32")
        return types.Ragged(rows, lengths)
    if isinstance(X, Padded):
        order = np.lexsort((-X.indices, -X.lengths))
        sizes: list[Any] = [
            each.astype("int32") for each in (X.size_at_t, X.lengths, X.indices[order])
        ]
        columns: Any = ordered_columns(X.data, order)
        return types.Padded(columns, *sizes)
    return X


def on_host(array: Any) -> Any:
    """The array itself if it is on the CPU, else a copy there."""
    return array.get() if hasattr(array, "get") else array
