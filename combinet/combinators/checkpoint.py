"""Gradient checkpointing: a layer that runs again in the backward pass."""

from copy import deepcopy
from typing import Any

from combinet.core.model import A, B, Model
from combinet.core.run import Run
from combinet.core.shape_rules import delegates
from combinet.types import Generator


def checkpointed(layer: Model[A, B]) -> Model[A, B]:
    """Runs the forward pass of a layer a second time in the backward pass, to save memory.

    Between the two passes only the input is kept. If an update comes in between, the weights of the
    first pass are kept as well. Outputs and gradients equal the layer's exactly, because both
    passes draw the same dropout masks. The cost is one more forward pass.

    Args:
        layer: Layer to wrap. It may accept any batch.

    Example:
        >>> from combinet import Maxout
        >>> model = checkpointed(Maxout(64, 64) ** 4) >> checkpointed(Maxout(64, 64) ** 4)

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    return Model("checkpointed", _checkpointed, layers=[layer], widths=delegates)


def _checkpointed(model: Model[Any, Any], X: Any, run: Run) -> Any:
    layer = model.layers[0]
    if not run.train:
        return run(layer, X)
    # References to all current weights. They cost memory only if an update comes before backprop:
    # the update then writes to a copy.
    held = {
        node.id: dict(zip(node.slots, run.params(node, *node.slots), strict=True))
        for node in layer.walk()
        if node.slots
    }
    # Both passes draw from copies, so that other threads cannot draw in between.
    start = deepcopy(run.rng)
    first = _RepeatableRun(run, deepcopy(start), held)
    Y, _ = first(layer, X)
    # Continue as if the pass had drawn from the generator itself.
    run.rng.bit_generator.state = first.rng.bit_generator.state

    def backprop(dY: Any) -> Any:
        _, callback = _RepeatableRun(run, deepcopy(start), held)(layer, X)
        return callback(dY)

    return Y, backprop


class _RepeatableRun(Run):
    """A pass that can be repeated, with the weights of the first pass and its own generator."""

    def __init__(self, run: Run, rng: Generator, held: dict[int, dict[str, Any]]) -> None:
        super().__init__(run.ops, rng, train=run.train, drop=run.drop, lengths=run.lengths)
        self.held = held

    def params(self, model: Any, *names: str) -> tuple[Any, ...]:
        """Returns the parameters as they were in the first pass."""
        if model.id not in self.held:
            return super().params(model, *names)
        return tuple(self.held[model.id][name] for name in names or model.param_names)
