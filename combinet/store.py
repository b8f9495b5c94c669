"""Where parameters live: one flat array of weights for a model, with arrays like it beside it.

A `Store` holds the weights of many layers in one contiguous array, and in others, laid out alike,
their gradients, running averages and whatever each optimizer remembers. A `Slot` is the place of
one parameter in it. Layouts never change: `lay_out` makes a new store and carries all over.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any, Literal, NamedTuple
from weakref import WeakKeyDictionary, ref

import numpy as np

from combinet.ops import Ops
from combinet.types import Array, Ints1d, Shape

Order = Literal["C", "F"]
Key = tuple[int, str]
Moved = Mapping[int, tuple[Ints1d, Ints1d]]  # by axis: indices before, and where they are after


class Slot:
    """The place of one parameter: `key` (id of its layer, name) and a stretch of a store."""

    __slots__ = (
        "__weakref__", "borrowed", "clean", "key", "loans", "number", "order", "own", "rate",
        "rows", "shape", "start", "stop", "store", "touched",
    )  # fmt: skip

    def __init__(
        self, store: Store, key: Key, shape: Shape, order: Order, rate: float | None, start: int
    ) -> None:
        self.store = store
        self.key = key
        self.shape = shape
        self.order = order
        self.rate = rate  # of a statistic; None for what is trained
        self.start = start
        self.stop = start + prod(shape)
        self.number = 0
        self.touched = 0  # how many gradients have been summed and wait
        self.rows: list[Any] | None = None  # where, if all of them were of rows of a table
        self.clean = True  # whether nothing but 0 is left in the store's gradient, if none waits
        self.own: Any = None  # the view of the store's weights
        self.borrowed: Any = None  # what stands in its place inside use_params: the last loan
        self.loans: tuple[tuple[object, Any], ...] = ()  # of all such blocks, by block

    @property
    def value(self) -> Any:
        """The array that a pass reads."""
        return self.own if self.borrowed is None else self.borrowed

    def lend(self, block: object, value: Any) -> None:
        """Let `value` stand in the parameter's place; the caller has the store's lock."""
        self.loans = (*self.loans, (block, value))
        self.borrowed = value

    def take_back(self, block: object) -> None:
        """End what `lend` began; what other blocks have lent stays. The caller has the lock."""
        self.loans = tuple(loan for loan in self.loans if loan[0] is not block)
        self.borrowed = self.loans[-1][1] if self.loans else None

    def of(self, flat: Any) -> Any:
        """This parameter's part of an array that is laid out as the store."""
        part = flat[self.start : self.stop]
        return part.reshape(self.shape) if self.order == "C" else part.reshape(self.shape[::-1]).T


# What sys.getrefcount says of an attribute that nobody else holds; it differs between Pythons.
_probe = Slot.__new__(Slot)
_probe.own = np.empty(0)
_ALONE = sys.getrefcount(_probe.own)


class Memory:
    """What one optimizer keeps beside a store: the steps of each slot, and arrays by name.

    `arrays` are laid out as the store; `parts`, by a slot's number first, have shapes of their own.
    `began` are the steps, by a slot's number, after which it was resized.
    """

    def __init__(self, steps: Ints1d) -> None:
        self.steps = steps
        self.arrays: dict[str, Any] = {}
        self.parts: dict[int, dict[str, Any]] = {}
        self.began: dict[int, int] = {}

    def averaged(self) -> Ints1d:
        """How often each slot's average has moved: its steps, or those since it was resized."""
        if not self.began:
            return self.steps
        counts: Ints1d = self.steps.copy()
        for number, began in self.began.items():
            if began < counts[number]:  # otherwise other steps have been loaded since
                counts[number] -= began
        return counts


