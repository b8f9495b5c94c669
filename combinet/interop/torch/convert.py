"""Conversion between arrays and tensors by DLPack: both view the same memory.

Batches may be nested: tuples, lists and dicts of arrays, `Padded`, `Ragged` or other values. Other
values pass unchanged. In PyTorch, `Padded` becomes `PackedSequence`, and `Ragged` stays Ragged with
a tensor as data.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.dlpack import from_dlpack

from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.errors import InputError, describe
from combinet.ops.base import Ops


def to_tensor(array: Any) -> torch.Tensor:
    """Returns a tensor that views the memory of an array.

    PyTorch supports neither read-only arrays nor negative strides, so such an array is copied.

    Example:
        >>> array = np.zeros(2)
        >>> _ = to_tensor(array).add_(1.0)
        >>> array
        array([1., 1.])
    """
    if isinstance(array, np.ndarray) and not (
        array.flags.writeable and all(step >= 0 for step in array.strides)
    ):
        array = array.copy()
    return from_dlpack(array)


def to_array(tensor: torch.Tensor, ops: Ops) -> Any:
    """Returns an array of the backend that views the memory of a tensor on the same device.

    Example:
        >>> from combinet import NumpyOps
        >>> tensor = torch.zeros(2)
        >>> to_array(tensor, NumpyOps())[0] = 1.0
        >>> tensor
        tensor([1., 0.])
    """
    return ops.xp.from_dlpack(tensor.detach())


def map_tree(X: Any, function: Callable[[Any], Any]) -> Any:
    """Applies a function to every leaf of nested tuples, lists and dicts.

    In `Ragged` the function is applied to the data; if it returns None, the Ragged becomes None.
    Named tuples become tuples, and other mappings, such as the outputs of Hugging Face's models,
    become dicts.

    Example:
        >>> map_tree({"a": (1, [2])}, lambda x: x + 1)
        {'a': (2, [3])}
    """
    if isinstance(X, dict):
        return {key: map_tree(x, function) for key, x in X.items()}
    if isinstance(X, Ragged):
        data = map_tree(X.data, function)
        return None if data is None else Ragged.unchecked(data, X.lengths)
    if not _is_sequence(X):
        return function(X)
    items = [map_tree(x, function) for x in X]
    return items if isinstance(X, list) else tuple(items)


def pairs(Y: Any, dY: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns the pairs of tensors in the same place of two nested batches.

    `dY` may have None in any place. Raises InputError if the structures differ.

    Example:
        >>> a, b, c = torch.tensor([1, 2, 3])
        >>> pairs({"a": a, "b": (b, 7)}, {"a": c, "b": (None, 7)})
        [(tensor(1), tensor(3))]
    """
    if dY is None:
        return []
    items, gradients = _items(Y), _items(dY)
    if items is None:
        y, dy = tensor_of(Y), tensor_of(dY)
        return [] if y is None or dy is None else [(y, dy)]
    if gradients is None or gradients.keys() != items.keys():
        form = f"{type(Y).__name__} of {[*items]}"
        raise InputError(f"expected a gradient in the form of Y, a {form}, got {describe(dY)}")
    return [pair for key in items for pair in pairs(items[key], gradients[key])]


def _items(X: Any) -> Any:
    """Returns the items of a dict, list or tuple by key or index; None for any other value."""
    return X if isinstance(X, dict) else dict(enumerate(X)) if _is_sequence(X) else None


def _is_sequence(X: Any) -> bool:
    return isinstance(X, list | tuple) and not isinstance(X, PackedSequence)


def to_tensors(X: Any, ops: Ops) -> Any:
    """Returns a nested batch with its arrays converted to tensors."""

    def convert(x: Any) -> Any:
        if isinstance(x, Padded):
            return _to_packed(x, to_tensor(x.data))
        return to_tensor(x) if ops.is_array(x) else x

    return map_tree(X, convert)


def to_arrays(X: Any, ops: Ops, dtype: Any = None) -> Any:
    """Returns a nested batch with its tensors converted to arrays.

    float16 and bfloat16, which combinet does not compute with, become `dtype`, a dtype of PyTorch.
    """

    def convert(x: Any) -> Any:
        tensor = tensor_of(x)
        if tensor is None:
            return x
        short = tensor.dtype in (torch.float16, torch.bfloat16)
        tensor = tensor.detach().to(dtype) if short else tensor.detach()
        packed = isinstance(x, PackedSequence)
        return _from_packed(x, tensor, ops) if packed else to_array(tensor, ops)

    return map_tree(X, convert)


def tensor_of(x: Any) -> torch.Tensor | None:
    """Returns the tensor in a leaf of a nested batch, or None."""
    data = x.data if isinstance(x, PackedSequence | Ragged) else x
    return data if isinstance(data, torch.Tensor) else None


def tensors_in(X: Any) -> list[torch.Tensor]:
    """Returns all tensors of a nested batch, in order."""
    found: list[torch.Tensor | None] = []
    map_tree(X, lambda x: found.append(tensor_of(x)))
    return [tensor for tensor in found if tensor is not None]


def with_tensors(X: Any, function: Callable[[torch.Tensor], Any], *, keep: bool = True) -> Any:
    """Returns a nested batch with each tensor replaced by `function(tensor)`, which may be None.

    Other values stay, or become None if `keep` is False.
    """

    def replaced(x: Any) -> Any:
        tensor = tensor_of(x)
        if tensor is None:
            return x if keep else None
        new = function(tensor)
        packed = isinstance(x, PackedSequence) and new is not None
        return x._replace(data=new) if packed else new

    return map_tree(X, replaced)


def _to_packed(X: Padded, data: torch.Tensor) -> PackedSequence:
    """Returns the packed sequence for a padded batch and its data as a tensor.

    Raises InputError if a sequence is empty, because PyTorch cannot pack empty sequences.

    Example:
        >>> X = Padded(np.array([[1, 4], [2, 5], [3, 0]]), [2, 2, 1], [3, 2], [0, 1])
        >>> _to_packed(X, torch.as_tensor(X.data)).data
        tensor([1, 4, 2, 5, 3])
    """
    if not (X.lengths.all() and X.size_at_t.all()):
        raise InputError(f"PyTorch expected no empty sequence or step, got one in {describe(X)}")
    packed = pack_padded_sequence(data, torch.as_tensor(X.lengths))
    order = torch.as_tensor(X.indices, device=data.device)
    return PackedSequence(packed.data, packed.batch_sizes, order)


def _from_packed(packed: PackedSequence, rows: torch.Tensor, ops: Ops) -> Padded:
    """Returns the padded batch for a packed sequence and its rows as a tensor.

    On a GPU this synchronizes the device, because PyTorch stores the order of the sequences there.
    """
    data, lengths = pad_packed_sequence(PackedSequence(rows, packed.batch_sizes))
    order = packed.sorted_indices
    indices = np.arange(len(lengths)) if order is None else order.cpu().numpy()
    sizes = packed.batch_sizes.numpy()
    return Padded.unchecked(to_array(data, ops), sizes, lengths.numpy(), indices)
