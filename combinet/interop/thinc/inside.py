"""A Thinc model as one combinet layer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from thinc import api as thinc
from thinc.backends import ParamServer

from combinet.data import Padded, Ragged, like, map_arrays
from combinet.errors import DimensionError, InputError, StateError, describe
from combinet.interop.thinc import batches
from combinet.model import Model
from combinet.node import Param
from combinet.run import Run
from combinet.types import Initializer
from combinet.widths import Solver, Width, Widths, beside

_ROW = {"nI": "takes", "nO": "gives"}


def from_thinc(model: thinc.Model[Any, Any]) -> Model[Any, Any]:
    """A layer that computes what an initialized Thinc model does, from a copy of its weights.

    X and Y are as the model's, with combinet's Ragged and Padded for Thinc's. Params: those of
    all nodes of the model, float32, named by the node's place in `walk()` and its name, such as
    `0.linear.W`. They are combinet's: its optimizers update them, `to_bytes` saves them, copies
    have their own, and the Thinc model given stays as it is. `drop` reaches every node whose
    `dropout_rate` is 0; Thinc draws masks by NumPy's global generator, not by the pass's. The
    widths are those of the model and can't be resized. Raises StateError for a model that is
    not initialized, InputError for one whose weights live elsewhere, in shims.

    Example:
        >>> import numpy as np
        >>> from combinet import Softmax
        >>> from thinc.api import Relu
        >>> model = (from_thinc(Relu(4, 3).initialize()) >> Softmax(2)).initialize()
        >>> model.predict(np.ones((5, 3), dtype="float32")).shape
        (5, 2)
    """
    if not isinstance(model, thinc.Model):
        raise InputError(f"from_thinc takes a Thinc model, not {describe(model)}")
    function = _Function(model)
    params = {
        name: Param(tuple(_axes(name, value)), _given(value), "C")
        for name, value in function.first.items()
    }
    axes = {
        axis: size
        for name, value in function.first.items()
        for axis, size in zip(_axes(name, value), value.shape, strict=True)
    }
    return Model(
        f"thinc {model.name}",
        _forward,
        dims={name: _width(model, name) for name in _ROW} | axes,
        params=params,
        attrs={"function": function},
        widths=_widths,
    ).initialize()


def _axes(name: str, value: Any) -> list[str]:
    return [f"{name}[{axis}]" for axis in range(value.ndim)]


def _given(value: Any) -> Initializer:
    return lambda shape, rng: value


def _width(model: Any, name: str) -> int | None:
    return model.get_dim(name) if model.has_dim(name) else None


def _widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    for name, told in (("nI", nI), ("nO", nO)):
        known = model.dims[name]
        if None not in (known, told) and told != known:
            raise DimensionError(
                f"{model.name} {_ROW[name]} {name}={known}, as the Thinc model does, "
                f"but {beside(solve)} {told}"
            )
    return model.dims["nI"], model.dims["nO"]


class _Function:
    """A Thinc model without weights: it reads those of the pass that is under way."""

    def __init__(self, model: Any) -> None:
        self.model = model.copy()
        self.lock = threading.Lock()
        self.names: dict[tuple[int, str], str] = {}
        self.first: dict[str, Any] = {}  # what the weights are at first
        self.droppers: list[Any] = []
        for i, node in enumerate(self.model.walk()):
            if node.shims:
                raise InputError(f"{node.name} keeps its weights in shims, where none can be read")
            for name in node.param_names:
                if not node.has_param(name):
                    raise StateError(f"{node.name} has no {name} yet: initialize the Thinc model")
                self.names[node.id, name] = f"{i}.{node.name}.{name}"
                self.first[f"{i}.{node.name}.{name}"] = node.get_param(name)
            if node.attrs.get("dropout_rate") == 0:
                self.droppers.append(node)
        for node in self.model.walk():
            node._params = _Weights()

    def __call__(self, X: Any, run: Run) -> tuple[Any, Any]:
        """Y and the callback; one thread at a time, since the nodes hold the rate of dropout."""
        with self.lock:
            for node in self.droppers:
                node.attrs["dropout_rate"] = run.drop
            return self.model(X, is_train=run.train)  # type: ignore[no-any-return]


class _Pass:
    """The weights that one pass reads, and where its gradients go."""

    def __init__(self, model: Any, run: Run) -> None:
        self.model, self.run = model, run
        self.names = model.attrs["function"].names
        values = run.params(model, *self.names.values()) if self.names else ()
        self.weights = dict(zip(self.names, values, strict=True))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[_Pass] = ContextVar("pass")


class _Weights(ParamServer):
    """In place of a node's own weights: those of the pass under way."""

    def has_param(self, model_id: int, name: str) -> bool:
        return True

    def get_param(self, model_id: int, name: str) -> Any:
        return _current.get().weights[model_id, name]

    def inc_grad(self, model_id: int, name: str, value: Any) -> None:
        this = _current.get()
        this.run.inc_grad(this.model, **{this.names[model_id, name]: value})


def _forward(model: Model[Any, Any], X: Any, run: Run) -> Any:
    this = _Pass(model, run)
    with this.under_way():
        Y, callback = model.attrs["function"](batches.to_thinc(X), run)

    def backprop(dY: Any) -> Any:
        if isinstance(dY, tuple) and any(dy is None for dy in dY):
            raise InputError(f"{model.name} takes zeros where an item has no gradient, not None")
        own = map_arrays(dY, lambda dy: dy.copy())  # some of Thinc's layers write into it
        with this.under_way():
            dX = callback(batches.to_thinc(own))
        return _floats(batches.to_combinet(dX))

    return batches.to_combinet(Y), backprop


def _floats(dX: Any) -> Any:
    """None instead of what Thinc's layers give for the gradient of ids and documents."""
    if isinstance(dX, list | tuple):
        items = [_floats(dx) for dx in dX]
        return None if all(item is None for item in items) else like(dX, items)
    dtype = getattr(dX.data if isinstance(dX, Ragged | Padded) else dX, "dtype", None)
    return dX if dtype is not None and dtype.kind == "f" else None
