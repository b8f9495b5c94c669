"""A module of PyTorch's without its weights, which each pass brings along."""

from __future__ import annotations

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
    """A module whose weights are shapes alone; it is called with tensors in their place.

    A call sets tensors, mode and rates in a module, and passes run in parallel. So each call
    borrows a replica for itself, of which there are soon as many as passes run at once.

    `parameters` and `buffers` are what has to be kept elsewhere, by PyTorch's names: buffers of
    floats, such as running means, and single integers, which count. `constants` are the other
    buffers that PyTorch saves: no pass changes them. `specs` are all three. The module that is
    given stays as it is.

    Raises InputError for a lazy module, and for weights that are not floats.
    """

    def __init__(self, module: nn.Module) -> None:
        parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
        for name, parameter in parameters.items():
            if nn.parameter.is_lazy(parameter):
                raise InputError(f"{name} has no shape yet: call the module on a sample first")
            if not parameter.is_floating_point():
                raise InputError(f"{name} is {parameter.dtype}; weights here are floats")
        self.parameters = {name: _shape(value) for name, value in parameters.items()}
        self.buffers = {name: _shape(value) for name, value in buffers.items() if _changes(value)}
        saved = module.state_dict(keep_vars=True)
        self.constants = {n: buffers[n] for n in saved if n in buffers and n not in self.buffers}
        self.specs = self.parameters | self.buffers | self.constants
        # Where a copy of the module is to have these: weights as shapes, all else shared.
        shapes = self.parameters | self.buffers
        memo = {id(t): shapes.get(name, t) for name, t in (parameters | buffers).items()}
        for each in module.modules():  # what was computed in a pass is not to be copied
            tensors = [value for value in vars(each).values() if torch.is_tensor(value)]
            memo |= {id(value): value.detach() for value in tensors if not value.is_leaf}
        self._module: nn.Module = copy.deepcopy(module, memo).train()
        self._shared = {id(value): value for value in memo.values() if torch.is_tensor(value)}
        self._replicas: list[nn.Module] = []

    def copy(self, tensors: Named) -> nn.Module:
        """A module with these tensors, by name, which shares nothing with the replicas."""
        memo: dict[int, Any] = {id(spec): tensors[name] for name, spec in self.specs.items()}
        return copy.deepcopy(self._module, memo)

    def __call__(
        self, tensors: Named, args: tuple[Any, ...], kwargs: Any, *, train: bool, drop: float | None
    ) -> Any:
        """What the module gives with these tensors for its weights and buffers.

        It is in training mode or not; with `drop`, its dropout has that rate.
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
    """The setting of a wrapped module's model in which a constant buffer is stored."""
    return f"buffers.{buffer}"


def _shape(value: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(value, device="meta")
    return nn.Parameter(empty, value.requires_grad) if isinstance(value, nn.Parameter) else empty


def _changes(buffer: torch.Tensor) -> bool:
    counts = buffer.ndim == 0 and buffer.dtype in (torch.int64, torch.int32)
    return counts or buffer.is_floating_point()


def _set_dropout(module: nn.Module, rate: float) -> None:
    for each in module.modules():
        if isinstance(each, _DROPOUTS):
            each.p = rate
        elif isinstance(getattr(each, "dropout", None), float):  # as recurrent ones, and attention
            each.dropout = rate  # type: ignore[assignment]


def _forget_weights(module: nn.Module) -> None:
    """Recurrent modules note the weights they ran with; held, each update would copy them."""
    for each in module.modules():
        if isinstance(each, nn.RNNBase):
            for name, shape in each.named_parameters(recurse=False):
                setattr(each, name, shape)
