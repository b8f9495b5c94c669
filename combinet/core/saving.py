"""A model as bytes: a record for each layer, validated whole before anything is assigned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import numpy as np

from combinet.core.allocation import assign, own_slots
from combinet.core.layer import Layer
from combinet.core.shape_inference import ShapeInference, Watched, changed
from combinet.core.tree import paths, walk
from combinet.errors import CombinetError, DimensionError, FormatError, describe
from combinet.storage import file_format
from combinet.storage.store import locked
from combinet.types import Array, is_size

_PARTS = ("attrs", "averages", "dims", "params")
# For each layer its path, itself, and what was saved of it: any of _PARTS, by their names.
Plan: TypeAlias = "Sequence[tuple[str, Any, Mapping[str, Any]]]"
# For each layer its name and the numbers of its children.
TreeStructure: TypeAlias = "list[tuple[str, list[int]]]"
_Keep: TypeAlias = Callable[[str, str], bool]
_INT, _FLOAT = (int, np.integer), (float, np.floating)
_KINDS = ((bool, np.bool_), _INT, _FLOAT, (str,), (np.ndarray,))
_PLAIN = (bool, int, float, str, type(None), np.ndarray)


def to_bytes(model: Layer, exclude: Mapping[str, bool]) -> bytes:
    """See `Model.to_bytes`."""
    keep = _Kept(model, exclude)
    nodes = []
    slots = [slot for node in walk(model) for slot in node.slots.values()]
    with locked(slots):  # all is of one moment, between two updates
        for (path, node), (name, children) in zip(paths(model).items(), _structure_of(model),
                                                  strict=True):  # fmt: skip
            record: dict[str, Any] = {"name": name, "layers": children}
            if keep("dims", path):
                record["dims"] = dict(node.dims)
            if keep("attrs", path):
                record["attrs"] = {name: v for name, v in node.attrs.items() if _is_plain(v)}
            if keep("params", path):
                record["params"], averages = params_of(node)
                if keep("averages", path):
                    record["averages"] = averages
            nodes.append(record)
    return file_format.encode("model", {"nodes": nodes})


def params_of(node: Layer) -> tuple[dict[str, Any], dict[str, Any]]:
    """A layer's parameters and their averages on the host; the caller has the locks."""
    slots = node.slots
    params = {name: file_format.to_host(slot.value) for name, slot in slots.items()}
    averages = {
        name: file_format.to_host(slot.of(slot.store.averages))
        for name, slot in slots.items()
        if slot.store.averages is not None
    }
    return params, averages


def _structure_of(model: Layer) -> TreeStructure:
    """For each path the layer's name and its children's numbers, which say what is shared too."""
    nodes = paths(model).values()
    number = {node.id: i for i, node in enumerate(nodes)}
    return [(node.name, [number[layer.id] for layer in node.layers]) for node in nodes]


def from_bytes(model: Layer, data: bytes, exclude: Mapping[str, bool]) -> None:
    """See `Model.from_bytes`."""
    keep = _Kept(model, exclude)
    named = paths(model)
    records = _records(file_format.decode("model", data))
    structure, saved = (
        _structure_of(model),
        [(record["name"], record["layers"]) for record in records],
    )
    if saved != structure:
        here, there = _difference([*named], structure, saved)
        raise FormatError(f"the model saved has {there} where this one has {here}")
    plan = [(path, node, record) for (path, node), record in zip(named.items(), records,
                                                                 strict=True)]  # fmt: skip
    load(model, plan, keep)


def load(model: Layer, plan: Plan, keep: _Keep) -> None:
    """Check what is kept of a record for each layer, then assign it all, or raise."""
    own_slots(model)
    before = [(node, node.attrs) for _, node, _ in plan]
    try:
        _set_attrs(plan, keep)  # first: widths follow from some of them
        sizes = _validated_dims(model, plan, keep)
        dtype = _validate_params(plan, keep, sizes)
    except BaseException:
        for node, attrs in before:
            node.attrs = attrs
        changed()
        raise
    for (node, name), size in sizes.items():
        node.dims[name] = int(size)
    loaded = [(path, node, record) for path, node, record in plan if keep("params", path)]
    assign(
        _by_param(loaded, "params"),
        _by_param([each for each in loaded if keep("averages", each[0])], "averages"),
        dtype,
    )


def _by_param(plan: Plan, part: str) -> dict[tuple[Any, str], Array]:
    """The arrays of a part of the records, in the order in which layers declare them."""
    return {
        (node, name): record[part][name]
        for _, node, record in plan
        for name in node.param_names
        if name in record.get(part, {})
    }


def _is_plain(value: Any) -> bool:
    """Whether a setting can be saved: a number, a text, None, an array, or a list of them."""
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(map(_is_plain, value)))


class _Kept:
    """Tells which part of which layer is kept, given the keywords that leave out."""

    def __init__(self, model: Layer, exclude: Mapping[str, bool]) -> None:
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
        return not any(path == name or path.startswith(f"{name} >> ") for name in self.names)


