"""What one operation updates: spans of neighbouring slots, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

from combinet.storage.slots import Slot
from combinet.storage.store import Store
from combinet.types import Array, Ints1d

_WORTH = 1 << 19  # numbers, from which on an update gains by another thread


class Span(NamedTuple):
    """Neighbouring slots of one store, from number `first` to before `last`."""

    store: Store
    first: int
    last: int
    start: int
    stop: int

    def of(self, flat: Array) -> Array:
        """This part of an array that is laid out as the store."""
        return flat[self.start : self.stop]

    @property
    def gradient(self) -> Array:
        """The pending gradients, in place."""
        return self.of(self.store.writable_gradient())

    def change_gradient(self, operation: Callable[[Array, Array], object], operand: Array) -> None:
        """Let `operation` change the pending gradients, a flat array, in place."""
        operation(self.gradient, operand)

    def parts(self, number: int) -> list[Span]:
        """The span cut into `number` parts, or as many as are worth a thread; none is empty."""
        number = min(number, (self.stop - self.start) // _WORTH)
        if number <= 1:
            return [self]
        cuts = [self.start + (self.stop - self.start) * i // number for i in range(number + 1)]
        return [self._replace(start=a, stop=b) for a, b in pairwise(cuts)]

    def slots(self) -> list[Slot]:
        """The slots, in order."""
        return [slot for slot in self.store.slots() if self.first <= slot.number < self.last]

    def by_step_count(self, steps: Ints1d) -> list[tuple[int, Span]]:
        """Spans (t, span) of slots with the same number of steps; `steps` are by slot number."""
        own = steps[self.first : self.last]
        if len(own) == 1 or (own == own[0]).all():
            return [(int(own[0]), self)]
        counted = groupby(self.slots(), key=lambda slot: int(steps[slot.number]))
        return [(t, span) for t, slots in counted for span in spans(slots)]


class Rows:
    """The rows of a table that have been named since the last update, each once."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.store = slot.store
        self.first, self.last = slot.number, slot.number + 1
        self.rows = self.store.ops.unique(slot.grad.rows or [])
        slot.grad.rows = [self.rows]

    @property
    def gradient(self) -> Array:
        """A copy of the pending gradients."""
        gradient = self.slot.of(self.store.writable_gradient())
        return self.store.ops.take_rows(gradient, self.rows)

    def by_step_count(self, steps: Ints1d) -> list[tuple[int, Rows]]:
        """As `Span.by_step_count`: the one slot."""
        return [(int(steps[self.first]), self)]

    def change(self, function: Callable[..., object], *flat: Array) -> None:
        """Let `function` change these rows of arrays that are laid out as the store."""
        self.store.ops.change_rows(function, self.rows, *map(self.slot.of, flat))

    def change_gradient(self, operation: Callable[[Array, Array], object], operand: Array) -> None:
        """Let `operation` change the pending gradients, a flat array, in place."""
        self.change(lambda dW: operation(dW, operand), self.store.writable_gradient())


def spans(slots: Iterable[Slot]) -> list[Span]:
    """Slots as spans of neighbours: one for a model that was initialized as a whole."""
    # In the order of the slots, not of addresses: sums over spans are the same in every run.
    stores: dict[Store, list[Slot]] = {}
    for slot in slots:
        stores.setdefault(slot.store, []).append(slot)
    found = []
    for store, own in stores.items():
        own.sort(key=attrgetter("number"))
        cuts = [0, len(own)]
        if own[-1].number - own[0].number >= len(own):  # mostly all are neighbours
            cuts[1:1] = [i for i, (a, b) in enumerate(pairwise(own), 1) if b.number > a.number + 1]
        for i, j in pairwise(cuts):
            first, last = own[i], own[j - 1]
            found.append(Span(store, first.number, last.number + 1, first.start, last.stop))
    return found


def by_rate(buffers: Sequence[Slot]) -> list[tuple[Span, float, int]]:
    """Buffers as spans (span, ema_rate, passes) of those that move by the same rule."""
    groups: dict[tuple[float, int], list[Slot]] = {}
    for slot in buffers:
        if slot.ema_rate is not None:
            groups.setdefault((slot.ema_rate, slot.grad.count), []).append(slot)
    return [(span, *rule) for rule, same in groups.items() for span in spans(same)]
