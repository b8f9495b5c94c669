"""What an optimizer remembers of a model as bytes: validated whole before anything is assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from combinet import format
from combinet.errors import DimensionError, FormatError
from combinet.store import Slot, locked


def to_bytes(optimizer: Any, model: Any) -> bytes:
    """See `Optimizer.to_bytes`."""
    kept = {}
    slots = model.slots_by_path()
    with locked(slots.values()):  # all is of one moment, between two updates
        for path, slot in slots.items():
            memory = slot.store.memories.get(optimizer)
            if memory is not None and memory.steps[slot.number]:
                arrays = {n: format.to_host(array) for n, array in optimizer.kept(slot).items()}
                kept[path] = {"steps": int(memory.steps[slot.number]), "arrays": arrays}
        content = {"type": optimizer.kind, "step": optimizer.step, "kept": kept}
    return format.encode("optimizer", content)


def read(optimizer: Any, data: bytes, model: Any) -> tuple[dict[str, Any], dict[str, Slot]]:
    """What `data` says, and the model's slots by path; of this kind of optimizer and these paths.

    Raises FormatError for anything else.
    """
    content = format.decode("optimizer", data)
    if content["type"] != optimizer.kind:
        raise FormatError(f"this is the state of {content['type']}, not {optimizer.kind}")
    slots = model.slots_by_path()
    for path in content["kept"]:
        if path not in slots:
            raise FormatError(f"the model has no initialized parameter '{path}'")
    return content, slots


def from_bytes(optimizer: Any, data: bytes, model: Any) -> None:
    """See `Optimizer.from_bytes`."""
    content, slots = read(optimizer, data, model)
    for path, saved in content["kept"].items():
        shapes = {name: array.shape for name, array in optimizer.kept(slots[path]).items()}
        if set(saved["arrays"]) != set(shapes):
            raise FormatError(
                f"for '{path}' there is {[*saved['arrays']]}; this {content['type']} keeps "
                f"{[*shapes]}"
            )
        for name, array in saved["arrays"].items():
            if array.shape != shapes[name]:
                raise DimensionError(
                    f"'{name}' of '{path}' is {shapes[name]}, what was saved {array.shape}"
                )
    for path, slot in slots.items():
        if path in content["kept"]:
            _remember(optimizer, slot, **content["kept"][path])
        elif optimizer in slot.store.memories:  # not updated yet when this was saved
            _remember(optimizer, slot, 0, dict.fromkeys(optimizer.kept(slot), 0))
    optimizer.step = content["step"]


def _remember(optimizer: Any, slot: Slot, steps: int, arrays: Mapping[str, Any]) -> None:
    store = slot.store
    store.memory(optimizer).steps[slot.number] = steps
    for name, kept in optimizer.kept(slot).items():
        kept[...] = store.ops.asarray(arrays[name], store.dtype)
