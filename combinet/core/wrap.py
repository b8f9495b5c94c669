"""wrap: objects of other libraries as layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakValueDictionary

from combinet.core.model import Model
from combinet.core.objects import has_state, is_layer_object
from combinet.core.own_methods import checked_pass, outer_run
from combinet.core.run import Run
from combinet.errors import (
    CombinetError,
    DeviceError,
    DimensionError,
    InputError,
    StateError,
    describe,
)
from combinet.optimizers.base import Optimizer
from combinet.storage.slots import Key
from combinet.types import DTypeLike, Generator, is_size

# By the id of an object: its layer, which keeps the object alive.
_layers: WeakValueDictionary[int, Any] = WeakValueDictionary()


def wrap(
    obj: object,
    *,
    nI: int | None = None,
    nO: int | None = None,
    name: str | None = None,
    accepts: str = "any",
) -> Model[Any, Any]:
    """Makes a layer of any object that follows the Model API.

    The object has a method `begin_update(X, drop=0.0)` that returns the output Y and a callback,
    `backprop(dY, sgd=None) -> dX`. Combinators wrap such an object themselves:
    `Linear(3) >> obj`. The same object in two places is one layer.

    The object may define more of the Model API: `predict`, `finish_update`, `use_params`,
    `initialize`, `to_bytes` and `from_bytes` or `to_disk` and `from_disk`, `to_gpu` and `to_cpu`,
    `resize_input` and `resize_output`. The methods of an outer model call them. An operation that
    needs a method raises an error if the object lacks it. docs/wrapping.md describes the contract.

    Every pass checks that the object returns (Y, backprop), that dX has the shapes of X, and that
    X and dY keep their numbers. Inside `data_validation(False)` only the first check remains.

    Args:
        obj: The object. A model is returned unchanged.
        nI: Number of input columns. By default the object's attribute `nI`, or what its method
            `get_dim` returns.
        nO: Number of output columns, found in the same way.
        name: Name of the layer. By default the name of the object's class in lower case.
        accepts: Input kind, as in `Model`.

    Raises:
        InputError: If the object has no method `begin_update`, or is a class.
        DimensionError: If nI or nO differs from what the object says.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> class Scale:
        ...     def __init__(self):
        ...         self.scale = 2.0
        ...     def begin_update(self, X, drop=0.0):
        ...         return self.scale * X, lambda dY: self.scale * dY
        >>> model = relu() >> wrap(Scale())
        >>> Y, backprop = model.begin_update(np.array([[-1.0, 3.0]]))
        >>> Y, backprop(np.ones((1, 2)))
        (array([[0., 6.]]), array([[0., 2.]]))
    """
    if isinstance(obj, Model):
        return obj
    if not is_layer_object(obj):
        raise InputError(
            f"wrap expected an object with begin_update(X, drop=0.0) -> (Y, backprop), "
            f"got {describe(obj)}"
        )
    layer = _layers.get(id(obj))
    if layer is None:
        layer = _Wrapped(obj, name or type(obj).__name__.lower(), accepts)
    elif name not in (None, layer.name):
        raise InputError(
            f"wrap expected the name of the object's layer, {layer.name!r}, got {name!r}"
        )
    for dim, size in (("nI", nI), ("nO", nO)):
        if size is not None:
            layer.set_dim(dim, size)
    return layer


class _Wrapped(Model[Any, Any]):
    """The layer of an object. Its methods call those of the object."""

    def __init__(self, obj: object, name: str, accepts: str) -> None:
        dims = {"nI": None, "nO": None}
        super().__init__(name, _call, dims=dims, attrs={"object": obj}, accepts=accepts)
        self._note_sizes()
        _layers[id(obj)] = self

    def _renew(self, layers: Sequence[Any], memo: dict[int, Any] | None = None) -> None:
        super()._renew(layers, memo)
        _layers[id(self.attrs["object"])] = self

    def _note_sizes(self) -> None:
        """Sets the dims that the object knows."""
        obj = self.attrs["object"]
        for name in self.dims:
            size: Any = getattr(obj, name, None)
            if size is None and callable(getattr(obj, "get_dim", None)):
                try:
                    size = obj.get_dim(name)
                except Exception:  # the object does not know it yet
                    size = None
            if size is not None and is_size(size):
                self.set_dim(name, int(size))

    def _method(self, name: str, otherwise: str) -> Any:
        """Returns a method of the object. Raises an error if the object lacks it."""
        method = getattr(self.attrs["object"], name, None)
        if callable(method):
            return method
        error: type[CombinetError] = DeviceError if name in ("to_gpu", "to_cpu") else StateError
        raise error(f"{self._expected(name)}, got an object without it; {otherwise}")

    def _expected(self, method: str) -> str:
        return f"{self.name} expected {type(self.attrs['object']).__name__}.{method}"

    def finish_update(self, sgd: Optimizer) -> None:
        if hasattr(self.attrs["object"], "finish_update"):
            self.attrs["object"].finish_update(sgd)
        elif self.waits_for_optimizer:
            self._method("finish_update", "define it, or call backprop(dY, sgd)")

    @contextmanager
    def use_params(self, params: Mapping[Key, Any]) -> Iterator[None]:
        obj = self.attrs["object"]
        with obj.use_params(params) if hasattr(obj, "use_params") else nullcontext():
            yield

    def initialize(
        self,
        X: Any = None,
        Y: object = None,
        *,
        rng: Generator | int | None = None,
        dtype: DTypeLike | None = None,
    ) -> Any:
        if hasattr(self.attrs["object"], "initialize"):
            self.attrs["object"].initialize(X, Y)
        self._note_sizes()
        return self if outer_run(self) else super().initialize(X, Y, rng=rng, dtype=dtype)

    def to_gpu(self, device_num: int = 0) -> Any:
        if not has_state(self.attrs["object"]):
            return super().to_gpu(device_num)
        method = self._method("to_gpu", "wrap it in with_cpu")
        super().to_gpu(device_num)
        try:
            with self.ops.on_device():
                method(device_num)
        except BaseException:
            super().to_cpu()
            raise
        return self

    def to_cpu(self) -> Any:
        if self.ops.device >= 0 and has_state(self.attrs["object"]):
            self._method("to_cpu", "define it")()
        return super().to_cpu()

    def resize_output(self, new_size: int) -> Any:
        return self._resize("resize_output", "nO", new_size)

    def resize_input(self, new_size: int) -> Any:
        return self._resize("resize_input", "nI", new_size)

    def _resize(self, method: str, name: str, new_size: int) -> Any:
        if not is_size(new_size):
            raise DimensionError(f"expected a positive int as width, got {new_size!r}")
        self._method(method, "define it, or keep the width")(int(new_size))
        self.dims[name] = int(new_size)
        return self


def _call(model: _Wrapped, X: Any, run: Run) -> Any:
    obj: Any = model.attrs["object"]
    run.prepare(model, X)
    if not run.train and hasattr(obj, "predict"):
        return obj.predict(X), None  # the run replaces the callback
    updates = not hasattr(obj, "finish_update")
    return checked_pass(model, obj, X, run, updates=updates)
