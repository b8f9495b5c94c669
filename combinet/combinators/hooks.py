"""Hooks around a layer: functions for debugging, and ranges for a profiler."""

from collections.abc import Callable
from typing import Any

from combinet.core.model import A, B, Model
from combinet.core.node import as_layer
from combinet.core.run import Run
from combinet.core.shape_rules import delegates


def with_debug(
    layer: Model[A, B],
    name: str | None = None,
    *,
    on_forward: Callable[[Model[Any, Any], Any, bool], None] | None = None,
    on_backprop: Callable[[Any], None] | None = None,
) -> Model[A, B]:
    """Calls functions before the forward pass and before the backward pass of a layer.

    They can print, or stop in a debugger. They must not write to the arrays.

    Args:
        layer: Layer to wrap. Its results do not change.
        name: Name of the wrapper in paths. "with_debug" by default.
        on_forward: Function `on_forward(layer, X, is_train)`. None calls nothing.
        on_backprop: Function `on_backprop(dY)`. None calls nothing.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> model = with_debug(relu(), on_forward=lambda layer, X, is_train: print(X.shape))
        >>> Y = model.predict(np.ones((2, 3)))
        (2, 3)
    """
    return Model(
        name or "with_debug",
        _with_debug,
        layers=[layer],
        attrs={"on_forward": on_forward, "on_backprop": on_backprop},
        widths=delegates,
    )


def _with_debug(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    on_forward, on_backprop = model.attrs["on_forward"], model.attrs["on_backprop"]
    if on_forward is not None:
        on_forward(layer, X, run.train)
    Y, callback = run(layer, X)

    def backprop(dY: Any) -> Any:
        if on_backprop is not None:
            on_backprop(dY)
        return callback(dY)

    return Y, backprop


def with_nvtx_range(
    layer: Model[A, B],
    name: str | None = None,
    *,
    forward_color: int = -1,
    backprop_color: int = -1,
) -> Model[A, B]:
    """Marks the passes of a layer as NVTX ranges, for NVIDIA's profilers.

    The ranges are called "`name` forward" and "`name` backprop". On the CPU nothing is marked.

    Args:
        layer: Layer to wrap. Its results do not change.
        name: Name of the ranges. The name of the layer by default.
        forward_color: Number of a color for the range of the forward pass. If it is -1, the
            profiler chooses the color.
        backprop_color: Color of the range of the backward pass, like `forward_color`.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_nvtx_range(relu(), "rectify").predict(np.array([-1.0, 1.0]))
        array([0., 1.])
    """
    layer = as_layer("with_nvtx_range", layer)
    return Model(
        "with_nvtx_range",
        _with_nvtx_range,
        layers=[layer],
        attrs={
            "range": name or layer.name,
            "forward_color": forward_color,
            "backprop_color": backprop_color,
        },
        widths=delegates,
    )


def _with_nvtx_range(model: Model[Any, Any], X: Any, run: Run) -> Any:
    name = model.attrs["range"]
    with run.ops.profile_range(f"{name} forward", model.attrs["forward_color"]):
        Y, callback = run(model.layers[0], X)

    def backprop(dY: Any) -> Any:
        with run.ops.profile_range(f"{name} backprop", model.attrs["backprop_color"]):
            return callback(dY)

    return Y, backprop
