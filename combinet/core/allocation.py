"""Builds stores for the parameters of a tree: new ones, on another device, in other shapes.

`allocate` changes the model as a whole or not at all, because every store is complete before the
first layer gets its slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from combinet.core.layer import Layer
from combinet.core.tree import walk
from combinet.errors import DeviceError, StateError
from combinet.ops.base import Ops
from combinet.storage.slots import Slot
from combinet.storage.store import Store
from combinet.types import Array, Generator, Ints1d, Shape

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

IndexMap: TypeAlias = Mapping[int, tuple[Ints1d, Ints1d]]  # by axis: indices before, and after


class ParamSpec(NamedTuple):
    """A parameter to allocate: a first value, then the contents of its old slot.

    In a new shape the overlap stays, from index 0 on each axis, or as `index_map` says. The rest is
    the first value, or 0.
    """

    shape: Shape
    value: Array | None = None
    old: Slot | None = None
    index_map: IndexMap = {}  # noqa: RUF012


Specs: TypeAlias = dict[tuple[Any, str], ParamSpec]  # by layer and name
Values: TypeAlias = Mapping[tuple[Any, str], Array]
_Moves: TypeAlias = "list[tuple[Slot, Slot, IndexMap]]"  # the old slot, the new one


def specs_of(shapes: Mapping[tuple[Any, str], Shape], rng: Generator) -> Specs:
    """Specs of these shapes, with first values where the present ones don't suffice."""
    specs = {}
    for (node, name), shape in shapes.items():
        param, old = node.param(name), node.slots.get(name)
        # New entries of a buffer begin as declared: a variance of 0 would magnify its column.
        drawn = old is None or param.ema_rate is not None
        specs[node, name] = ParamSpec(shape, param.init(shape, rng) if drawn else None, old)
    return specs


def _present_specs(nodes: Iterable[Any]) -> Specs:
    return {
        (node, name): ParamSpec(slot.shape, old=slot)
        for node in nodes
        for name, slot in node.slots.items()
    }


def move(model: Layer, nodes: Sequence[Any], ops: Ops) -> None:
    """Take these layers of a model to another device with all that belongs to their parameters."""
    own_slots(model)
    pinned = {
        below.id
        for node in walk(model)
        if node.pinned
        for layer in node.layers
        for below in walk(layer)
    }
    for node in nodes:
        if node.id in pinned:
            raise DeviceError(f"{node.name} is to stay and to move: it stands in two places")
    allocate(_present_specs(nodes), ops=ops)
    for node in nodes:
        node.ops = ops


def duplicate(model: Layer, copy: Layer) -> None:
    """Give a copy of the tree what the model has, where it has no weights yet."""
    pairs = zip(walk(model, "dfs_pre"), walk(copy, "dfs_pre"), strict=True)
    specs = {
        (new, name): spec
        for old, new in pairs
        if not new.slots
        for (_, name), spec in _present_specs([old]).items()
    }
    allocate(specs, optimizers=False)


def gather(model: Layer) -> None:
    """Bring what lies in several stores of one device and dtype into one."""
    stores = {slot.store for slot in own_slots(model)}
    if len(stores) > len({(store.ops.name, store.ops.device, store.dtype) for store in stores}):
        allocate(_present_specs(walk(model, "dfs_pre")))


def own_slots(model: Layer) -> list[Slot]:
    """The slots of all parameters. Raises StateError inside `use_params`, which overrides some."""
    slots = [slot for node in walk(model) for slot in node.slots.values()]
    overridden = [slot.key for slot in slots if slot.overrides]
    if overridden:
        name = next(node.name for node in walk(model) if node.id == overridden[0][0])
        raise StateError(f"{name}: weights are overridden by use_params; exit that block first")
    return slots


def allocate(
    specs: Specs, dtype: DTypeLike | None = None, *, ops: Ops | None = None, optimizers: bool = True
) -> None:
    """Give layers slots as the specs say, in a store for each device and dtype.

    A parameter with an old slot keeps its dtype, a new one gets `dtype`. All go to the device of
    their layer, or of `ops`. With `optimizers` the state of optimizers goes along.
    """
    groups: dict[tuple[str, Any, np.dtype[Any]], tuple[Store, Specs]] = {}
    for (node, name), spec in specs.items():
        target = ops or node.ops
        own_dtype = np.dtype(dtype) if spec.old is None else spec.old.store.dtype
        key = target.name, target.device, own_dtype
        groups.setdefault(key, (Store(target, own_dtype), {}))[1][node, name] = spec
    slots: dict[tuple[Any, str], Slot] = {}
    for store, group in groups.values():
        slots |= _fill(store, group, optimizers)
    for node, name in specs:
        node.slots[name] = slots[node, name]


