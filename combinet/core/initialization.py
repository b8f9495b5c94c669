"""Initialization: infers dims and allocates weights. An error leaves the model unchanged."""

from typing import Any

import numpy as np

from combinet.batches.structure import map_arrays, width_of
from combinet.core.allocation import allocate, own_slots, specs_of
from combinet.core.inputs import head
from combinet.core.layer import Layer
from combinet.core.run import InferRun
from combinet.core.shape_inference import ShapeInference, Width
from combinet.core.tree import divide, walk
from combinet.errors import DimensionError, InputError, StateError, describe


def initialize(model: Layer, X: object, Y: object, dtype: object) -> None:
    """Infers missing dims from the layers, X and Y, then allocates missing parameters.

    See `Model.initialize`.
    """
    own_slots(model)
    before = [(node, dict(node.dims), dict(node.slots)) for node in walk(model)]
    try:
        dtypes = {node.dtype for node in walk(model) if node.slots}
        dtypes |= {_float_dtype(dtype)} if dtype else set()
        _infer(model, X, Y, next(iter(dtypes), "float32"))
        shapes = {
            (node, name): node.param_shape(name)  # raises before anything is drawn from rng
            for node in walk(model, "dfs_pre")
            for name in node.param_names
        }
        specs = specs_of(shapes, model.rng)
        stores = {spec.old.store for spec in specs.values() if spec.old is not None}
        if len(dtypes) > 1:
            found = " and ".join(sorted(map(str, dtypes)))
            raise StateError(f"{model.name} expected weights of one dtype, got {found}")
        devices = {(node.ops.name, node.ops.device) for node, _ in specs}
        if len(stores) == len(devices) and all(spec.old for spec in specs.values()):
            return
        allocate(specs, dtypes.pop() if dtypes else "float32")
    except BaseException as error:
        is_unknown = any(None in node.dims.values() for node in walk(model))
        if isinstance(error, DimensionError) and is_unknown and Y is not None and not width_of(Y):
            error.message += f"; Y has no columns: {describe(Y)}, see to_categorical"
        for node, dims, slots in before:
            node.dims.update(dims)
            node.slots = slots
        raise


def _float_dtype(dtype: Any) -> Any:
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise InputError(f"expected float32 or float64 as dtype of the weights, got {dtype!r}")
    return np.dtype(name)


def _infer(model: Layer, X: Any, Y: Any, dtype: Any) -> None:
    _set_dims(model, width_of(X), width_of(Y))
    run = InferRun(model, dtype=dtype)
    _, own = divide(model, "initialize")
    if X is not None:
        with model.ops.on_device():
            if own or any(None in node.dims.values() for node in walk(model)):
                run(model, _in_dtype(X, dtype))  # the width of some layers depends on data
                _set_dims(model, width_of(X), width_of(Y))
            elif not _accepts(model, _in_dtype(head(X), dtype), run):  # cheaper than all of X
                run(model, _in_dtype(X, dtype))
    # Without X, `param_shape` raises an error if a parameter needs a dim that is still unknown.
    for layer in own:
        run.prepare(layer, None)  # those that the pass has not reached


def _accepts(model: Layer, X: Any, run: InferRun) -> bool:
    try:
        run(model, X)
    except Exception:  # the model may need more rows, so try all of X
        return False
    return True


def _in_dtype(X: Any, dtype: Any) -> Any:
    """Converts the floats of a sample to the dtype of the weights."""

    def cast(x: Any) -> Any:
        return x.astype(dtype) if getattr(getattr(x, "dtype", None), "kind", "") == "f" else x

    return map_arrays(X, cast)


def _set_dims(model: Layer, nI: Width, nO: Width) -> None:
    """Sets the dims that follow from these widths."""
    # A dim that a shared layer gets in one place can determine the dims of its neighbors in another
    # place. So repeat the inference until it finds no new dim.
    infer, known = ShapeInference(), -1
    while len(infer.found) > known:
        known = len(infer.found)
        infer(model, nI, nO)
    for (node, name), size in infer.found.items():
        node.set_dim(name, size)
