"""Batches of a data set, in order or shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.errors import DimensionError, InputError, describe
from combinet.ops.backends import get_array_ops
from combinet.types import Generator, Schedule, is_size


def minibatch(
    size: int | Schedule, sequence: object, *others: object, rng: Generator | int | None = None
) -> Iterator[Any]:
    """Batches of `size` of a list, array, Ragged or Padded, one after the other; the last rest.

    With `others`, of the same length, each batch is a tuple with a part of each. `size` may be a
    schedule: that of the batch's number, from 0. With `rng`, a generator or a seed, the order
    is drawn from it. What is given stays as it is. Raises InputError or DimensionError, at
    the first batch.

    Example:
        >>> import numpy as np
        >>> list(minibatch(2, ["a", "b", "c"], np.array([0, 1, 2])))
        [(['a', 'b'], array([0, 1])), (['c'], array([2]))]
        >>> [len(batch) for batch in minibatch(lambda i: 2**i, list(range(9)), rng=0)]
        [1, 2, 4, 2]
    """
    sequences: tuple[Any, ...] = (sequence, *others)
    for each in sequences:
        if not hasattr(each, "__len__") or not hasattr(each, "__getitem__"):
            raise InputError(f"batches are parts of sequences, not of {describe(each)}")
    lengths = [len(each) for each in sequences]
    if len(set(lengths)) > 1:
        raise DimensionError(f"what is divided together is as long, not {lengths}")
    order = None if rng is None else np.random.default_rng(rng).permutation(lengths[0])
    start, number = 0, 0
    while start < lengths[0]:
        count = int(size(number)) if callable(size) else size
        if not is_size(count):
            raise InputError(f"a batch's size is an int from 1, not {count!r}")
        index = slice(start, start + count)
        batch = tuple(_take(each, index, order) for each in sequences)
        yield batch if others else batch[0]
        start, number = start + count, number + 1


def _take(sequence: Any, index: slice, order: Any) -> Any:
    if order is None:
        return sequence[index]
    if isinstance(sequence, Ragged | Padded):
        return sequence[order[index]]
    if hasattr(sequence, "dtype"):
        return sequence[get_array_ops(sequence).asarray(order[index])]
    chosen = [sequence[i] for i in order[index].tolist()]
    return tuple(chosen) if isinstance(sequence, tuple) else chosen
