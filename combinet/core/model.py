"""Model: a layer or a composition of layers, with all methods that users call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from combinet.batches.structure import match_gradient, spec_of
from combinet.core import allocation, initialization, saving
from combinet.core.moving import move
from combinet.core.node import Node
from combinet.core.operators import DEFAULT, Operators
from combinet.core.own_methods import METHODS, begin_forward, no_forward, outer_run, updating
from combinet.core.resizing import resize
from combinet.core.run import InferRun, PredictRun, Run
from combinet.core.tree import divide, draw, paths, route, walk
from combinet.errors import CombinetError, InputError, StateError, describe
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.ops.cupy import CupyOps
from combinet.optimizers.base import Optimizer
from combinet.storage import file_format
from combinet.storage.slots import Key, Slot
from combinet.storage.store import clear_gradients, locked
from combinet.types import DTypeLike, Generator

if TYPE_CHECKING:
    from typing_extensions import Self

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

_NO_CONTEXT = nullcontext()
# Whether an outer model is overriding weights, so that a layer below may find none of its own.
_outer_params: ContextVar[bool] = ContextVar("outer_params", default=False)


class Backprop(Protocol[In]):
    """The callback of `begin_update`: maps dY to dX and can update the weights."""

    def __call__(self, dY: In, sgd: Optimizer | None = None) -> Any:
        """Returns the gradient of the input, or None if the input has none."""
        ...


class Model(Node, Operators, Generic[In, Out]):
    """A layer or a composition of layers: a pure function with declared parameters.

    Constructors such as `Linear` and combinators such as `chain` return models. Create a `Model`
    directly to write a layer of your own. A composition raises DimensionError if the known widths
    of its layers do not fit together.

    Args:
        name: Name of the layer in paths and error messages.
        forward: Forward function, `forward(model, X, run) -> (Y, backprop)`, with
            `backprop(dY) -> dX`. It calls the sublayers in `model.layers` as `run(layer, X)`, reads
            weights with `run.params(model, ...)` and adds gradients with
            `run.inc_grad(model, ...)`.
        layers: Sublayers.
        dims: Sizes by name. A size of None is inferred later.
        params: Declarations of parameters by name, each a `Param`.
        attrs: Settings by name. Numbers, strings, None, arrays and lists of these are saved with
            the model. Other values, such as functions, are not.
        accepts: Input kind: "any", "floats", "floats2d", "ids", "list", "ragged", "padded" or
            another key of `INPUT_KINDS` in `combinet.core.inputs`. A pass raises InputError for
            input of another kind.
        widths: Shape rule, see `combinet.shapes`. By default the dims nI and nO are the widths of
            the input and the output.
        pinned: Whether the sublayers stay on their device when the model moves.
        flat: Whether to replace a sublayer from the same combinator by its own sublayers, as in a
            chain of chains. A sublayer that has attrs, dims, parameters or another name is kept.

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

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        own = (name for name in METHODS if getattr(cls, name) is not getattr(Model, name))
        cls.own_methods = frozenset(own)

    # -- passes ----------------------------------------------------------------------------

    def begin_update(
        self,
        X: In,
        drop: float = 0.0,
        *,
        rng: Generator | int | None = None,
        wants_dX: bool = True,
    ) -> tuple[Out, Backprop[Out]]:
        """Runs the forward pass and returns the output with a callback for the backward pass.

        Any number of passes can be in progress at the same time, also in several threads. If a
        backward pass raises an error, the gradients that it has added so far remain. Discard them
        with `clear_gradients`.

        Args:
            X: Input batch.
            drop: Dropout rate, from 0 to below 1, for all dropout layers without a rate.
            rng: Generator or seed for dropout masks. `model.rng` by default.
            wants_dX: Whether the gradient of X is needed. If False, the first layers can skip its
                computation and the callback returns None. The gradients of the parameters are the
                same.

        Returns:
            The output Y and a callback `backprop(dY, sgd=None)`. dY is the gradient of the loss
            with respect to Y, with the structure and shapes of Y. In a tuple, None marks an item
            without a gradient. The callback adds to the gradients of the parameters, summed over
            the batch, and returns dX, or None if X has no gradient (ids, for example). If `sgd` is
            an optimizer, the callback then updates each parameter once. This ends the pass: another
            call raises StateError.

        Raises:
            InputError: If the model does not accept X, or `drop` is out of range.
            DimensionError: If X does not have nI columns.
            StateError: If the model is not initialized.

        Example:
            >>> import numpy as np
            >>> from combinet import SGD, Linear, zeros
            >>> model = Linear(1, 2, init_W=zeros).initialize(dtype="float64")
            >>> Y, backprop = model.begin_update(np.array([[1.0, 2.0]]))
            >>> dX = backprop(Y - 1, SGD(0.1, grad_clip=0))
            >>> model.get_param("W"), model.get_param("b")
            (array([[0.1, 0.2]]), array([0.1]))
        """
        if not 0 <= drop < 1:
            raise InputError(f"{self.name} expected drop from 0 to below 1, got {drop!r}")
        ops, outer = self.ops, outer_run(self)
        rng = np.random.default_rng(rng) if rng is not None else outer.rng if outer else self.rng
        run = outer.with_drop(drop, rng) if outer else Run(ops, rng, drop=drop)
        with ops.on_device():
            if self.own_methods:  # a subclass may have called super().begin_update
                Y, callback = run(self, X, wants_dX, self.given_forward or no_forward)
            else:
                Y, callback = run(self, X, wants_dX)
        form = spec_of(Y)  # not Y itself, whose memory the caller may want to free
        pending: list[Callable[[Any], Any]] = [callback]

        def backprop(dY: Any, sgd: Optimizer | None = None) -> Any:
            if not pending:
                raise StateError(
                    f"expected one update per pass over {self.name}, got a second call after an "
                    f"update; call begin_update again"
                )
            # Inside the pass of an outer model, that model updates all its layers together.
            slots = None if sgd is None or outer else self._slots_to_update(sgd)
            with self._updating(None if slots is None else sgd), ops.on_device():
                try:
                    dX = pending[0](match_gradient(form, dY))
                except CombinetError as error:
                    if error.path:  # it begins at the layer that raised the error
                        error.path[:1] = route(self, error.path[0])
                    raise
                if sgd is not None and slots is not None:
                    pending.clear()  # the callback holds weights, so the update would copy them
                    if "finish_update" in self.own_methods:
                        self.finish_update(sgd)
                    else:
                        self._update(sgd, slots)
            return dX if wants_dX else None

        return Y, backprop

    def finish_update(self, sgd: Optimizer) -> None:
        """Updates every parameter that has a gradient, once, and clears the gradients.

        Use it to accumulate the gradients of several passes before an update.

        Args:
            sgd: The optimizer that updates the parameters, such as `Adam(0.001)`.

        Raises:
            InputError: If `sgd` is not an optimizer.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> import numpy as np
            >>> from combinet import SGD, Linear, zeros
            >>> model = Linear(1, 1, init_W=zeros).initialize(dtype="float64")
            >>> for x in (1.0, 2.0):
            ...     Y, backprop = model.begin_update(np.array([[x]]))
            ...     dX = backprop(Y - 1)
            >>> model.finish_update(SGD(0.1, grad_clip=0))
            >>> model.get_param("W")
            array([[0.3]])
        """
        slots = self._slots_to_update(sgd)
        if outer_run(self):  # called in the backward pass of an outer model, which updates later
            return
        with self._updating(sgd), self.ops.on_device():
            self._update(sgd, slots)

    def clear_gradients(self) -> None:
        """Discards accumulated gradients, for example of layers that should not be trained.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> Y, backprop = model.begin_update(np.ones((1, 1), "float32"))
            >>> dX = backprop(Y)
            >>> model.clear_gradients()
            >>> model.has_grad("W")
            False
        """
        slots = [slot for node in self.walk() for slot in node.slots.values()]
        with locked(slots), self.ops.on_device():
            clear_gradients(slots, changed=False)

    def _slots_to_update(self, sgd: Optimizer) -> list[Slot]:
        """Returns the slots of all parameters, after the checks that precede an update."""
        if not isinstance(sgd, Optimizer):
            raise InputError(f"{self.name} expected an optimizer, got {describe(sgd)}")
        return allocation.own_slots(self)

    def _updating(self, sgd: Optimizer | None) -> AbstractContextManager[None]:
        """Returns the context of an update, of which layers with methods of their own take part."""
        if sgd is None or not (self.own_methods or self.has_own_methods_below):
            return _NO_CONTEXT
        return updating(sgd)

    def _update(self, sgd: Optimizer, slots: list[Slot]) -> None:
        if self.has_own_methods_below:
            nodes, layers = divide(self, "finish_update")
            slots = [slot for node in nodes for slot in node.slots.values()]
            for layer in layers:
                layer.finish_update(sgd)
        sgd.update(slots)

    def predict(self, X: In) -> Out:
        """Returns the output, without dropout and without keeping data for a backward pass.

        `model(X)` does the same.

        Args:
            X: Input batch.

        Raises:
            InputError: If the model does not accept X.
            DimensionError: If X does not have nI columns.
            StateError: If the model is not initialized.

        Example:
            >>> import numpy as np
            >>> from combinet import relu
            >>> relu().predict(np.array([-1.0, 2.0]))
            array([0., 2.])
        """
        outer = outer_run(self)
        run = PredictRun(self.ops, self.rng, train=False) if not outer or outer.train else outer
        with self.ops.on_device():
            if "predict" in self.own_methods:  # a subclass has called super().predict
                Y: Out = run(self, X, True, begin_forward)[0]
            else:
                Y = run(self, X)[0]
        return Y

    def __call__(self, X: In) -> Out:
        """Same as `predict`."""
        return self.predict(X)

    def initialize(
        self,
        X: In | None = None,
        Y: object = None,
        *,
        rng: Generator | int | None = None,
        dtype: DTypeLike | None = None,
    ) -> Self:
        """Infers unknown dims, allocates missing weights, and returns the model.

        Weights that exist are kept. The samples are optional if the layers determine all dims. If X
        is given, the model also makes a prediction for it, to infer the remaining dims and to check
        that it accepts X. The first row or sequence is used if it is enough, otherwise all of X. If
        an error is raised, dims and weights are unchanged.

        Args:
            X: Sample of the input.
            Y: Sample of the output, for a last layer without nO. For classes it is an array
                (n, classes), see `to_categorical`.
            rng: Generator or seed for initial weights and dropout masks. It becomes `model.rng`.
                None keeps the current generator.
            dtype: "float32" or "float64". By default the dtype of existing weights, or else
                float32.

        Returns:
            The model itself.

        Raises:
            DimensionError: If a dim cannot be inferred, or if sizes disagree.
            InputError: If the model does not accept X, or if dtype is not one of the two.
            StateError: If existing weights have another dtype or are overridden by `use_params`.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear, Softmax, relu
            >>> X, Y = np.ones((5, 3), "float32"), np.ones((5, 2), "float32")
            >>> (Linear(4) >> relu() >> Softmax()).initialize(X, Y)
            chain: 26 parameters
              linear   nI=3 nO=4  16
              relu
              softmax  nI=4 nO=2  10
        """
        outer = outer_run(self)
        if isinstance(outer, InferRun):  # a subclass has called super()
            rng, dtype = (outer.rng if rng is None else rng), dtype or outer.dtype
        if rng is not None:
            self._rng = np.random.default_rng(rng)
        initialization.initialize(self, X, Y, dtype)
        return self

    # -- the tree --------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __bool__(self) -> bool:
        return True  # otherwise a layer without sublayers would be false, because its length is 0

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
        """Returns a sublayer by position, path or name, or a part of a chain by slice.

        `model[0]`, `model[-1]`, `len(model)` and iteration refer to the sublayers in order.
        `model["chain >> linear[2]"]` returns the layer with this path, as listed by `paths`. The
        name of a layer is enough if no other layer in the tree has it. `model[1:3]` is a new chain
        of these layers, without settings. It shares the layers with the model. Only chains have
        slices: for other models use the tuple `model.layers[1:3]`.

        Args:
            index: Position, path, name or slice.

        Raises:
            IndexError: If there is no layer at this position.
            KeyError: If no layer has this path or name, or if several layers have this name. The
                message lists similar paths.
            InputError: If `index` has another type, or is a slice and the model is not a chain.

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
                    f"expected an index for {self.name}, got a slice; only a chain has slices, "
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
        """Returns the layer with this path, or else the only layer with this name."""
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
        """Iterates over all layers of the tree, including this model.

        A layer that occurs several times in the tree is visited once.

        Args:
            order: "bfs" (breadth-first, the default) or "dfs_pre" (depth-first): a layer comes
                before its sublayers. "dfs_post" (depth-first): a layer comes after its sublayers.

        Raises:
            ValueError: If `order` is another value.

        Example:
            >>> from combinet import Linear, relu, residual
            >>> model = residual(Linear(2, 2) >> relu())
            >>> [layer.name for layer in model.walk()]
            ['residual', 'chain', 'linear', 'relu']
            >>> [layer.name for layer in model.walk("dfs_post")]
            ['linear', 'relu', 'chain', 'residual']
        """
        return walk(self, order)

    def paths(self) -> dict[str, Model[Any, Any]]:
        """Returns all layers of the tree by path.

        Error messages and the exclusions of `to_bytes` use these paths. A name that several
        sublayers share is followed by the position, as in `chain >> linear[2]`. A layer that occurs
        several times in the tree is listed once, by its first path.

        Example:
            >>> from combinet import Linear, relu
            >>> [*(Linear(4, 2) >> relu() >> Linear(3, 4)).paths()]
            ['chain', 'chain >> linear[0]', 'chain >> relu', 'chain >> linear[2]']
        """
        return paths(self)

    def slots_by_path(self) -> dict[str, Slot]:
        """Returns the slots of all initialized parameters by path and name.

        A slot is the place of a parameter in the memory of the model. A key of the dict is the path
        of the layer and the name of the parameter, joined by a dot.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(3, 2).initialize()
            >>> {name: slot.shape for name, slot in model.slots_by_path().items()}
            {'linear.W': (3, 2), 'linear.b': (3,)}
        """
        named = paths(self).items()
        return {f"{path}.{name}": s for path, node in named for name, s in node.slots.items()}

    def copy(self) -> Self:
        """Returns an independent copy with weights, accumulated gradients and averages.

        A layer that occurs several times in the tree is one layer in the copy too. Attrs that are
        lists, dicts or arrays are copied; other values are shared. The layers of the copy have new
        ids, and optimizers have no state for them. `copy.copy` and `copy.deepcopy` do the same.

        Raises:
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> copy = model.copy()
            >>> copy.set_param("b", [5.0])
            >>> model.get_param("b"), copy.get_param("b")
            (array([0.], dtype=float32), array([5.], dtype=float32))
        """
        return self.__deepcopy__({})

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        allocation.own_slots(self)
        copy = self._copy(memo)
        allocation.duplicate(self, copy)
        return copy

    def without_weights(self) -> Self:
        """Returns a copy with the same layers, dims and attrs, but without weights.

        Models can be pickled if their functions are defined at the top level of modules, as all
        functions of combinet are. The pickle of a model contains weights and averages. It contains
        neither accumulated gradients nor optimizer states.

        Example:
            >>> from combinet import Linear
            >>> Linear(1, 2).initialize().without_weights()
            linear  nI=2 nO=1: no parameters, not initialized
        """
        return self._copy({})

    def _copy(self, memo: dict[int, Any]) -> Self:
        """Copies layers that are not in `memo` yet, without weights, and adds the copies to it."""
        nodes = [node for node in self.walk() if id(node) not in memo]
        for node in nodes:
            copy = memo[id(node)] = object.__new__(type(node))
            copy.__dict__.update(node.__dict__)
        for node in nodes:
            memo[id(node)]._renew([memo[id(layer)] for layer in node.layers], memo)
        return memo[id(self)]  # type: ignore[no-any-return]

    def __getstate__(self) -> tuple[dict[str, Any], dict[str, Any]]:
        with locked(self.slots.values()):
            record = saving.record_of(self, ("params", "averages"))
        return {**self.__dict__, "slots": {}, "noted": None, "_rng": None}, record

    def __setstate__(self, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
        fields, record = state
        self.__dict__.update(fields)
        self._renew(self.layers)  # another layer of this process may have its id
        saving.load(self, [(self.name, self, record)])
        allocation.gather(self)

    def __repr__(self) -> str:
        return draw(self)

    # -- devices, sizes, other weights -----------------------------------------------------

    def to_gpu(self, device_num: int = 0) -> Self:
        """Moves the model to a GPU and returns it.

        Weights, accumulated gradients, averages and optimizer states move together. Nothing happens
        if the model is already there.

        Args:
            device_num: Number of the GPU, from 0.

        Raises:
            DeviceError: If there is no such GPU, if CuPy is not installed, or if a layer occurs
                both inside and outside `with_cpu`. The model is unchanged.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> from combinet import DeviceError, Linear
            >>> model = Linear(3, 2).initialize()
            >>> try:
            ...     model = model.to_gpu()
            ... except DeviceError:
            ...     pass  # train on the CPU
        """
        return self._move(CupyOps(device_num))

    def to_cpu(self) -> Self:
        """Moves the model to the CPU and returns it. The counterpart of `to_gpu`.

        Nothing happens if the model is already there.

        Raises:
            DeviceError: If a layer occurs both inside and outside `with_cpu`. The model is
                unchanged.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(3, 2).initialize()
            >>> model.to_cpu() is model
            True
        """
        return self._move(default_ops())

    def _move(self, ops: Ops) -> Self:
        move(self, ops)
        return self

    def resize_output(self, new_size: int) -> Self:
        """Changes the number of output columns, also during training, and returns the model.

        New weights are 0, and new entries of buffers get their initial value. A smaller size
        removes the last columns. The layer that produces the output changes, and so does every
        layer that must follow. If the input and the output of a layer must have the same width, as
        in `residual` and `LayerNorm`, its input changes too, and with it the layer that produces
        it.

        Optimizer states and averages are resized as well. The average of a resized parameter
        follows the weights quickly again, as in the first updates.

        Args:
            new_size: Number of columns, at least 1.

        Returns:
            The model itself.

        Raises:
            DimensionError: If `new_size` is not a positive int, if the model cannot have this size,
                or if it is ambiguous which columns of a concatenation the weights after it belong
                to. The model is unchanged.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> from combinet import Linear, Softmax
            >>> model = (Linear(4, 2) >> Softmax(3)).initialize()
            >>> model.resize_output(5)
            chain: 37 parameters
              linear   nI=2 nO=4  12
              softmax  nI=4 nO=5  25
        """
        resize(self, nO=new_size)
        return self

    def resize_input(self, new_size: int) -> Self:
        """Changes the number of input columns and returns the model. See `resize_output`.

        Args:
            new_size: Number of columns, at least 1.

        Returns:
            The model itself.

        Raises:
            DimensionError: As in `resize_output`.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> from combinet import Linear
            >>> Linear(4, 2).initialize().resize_input(3)
            linear  nI=3 nO=4  16: 16 parameters
        """
        resize(self, nI=new_size)
        return self

    @contextmanager
    def use_params(self, params: Mapping[Key, Any]) -> Iterator[None]:
        """Overrides weights inside a `with` block, for example with averages.

        Passes in all threads read the given arrays. At the end of the block, also after an
        exception, passes read the model's own weights again. Inside the block, weights can be read,
        saved and overridden again, but not updated or moved. If blocks overlap, for example in
        several threads, the block that was entered last takes effect.

        Args:
            params: Arrays by (layer id, parameter name), such as `averages`. Entries of layers that
                are not in this model are ignored.

        Raises:
            DimensionError: If an array does not have the shape of its parameter.
            InputError: If a value is not made of numbers.
            StateError: If `params` has entries but none belongs to this model. Layers of a copy or
                of a loaded model have other ids: use the `averages` of that model.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> X = np.ones((1, 1), "float32")
            >>> with model.use_params({(model.id, "W"): np.array([[2.0]])}):
            ...     model.predict(X)
            array([[2.]], dtype=float32)
        """
        nodes, layers = divide(self, "use_params")
        chosen: list[tuple[Slot, Any]] = []
        for node in nodes:
            for name, slot in node.slots.items():
                if (node.id, name) in params:
                    chosen.append((slot, node._value_for(name, params[node.id, name])))
        if params and not chosen and not layers and not _outer_params.get():
            raise StateError(
                f"expected weights of {self.name}, got weights of other models only; a copy or a "
                f"loaded model has other layer ids, use its own model.averages"
            )
        block, slots = object(), [slot for slot, _ in chosen]
        with locked(slots):
            for slot, value in chosen:
                slot.override(block, value)
        try:
            with ExitStack() as stack:
                token = _outer_params.set(True)  # some layers below have no entry in `params`
                try:
                    for layer in layers:
                        stack.enter_context(layer.use_params(params))
                finally:
                    _outer_params.reset(token)
                yield
        finally:
            with locked(slots):
                for slot in slots:
                    slot.restore(block)

    @property
    def averages(self) -> dict[Key, Any]:
        """The running means of the weights, by (layer id, parameter name), for `use_params`.

        They come from an optimizer or a saved model. The dict is empty if there are none. Setting a
        parameter, for example with `set_param`, restarts its average at the new value.

        Example:
            >>> import numpy as np
            >>> from combinet import Adam, Linear
            >>> model = Linear(1, 1).initialize()
            >>> X = np.ones((1, 1), "float32")
            >>> Y, backprop = model.begin_update(X)
            >>> dX = backprop(Y - 1, Adam(0.001))
            >>> with model.use_params(model.averages):
            ...     Y = model.predict(X)
        """
        slots = [slot for node in self.walk() for slot in node.slots.values()]
        averages: dict[Key, Any] = {}
        for store in dict.fromkeys(slot.store for slot in slots):
            averages |= store.read_averages([slot for slot in slots if slot.store is store])
        return averages

    # -- saving ----------------------------------------------------------------------------

    def to_bytes(self, **exclude: bool) -> bytes:
        """Returns dims, attrs, parameters and averages in msgpack format.

        Forward functions are not saved: compose the model in code before you load it with
        `from_bytes`. Updates in other threads are blocked until the weights have been read.

        Args:
            **exclude: Content to leave out, each with the value False: `params`, `dims`, `attrs`,
                `averages`, or a path from `paths`, which leaves out this layer and its sublayers.
                Excluding `params` also excludes the averages.

        Raises:
            FormatError: If an exclusion is neither a section nor a path, or is not False.

        Example:
            >>> from combinet import Linear, Softmax
            >>> model = (Linear(4, 2) >> Softmax(3)).initialize()
            >>> data = model.to_bytes(averages=False, **{"chain >> softmax": False})
        """
        return saving.to_bytes(self, exclude)

    def from_bytes(self, data: bytes, **exclude: bool) -> Self:
        """Loads the result of `to_bytes` and returns the model, which need not be initialized.

        Everything is checked before anything is assigned. A loaded attr must have the type of the
        current value, except that an int can replace a float and that None is compatible with any
        type.

        Args:
            data: Bytes from `to_bytes`.
            **exclude: Content to ignore, as in `to_bytes`. It keeps its current values, and its
                sizes may differ from the saved ones. Parameters that were excluded when saving must
                be excluded again.

        Raises:
            FormatError: If `data` is not a saved model, is corrupt, or belongs to another model.
                The model is unchanged.
            DimensionError: If saved sizes differ from the known sizes. The model is unchanged.
            StateError: If the weights are overridden by `use_params`.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(4, 2).initialize()
            >>> Linear().from_bytes(model.to_bytes())
            linear  nI=2 nO=4  12: 12 parameters
        """
        saving.from_bytes(self, data, exclude)
        return self

    def to_disk(self, path: str | os.PathLike[str], **exclude: bool) -> None:
        """Writes the model to a file in the format of `to_bytes`.

        The file is written under a temporary name and then renamed, so that a crash cannot leave an
        incomplete file.

        Args:
            path: Path of the file.
            **exclude: Content to leave out, as in `to_bytes`.

        Raises:
            FormatError: If an exclusion is neither a section nor a path, or is not False.
            OSError: If the file cannot be written.

        Example:
            >>> import os, tempfile
            >>> from combinet import Linear
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = os.path.join(folder, "model.bin")
            ...     Linear(4, 2).initialize().to_disk(path)
            ...     Linear().from_disk(path)
            linear  nI=2 nO=4  12: 12 parameters
        """
        file_format.write(path, self.to_bytes(**exclude))

    def from_disk(self, path: str | os.PathLike[str], **exclude: bool) -> Self:
        """Loads a file that `to_disk` has written and returns the model.

        Args:
            path: Path of the file.
            **exclude: Content to ignore, as in `from_bytes`.

        Raises:
            FormatError: As in `from_bytes`. The model is unchanged.
            DimensionError: As in `from_bytes`. The model is unchanged.
            StateError: If the weights are overridden by `use_params`.
            OSError: If the file cannot be read.

        Example:
            >>> import os, tempfile
            >>> from combinet import Linear
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = os.path.join(folder, "model.bin")
            ...     Linear(4, 2).initialize().to_disk(path)
            ...     Linear().from_disk(path)
            linear  nI=2 nO=4  12: 12 parameters
        """
        return self.from_bytes(file_format.read(path), **exclude)

    # -- operators: their types; `combinet.core.operators` defines their meaning -------------------

    def __rshift__(self: Model[A, B], other: Model[B, C]) -> Model[A, C]:
        return self._operate(">>", other)  # type: ignore[no-any-return]

    def __or__(self: Model[A, B], other: Model[A, B]) -> Model[A, B]:
        return self._operate("|", other)  # type: ignore[no-any-return]

    def __add__(self: Model[A, B], other: Model[A, B]) -> Model[A, B]:
        return self._operate("+", other)  # type: ignore[no-any-return]

    def __pow__(self: Model[A, A], other: int) -> Model[A, A]:
        return self._operate("**", other)  # type: ignore[no-any-return]
