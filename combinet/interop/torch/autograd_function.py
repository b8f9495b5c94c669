"""A pass over a model as one operation of PyTorch's autograd."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from combinet.batches.structure import map_arrays
from combinet.core.model import Model
from combinet.core.run import no_backprop
from combinet.interop.torch import convert
from combinet.interop.torch.isolated_run import IsolatedRun
from combinet.ops.base import Ops
from combinet.storage.slots import Key


@dataclass
class Call:
    """One pass over a model, with tensors as input and output.

    Args:
        model: The model.
        run: The run of the pass.
        X: The input, a nested batch of tensors.
        tensors: The tensors of the model's parameters and buffers, by key.
        weights: The keys of the parameters that are trained.
        outputs: The nested output, set after the forward pass.
    """

    model: Model[Any, Any]
    run: IsolatedRun
    X: Any
    tensors: dict[Key, torch.Tensor]
    weights: list[Key]
    outputs: Any = None
    _callback: Callable[[Any], Any] = no_backprop

    def compute(self, wants_dX: bool = False) -> Any:
        """Runs the forward pass and returns the nested output."""
        run, ops = self.run, self.run.ops
        with ops.on_device():
            X = convert.to_arrays(self.X, ops)
            Y, self._callback = run(self.model, X, wants_dX)
            return convert.to_tensors(_unshared(Y, X, ops, run.weights.values()), ops)

    def backward(self, dYs: Iterable[torch.Tensor]) -> list[torch.Tensor | None]:
        """Runs the backward pass.

        Returns the gradients of all weights, then of the tensors in X. A missing gradient is None.
        """
        run, ops, gradients = self.run, self.run.ops, iter(dYs)

        def gradient(y: torch.Tensor) -> torch.Tensor | None:
            dy = next(gradients)
            return dy.contiguous() if y.is_floating_point() else None

        with ops.on_device():
            dY = convert.to_arrays(convert.with_tensors(self.outputs, gradient, keep=False), ops)
            # Clear in place: copies of the run made inside layers share these dicts.
            run.gradients.clear()
            run.seen.clear()
            dX = self._callback(dY)
            self._move_buffers()
            # PyTorch may add to the gradients it receives in place, so they must not share memory.
            dX = convert.to_tensors(_unshared(dX, dY, ops), ops)
        gradients_by_id = {id(x): dx for x, dx in convert.pairs(self.X, dX)}
        dW = run.gradients
        weights = [convert.to_tensor(dW[key]) if key in dW else None for key in self.weights]
        return weights + [gradients_by_id.get(id(x)) for x in convert.tensors_in(self.X)]

    def _move_buffers(self) -> None:
        """Moves each buffer toward the mean of the values that the pass added, like an update."""
        for slot, values in self.run.seen.items():
            assert slot.ema_rate is not None
            buffer = self.tensors[slot.key]
            mean = convert.to_tensor(self.run.ops.asarray(sum(values[1:], values[0]) / len(values)))
            buffer += slot.ema_rate * (mean - buffer)


class ModelFunction(torch.autograd.Function):
    """Makes a pass an operation in PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Runs the pass and returns the tensors in its output."""
        ctx.call = call
        Y = call.compute(wants_dX=any(ctx.needs_input_grad[1 + len(call.weights) :]))
        outputs = tuple(convert.tensors_in(Y))
        # The outputs hold ctx. If ctx held them too, the cycle would keep their memory alive.
        call.X, call.outputs = _form(call.X), _form(Y)
        ctx.mark_non_differentiable(*(y for y in outputs if not y.is_floating_point()))
        # Saved so that PyTorch rejects the backward pass if a tensor was changed in place.
        ctx.save_for_backward(*tensors, *outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *dYs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """Runs `Call.backward` and returns the gradients that PyTorch asks for."""
        _ = ctx.saved_tensors
        wanted = zip(ctx.needs_input_grad[1:], ctx.call.backward(dYs), strict=True)
        return None, *(gradient if wants else None for wants, gradient in wanted)


def _form(X: Any) -> Any:
    """Returns the nested batch with empty tensors, so that it holds no memory."""
    return convert.with_tensors(X, lambda tensor: tensor.new_empty(0))


def _unshared(X: Any, other: Any, ops: Ops, weights: Iterable[Any] = ()) -> Any:
    """Copies the arrays in X that may share memory with a weight or with an array in `other`."""
    found: list[Any] = []
    convert.map_tree(other, lambda leaf: map_arrays(leaf, found.append))
    arrays = [*weights, *filter(ops.is_array, found)]

    def copied(x: Any) -> Any:
        shares = ops.is_array(x) and any(ops.xp.may_share_memory(x, each) for each in arrays)
        return x.copy() if shares else x

    return convert.map_tree(X, lambda leaf: map_arrays(leaf, copied))
