"""Hooks around a layer: functions to call for debugging, ranges for a profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates


def with_debug(
    layer: Model[A, B],
    name: str | None = None,
    *,
    on_forward: Callable[[Model[Any, Any], Any, bool], None] | None = None,
    on_backprop: Callable[[Any], None] | None = None,
) -> Model[A, B]:
    """The layer as it is, with functions that are called along the way: to print, to stop, to look.

    Before the forward pass `on_forward(layer, X, is_train)`, before the backward pass
    `on_backprop(dY)`. They see arrays that others hold and must not write to them. `name` is
    the wrapper's in paths.

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
    """The layer as it is, its passes marked for NVIDIA's profilers (NVTX ranges).

    The ranges are "`name` forward" and "`name` backprop", by default with the layer's name; the
    colours are numbers, -1 leaves the choice to the profiler. Off the GPU nothing is marked.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with_nvtx_range(relu(), "rectify").predict(np.array([-1.0, 1.0]))
        array([0., 1.])
    """
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
