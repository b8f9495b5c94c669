"""Optimizer state: access by parameter, and saving to bytes and files."""

from __future__ import annotations

import os
from ast import literal_eval
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from combinet.errors import DimensionError, FormatError, InputError, describe
from combinet.ops.backends import default_ops, get_array_ops
from combinet.ops.base import Ops
from combinet.storage import file_format
from combinet.storage.slots import Slot
from combinet.storage.store import Store, locked
from combinet.types import Array, DTypeLike, Shape, is_array

if TYPE_CHECKING:
    from typing_extensions import Self

_MAX_STEPS = np.iinfo("int64").max


class SavedState:
    """Base class of optimizers: state in the stores of models, and saving."""

    # Whether the optimizer keeps separate arrays for each parameter, of the shapes in `shapes`,
    # instead of flat arrays laid out like the store.
    by_parameter = False

    def __init__(self, arrays: tuple[str, ...]) -> None:
        self.arrays = arrays
        self.step = 0
        self.stores: WeakSet[Store] = WeakSet()  # stores with state of this optimizer
        self._array_slots: dict[object, Slot] = {}  # by key, for arrays that no model stores

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns the shapes of a parameter's state by name: its own shape unless `by_parameter`.

        Args:
            shape: Shape of the parameter.
        """
        return dict.fromkeys(self.arrays, shape)

    def state(self, slot: Slot) -> dict[str, Array]:
        """Returns the state of a parameter by name, initially 0. Writing to the arrays changes it.

        Args:
            slot: Slot of the parameter. A buffer has no state.
        """
        if slot.ema_rate is not None:
            return {}
        store = slot.store
        state = store.optimizer_state(self)
        if not self.by_parameter:
            return {name: slot.of(flat) for name, flat in state.arrays.items()}
        if slot.number not in state.by_slot:
            state.by_slot[slot.number] = {
                name: store.ops.zeros(shape, store.dtype)
                for name, shape in self.shapes(slot.shape).items()
            }
        return state.by_slot[slot.number]

    def array_slot(self, key: object, weights: Array, gradient: Array) -> Slot:
        """Returns the slot that keeps the state of an array, in a store of its own.

        Args:
            key: Name of the array.
            weights: Float32 or float64 array.
            gradient: Its gradient.

        Raises:
            InputError: If the weights are not float32 or float64, or if the key cannot be saved.
            DimensionError: If the gradient has another shape than the weights.
        """
        if str(getattr(weights, "dtype", "")) not in ("float32", "float64"):
            raise InputError(
                f"{self.kind} expected weights of float32 or float64 for {key!r}, "
                f"got {describe(weights)}"
            )
        if not is_array(gradient) or tuple(gradient.shape) != tuple(weights.shape):
            raise DimensionError(
                f"{self.kind} expected a gradient like the weights of {key!r}, "
                f"{describe(weights)}, got {describe(gradient)}"
            )
        old, ops = self._array_slots.get(key), get_array_ops(weights)
        shape, dtype = tuple(weights.shape), weights.dtype
        if old is not None and (old.shape, old.store.dtype) == (shape, dtype):
            if old.store.ops.device == ops.device:
                return old
        else:
            old = None
        slot = self._array_slots[key] = _new_slot(_checked_key(key), shape, ops, dtype)
        if old is not None:  # the weights have moved to another device
            steps = int(old.store.optimizer_state(self).steps[0])
            self._restore(slot, steps, self.state(old))
            if old.store.averages is not None:
                slot.store.averages = ops.asarray(old.store.averages)
        return slot

    def _slots_of(self, model: Any) -> dict[str, Slot]:
        """Returns the slots of a model's parameters by path, and those of arrays by key."""
        arrays = {repr(key): slot for key, slot in self._array_slots.items()}
        return {**model.slots_by_path(), **arrays}

    @property
    def kind(self) -> str:
        """The name under which the state is saved."""
        return type(self).__name__

    def to_bytes(self, model: Any) -> bytes:
        """Returns the optimizer's state for a model as bytes, in combinet's format.

        The state is the step count of the optimizer, and the step count and moments of each
        parameter by its path. `Model.to_bytes` saves the averages. The state of arrays that the
        optimizer was called with is saved by their keys, with their averages. Updates in other
        threads wait until this returns.

        Args:
            model: The model whose parameters the optimizer updates.
        """
        saved = {}
        slots = self._slots_of(model)
        with locked(slots.values()):  # no update comes between two parameters
            for path, slot in slots.items():
                state = slot.store.optimizer_states.get(self)
                if state is not None and state.steps[slot.number]:
                    arrays = {n: file_format.to_host(X) for n, X in self.state(slot).items()}
                    saved[path] = {"steps": int(state.steps[slot.number]), "arrays": arrays}
            return self._encode(saved)

    def _encode(self, saved: dict[str, Any]) -> bytes:
        """Returns the bytes of what was saved by path."""
        content: dict[str, Any] = {"type": self.kind, "step": self.step, "kept": saved}
        if self._array_slots:
            content["arrays"] = {
                repr(key): {
                    "shape": [*slot.shape],
                    "dtype": slot.store.dtype.name,
                    "average": None
                    if slot.store.averages is None
                    else file_format.to_host(slot.store.averages),
                }
                for key, slot in self._array_slots.items()
            }
        return file_format.encode("optimizer", content)

    def from_bytes(self, data: bytes, model: Any) -> Self:
        """Loads the state that `to_bytes` saved. Returns the optimizer.

        An error leaves the optimizer unchanged.

        Args:
            data: Bytes from `to_bytes`.
            model: The model that the state was saved for, or one with the same parameters.

        Raises:
            FormatError: If the bytes are damaged, or belong to another class of optimizer or to a
                model with other parameters.
            DimensionError: If a saved array has another shape than the parameter's state.
        """
        content, slots, array_slots = self._decode(data, model)
        for path, saved in content["kept"].items():
            if {*saved} != {"steps", "arrays"} or not isinstance(saved["arrays"], dict):
                raise FormatError(f"'{path}' expected steps and a dict of arrays, got {[*saved]}")
            self._check(path, slots[path], saved["arrays"])
        self._array_slots = array_slots
        for path, slot in slots.items():
            if path in content["kept"]:
                self._restore(slot, **content["kept"][path])
            elif self in slot.store.optimizer_states:  # was not updated before the save
                self._restore(slot, 0, {})
        self.step = content["step"]
        return self

    def to_disk(self, path: str | os.PathLike[str], model: Any) -> None:
        """Saves `to_bytes` to a file. An error leaves an existing file unchanged.

        Args:
            path: Path of the file.
            model: The model whose parameters the optimizer updates.
        """
        file_format.write(path, self.to_bytes(model))

    def from_disk(self, path: str | os.PathLike[str], model: Any) -> Self:
        """Loads a file that `to_disk` saved. Returns the optimizer. Raises like `from_bytes`.

        Args:
            path: Path of the file.
            model: The model that the state was saved for, or one with the same parameters.
        """
        return self.from_bytes(file_format.read(path), model)

    def _decode(
        self, data: bytes, model: Any
    ) -> tuple[dict[str, Any], dict[str, Slot], dict[object, Slot]]:
        """Returns the decoded bytes, all slots by path, and those of arrays by key.

        Raises FormatError if the bytes belong to another optimizer or another model.
        """
        content = file_format.decode("optimizer", data)
        if not isinstance(content, dict) or {*content} - {"arrays"} != {"type", "step", "kept"}:
            raise FormatError(f"expected a dict of type, step and kept, got {describe(content)}")
        kind, step, by_path = content["type"], content["step"], content["kept"]
        if not isinstance(kind, str) or kind != self.kind:
            raise FormatError(f"expected a saved {self.kind}, got {kind!r:.60}")
        if not _is_count(step) or not isinstance(by_path, dict):
            raise FormatError(f"expected a step and a dict, got {step!r:.30}, {describe(by_path)}")
        arrays = _decoded_arrays(content.get("arrays", {}))
        slots = {**model.slots_by_path(), **{repr(key): slot for key, slot in arrays.items()}}
        for path, saved in by_path.items():
            if path not in slots:
                raise FormatError(f"expected an initialized parameter '{path}' in the model")
            if not isinstance(saved, dict) or not _is_count(saved.get("steps")):
                raise FormatError(f"'{path}' expected a number of steps, got {describe(saved)}")
        return content, slots, arrays

    def _check(self, path: str, slot: Slot, arrays: dict[str, Any]) -> None:
        """Raises FormatError or DimensionError if these arrays cannot be a parameter's state."""
        shapes = self.shapes(slot.shape) if slot.ema_rate is None else {}
        if {*arrays} != {*shapes}:
            raise FormatError(f"{self.kind} expected {[*shapes]} for '{path}', got {[*arrays]}")
        for name, X in arrays.items():
            if not isinstance(X, np.ndarray) or X.dtype.kind != "f":
                raise FormatError(f"'{name}' of '{path}' expected a float array, got {describe(X)}")
            if X.shape != shapes[name]:
                raise DimensionError(f"'{path}' expected {name} {shapes[name]}, got {X.shape}")

    def _restore(self, slot: Slot, steps: int, arrays: dict[str, Any]) -> None:
        """Sets the state of a parameter. Arrays that are missing from `arrays` become 0."""
        store = slot.store
        store.optimizer_state(self).steps[slot.number] = steps
        for name, target in self.state(slot).items():
            target[...] = store.ops.asarray(arrays.get(name, 0), store.dtype)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_STEPS


