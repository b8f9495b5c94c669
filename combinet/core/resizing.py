"""Resizing: which dims follow a change of width, and where the existing weights go.

A resize has three steps. Shape inference with `resize=True` proposes new dims. A second inference
checks them with the same rules that check a composition. Then new stores are allocated and filled.
An error in any step leaves the model unchanged.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from combinet.core.allocation import IndexMap, allocate, own_slots, specs_of
from combinet.core.layer import Layer
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Width
from combinet.core.tree import divide
from combinet.errors import DimensionError
from combinet.ops.sequence import offsets, positions
from combinet.types import is_size

Sizes: TypeAlias = "Mapping[tuple[Any, str], int]"
Concats: TypeAlias = "Mapping[tuple[Any, str], ConcatWidth]"


def resize(model: Layer, *, nI: int | None = None, nO: int | None = None) -> None:
    """Changes the width of the input or the output. See `Model.resize_output`."""
    own_slots(model)
    size, end = (nI, 0) if nO is None else (nO, 1)
    if not is_size(size):
        raise DimensionError(f"expected a positive int as width, got {size!r}")
    width = ShapeInference()(model, None, None)[end]
    width = int(width) if isinstance(width, int) else width  # without terms, like `size`
    infer = ShapeInference(resize=True)
    infer(model, nI, nO)
    check = ShapeInference(dict(infer.found))  # without `resize`, it raises if sizes disagree
    if check(model, nI, nO)[end] != size or (not infer.found and width != size):
        raise DimensionError(f"{model.name} has no layer that can have the width {size}")
    sizes = {key: int(found) for key, found in check.found.items()}
    before = _concats(model, {}, *((width, None) if nO is None else (None, width)))
    after = _concats(model, sizes, nI, nO)
    nodes, own = divide(model, "resize_input", "resize_output")
    shapes = {(node, name): node.param_shape(name, sizes) for node in nodes for name in node.slots}
    specs = {
        (node, name): spec._replace(index_map=_index_map(node, name, before, after))
        for (node, name), spec in specs_of(shapes, model.rng).items()
    }
    for layer in own:
        _resize_own(layer, sizes)
    allocate(specs)
    for (node, name), new in sizes.items():
        if node in nodes:
            node.dims[name] = new


def _resize_own(layer: Any, sizes: Sizes) -> None:
    """Calls the methods that a layer defines itself, if its widths change."""
    old, new = ShapeInference()(layer, None, None), ShapeInference(dict(sizes))(layer, None, None)
    for method, name, before, after in zip(
        ("resize_input", "resize_output"), ("nI", "nO"), old, new, strict=True
    ):
        if isinstance(after, int) and after != before:
            getattr(layer, method)(int(after))
            if name in layer.dims:
                layer.dims[name] = int(after)


def _concats(model: Layer, sizes: Sizes, nI: Width, nO: Width) -> Concats:
    """Returns all dims that are sums of widths, with the terms that they have with these sizes."""
    # All terms come from one inference. With several, they would depend on the widths known
    # earlier, and terms of different layers would be compared.
    infer = ShapeInference(dict(sizes))
    widths = ShapeInference(dict(sizes))(model, nI, nO)
    infer(model, *widths)  # passes the terms on to all layers
    return infer.concats


def _index_map(node: Layer, name: str, before: Concats, after: Concats) -> IndexMap:
    """Returns where the entries of a parameter move on axes whose size is a sum of widths.

    Example: `(a | b) >> linear`. If `a` becomes wider, the columns of `b` start at a later index,
    and so must the weights of `linear` for these columns. Only the terms of the sum, the widths of
    `a` and `b`, show this. Raises DimensionError if they are unknown, because it cannot guess them.
    """
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
                f"{node.name} expected {dim}={node.dims[dim]} of {name} as a sum of known widths, "
                f"got an unknown width before the resize; the columns to keep are ambiguous"
            )
    return index_map
