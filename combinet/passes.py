"""What happens beside a layer's pass: somebody looks on, it is done elsewhere, memory is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from combinet.data import to_device
from combinet.errors import DeviceError
from combinet.model import A, B, Model
from combinet.run import Run
from combinet.shapes import delegates
from combinet.types import Generator


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
    with run.ops.time_range(f"{name} forward", model.attrs["forward_color"]):
        Y, callback = run(model.layers[0], X)

    def backprop(dY: Any) -> Any:
        with run.ops.time_range(f"{name} backprop", model.attrs["backprop_color"]):
            return callback(dY)

    return Y, backprop


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
    return Model("with_cpu", _with_cpu, layers=[layer], widths=delegates, stays=True)


def _with_cpu(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    Y, callback = run.on(layer.ops)(layer, to_device(X, layer.ops))

    def backprop(dY: Any) -> Any:
        return to_device(callback(to_device(dY, layer.ops)), run.ops)

    return to_device(Y, run.ops), backprop


def checkpointed(layer: Model[A, B]) -> Model[A, B]:
    """The layer as it is, but its forward pass is run again in the backward pass: less memory.

    Between the two passes nothing is kept but the input (and the weights, should an update come
    in between). Output and gradients are the layer's own to the last bit, the masks of dropout
    drawn alike. The price is a second forward pass. Chen et al. 2016, arXiv:1604.06174.

    Example:
        >>> from combinet import Maxout
        >>> model = checkpointed(Maxout(64, 64) ** 4) >> checkpointed(Maxout(64, 64) ** 4)
    """
    return Model("checkpointed", _checkpointed, layers=[layer], widths=delegates)


def _checkpointed(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    if not run.train:
        return run(layer, X)
    # All weights of this moment. They cost no memory until an update wants to overwrite them.
    held = {
        node.id: dict(zip(node.slots, run.params(node, *node.slots), strict=True))
        for node in layer.walk()
        if node.slots
    }
    bits = run.rng.bit_generator
    state = bits.state
    # A generator of its own: what other threads draw meanwhile does not get in between.
    forth = _Again(run, _generator(bits, state), held)
    Y, _ = forth(layer, X)
    bits.state = forth.rng.bit_generator.state

    def backprop(dY: Any) -> Any:
        _, callback = _Again(run, _generator(bits, state), held)(layer, X)
        return callback(dY)

    return Y, backprop


def _generator(bits: Any, state: Any) -> Generator:
    twin = type(bits)()
    twin.state = state
    return np.random.Generator(twin)


class _Again(Run):
    """A pass that can be repeated: with the weights of one moment and a generator of its own."""

    __slots__ = ("held",)

    def __init__(self, run: Run, rng: Generator, held: dict[int, dict[str, Any]]) -> None:
        super().__init__(run.ops, rng, train=run.train, drop=run.drop, lengths=run.lengths)
        self.held = held

    def params(self, model: Any, *names: str) -> tuple[Any, ...]:
        """The model's parameters of that moment."""
        if model.id not in self.held:
            return super().params(model, *names)
        return tuple(self.held[model.id][name] for name in names)
