"""Saving and loading: a model as bytes, with a record for each layer.

Loading checks all records before it assigns anything.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.core.allocation import assign, own_slots
from combinet.core.layer import Layer
from combinet.core.objects import (
    bytes_of,
    has_state,
    is_layer_object,
    is_savable_object,
    load_bytes,
)
from combinet.core.shape_inference import ShapeInference, Watched, changed
from combinet.core.tree import paths, walk
from combinet.errors import CombinetError, DimensionError, FormatError, describe
from combinet.storage import file_format
from combinet.storage.store import locked
from combinet.types import Array, is_size

# For each layer: its path, the layer, and the sections of its record to load.
Plan: TypeAlias = "Sequence[tuple[str, Any, Mapping[str, Any]]]"
# For each layer: its name and the numbers of its sublayers.
TreeStructure: TypeAlias = "list[tuple[str, list[int]]]"
_INT, _FLOAT = (int, np.integer), (float, np.floating)
_TYPES = ((bool, np.bool_), _INT, _FLOAT, (str,), (np.ndarray,))
_PLAIN = (bool, int, float, str, type(None), np.ndarray)


def _is_plain(value: Any) -> bool:
    """Returns whether an attr can be saved: a number, string, None, array, or a list of these."""
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(map(_is_plain, value)))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


class _Section(NamedTuple):
    """A section of a record.

    `read` returns the content of a layer, without what its second argument excludes. `is_valid`
    checks each value.
    """

    read: Callable[[Any, Mapping[str, bool]], dict[str, Any]]
    is_valid: Callable[[Any], bool]


# The name of the bytes that a layer returns from its own to_bytes, among those of its objects.
_LAYER = "."


def _objects_of(node: Any, exclude: Mapping[str, bool]) -> dict[str, bytes]:
    """Returns the bytes of the objects in a layer's attrs."""
    for value in node.attrs.values():
        if is_layer_object(value) and has_state(value) and not is_savable_object(value):
            raise FormatError(
                f"{node.name} expected {type(value).__name__}.to_bytes and from_bytes, got an "
                f"object without them; define them, or exclude it: objects=False"
            )
    objects = {name: value for name, value in node.attrs.items() if is_savable_object(value)}
    return {name: bytes_of(node.name, value, exclude) for name, value in objects.items()}


_SECTIONS = {
    "dims": _Section(lambda node, _: dict(node.dims), lambda size: size is None or is_size(size)),
    "attrs": _Section(
        lambda node, _: {name: value for name, value in node.attrs.items() if _is_plain(value)},
        _is_plain,
    ),
    "objects": _Section(_objects_of, lambda data: isinstance(data, bytes)),
    "params": _Section(
        lambda node, _: {name: file_format.to_host(s.value) for name, s in node.slots.items()},
        _is_array,
    ),
    "averages": _Section(
        lambda node, _: {
            name: file_format.to_host(slot.of(slot.store.averages))
            for name, slot in node.slots.items()
            if slot.store.averages is not None
        },
        _is_array,
    ),
}


def to_bytes(model: Layer, exclude: Mapping[str, bool]) -> bytes:
    """See `Model.to_bytes`."""
    included = _included(model, exclude)
    slots = [slot for node in walk(model) for slot in node.slots.values()]
    own_exclude = {name: False for name in exclude if name in _SECTIONS}
    with locked(slots):  # no update in between
        nodes: list[dict[str, Any]] = []
        named = _paths(model).items()
        for (path, node), (name, children) in zip(named, _structure_of(model), strict=True):
            record: dict[str, Any] = {"name": name, "layers": children}
            if node is model or not _saves_itself(node):
                record |= record_of(node, included(path), own_exclude)
            elif "objects" in included(path):
                record["objects"] = {_LAYER: bytes_of(path, node, own_exclude)}
            nodes.append(record)
    return file_format.encode("model", {"nodes": nodes})


def record_of(
    node: Layer, sections: Collection[str], exclude: Mapping[str, bool] | None = None
) -> dict[str, Any]:
    """Returns sections of a layer's record, with arrays on the host. The caller holds the locks."""
    return {name: _SECTIONS[name].read(node, exclude or {}) for name in sections}


def _saves_itself(node: Any) -> bool:
    """Returns whether a layer's class defines how it is saved, with all layers below it."""
    return not node.own_methods.isdisjoint(("to_bytes", "from_bytes"))


def _sublayers(model: Layer) -> Callable[[Any], tuple[Any, ...]]:
    """Returns a function from a layer of a tree to the sublayers that have records."""
    return lambda node: () if node is not model and _saves_itself(node) else node.layers


def _paths(model: Layer) -> dict[str, Any]:
    return paths(model, _sublayers(model))


