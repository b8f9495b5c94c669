"""PyTorch's optimizers for combinet's models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from combinet.errors import DimensionError
from combinet.interop.torch.convert import to_tensor
from combinet.optimizers.base import Optimizer
from combinet.optimizers.spans import Span
from combinet.storage.slots import Key, Slot
from combinet.types import Array, Schedule


class TorchOptimizer(Optimizer):
    """A torch.optim optimizer for the weights of any model.

    PyTorch views the weights and gradients in the model's memory. A pending pass keeps the weights
    that it read, as with any other optimizer. Gradient clipping and averages work as in
    `Optimizer`, but clipping is off by default. The state of the optimizer moves to another device
    with the weights. If a parameter is resized, its state restarts.

    Optimizers that call the model themselves, such as LBFGS, are not supported.

    Args:
        kind: The class of the optimizer, such as torch.optim.AdamW.
        learn_rate: Learning rate, or a schedule of the number of updates so far.
        grad_clip: Largest norm over all gradients; larger gradients are scaled down. 0 turns
            clipping off.
        use_averages: Whether to keep running averages of the weights.
        average_decay: Largest decay rate of the averages, from 0 to 1.
        **options: Other arguments of the class, such as weight_decay.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> adam = TorchOptimizer(torch.optim.AdamW, 0.01, weight_decay=0.1)
        >>> Y, backprop = model.begin_update(np.ones((2, 1), "f"))
        >>> dX = backprop(Y, sgd=adam)
    """

    def __init__(
        self,
        kind: Callable[..., torch.optim.Optimizer],
        learn_rate: float | Schedule,
        *,
        grad_clip: float = 0.0,
        use_averages: bool = True,
        average_decay: float = 0.9999,
        **options: Any,
    ) -> None:
        super().__init__(
            learn_rate, grad_clip=grad_clip, use_averages=use_averages, average_decay=average_decay
        )
        self._kind = kind
        self._parameters: dict[Key, nn.Parameter] = {}
        self._shapes: dict[Key, Any] = {}
        # `apply_span` sets the learning rate of each step.
        self._optimizer = kind([{"params": []}], lr=1.0, **options)

    @property
    def kind(self) -> str:
        """The name of the optimizer class in saved states."""
        return f"torch {getattr(self._kind, '__name__', 'optimizer')}"

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """Runs PyTorch's step for the slots of a span. See `Optimizer.apply_span`."""
        slots = span.slots()
        parameters = [self._parameter(slot, slot.of(span.store.weights)) for slot in slots]
        try:
            for slot, parameter in zip(slots, parameters, strict=True):
                parameter.grad = to_tensor(slot.of(span.store.writable_gradient()))
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.step()
        finally:
            # A reference that remains would make each update copy the weights.
            for parameter in parameters:
                parameter.grad = None
                parameter.data = parameter.new_empty(0)

    def _parameter(self, slot: Slot, value: Array) -> nn.Parameter:
        """PyTorch's parameter for a slot, a view of `value`. Its state moves with it."""
        tensor, parameter = to_tensor(value), self._parameters.get(slot.key)
        if parameter is None:
            parameter = self._parameters[slot.key] = nn.Parameter(tensor)
            self._optimizer.param_groups[0]["params"].append(parameter)
        state = self._optimizer.state[parameter]
        if self._shapes.get(slot.key) != slot.shape:
            state.clear()
        elif parameter.device != tensor.device:
            state.update({name: _moved(value, tensor) for name, value in state.items()})
        self._shapes[slot.key] = slot.shape
        parameter.data = tensor
        return parameter

    def to_bytes(self, model: Any) -> bytes:
        """Returns the step counts and PyTorch's state of each parameter of a model as bytes.

        Args:
            model: The model that the optimizer updates.
        """
        states = {}
        for path, slot in self._slots_of(model).items():
            if slot.key in self._parameters:
                state = self._optimizer.state[self._parameters[slot.key]]
                state = {name: _plain(value) for name, value in state.items()}
                steps = int(slot.store.optimizer_state(self).steps[slot.number])
                states[path] = {"steps": steps, "shape": [*slot.shape], "state": state}
        return self._encode(states)

    def from_bytes(self, data: bytes, model: Any) -> TorchOptimizer:
        """Loads a state that `to_bytes` saved and returns the optimizer.

        An error leaves the optimizer unchanged.

        Args:
            data: Bytes from `to_bytes`.
            model: The model that the optimizer updates.

        Raises:
            FormatError: If the bytes are from another class of optimizer, or from a model with
                other parameters.
            DimensionError: If a parameter had another shape when its state was saved.
        """
        content, slots, array_slots = self._decode(data, model)
        for path, saved in content["kept"].items():
            if tuple(saved["shape"]) != slots[path].shape:
                raise DimensionError(f"{path}: expected {slots[path].shape}, got {saved['shape']}")
        self._array_slots = array_slots
        for path, saved in content["kept"].items():
            slot = slots[path]
            slot.store.optimizer_state(self).steps[slot.number] = saved["steps"]
            parameter = self._parameter(slot, slot.view)
            state = {name: _restored(value, parameter) for name, value in saved["state"].items()}
            self._optimizer.state[parameter] = state
            parameter.data = parameter.new_empty(0)
        self.step = content["step"]
        return self


def _moved(value: Any, target: torch.Tensor) -> Any:
    """Returns an array of the state on the weights' device. Scalars, such as counts, stay."""
    return value.to(target.device) if isinstance(value, torch.Tensor) and value.ndim else value


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def _restored(value: Any, target: torch.Tensor) -> Any:
    return _moved(torch.tensor(value), target) if isinstance(value, np.ndarray) else value
