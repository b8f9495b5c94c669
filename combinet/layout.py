"""What gives a model its weights and changes their sizes or their device: whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from combinet.data import map_arrays, width_of
from combinet.errors import DeviceError, InputError, StateError
from combinet.inputs import head
from combinet.ops import Ops
from combinet.run import InferRun
from combinet.shape_inference import ShapeInference, Width
from combinet.store import Piece, Slot, lay_out
from combinet.tree import walk
from combinet.types import Shape

Shapes = Callable[[Any, str], Shape]
Pieces = dict[tuple[Any, str], Piece]


def initialize(model: Any, X: Any, Y: Any, dtype: Any) -> None:
    """Infer what dims are missing, from the layers, then from X and Y; allocate what is missing."""
    own_slots(model)
    before = [(node, dict(node.dims)) for node in walk(model)]
    try:
        dtypes = {node.dtype for node in walk(model) if node.slots}
        dtypes |= {_float_dtype(dtype)} if dtype else set()
        _infer(model, X, Y, next(iter(dtypes), "float32"))
        pieces = _pieces(model, walk(model, "dfs_pre"), lambda node, name: node.param_shape(name))
        stores = {piece.old.store for piece in pieces.values() if piece.old is not None}
        if len(dtypes) > 1:
            found = " and ".join(sorted(map(str, dtypes)))
            raise StateError(f"{model.name} has weights of {found}")
        devices = {(node.ops.name, node.ops.device) for node, _ in pieces}
        if len(stores) == len(devices) and all(piece.old for piece in pieces.values()):
            return
        _lay_out(model, pieces, dtypes.pop() if dtypes else "float32")
    except BaseException:
        for node, dims in before:
            node.dims.update(dims)
        raise


def _float_dtype(dtype: Any) -> Any:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise InputError(f"weights are float32 or float64, not {dtype!r}")
    return np.dtype(name)


def _infer(model: Any, X: Any, Y: Any, dtype: Any) -> None:
    _learn(model, width_of(X), width_of(Y))
    if X is None:
        return  # what is still unknown and needed is refused by param_shape
    with model.ops.on_device():
        run = InferRun(model.ops, model.rng, dtype=dtype)
        if any(None in node.dims.values() for node in walk(model)):
            run(model, _in_dtype(X, dtype))  # some layers cannot say their width without data
            _learn(model, width_of(X), width_of(Y))
        elif not _takes(model, _in_dtype(head(X), dtype), run):  # cheap
            run(model, _in_dtype(X, dtype))


def _takes(model: Any, X: Any, run: InferRun) -> bool:
    try:
        run(model, X)
    except Exception:  # it may need all of the sample: let that decide
        return False
    return True


def _in_dtype(X: Any, dtype: Any) -> Any:
    """A sample with its floats in the dtype of the weights."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if hasattr(x, "dtype") and x.dtype.kind == "f" else x

    return map_arrays(X, cast)


def _learn(model: Any, nI: Width, nO: Width) -> None:
    """Set what dims follow from these widths."""
    infer, known = ShapeInference(), -1
    while len(infer.found) > known:
        known = len(infer.found)
        infer(model, nI, nO)  # what a layer learns in one place, its neighbours learn next time
    for (node, name), size in infer.found.items():
        node.set_dim(name, size)


def move(model: Any, nodes: Sequence[Any], ops: Ops) -> None:
    """Take these layers of a model to another device with all that belongs to their parameters."""
    own_slots(model)
    inside = {id(layer) for node in walk(model) if node.stays for layer in node.layers}
    for node in nodes:
        if id(node) in inside:
            raise DeviceError(f"{node.name} is to stay and to move: it stands in two places")
    pieces = _pieces(model, nodes, lambda node, name: node.slots[name].shape, allocated=True)
    _lay_out(model, pieces, ops=ops)
    for node in nodes:
        node.ops = ops


def duplicate(model: Any, twin: Any) -> None:
    """Give `twin`, a copy of the tree, what the model has, where it has no weights yet."""
    pieces = {}
    for old, new in zip(walk(model, "dfs_pre"), walk(twin, "dfs_pre"), strict=True):
        for name, slot in old.slots.items() if not new.slots else ():
            pieces[new, name] = Piece((new.id, name), slot.shape, slot.order, slot.rate, old=slot)
    _lay_out(twin, pieces, memories=False)


def gather(model: Any) -> None:
    """Bring what lies in several stores of one device and dtype into one."""
    stores = {slot.store for slot in own_slots(model)}
    if len(stores) > len({(store.ops.name, store.ops.device, store.dtype) for store in stores}):
        nodes = walk(model, "dfs_pre")
        _lay_out(model, _pieces(model, nodes, lambda n, name: n.slots[name].shape, allocated=True))


def allocate(model: Any, values: list[tuple[Any, dict[str, Any]]], dtype: Any) -> None:
    """Give layers without weights these: for each layer, all of its parameters by name."""
    pieces = {
        (node, name): _piece(node, name, node.param_shape(name), params[name])
        for node, params in values
        for name in node.param_names
    }
    _lay_out(model, pieces, dtype)


def own_slots(model: Any) -> list[Slot]:
    """The slots of all parameters. Raises StateError inside `use_params`: others are in place."""
    slots: list[Slot] = []
    for node in walk(model):
        if node.slots:
            slots += node.slots.values()
    borrowed = [slot.key for slot in slots if slot.borrowed is not None]
    if borrowed:
        name = next(node.name for node in walk(model) if node.id == borrowed[0][0])
        raise StateError(f"{name} has borrowed weights: leave use_params first")
    return slots


def _pieces(model: Any, nodes: Iterable[Any], shape: Shapes, *, allocated: bool = False) -> Pieces:
    """The nodes' parameters; depth-first, each part of the tree is a stretch of the store."""
    named = [
        (node, name, shape(node, name))  # all shapes before the first draw: one may be refused
        for node in nodes
        for name in (node.slots if allocated else node.param_names)
    ]
    pieces = {}
    for node, name, new in named:
        param, old = node.param(name), node.slots.get(name)
        # What is new in a statistic begins as declared: a variance of 0 would magnify its column.
        drawn = old is None or param.rate is not None
        value = param.init(new, model.rng) if drawn else None
        pieces[node, name] = _piece(node, name, new, value, old)
    return pieces


def _piece(node: Any, name: str, shape: Shape, value: Any, old: Slot | None = None) -> Piece:
    param = node.param(name)
    return Piece((node.id, name), shape, param.order, param.rate, value, old)


def _lay_out(
    model: Any,
    pieces: Pieces,
    dtype: Any = None,
    *,
    ops: Ops | None = None,
    memories: bool = True,
) -> None:
    """Give the model's layers what the pieces say: a store for each device and dtype.

    What has an old slot keeps its dtype, what is new gets `dtype`; all goes to the device of its
    layer, or of `ops`.
    """
    groups: dict[Any, tuple[Ops, list[Piece]]] = {}
    for (node, _), piece in pieces.items():
        target = ops or node.ops
        kind = np.dtype(dtype) if piece.old is None else piece.old.store.dtype
        key = target.name, target.device, kind
        groups.setdefault(key, (target, []))[1].append(piece)
    by_key: dict[Any, Slot] = {}
    for (*_, kind), (target, group) in groups.items():
        by_key |= {slot.key: slot for slot in lay_out(group, target, kind, memories=memories)}
    for node in walk(model):
        for name in node.param_names:
            if (node.id, name) in by_key:
                node.slots[name] = by_key[node.id, name]
