"""Allocation: builds new stores for the parameters of a tree, on any device and in any shape.

The layout of a store never changes. Initialization, resizes, copies and device moves allocate new
stores, fill them, and then exchange the slots of the layers. All stores are complete before the
first layer gets its new slots, so an error leaves the model unchanged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.core.layer import Layer
from combinet.core.tree import walk
from combinet.errors import StateError
from combinet.ops.base import Ops
from combinet.storage.slots import Slot
from combinet.storage.store import Store
from combinet.types import Array, DTypeLike, Generator, Ints1d, Shape

IndexMap: TypeAlias = Mapping[int, tuple[Ints1d, Ints1d]]  # by axis: old indices, new indices


class ParamSpec(NamedTuple):
    """How to allocate a parameter: an initial value, and an old slot whose content replaces it.

    If the shapes differ, only the entries that both shapes have are copied: from index 0 on each
    axis, or according to `index_map`. The rest keeps the initial value, or 0 if `value` is None.
    """

    shape: Shape
    value: Array | None = None
    old: Slot | None = None
    index_map: IndexMap = {}  # noqa: RUF012


Specs: TypeAlias = dict[tuple[Any, str], ParamSpec]  # by layer and name
Values: TypeAlias = Mapping[tuple[Any, str], Array]
_Moves: TypeAlias = "list[tuple[Slot, Slot, IndexMap]]"  # old slot, new slot


def specs_of(shapes: Mapping[tuple[Any, str], Shape], rng: Generator) -> Specs:
    """Returns specs of these shapes. Initial values are drawn only where they are needed."""
    specs = {}
    for (node, name), shape in shapes.items():
        param, old = node.param(name), node.slots.get(name)
        # New entries of a buffer get their initial value: a variance of 0 would magnify a column.
        drawn = old is None or param.ema_rate is not None
        specs[node, name] = ParamSpec(shape, param.init(shape, rng) if drawn else None, old)
    return specs


def _present_specs(nodes: Iterable[Any]) -> Specs:
    return {
        (node, name): ParamSpec(slot.shape, old=slot)
        for node in nodes
        for name, slot in node.slots.items()
    }


def move_weights(nodes: Sequence[Any], ops: Ops) -> None:
    """Moves layers to another device with their gradients, averages and optimizer states."""
    allocate(_present_specs(nodes), ops=ops)
    for node in nodes:
        node.ops = ops


def duplicate(model: Layer, copy: Layer) -> None:
    """Copies weights, gradients and averages to the layers of `copy` that have no weights."""
    pairs = zip(walk(model, "dfs_pre"), walk(copy, "dfs_pre"), strict=True)
    specs = {
        (new, name): spec
        for old, new in pairs
        if not new.slots
        for (_, name), spec in _present_specs([old]).items()
    }
    allocate(specs, optimizers=False)


def gather(model: Layer) -> None:
    """Merges stores of the same device and dtype.

    An update then takes one operation for all parameters, instead of one for each store.
    """
    stores = {slot.store for slot in own_slots(model)}
    if len(stores) > len({(store.ops.name, store.ops.device, store.dtype) for store in stores}):
        allocate(_present_specs(walk(model, "dfs_pre")))


def own_slots(model: Layer) -> list[Slot]:
    """Returns the slots of all parameters. Raises StateError inside `use_params`."""
    slots = [slot for node in walk(model) for slot in node.slots.values()]
    overridden = [slot.key for slot in slots if slot.overrides]
    if overridden:
        name = next(node.name for node in walk(model) if node.id == overridden[0][0])
        raise StateError(f"{name}: weights are overridden by use_params; exit that block first")
    return slots


def allocate(
    specs: Specs, dtype: DTypeLike | None = None, *, ops: Ops | None = None, optimizers: bool = True
) -> None:
    """Allocates the slots that the specs describe, in one store for each device and dtype.

    A parameter with an old slot keeps its dtype; a new parameter gets `dtype`. The slots are on the
    device of `ops`, or on the layer's device if it is None. With `optimizers`, optimizer states are
    copied too.
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
    """Sets parameters and averages. Allocates missing slots in `dtype`."""
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
    """Adds slots to an empty store and fills them. The old slots stay unchanged."""
    slots: dict[tuple[Any, str], Slot] = {}
    # Buffers come last, so that all trained parameters form one span and one operation.
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
            # A resized average counts its steps from here. After many steps, an average hardly
            # follows its weights: columns that begin at 0 would stay near 0 for a long time.
            if old.shape != slot.shape:
                new.resized_at[slot.number] = steps
            elif old.number in state.resized_at:
                new.resized_at[slot.number] = state.resized_at[old.number]
            targets = optimizer.state(slot)
            for name, source in optimizer.state(old).items():
                # A state can have one entry for a whole axis, like the means of Adafactor.
                along = {a: i for a, i in index_map.items() if source.shape[a] == old.shape[a]}
                _copy_overlap(source, targets[name], along, store.ops)


def _copy_overlap(source: Array, target: Array, index_map: IndexMap, ops: Ops) -> None:
    """Copies the entries that both shapes have."""
    shared = [min(a, b) for a, b in zip(source.shape, target.shape, strict=True)]
    if not index_map:
        corner = tuple(map(slice, shared))
        target[corner] = ops.asarray(source)[corner]
        return
    rows = [index_map.get(axis, (np.arange(n),) * 2) for axis, n in enumerate(shared)]
    before, after = (np.ix_(*(pair[side] for pair in rows)) for side in (0, 1))
    overlap = ops.asarray(source)[tuple(map(ops.asarray, before))]
    target[tuple(map(ops.asarray, after))] = overlap
