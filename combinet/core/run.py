"""Run: one pass over a model, with everything that its layers may read and write."""

from __future__ import annotations

from copy import copy
from threading import Lock
from typing import Any, NoReturn

import numpy as np

from combinet.batches.structure import width_of
from combinet.core.inputs import check_input
from combinet.core.layer import Backward, Forward, Layer
from combinet.core.own_methods import inside
from combinet.core.shape_inference import ShapeInference
from combinet.errors import CombinetError, DimensionError, InputError, StateError, describe
from combinet.ops.base import Ops
from combinet.types import Array, Generator, Ints1d


class Run:
    """One pass: device, dropout rate, generator, weights to read and gradients to add.

    `begin_update` and `predict` create a `Run`, and each forward function receives it. A layer
    calls its sublayers as `run(layer, X)`, never as `layer.forward(...)`, because `run` checks the
    input and adds the layer to the path of an error. Subclasses override `__call__`, for example to
    time the calls.

    Inside a forward function, `run.wants_dX` says whether the gradient of the layer's input is
    needed. If not, the backward pass may return None. A combinator can pass the flag on to the
    sublayers that receive its input, which saves their work too: `run(layer, X, run.wants_dX)`.

    Args:
        ops: Array operations of the device.
        rng: Generator on the host, for dropout masks.
        train: Whether this is a training pass. False in a prediction.
        drop: Dropout rate of layers without a rate.
        lengths: Lengths of the sequences in an array of rows. None means that all rows are one
            sequence.
        wants_dX: Whether the gradient of the input is needed.

    Example:
        >>> import numpy as np
        >>> from combinet import Model, relu
        >>> def forward(model, X, run):
        ...     Y, callback = run(model.layers[0], X, run.wants_dX)
        ...     return 2 * Y, lambda dY: callback(2 * dY)
        >>> Model("doubled", forward, layers=[relu()]).predict(np.array([-1.0, 1.0]))
        array([0., 2.])
    """

    # Slots, because in a copy of an object with a dict each attribute takes longer to read.
    __slots__ = ("_rows", "drop", "lengths", "ops", "rng", "train", "wants_dX")
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
        self._rows: int | None = None  # the sum of `lengths`, computed when first needed

    def __call__(
        self, layer: Layer, X: object, wants_dX: bool = True, forward: Forward | None = None
    ) -> tuple[Any, Backward]:
        """Checks X, calls the layer and returns its output and callback.

        `forward` replaces the layer's forward function, see `Model.begin_update`.
        """
        outer, self.wants_dX = self.wants_dX, wants_dX
        try:
            check_input(layer, X, self.ops)
            result = (forward or layer.forward)(layer, X, self)
            if type(result) is not tuple or len(result) != 2:
                raise InputError(
                    f"{layer.name} expected its forward function to return (Y, backprop), "
                    f"got {describe(result)}"
                )
        except CombinetError as error:
            error.within(layer)
            raise
        finally:
            self.wants_dX = outer
        # Without a backward pass the callback is dropped now, with the arrays that it holds.
        return result if self.has_backprop else (result[0], no_backprop)

    def prepare(self, layer: Layer, X: object) -> None:
        """Does what must precede a pass over a layer with methods of its own: here, nothing.

        Args:
            layer: The layer.
            X: Its input batch, or None if it is not known.
        """

    def with_drop(self, drop: float, rng: Generator) -> Run:
        """Returns a copy of the run with another dropout rate and generator.

        Args:
            drop: Dropout rate of layers without a rate.
            rng: Generator on the host, for dropout masks.

        Example:
            >>> import numpy as np
            >>> from combinet import relu
            >>> run = Run(relu().ops, np.random.default_rng(0))
            >>> run.with_drop(0.5, np.random.default_rng(1)).drop
            0.5
        """
        run = copy(self)
        run.drop, run.rng = drop, rng
        return run

    def with_lengths(self, lengths: Ints1d | None) -> Run:
        """Returns a copy of the run in which the rows of arrays are divided into sequences.

        Args:
            lengths: Lengths of the sequences. None means that all rows are one sequence.

        Example:
            >>> import numpy as np
            >>> from combinet import relu
            >>> run = Run(relu().ops, np.random.default_rng(0))
            >>> run.with_lengths(np.array([2, 1])).lengths_of(np.zeros((3, 4)))
            array([2, 1])
        """
        run = copy(self)
        run.lengths, run._rows = lengths, None
        return run

    def with_ops(self, ops: Ops) -> Run:
        """Returns a copy of the run on another device.

        Args:
            ops: Array operations of the device.

        Example:
            >>> import numpy as np
            >>> from combinet import relu
            >>> ops = relu().ops
            >>> Run(ops, np.random.default_rng(0)).with_ops(ops).ops is ops
            True
        """
        run = copy(self)
        run.ops = ops
        return run

    def lengths_of(self, X: Array) -> Ints1d:
        """Returns the lengths of the sequences in an array of rows.

        Args:
            X: Array of rows.

        Raises:
            DimensionError: If the number of rows of X is not the sum of `lengths`.

        Example:
            >>> import numpy as np
            >>> from combinet import relu
            >>> run = Run(relu().ops, np.random.default_rng(0))
            >>> run.lengths_of(np.zeros((3, 4)))
            array([3])
        """
        n = X.shape[0]
        if self.lengths is None:
            return np.array([n])
        if self._rows is None:
            self._rows = int(self.lengths.sum())
        if self._rows != n:
            raise DimensionError(
                f"expected an array of {self._rows} rows, the sum of all lengths, got {n} rows; a "
                f"previous layer changed the number of rows"
            )
        return self.lengths

    def params(self, model: Layer, *names: str) -> tuple[Any, ...]:
        """Returns the arrays of parameters. They do not change while they are in use.

        All arrays are from the same moment: no update happens between the reads.

        Args:
            model: Layer that declares the parameters.
            *names: Names of the parameters. Without names, all are returned in their order.

        Raises:
            StateError: If the layer has no such parameter or is not initialized.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(3, 2).initialize()
            >>> W, b = Run(model.ops, np.random.default_rng(0)).params(model, "W", "b")
            >>> W.shape, b.shape
            ((3, 2), (3,))
        """
        try:
            slots = [model.slots[name] for name in names or model.param_names]
        except KeyError:
            if model.slots:
                raise StateError(
                    f"{model.name} expected names of its parameters {(*model.slots,)}, got {names}"
                ) from None
            raise StateError(
                f"{model.name} has no weights yet; call initialize(X, Y) on the whole model"
            ) from None
        return slots[0].store.read(slots)

    def inc_grad(self, model: Layer, /, **gradients: Array | None) -> None:
        """Adds to the gradients of parameters. Call it in the backward pass.

        For a buffer, a `Param` with an `ema_rate`, pass the observed value instead of a gradient.

        Args:
            model: Layer that declares the parameters.
            **gradients: Gradient by name of the parameter, with the parameter's shape. None adds
                nothing.

        Raises:
            DimensionError: If a gradient does not have the shape of its parameter.
            StateError: If the layer has no such parameter.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(3, 2).initialize()
            >>> run = Run(model.ops, np.random.default_rng(0))
            >>> run.inc_grad(model, b=np.ones(3, "float32"))
            >>> model.get_grad("b")
            array([1., 1., 1.], dtype=float32)
        """
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            slot = model.slots.get(name)
            if slot is None:
                raise StateError(
                    f"{model.name} expected one of its parameters {(*model.slots,)}, got {name!r}"
                )
            if tuple(gradient.shape) != slot.shape:
                raise DimensionError(
                    f"{model.name} expected a gradient {slot.shape} for {name}, "
                    f"got {tuple(gradient.shape)}; was the model resized during this pass?"
                )
            slot.store.add_gradient(slot, gradient)

    def inc_grad_rows(
        self, model: Layer, name: str, rows: Array, gradient: Array, lengths: Ints1d | None = None
    ) -> None:
        """Adds rows to the gradient of a table. Call it in the backward pass.

        Row i of `gradient` is added to all rows of the table that `rows[i]` names. The update reads
        `rows` again, so do not change this array before the update.

        Args:
            model: Layer that declares the table.
            name: Name of the table.
            rows: Indices of rows of the table (n, k), or (total,) with `lengths`.
            gradient: Rows to add (n, nO).
            lengths: Numbers of indices (n,). Row i of `gradient` belongs to the next lengths[i] of
                the indices. None means that it belongs to the k indices `rows[i]`.

        Raises:
            DimensionError: If the rows do not have the width of the table.

        Example:
            >>> import numpy as np
            >>> from combinet import Embed
            >>> model = Embed(1, 3).initialize()
            >>> run = Run(model.ops, np.random.default_rng(0))
            >>> run.inc_grad_rows(model, "E", np.array([[0], [2], [2]]), np.ones((3, 1), "float32"))
            >>> model.get_grad("E").ravel()
            array([1., 0., 2.], dtype=float32)
        """
        slot = model.slots[name]
        if gradient.shape[1:] != slot.shape[1:]:
            raise DimensionError(
                f"{model.name} expected rows of {name} {slot.shape}, "
                f"got {tuple(gradient.shape)}; was the model resized during this pass?"
            )
        slot.store.add_gradient_rows(slot, rows, gradient, lengths)


