"""Slots: the place of a parameter in a store, its pending gradient, and its overrides."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from combinet.types import Array, Ints, Shape

if TYPE_CHECKING:
    from combinet.storage.store import Store

Order: TypeAlias = Literal["C", "F"]
Key: TypeAlias = tuple[int, str]


class PendingGradient:
    """Counts the gradients of a parameter since the last update. The store holds their sum.

    `count` is the number of gradients added. `rows` are the rows of a table that they cover, or
    None if one of them covers the whole parameter. While `count` is 0, `is_zero` says whether the
    sum is all zeros, so that gradients of rows can be added without clearing it first.
    """

    __slots__ = ("count", "is_zero", "rows")

    def __init__(self) -> None:
        self.count = 0
        self.is_zero = True
        self.rows: list[Ints] | None = None


class Override(NamedTuple):
    """A value that passes read instead of a parameter's weights inside a `use_params` block."""

    block: object
    value: Array


class Slot:
    """The place of one parameter in a store. `view` is the view of its weights.

    `key` is the id of the layer and the parameter's name. `number` is the position of the slot in
    its store. `ema_rate` is the rate of a buffer, or None for a trained parameter. The last of
    `overrides` is in effect.
    """

    __slots__ = (
        "__weakref__", "ema_rate", "grad", "key", "number", "order", "overrides", "shape", "start",
        "stop", "store", "view",
    )  # fmt: skip

    view: Array

    def __init__(
        self, store: Store, key: Key, shape: Shape, order: Order, ema_rate: float | None,
        number: int, start: int,
    ) -> None:  # fmt: skip
        self.store = store
        self.key = key
        self.shape = shape
        self.order = order
        self.ema_rate = ema_rate
        self.number = number
        self.start = start
        self.stop = start + prod(shape)
        self.grad = PendingGradient()
        self.overrides: tuple[Override, ...] = ()

    @property
    def value(self) -> Array:
        """The array that a pass reads: the last override, or the weights without one."""
        return self.overrides[-1].value if self.overrides else self.view

    def override(self, block: object, value: Array) -> None:
        """Makes passes read `value` until `restore`. The caller holds the store's lock."""
        self.overrides = (*self.overrides, Override(block, value))

    def restore(self, block: object) -> None:
        """Removes the overrides of one block only. The caller holds the store's lock."""
        self.overrides = tuple(each for each in self.overrides if each.block is not block)

    def of(self, flat: Array) -> Array:
        """Returns this parameter's part of an array that is laid out like the store."""
        part = flat[self.start : self.stop]
        return part.reshape(self.shape) if self.order == "C" else part.reshape(self.shape[::-1]).T
