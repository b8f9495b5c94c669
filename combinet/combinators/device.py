"""with_cpu: a layer that stays on the CPU."""

from typing import Any

from combinet.batches.structure import to_device
from combinet.core.model import A, B, Model
from combinet.core.node import as_layer
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.errors import DeviceError


def with_cpu(layer: Model[A, B]) -> Model[A, B]:
    """Keeps a layer on the CPU when the model moves to a GPU, and transfers batches to it and back.

    Use it for layers that are faster on the CPU or too large for the GPU. If the model is on the
    CPU, nothing is transferred. On a GPU each pass waits for the transfers.

    Args:
        layer: Layer to keep on the CPU.

    Raises:
        DeviceError: If the layer is on a GPU. Moving a model raises it too, if a layer in `layer`
            also occurs outside.

    Example:
        >>> from combinet import Embed, Linear, relu
        >>> model = with_cpu(Embed(64, 100_000)) >> Linear(32) >> relu()
    """
    layer = as_layer("with_cpu", layer)
    if any(node.ops.device >= 0 for node in layer.walk()):
        raise DeviceError(f"with_cpu expected a layer on the CPU; use {layer.name}.to_cpu()")
    return Model("with_cpu", _with_cpu, layers=[layer], widths=delegates, pinned=True)


def _with_cpu(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    Y, callback = run.with_ops(layer.ops)(layer, to_device(X, layer.ops))

    def backprop(dY: Any) -> Any:
        return to_device(callback(to_device(dY, layer.ops)), run.ops)

    return to_device(Y, run.ops), backprop
