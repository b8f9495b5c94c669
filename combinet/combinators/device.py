"""Sublayers that stay on the CPU."""

from __future__ import annotations

from typing import Any

from combinet.batches.structure import to_device
from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import DeviceError


def with_cpu(layer: Model[A, B]) -> Model[A, B]:
    """A layer that stays on the CPU when the model goes to a GPU; batches come to it and back.

    For what is better done there, or what would not fit. On the CPU it is the layer itself; on a
    GPU each pass waits for the transfers. Raises DeviceError for a layer that is on a GPU
    already, and when a model is moved in which a layer stands both in here and outside.

    Example:
        >>> from combinet import Embed, Linear, relu
        >>> model = with_cpu(Embed(64, 100_000)) >> Linear(32) >> relu()
    """
    if any(node.ops.device >= 0 for node in layer.walk()):
        raise DeviceError(f"with_cpu takes a layer on the CPU: {layer.name}.to_cpu() brings it")
    return Model("with_cpu", _with_cpu, layers=[layer], widths=delegates, pinned=True)


def _with_cpu(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    Y, callback = run.with_ops(layer.ops)(layer, to_device(X, layer.ops))

    def backprop(dY: Any) -> Any:
        return to_device(callback(to_device(dY, layer.ops)), run.ops)

    return to_device(Y, run.ops), backprop
