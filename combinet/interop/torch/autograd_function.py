"""A pass over a model as one operation of PyTorch's autograd."""

from __future__ import annotations

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
    """One pass: its input X, nested tensors, and once it has been run its nested `outputs`.

    `tensors` are those of the model, by key, `weights` the keys of those that are trained.
    """

    model: Model[Any, Any]
    run: IsolatedRun
    X: Any
    tensors: dict[Key, torch.Tensor]
    weights: list[Key]
    outputs: Any = None
    _callback: Callable[[Any], Any] = no_backprop

    def compute(self, wants_dX: bool = False) -> Any:
        """The nested outputs."""
        run, ops = self.run, self.run.ops
        with ops.on_device():
            X = convert.to_arrays(self.X, ops)
            Y, self._callback = run(self.model, X, wants_dX)
            return convert.to_tensors(_unshared(Y, X, ops, run.weights.values()), ops)

    def backward(self, dYs: Iterable[torch.Tensor]) -> list[torch.Tensor | None]:
        """The gradients of all weights, then of the tensors of X; None where there is none."""
        run, ops, gradients = self.run, self.run.ops, iter(dYs)

        def gradient(y: torch.Tensor) -> torch.Tensor | None:
            dy = next(gradients)
            return dy.contiguous() if y.is_floating_point() else None

        with ops.on_device():
            dY = convert.to_arrays(convert.with_tensors(self.outputs, gradient, keep=False), ops)
            # In place: what the run has become within layers shares them.
            run.gradients.clear()
            run.seen.clear()
            dX = self._callback(dY)
            self._move_buffers()
            # What PyTorch is given for a gradient it may add to in place.
            dX = convert.to_tensors(_unshared(dX, dY, ops), ops)
        gradients_by_id = {id(x): dx for x, dx in convert.pairs(self.X, dX)}
        dW = run.gradients
        weights = [convert.to_tensor(dW[key]) if key in dW else None for key in self.weights]
        return weights + [gradients_by_id.get(id(x)) for x in convert.tensors_in(self.X)]

    def _move_buffers(self) -> None:
        """Let each buffer move, as an update does, toward the mean of what has been seen."""
        for slot, values in self.run.seen.items():
            assert slot.ema_rate is not None
            buffer = self.tensors[slot.key]
            mean = convert.to_tensor(self.run.ops.asarray(sum(values[1:], values[0]) / len(values)))
            buffer += slot.ema_rate * (mean - buffer)


class ModelFunction(torch.autograd.Function):
    """Through this a pass is part of PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The tensors of the outputs."""
        ctx.call = call
        Y = call.compute(wants_dX=any(ctx.needs_input_grad[1 + len(call.weights) :]))
        outputs = tuple(convert.tensors_in(Y))
        # Held here, which the outputs hold themselves, their memory would never be free again.
        call.X, call.outputs = _form(call.X), _form(Y)
        ctx.mark_non_differentiable(*(y for y in outputs if not y.is_floating_point()))
        # Saved so that PyTorch refuses the backward pass if one has been written to since.
        ctx.save_for_backward(*tensors, *outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *dYs: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        """See `Call.backward`."""
        _ = ctx.saved_tensors
        wanted = zip(ctx.needs_input_grad[1:], ctx.call.backward(dYs), strict=True)
        return None, *(gradient if wants else None for wants, gradient in wanted)


def _form(X: Any) -> Any:
    return convert.with_tensors(X, lambda tensor: tensor.new_empty(0))


def _unshared(X: Any, other: Any, ops: Ops, weights: Iterable[Any] = ()) -> Any:
    """A nested batch with a copy of each array that may share memory with weights or another."""
    found: list[Any] = []
    convert.map_tree(other, lambda leaf: map_arrays(leaf, found.append))
    arrays = [*weights, *filter(ops.is_array, found)]

    def copied(x: Any) -> Any:
        shares = ops.is_array(x) and any(ops.xp.may_share_memory(x, each) for each in arrays)
        return x.copy() if shares else x

    return convert.map_tree(X, lambda leaf: map_arrays(leaf, copied))