def _new_slot(key: Any, shape: Shape, ops: Ops, dtype: DTypeLike) -> Slot:
    """Returns the slot of an array, alone in a new store."""
    store = Store(ops, dtype)
    slot = store.add(key, shape, "C", None)
    store.adopt(ops.zeros((store.size,), store.dtype))
    return slot


def _checked_key(key: object) -> object:
    """Returns a key. Raises InputError if it could not be read from its text."""
    if not _is_plain(key):
        raise InputError(f"expected a key of strings, ints and tuples, got {key!r:.60}")
    return key


def _is_plain(key: object) -> bool:
    return isinstance(key, str | int) or (isinstance(key, tuple) and all(map(_is_plain, key)))


def _decoded_arrays(saved: Any) -> dict[object, Slot]:
    """Returns new slots by key for the arrays that an optimizer was called with."""
    if not isinstance(saved, dict):
        raise FormatError(f"expected arrays by key, got {describe(saved)}")
    slots: dict[object, Slot] = {}
    for text, record in saved.items():
        match record:
            case {"shape": list(shape), "dtype": "float32" | "float64" as dtype, "average": mean}:
                key = _key_of(text)
            case _:
                raise FormatError(f"expected a shape, a dtype and an average for {text!r:.60}")
        if not all(map(_is_count, shape)):
            raise FormatError(f"expected a shape of {text:.60}, got {shape!r:.60}")
        slot = slots[key] = _new_slot(key, tuple(shape), default_ops(), dtype)
        if mean is not None:
            if not isinstance(mean, np.ndarray) or mean.shape != (slot.store.size,):
                raise FormatError(f"expected an average of {text:.60}, got {describe(mean)}")
            slot.store.averages = mean.astype(dtype)
    return slots


def _key_of(text: Any) -> object:
    try:
        return _checked_key(literal_eval(text))
    except (ValueError, SyntaxError, TypeError, InputError, MemoryError, RecursionError):
        raise FormatError(f"expected the key of an array, got {text!r:.60}") from None
