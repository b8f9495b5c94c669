"""Gradients are checked against the output that they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np

from combinet.batches.padded import Padded, given_lengths, same_sequences
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, rebuild
from combinet.errors import CombinetError, DimensionError, InputError, describe
from combinet.types import is_array


def match_gradient(Y: object, dY: object) -> object:
    """DY in the dtype of Y if that is of floats, its form and shapes checked.

    `Y` may be the output itself or its `spec_of`. An item of a tuple may have none: None. Raises
    InputError or DimensionError, with the number of the item that is wrong.
    """
    if isinstance(Y, list | tuple):
        if not isinstance(dY, list | tuple) or len(dY) != len(Y):
            raise InputError(f"the gradient of a {describe(Y)} is like it, not {describe(dY)}")
        matched: list[Any] = []
        try:
            for y, d in zip(Y, dY, strict=True):
                none = d is None and isinstance(Y, tuple)
                matched.append(None if none else match_gradient(y, d))
        except CombinetError as error:
            error.message = f"item {len(matched)}: {error.message}"
            raise
        return rebuild(Y, matched)
    if isinstance(Y, Ragged | Padded):
        if not isinstance(dY, Ragged | Padded) or type(dY) is not type(Y):
            raise InputError(f"the gradient of {type(Y).__name__} is one too, not {describe(dY)}")
        if not same_sequences(Y, dY):
            raise DimensionError(
                f"the gradient's sequences have the lengths {given_lengths(dY).tolist()}, the "
                f"output's {given_lengths(Y).tolist()}"
            )
        data = match_gradient(Y.data, dY.data)
        return dY if data is dY.data else map_arrays(dY, lambda _: data)
    kind: Any = Y.kind if isinstance(Y, ArraySpec) else type(Y)
    if not is_array(Y):
        return dY
    if not isinstance(dY, kind) or not is_array(dY) or dY.dtype.kind != "f":
        raise InputError(
            f"the gradient of a {describe(Y)} is a float {kind.__module__} {kind.__name__}, "
            f"not {describe(dY)}"
        )
    if tuple(dY.shape) != tuple(Y.shape):
        raise DimensionError(f"the gradient of {describe(Y)} has its shape, not {describe(dY)}")
    return dY if dY.dtype == Y.dtype or Y.dtype.kind != "f" else dY.astype(Y.dtype)


class ArraySpec:
    """What is left of an array when its numbers are gone: enough to check a gradient by."""

    __slots__ = ("dtype", "kind", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], kind: type) -> None:
        self.shape = shape
        self.dtype = dtype
        self.kind = kind

    def __len__(self) -> int:
        return self.shape[0]


def spec_of(Y: object) -> object:
    """The form of a batch without its numbers, so that nobody keeps those for the form's sake."""
    return map_arrays(
        Y, lambda y: ArraySpec(tuple(y.shape), y.dtype, type(y)) if hasattr(y, "dtype") else y
    )
