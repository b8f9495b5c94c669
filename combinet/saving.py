"""A model as bytes: a record for each layer, validated whole before anything is assigned."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from combinet import format
from combinet.errors import DimensionError, FormatError
from combinet.layout import allocate, refuse_borrowed
from combinet.tree import paths
from combinet.widths import Solver

_PARTS = ("attrs", "averages", "dims", "params")
_PLAIN = (bool, int, float, str, type(None))


def to_bytes(model: Any, exclude: Mapping[str, bool]) -> bytes:
    """See `Model.to_bytes`."""
    keep = _Kept(model, exclude)
    nodes = []
    for path, node in paths(model).items():
        record: dict[str, Any] = {"name": node.name, "layers": len(node.layers)}
        if keep("dims", path):
            record["dims"] = dict(node.dims)
        if keep("attrs", path):
            record["attrs"] = {name: v for name, v in node.attrs.items() if isinstance(v, _PLAIN)}
        if keep("params", path):
            slots = node.slots.items()
            record["params"] = {name: format.to_host(slot.value) for name, slot in slots}
            if keep("averages", path):
                record["averages"] = {
                    name: format.to_host(slot.of(slot.store.averages))
                    for name, slot in slots
                    if slot.store.averages is not None
                }
        nodes.append(record)
    return format.encode("model", {"nodes": nodes})


def from_bytes(model: Any, data: bytes, exclude: Mapping[str, bool]) -> None:
    """See `Model.from_bytes`."""
    refuse_borrowed(model)
    keep = _Kept(model, exclude)
    named = paths(model)
    records = format.decode("model", data)["nodes"]
    outline = [(node.name, len(node.layers)) for node in named.values()]
    if (saved := [(record["name"], record["layers"]) for record in records]) != outline:
        differs = next((i for i, pair in enumerate(zip(outline, saved, strict=False))
                        if pair[0] != pair[1]), min(len(outline), len(saved)))  # fmt: skip
        here, there = (_nth(each, differs) for each in (outline, saved))
        raise FormatError(f"the model saved has {there} where this one has {here}")
    plan = [(path, node, record) for (path, node), record in zip(named.items(), records,
                                                                 strict=True)]  # fmt: skip
    sizes = _validated_dims(model, plan, keep)
    dtype = _validate_params(plan, keep, sizes)
    _validate_attrs(plan, keep)
    for (node, name), size in sizes.items():
        node.dims[name] = size
    for path, node, record in plan:
        if keep("attrs", path):
            node.attrs.update(record.get("attrs", {}))
    loaded = [(path, node, record) for path, node, record in plan if keep("params", path)]
    allocate(model, [(node, record["params"]) for _, node, record in loaded
                     if record.get("params") and not node.slots], dtype)  # fmt: skip
    for path, node, record in loaded:
        averages = record.get("averages", {}) if keep("averages", path) else {}
        for name, value in record.get("params", {}).items():
            _load(node.slots[name], value, averages.get(name))


def _load(slot: Any, value: Any, average: Any) -> None:
    store = slot.store
    store.write(slot, value)
    if average is not None or store.averages is not None:
        with store.lock:  # without one of its own, the mean starts again at the weights
            flat = store.writable_averages()
            slot.of(flat)[...] = store.ops.asarray(value if average is None else average)


class _Kept:
    """Tells which part of which layer is kept, given the keywords that leave out."""

    def __init__(self, model: Any, exclude: Mapping[str, bool]) -> None:
        known = [*_PARTS, *paths(model)]
        for name, value in exclude.items():
            if name not in known:
                raise FormatError(f"{name!r} is neither one of {_PARTS} nor a layer's path")
            if value is not False:
                raise FormatError(f"{name}=False leaves it out; {name}={value!r} says nothing")
        self.names = set(exclude)

    def __call__(self, part: str, path: str) -> bool:
        if part in self.names:
            return False
        below = any(path == name or path.startswith(f"{name} >> ") for name in self.names)
        return not (below and part in ("params", "averages"))


def _nth(outline: list[tuple[str, int]], i: int) -> str:
    return f"layer {i} '{outline[i][0]}' of {outline[i][1]}" if i < len(outline) else "no more"


def _validated_dims(model: Any, plan: list[Any], keep: _Kept) -> dict[tuple[Any, str], int]:
    """The dims to be set: from the record, and from the shapes of its arrays."""
    solve = Solver()
    for path, node, record in plan:
        found = dict(record.get("dims", {})) if keep("dims", path) else {}
        if set(found) - set(node.dims):
            raise FormatError(f"'{path}' has no dims {sorted(set(found) - set(node.dims))}")
        for name, array in record.get("params", {}).items() if keep("params", path) else ():
            if name not in node.param_names:
                raise FormatError(f"'{path}' has no parameter {name}")
            axes = node.param(name).axes
            if len(axes) != array.ndim:
                raise DimensionError(f"{name} of '{path}' is {axes}, what was saved {array.shape}")
            found |= {a: n for a, n in zip(axes, array.shape, strict=True) if found.get(a) is None}
        for name, size in found.items():
            try:
                solve.dim(node, name, size)
            except DimensionError:
                raise DimensionError(
                    f"'{path}' has {name}={node.dims[name]}, the model saved {name}={size}"
                ) from None
    solve(model, None, None)
    return solve.found


def _validate_params(plan: list[Any], keep: _Kept, sizes: Mapping[Any, int]) -> Any:
    """Check all arrays; the dtype of them, None if there are none."""
    dtypes: set[Any] = set()
    for path, node, record in plan:
        if not keep("params", path):
            continue
        saved = record.get("params", {})
        missing = set(node.param_names) - set(saved)
        if missing and (node.slots or saved):
            raise FormatError(
                f"the model saved has no {sorted(missing)} for '{path}': "
                f"exclude what was excluded when it was saved"
            )
        for part in (saved, record.get("averages", {}) if keep("averages", path) else {}):
            for name, array in part.items():
                expected = node.param_shape(name, sizes)
                if not isinstance(array, np.ndarray) or array.shape != expected:
                    shape = getattr(array, "shape", type(array).__name__)
                    raise DimensionError(f"{name} of '{path}' is {expected}, not {shape}")
                dtypes.add(array.dtype)
        dtypes |= {slot.store.dtype for slot in node.slots.values()} if saved else set()
    if len(dtypes) > 1 or any(dtype.kind != "f" for dtype in dtypes):
        raise FormatError(f"weights of {' and '.join(sorted(map(str, dtypes)))} don't go together")
    return dtypes.pop() if dtypes else None


def _validate_attrs(plan: list[Any], keep: _Kept) -> None:
    for path, node, record in plan:
        for name, value in record.get("attrs", {}).items() if keep("attrs", path) else ():
            if name not in node.attrs or not isinstance(value, _PLAIN):
                raise FormatError(f"'{path}' has no attr {name} = {value!r}")
