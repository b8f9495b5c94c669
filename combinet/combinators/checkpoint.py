"""Gradient checkpointing: a layer that is run again in the backward pass."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.types import Generator


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
    # Both passes draw from copies, so that what other threads draw does not come in between.
    start = deepcopy(run.rng)
    first = _Again(run, deepcopy(start), held)
    Y, _ = first(layer, X)
    run.rng.bit_generator.state = first.rng.bit_generator.state

    def backprop(dY: Any) -> Any:
        _, callback = _Again(run, deepcopy(start), held)(layer, X)
        return callback(dY)

    return Y, backprop


class _Again(Run):
    """A pass that can be repeated: with the weights of one moment and a generator of its own."""

    def __init__(self, run: Run, rng: Generator, held: dict[int, dict[str, Any]]) -> None:
        super().__init__(run.ops, rng, train=run.train, drop=run.drop, lengths=run.lengths)
        self.held = held

    def params(self, model: Any, *names: str) -> tuple[Any, ...]:
        """The model's parameters of that moment."""
        if model.id not in self.held:
            return super().params(model, *names)
        return tuple(self.held[model.id][name] for name in names)
