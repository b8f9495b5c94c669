"""What an optimizer keeps for parameters, and its form as bytes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np

from combinet.errors import DimensionError, FormatError, describe
from combinet.storage import file_format
from combinet.storage.slots import Slot
from combinet.storage.store import Store, locked
from combinet.types import Array, Shape

if TYPE_CHECKING:
    from typing_extensions import Self

_MOST = np.iinfo("int64").max


class SavedState:
    """The state of an optimizer: in the stores, beside the weights, and in files."""

    # Whether it keeps arrays of other shapes, for each parameter by itself, instead of flat ones.
    by_parameter = False

    def __init__(self, arrays: tuple[str, ...]) -> None:
        self.arrays = arrays
        self.step = 0
        self.stores: WeakSet[Store] = WeakSet()  # those that keep something of this optimizer

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of a parameter's state, by name: its own, unless `by_parameter`."""
        return dict.fromkeys(self.arrays, shape)

    def state(self, slot: Slot) -> dict[str, Array]:
        """The state of a parameter, in place; initially 0."""
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

    @property
    def kind(self) -> str:
        """The name under which the state is saved."""
        return type(self).__name__

    def to_bytes(self, model: Any) -> bytes:
        """The steps and moments for `model`, by each parameter's path, with the step count.

        Updates in other threads wait meanwhile.
        """
        saved = {}
        slots = model.slots_by_path()
        with locked(slots.values()):  # all is of one moment, between two updates
            for path, slot in slots.items():
                state = slot.store.optimizer_states.get(self)
                if state is not None and state.steps[slot.number]:
                    arrays = {n: file_format.to_host(X) for n, X in self.state(slot).items()}
                    saved[path] = {"steps": int(state.steps[slot.number]), "arrays": arrays}
            content = {"type": self.kind, "step": self.step, "kept": saved}
        return file_format.encode("optimizer", content)

    def from_bytes(self, data: bytes, model: Any) -> Self:
        """Take up what `to_bytes` saved, for the same model; returns self.

        Raises FormatError or DimensionError, before anything is changed, if the bytes are of
        another kind of optimizer, of a model with other parameters, or damaged.
        """
        content, slots = self._decode(data, model)
        for path, saved in content["kept"].items():
            if {*saved} != {"steps", "arrays"} or not isinstance(saved["arrays"], dict):
                raise FormatError(f"for '{path}' there is {[*saved]}, not steps and arrays alone")
            self._check(path, slots[path], saved["arrays"])
        for path, slot in slots.items():
            if path in content["kept"]:
                self._restore(slot, **content["kept"][path])
            elif self in slot.store.optimizer_states:  # not updated yet when this was saved
                self._restore(slot, 0, {})
        self.step = content["step"]
        return self

    def to_disk(self, path: str | os.PathLike[str], model: Any) -> None:
        """Write `to_bytes` to a file, whole or not at all."""
        file_format.write(path, self.to_bytes(model))

    def from_disk(self, path: str | os.PathLike[str], model: Any) -> Self:
        """`from_bytes` of a file."""
        return self.from_bytes(file_format.read(path), model)

    def _decode(self, data: bytes, model: Any) -> tuple[dict[str, Any], dict[str, Slot]]:
        """What `data` says, and the model's slots by path.

        Raises FormatError unless it is of this kind of optimizer and of paths of this model.
        """
        content = file_format.decode("optimizer", data)
        if not isinstance(content, dict) or {*content} != {"type", "step", "kept"}:
            raise FormatError("these bytes do not hold a type, a step and what is kept")
        kind, step, saved_by_path = content["type"], content["step"], content["kept"]
        if not isinstance(kind, str) or kind != self.kind:
            raise FormatError(f"this is the state of {kind}, not {self.kind}")
        if not _is_count(step) or not isinstance(saved_by_path, dict):
            raise FormatError(f"these bytes hold {describe(saved_by_path)} of step {step!r}")
        slots = model.slots_by_path()
        for path, saved in saved_by_path.items():
            if path not in slots:
                raise FormatError(f"the model has no initialized parameter '{path}'")
            if not isinstance(saved, dict) or not _is_count(saved.get("steps")):
                raise FormatError(f"for '{path}' there is no number of steps")
        return content, slots

    def _check(self, path: str, slot: Slot, arrays: dict[str, Any]) -> None:
        """Raise FormatError or DimensionError if these are not what is kept for a parameter."""
        shapes = self.shapes(slot.shape) if slot.ema_rate is None else {}
        if {*arrays} != {*shapes}:
            raise FormatError(
                f"for '{path}' there is {[*arrays]}; this {self.kind} keeps {[*shapes]}"
            )
        for name, X in arrays.items():
            if not isinstance(X, np.ndarray) or X.dtype.kind != "f":
                raise FormatError(f"'{name}' of '{path}' is an array of floats, not {describe(X)}")
            if X.shape != shapes[name]:
                raise DimensionError(
                    f"'{name}' of '{path}' is {shapes[name]}, what was saved {X.shape}"
                )

    def _restore(self, slot: Slot, steps: int, arrays: dict[str, Any]) -> None:
        """Set the state of a parameter; arrays that are not given are set to 0."""
        store = slot.store
        store.optimizer_state(self).steps[slot.number] = steps
        for name, target in self.state(slot).items():
            target[...] = store.ops.asarray(arrays.get(name, 0), store.dtype)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST
