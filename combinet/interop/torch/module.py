"""A model as a module of PyTorch's."""

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
    """An initialized model as a torch.nn.Module, with its weights as the module's parameters.

    Parameters (buffers are buffers) have the names of `slots_by_path`, with / for each dot, and
    view the model's memory: what PyTorch's optimizers, `load_state_dict` or initializers write
    there, the model has. What combinet changes, the module has from its next call, or `refresh`,
    on.

    The module takes tensors, `PackedSequence` for Padded, and tuples, lists and dicts of them;
    several arguments are a tuple, keywords a dict, as `TorchWrapper` has it. In training mode
    `drop` is the rate of layers without one of their own, masks are drawn by PyTorch's seed, and a
    backward pass moves buffers. `torch.optim` trains it; gradients of gradients there are none.
    Weights are of the model's dtype and stay so.

    Raises StateError for a model without weights.

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
    """What `as_torch` gives: `model` is the model, `drop` the rate of dropout in training."""

    def __init__(self, model: Model[Any, Any], drop: float = 0.0) -> None:
        super().__init__()
        own_slots(model)
        self.model = model
        self.drop = drop
        self._places: dict[str, tuple[Any, str]] = {}
        self._views: dict[str, Any] = {}  # the arrays that the tensors view
        for path, node in model.paths().items():
            if set(node.param_names) - set(node.slots):
                raise StateError(f"'{path}' has no weights yet: initialize the model first")
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
        """The model's name, for PyTorch's drawing of modules."""
        return self.model.name

    def refresh(self) -> None:
        """View the model's weights as they are now, after a change that combinet has made."""
        for key, slot in self._slots().items():
            array, tensor = slot.view, self._tensors[key]
            if array is not self._views[key]:
                tensor.data = to_tensor(array)
                self._views[key] = array
                if tensor.grad is not None and tensor.grad.shape != tensor.shape:
                    tensor.grad = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's output, in tensors."""
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
        # Masks come from PyTorch's generator: who seeds that, seeds them.
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
        """The slots by the names of the tensors that view them; a resize makes new ones."""
        return {key: node.slots[name] for key, (node, name) in self._places.items()}

    def _save_to_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.refresh()
        super()._save_to_state_dict(*args, **kwargs)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.refresh()
        super()._load_from_state_dict(*args, **kwargs)
        named = {**self._parameters, **self._buffers}
        if any(named[key] is not tensor for key, tensor in self._tensors.items()):
            raise StateError("with assign=True the weights would no longer be the model's")

    def _apply(self, fn: Any, recurse: bool = True) -> CombinetModule:
        """Go where PyTorch sends the module: the model moves there, and the tensors with it."""
        sample = next(iter(self._tensors.values()), torch.empty(0))
        target = fn(sample.new_empty(0))
        if target.dtype != sample.dtype:
            raise StateError(f"the weights are {sample.dtype} and stay so")
        if target.device != sample.device:
            if target.device.type == "cuda":
                self.model.to_gpu(target.device.index or 0)
            elif target.device.type == "cpu":
                self.model.to_cpu()
            else:
                raise StateError(f"combinet has no arrays on the device {target.device}")
            self.refresh()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> CombinetModule:
        """A module of a copy of the model, that shares nothing with this one."""
        copied = CombinetModule(self.model.copy(), self.drop).train(self.training)
        for tensors in ("_parameters", "_buffers"):
            new: dict[str, Any] = getattr(copied, tensors)
            for key, tensor in getattr(self, tensors).items():
                new[key] = memo.setdefault(id(tensor), new[key])
                new[key].requires_grad = tensor.requires_grad
        memo[id(self)] = copied
        return copied
