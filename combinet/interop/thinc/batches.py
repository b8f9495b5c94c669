"""Batches as Thinc holds them and as combinet does: the arrays are the same, the classes differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from thinc import types

from combinet.batches.padded import Padded, ordered_columns
from combinet.batches.ragged import Ragged
from combinet.batches.structure import rebuild
from combinet.ops.backends import default_ops


def to_combinet(X: Any) -> Any:
    """A batch of Thinc's as combinet's; what is neither Ragged nor Padded is the same in both."""
    if isinstance(X, list | tuple):
        return rebuild(X, [to_combinet(x) for x in X])
    if isinstance(X, types.Ragged):
        return Ragged(X.dataXd, default_ops().asarray(X.lengths))  # type: ignore[arg-type]
    if isinstance(X, types.Padded):
        sizes = map(default_ops().asarray, (X.size_at_t, X.lengths, X.indices))
        return Padded(X.data, *sizes)  # type: ignore[arg-type]
    return X


def to_thinc(X: Any) -> Any:
    """The other way round.

    Columns of Padded come in the order in which Thinc puts them: of equally long sequences the one
    given last is the first. So they fit those that Thinc's own layers go on with.
    """
    if isinstance(X, list | tuple):
        return rebuild(X, [to_thinc(x) for x in X])
    if isinstance(X, Ragged):
        return types.Ragged(X.data, X.lengths.astype("int32"))  # type: ignore[arg-type]
    if isinstance(X, Padded):
        order = np.lexsort((-X.indices, -X.lengths))
        sizes = [each.astype("int32") for each in (X.size_at_t, X.lengths, X.indices[order])]
        return types.Padded(ordered_columns(X.data, order), *sizes)  # type: ignore[arg-type]
    return X
