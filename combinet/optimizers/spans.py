"""Spans, the units of an update: neighboring slots of a store, or rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, pairwise
from operator import attrgetter

from combinet.ops.blas.threads import run_concurrently
from combinet.storage.slots import Slot
from combinet.storage.store import Store
from combinet.types import Array, Ints1d

_WORTH = 1 << 19  # numbers per thread: with fewer, another thread does not pay off


class Span:
    """Neighboring slots of one store, from number `first` to before `last`."""

    def __init__(self, store: Store, first: int, last: int, start: int, stop: int) -> None:
        self.store = store
        self.first, self.last = first, last
        self.start, self.stop = start, stop

    def of(self, flat: Array) -> Array:
        """Returns this span's part of an array that is laid out like the store."""
        return flat[self.start : self.stop]

    @property
    def gradient(self) -> Array:
        """The pending gradients. Writing to the array changes them."""
        return self.of(self.store.writable_gradient())

    def change(self, function: Callable[..., object], *flat: Array, threads: int = 1) -> None:
        """Calls `function` on this span's part of arrays laid out like the store, to change it."""
        parts = self.parts(self.store.ops.threads(threads))
        run_concurrently([partial(function, *map(part.of, flat)) for part in parts])

    def change_gradient(self, operation: Callable[[Array, Array], object], operand: Array) -> None:
        """Changes the pending gradients, a flat array, in place by `operation(dW, operand)`."""
        self.change(lambda dW: operation(dW, operand), self.store.writable_gradient())

    def parts(self, number: int) -> list[Span]:
        """Cuts the span into at most `number` parts, each large enough to be worth a thread."""
        size = self.stop - self.start
        number = min(number, size // _WORTH)
        if number <= 1:
            return [self]
        cuts = [self.start + size * i // number for i in range(number + 1)]
        return [Span(self.store, self.first, self.last, a, b) for a, b in pairwise(cuts)]

    def slots(self) -> list[Slot]:
        """Returns the slots of the span, in order."""
        return [slot for slot in self.store.slots() if self.first <= slot.number < self.last]

    def by_step_count(self, steps: Ints1d) -> list[tuple[int, Span]]:
        """Cuts the span where the step count in `steps` changes. Returns pairs (count, span)."""
        t = int(steps[self.first])
        if self.last == self.first + 1 or (steps[self.first : self.last] == t).all():
            return [(t, self)]
        counted = groupby(self.slots(), key=lambda slot: int(steps[slot.number]))
        return [(t, span) for t, slots in counted for span in spans(slots)]


class Rows(Span):
    """The span of one table, restricted to the rows that have a pending gradient."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot.store, slot.number, slot.number + 1, slot.start, slot.stop)
        self.slot = slot
        self.rows = self.store.ops.unique(slot.grad.rows or [])
        slot.grad.rows = [self.rows]

    @property
    def gradient(self) -> Array:
        """The pending gradients of the rows, as a copy."""
        gradient = self.slot.of(self.store.writable_gradient())
        return self.store.ops.take_rows(gradient, self.rows)

    def change(self, function: Callable[..., object], *flat: Array, threads: int = 1) -> None:
        """Calls `function` on copies of these rows and writes them back."""
        self.store.ops.change_rows(function, self.rows, *map(self.slot.of, flat))


def spans(slots: Iterable[Slot]) -> list[Span]:
    """Groups slots into spans of neighbors. A model initialized as a whole gives one span."""
    # A dict instead of a set: its order makes sums over spans the same in every run.
    stores: dict[Store, list[Slot]] = {}
    for slot in slots:
        stores.setdefault(slot.store, []).append(slot)
    found = []
    for store, group in stores.items():
        group.sort(key=attrgetter("number"))
        cuts = [0, len(group)]
        if group[-1].number - group[0].number >= len(group):  # rarely: most slots are neighbors
            pairs = enumerate(pairwise(group), 1)
            cuts[1:1] = [i for i, (a, b) in pairs if b.number > a.number + 1]
        for i, j in pairwise(cuts):
            first, last = group[i], group[j - 1]
            found.append(Span(store, first.number, last.number + 1, first.start, last.stop))
    return found


def by_rate(buffers: Sequence[Slot]) -> list[tuple[Span, float, int]]:
    """Groups buffers by their rate and number of passes. Returns (span, ema_rate, passes)."""
    groups: dict[tuple[float, int], list[Slot]] = {}
    for slot in buffers:
        if slot.ema_rate is not None:
            groups.setdefault((slot.ema_rate, slot.grad.count), []).append(slot)
    return [(span, *rule) for rule, same in groups.items() for span in spans(same)]
