"""A model as a module of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from combinet.core.allocation import own_slots
from combinet.core.model import Model
from combinet.errors import StateError
from combinet.interop.torch.autograd_function import Call, ModelFunction
from combinet.interop.torch.convert import tensors_in, to_array, to_tensor, with_tensors
from combinet.interop.torch.isolated_run import IsolatedPrediction, IsolatedRun
from combinet.storage.slots import Key, Slot


def as_torch(model: Model[Any, Any], *, drop: float = 0.0) -> CombinetModule:
    """Returns a torch.nn.Module that runs a model and has the model's weights as parameters.

    The module's parameters and buffers view the model's memory. Their names come from
    `slots_by_path`, with / instead of each dot. A change by PyTorch (an optimizer,
    `load_state_dict`, an initializer) therefore changes the model. A change by combinet reaches the
    module at its next call, or when you call `refresh`.

    The module accepts tensors, `PackedSequence` for Padded, and tuples, lists and dicts of them.
    Several positional arguments become a tuple and keyword arguments a dict, as in `TorchWrapper`.
    In training mode, dropout masks depend on PyTorch's seed, and the backward pass moves buffers.
    The module supports `torch.optim`, but not gradients of gradients. The weights keep the model's
    dtype.

    Args:
        model: An initialized model.
        drop: Dropout rate in training mode, from 0 to below 1, for dropout layers without their own
            rate.

    Raises:
        StateError: If the model is not initialized.

    Example:
        >>> import torch
        >>> from combinet import Linear, relu
        >>> model = (Linear(4, 3) >> relu() >> Linear(1)).initialize()
        >>> module = as_torch(model)
        >>> [name for name, _ in module.named_parameters()][:2]
        ['chain >> linear[0]/W', 'chain >> linear[0]/b']
        >>> optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        >>> module(torch.ones(2, 3)).sum().backward()
        >>> optimizer.step()
    """
    return CombinetModule(model, drop)


class CombinetModule(nn.Module):
    """The module that `as_torch` returns.

    Args:
        model: The model.
        drop: Dropout rate in training mode.
    """

    def __init__(self, model: Model[Any, Any], drop: float = 0.0) -> None:
        super().__init__()
        own_slots(model)
        self.model = model
        self.drop = drop
        self._places: dict[str, tuple[Any, str]] = {}
        self._views: dict[str, Any] = {}  # the arrays that the tensors view
        for path, node in model.paths().items():
            if set(node.param_names) - set(node.slots):
                raise StateError(f"expected weights in '{path}', got none; initialize the model")
            for name, slot in node.slots.items():
                key = f"{path}.{name}".replace(".", "/")
                self._places[key], self._views[key] = (node, name), slot.view
                tensor = to_tensor(slot.view)
                if slot.ema_rate is None:
                    self.register_parameter(key, nn.Parameter(tensor))
                else:
                    self.register_buffer(key, tensor)
        self._tensors: dict[str, Any] = {**self._parameters, **self._buffers}

    def extra_repr(self) -> str:
        """Returns the model's name, which PyTorch prints."""
        return self.model.name

    def refresh(self) -> None:
        """Updates the module's tensors after combinet has changed the model's weights."""
        for key, slot in self._slots().items():
            array, tensor = slot.view, self._tensors[key]
            if array is not self._views[key]:
                tensor.data = to_tensor(array)
                self._views[key] = array
                if tensor.grad is not None and tensor.grad.shape != tensor.shape:
                    tensor.grad = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the model and returns its output as tensors."""
        self.refresh()
        X = (*args, kwargs) if args and kwargs else kwargs or (args[0] if len(args) == 1 else args)
        named: dict[str, Any] = {**self._parameters, **self._buffers}
        tensors: dict[Key, Any] = {}
        arrays: dict[Key, Any] = {}
        slots = self._slots()
        for name, slot in slots.items():
            tensor = to_tensor(slot.value) if slot.overrides else named[name]
            tensors[slot.key], arrays[slot.key] = tensor, to_array(tensor, slot.store.ops)
        weights = [slot.key for slot in slots.values() if slot.ema_rate is None]
        inputs = [*(tensors[key] for key in weights), *tensors_in(X)]
        learns = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
        # The seed of the masks comes from PyTorch's generator, so torch.manual_seed sets it.
        rng = np.random.default_rng(int(torch.randint(2**63 - 1, ())) if self.training else 0)
        drop = self.drop if self.training else 0.0
        run_type = IsolatedRun if learns else IsolatedPrediction
        run = run_type(arrays, self.model.ops, rng, train=self.training, drop=drop)
        call = Call(self.model, run, X, tensors, weights)
        if not learns:
            return call.compute()
        found = iter(ModelFunction.apply(call, *inputs))  # type: ignore[no-untyped-call]
        return with_tensors(call.outputs, lambda _: next(found))

    def _slots(self) -> dict[str, Slot]:
        """Returns slots by the names of the tensors that view them. A resize makes new slots."""
        return {key: node.slots[name] for key, (node, name) in self._places.items()}

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.refresh()
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.refresh()
        super()._load_from_state_dict(*args, **kwargs)
        named = {**self._parameters, **self._buffers}
        if any(named[key] is not tensor for key, tensor in self._tensors.items()):
            raise StateError("expected assign=False, because assign=True would detach the model")

    def _apply(self, fn: Any, recurse: bool = True) -> CombinetModule:
        """Moves the model as `to`, `cpu` or `cuda` asks, then updates the module's tensors."""
        sample = next(iter(self._tensors.values()), torch.empty(0))
        target = fn(sample.new_empty(0))
        if target.dtype != sample.dtype:
            raise StateError(f"expected the dtype to stay {sample.dtype}, got {target.dtype}")
        if target.device != sample.device:
            if target.device.type == "cuda":
                self.model.to_gpu(target.device.index or 0)
            elif target.device.type == "cpu":
                self.model.to_cpu()
            else:
                raise StateError(f"expected the device cpu or cuda, got {target.device}")
            self.refresh()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CombinetModule:
        """Returns a module for a copy of the model. It shares nothing with this one."""
        copied = CombinetModule(self.model.copy(), self.drop).train(self.training)
        for tensors in ("_parameters", "_buffers"):
            new: dict[str, Any] = getattr(copied, tensors)
            for key, tensor in getattr(self, tensors).items():
                new[key] = memo.setdefault(id(tensor), new[key])
                new[key].requires_grad = tensor.requires_grad
        memo[id(self)] = copied
        return copied