def assign(values: Values, averages: Values, dtype: DTypeLike | None) -> None:
    """Set parameters and averages; parameters without slots get them, in `dtype`."""
    missing = {
        (node, name): ParamSpec(value.shape)
        for (node, name), value in values.items()
        if name not in node.slots
    }
    allocate(missing, dtype)
    by_store: dict[Store, dict[Slot, Array]] = {}
    for (node, name), value in values.items():
        slot = node.slots[name]
        by_store.setdefault(slot.store, {})[slot] = value
    means = {node.slots[name]: mean for (node, name), mean in averages.items()}
    for store, arrays in by_store.items():
        store.write(arrays, {slot: means[slot] for slot in arrays if slot in means})


def _fill(store: Store, specs: Specs, optimizers: bool) -> dict[tuple[Any, str], Slot]:
    """Slots in an empty store, for `allocate`; the old slots are unchanged."""
    slots: dict[tuple[Any, str], Slot] = {}
    # Buffers last, so that what is trained stays together.
    for node, name in sorted(specs, key=lambda key: key[0].param(key[1]).ema_rate is not None):
        param, shape = node.param(name), specs[node, name].shape
        slots[node, name] = store.add((node.id, name), shape, param.order, param.ema_rate)
    moves = [
        (spec.old, slot, spec.index_map)
        for key, slot in slots.items()
        if (spec := specs[key]).old is not None
    ]
    with store.ops.on_device():
        weights = store.ops.zeros((store.size,), store.dtype)
        for key, slot in slots.items():
            if (value := specs[key].value) is not None:
                slot.of(weights)[...] = store.ops.asarray(value, store.dtype)
        for old, slot, index_map in moves:
            _copy_overlap(old.view, slot.of(weights), index_map, store.ops)
        store.adopt(weights)
        _carry_gradients(store, moves)
        _carry_averages(store, moves)
        if optimizers:
            _carry_optimizer_states(store, moves)
    return slots


def _carry_gradients(store: Store, moves: _Moves) -> None:
    for old, slot, index_map in moves:
        if old.grad.count and old.store.gradient is not None:
            target = slot.of(store.writable_gradient())
            _copy_overlap(old.of(old.store.gradient), target, index_map, store.ops)
            slot.grad.count, slot.grad.is_zero = old.grad.count, False


def _carry_averages(store: Store, moves: _Moves) -> None:
    if any(old.store.averages is not None for old, _, _ in moves):
        averages = store.writable_averages()
        for old, slot, index_map in moves:
            if old.store.averages is not None:
                source = old.of(old.store.averages)
                _copy_overlap(source, slot.of(averages), index_map, store.ops)


def _carry_optimizer_states(store: Store, moves: _Moves) -> None:
    for old, slot, index_map in moves:
        for optimizer, state in old.store.optimizer_states.items():
            steps = int(state.steps[old.number])
            if not steps:
                continue
            new = store.optimizer_state(optimizer)
            new.steps[slot.number] = steps
            # An average in a new shape counts from there: a late one would hardly follow.
            if old.shape != slot.shape:
                new.resized_at[slot.number] = steps
            elif old.number in state.resized_at:
                new.resized_at[slot.number] = state.resized_at[old.number]
            targets = optimizer.state(slot)
            for name, source in optimizer.state(old).items():
                # On some axes an optimizer may keep a single mean.
                along = {a: i for a, i in index_map.items() if source.shape[a] == old.shape[a]}
                _copy_overlap(source, targets[name], along, store.ops)


def _copy_overlap(source: Array, target: Array, index_map: IndexMap, ops: Ops) -> None:
    """Copy the part that both shapes have."""
    shared = [min(a, b) for a, b in zip(source.shape, target.shape, strict=True)]
    if not index_map:
        corner = tuple(map(slice, shared))
        target[corner] = ops.asarray(source)[corner]
        return
    rows = [index_map.get(axis, (np.arange(n),) * 2) for axis, n in enumerate(shared)]
    before, after = (np.ix_(*(pair[side] for pair in rows)) for side in (0, 1))
    overlap = ops.asarray(source)[tuple(map(ops.asarray, before))]
    target[tuple(map(ops.asarray, after))] = overlap
