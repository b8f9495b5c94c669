"""A Thinc model as one layer."""

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
    """Returns a layer that computes the same as a Thinc model, with a copy of its weights.

    X and Y are as in the Thinc model, with combinet's Ragged and Padded in place of Thinc's. The
    layer has the float32 parameters of all nodes. A parameter's name contains the node's position
    in `walk()` and its name, such as `0.linear.W`. Combinet's optimizers update the parameters,
    `to_bytes` saves them, and copies have their own. The given Thinc model does not change. The
    widths cannot be resized.

    The `drop` of a pass sets the rate of every node whose `dropout_rate` is 0; other rates stay.
    Thinc draws dropout masks from NumPy's global generator, not from the generator of the pass.

    Args:
        model: An initialized Thinc model.

    Raises:
        StateError: If the model is not initialized.
        InputError: If `model` is not a Thinc model, or if it keeps weights in shims. In a backward
            pass, if an item of dY is None.

    Example:
        >>> import numpy as np
        >>> from combinet import Softmax
        >>> from thinc.api import Relu
        >>> model = (from_thinc(Relu(4, 3).initialize()) >> Softmax(2)).initialize()
        >>> model.predict(np.ones((5, 3), dtype="float32")).shape
        (5, 2)
    """
    if not isinstance(model, thinc.Model):
        raise InputError(f"from_thinc expected a Thinc model, got {describe(model)}")
    model = model.copy()
    names: dict[tuple[int, str], str] = {}
    params: dict[str, Param] = {}
    for i, node in enumerate(model.walk()):
        if node.shims:
            raise InputError(f"from_thinc expected weights in params, got {node.name} with shims")
        for name in node.param_names:
            if not node.has_param(name):
                raise StateError(f"{node.name} expected weights {name}, got none; initialize it")
            label = names[node.id, name] = f"{i}.{node.name}.{name}"
            params[label] = param_from(node.get_param(name))
        node._params = _Weights()
    droppers = tuple(n for n in model.walk() if n.attrs.get("dropout_rate") == 0)
    dims = {name: model.maybe_get_dim(name) for name in ("nI", "nO")}
    # In a tuple, because an attr with to_bytes would be copied and saved. It has no weights itself.
    attrs = {"thinc": (model,), "names": names, "droppers": droppers, "lock": Lock()}
    return Model(
        f"thinc {model.name}", _forward, dims=dims, params=params, attrs=attrs, widths=fixed
    ).initialize()


# The current pass: the layer, the run, and the weights by Thinc's keys.
_current: ContextVar[tuple[Model[Any, Any], Run, dict[tuple[int, str], Any]]] = ContextVar("pass")


class _Weights(ParamServer):
    """Replaces the weights of a node by the weights of the current pass."""

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
    with model.attrs["lock"]:  # one thread at a time, because the nodes store the dropout rate
        for node in model.attrs["droppers"]:
            node.attrs["dropout_rate"] = run.drop
        (wrapped,) = model.attrs["thinc"]
        Y, callback = context.run(wrapped, batches.to_thinc(X), run.train)

    def backprop(dY: Any) -> Any:
        if isinstance(dY, tuple) and any(dy is None for dy in dY):
            raise InputError(f"{model.name} expected each item's gradient, got None; pass zeros")
        writable = map_arrays(dY, lambda dy: dy.copy())  # some of Thinc's layers write to dY
        dX = context.run(callback, batches.to_thinc(writable))
        return _floats(batches.to_combinet(dX))

    return batches.to_combinet(Y), backprop


def _floats(dX: Any) -> Any:
    """Returns the gradient of the input, with None for ids and documents."""
    if isinstance(dX, list | tuple):
        items = [_floats(dx) for dx in dX]
        return None if all(item is None for item in items) else rebuild(dX, items)
    dtype = getattr(dX.data if isinstance(dX, Ragged | Padded) else dX, "dtype", None)
    return dX if dtype is not None and dtype.kind == "f" else None
