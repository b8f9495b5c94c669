"""Batches as inputs and outputs of a graph: arrays by name."""

from typing import Any

import numpy as np

from combinet.batches.convert import list_to_ragged
from combinet.batches.levels import has_levels
from combinet.batches.padded import Padded, padded_to_ragged
from combinet.batches.ragged import Ragged
from combinet.errors import InputError, describe
from combinet.interop.onnx.graph import Graph, Sequences, Tensor, tensor_type
from combinet.storage.file_format import to_host
from combinet.types import Array


def to_arrays(batch: Any, name: str = "X") -> dict[str, Array]:
    """Converts a batch to the arrays that a graph made by `to_onnx` receives, by name.

    An array becomes `X`. Sequences (a list of arrays, Ragged or Padded) become two arrays: `X`, all
    rows in the order of the sequences, and `X_lengths`. The items of a tuple become `X_0`, `X_1`
    and so on. A list of words becomes an array of strings.

    Args:
        batch: An input or output of the model.
        name: The name that all keys begin with. Use "Y" for the names of the graph's outputs.

    Raises:
        InputError: If the batch has any other type, or several levels of sequences.

    Example:
        >>> to_arrays([np.array([1.0, 2.0]), np.array([3.0])])
        {'X': array([1., 2., 3.]), 'X_lengths': array([2, 1])}
    """
    if isinstance(batch, tuple):
        items = [to_arrays(item, f"{name}_{i}") for i, item in enumerate(batch)]
        return {key: array for item in items for key, array in item.items()}
    if has_levels(batch):
        raise InputError(f"ONNX expected one level of sequences, got {describe(batch)}")
    if isinstance(batch, list) and batch and all(isinstance(word, str) for word in batch):
        return {name: np.array(batch, dtype=object)}
    if isinstance(batch, list):
        batch = list_to_ragged(batch)
    if isinstance(batch, Padded):
        batch = padded_to_ragged(batch)
    if isinstance(batch, Ragged):
        return {name: to_host(batch.data), f"{name}_lengths": batch.lengths}
    if not hasattr(batch, "dtype"):
        raise InputError(f"ONNX expected arrays or sequences, got {describe(batch)}")
    return {name: to_host(batch)}


def tensors_like(graph: Graph, example: Any, name: str = "X") -> Any:
    """Returns a batch of tensors with the structure of the example and the names of `to_arrays`.

    All sizes are variable, except the last axis of an array with several axes.
    """
    if isinstance(example, tuple):
        return tuple(tensors_like(graph, item, f"{name}_{i}") for i, item in enumerate(example))
    tensors = []
    for key, array in to_arrays(example, name).items():
        sizes = [f"{key}_{axis}" for axis in range(array.ndim)]
        shape = [*sizes[:-1], array.shape[-1]] if array.ndim > 1 else sizes
        tensors.append(Tensor(graph, key, tensor_type(array.dtype, shape)))
    return Sequences(*tensors) if len(tensors) == 2 else tensors[0]


def tensors_of(batch: Any) -> list[Tensor]:
    """Returns the tensors of a batch, in the order of `to_arrays`."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for item in batch for tensor in tensors_of(item)]