class Store:
    """Flat arrays of `size` numbers on one device. Made by `lay_out`."""

    def __init__(self, ops: Ops, dtype: Any) -> None:
        self.ops = ops
        self.dtype = np.dtype(dtype)
        self.size = 0
        self.weights: Any = None
        self.gradient: Any = None
        self.averages: Any = None
        # Keyed by optimizer; weakly, so that its moments go when the optimizer does.
        self.memories: WeakKeyDictionary[Any, Memory] = WeakKeyDictionary()
        self.lock = threading.RLock()
        self._slots: list[ref[Slot]] = []  # weak: a store must not keep layers' slots alive

    def slots(self) -> Iterator[Slot]:
        """The slots that a layer still has."""
        return (slot for slot in (weak() for weak in self._slots) if slot is not None)

    def add(self, key: Key, shape: Shape, order: Order, rate: float | None) -> Slot:
        """A slot at the end; for `lay_out`, before there are arrays."""
        slot = Slot(self, key, shape, order, rate, self.size)
        slot.number = len(self._slots)
        self._slots.append(ref(slot))
        self.size = slot.stop
        return slot

    def read(self, slots: Sequence[Slot]) -> tuple[Any, ...]:
        """The arrays of slots, all of one moment: the lock keeps an update from coming between."""
        with self.lock:
            # Neither a generator nor `slot.value`: this is done for each layer of each pass.
            return tuple([s.own if s.borrowed is None else s.borrowed for s in slots])

    def read_averages(self, slots: Sequence[Slot]) -> dict[Key, Any]:
        """The averages of slots, all of one moment: no update writes to what is given here."""
        with self.lock:
            flat = self.averages
            return {} if flat is None else {slot.key: slot.of(flat) for slot in slots}

    def writable(self) -> Any:
        """The weights, safe to write in place; the caller has the lock.

        If anyone but the slots holds the array or a view of it, such as a pending callback, they
        keep it, and the store goes on with a copy.
        """
        live = [slot for weak in self._slots if (slot := weak()) is not None]
        held = [slot for slot in live if sys.getrefcount(slot.own) > _ALONE]
        if held or sys.getrefcount(self.weights) > _ALONE + len(live):
            self.adopt(self.weights.copy())
        return self.weights

    def writable_averages(self) -> Any:
        """The averages, safe to write in place: those that somebody holds stay as they are."""
        if self.averages is None or sys.getrefcount(self.averages) > _ALONE:
            self.averages = (self.weights if self.averages is None else self.averages).copy()
        return self.averages

    def adopt(self, weights: Any) -> None:
        """Take `weights` for the weights; every slot views them."""
        self.weights = weights
        for slot in self.slots():
            slot.own = slot.of(weights)

    def write(self, slot: Slot, value: Any) -> None:
        """Set one parameter; its average, if there is one, starts again there."""
        with self.lock:
            value = self.ops.asarray(value, self.dtype)
            slot.of(self.writable())[...] = value
            if self.averages is not None:
                slot.of(self.writable_averages())[...] = value

    def add_gradient(self, slot: Slot, gradient: Any) -> None:
        """Add to the gradient of one parameter."""
        with self.lock:
            waiting = self._gradient_of(slot)
            gradient = self.ops.asarray(gradient, self.dtype)
            if slot.touched:
                waiting += gradient
            else:
                waiting[...] = gradient
            slot.touched += 1
            slot.rows, slot.clean = None, False

    def add_gradient_rows(
        self, slot: Slot, rows: Any, gradient: Any, lengths: Ints1d | None = None
    ) -> None:
        """Add to the gradients of rows of a table: row i of `gradient` to each of rows[i].

        With `lengths`, to each of the rows that sequence i of them names. `rows` are read again in
        the update: until then nobody may change them.
        """
        with self.lock:
            waiting, rows = self._gradient_of(slot), self.ops.asarray(rows)
            if rows.dtype.kind != "i":  # with signed ones these would become floats
                rows = rows.astype("int64")
            if not slot.touched:
                if not slot.clean:
                    waiting[...] = 0
                slot.rows, slot.clean = [], False
            slot.touched += 1
            if slot.rows is not None:
                slot.rows.append(rows)
            gradient = self.ops.asarray(gradient, self.dtype)
            if lengths is None:
                self.ops.scatter_add(waiting, rows, gradient)
            else:
                self.ops.scatter_bags(waiting, rows, lengths, gradient)

    def _gradient_of(self, slot: Slot) -> Any:
        if self.gradient is None:
            self.gradient = self.ops.zeros((self.size,), self.dtype)
        return slot.of(self.gradient)

    def memory(self, optimizer: Any) -> Memory:
        """What `optimizer` keeps of this store, empty at first."""
        if optimizer not in self.memories:
            self.memories[optimizer] = Memory(np.zeros(len(self._slots), dtype="int64"))
            optimizer.stores.add(self)
        return self.memories[optimizer]


