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
    """Yields batches of `size` items of a list, array, Ragged or Padded. The last may be smaller.

    The data stays unchanged. Errors are raised when the first batch is requested.

    Args:
        size: Number of items in a batch: an int, or a schedule, which receives the
            number of the batch, starting at 0.
        sequence: The data: a list, tuple, array, Ragged or Padded.
        *others: More data of the same length, such as labels. Each batch is then a tuple with the
            same items of all of them.
        rng: Generator, or seed of a generator, that shuffles the items. None keeps their order.

    Yields:
        The items of a batch, of the same class as the data.

    Raises:
        DimensionError: If the lengths of the data differ.
        InputError: If the data cannot be indexed or has no length, or if `size` is not a positive
            int.

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
            raise InputError(f"expected a list, array, Ragged or Padded, got {describe(each)}")
    lengths = [len(each) for each in sequences]
    if len(set(lengths)) > 1:
        raise DimensionError(f"expected data of equal lengths, got lengths {lengths}")
    order = None if rng is None else np.random.default_rng(rng).permutation(lengths[0])
    start, number = 0, 0
    while start < lengths[0]:
        count = int(size(number)) if callable(size) else size
        if not is_size(count):
            raise InputError(f"expected a positive int as batch size, got {count!r}")
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
