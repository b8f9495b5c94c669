"""Batches as the inputs and outputs of a graph: arrays by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.batches.convert import list_to_ragged
from combinet.batches.padded import Padded, padded_to_ragged
from combinet.batches.ragged import Ragged
from combinet.errors import InputError, describe
from combinet.interop.onnx.graph import Graph, Sequences, Tensor, tensor_type
from combinet.storage.file_format import to_host
from combinet.types import Array


def to_arrays(batch: Any, name: str = "X") -> dict[str, Array]:
    """The arrays by which a graph of `to_onnx` knows a batch, by the names of its inputs.

    An array is `X`. Sequences, as a list of arrays, Ragged or Padded, are two: `X`, all rows in
    the order in which the sequences were given, and `X_lengths`. The items of a tuple are `X_0`,
    `X_1` and so on. A list of words is an array of strings. With the name "Y" it is what the graph
    gives for the output. Raises InputError for anything else.

    Example:
        >>> to_arrays([np.array([1.0, 2.0]), np.array([3.0])])
        {'X': array([1., 2., 3.]), 'X_lengths': array([2, 1])}
    """
    if isinstance(batch, tuple):
        items = [to_arrays(item, f"{name}_{i}") for i, item in enumerate(batch)]
        return {key: array for item in items for key, array in item.items()}
    if isinstance(batch, list) and batch and all(isinstance(word, str) for word in batch):
        return {name: np.array(batch, dtype=object)}
    if isinstance(batch, list):
        batch = list_to_ragged(batch)
    if isinstance(batch, Padded):
        batch = padded_to_ragged(batch)
    if isinstance(batch, Ragged):
        return {name: to_host(batch.data), f"{name}_lengths": batch.lengths}
    if not hasattr(batch, "dtype"):
        raise InputError(f"ONNX has no inputs for {describe(batch)}")
    return {name: to_host(batch)}


def tensors_like(graph: Graph, example: Any, name: str = "X") -> Any:
    """A batch like the example, of tensors with the names of `to_arrays`.

    Only the last axis of an array with several has the example's size.
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
    """The tensors of a batch, in the order of `to_arrays`."""
    if isinstance(batch, Tensor):
        return [batch]
    return [tensor for item in batch for tensor in tensors_of(item)]
