"""Levels of a batch: documents of sentences of words, as Ragged of Ragged or lists of lists."""

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, TypeVar

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.ops.backends import get_array_ops
from combinet.types import Ints1d

T = TypeVar("T")


def has_levels(X: object) -> bool:
    """Returns whether the items of a batch are batches: a Ragged of Ragged, or a list of lists."""
    if isinstance(X, Ragged):
        return isinstance(X.data, Ragged)
    return isinstance(X, list) and len(X) > 0 and isinstance(X[0], list)


def join_level(X: Ragged | list[Any]) -> tuple[Any, Ints1d]:
    """Returns the items of all items of a batch, as one batch, and the number in each item."""
    if isinstance(X, Ragged):
        return X.data, X.lengths
    lengths: Ints1d = np.fromiter(map(len, X), "int64", len(X))
    return [*chain.from_iterable(X)], lengths


def split_level(X: object, lengths: Ints1d) -> Ragged | list[Any]:
    """Divides a batch into items of these lengths: a list into lists, other batches into Ragged."""
    if not isinstance(X, list):
        batch: Any = X
        return Ragged(batch, lengths)
    ends = [0, *np.cumsum(lengths).tolist()]
    return [X[start:stop] for start, stop in pairwise(ends)]


def innermost_of(X: object) -> object:
    """Returns the sequences of the innermost level as one batch."""
    batch: Any = X
    while has_levels(batch):
        batch, _ = join_level(batch)
    return batch


def concatenate_batches(batches: Sequence[T]) -> T:
    """Returns the items of arrays, of lists or of Ragged as one batch."""
    items: list[Any] = [*batches]
    joined: Any
    if isinstance(items[0], list):
        joined = [*chain.from_iterable(items)]
    elif isinstance(items[0], Ragged):
        data = concatenate_batches([batch.data for batch in items])
        joined = Ragged.unchecked(data, np.concatenate([batch.lengths for batch in items]))
    else:
        joined = get_array_ops(items[0]).concatenate(items)
    return joined  # type: ignore[no-any-return]
