"""A pass over a model as one operation of PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from combinet.data import map_arrays
from combinet.interop.extras import load
from combinet.interop.torch.apart import ApartRun
from combinet.interop.torch.crossing import (
    map_tree,
    pairs,
    tensor_of,
    tensors_in,
    to_arrays,
    to_tensor,
    to_tensors,
    with_tensors,
)
from combinet.model import Model
from combinet.ops import Ops
from combinet.slots import Key

if TYPE_CHECKING:
    import torch
    from torch.autograd.function import once_differentiable
else:
    torch = load("torch", "torch")
    once_differentiable = load("torch.autograd.function", "torch").once_differentiable


class Call:
    """One pass: its input X, nested tensors, and once it has been run its nested `outputs`.

    `weights` are the keys of what is trained; `buffers` the tensors of what is not, with rates.
    """

    def __init__(
        self,
        model: Model[Any, Any],
        run: ApartRun,
        X: Any,
        weights: Sequence[Key],
        buffers: Mapping[Key, tuple[torch.Tensor, float]],
    ) -> None:
        self.model = model
        self.run = run
        self.X = X
        self.weights = weights
        self.buffers = buffers
        self.outputs: Any = None
        self._callback: Callable[[Any], Any] | None = None

    def predict(self) -> Any:
        """The outputs, without a backward pass."""
        return self._forward(wants_dX=False)

    def forward(self, wants_dX: bool) -> tuple[torch.Tensor, ...]:
        """The tensors of the outputs."""
        outputs = self._forward(wants_dX)
        # Held here, which the outputs hold themselves, their memory would never be free again.
        self.X, self.outputs = _form(self.X), _form(outputs)
        return tuple(tensors_in(outputs))

    def _forward(self, wants_dX: bool) -> Any:
        run, ops = self.run, self.run.ops
        with ops.on_device():
            X = to_arrays(self.X, ops)
            Y, self._callback = run(self.model, X, wants_dX)
            return to_tensors(_apart(Y, [*_arrays(X), *run.weights.values()], ops), ops)

    def backward(self, dYs: Iterable[torch.Tensor]) -> list[torch.Tensor | None]:
        """The gradients of all weights, then of the tensors of X; None where there is none."""
        assert self._callback is not None
        ops, gradients = self.run.ops, iter(dYs)

        def gradient(y: torch.Tensor) -> torch.Tensor | None:
            dy = next(gradients)
            return dy.contiguous() if y.is_floating_point() else None

        with ops.on_device():
            dY = to_arrays(with_tensors(self.outputs, gradient, keep=False), ops)
            dX, dW = self.run.collect(self._callback, dY)
            self._move_buffers()
            # What PyTorch is given for a gradient it may add to in place.
            dX = to_tensors(_apart(dX, _arrays(dY), ops), ops)
        of = {id(tensor_of(x)): tensor_of(dx) for x, dx in pairs(self.X, dX)}
        weights = [to_tensor(dW[key]) if key in dW else None for key in self.weights]
        return weights + [of.get(id(x)) for x in tensors_in(self.X)]

    def _move_buffers(self) -> None:
        """Let each buffer move, as an update does, toward the mean of what has been seen."""
        for key, values in self.run.seen.items():
            buffer, ema_rate = self.buffers[key]
            mean = to_tensor(self.run.ops.asarray(sum(values[1:], values[0]) / len(values)))
            buffer += ema_rate * (mean - buffer)


class Through(torch.autograd.Function):
    """Through this a pass is part of PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See `Call.forward`."""
        ctx.call = call
        outputs = call.forward(wants_dX=any(ctx.needs_input_grad[1 + len(call.weights) :]))
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
        gradients = ctx.call.backward(dYs)
        wanted = zip(ctx.needs_input_grad[1:], gradients, strict=True)
        return None, *(gradient if wants else None for wants, gradient in wanted)


def _form(X: Any) -> Any:
    return with_tensors(X, lambda tensor: tensor.new_empty(0))


def _arrays(X: Any) -> list[Any]:
    """All arrays of a nested batch."""
    found: list[Any] = []
    map_tree(X, lambda leaf: map_arrays(leaf, found.append))
    return [x for x in found if hasattr(x, "dtype")]


def _apart(X: Any, others: Sequence[Any], ops: Ops) -> Any:
    """A nested batch with a copy of each array that may share memory with others."""

    def copied(x: Any) -> Any:
        shares = ops.is_array(x) and any(ops.xp.may_share_memory(x, each) for each in others)
        return x.copy() if shares else x

    return map_tree(X, lambda leaf: map_arrays(leaf, copied))