def _structure_of(model: Layer) -> TreeStructure:
    """Returns the structure of a tree. The numbers show which sublayers are shared."""
    nodes, below = _paths(model).values(), _sublayers(model)
    number = {node.id: i for i, node in enumerate(nodes)}
    return [(node.name, [number[layer.id] for layer in below(node)]) for node in nodes]


def from_bytes(model: Layer, data: bytes, exclude: Mapping[str, bool]) -> None:
    """See `Model.from_bytes`."""
    included, named = _included(model, exclude), _paths(model)
    records = _records(file_format.decode("model", data))
    structure = _structure_of(model)
    saved = [(record["name"], record["layers"]) for record in records]
    if saved != structure:
        raise FormatError(_difference([*named], structure, saved))
    plan = []
    for (path, node), record in zip(named.items(), records, strict=True):
        sections = {name: record.get(name, {}) for name in included(path)}
        if node is not model and _saves_itself(node):
            sections = {name: sections[name] for name in sections.keys() & {"objects"}}
        plan.append((path, node, sections))
    load(model, plan, {name: False for name in exclude if name in _SECTIONS})


def load(model: Layer, plan: Plan, exclude: Mapping[str, bool] | None = None) -> None:
    """Checks a record for each layer, then assigns all of them."""
    own_slots(model)
    objects = _objects_to_load(model, plan)
    before = [(node, node.attrs) for _, node, _ in plan]
    try:
        _set_attrs(plan)  # first, because shape rules read attrs
        sizes = _validated_dims(model, plan)
        dtype = _validate_params(plan, sizes)
        _load_objects(objects, exclude or {})
    except BaseException:
        for node, attrs in before:
            node.attrs = attrs
        changed()
        raise
    for (node, name), size in sizes.items():
        node.dims[name] = int(size)
    assign(_by_param(plan, "params"), _by_param(plan, "averages"), dtype)


# For each object: the path of its layer, the object, and its bytes.
_Objects: TypeAlias = "list[tuple[str, Any, bytes]]"


def _objects_to_load(model: Layer, plan: Plan) -> _Objects:
    objects: _Objects = []
    for path, node, record in plan:
        if "objects" not in record:
            continue
        found = {name: value for name, value in node.attrs.items() if is_savable_object(value)}
        if node is not model and _saves_itself(node):
            found = {_LAYER: node}
        saved = record["objects"]
        if found.keys() != saved.keys():
            raise FormatError(
                f"'{path}' expected the bytes of its objects {[*found]}, got {[*saved]}; exclude "
                f"them with objects=False to keep the present ones"
            )
        objects.extend((path, found[name], saved[name]) for name in saved)
    return objects


def _load_objects(objects: _Objects, exclude: Mapping[str, bool]) -> None:
    """Loads all objects. After an error, those that have been loaded get their old state back."""
    before: list[tuple[str, Any, bytes]] = []
    try:
        for path, value, data in objects:
            with suppress(Exception):  # an object without state may have nothing to save
                before.append((path, value, bytes_of(path, value, {})))
            load_bytes(path, value, data, exclude)
    except BaseException:
        for path, value, old in reversed(before):
            with suppress(FormatError):
                load_bytes(path, value, old, {})
        raise


def _by_param(plan: Plan, section: str) -> dict[tuple[Any, str], Array]:
    """Returns the arrays of a section, in the order in which the layers declare them."""
    return {
        (node, name): record[section][name]
        for _, node, record in plan
        for name in node.param_names
        if name in record.get(section, {})
    }


def _included(model: Layer, exclude: Mapping[str, bool]) -> Callable[[str], list[str]]:
    """Returns a function from the path of a layer to the sections to save or load."""
    known = [*_SECTIONS, *_paths(model)]
    for name, value in exclude.items():
        if name not in known:
            raise FormatError(f"expected one of {(*_SECTIONS,)} or a path, got {name!r}")
        if value is not False:
            raise FormatError(f"expected {name}=False to exclude it, got {name}={value!r}")
    excluded = {*exclude, *(["averages"] if "params" in exclude else [])}
    sections = [name for name in _SECTIONS if name not in excluded]

    def included(path: str) -> list[str]:
        below = any(f"{path} >> ".startswith(f"{name} >> ") for name in exclude)
        return [] if below else sections

    return included


def _difference(named: list[str], structure: TreeStructure, saved: TreeStructure) -> str:
    """Describes the first layer at which two trees differ, by its name and its sublayers."""
    for path, here, there in zip(named, _outline(structure), _outline(saved), strict=False):
        if here != there:
            return f"expected {here} at '{path}', got {there} in the saved model"
    return f"expected the shared layers of '{named[0]}', got a saved model that shares other layers"


def _outline(structure: TreeStructure) -> list[str]:
    """Returns the name of each layer with the names of its sublayers."""
    names = [name for name, _ in structure]
    return [f"'{name}' with {[names[i] for i in layers]}" for name, layers in structure]


