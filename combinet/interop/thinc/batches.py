"""Conversion of batches between Thinc and combinet: the arrays stay, the classes change."""

from typing import Any

import numpy as np
from thinc import types

from combinet.batches.levels import has_levels
from combinet.batches.padded import Padded, ordered_columns
from combinet.batches.ragged import Ragged
from combinet.batches.structure import rebuild
from combinet.errors import InputError, describe
from combinet.ops.backends import default_ops


def to_combinet(X: Any) -> Any:
    """Converts Thinc's Ragged and Padded to combinet's. Other batches are the same in both."""
    if isinstance(X, list | tuple):
        return rebuild(X, [to_combinet(x) for x in X])
    if isinstance(X, types.Ragged):
        return Ragged(X.dataXd, default_ops().asarray(X.lengths))  # type: ignore[arg-type]
    if isinstance(X, types.Padded):
        sizes = map(default_ops().asarray, (X.size_at_t, X.lengths, X.indices))
        return Padded(X.data, *sizes)  # type: ignore[arg-type]
    return X


def to_thinc(X: Any) -> Any:
    """Converts combinet's Ragged and Padded to Thinc's. Other batches are the same in both.

    The columns of Padded are put in Thinc's order, where the last of several sequences of equal
    length comes first. So the batch fits the batches of Thinc's own layers.
    """
    if isinstance(X, list | tuple):
        return rebuild(X, [to_thinc(x) for x in X])
    if isinstance(X, Ragged):
        if has_levels(X):
            raise InputError(f"Thinc expected Ragged of one level, got {describe(X)}")
        return types.Ragged(X.data, X.lengths.astype("int32"))  # type: ignore[arg-type]
    if isinstance(X, Padded):
        order = np.lexsort((-X.indices, -X.lengths))
        sizes = [each.astype("int32") for each in (X.size_at_t, X.lengths, X.indices[order])]
        return types.Padded(ordered_columns(X.data, order), *sizes)  # type: ignore[arg-type]
    return X