def locked(slots: Iterable[Slot]) -> ExitStack:
    """The locks of all stores of these slots, for `with`; whoever takes several takes them so."""
    with ExitStack() as stack:
        for store in sorted({slot.store for slot in slots}, key=id):
            stack.enter_context(store.lock)
        return stack.pop_all()


def clear_gradients(slots: Sequence[Slot], *, changed: bool) -> None:
    """Forget what has been applied; `changed`: it was written to beyond what was added.

    Of a table the rows that were named are set to 0, so that the next pass finds it clean.
    """
    for slot in slots:
        slot.touched = 0
        if slot.rows is None:
            continue
        if not changed:
            for rows in slot.rows:
                slot.store.ops.put_rows(slot.of(slot.store.gradient), rows, 0)
            slot.clean = True
        slot.rows = None


class Piece(NamedTuple):
    """A parameter to be laid out: a value, over which the contents of an old slot move."""

    key: Key
    shape: Shape
    order: Order
    rate: float | None
    value: Any = None
    old: Slot | None = None
    moved: Moved = {}  # noqa: RUF012


def lay_out(pieces: Sequence[Piece], ops: Ops, dtype: Any, *, memories: bool = True) -> list[Slot]:
    """Slots for all pieces in a new store; what they come from is unchanged.

    Statistics come last, so that what is trained stays together. What a piece's old slot has
    (weights, a waiting gradient, average, and with `memories` what optimizers keep) goes along,
    to another device too. In a new shape the overlap stays, from index 0 on each axis, or as
    `moved` says, and the rest is 0, or as in the piece's value.
    """
    pieces = sorted(pieces, key=lambda piece: piece.rate is not None)
    store = Store(ops, dtype)
    slots = [store.add(piece.key, piece.shape, piece.order, piece.rate) for piece in pieces]
    moves = [
        (piece.old, slot, piece.moved)
        for piece, slot in zip(pieces, slots, strict=True)
        if piece.old is not None
    ]
    with ops.on_device():
        weights = ops.zeros((store.size,), store.dtype)
        for piece, slot in zip(pieces, slots, strict=True):
            if piece.value is not None:
                slot.of(weights)[...] = ops.asarray(piece.value, store.dtype)
        for old, slot, moved in moves:
            _carry(old.own, slot.of(weights), moved, ops)
        store.adopt(weights)
        if any(old.touched for old, _, _ in moves):
            store.gradient = ops.zeros((store.size,), store.dtype)
        for old, slot, moved in moves:
            if old.touched:
                _carry(old.of(old.store.gradient), slot.of(store.gradient), moved, ops)
                slot.touched, slot.clean = old.touched, False
        if any(old.store.averages is not None for old, _, _ in moves):
            store.averages = weights.copy()
        for old, slot, moved in moves:
            if old.store.averages is not None:
                _carry(old.of(old.store.averages), slot.of(store.averages), moved, ops)
            for optimizer, memory in old.store.memories.items() if memories else ():
                if steps := int(memory.steps[old.number]):
                    new = store.memory(optimizer)
                    new.steps[slot.number] = steps
                    # An average in a new shape counts from there: a late one would hardly follow.
                    if old.shape != slot.shape:
                        new.began[slot.number] = steps
                    elif old.number in memory.began:
                        new.began[slot.number] = memory.began[old.number]
                    _carry_kept(optimizer.kept(old), old, optimizer.kept(slot), moved, ops)
    return slots


def _carry(source: Array, target: Array, moved: Moved, ops: Ops) -> None:
    """Copy the part that both shapes have."""
    shared = [min(a, b) for a, b in zip(source.shape, target.shape, strict=True)]
    if not moved:
        overlap = tuple(map(slice, shared))
        target[overlap] = ops.asarray(source)[overlap]
        return
    rows = [moved.get(axis, (np.arange(n),) * 2) for axis, n in enumerate(shared)]
    before, after = (np.ix_(*(pair[side] for pair in rows)) for side in (0, 1))
    taken = ops.asarray(source)[tuple(map(ops.asarray, before))]
    target[tuple(map(ops.asarray, after))] = taken


def _carry_kept(
    source: Mapping[str, Any], old: Slot, target: Mapping[str, Any], moved: Moved, ops: Ops
) -> None:
    """Copy what an optimizer keeps; on some axes that may be a single mean."""
    for name, array in source.items():
        along = {a: pair for a, pair in moved.items() if array.shape[a] == old.shape[a]}
        _carry(array, target[name], along, ops)
