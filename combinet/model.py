"""Model: a node of a tree of pure functions, with the surface that people call."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import numpy as np

from combinet import format, layout, saving
from combinet.data import match_gradient, outline, shape_of
from combinet.errors import DimensionError, InputError, StateError, describe
from combinet.inputs import KINDS
from combinet.operators import Operators
from combinet.ops import CupyOps, Ops, default_ops
from combinet.optimizers import Optimizer
from combinet.run import PredictRun, Run
from combinet.store import Key, Order, Slot
from combinet.tree import draw, paths, walk
from combinet.types import Floats, Generator, Initializer, Shape
from combinet.widths import Solver, Widths, is_size, own_widths

if TYPE_CHECKING:
    from typing_extensions import Self

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

Forward: TypeAlias = Callable[[Any, Any, Run], "tuple[Any, Callable[[Any], Any]]"]
Rule: TypeAlias = Callable[[Any, "int | None", "int | None", Solver], Widths]


class Backprop(Protocol):
    """The backward pass of `begin_update`: dY -> dX, and an optimizer step if one is given."""

    def __call__(self, dY: Any, sgd: Optimizer | None = None) -> Any:
        """The gradient of the input; None if it has none."""
        ...


class Param(NamedTuple):
    """A parameter as a layer declares it: the dims that are its axes, and its first value.

    `order` is how it lies in memory: "F", column-major, so that the transpose of a weight
    (nO, nI) is contiguous, as products with few rows want it, or "C", row by row, for tables.
    """

    axes: tuple[str, ...]
    init: Initializer
    order: Order = "F"


_ids = count()


class Model(Operators, Generic[In, Out]):
    """A layer or a combination of layers: a pure function with its parameters declared.

    `forward(model, X, run) -> (Y, backprop)`, with `backprop(dY) -> dX`, gets all that it may
    touch: the children are `model.layers`, called as `run(layer, X)`; weights come from
    `run.params(model, ...)`, gradients go to `run.inc_grad(model, ...)`. `dims` are sizes by name
    (None: not known yet); `params` declares parameters by name as `Param`; `attrs` are settings
    (plain ones are saved); `takes` says what input it takes, a key of `combinet.inputs.KINDS`;
    `widths` is its rule for widths, see `combinet.widths`.

    Layers whose known widths disagree raise DimensionError here, when they are composed.

    Example:
        >>> def forward(model, X, run):
        ...     (scale,) = run.params(model, "scale")
        ...     def backprop(dY):
        ...         run.inc_grad(model, scale=(dY * X).sum(axis=0))
        ...         return dY * scale
        ...     return X * scale, backprop
        >>> from combinet import Param, ones
        >>> from combinet.widths import same_widths
        >>> Model("scale", forward, dims={"nI": 3}, params={"scale": Param(("nI",), ones)})
        scale  nI=3: no parameters, not initialized
    """

    def __init__(
        self,
        name: str,
        forward: Forward,
        *,
        layers: Sequence["Model[Any, Any]"] = (),
        dims: Mapping[str, int | None] | None = None,
        params: Mapping[str, Param] | None = None,
        attrs: Mapping[str, Any] | None = None,
        takes: str = "any",
        widths: Rule = own_widths,
    ) -> None:
        for layer in layers:
            if not isinstance(layer, Model):
                raise InputError(f"{name} is made of models, not {describe(layer)}")
        if takes not in KINDS:
            raise ValueError(f"{name} takes one of {sorted(KINDS)}, not {takes!r}")
        for dim, size in (dims or {}).items():
            if size is not None and not is_size(size):
                raise DimensionError(f"{name} takes a positive int for {dim}, not {size!r}")
        self.id = next(_ids)
        self.name = name
        self.forward = forward
        self.layers = tuple(layers)
        self.dims = dict(dims or {})
        self.attrs = dict(attrs or {})
        self.takes = takes
        self.widths = widths
        self.slots: dict[str, Slot] = {}
        self.ops: Ops = layers[0].ops if layers else default_ops()
        self._params = dict(params or {})
        self._rng: Generator | None = None
        if layers:
            Solver()(self, None, None)

    # -- passes ----------------------------------------------------------------------------

    def begin_update(
        self, X: In, drop: float = 0.0, *, rng: "Generator | None" = None
    ) -> tuple[Out, Backprop]:
        """The output for X, and the backward pass: `Y, backprop = model.begin_update(X)`.

        `drop` (0 to below 1) reaches every layer that drops out and has no rate of its own; masks
        are drawn from `rng`, by default the model's. `backprop(dY, sgd=None)` returns dX, None
        for input that has no gradient (ids), and sums gradients on the model; with an optimizer
        it then updates each parameter once. dY is the gradient of a sum over the batch; it has
        the form and shape of Y. Any number of passes may be under way, in threads too.
        """
        if not 0 <= drop < 1:
            raise InputError(f"drop is a rate from 0 to below 1, not {drop!r}")
        ops = self.ops
        run = Run(ops, rng or self.rng, drop=drop)
        with ops.on_device():
            Y, callback = run(self, X)
        form = outline(Y)

        def backprop(dY: Any, sgd: Optimizer | None = None) -> Any:
            with ops.on_device():
                dX = callback(match_gradient(form, dY))
            if sgd is not None:
                self.finish_update(sgd)
            return dX

        return Y, backprop

    def finish_update(self, sgd: Optimizer) -> None:
        """Update each parameter that has a gradient waiting, once, and clear the gradients."""
        layout.refuse_borrowed(self)
        with self.ops.on_device():
            sgd.update([slot for node in self.walk() for slot in node.slots.values()])

    def predict(self, X: In) -> Out:
        """The output for X alone: no dropout, nothing kept for a backward pass."""
        with self.ops.on_device():
            Y: Out = PredictRun(self.ops, self.rng, train=False)(self, X)[0]
        return Y

    def __call__(self, X: In) -> Out:
        """`predict`."""
        return self.predict(X)

    @property
    def rng(self) -> Generator:
        """The generator of first weights and of dropout; seeded with 0 unless one is handed in."""
        if self._rng is None:
            self._rng = np.random.default_rng(0)
        return self._rng

    def initialize(
        self,
        X: Any = None,
        Y: Any = None,
        *,
        rng: "Generator | int | None" = None,
        dtype: Any = None,
    ) -> "Self":
        """Infer the missing dims, allocate what parameters are missing, return the model.

        X and Y are samples of input and output; where the layers say enough they are not needed.
        Weights are drawn from `rng`, a generator or a seed, in `dtype`: "float32", or "float64".
        Weights that are there already stay. Raises DimensionError, with the layer, where a size
        cannot be known.
        """
        if rng is not None:
            self._rng = np.random.default_rng(rng)
        layout.initialize(self, X, Y, dtype)
        return self

    # -- the tree --------------------------------------------------------------------------

    def walk(self, order: str = "bfs") -> Iterator["Model[Any, Any]"]:
        """Every layer once, this one first: breadth-first ("bfs") or depth-first ("dfs")."""
        return walk(self, order)

    def paths(self) -> dict[str, "Model[Any, Any]"]:
        """Every layer once by its path, `chain >> linear[2]`, as in errors and exclusions."""
        return paths(self)

    def slots_by_path(self) -> dict[str, Slot]:
        """The initialized parameters by the path of their layer and their name."""
        named = paths(self).items()
        return {f"{path}.{name}": s for path, node in named for name, s in node.slots.items()}

    def copy(self) -> "Self":
        """A model like this one, weights, waiting gradients and averages too, sharing nothing.

        A layer that stands in several places of the tree is one layer in the copy as well.
        """
        layout.refuse_borrowed(self)
        twins: dict[int, Any] = {}
        for node in self.walk():
            twin = twins[node.id] = object.__new__(type(node))
            twin.__dict__.update(node.__dict__)
            twin.id, twin.slots, twin._rng = next(_ids), {}, None
            twin.dims, twin.attrs = dict(node.dims), dict(node.attrs)
        for twin in twins.values():
            twin.layers = tuple(twins[layer.id] for layer in twin.layers)
        layout.duplicate(self, twins[self.id])
        return twins[self.id]  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return draw(self)

    # -- dims, parameters, gradients -------------------------------------------------------

    def _width(self, name: str) -> int | None:
        widths: Widths = Solver()(self, None, None)
        return {"nI": widths[0], "nO": widths[1]}.get(name)

    def has_dim(self, name: str) -> bool | None:
        """True if the dim is known, None if it is not yet, False if there is no such dim."""
        if name in ("nI", "nO") or name in self.dims:
            return True if self.maybe_get_dim(name) is not None else None
        return False

    def get_dim(self, name: str) -> int:
        """A size: "nO" and "nI", the widths of output and input, also through combinators."""
        size = self.maybe_get_dim(name)
        if size is None:
            raise DimensionError(f"{self.name} has no {name} that is known: {self.dims}")
        return size

    def maybe_get_dim(self, name: str) -> int | None:
        """The size, or None."""
        return self.dims[name] if name in self.dims else self._width(name)

    def set_dim(self, name: str, size: int) -> None:
        """Give a dim that is not known its size. A known one changes by `resize_output` alone."""
        if name not in self.dims:
            raise DimensionError(f"{self.name} has no dim {name} of its own: {self.dims}")
        if self.dims[name] not in (None, size):
            raise DimensionError(f"{self.name} has {name}={self.dims[name]} already, not {size}")
        if not is_size(size):
            raise DimensionError(f"{self.name} takes a positive int for {name}, not {size!r}")
        self.dims[name] = size

    @property
    def param_names(self) -> tuple[str, ...]:
        """The names of the layer's own parameters."""
        return tuple(self._params)

    def param(self, name: str) -> Param:
        """The declaration of a parameter."""
        return self._params[name]

    def param_shape(self, name: str, sizes: Mapping[Any, int] | None = None) -> Shape:
        """A parameter's shape by the layer's dims, or by `sizes` {(model, dim): size} first."""
        axes = self._params[name].axes
        shape = [(sizes or {}).get((self, axis), self.dims[axis]) for axis in axes]
        if None in shape:
            unknown = axes[shape.index(None)]
            raise DimensionError(
                f"{self.name} needs {unknown} for its parameter {name}: give it to the layer, "
                f"or samples to initialize(X, Y)"
            )
        return tuple(int(size) for size in shape if size is not None)

    @property
    def dtype(self) -> Any:
        """The dtype of the layer's own parameters; None if it has none yet."""
        return next((slot.store.dtype for slot in self.slots.values()), None)

    def _slot(self, name: str) -> Slot:
        if name not in self._params:
            raise StateError(f"{self.name} has no parameter {name}, only {[*self._params]}")
        if name not in self.slots:
            raise StateError(f"{self.name} is not initialized: it has no {name} yet")
        return self.slots[name]

    def has_param(self, name: str) -> bool | None:
        """True if the parameter is there, None if it is declared only, False if there is none."""
        return (name in self.slots or None) if name in self._params else False

    def get_param(self, name: str) -> Floats:
        """A parameter. Updates leave this array as it is; the model goes on with another."""
        slot = self._slot(name)
        return slot.store.read([slot])[0]  # type: ignore[no-any-return]

    def set_param(self, name: str, value: Any) -> None:
        """Set a parameter to a value of its shape."""
        slot = self._slot(name)
        if shape_of(value) != slot.shape:
            raise DimensionError(f"{self.name}: {name} is {slot.shape}, not {shape_of(value)}")
        layout.refuse_borrowed(self)
        slot.store.write(slot, value)

    def has_grad(self, name: str) -> bool:
        """Whether a gradient of the parameter waits to be applied."""
        return self._slot(name).touched

    def get_grad(self, name: str) -> Floats:
        """A copy of the gradient that waits. Raises StateError if there is none."""
        slot = self._slot(name)
        if not slot.touched:
            raise StateError(f"{self.name} has no gradient of {name} waiting")
        with slot.store.lock:
            return slot.of(slot.store.gradient).copy()  # type: ignore[no-any-return]

    # -- devices, sizes, other weights -----------------------------------------------------

    def to_gpu(self, device_num: int = 0) -> "Self":
        """Move to a GPU: weights, waiting gradients, averages, optimizers' moments. Returns self.

        Nothing happens if the model is there. Raises DeviceError, the model unchanged, where
        there is no such GPU or no CuPy.
        """
        return self._move(CupyOps(device_num))

    def to_cpu(self) -> "Self":
        """Move to the CPU, with all that `to_gpu` moves. Nothing happens if the model is there."""
        return self._move(default_ops())

    def _move(self, ops: Ops) -> "Self":
        if any((node.ops.name, node.ops.device) != (ops.name, ops.device) for node in self.walk()):
            layout.move(self, ops)
        return self

    def resize_output(self, new_size: int) -> "Self":
        """Change the number of output columns, in training too; returns self.

        Larger: the new weights are 0; smaller: columns go from the end. The change is made in the
        layer that the output comes from, and in all that must follow: where output and input
        have one width, as in `residual` and layer norm, the input changes as well, up to the
        layer that makes it. Optimizers' moments and averages follow. Raises DimensionError, the
        model unchanged, where no valid model results.
        """
        layout.resize(self, nO=new_size)
        return self

    def resize_input(self, new_size: int) -> "Self":
        """Change the number of input columns: as `resize_output`, from the other end."""
        layout.resize(self, nI=new_size)
        return self

    @contextmanager
    def use_params(self, params: Mapping[Key, Any]) -> Iterator[None]:
        """Other weights, such as an optimizer's `averages`, inside a `with` block.

        `params` maps (model id, name) to arrays; those of other models are left alone. At the
        block's end, by an exception too, the model's own weights are back. All threads see the
        change. Inside, weights can be read, saved and borrowed again, but not updated or moved.
        """
        chosen: list[tuple[Slot, Any]] = []
        for node in self.walk():
            for name, slot in node.slots.items():
                if (node.id, name) in params:
                    value = params[node.id, name]
                    if shape_of(value) != slot.shape:
                        raise DimensionError(
                            f"{node.name}: {name} is {slot.shape}, not {shape_of(value)}"
                        )
                    chosen.append((slot, slot.store.ops.asarray(value, slot.store.dtype)))
        before = [slot.borrowed for slot, _ in chosen]
        try:
            for slot, value in chosen:
                slot.borrowed = value
            yield
        finally:
            for (slot, _), borrowed in zip(chosen, before, strict=True):
                slot.borrowed = borrowed

    @property
    def averages(self) -> dict[Key, Any]:
        """The running means of the weights, kept by an optimizer or loaded, for `use_params`."""
        return {
            slot.key: slot.of(slot.store.averages)
            for node in self.walk()
            for slot in node.slots.values()
            if slot.store.averages is not None
        }

    # -- saving ----------------------------------------------------------------------------

    def to_bytes(self, **exclude: bool) -> bytes:
        """The model's dims, settings, parameters and averages as msgpack.

        What is named with False is left out: `params`, `dims`, `attrs`, `averages`, or the
        parameters of one layer and all below it by its path, as `paths` gives it:
        `model.to_bytes(averages=False, **{"chain >> softmax": False})`. The function itself is
        not saved: load into a model that the same code has composed.
        """
        return saving.to_bytes(self, exclude)

    def from_bytes(self, data: bytes, **exclude: bool) -> "Self":
        """Load what `to_bytes` has saved, and return self; the model need not be initialized.

        What is excluded stays as it is. All is checked before anything is assigned: FormatError
        or DimensionError, the model unchanged, for bytes that are damaged or of another model.
        """
        saving.from_bytes(self, data, exclude)
        return self

    def to_disk(self, path: str | os.PathLike[str], **exclude: bool) -> None:
        """Write `to_bytes` to a file. The file is replaced whole or not at all."""
        format.write(path, self.to_bytes(**exclude))

    def from_disk(self, path: str | os.PathLike[str], **exclude: bool) -> "Self":
        """`from_bytes` of a file."""
        return self.from_bytes(Path(path).read_bytes(), **exclude)

    # -- operators: what they mean is in combinet.operators; here are their types --------------

    def __rshift__(self: "Model[A, B]", other: "Model[B, C]") -> "Model[A, C]":
        return self._operate(">>", other)  # type: ignore[no-any-return]

    def __or__(self: "Model[A, B]", other: "Model[A, B]") -> "Model[A, B]":
        return self._operate("|", other)  # type: ignore[no-any-return]

    def __add__(self: "Model[A, B]", other: "Model[A, B]") -> "Model[A, B]":
        return self._operate("+", other)  # type: ignore[no-any-return]

    def __pow__(self: "Model[A, A]", other: int) -> "Model[A, A]":
        return self._operate("**", other)  # type: ignore[no-any-return]
