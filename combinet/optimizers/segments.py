"""What is updated by one operation: runs of neighbouring slots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from combinet.store import Slot, Store
from combinet.types import Ints1d

_WORTH = 1 << 19  # numbers, from which on an update gains by another thread


class Segment(NamedTuple):
    """Neighbouring slots of one store, from number `first` to before `last`."""

    store: Store
    first: int
    last: int
    start: int
    stop: int

    def of(self, flat: Any) -> Any:
        """This part of an array that is laid out as the store."""
        return flat[self.start : self.stop]

    @property
    def gradient(self) -> Any:
        """The gradients that wait, in place."""
        return self.of(self.store.gradient)

    def change_gradient(self, function: Callable[[Any], object]) -> None:
        """Let `function` change the gradients that wait, a flat array, in place."""
        function(self.gradient)

    def parts(self, number: int) -> list[Segment]:
        """The segment cut into so many parts, or as many as are worth a thread; none is empty."""
        number = max(min(number, (self.stop - self.start) // _WORTH), 1)
        cuts = [self.start + (self.stop - self.start) * i // number for i in range(number + 1)]
        return [self._replace(start=a, stop=b) for a, b in pairwise(cuts)]

    def slots(self) -> list[Slot]:
        """The slots, in order."""
        return [slot for slot in self.store.slots() if self.first <= slot.number < self.last]


class Rows:
    """The rows of a table that have been named since the last update, each once."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.store = slot.store
        self.rows = self.store.ops.distinct(slot.rows or [])
        slot.rows = [self.rows]

    @property
    def gradient(self) -> Any:
        """A copy of the gradients that wait."""
        return self.store.ops.unpad(self.slot.of(self.store.gradient), self.rows)

    def change(self, function: Callable[..., object], *flat: Any) -> None:
        """Let `function` change these rows of arrays that are laid out as the store."""
        self.store.ops.change_rows(function, self.rows, *map(self.slot.of, flat))

    def change_gradient(self, function: Callable[[Any], object]) -> None:
        """Let `function` change the gradients that wait, a flat array, in place."""
        self.change(function, self.store.gradient)


def segments(slots: Sequence[Slot]) -> list[Segment]:
    """Slots as runs of neighbours: one for a model that was initialized as a whole."""
    # In the order of the slots, not of addresses: sums over segments come out alike in every run.
    stores: dict[Store, list[Slot]] = {}
    for slot in slots:
        stores.setdefault(slot.store, []).append(slot)
    runs: list[list[Slot]] = []
    for own in stores.values():
        own.sort(key=attrgetter("number"))
        if own[-1].number - own[0].number == len(own) - 1:  # neighbours all, as they mostly are
            runs.append(own)
            continue
        after = None
        for slot in own:
            if slot.number == after:
                runs[-1].append(slot)
            else:
                runs.append([slot])
            after = slot.number + 1
    return [
        Segment(run[0].store, run[0].number, run[-1].number + 1, run[0].start, run[-1].stop)
        for run in runs
    ]


def same_steps(run: Segment, steps: Ints1d) -> list[tuple[int, Segment]]:
    """A run as runs (t, segment) of slots whose steps, by their numbers, are equally many."""
    own = steps[run.first : run.last]
    if (own == own[0]).all():
        return [(int(own[0]), run)]
    counted = groupby(run.slots(), key=lambda slot: int(steps[slot.number]))
    return [(t, part) for t, slots in counted for part in segments([*slots])]


def same_paces(slots: Sequence[Slot]) -> list[tuple[Segment, float, int]]:
    """The statistics among slots, as runs (segment, rate, passes) of those that move alike."""
    paces: dict[tuple[float, int], list[Slot]] = {}
    for slot in slots:
        if slot.rate is not None:
            paces.setdefault((slot.rate, slot.touched), []).append(slot)
    return [(run, *pace) for pace, alike in paces.items() for run in segments(alike)]
