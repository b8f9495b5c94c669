"""A module of PyTorch without its weights, which each pass supplies."""

import copy
from typing import Any, TypeAlias

import torch
from torch import nn

from combinet.errors import InputError

Named: TypeAlias = dict[str, torch.Tensor]

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip


class FunctionalModule:
    """A module that is called with its weights and buffers as an argument.

    A call sets tensors, the training mode and dropout rates in a module, and passes may run in
    parallel. So each call uses a replica of the module that no other call uses. A call makes a new
    replica if none is free. The given module does not change.

    `parameters` and `buffers` hold shapes by PyTorch's names; the model stores the values.
    `buffers` are the buffers that a pass may change: floats, such as running means, and single
    integers, such as counters. `constants` are the other buffers in the module's state dict; no
    pass changes them. `specs` contains all three.

    Raises InputError for a lazy module, and for weights that are not floats.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        for name, parameter in parameters.items():
            if nn.parameter.is_lazy(parameter):
                raise InputError(f"{name} has no shape; call the lazy module on a sample first")
            if not parameter.is_floating_point():
                raise InputError(f"expected weights that are floats, got {parameter.dtype}: {name}")
        self.parameters = {name: _shape(value) for name, value in parameters.items()}
        self.buffers = {name: _shape(value) for name, value in buffers.items() if _changes(value)}
        saved = module.state_dict(keep_vars=True)
        self.constants = {n: buffers[n] for n in saved if n in buffers and n not in self.buffers}
        self.specs = self.parameters | self.buffers | self.constants
        # For deepcopy: replaces weights by their shapes and shares all other tensors.
        shapes = self.parameters | self.buffers
        memo = {id(t): shapes.get(name, t) for name, t in (parameters | buffers).items()}
        for each in module.modules():  # deepcopy rejects tensors that a pass computed
            tensors = [value for value in vars(each).values() if torch.is_tensor(value)]
            memo |= {id(value): value.detach() for value in tensors if not value.is_leaf}
        self._module: nn.Module = copy.deepcopy(module, memo).train()
        self._shared = {id(value): value for value in memo.values() if torch.is_tensor(value)}
        self._replicas: list[nn.Module] = []

    def copy(self, tensors: Named) -> nn.Module:
        """Returns a new module with these tensors by name; it shares nothing with the replicas."""
        memo: dict[int, Any] = {id(spec): tensors[name] for name, spec in self.specs.items()}
        return copy.deepcopy(self._module, memo)

    def __call__(
        self, tensors: Named, args: tuple[Any, ...], kwargs: Any, *, train: bool, drop: float | None
    ) -> Any:
        """Calls the module with these tensors as weights and buffers and returns its output.

        `drop` is the rate of all dropout in the module; None keeps the module's rates.
        """
        try:
            module = self._replicas.pop()
        except IndexError:
            module = copy.deepcopy(self._module, dict(self._shared))
        try:
            if module.training != train:
                module.train(train)
            if drop is not None:
                _set_dropout(module, drop)
            return torch.func.functional_call(module, tensors, args, kwargs)
        finally:
            _forget_weights(module)
            self._replicas.append(module)


def constant_name(buffer: str) -> str:
    """Returns the name of the attr that holds a constant buffer."""
    return f"buffers.{buffer}"


def _shape(value: torch.Tensor) -> torch.Tensor:
    """Returns a tensor or parameter on the device `meta`, which has a shape and no memory."""
    empty = torch.empty_like(value, device="meta")
    return nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty


def _changes(buffer: torch.Tensor) -> bool:
    """Returns whether a pass may change a buffer: it is a float or a counter."""
    counts = buffer.ndim == 0 and buffer.dtype in (torch.int64, torch.int32)
    return counts or buffer.is_floating_point()


def _set_dropout(module: nn.Module, rate: float) -> None:
    for each in module.modules():
        if isinstance(each, _DROPOUTS):
            each.p = rate
        elif isinstance(getattr(each, "dropout", None), float):  # recurrent modules, attention
            each.dropout = rate  # type: ignore[assignment]


def _forget_weights(module: nn.Module) -> None:
    """Puts shapes in place of the weights that recurrent modules store during a call.

    A stored weight would count as a reference, so each update would copy the weights.
    """
    for each in module.modules():
        if isinstance(each, nn.RNNBase):
            for name, shape in each.named_parameters(recurse=False):
                setattr(each, name, shape)
