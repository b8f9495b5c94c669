"""A `Store`: a flat array of weights, plus parallel arrays for gradients and averages.

The arrays of each optimizer's state have the same layout. It never changes: `allocation` builds
new stores and copies everything over.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

import numpy as np

from combinet.ops.base import Ops
from combinet.storage.slots import Key, Order, Slot
from combinet.types import Array, Ints, Ints1d, Shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

# What sys.getrefcount says of an attribute without other references; it differs between Pythons.
_probe = Slot.__new__(Slot)
_probe.view = np.empty(0)
_ALONE = sys.getrefcount(_probe.view)


class Stateful(Protocol):
    """What a store knows of an optimizer: the stores and arrays that it names, and those of a slot.

    `arrays` are the names of what it keeps in the layout of the store.
    """

    arrays: tuple[str, ...]
    stores: WeakSet[Store]

    def state(self, slot: Slot) -> Mapping[str, Array]:
        """The arrays kept for a parameter, by name."""
        ...


class OptimizerState:
    """What one optimizer keeps of a store: the number of steps of each slot, and arrays by name.

    `arrays` are laid out as the store; `by_slot` maps a slot's number to arrays of other shapes.
    `resized_at` maps a slot's number to the step count at its last resize.
    """

    def __init__(self, steps: Ints1d, arrays: dict[str, Array]) -> None:
        self.steps = steps
        self.arrays = arrays
        self.by_slot: dict[int, dict[str, Array]] = {}
        self.resized_at: dict[int, int] = {}

    def steps_of_averages(self) -> Ints1d:
        """The updates of each slot's average: its steps, or those since it was resized."""
        if not self.resized_at:
            return self.steps
        counts: Ints1d = self.steps.copy()
        for number, steps in self.resized_at.items():
            if steps < counts[number]:  # otherwise other steps have been loaded since
                counts[number] -= steps
        return counts


