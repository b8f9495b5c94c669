"""Node, the base class of `Model`: access to dims, parameters and gradients by name."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from itertools import chain, count
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np

from combinet.core.allocation import own_slots
from combinet.core.inputs import INPUT_KINDS
from combinet.core.layer import Layer
from combinet.core.objects import is_layer_object, is_savable_object
from combinet.core.own_methods import outer_run, own_forward
from combinet.core.run import Run
from combinet.core.shape_inference import Noted, ShapeInference, ShapeRule, Watched, compose
from combinet.core.shape_rules import from_dims
from combinet.errors import DimensionError, InputError, StateError, describe
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.storage.slots import Order, Slot
from combinet.types import (
    Array,
    ArrayLike,
    Floats,
    Generator,
    Initializer,
    Shape,
    is_array,
    is_size,
)

Forward: TypeAlias = Callable[[Any, Any, Run], "tuple[Any, Callable[[Any], Any]]"]
T = TypeVar("T")
_ids = count()


class Param(NamedTuple):
    """The declaration of a parameter: its axes and its initial value.

    With an `ema_rate` the parameter is a buffer, such as the running mean of `BatchNorm`. A buffer
    is not trained. Each pass adds an observed value with `run.inc_grad`, and each update moves the
    buffer by `ema_rate` toward the mean of the values observed since the last update.

    Args:
        axes: Axes of the parameter. A string is the name of a dim of the layer. An int is a size
            that never changes.
        init: Initializer, `init(shape, rng) -> array`.
        order: Memory layout. "F" (column-major, the default) makes the transpose of a weight (nO,
            nI) contiguous, which is faster in products with few rows. "C" (row-major) is for
            tables.
        ema_rate: Rate of the exponential moving average of a buffer. None declares a trained
            parameter.

    Example:
        >>> from combinet import Linear
        >>> Linear(3, 2).param("W").axes
        ('nO', 'nI')
    """

    axes: tuple[str | int, ...]
    init: Initializer
    order: Order = "F"
    ema_rate: float | None = None


class Node:
    """The data of a `Model`. `Model` documents the arguments and adds passes, saving and so on."""

    # The methods of `METHODS` that a subclass defines. Outer models call them.
    own_methods: frozenset[str] = frozenset()
    # Whether a backward pass came without the optimizer that a layer without finish_update needs.
    waits_for_optimizer = False

    def __init__(
        self,
        name: str | None = None,
        forward: Forward | None = None,
        *,
        layers: Sequence[Any] = (),
        dims: Mapping[str, int | None] | None = None,
        params: Mapping[str, Param] | None = None,
        attrs: Mapping[str, Any] | None = None,
        accepts: str = "any",
        widths: ShapeRule = from_dims,
        pinned: bool = False,
        flat: bool = False,
    ) -> None:
        name = type(self).__name__.lower() if name is None else name
        forward = forward or getattr(type(self), "forward", None)
        own_pass = not self.own_methods.isdisjoint(("begin_update", "predict"))
        if forward is None and "begin_update" not in self.own_methods:
            raise InputError(f"{name} expected a forward function or a begin_update, got neither")
        layers = [as_layer(name, layer) for layer in layers]
        if accepts not in INPUT_KINDS:
            raise ValueError(f"{name} expected accepts in {sorted(INPUT_KINDS)}, got {accepts!r}")
        for dim, size in (dims or {}).items():
            if size is not None and not is_size(size):
                raise DimensionError(f"{name} expected a positive int for {dim}, got {size!r}")
        for key, param in (params or {}).items():
            _check_param(name, key, param, dims or {})
        self.id = next(_ids)
        self.name = name
        self.given_forward = forward  # what `begin_update` runs when a subclass calls super()
        self.forward: Any = own_forward if own_pass else forward
        self.layers = tuple(layers)
        self.dims: dict[str, int | None] = Watched(
            {dim: size and int(size) for dim, size in (dims or {}).items()}
        )
        self.attrs: dict[str, Any] = Watched(attrs or {})
        self.accepts = accepts
        self.widths = widths
        self.pinned = pinned
        self.flat_name = name if flat else ""
        self.noted: Noted | None = None
        self.slots: dict[str, Slot] = {}
        self.ops: Ops = layers[0].ops if layers else default_ops()
        self._params = dict(params or {})
        self.param_names = tuple(self._params)
        self._rng: Generator | None = None
        if layers:
            with suppress(DimensionError):
                # Compose before `layers` is flattened, because the widths of a nested chain are
                # known from its own composition. So a >> b >> c >> ... visits each layer only once.
                compose(self)
        if flat:
            self.layers = tuple(chain.from_iterable(map(self.flattened, layers)))
        # Before flattening, so that each step of a >> b >> c >> ... visits two layers only.
        self._look_below(layers)
        if layers and self.noted is None:
            ShapeInference()(self, None, None)  # raises the error with its path in the flat model

    def _look_below(self, layers: Sequence[Any]) -> None:
        """Notes what passes and walks need to know of these layers, and of all below them."""
        self.has_own_methods_below = any(
            layer.own_methods or layer.has_own_methods_below for layer in layers
        )
        self.is_trainable = bool(self._params or self.own_methods) or any(
            layer.is_trainable for layer in layers
        )

    def flattened(self, layer: Layer) -> tuple[Any, ...]:
        """Returns the sublayers of a sublayer if this layer absorbs it, else only the sublayer.

        Args:
            layer: Sublayer that may be replaced.

        Example:
            >>> from combinet import Linear, relu
            >>> inner = Linear() >> relu()
            >>> [layer.name for layer in (inner >> inner).flattened(inner)]
            ['linear', 'relu']
        """
        return tuple(layer.layers) if self.absorbs(layer) else (layer,)

    def absorbs(self, layer: Layer) -> bool:
        """Returns whether a sublayer can be replaced by its own sublayers without loss.

        It can be replaced if it comes from the same combinator and has no attrs, dims, parameters
        or changed name. A chain with attrs, for example, remains a layer of another chain.

        Args:
            layer: Sublayer that may be replaced.

        Example:
            >>> from combinet import chain
            >>> inner = chain()
            >>> chain().absorbs(inner)
            True
            >>> inner.name = "tagger"
            >>> chain().absorbs(inner)
            False
        """
        if not isinstance(layer, Node) or layer.forward is not self.forward:
            return False
        plain = layer.name == layer.flat_name and not (layer.attrs or layer.dims or layer._params)
        return plain and type(layer) is type(self)

    def _renew(self, layers: Sequence[Any], memo: dict[int, Any] | None = None) -> None:
        """Gives a shallow copy a new id and these layers, and removes weights. For `Model.copy`.

        `memo` is as in `copy.deepcopy`. With it, fields of subclasses are copied too.
        """
        self.id, self.layers, self.slots, self._rng = next(_ids), tuple(layers), {}, None
        self.dims, self.noted = Watched(self.dims), None
        self.attrs = Watched(_copied(dict(self.attrs), memo))
        if memo is not None:
            for name in vars(self).keys() - _FIELDS:
                vars(self)[name] = deepcopy(vars(self)[name], memo)
        self._look_below(self.layers)

    @property
    def rng(self) -> Generator:
        """The generator for initial weights and dropout masks, seeded with 0 by default.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> Linear().rng.random() == np.random.default_rng(0).random()
            True
        """
        if self._rng is None:
            self._rng = np.random.default_rng(0)
        return self._rng

    def _width(self, name: str) -> int | None:
        nI, nO = ShapeInference()(self, None, None)
        width = {"nI": nI, "nO": nO}.get(name)
        return None if isinstance(width, tuple) else width

    def has_dim(self, name: str) -> bool | None:
        """Returns True if a dim is known, None if it is unknown, False if it does not exist.

        Args:
            name: Name of the dim. Every model has nI and nO, the widths of its input and output.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(3)
            >>> model.has_dim("nO"), model.has_dim("nI"), model.has_dim("nV")
            (True, None, False)
        """
        if name in ("nI", "nO") or name in self.dims:
            return True if self.maybe_get_dim(name) is not None else None
        return False

    def get_dim(self, name: str) -> int:
        """Returns the size of a dim.

        Args:
            name: Name of the dim. For every model, combinators included, "nI" and "nO" are the
                widths of the input and the output.

        Raises:
            DimensionError: If the dim is unknown or does not exist.

        Example:
            >>> from combinet import Linear, relu
            >>> (Linear(3, 2) >> relu()).get_dim("nO")
            3
        """
        size = self.maybe_get_dim(name)
        if size is None:
            raise DimensionError(
                f"{self.name} expected a known {name}, got dims {self.dims}; pass {name} to the "
                f"constructor, or samples to initialize(X, Y)"
            )
        return size

    def maybe_get_dim(self, name: str) -> int | None:
        """Returns the size of a dim, or None if it is unknown or does not exist.

        Args:
            name: Name of the dim, as in `get_dim`. The width of a tuple of batches counts as
                unknown.

        Example:
            >>> from combinet import Linear
            >>> Linear(3).maybe_get_dim("nI") is None
            True
        """
        return self.dims[name] if name in self.dims else self._width(name)

    def set_dim(self, name: str, size: int) -> None:
        """Sets an unknown dim.

        Use `resize_input` or `resize_output` to change a known one.

        Args:
            name: Name of a dim of this layer.
            size: Size, at least 1.

        Raises:
            DimensionError: If the layer has no such dim, if the dim has another size, or if `size`
                is not a positive int.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(3)
            >>> model.set_dim("nI", 2)
            >>> model.get_dim("nI")
            2
        """
        if name not in self.dims:
            raise DimensionError(f"{self.name} expected a dim in {[*self.dims]}, got {name!r}")
        if self.dims[name] not in (None, size):
            raise DimensionError(f"{self.name} expected {name}={self.dims[name]}, got {size!r}")
        if not is_size(size):
            raise DimensionError(f"{self.name} expected a positive int for {name}, got {size!r}")
        self.dims[name] = int(size)

    def param(self, name: str) -> Param:
        """Returns the declaration of a parameter.

        Args:
            name: Name of the parameter.

        Raises:
            KeyError: If the layer has no such parameter.

        Example:
            >>> from combinet import Embed
            >>> Embed(3, 100).param("E").order
            'C'
        """
        return self._params[name]

    def param_shape(self, name: str, sizes: Mapping[Any, int] | None = None) -> Shape:
        """Returns the shape of a parameter.

        Args:
            name: Name of the parameter.
            sizes: Sizes by (layer, name of a dim). They replace the layer's dims, for example to
                plan a resize. By default the dims are used.

        Raises:
            DimensionError: If a dim is unknown.
            KeyError: If the layer has no such parameter.

        Example:
            >>> from combinet import Linear
            >>> Linear(3, 2).param_shape("W")
            (3, 2)
        """
        axes = self._params[name].axes
        shape = [
            axis if isinstance(axis, int) else (sizes or {}).get((self, axis), self.dims[axis])
            for axis in axes
        ]
        if None in shape:
            unknown = axes[shape.index(None)]
            raise DimensionError(
                f"{self.name} expected a known {unknown} for its parameter {name}, got None; pass "
                f"it to the constructor, or samples to initialize(X, Y)"
            )
        return tuple(int(size) for size in shape if size is not None)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the layer's own parameters, or None if it has no weights.

        Example:
            >>> from combinet import Linear
            >>> Linear(3, 2).initialize().dtype
            dtype('float32')
        """
        for slot in self.slots.values():
            return slot.store.dtype
        return None

    def _slot(self, name: str) -> Slot:
        if name not in self._params:
            raise StateError(f"{self.name} expected a parameter in {[*self._params]}, got {name!r}")
        if name not in self.slots:
            raise StateError(f"{self.name} is not initialized; call initialize(X, Y)")
        return self.slots[name]

    def has_param(self, name: str) -> bool | None:
        """Returns True if a parameter has a value, None if not yet, False if it is not declared.

        Args:
            name: Name of the parameter.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(3, 2)
            >>> model.has_param("W"), model.initialize().has_param("W"), model.has_param("E")
            (None, True, False)
        """
        return (name in self.slots or None) if name in self._params else False

    def get_param(self, name: str) -> Floats:
        """Returns the array of a parameter.

        Updates do not change this array: while you hold it, the model continues with a copy. Do not
        write to it: use `set_param`. Inside `use_params` it is the array that overrides the
        parameter.

        Args:
            name: Name of the parameter.

        Raises:
            StateError: If the layer has no such parameter or is not initialized.

        Example:
            >>> from combinet import Linear
            >>> Linear(3, 2).initialize().get_param("b")
            array([0., 0., 0.], dtype=float32)
        """
        run = outer_run(self) if self.own_methods else None
        if run is not None and name in self._params:
            return run.params(self, name)[0]  # type: ignore[no-any-return]
        slot = self._slot(name)
        return slot.store.read([slot])[0]

    def set_param(self, name: str, value: ArrayLike) -> None:
        """Sets the value of a parameter. Its average, if there is one, restarts at this value.

        Args:
            name: Name of the parameter.
            value: Array of the parameter's shape. It is converted to the dtype and moved to the
                device of the layer.

        Raises:
            DimensionError: If the value has another shape.
            InputError: If the value is not made of numbers.
            StateError: If the layer has no such parameter or is not initialized, or if its weights
                are overridden by `use_params`.

        Example:
            >>> from combinet import Linear
            >>> model = Linear(2, 3).initialize()
            >>> model.set_param("b", [1, 2])
            >>> model.get_param("b")
            array([1., 2.], dtype=float32)
        """
        slot, array = self._slot(name), self._value_for(name, value)
        own_slots(self)
        slot.store.write({slot: array})

    def _value_for(self, name: str, value: ArrayLike) -> Array:
        """Returns a value for a parameter as an array of its shape and dtype, on its device."""
        slot = self._slot(name)
        try:
            array: Any = value if is_array(value) else np.asarray(value, slot.store.dtype)
        except (TypeError, ValueError):  # text, or rows of several lengths
            raise InputError(
                f"{self.name} expected numbers {slot.shape} for {name}, got {describe(value)}"
            ) from None
        if tuple(array.shape) != slot.shape:
            raise DimensionError(
                f"{self.name} expected {slot.shape} for {name}, got {tuple(array.shape)}"
            )
        return slot.store.ops.asarray(array, slot.store.dtype)

    def inc_grad(self, name: str, gradient: Array) -> None:
        """Adds to the gradient of a parameter. Call it in the callback of your own `begin_update`.

        Forward functions call `run.inc_grad` instead.

        Args:
            name: Name of the parameter.
            gradient: Gradient with the parameter's shape.

        Raises:
            DimensionError: If the gradient has another shape.
            StateError: If the layer has no such parameter or is not initialized.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> model.inc_grad("b", np.array([2.0], "float32"))
            >>> model.get_grad("b")
            array([2.], dtype=float32)
        """
        run = outer_run(self) or Run(self.ops, self.rng)
        run.inc_grad(self, **{name: gradient})

    def has_grad(self, name: str) -> bool:
        """Returns whether a parameter has an accumulated gradient. A buffer never has one.

        Args:
            name: Name of the parameter.

        Raises:
            StateError: If the layer has no such parameter or is not initialized.

        Example:
            >>> from combinet import Linear
            >>> Linear(2, 3).initialize().has_grad("W")
            False
        """
        slot = self._slot(name)
        return slot.ema_rate is None and slot.grad.count > 0

    def get_grad(self, name: str) -> Floats:
        """Returns a copy of the accumulated gradient of a parameter.

        Args:
            name: Name of the parameter.

        Raises:
            StateError: If the parameter has no gradient or does not exist, or the layer is not
                initialized.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear
            >>> model = Linear(1, 1).initialize()
            >>> Y, backprop = model.begin_update(np.array([[3.0]], "float32"))
            >>> dX = backprop(Y)
            >>> bool(model.get_grad("b") == Y[0])
            True
        """
        slot = self._slot(name)
        if not self.has_grad(name):
            raise StateError(f"{self.name} has no gradient of {name}; call backprop first")
        with slot.store.lock:
            gradient: Floats = slot.of(slot.store.writable_gradient()).copy()
        return gradient


