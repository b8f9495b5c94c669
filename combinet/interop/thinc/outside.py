"""A combinet model as one node of a Thinc model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from thinc import api as thinc

from combinet import DimensionError, Model, Optimizer
from combinet.batches.structure import map_arrays
from combinet.interop.thinc import batches
from combinet.optimizers.spans import Span
from combinet.storage.slots import Slot
from combinet.types import is_array


def to_thinc(model: Model[Any, Any]) -> thinc.Model[Any, Any]:
    """Returns a Thinc model of one node that shares its weights with `model`.

    X and Y are as in the model, with Thinc's Ragged and Padded in place of combinet's. The node has
    the attr `dropout_rate`, which Thinc's `set_dropout_rate` changes, the attr `resize_output`, and
    the dims nI and nO if they are known numbers. `initialize` draws missing weights from NumPy's
    global generator, which `fix_random_seed` seeds, and keeps existing weights.

    The node has no params. Its weights are in `node.shims[0].model`, which is `model`.
    `finish_update` calls Thinc's optimizer once for each parameter with a gradient, and
    `use_params` accepts the averages of that optimizer. Saving, copying and moving to a GPU also
    work.

    Args:
        model: The combinet model. It need not be initialized.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, relu
        >>> from thinc.api import Softmax, chain
        >>> hidden = to_thinc(Linear(4) >> relu())
        >>> X = np.ones((2, 3), dtype="float32")
        >>> model = chain(hidden, Softmax(2)).initialize(X)
        >>> model.predict(X).shape, hidden.get_dim("nI")
        ((2, 2), 3)
    """
    dims = {name: model.maybe_get_dim(name) for name in ("nI", "nO")}
    attrs, shim = {"dropout_rate": 0.0, "resize_output": resize_output}, Shim(model)
    node: Any = thinc.Model(model.name, _forward, init=_init, dims=dims, attrs=attrs, shims=[shim])
    shim.to_device(node.ops.device_type, node.ops.device_id)
    return node  # type: ignore[no-any-return]


def resize_output(node: Any, nO: int) -> Any:
    """Changes the number of output columns of a node made by `to_thinc` and returns the node.

    Args:
        node: Node made by `to_thinc`.
        nO: The new number of columns.

    Example:
        >>> from combinet import Linear
        >>> node = to_thinc(Linear(2, 3)).initialize()
        >>> resize_output(node, 4).get_dim("nO")
        4
    """
    node.shims[0].model.resize_output(nO)
    _tell_dims(node)
    return node


def _tell_dims(node: Any) -> None:
    """Sets a node's dims to the dims of its combinet model."""
    for name in ("nI", "nO"):
        if size := node.shims[0].model.maybe_get_dim(name):
            node.set_dim(name, size, force=True)


def _init(node: Any, X: Any = None, Y: Any = None) -> None:
    seed = int(np.random.randint(2**31))  # Thinc's fix_random_seed seeds this generator
    model, X = node.shims[0].model, batches.to_combinet(X)
    try:
        # First without Y: Thinc's chain passes the Y of the whole chain to inner layers too.
        model.initialize(X, rng=seed)
    except DimensionError:
        model.initialize(X, batches.to_combinet(Y), rng=seed)
    _tell_dims(node)


def _forward(node: Any, X: Any, is_train: bool) -> tuple[Any, Any]:
    model, X = node.shims[0].model, batches.to_combinet(X)
    if not is_train:  # Thinc expects a callback here, but does not call it
        return batches.to_thinc(model.predict(X)), lambda dY: dY
    Y, backprop = model.begin_update(X, node.attrs["dropout_rate"] or 0.0)

    def callback(dY: Any) -> Any:
        dX = backprop(batches.to_combinet(dY))
        if dX is None:  # Thinc's layers return zeros for ids, and no gradient for other values
            dX = map_arrays(X, lambda x: x * 0 if is_array(x) else None)
        return batches.to_thinc(dX)

    return batches.to_thinc(Y), callback


class Shim(thinc.Shim):
    """Lets a Thinc node update, override, save, copy and move a combinet model."""

    @property
    def model(self) -> Model[Any, Any]:
        """The combinet model."""
        return self._model  # type: ignore[no-any-return]

    def finish_update(self, optimizer: Any) -> None:
        """Lets Thinc's optimizer update each parameter that has a gradient."""
        self.model.finish_update(_Borrowed(optimizer))

    def use_params(self, params: Mapping[Any, Any]) -> Any:
        """Overrides weights inside a `with` block, by the averages of Thinc's optimizer."""
        slots = self.model.slots_by_path().values()
        chosen = {s.key: _by_rows(s, params[_key(s)]) for s in slots if _key(s) in params}
        # Objects that follow the Model API find their arrays by keys of their own.
        return self.model.use_params({**params, **chosen})

    def to_device(self, device_type: str, device_id: int) -> None:
        """Moves the model to "cpu" or "gpu"."""
        if device_type == "gpu":
            self.model.to_gpu(device_id)
        else:
            self.model.to_cpu()

    def to_bytes(self) -> bytes:
        """Returns the model as bytes."""
        return self.model.to_bytes()

    def from_bytes(self, data: bytes) -> Shim:
        """Loads the model from bytes. It need not be initialized."""
        self.model.from_bytes(data)
        return self


class _Borrowed(Optimizer):
    """Runs Thinc's optimizer for one update.

    Thinc's optimizer clips, decays and averages each parameter separately, as for Thinc's own
    layers. It keeps its state by the keys that it receives.
    """

    def __init__(self, update: Any) -> None:
        super().__init__(0.0, grad_clip=0.0, use_averages=False)
        self._update = update

    def __call__(self, key: Any, weights: Any, gradient: Any) -> Any:
        """Runs Thinc's step for an array of an object that follows the Model API."""
        return self._update(key, weights, gradient)

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """Runs Thinc's step for each parameter of a span. See `Optimizer.apply_span`."""
        store = span.store
        for slot in span.slots():
            W = _by_rows(slot, slot.of(store.weights))
            dW = _by_rows(slot, slot.of(store.writable_gradient()))
            new, _ = self._update(_key(slot), W, dW)
            if not store.ops.xp.may_share_memory(W, new):
                W[...] = new
            slot.grad.rows = None  # Thinc's optimizer may write to any row of dW


def _by_rows(slot: Slot, array: Any) -> Any:
    """Returns an array of a parameter's shape, transposed if that makes it contiguous."""
    return array if slot.order == "C" else array.T


def _key(slot: Slot) -> tuple[int, str]:
    """Returns the key of a parameter in Thinc's optimizer.

    Layers of combinet and of Thinc may have equal ids, so the key contains "combinet". It contains
    the shape because the moments of a resized parameter must restart.
    """
    node, name = slot.key
    return node, f"combinet.{name}{slot.shape}"
