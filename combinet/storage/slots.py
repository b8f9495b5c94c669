"""One parameter in a store: its place, its pending gradient, and the values that override it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from combinet.types import Array, Ints, Shape

if TYPE_CHECKING:
    from combinet.storage.store import Store

Order: TypeAlias = Literal["C", "F"]
Key: TypeAlias = tuple[int, str]


class PendingGradient:
    """What has been added to a parameter's gradient since the last update.

    `count` is the number of gradients, `rows` the rows of a table that they name, None if one
    of them covers the whole parameter. `is_zero` says that the store's gradient holds only zeros
    while none is pending.
    """

    __slots__ = ("count", "is_zero", "rows")

    def __init__(self) -> None:
        self.count = 0
        self.is_zero = True
        self.rows: list[Ints] | None = None


class Override(NamedTuple):
    """A value that passes read instead of a parameter inside a `use_params` block."""

    block: object
    value: Array


class Slot:
    """The place of one parameter: a stretch of a store, `view` of its weights.

    `key` is the id of the layer and the parameter's name, `number` the slot's position among those
    of the store. `ema_rate` is the rate of a buffer, None for a trained parameter. Of `overrides`
    the last one counts.
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
        """The array that a pass reads."""
        return self.overrides[-1].value if self.overrides else self.view

    def override(self, block: object, value: Array) -> None:
        """Let passes read `value` until `restore`; the caller holds the store's lock."""
        self.overrides = (*self.overrides, Override(block, value))

    def restore(self, block: object) -> None:
        """End the override of a block, not those of others; the caller holds the store's lock."""
        self.overrides = tuple(each for each in self.overrides if each.block is not block)

    def of(self, flat: Array) -> Array:
        """This parameter's part of an array that is laid out as the store."""
        part = flat[self.start : self.stop]
        return part.reshape(self.shape) if self.order == "C" else part.reshape(self.shape[::-1]).T
