"""Model: a node of a tree of pure functions, with the surface that people call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from combinet.batches.structure import match_gradient, shape_of, spec_of
from combinet.core import allocation, initialization, saving
from combinet.core.node import Node
from combinet.core.operators import DEFAULT, Operators
from combinet.core.resizing import resize
from combinet.core.run import PredictRun, Run
from combinet.core.tree import draw, movable, paths, walk
from combinet.errors import DimensionError, InputError, StateError, describe
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.ops.cupy import CupyOps
from combinet.optimizers.base import Optimizer
from combinet.storage import file_format
from combinet.storage.slots import Key, Slot
from combinet.storage.store import clear_gradients, locked
from combinet.types import Generator

if TYPE_CHECKING:
    from numpy.typing import DTypeLike
    from typing_extensions import Self

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class Backprop(Protocol[In]):
    """The backward pass of `begin_update`: dY -> dX, and an optimizer step if one is given."""

    def __call__(self, dY: In, sgd: Optimizer | None = None) -> Any:
        """The gradient of the input; None if it has none."""
        ...


class Model(Node, Operators, Generic[In, Out]):
    """A layer or a combination of layers: a pure function with its parameters declared.

    `forward(model, X, run) -> (Y, backprop)`, with `backprop(dY) -> dX`, receives everything that
    it may use: the sublayers are `model.layers`, called as `run(layer, X)`; weights come from
    `run.params(model, ...)`, gradients go to `run.inc_grad(model, ...)`. `dims` are sizes by name
    (None: unknown so far); `params` declares parameters by name as `Param`; `attrs` are settings
    (plain ones are saved); `accepts` is the input kind, a key of `INPUT_KINDS` in
    `combinet.core.inputs`; `widths` is the shape rule, see `combinet.shapes`. With `pinned` the
    sublayers stay on their device when the model moves. With `flat` a sublayer with the same
    `forward` and no settings of its own is replaced by its sublayers, as in a chain of chains.

    Layers whose known widths disagree raise DimensionError here, when they are composed.

    Example:
        >>> def forward(model, X, run):
        ...     (scale,) = run.params(model, "scale")
        ...     def backprop(dY):
        ...         run.inc_grad(model, scale=(dY * X).sum(axis=0))
        ...         return dY * scale
        ...     return X * scale, backprop
        >>> from combinet import Param, ones
        >>> from combinet.shapes import per_column
        >>> params = {"scale": Param(("nI",), ones)}
        >>> Model("scale", forward, dims={"nI": 3}, params=params, widths=per_column)
        scale  nI=3: no parameters, not initialized
    """

    # -- passes ----------------------------------------------------------------------------

    def begin_update(
        self,
        X: In,
        drop: float = 0.0,
        *,
        rng: Generator | int | None = None,
        wants_dX: bool = True,
    ) -> tuple[Out, Backprop[Out]]:
        """The output for X, and the backward pass: `Y, backprop = model.begin_update(X)`.

        `drop` (0 to below 1) reaches every layer that drops out and has no rate of its own; masks
        are drawn from `rng`, a generator or a seed, by default the model's generator.
        `backprop(dY, sgd=None)` returns dX, None for input that has no gradient (ids), and sums
        gradients on the model; with an optimizer it then updates each parameter once, and the pass
        is over: another call raises StateError. dY is the gradient of a sum over the batch; it has
        the form and shape of Y, with None for an item of a tuple that has none. Any number of
        passes may be under way, in threads too.

        Without `wants_dX` nobody needs the gradient of X: the first layers may spare themselves
        the work, and backprop then returns None. That of the weights is the same.

        A backward pass that fails leaves behind the gradients of the layers that it has been
        through: see `clear_gradients`.
        """
        if not 0 <= drop < 1:
            raise InputError(f"drop is a rate from 0 to below 1, not {drop!r}")
        ops = self.ops
        run = Run(ops, self.rng if rng is None else np.random.default_rng(rng), drop=drop)
        with ops.on_device():
            Y, callback = run(self, X, wants_dX)
        form = spec_of(Y)
        pending: list[Callable[[Any], Any]] = [callback]
        del callback

        def backprop(dY: Any, sgd: Optimizer | None = None) -> Any:
            if not pending:
                raise StateError(f"this pass over {self.name} has been applied: begin another one")
            slots = None if sgd is None else self._slots_for(sgd)
            with ops.on_device():
                dX = pending[0](match_gradient(form, dY))
                if sgd is not None and slots is not None:
                    pending.clear()  # it holds weights, which an update would then have to copy
                    sgd.update(slots)
            return dX if wants_dX else None

        return Y, backprop

    def finish_update(self, sgd: Optimizer) -> None:
        """Update each parameter that has a gradient waiting, once, and clear the gradients."""
        slots = self._slots_for(sgd)
        with self.ops.on_device():
            sgd.update(slots)

    def clear_gradients(self) -> None:
        """Forget the gradients that wait, such as those of layers that are not to be trained.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
            >>> dX = backprop(Y)
            >>> model.clear_gradients()
            >>> model.has_grad("W")
            False
        """
        slots = [slot for node in self.walk() for slot in node.slots.values()]
        with locked(slots), self.ops.on_device():
            clear_gradients(slots, changed=False)

    def _slots_for(self, sgd: Optimizer) -> list[Slot]:
        if not isinstance(sgd, Optimizer):
            raise InputError(f"{self.name} is updated by an optimizer, not {describe(sgd)}")
        return allocation.own_slots(self)

    def predict(self, X: In) -> Out:
        """The output for X alone: no dropout, nothing kept for a backward pass."""
        with self.ops.on_device():
            Y: Out = PredictRun(self.ops, self.rng, train=False)(self, X)[0]
        return Y

    def __call__(self, X: In) -> Out:
        """`predict`."""
        return self.predict(X)

    def initialize(
        self,
        X: In | None = None,
        Y: object = None,
        *,
        rng: Generator | int | None = None,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Infer the missing dims, allocate what parameters are missing, return the model.

        X and Y are samples of input and output; where the layers say enough they are not needed.
        Weights are drawn from `rng`, a generator or a seed, in `dtype`: "float32", or "float64".
        Weights that are there already stay. The model predicts the first row or sequence of X, or
        all of X if it needs data to infer dims. Raises DimensionError, with the layer, where a size
        cannot be known, and InputError or DimensionError for an X that the model cannot take.
        """
        if rng is not None:
            self._rng = np.random.default_rng(rng)
        initialization.initialize(self, X, Y, dtype)
        return self

    # -- the tree --------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        return True  # by default an object of length 0 is false, and a layer has no layers

    def __iter__(self) -> Iterator[Model[Any, Any]]:
        return iter(self.layers)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, str):
            return any(layer is item for layer in self.layers)
        try:
            self[item]
        except KeyError:
            return False
        return True

    def __getitem__(self, index: int | str | slice) -> Model[Any, Any]:
        """A layer by its position, its path or its name; a part of a chain by a slice.

        A model is a sequence of its own layers: `model[0]`, `model[-1]`, `len(model)`, and
        iteration gives them in order. `model["chain >> linear[2]"]` is the layer of that path, as
        `paths` returns it; the name of a layer is enough if no other layer in the tree has it.
        `model[1:3]` is a new chain of these layers, which it shares with the model. Its settings
        are empty. Only chains have slices: `model.layers[1:3]` is a tuple for every model.

        Raises:
            IndexError: There is no layer at this position.
            KeyError: No layer has this path or name, or several have the name. The message lists
                the nearest paths.
            InputError: `index` has another type, or is a slice and the model is not a chain.

        Example:
            >>> from combinet import Linear, Softmax, relu
            >>> model = Linear(4, 2) >> relu() >> Softmax(3, 4)
            >>> model[0].name, model["softmax"].name, model["chain >> relu"].name
            ('linear', 'softmax', 'relu')
            >>> model[:2]
            chain: no parameters, not initialized
              linear  nI=2 nO=4
              relu
            >>> len(model), [layer.name for layer in model], "relu" in model
            (3, ['linear', 'relu', 'softmax'], True)
        """
        if isinstance(index, str):
            return self._find(index)
        if isinstance(index, slice):
            chain: Callable[..., Model[Any, Any]] = DEFAULT[">>"]
            if self.forward is not chain().forward:
                raise InputError(
                    f"expected an index for {self.name}, got a slice: only a chain has slices, "
                    f"use {self.name}.layers[...]"
                )
            return chain(*self.layers[index])
        try:
            layer: Model[Any, Any] = self.layers[index]
        except IndexError:
            count = len(self.layers)
            raise IndexError(
                f"expected an index below {count} for the layers of {self.name}, got {index}"
            ) from None
        except TypeError:
            raise InputError(
                f"expected an int, a slice or a path for {self.name}, got {describe(index)}"
            ) from None
        return layer

    def _find(self, name: str) -> Model[Any, Any]:
        """The layer of this path, or else the only layer of this name."""
        found: dict[str, Model[Any, Any]] = paths(self)
        if name in found:
            return found[name]
        same = [path for path, layer in found.items() if layer.name == name]
        if len(same) == 1:
            return found[same[0]]
        nearest = same or get_close_matches(name, found, n=3, cutoff=0.3)
        problem = f"got a name of {len(same)} layers" if same else "found none"
        raise KeyError(
            f"expected the path of a layer of {self.name}, {problem}: {name!r}. "
            f"The nearest paths are {nearest[:5] or [*found][:5]}"
        )

    def walk(self, order: str = "bfs") -> Iterator[Model[Any, Any]]:
        """Every layer once: breadth-first ("bfs") or depth-first ("dfs_pre"), this one first.

        Or "dfs_post": depth-first, each layer after its children, this one last.
        """
        return walk(self, order)

    def paths(self) -> dict[str, Model[Any, Any]]:
        """Every layer once by its path, `chain >> linear[2]`, as in errors and exclusions."""
        return paths(self)

    def slots_by_path(self) -> dict[str, Slot]:
        """The initialized parameters by the path of their layer and their name."""
        named = paths(self).items()
        return {f"{path}.{name}": s for path, node in named for name, s in node.slots.items()}

    def copy(self) -> Self:
        """A model like this one, weights, waiting gradients and averages too, sharing nothing.

        A layer that stands in several places of the tree is one layer in the copy as well. Settings
        that are lists, dicts or arrays are copied, others shared. `copy.copy` and `copy.deepcopy`
        do the same.
        """
        return self.__deepcopy__({})

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        allocation.own_slots(self)
        copy = self._copy(memo)
        allocation.duplicate(self, copy)
        return copy

    def without_weights(self) -> Self:
        """A model like this one, of the same layers and dims, without weights.

        As the model itself, it can be pickled where its layers are functions of modules, as
        combinet's own are. A model's pickle holds weights and averages; waiting gradients and
        optimizers' moments stay behind.
        """
        return self._copy({})

    def _copy(self, memo: dict[int, Any]) -> Self:
        """A copy without weights, but with those layers that `memo` has; the others are added."""
        nodes = [node for node in self.walk() if id(node) not in memo]
        for node in nodes:
            copy = memo[id(node)] = object.__new__(type(node))
            copy.__dict__.update(node.__dict__)
        for node in nodes:
            memo[id(node)]._renew([memo[id(layer)] for layer in node.layers])
        return memo[id(self)]  # type: ignore[no-any-return]

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        with locked(self.slots.values()):
            record = saving.record_of(self, ("params", "averages"))
        return {**self.__dict__, "slots": {}, "noted": None, "_rng": None}, record

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        fields, record = state
        self.__dict__.update(fields)
        self._renew(self.layers)  # its id may be that of another layer in this process
        saving.load(self, [(self.name, self, record)])
        allocation.gather(self)

    def __repr__(self) -> str:
        return draw(self)

    # -- devices, sizes, other weights -----------------------------------------------------

    def to_gpu(self, device_num: int = 0) -> Self:
        """Move to a GPU: weights, waiting gradients, averages, optimizers' moments. Returns self.

        Nothing happens if the model is there. Raises DeviceError, the model unchanged, where
        there is no such GPU or no CuPy.
        """
        return self._move(CupyOps(device_num))

    def to_cpu(self) -> Self:
        """Move to the CPU, with all that `to_gpu` moves. Nothing happens if the model is there."""
        return self._move(default_ops())

    def _move(self, ops: Ops) -> Self:
        nodes = movable(self)
        if any((type(node.ops), node.ops.device) != (type(ops), ops.device) for node in nodes):
            allocation.move(self, nodes, ops)
        return self

    def resize_output(self, new_size: int) -> Self:
        """Change the number of output columns, in training too; returns self.

        Larger: the new weights are 0, statistics as at first; smaller: columns go from the end. The
        change is made in the layer that the output comes from, and in all that must follow: where
        output and input have one width, as in `residual` and layer norm, the input changes as
        well, up to the layer that makes it. Optimizers' moments and averages follow; the
        latter forget faster again, as at first, where the size has changed. Raises DimensionError,
        the model unchanged, where no valid model results, or where no layer says which of a
        concatenation's columns the weights behind it belong to.
        """
        resize(self, nO=new_size)
        return self

    def resize_input(self, new_size: int) -> Self:
        """Change the number of input columns: as `resize_output`, from the other end."""
        resize(self, nI=new_size)
        return self

    @contextmanager
    def use_params(self, params: Mapping[Key, Any]) -> Iterator[None]:
        """Other weights, such as an optimizer's `averages`, inside a `with` block.

        `params` maps (model id, name) to arrays; those of other models are left alone. At the
        block's end, by an exception too, the model's own weights are back. All threads see the
        change. Inside, weights can be read, saved and borrowed again, but not updated or moved; of
        blocks that overlap, in threads say, the last that was entered counts. Raises StateError if
        there are params and all are of other models, as a copy's are: it has `averages` of its own.
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
        if params and not chosen:
            raise StateError(
                f"none of these weights are of {self.name}: a copy of a model, or one that was "
                f"loaded, has others, and averages of its own (model.averages)"
            )
        block, slots = object(), [slot for slot, _ in chosen]
        with locked(slots):
            for slot, value in chosen:
                slot.override(block, value)
        try:
            yield
        finally:
            with locked(slots):
                for slot in slots:
                    slot.restore(block)

    @property
    def averages(self) -> dict[Key, Any]:
        """The running means of the weights, kept by an optimizer or loaded, for `use_params`.

        The mean of a parameter that is set, as by `set_param`, starts again at that value.
        """
        slots = [slot for node in self.walk() for slot in node.slots.values()]
        averages: dict[Key, Any] = {}
        for store in dict.fromkeys(slot.store for slot in slots):
            averages |= store.read_averages([slot for slot in slots if slot.store is store])
        return averages

    # -- saving ----------------------------------------------------------------------------

    def to_bytes(self, **exclude: bool) -> bytes:
        """The model's dims, settings, parameters and averages as msgpack.

        What is named with False is left out: `params`, `dims`, `attrs`, `averages`, or all of
        one layer and of those below it by its path, as `paths` gives it:
        `model.to_bytes(averages=False, **{"chain >> softmax": False})`. The function itself is
        not saved: load into a model that the same code has composed. Updates in other threads
        wait meanwhile.
        """
        return saving.to_bytes(self, exclude)

    def from_bytes(self, data: bytes, **exclude: bool) -> Self:
        """Load what `to_bytes` has saved, and return self; the model need not be initialized.

        What is excluded stays as it is, and may have other sizes than what was saved. All is
        checked before anything is assigned: FormatError or DimensionError, the model unchanged,
        for bytes that are damaged or of another model. A setting that is loaded is of the kind
        of the present one, an int for a float, or one of both is None.
        """
        saving.from_bytes(self, data, exclude)
        return self

    def to_disk(self, path: str | os.PathLike[str], **exclude: bool) -> None:
        """Write `to_bytes` to a file. The file is replaced whole or not at all."""
        file_format.write(path, self.to_bytes(**exclude))

    def from_disk(self, path: str | os.PathLike[str], **exclude: bool) -> Self:
        """`from_bytes` of a file."""
        return self.from_bytes(file_format.read(path), **exclude)

    # -- operators: `combinet.core.operators` defines their meaning, here are their types ----------

    def __rshift__(self: Model[A, B], other: Model[B, C]) -> Model[A, C]:
        return self._operate(">>", other)  # type: ignore[no-any-return]

    def __or__(self: Model[A, B], other: Model[A, B]) -> Model[A, B]:
        return self._operate("|", other)  # type: ignore[no-any-return]

    def __add__(self: Model[A, B], other: Model[A, B]) -> Model[A, B]:
        return self._operate("+", other)  # type: ignore[no-any-return]

    def __pow__(self: Model[A, A], other: int) -> Model[A, A]:
        return self._operate("**", other)  # type: ignore[no-any-return]
