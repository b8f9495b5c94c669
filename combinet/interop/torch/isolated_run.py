"""A pass over a model with other weights, whose gradients do not go to the model's store."""

from typing import Any

from combinet.core.run import PredictRun, Run
from combinet.errors import DimensionError
from combinet.storage.slots import Key, Slot
from combinet.types import Array, Ints1d


class IsolatedRun(Run):
    """A run that reads from `weights` and adds to `gradients`, both by (model id, name).

    `seen` collects the values that the pass adds to buffers. The model's store does not change.
    """

    def __init__(self, weights: dict[Key, Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.weights = weights
        self.gradients: dict[Key, Any] = {}
        self.seen: dict[Slot, list[Any]] = {}

    def params(self, model: Any, *names: str) -> tuple[Any, ...]:
        """Returns the weights that this run has for a layer's parameters."""
        return tuple([self.weights[model.id, name] for name in names or model.param_names])

    def inc_grad(self, model: Any, /, **gradients: Array | None) -> None:
        """See `Run.inc_grad`."""
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            slot = model.slots[name]
            if slot.ema_rate is not None:
                self.seen.setdefault(slot, []).append(gradient)
                continue
            total, shape = self._total(model, name), tuple(gradient.shape)
            if total.shape != shape:
                raise DimensionError(f"{model.name} expected d{name} {total.shape}, got {shape}")
            total += gradient

    def inc_grad_rows(
        self, model: Any, name: str, rows: Array, gradient: Array, lengths: Ints1d | None = None
    ) -> None:
        """See `Run.inc_grad_rows`."""
        total, rows = self._total(model, name), self.ops.asarray(rows)
        if lengths is None:
            self.ops.scatter_add(total, rows, gradient)
        else:
            self.ops.scatter_bags(total, rows, lengths, gradient)

    def _total(self, model: Any, name: str) -> Any:
        key = model.id, name
        if key not in self.gradients:
            self.gradients[key] = self.ops.xp.zeros_like(self.weights[key])
        return self.gradients[key]


class IsolatedPrediction(PredictRun, IsolatedRun):
    """The same for a prediction, which has no backward pass."""