def _records(content: Any) -> list[dict[str, Any]]:
    """Returns the records of the layers, after a check of their structure."""
    records = content.get("nodes") if isinstance(content, dict) else None
    if not isinstance(records, list) or not all(_is_record(each, len(records)) for each in records):
        raise FormatError("expected a saved model, got other content or a damaged record")
    return records


def _is_record(record: Any, number: int) -> bool:
    return (
        isinstance(record, dict)
        and record.keys() <= {"name", "layers", *_SECTIONS}
        and isinstance(record.get("name"), str)
        and isinstance(record.get("layers"), list)
        and all(isinstance(child, int) and 0 <= child < number for child in record["layers"])
        and all(_is_table(record.get(k, {}), section.is_valid) for k, section in _SECTIONS.items())
    )


def _is_table(table: Any, is_valid: Callable[[Any], bool]) -> bool:
    return isinstance(table, dict) and all(
        isinstance(name, str) and is_valid(value) for name, value in table.items()
    )


def _validated_dims(model: Layer, plan: Plan) -> dict[tuple[Any, str], int]:
    """Returns the dims to assign, from the records and the shapes of their arrays."""
    infer = ShapeInference()
    for path, node, record in plan:
        found = dict(record.get("dims", {}))
        if set(found) - set(node.dims):
            unknown = sorted(set(found) - set(node.dims))
            raise FormatError(f"'{path}' expected dims {[*node.dims]}, got {unknown}")
        for name, array in record.get("params", {}).items():
            if name not in node.param_names:
                raise FormatError(f"'{path}' expected one of {[*node.param_names]}, got {name!r}")
            axes = node.param(name).axes
            if len(axes) != array.ndim:
                raise DimensionError(f"'{path}' expected axes {axes} for {name}, got {array.shape}")
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
                    f"'{path}' expected {name}={node.dims[name]}, got {name}={size}"
                ) from None
    try:  # with wrong attrs a shape rule can fail in any way
        infer(model, None, None)
    except CombinetError:
        raise
    except Exception as error:
        raise FormatError(f"{model.name} cannot use the saved attrs: {error}") from error
    for (node, name), size in infer.found.items():
        if not is_size(size):
            raise DimensionError(f"{node.name} expected a positive int, got {name}={size}")
    return infer.found


def _validate_params(plan: Plan, sizes: Mapping[Any, int]) -> Any:
    """Checks all arrays and returns their dtype, or None if there are none."""
    dtypes: set[Any] = set()
    for path, node, record in plan:
        if "params" not in record:
            continue
        saved, averages = record["params"], record.get("averages", {})
        missing = set(node.param_names) - set(saved)
        if missing and (node.slots or saved):  # a layer without weights needs none
            raise FormatError(
                f"'{path}' expected saved parameters {sorted(missing)}, got none; "
                f"if they were excluded from saving, exclude them from loading too"
            )
        if extra := set(averages) - set(saved):
            raise FormatError(f"'{path}' expected {sorted(extra)}, got only their averages")
        for arrays in (saved, averages):
            for name, array in arrays.items():
                shape = node.param_shape(name, sizes)
                if array.shape != shape:
                    raise DimensionError(f"'{path}' expected {shape} for {name}, got {array.shape}")
                dtypes.add(array.dtype)
        dtypes |= {slot.store.dtype for slot in node.slots.values()} if saved else set()
    if len(dtypes) > 1 or any(dtype.name not in ("float32", "float64") for dtype in dtypes):
        found = " and ".join(sorted(map(str, dtypes)))
        raise FormatError(f"expected weights of one dtype, float32 or float64, got {found}")
    return dtypes.pop() if dtypes else None


def _set_attrs(plan: Plan) -> None:
    """Checks and sets the attrs of each layer. `load` restores them after an error."""
    for path, node, record in plan:
        attrs = record.get("attrs", {})
        for name, value in attrs.items():
            if name not in node.attrs:
                raise FormatError(f"'{path}' expected attrs {[*node.attrs]}, got {name!r}")
            if not _is_same_type(value, node.attrs[name]):
                raise FormatError(
                    f"'{path}' expected {describe(node.attrs[name])} for {name}, "
                    f"got {describe(value)}"
                )
        node.attrs = Watched({**node.attrs, **attrs})
    changed()


def _is_same_type(value: Any, present: Any) -> bool:
    """Returns whether an attr has the type of the current one. None matches any type."""
    if value is None or present is None:
        return True
    if isinstance(value, list) and isinstance(present, list):
        # An empty list has no item type, so it accepts any list.
        return not present or all(any(_is_same_type(i, each) for each in present) for i in value)
    new, old = (next((types for types in _TYPES if isinstance(each, types)), None)
                for each in (value, present))  # fmt: skip
    return old is not None and (new == old or (new, old) == (_INT, _FLOAT))
