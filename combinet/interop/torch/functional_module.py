"""A module of PyTorch's without its weights, which each pass brings along."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from combinet.errors import InputError

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip


class FunctionalModule:
    """A module whose weights are shapes alone; it is called with tensors in their place.

    A call sets tensors, mode and rates in a module, and passes run in parallel. So each call
    borrows a replica for itself, of which there are soon as many as passes run at once.

    `parameters` and `buffers` are what has to be kept elsewhere, by PyTorch's names: buffers of
    floats, such as running means, and single integers, which count. `constants` are the other
    buffers that PyTorch saves: no pass changes them. The module that is given stays as it is.

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
        stored = {name: value for name, value in buffers.items() if _is_stored(value)}
        self.buffers = {name: _shape(value) for name, value in stored.items()}
        saved = module.state_dict(keep_vars=True)
        self.constants = {n: buffers[n] for n in saved if n in buffers and n not in stored}
        # Where a copy of the module is to have these: weights as shapes, all else shared.
        shapes = self.parameters | self.buffers
        memo = {id(t): shapes.get(name, t) for name, t in (parameters | buffers).items()}
        for part in module.modules():  # what was computed in a pass is not to be copied
            memo |= {id(v): v.detach() for v in vars(part).values() if _is_computed(v)}
        self._module: nn.Module = copy.deepcopy(module, memo).train()
        self._shared = {id(value): value for value in memo.values() if torch.is_tensor(value)}
        self._replicas: list[nn.Module] = []

    @property
    def specs(self) -> dict[str, torch.Tensor]:
        """All that has to be kept elsewhere and all constants, by PyTorch's names."""
        return {**self.parameters, **self.buffers, **self.constants}

    def copy(self, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
        """A module with these tensors, by name, which shares nothing with the replicas."""
        memo: dict[int, Any] = {id(spec): tensors[name] for name, spec in self.specs.items()}
        return copy.deepcopy(self._module, memo)

    def __call__(
        self,
        tensors: Mapping[str, torch.Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        train: bool,
        drop: float | None = None,
    ) -> Any:
        """What the module gives with these tensors for its weights and buffers.

        It is in training mode or not; with `drop`, its dropout has that rate.
        """
        with self._replica() as module:
            if module.training != train:
                module.train(train)
            if drop is not None:
                _set_dropout(module, drop)
            return torch.func.functional_call(module, dict(tensors), args, dict(kwargs))

    @contextmanager
    def _replica(self) -> Iterator[nn.Module]:
        try:
            module = self._replicas.pop()
        except IndexError:
            module = copy.deepcopy(self._module, dict(self._shared))
        try:
            yield module
        finally:
            _forget_weights(module)
            self._replicas.append(module)


def constant_name(buffer: str) -> str:
    """The setting of a wrapped module's model in which a constant buffer is stored."""
    return f"buffers.{buffer}"


def _shape(value: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(value, device="meta")
    if isinstance(value, nn.Parameter):
        return nn.Parameter(empty, requires_grad=value.requires_grad)
    return empty.detach()


def _is_computed(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not value.is_leaf


def _is_stored(buffer: torch.Tensor) -> bool:
    counts = buffer.ndim == 0 and buffer.dtype in (torch.int64, torch.int32)
    return buffer.is_floating_point() or counts


def _set_dropout(module: nn.Module, rate: float) -> None:
    for part in module.modules():
        if isinstance(part, _DROPOUTS):
            part.p = rate
        elif isinstance(getattr(part, "dropout", None), float):  # as recurrent ones, and attention
            part.dropout = rate  # type: ignore[assignment]


def _forget_weights(module: nn.Module) -> None:
    """Recurrent modules note the weights they ran with; held, each update would copy them."""
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            for name, shape in part.named_parameters(recurse=False):
                setattr(part, name, shape)
