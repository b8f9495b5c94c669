"""Gives a model its weights and changes their sizes: whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from combinet.allocation import IndexMap, allocate, own_slots, specs_of
from combinet.data import width_of
from combinet.errors import DimensionError, InputError, StateError
from combinet.ops.sequence import positions, starts
from combinet.run import InferRun
from combinet.tree import walk
from combinet.types import Shape
from combinet.widths import Parts, Solver, Width, is_size

PartsOf = Mapping[tuple[Any, str], Parts]


def initialize(model: Any, X: Any, Y: Any, dtype: Any) -> None:
    """Infer what dims are missing, from the layers, then from X and Y; allocate what is missing."""
    own_slots(model)
    before = [(node, dict(node.dims)) for node in walk(model)]
    try:
        _infer(model, X, Y)
        specs = specs_of(model, walk(model, "dfs_pre"), lambda node, name: node.param_shape(name))
        stores = {spec.old.store for spec in specs.values() if spec.old is not None}
        dtypes = {store.dtype for store in stores} | ({_float_dtype(dtype)} if dtype else set())
        if len(dtypes) > 1:
            found = " and ".join(sorted(map(str, dtypes)))
            raise StateError(f"{model.name} has weights of {found}")
        devices = {(node.ops.name, node.ops.device) for node, _ in specs}
        if len(stores) == len(devices) and all(spec.old for spec in specs.values()):
            return
        allocate(specs, dtypes.pop() if dtypes else "float32")
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


def _infer(model: Any, X: Any, Y: Any) -> None:
    for _ in range(2):
        while _learn(model, width_of(X), width_of(Y)):
            pass  # what a layer learns in one place, its neighbours in another learn next time
        unknown = [node for node in walk(model) if None in node.dims.values()]
        if not unknown or X is None:
            return  # what is still unknown and needed is refused by param_shape
        # A layer that cannot say its width without data has to be tried on some.
        with model.ops.on_device():
            InferRun(model.ops, model.rng, train=False)(model, X)


def _learn(model: Any, nI: Width, nO: Width) -> bool:
    """Set what dims follow from these widths. Whether there were any that were not known."""
    solve = Solver()
    solve(model, nI, nO)
    for (node, name), size in solve.found.items():
        node.set_dim(name, size)
    return bool(solve.found)


def resize(model: Any, *, nI: int | None = None, nO: int | None = None) -> None:
    """Give a model another width, in all layers that have to follow. See `Model.resize_output`."""
    own_slots(model)
    size = nI if nO is None else nO
    if not is_size(size):
        raise DimensionError(f"a width is a positive int, not {size!r}")
    end = 0 if nO is None else 1
    width = Solver()(model, None, None)[end]
    width = int(width) if isinstance(width, int) else width  # as `size` is: without its parts
    solve = Solver(resize=True)
    solve(model, nI, nO)
    check = Solver(dict(solve.found))  # the rules decide whether the proposal is valid
    if check(model, nI, nO)[end] != size or (not solve.found and width != size):
        raise DimensionError(f"no layer in {model.name} has this width for its own")
    sizes = {key: int(found) for key, found in check.found.items()}
    before = _parts(model, {}, *((width, None) if nO is None else (None, width)))
    after = _parts(model, sizes, nI, nO)

    def shape(node: Any, name: str) -> Shape:
        return node.param_shape(name, sizes)  # type: ignore[no-any-return]

    nodes = walk(model, "dfs_pre")
    specs = {
        (node, name): spec._replace(index_map=_moved(node, name, before, after))
        for (node, name), spec in specs_of(model, nodes, shape, allocated=True).items()
    }
    allocate(specs)
    for (node, name), new in sizes.items():
        node.dims[name] = new


def _parts(model: Any, sizes: Mapping[tuple[Any, str], int], nI: Width, nO: Width) -> PartsOf:
    """The dims that are made of parts, with these sizes; by one walk, so that parts match."""
    solve = Solver(dict(sizes))
    solve(model, *Solver(dict(sizes))(model, nI, nO))  # told, so that all learn their parts
    return solve.parts


def _moved(node: Any, name: str, before: PartsOf, after: PartsOf) -> IndexMap:
    """Which indices of a parameter go where, on the axes whose width is made of parts."""
    moved = {}
    for axis, dim in enumerate(node.param(name).axes):
        old, new = (parts.get((node, dim)) for parts in (before, after))
        if new is None or (old is not None and old.parts == new.parts):
            continue
        if old is not None and len(old.parts) == len(new.parts):
            kept = np.minimum(old.parts, new.parts)
            within = positions(kept)
            begins = (np.repeat(starts(np.array(each.parts)), kept) for each in (old, new))
            taken, put = (begin + within for begin in begins)
            moved[axis] = (taken, put)
        elif new != node.dims[dim]:
            raise DimensionError(
                f"which columns of {node.name}'s {name} belong to which part is not known: "
                f"it has {dim}={node.dims[dim]}, and no layer says the width before the resize"
            )
    return moved