def _difference(
    named: list[str], structure: TreeStructure, saved: TreeStructure
) -> tuple[str, str]:
    """What is here, and what was saved, at the first place where two outlines differ."""
    for here, there in zip_longest(_places(structure), _places(saved)):
        if here == there:
            continue
        if here and there and here[:2] == there[:2]:
            return f"'{named[here[3]]}'", f"{'another ' * (here[2] == there[2])}'{there[2]}'"
        if here and (there is None or here[1] >= len(saved[here[0]][1])):
            return f"'{named[here[3]]}'", "no layer"
        return f"no layer {there[1]} in '{named[there[0]]}'", f"'{there[2]}'"
    return "no more", "more layers"


def _places(structure: TreeStructure) -> Iterator[tuple[int, int, str, int]]:
    """Depth-first each layer's parent, position there, name and number; the first has no parent."""
    seen: set[int] = set()
    waiting = [(-1, 0, 0)] if structure else []
    while waiting:
        parent, position, number = waiting.pop()
        name, children = structure[number]
        yield parent, position, name, number
        if number not in seen:
            seen.add(number)
            waiting += reversed([(number, i, child) for i, child in enumerate(children)])


def _records(content: Any) -> list[dict[str, Any]]:
    """The records of the layers, each of the form that `to_bytes` gives it."""
    records = content.get("nodes") if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(_is_record(each, len(records)) for each in records):
        raise FormatError("these bytes do not hold layers as a saved model does")
    return records


def _is_record(record: Any, number: int) -> bool:
    return (
        isinstance(record, dict)
        and isinstance(record.get("name"), str)
        and isinstance(record.get("layers"), list)
        and all(isinstance(child, int) and 0 <= child < number for child in record["layers"])
        and _is_table(record.get("dims", {}), lambda size: size is None or is_size(size))
        and _is_table(record.get("attrs", {}), _is_plain)
        and _is_table(record.get("params", {}), lambda value: isinstance(value, np.ndarray))
        and _is_table(record.get("averages", {}), lambda value: isinstance(value, np.ndarray))
    )


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and fits(v) for k, v in value.items())


def _validated_dims(model: Layer, plan: Plan, keep: _Keep) -> dict[tuple[Any, str], int]:
    """The dims to be set: from the record, and from the shapes of its arrays."""
    infer = ShapeInference()
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
            found |= {
                axis: size
                for axis, size in zip(axes, array.shape, strict=True)
                if isinstance(axis, str) and found.get(axis) is None
            }
        for name, size in found.items():
            try:
                infer.dim(node, name, size)
            except DimensionError:
                raise DimensionError(
                    f"'{path}' has {name}={node.dims[name]}, the model saved {name}={size}"
                ) from None
    try:
        infer(model, None, None)
    except CombinetError:
        raise
    except Exception as error:
        raise FormatError(f"{model.name} can't have the attrs saved: {error}") from error
    for (node, name), size in infer.found.items():
        if not is_size(size):
            raise DimensionError(f"{node.name} can't have {name}={size}, as the model saved has")
    return infer.found


def _validate_params(plan: Plan, keep: _Keep, sizes: Mapping[Any, int]) -> Any:
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
        averages = record.get("averages", {}) if keep("averages", path) else {}
        if extra := set(averages) - set(saved):
            raise FormatError(f"the model saved has averages of {sorted(extra)} alone for '{path}'")
        for part in (saved, averages):
            for name, array in part.items():
                expected = node.param_shape(name, sizes)
                if array.shape != expected:
                    raise DimensionError(f"{name} of '{path}' is {expected}, not {array.shape}")
                dtypes.add(array.dtype)
        dtypes |= {slot.store.dtype for slot in node.slots.values()} if saved else set()
    if len(dtypes) > 1 or any(dtype.name not in ("float32", "float64") for dtype in dtypes):
        found = " and ".join(sorted(map(str, dtypes)))
        raise FormatError(f"weights are all of float32 or all of float64, not of {found}")
    return dtypes.pop() if dtypes else None


def _set_attrs(plan: Plan, keep: _Keep) -> None:
    """Check each layer's attrs, then let it have them in place of its own."""
    for path, node, record in plan:
        attrs = record.get("attrs", {}) if keep("attrs", path) else {}
        for name, value in attrs.items():
            if name not in node.attrs:
                raise FormatError(f"'{path}' has no attr {name} = {value!r}")
            if not _is_alike(value, node.attrs[name]):
                raise FormatError(
                    f"{name} of '{path}' is of the kind {describe(node.attrs[name])}, "
                    f"the model saved {describe(value)}"
                )
        node.attrs = Watched({**node.attrs, **attrs})
    changed()


def _is_alike(value: Any, present: Any) -> bool:
    """Whether a setting is of the kind of the present one; None may be either of them."""
    if value is None or present is None:
        return True
    if isinstance(value, list) and isinstance(present, list):
        # An empty one is a place for any.
        return not present or all(any(_is_alike(i, each) for each in present) for i in value)
    kinds = [next((kind for kind in _KINDS if isinstance(each, kind)), ())
             for each in (value, present)]  # fmt: skip
    return kinds[1] != () and (kinds[0] == kinds[1] or kinds == [_INT, _FLOAT])
