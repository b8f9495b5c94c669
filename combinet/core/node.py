"""A node of a tree of layers: its dims, parameters and gradients, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from combinet.batches.structure import shape_of
from combinet.core.allocation import own_slots
from combinet.core.inputs import INPUT_KINDS
from combinet.core.layer import Layer
from combinet.core.run import Run
from combinet.core.shape_inference import Noted, ShapeInference, ShapeRule, Watched, compose
from combinet.core.shape_rules import from_dims
from combinet.errors import DimensionError, InputError, StateError, describe
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.storage.slots import Order, Slot
from combinet.types import Floats, Generator, Initializer, Shape, is_size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Forward: TypeAlias = Callable[[Any, Any, Run], "tuple[Any, Callable[[Any], Any]]"]
_ids = count()


class Param(NamedTuple):
    """A parameter as a layer declares it: the dims that are its axes, and its first value.

    An axis that has no dim's name, but is an int, has that size always.

    `order` is how it lies in memory: "F", column-major, so that the transpose of a weight
    (nO, nI) is contiguous, as products with few rows want it, or "C", row by row, for tables.

    With an `ema_rate` it is a buffer, such as the running mean of `BatchNorm`, not trained.
    Instead of a gradient each pass adds, by `run.inc_grad`, what it has seen, of this shape, and
    each update moves the value by that rate toward the mean of what the passes since then saw.
    """

    axes: tuple[str | int, ...]
    init: Initializer
    order: Order = "F"
    ema_rate: float | None = None


class Node:
    """What `Model` is before it can be called: see there for the arguments."""

    def __init__(
        self,
        name: str,
        forward: Forward,
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
        for layer in layers:
            if not isinstance(layer, Node):
                called = getattr(layer, "__name__", "")
                hint = f": {called}() makes one" if called and callable(layer) else ""
                raise InputError(f"{name} is made of models, not {describe(layer)}{hint}")
        if accepts not in INPUT_KINDS:
            raise ValueError(f"{name} takes one of {sorted(INPUT_KINDS)}, not {accepts!r}")
        for dim, size in (dims or {}).items():
            if size is not None and not is_size(size):
                raise DimensionError(f"{name} takes a positive int for {dim}, not {size!r}")
        for key, param in (params or {}).items():
            _check_param(name, key, param, dims or {})
        self.id = next(_ids)
        self.name = name
        self.forward = forward
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
                compose(self)  # as given: a chain that is made longer is not looked at anew
        if flat:
            self.layers = tuple(chain.from_iterable(map(self.flattened, layers)))
        if layers and self.noted is None:
            ShapeInference()(self, None, None)  # the error, with the path to the layer

    def flattened(self, layer: Layer) -> tuple[Any, ...]:
        """The layers that stand for a sublayer: its own if this node absorbs it, else itself."""
        return tuple(layer.layers) if self.absorbs(layer) else (layer,)

    def absorbs(self, layer: Layer) -> bool:
        """Whether a sublayer is of this kind, and loses nothing if only its layers are kept.

        A chain that has attrs, or a name that was set, is kept as a layer of another chain.
        """
        if not isinstance(layer, Node) or layer.forward is not self.forward:
            return False
        plain = layer.name == layer.flat_name and not (layer.attrs or layer.dims or layer._params)
        return plain and type(layer) is type(self)

    def _renew(self, layers: Sequence[Any]) -> None:
        """Become another node with these layers, without weights: a step of `Model.copy`."""
        self.id, self.layers, self.slots, self._rng = next(_ids), tuple(layers), {}, None
        self.dims, self.attrs = Watched(self.dims), Watched(_copied(dict(self.attrs)))
        self.noted = None

    @property
    def rng(self) -> Generator:
        """The generator of first weights and of dropout; seeded with 0 unless one is handed in."""
        if self._rng is None:
            self._rng = np.random.default_rng(0)
        return self._rng

    def _width(self, name: str) -> int | None:
        nI, nO = ShapeInference()(self, None, None)
        width = {"nI": nI, "nO": nO}.get(name)
        return None if isinstance(width, tuple) else width  # a tuple has no one width

    def has_dim(self, name: str) -> bool | None:
        """True if the dim is known, None if it is not yet, False if there is no such dim."""
        if name in ("nI", "nO") or name in self.dims:
            return True if self.maybe_get_dim(name) is not None else None
        return False

    def get_dim(self, name: str) -> int:
        """A size: "nO" and "nI", the widths of output and input, also through combinators."""
        size = self.maybe_get_dim(name)
        if size is None:
            raise DimensionError(
                f"{self.name} has no {name} that is known: {self.dims}. Give it to the layer"
            )
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
        self.dims[name] = int(size)

    def param(self, name: str) -> Param:
        """The declaration of a parameter."""
        return self._params[name]

    def param_shape(self, name: str, sizes: Mapping[Any, int] | None = None) -> Shape:
        """A parameter's shape by the layer's dims, or by `sizes` {(model, dim): size} first."""
        axes = self._params[name].axes
        shape = [
            axis if isinstance(axis, int) else (sizes or {}).get((self, axis), self.dims[axis])
            for axis in axes
        ]
        if None in shape:
            unknown = axes[shape.index(None)]
            raise DimensionError(
                f"{self.name} needs {unknown} for its parameter {name}: give it to the layer, "
                f"or samples to initialize(X, Y)"
            )
        return tuple(int(size) for size in shape if size is not None)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the layer's own parameters; None if it has none yet."""
        for slot in self.slots.values():
            return slot.store.dtype
        return None

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
        return slot.store.read([slot])[0]

    def set_param(self, name: str, value: ArrayLike) -> None:
        """Set a parameter to a value of its shape."""
        slot = self._slot(name)
        if shape_of(value) != slot.shape:
            raise DimensionError(f"{self.name}: {name} is {slot.shape}, not {shape_of(value)}")
        own_slots(self)
        slot.store.write({slot: value})

    def has_grad(self, name: str) -> bool:
        """Whether a gradient of the parameter waits to be applied. A buffer has none."""
        slot = self._slot(name)
        return slot.ema_rate is None and slot.grad.count > 0

    def get_grad(self, name: str) -> Floats:
        """A copy of the gradient that waits. Raises StateError if there is none."""
        slot = self._slot(name)
        if not self.has_grad(name):
            raise StateError(f"{self.name} has no gradient of {name} waiting")
        with slot.store.lock:
            gradient: Floats = slot.of(slot.store.writable_gradient()).copy()
        return gradient


def _check_param(layer: str, name: str, param: Any, dims: Mapping[str, Any]) -> None:
    if not isinstance(param, Param) or not callable(param.init):
        raise InputError(
            f"{layer} declares its parameter {name} as Param(axes, initializer), not {param!r}"
        )
    if isinstance(param.axes, str) or not all(is_size(a) or a in dims for a in param.axes):
        raise InputError(
            f"{layer}'s parameter {name} has for axes a tuple of its dims {(*dims,)}, or of sizes, "
            f"not {param.axes!r}"
        )


def _copied(value: Any) -> Any:
    """A setting for another node: lists, dicts and arrays are copied, all else is shared."""
    if type(value) is dict:
        return {name: _copied(each) for name, each in value.items()}
    if type(value) is list:
        return [_copied(each) for each in value]
    return value.copy() if hasattr(value, "dtype") and hasattr(value, "copy") else value
