"""A Thinc model as one combinet layer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from thinc import api as thinc
from thinc.backends import ParamServer

from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, rebuild
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.core.shape_rules import fixed
from combinet.errors import InputError, StateError, describe
from combinet.interop.thinc import batches
from combinet.interop.wrapped import starts_at, weights_of


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
    dims = {name: model.get_dim(name) if model.has_dim(name) else None for name in ("nI", "nO")}
    return Model(
        f"thinc {model.name}",
        _forward,
        dims=dims,
        params=function.params,
        attrs={"function": function},
        widths=fixed,
    ).initialize()


class _Function:
    """A Thinc model without weights: it reads those of the pass that is under way."""

    def __init__(self, model: Any) -> None:
        self.model = model.copy()
        self.lock = threading.Lock()
        self.names: dict[tuple[int, str], str] = {}
        self.params: dict[str, Param] = {}
        self.droppers: list[Any] = []
        for i, node in enumerate(self.model.walk()):
            if node.shims:
                raise InputError(f"{node.name} keeps its weights in shims, where none can be read")
            for name in node.param_names:
                if not node.has_param(name):
                    raise StateError(f"{node.name} has no {name} yet: initialize the Thinc model")
                value, label = node.get_param(name), f"{i}.{node.name}.{name}"
                self.names[node.id, name] = label
                self.params[label] = Param(value.shape, starts_at(value), "C")
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
        self.weights = dict(zip(self.names, weights_of(model, run).values(), strict=True))

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
        return None if all(item is None for item in items) else rebuild(dX, items)
    dtype = getattr(dX.data if isinstance(dX, Ragged | Padded) else dX, "dtype", None)
    return dX if dtype is not None and dtype.kind == "f" else None
