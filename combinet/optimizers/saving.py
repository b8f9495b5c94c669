"""An optimizer's state for a model as bytes: validated whole before anything is assigned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from combinet.errors import DimensionError, FormatError, describe
from combinet.storage import file_format
from combinet.storage.slots import Slot
from combinet.storage.store import locked

_MOST = np.iinfo("int64").max


def to_bytes(optimizer: Any, model: Any) -> bytes:
    """See `Optimizer.to_bytes`."""
    kept = {}
    slots = model.slots_by_path()
    with locked(slots.values()):  # all is of one moment, between two updates
        for path, slot in slots.items():
            state = slot.store.optimizer_states.get(optimizer)
            if state is not None and state.steps[slot.number]:
                arrays = {
                    n: file_format.to_host(array) for n, array in optimizer.state(slot).items()
                }
                kept[path] = {"steps": int(state.steps[slot.number]), "arrays": arrays}
        content = {"type": optimizer.kind, "step": optimizer.step, "kept": kept}
    return file_format.encode("optimizer", content)


def read(optimizer: Any, data: bytes, model: Any) -> tuple[dict[str, Any], dict[str, Slot]]:
    """What `data` says, and the model's slots by path; of this kind of optimizer and these paths.

    Raises FormatError for anything else.
    """
    content = file_format.decode("optimizer", data)
    if not _has(content, "type", "step", "kept") or not isinstance(content["type"], str):
        raise FormatError("these bytes do not hold a type, a step and what is kept")
    if content["type"] != optimizer.kind:
        raise FormatError(f"this is the state of {content['type']}, not {optimizer.kind}")
    kept = content["kept"]
    if not _is_count(content["step"]) or not isinstance(kept, dict):
        raise FormatError(f"these bytes hold {describe(kept)} of step {content['step']!r}")
    slots = model.slots_by_path()
    for path, saved in kept.items():
        if path not in slots:
            raise FormatError(f"the model has no initialized parameter '{path}'")
        if not isinstance(saved, dict) or not _is_count(saved.get("steps")):
            raise FormatError(f"for '{path}' there is no number of steps")
    return content, slots


def from_bytes(optimizer: Any, data: bytes, model: Any) -> None:
    """See `Optimizer.from_bytes`."""
    content, slots = read(optimizer, data, model)
    for path, saved in content["kept"].items():
        if not _has(saved, "steps", "arrays") or not isinstance(saved["arrays"], dict):
            raise FormatError(f"for '{path}' there is {[*saved]}, not steps and arrays alone")
        _check(path, saved["arrays"], optimizer, slots[path])
    for path, slot in slots.items():
        if path in content["kept"]:
            _restore(optimizer, slot, **content["kept"][path])
        elif optimizer in slot.store.optimizer_states:  # not updated yet when this was saved
            _restore(optimizer, slot, 0, dict.fromkeys(optimizer.state(slot), 0))
    optimizer.step = content["step"]


def _has(record: Any, *names: str) -> bool:
    return isinstance(record, dict) and set(record) == {*names}


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _check(path: str, arrays: Mapping[str, Any], optimizer: Any, slot: Slot) -> None:
    """Raise FormatError or DimensionError if these are not what is kept for a parameter."""
    shapes = optimizer.shapes(slot.shape) if slot.ema_rate is None else {}
    if set(arrays) != set(shapes):
        raise FormatError(
            f"for '{path}' there is {[*arrays]}; this {optimizer.kind} keeps {[*shapes]}"
        )
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise FormatError(f"'{name}' of '{path}' is an array of floats, not {describe(array)}")
        if array.shape != shapes[name]:
            raise DimensionError(
                f"'{name}' of '{path}' is {shapes[name]}, what was saved {array.shape}"
            )


def _restore(optimizer: Any, slot: Slot, steps: int, arrays: Mapping[str, Any]) -> None:
    store = slot.store
    store.optimizer_state(optimizer).steps[slot.number] = steps
    for name, target in optimizer.state(slot).items():
        target[...] = store.ops.asarray(arrays[name], store.dtype)
