"""A pass over a model: the one argument that carries all that it may read and write."""

from __future__ import annotations

from threading import Lock
from typing import Any, NoReturn

import numpy as np

from combinet.batches.structure import width_of
from combinet.core.inputs import check_input
from combinet.core.layer import Backward, Layer
from combinet.core.shape_inference import ShapeInference
from combinet.errors import CombinetError, DimensionError, InputError, StateError, describe
from combinet.ops.base import Ops
from combinet.types import Array, Generator, Ints1d


class Run:
    """One pass: its ops, drop rate and generator, the weights it reads, the gradients it adds.

    `ops` does the arrays; `train` tells training from prediction; `drop` is the rate for layers
    without one of their own; `rng` is a generator on the host. `lengths` says how the rows of an
    array are divided into sequences, or is None: all are one.

    A layer calls its children by `run(layer, X)`, never by `layer.forward`: that is the one place
    where a pass can be checked, timed or changed. Subclasses override `__call__`.

    While a layer's forward pass runs, `wants_dX` says whether anybody needs the gradient of its
    input; where nobody does, its backward pass may return None. A layer that passes this on to the
    children that get its own input saves their work: `run(layer, X, run.wants_dX)`.
    """

    has_backprop = True

    def __init__(
        self,
        ops: Ops,
        rng: Generator,
        *,
        train: bool = True,
        drop: float = 0.0,
        lengths: Ints1d | None = None,
        wants_dX: bool = True,
    ) -> None:
        self.ops = ops
        self.rng = rng
        self.train = train
        self.drop = drop
        self.lengths = lengths
        self.wants_dX = wants_dX
        self._rows: int | None = None  # the sum of `lengths`, once a layer has asked for them

    def __call__(self, layer: Layer, X: object, wants_dX: bool = True) -> tuple[Any, Backward]:
        """The layer's output for X, and its backward pass: `no_backprop` if there is none."""
        outer, self.wants_dX = self.wants_dX, wants_dX
        try:
            check_input(layer, X, self.ops)
            result = layer.forward(layer, X, self)
            if type(result) is not tuple or len(result) != 2:
                raise InputError(
                    f"{layer.name}'s function has to give back the output and a backward pass, "
                    f"not {describe(result)}"
                )
        except CombinetError as error:
            error.within(layer)
            raise
        finally:
            self.wants_dX = outer
        return result if self.has_backprop else (result[0], no_backprop)

    def with_lengths(self, lengths: Ints1d | None) -> Run:
        """This pass, where the rows of an array are sequences of these lengths."""
        run = self._copy()
        run.lengths, run._rows = lengths, None
        return run

    def with_ops(self, ops: Ops) -> Run:
        """This pass, on another device."""
        run = self._copy()
        run.ops = ops
        return run

    def _copy(self) -> Run:
        """A shallow copy, with whatever a subclass keeps; copy.copy takes five times as long."""
        copy: Run = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        return copy

    def lengths_of(self, X: Array) -> Ints1d:
        """The lengths of the sequences that the rows of X are. Raises DimensionError."""
        n = X.shape[0]
        if self.lengths is None:
            return np.array([n])
        if self._rows is None:
            self._rows = int(self.lengths.sum())
        if self._rows != n:
            raise DimensionError(
                f"the sequences here have {self._rows} rows in all, not {n}: a layer before this "
                f"one has changed their number"
            )
        return self.lengths

    def params(self, model: Layer, *names: str) -> tuple[Any, ...]:
        """The model's parameters of these names. They don't change while somebody holds them.

        All are of one moment: none is from before an update of which another is the result.
        """
        try:
            slots = [model.slots[name] for name in names]
        except KeyError:
            if model.slots:
                raise StateError(f"{model.name} has no {names}, only {(*model.slots,)}") from None
            raise StateError(
                f"{model.name} has no weights yet: call initialize(X, Y) on the whole model"
            ) from None
        return slots[0].store.read(slots)

    def inc_grad(self, model: Layer, /, **gradients: Array | None) -> None:
        """Add to the gradients of parameters, each of its parameter's shape; None adds nothing.

        To a buffer, a `Param` with an `ema_rate`, what this pass has seen is added instead.
        """
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            slot = model.slots.get(name)
            if slot is None:
                raise StateError(f"{model.name} has no parameter {name}, only {(*model.slots,)}")
            if tuple(gradient.shape) != slot.shape:
                raise DimensionError(
                    f"the gradient of {name} of {model.name} is {tuple(gradient.shape)}, the "
                    f"parameter {slot.shape}: resized since this pass began?"
                )
            slot.store.add_gradient(slot, gradient)

    def inc_grad_rows(
        self, model: Layer, name: str, rows: Array, gradient: Array, lengths: Ints1d | None = None
    ) -> None:
        """Add row i of `gradient` to the gradient of each of the rows rows[i] of a table.

        With `lengths`, rows (total,) are those of sequences, and row i is added to each of the
        lengths[i] rows of sequence i.
        """
        slot = model.slots[name]
        if gradient.shape[1:] != slot.shape[1:]:
            raise DimensionError(
                f"the gradient of rows of {name} of {model.name} is {tuple(gradient.shape)}, the "
                f"table {slot.shape}: resized since this pass began?"
            )
        slot.store.add_gradient_rows(slot, rows, gradient, lengths)


def no_backprop(dY: object) -> NoReturn:
    """The backward pass of a prediction: raises StateError."""
    raise StateError("this is a prediction; its layers have no backward pass")


class PredictRun(Run):
    """A pass that forgets each backward pass at once, and with it what that would have needed."""

    has_backprop = False


class InferRun(PredictRun):
    """A pass to learn dimensions from real data; weights that don't exist yet are read as zeros."""

    def __init__(self, ops: Ops, rng: Generator, *, dtype: np.dtype[Any]) -> None:
        super().__init__(ops, rng, train=False)
        self.dtype = dtype
        self.infer, self.lock = ShapeInference(), Lock()  # of the whole pass: it knows what it saw

    def __call__(self, layer: Layer, X: object, wants_dX: bool = True) -> tuple[Any, Backward]:
        """As a prediction; the width of X is noted first."""
        with self.lock:  # parts of a batch may go through a layer in several threads
            self.infer(layer, width_of(X), None)
            for (model, name), size in self.infer.found.items():
                model.set_dim(name, size)
            self.infer.found.clear()
        return super().__call__(layer, X)

    def params(self, model: Layer, *names: str) -> tuple[Any, ...]:
        """The model's parameters, or zeros of their shapes."""
        if model.slots:
            return super().params(model, *names)
        return tuple(self.ops.zeros(model.param_shape(name), self.dtype) for name in names)