def _check_param(layer: str, name: str, param: Any, dims: Mapping[str, Any]) -> None:
    if not isinstance(param, Param) or not callable(param.init):
        raise InputError(
            f"{layer} expected Param(axes, initializer) for its parameter {name}, got {param!r}"
        )
    if isinstance(param.axes, str) or not all(is_size(a) or a in dims for a in param.axes):
        raise InputError(
            f"{layer} expected a tuple of its dims {(*dims,)} or of sizes as axes of its parameter "
            f"{name}, got {param.axes!r}"
        )


def as_layer(name: str, value: T) -> T:
    """Returns a model, or the layer of an object with `begin_update`. Else raises InputError.

    Args:
        name: Name of the combinator, for the error.
        value: What it received as a layer. Type checkers accept models only.
    """
    if isinstance(value, Node):
        if "id" not in vars(value):
            raise InputError(
                f"{name} expected models, got a {type(value).__name__} that is not complete; call "
                f"super().__init__(name) in its __init__"
            )
        return value
    if is_layer_object(value):
        from combinet.core.wrap import wrap  # here, because a wrapped object is a Model

        return wrap(value)  # type: ignore[return-value]
    called, module = getattr(value, "__name__", ""), getattr(value, "__module__", "")
    hint = "; layerize makes a layer of a function" if callable(value) else ""
    if called and str(module).startswith("combinet."):
        hint = f"; call it: {called}()"
    elif isinstance(value, type) and issubclass(value, Node):
        hint = f"; call it: {called}(...)"
    raise InputError(f"{name} expected models, got {describe(value)}{hint}")


def _copied(value: Any, memo: dict[int, Any] | None) -> Any:
    """Copies lists, dicts, arrays and objects with state of an attr. Other values are shared."""
    if type(value) is dict:
        return {name: _copied(each, memo) for name, each in value.items()}
    if type(value) is list:
        return [_copied(each, memo) for each in value]
    if memo is not None and (is_layer_object(value) or is_savable_object(value)):
        return deepcopy(value, memo)
    return value.copy() if hasattr(value, "dtype") and hasattr(value, "copy") else value


# The fields of a node. A subclass may add more.
_FIELDS = frozenset(vars(Node("", lambda model, X, run: (X, lambda dY: dY))))