def no_backprop(dY: object) -> NoReturn:
    """The callback of a prediction: raises StateError."""
    raise StateError("expected a pass of begin_update, got a prediction: it has no backward pass")


class PredictRun(Run):
    """A prediction: discards each callback at once, and the memory that it holds."""

    __slots__ = ()
    has_backprop = False


class InferRun(PredictRun):
    """A pass that infers dims from a sample. Missing weights are read as zeros.

    Args:
        model: The model that is initialized.
        dtype: The dtype of missing weights.
    """

    def __init__(self, model: Layer, *, dtype: np.dtype[Any]) -> None:
        super().__init__(model.ops, model.rng, train=False)
        self.dtype = dtype
        # Shared by all copies of this run.
        self.infer, self.lock, self.initialized = ShapeInference(), Lock(), {model.id}

    def prepare(self, layer: Layer, X: object) -> None:
        """Calls the layer's own `initialize`, once.

        Args:
            layer: The layer.
            X: Its input batch, or None if it is not known.
        """
        if "initialize" in layer.own_methods and layer.id not in self.initialized:
            self.initialized.add(layer.id)
            with inside(layer, self):
                model: Any = layer
                model.initialize() if X is None else model.initialize(X)

    def __call__(
        self, layer: Layer, X: object, wants_dX: bool = True, forward: Forward | None = None
    ) -> tuple[Any, Backward]:
        """Infers dims from the width of X, then predicts."""
        with self.lock:  # with_threads calls layers from several threads
            self.infer(layer, width_of(X), None)
            for (model, name), size in self.infer.found.items():
                model.set_dim(name, size)
            self.infer.found.clear()
        return super().__call__(layer, X, wants_dX, forward)

    def params(self, model: Layer, *names: str) -> tuple[Any, ...]:
        """Returns the parameters of a layer, or zeros if it has no weights."""
        if model.slots:
            return super().params(model, *names)
        shapes = map(model.param_shape, names or model.param_names)
        return tuple(self.ops.zeros(shape, self.dtype) for shape in shapes)
