"""`Padded` and PyTorch's `PackedSequence`, whose `batch_sizes` is `size_at_t`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence

from combinet.data import Padded
from combinet.errors import InputError
from combinet.ops import Ops
from combinet.ops.sequence import positions
from combinet.types import Ints1d


def packed_rows(X: Padded, ops: Ops) -> Any:
    """The real rows of a padded batch, (total, ...), step after step, as PyTorch packs them.

    Raises InputError for an empty sequence: PyTorch has none.

    Example:
        >>> from combinet import NumpyOps
        >>> X = Padded(np.array([[1, 4], [2, 5], [3, 0]]), [2, 2, 1], [3, 2], [0, 1])
        >>> packed_rows(X, NumpyOps())
        array([1, 4, 2, 5, 3])
    """
    if not (X.lengths.all() and X.size_at_t.all()):
        raise InputError(f"PyTorch packs sequences of a row or more, not {X.lengths.tolist()}")
    return ops.unpad(X.data.reshape(-1, *X.data.shape[2:]), _places(X.size_at_t))


def to_packed(X: Padded, rows: torch.Tensor) -> PackedSequence:
    """The packed sequence of a padded batch with these packed rows."""
    inverse = np.empty_like(X.indices)
    inverse[X.indices] = np.arange(len(X.indices))
    order, back = (torch.as_tensor(each, device=rows.device) for each in (X.indices, inverse))
    return PackedSequence(rows, torch.as_tensor(X.size_at_t), order, back)


def from_packed(packed: PackedSequence, rows: Any, ops: Ops) -> Padded:
    """The padded batch of a packed sequence whose rows are this array.

    On a GPU this waits for the order of the sequences, which PyTorch keeps there.
    """
    sizes: Ints1d = packed.batch_sizes.numpy()
    longest, n = len(sizes), int(sizes[0])
    order = packed.sorted_indices
    indices = np.arange(n) if order is None else order.cpu().numpy()
    lengths = (sizes[:, None] > np.arange(n)).sum(axis=0)
    data = ops.pad(rows, _places(sizes), longest * n)
    return Padded.known(data.reshape(longest, n, *rows.shape[1:]), sizes, lengths, indices)


def _places(sizes: Ints1d) -> Ints1d:
    """Where in (longest * sequences) the rows are that step after step has."""
    n_before: Ints1d = np.arange(len(sizes)) * sizes[0]
    return np.repeat(n_before, sizes) + positions(sizes)