class Store:
    """Flat arrays of `size` numbers on one device, with slots that `add` makes."""

    weights: Array

    def __init__(self, ops: Ops, dtype: DTypeLike) -> None:
        self.ops = ops
        self.dtype = np.dtype(dtype)
        self.size = 0
        self.gradient: Array | None = None
        self.averages: Array | None = None
        # Weak, so that the state goes when the optimizer does.
        self.optimizer_states: WeakKeyDictionary[Stateful, OptimizerState] = WeakKeyDictionary()
        self.lock = threading.RLock()
        self._slots: list[ref[Slot]] = []  # weak: a store must not keep layers' slots alive

    def slots(self) -> list[Slot]:
        """The slots that a layer still has."""
        return [slot for weak in self._slots if (slot := weak()) is not None]

    def add(self, key: Key, shape: Shape, order: Order, ema_rate: float | None) -> Slot:
        """A slot at the end, before the store has weights."""
        slot = Slot(self, key, shape, order, ema_rate, len(self._slots), self.size)
        self._slots.append(ref(slot))
        self.size = slot.stop
        return slot

    def read(self, slots: Sequence[Slot]) -> tuple[Array, ...]:
        """The arrays of slots, all of one moment: the lock keeps an update from coming between."""
        with self.lock:
            # Neither a generator nor `slot.value`: this is done for each layer of each pass.
            return tuple([s.overrides[-1].value if s.overrides else s.view for s in slots])

    def read_averages(self, slots: Sequence[Slot]) -> dict[Key, Array]:
        """The averages of slots, all of one moment: no update writes to these arrays."""
        with self.lock:
            flat = self.averages
            return {} if flat is None else {slot.key: slot.of(flat) for slot in slots}

    def writable(self) -> Array:
        """The weights, safe to write in place; the caller holds the lock.

        If anything but the slots holds the array or a view of it, such as a pending callback, it
        keeps that array, and the store goes on with a copy.
        """
        live = self.slots()
        held = [slot for slot in live if sys.getrefcount(slot.view) > _ALONE]
        if held or sys.getrefcount(self.weights) > _ALONE + len(live):
            self.adopt(self.weights.copy())
        return self.weights

    def writable_averages(self) -> Array:
        """The averages, safe to write in place: arrays that others hold stay as they are."""
        if self.averages is None or sys.getrefcount(self.averages) > _ALONE:
            source = self.weights if self.averages is None else self.averages
            averages: Array = source.copy()
            self.averages = averages
        return self.averages

    def adopt(self, weights: Array) -> None:
        """Replace the weights; every slot views them."""
        self.weights = weights
        for slot in self.slots():
            slot.view = slot.of(weights)

    def write(
        self, values: Mapping[Slot, ArrayLike], averages: Mapping[Slot, ArrayLike] | None = None
    ) -> None:
        """Set parameters. An average that exists and is not given starts again at the value."""
        averages = averages or {}
        with self.lock:
            weights = self.writable()
            for slot, value in values.items():
                slot.of(weights)[...] = self.ops.asarray(value, self.dtype)
            if averages or self.averages is not None:
                means = self.writable_averages()
                for slot, value in values.items():
                    mean = averages.get(slot, value)
                    slot.of(means)[...] = self.ops.asarray(mean, self.dtype)

    def add_gradient(self, slot: Slot, gradient: Array) -> None:
        """Add to the gradient of one parameter."""
        with self.lock:
            total, pending = slot.of(self.writable_gradient()), slot.grad
            gradient = self.ops.asarray(gradient, self.dtype)
            if pending.count:
                total += gradient
            else:
                total[...] = gradient
            pending.count += 1
            pending.rows, pending.is_zero = None, False

    def add_gradient_rows(
        self, slot: Slot, rows: Ints, gradient: Array, lengths: Ints1d | None = None
    ) -> None:
        """Add row i of `gradient` to the gradient of each of the rows rows[i] of a table.

        With `lengths`, add it to each of the rows that sequence i of them names. The update reads
        `rows` again: do not change them before it.
        """
        with self.lock:
            total, pending = slot.of(self.writable_gradient()), slot.grad
            rows = self.ops.asarray(rows)
            if rows.dtype.kind != "i":  # with signed ones these would become floats
                rows = rows.astype("int64")
            if not pending.count:
                if not pending.is_zero:
                    total[...] = 0
                pending.rows, pending.is_zero = [], False
            pending.count += 1
            if pending.rows is not None:
                pending.rows.append(rows)
            gradient = self.ops.asarray(gradient, self.dtype)
            if lengths is None:
                self.ops.scatter_add(total, rows, gradient)
            else:
                self.ops.scatter_bags(total, rows, lengths, gradient)

    def writable_gradient(self) -> Array:
        """The gradients of all slots, zeros until the first is added; the caller holds the lock."""
        if self.gradient is None:
            self.gradient = self.ops.zeros((self.size,), self.dtype)
        return self.gradient

    def optimizer_state(self, optimizer: Stateful) -> OptimizerState:
        """What `optimizer` keeps of this store: the arrays that it names, initially 0."""
        state = self.optimizer_states.get(optimizer)
        if state is None:
            steps: Ints1d = np.zeros(len(self._slots), dtype="int64")
            arrays = {name: self.ops.zeros((self.size,), self.dtype) for name in optimizer.arrays}
            state = self.optimizer_states[optimizer] = OptimizerState(steps, arrays)
            optimizer.stores.add(self)
        return state


def locked(slots: Iterable[Slot]) -> ExitStack:
    """The locks of all stores of these slots, for `with`, in an order that avoids deadlocks."""
    with ExitStack() as stack:
        for store in sorted({slot.store for slot in slots}, key=id):
            stack.enter_context(store.lock)
        return stack.pop_all()


def clear_gradients(slots: Sequence[Slot], *, changed: bool) -> None:
    """Discard pending gradients; `changed` says that more than the added rows was written to.

    Of a table the rows that were named are set to 0, so that the next pass need not clear it.
    """
    for slot in slots:
        pending = slot.grad
        pending.count = 0
        if pending.rows is None:
            continue
        if not changed:
            gradient = slot.of(slot.store.writable_gradient())
            for rows in pending.rows:
                slot.store.ops.set_rows(gradient, rows, 0)
            pending.is_zero = True
        pending.rows = None
