"""A `Store`: a flat array of weights, plus parallel arrays for gradients and averages.

The arrays of optimizer states have the same layout. A store's layout never changes:
`core.allocation` builds new stores and copies everything into them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

import numpy as np

from combinet.ops.base import Ops
from combinet.storage.slots import Key, Order, Slot
from combinet.types import Array, ArrayLike, DTypeLike, Ints, Ints1d, Shape

# Reference count of an array that only one attribute holds. It depends on Python's version.
_probe = Slot.__new__(Slot)
_probe.view = np.empty(0)
_ALONE = sys.getrefcount(_probe.view)


class Stateful(Protocol):
    """The part of an optimizer that a store uses.

    `arrays` are the names of the arrays that it keeps in the layout of a store. `stores` are the
    stores that hold its state.
    """

    arrays: tuple[str, ...]
    stores: WeakSet[Store]

    def state(self, slot: Slot) -> Mapping[str, Array]:
        """Returns the arrays kept for a parameter, by name."""
        ...


class OptimizerState:
    """The state that one optimizer keeps for a store.

    `steps` counts the updates of each slot. `arrays` are laid out like the store. `by_slot` maps a
    slot's number to arrays of other shapes. `resized_at` maps a slot's number to its step count at
    the last resize.
    """

    def __init__(self, steps: Ints1d, arrays: dict[str, Array]) -> None:
        self.steps = steps
        self.arrays = arrays
        self.by_slot: dict[int, dict[str, Array]] = {}
        self.resized_at: dict[int, int] = {}

    def steps_of_averages(self) -> Ints1d:
        """Returns the number of updates of each slot's average, which restarts at a resize.

        The average moves more slowly the more updates it has seen. Without a restart, the average
        of entries that a resize has added would stay near their first values for a long time.
        """
        if not self.resized_at:
            return self.steps
        counts: Ints1d = self.steps.copy()
        for number, steps in self.resized_at.items():
            if steps < counts[number]:  # else a state with fewer steps was loaded since
                counts[number] -= steps
        return counts


class Store:
    """Flat arrays of `size` numbers in one dtype on one device. `add` makes their slots."""

    weights: Array

    def __init__(self, ops: Ops, dtype: DTypeLike) -> None:
        self.ops = ops
        self.dtype = np.dtype(dtype)
        self.size = 0
        self.gradient: Array | None = None
        self.averages: Array | None = None
        # Weak, so that the state is freed together with the optimizer.
        self.optimizer_states: WeakKeyDictionary[Stateful, OptimizerState] = WeakKeyDictionary()
        self.lock = threading.RLock()
        self._slots: list[ref[Slot]] = []  # weak: a store must not keep the slots of deleted layers

    def slots(self) -> list[Slot]:
        """Returns the slots that layers still use."""
        return [slot for weak in self._slots if (slot := weak()) is not None]

    def add(self, key: Key, shape: Shape, order: Order, ema_rate: float | None) -> Slot:
        """Adds a slot at the end. The store must not have weights yet."""
        slot = Slot(self, key, shape, order, ema_rate, len(self._slots), self.size)
        self._slots.append(ref(slot))
        self.size = slot.stop
        return slot

    def read(self, slots: Sequence[Slot]) -> tuple[Array, ...]:
        """Returns the arrays of slots. The lock prevents an update between two reads."""
        with self.lock:
            # A list and no call of `slot.value`, for speed: every pass does this for every layer.
            return tuple([s.overrides[-1].value if s.overrides else s.view for s in slots])

    def read_averages(self, slots: Sequence[Slot]) -> dict[Key, Array]:
        """Returns the averages of slots by key. Later updates do not write to these arrays."""
        with self.lock:
            flat = self.averages
            return {} if flat is None else {slot.key: slot.of(flat) for slot in slots}

    def writable(self) -> Array:
        """Returns the weights for writing in place. The caller holds the lock.

        Copy on write: a pending callback must find the weights that its pass read, and a user's
        array must not change. If either holds the weights or a view of them, the store continues
        with a copy and leaves the old array to them.
        """
        live = self.slots()
        # Passes hold the view of a slot itself. Any other view holds a reference to `weights`, as
        # each slot's view does.
        held = [slot for slot in live if sys.getrefcount(slot.view) > _ALONE]
        if held or sys.getrefcount(self.weights) > _ALONE + len(live):
            self.adopt(self.weights.copy())
        return self.weights

    def writable_averages(self) -> Array:
        """Returns the averages for writing in place, copied if anything else holds the array."""
        if self.averages is None or sys.getrefcount(self.averages) > _ALONE:
            source = self.weights if self.averages is None else self.averages
            averages: Array = source.copy()
            self.averages = averages
        return self.averages

    def adopt(self, weights: Array) -> None:
        """Replaces the weights, and points the view of every slot to them."""
        self.weights = weights
        for slot in self.slots():
            slot.view = slot.of(weights)

    def write(
        self, values: Mapping[Slot, ArrayLike], averages: Mapping[Slot, ArrayLike] | None = None
    ) -> None:
        """Sets parameters and averages. An average that is not given restarts at the new value."""
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
        """Adds to the gradient of one parameter."""
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
        """Adds row i of `gradient` to the gradient of row `rows[i]` of a table.

        With `lengths`, `rows` has one sequence of row numbers for each row of `gradient`, and row i
        is added to all rows of sequence i. The update reads `rows` again, so do not change it until
        then.
        """
        with self.lock:
            total, pending = slot.of(self.writable_gradient()), slot.grad
            rows = self.ops.asarray(rows)
            if rows.dtype.kind != "i":  # signed and unsigned numbers together would become floats
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
        """Returns the gradients of all slots, initially zeros. The caller holds the lock."""
        if self.gradient is None:
            self.gradient = self.ops.zeros((self.size,), self.dtype)
        return self.gradient

    def optimizer_state(self, optimizer: Stateful) -> OptimizerState:
        """Returns the state of an optimizer for this store, initially with zeros."""
        state = self.optimizer_states.get(optimizer)
        if state is None:
            steps: Ints1d = np.zeros(len(self._slots), dtype="int64")
            arrays = {name: self.ops.zeros((self.size,), self.dtype) for name in optimizer.arrays}
            state = self.optimizer_states[optimizer] = OptimizerState(steps, arrays)
            optimizer.stores.add(self)
        return state


def locked(slots: Iterable[Slot]) -> ExitStack:
    """Acquires the locks of all stores of these slots, for a `with` block that releases them.

    Every thread acquires them in the same order, by id. In different orders, two updates that share
    two stores could each hold one lock and wait for the other forever.
    """
    with ExitStack() as stack:
        for store in sorted({slot.store for slot in slots}, key=id):
            stack.enter_context(store.lock)
        return stack.pop_all()


def clear_gradients(slots: Sequence[Slot], *, changed: bool) -> None:
    """Discards pending gradients. `changed` says that rows without a gradient were written too.

    Sets the rows of a table that have a gradient to 0, so that the next pass need not clear the
    whole table. If other rows were written, the next pass clears it.
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
