"""A Thinc model as one combinet layer."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from threading import Lock
from typing import Any

from thinc import api as thinc
from thinc.backends import ParamServer

from combinet import InputError, Model, Padded, Param, Ragged, Run, StateError
from combinet.batches.structure import map_arrays, rebuild
from combinet.errors import describe
from combinet.interop.thinc import batches
from combinet.interop.wrapped import param_from, weights_of
from combinet.shapes import fixed


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
    model = model.copy()
    names: dict[tuple[int, str], str] = {}
    params: dict[str, Param] = {}
    for i, node in enumerate(model.walk()):
        if node.shims:
            raise InputError(f"{node.name} keeps its weights in shims, where none can be read")
        for name in node.param_names:
            if not node.has_param(name):
                raise StateError(f"{node.name} has no {name} yet: initialize the Thinc model")
            label = names[node.id, name] = f"{i}.{node.name}.{name}"
            params[label] = param_from(node.get_param(name))
        node._params = _Weights()
    droppers = tuple(n for n in model.walk() if n.attrs.get("dropout_rate") == 0)
    dims = {name: model.maybe_get_dim(name) for name in ("nI", "nO")}
    attrs = {"thinc": model, "names": names, "droppers": droppers, "lock": Lock()}
    return Model(
        f"thinc {model.name}", _forward, dims=dims, params=params, attrs=attrs, widths=fixed
    ).initialize()


# The pass under way: the layer, the run, and the weights by Thinc's keys.
_current: ContextVar[tuple[Model[Any, Any], Run, dict[tuple[int, str], Any]]] = ContextVar("pass")


class _Weights(ParamServer):
    """In place of a node's own weights: those of the pass under way."""

    def has_param(self, model_id: int, name: str) -> bool:
        return True

    def get_param(self, model_id: int, name: str) -> Any:
        _, _, weights = _current.get()
        return weights[model_id, name]

    def inc_grad(self, model_id: int, name: str, value: Any) -> None:
        model, run, _ = _current.get()
        run.inc_grad(model, **{model.attrs["names"][model_id, name]: value})


def _forward(model: Model[Any, Any], X: Any, run: Run) -> Any:
    weights = dict(zip(model.attrs["names"], weights_of(model, run).values(), strict=True))
    context = copy_context()
    context.run(_current.set, (model, run, weights))
    with model.attrs["lock"]:  # one thread at a time, since the nodes hold the rate of dropout
        for node in model.attrs["droppers"]:
            node.attrs["dropout_rate"] = run.drop
        Y, callback = context.run(model.attrs["thinc"], batches.to_thinc(X), run.train)

    def backprop(dY: Any) -> Any:
        if isinstance(dY, tuple) and any(dy is None for dy in dY):
            raise InputError(f"{model.name} takes zeros where an item has no gradient, not None")
        writable = map_arrays(dY, lambda dy: dy.copy())  # some of Thinc's layers write into it
        dX = context.run(callback, batches.to_thinc(writable))
        return _floats(batches.to_combinet(dX))

    return batches.to_combinet(Y), backprop


def _floats(dX: Any) -> Any:
    """None instead of what Thinc's layers give for the gradient of ids and documents."""
    if isinstance(dX, list | tuple):
        items = [_floats(dx) for dx in dX]
        return None if all(item is None for item in items) else rebuild(dX, items)
    dtype = getattr(dX.data if isinstance(dX, Ragged | Padded) else dX, "dtype", None)
    return dX if dtype is not None and dtype.kind == "f" else None
