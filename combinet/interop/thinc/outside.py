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
    """A Thinc model of one node that is `model`: its weights are the model's own, not copies.

    X and Y are as the model's, with Thinc's Ragged and Padded for combinet's. The node has the
    attr `dropout_rate`, for `set_dropout_rate`, and the dims nI and nO as far as they are one
    number. `initialize` draws the weights that are missing, and leaves those that are there; it
    draws by NumPy's global generator, which `fix_random_seed` seeds.

    Weights live in `node.shims[0].model`, which is `model`; the node has no params of its own.
    Its attr `resize_output` is the function of that name. `finish_update` calls Thinc's optimizer
    once for each parameter that has a gradient, and its averages come back by `use_params`.
    Saving, copying and moving to a GPU go through as well.

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
    """Change the number of output columns of a node made by `to_thinc` and returns the node."""
    node.shims[0].model.resize_output(nO)
    _tell_dims(node)
    return node


def _tell_dims(node: Any) -> None:
    """Sets a node's dims to those of the combinet model in it."""
    for name in ("nI", "nO"):
        if size := node.shims[0].model.maybe_get_dim(name):
            node.set_dim(name, size, force=True)


def _init(node: Any, X: Any = None, Y: Any = None) -> None:
    seed = int(np.random.randint(2**31))  # Thinc's way: whoever wants another calls fix_random_seed
    model, X = node.shims[0].model, batches.to_combinet(X)
    try:
        # Without Y where that is enough: Thinc's chain offers its own Y to inner layers as well.
        model.initialize(X, rng=seed)
    except DimensionError:
        model.initialize(X, batches.to_combinet(Y), rng=seed)
    _tell_dims(node)


def _forward(node: Any, X: Any, is_train: bool) -> tuple[Any, Any]:
    model, X = node.shims[0].model, batches.to_combinet(X)
    if not is_train:  # Thinc asks for a callback all the same, and does not call it
        return batches.to_thinc(model.predict(X)), lambda dY: dY
    Y, backprop = model.begin_update(X, node.attrs["dropout_rate"] or 0.0)

    def callback(dY: Any) -> Any:
        dX = backprop(batches.to_combinet(dY))
        if dX is None:  # Thinc's layers give zeros for ids; what is no array has no gradient
            dX = map_arrays(X, lambda x: x * 0 if is_array(x) else None)
        return batches.to_thinc(dX)

    return batches.to_thinc(Y), callback


class Shim(thinc.Shim):
    """What a Thinc node asks for updates, other weights, bytes and copies of a combinet model."""

    @property
    def model(self) -> Model[Any, Any]:
        """The combinet model."""
        return self._model  # type: ignore[no-any-return]

    def finish_update(self, optimizer: Any) -> None:
        """Let Thinc's optimizer update each parameter that has a gradient waiting."""
        self.model.finish_update(_Borrowed(optimizer))

    def use_params(self, params: Mapping[Any, Any]) -> Any:
        """Other weights inside a `with` block: those of an optimizer's averages."""
        slots = self.model.slots_by_path().values()
        chosen = {s.key: _by_rows(s, params[_key(s)]) for s in slots if _key(s) in params}
        return self.model.use_params(chosen)

    def to_device(self, device_type: str, device_id: int) -> None:
        """Moves the model to where Thinc says: "cpu" or "gpu"."""
        if device_type == "gpu":
            self.model.to_gpu(device_id)
        else:
            self.model.to_cpu()

    def to_bytes(self) -> bytes:
        """The bytes of the model."""
        return self.model.to_bytes()

    def from_bytes(self, data: bytes) -> Shim:
        """Loads the model, which need not be initialized."""
        self.model.from_bytes(data)
        return self


class _Borrowed(Optimizer):
    """Thinc's optimizer, for one update.

    It clips, decays and averages each parameter by itself, as those of Thinc's own layers; what
    it remembers lies with it, by the keys that it is given.
    """

    def __init__(self, update: Any) -> None:
        super().__init__(0.0, grad_clip=0.0, use_averages=False)
        self._update = update

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """See `Optimizer.apply_span`: Thinc's step, once for each parameter."""
        store = span.store
        for slot in span.slots():
            W = _by_rows(slot, slot.of(store.weights))
            dW = _by_rows(slot, slot.of(store.writable_gradient()))
            new, _ = self._update(_key(slot), W, dW)
            if not store.ops.xp.may_share_memory(W, new):
                W[...] = new
            slot.grad.rows = None  # dW may have been written to in any row


def _by_rows(slot: Slot, array: Any) -> Any:
    """An array of a parameter's shape, transposed where that makes it contiguous; and back."""
    return array if slot.order == "C" else array.T


def _key(slot: Slot) -> tuple[int, str]:
    """How Thinc's optimizer knows a parameter.

    Ids of combinet's layers may be those of Thinc's: the name tells them apart. After a resize
    it is another parameter, whose moments begin anew, as that of a new layer in Thinc.
    """
    node, name = slot.key
    return node, f"combinet.{name}{slot.shape}"
