"""Resizing: which layers follow a change of width, and where their weights go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from combinet.core.allocation import IndexMap, allocate, own_slots, specs_of
from combinet.core.layer import Layer
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Width
from combinet.core.tree import walk
from combinet.errors import DimensionError
from combinet.ops.sequence import offsets, positions
from combinet.types import is_size

Sizes: TypeAlias = "Mapping[tuple[Any, str], int]"
Concats: TypeAlias = "Mapping[tuple[Any, str], ConcatWidth]"


def resize(model: Layer, *, nI: int | None = None, nO: int | None = None) -> None:
    """Give a model another width, in all layers that have to follow. See `Model.resize_output`."""
    own_slots(model)
    size = nI if nO is None else nO
    if not is_size(size):
        raise DimensionError(f"a width is a positive int, not {size!r}")
    end = 0 if nO is None else 1
    width = ShapeInference()(model, None, None)[end]
    width = int(width) if isinstance(width, int) else width  # as `size` is: without its terms
    infer = ShapeInference(resize=True)
    infer(model, nI, nO)
    check = ShapeInference(dict(infer.found))  # the rules decide whether the proposal is valid
    if check(model, nI, nO)[end] != size or (not infer.found and width != size):
        raise DimensionError(f"no layer in {model.name} has this width for its own")
    sizes = {key: int(found) for key, found in check.found.items()}
    before = _concats(model, {}, *((width, None) if nO is None else (None, width)))
    after = _concats(model, sizes, nI, nO)
    shapes = {
        (node, name): node.param_shape(name, sizes)
        for node in walk(model, "dfs_pre")
        for name in node.slots
    }
    allocate({
        (node, name): spec._replace(index_map=_index_map(node, name, before, after))
        for (node, name), spec in specs_of(shapes, model.rng).items()
    })  # fmt: skip
    for (node, name), new in sizes.items():
        node.dims[name] = new


def _concats(model: Layer, sizes: Sizes, nI: Width, nO: Width) -> Concats:
    """The dims that are sums, with these sizes; by one inference, so that terms match."""
    infer = ShapeInference(dict(sizes))
    widths = ShapeInference(dict(sizes))(model, nI, nO)
    infer(model, *widths)  # told, so that all learn their terms
    return infer.concats


def _index_map(node: Layer, name: str, before: Concats, after: Concats) -> IndexMap:
    """Which indices of a parameter go where, on the axes whose width is a sum."""
    index_map = {}
    for axis, dim in enumerate(node.param(name).axes):
        if isinstance(dim, int):
            continue
        old, new = (concats.get((node, dim)) for concats in (before, after))
        if new is None or (old is not None and old.terms == new.terms):
            continue
        if old is not None and len(old.terms) == len(new.terms):
            sizes = np.minimum(old.terms, new.terms)
            within = positions(sizes)
            source, target = (
                np.repeat(offsets(np.array(width.terms)), sizes) + within for width in (old, new)
            )
            index_map[axis] = (source, target)
        elif new != node.dims[dim]:
            raise DimensionError(
                f"which columns of {node.name}'s {name} belong to which part is not known: "
                f"it has {dim}={node.dims[dim]}, and no layer says the width before the resize"
            )
    return index_map
