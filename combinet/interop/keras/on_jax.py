"""The pass of a Keras layer with the backend jax."""

from typing import Any

import jax
import numpy as np

from combinet.core.model import Model
from combinet.core.run import Run, no_backprop
from combinet.interop.keras.stateless import Named, StatelessLayer, check
from combinet.interop.wrapped import weights_of


def forward(model: Model[Any, Any], X: Any, run: Run) -> Any:
    """The forward function of `KerasWrapper` with the backend jax."""
    check(model.name, X, run.ops)
    layer: StatelessLayer = model.attrs["layer"]
    compiled: Compiled = model.attrs["compiled"]
    weights = weights_of(model, run)
    if not run.train:
        return _to_host(compiled.predict(weights, X)), no_backprop
    trained = {name: weights.pop(name) for name in layer.trained}
    seeds = layer.draw_seeds(run.rng)
    Y, vjp, assigned = compiled.begin(trained, X, weights, seeds, run.wants_dX)
    # Stride 0: the backward pass needs only the shapes of Y, so it does not keep Y in memory.
    zeros = jax.tree.map(lambda y: np.broadcast_to(y.dtype.type(0), y.shape), Y)
    dtypes = jax.tree.map(lambda x: x.dtype, X)

    def backprop(dY: Any) -> Any:
        dY = jax.tree.map(lambda z, dy: z if dy is None else dy.astype(z.dtype), zeros, dY)
        gradients, *dX = compiled.backprop(vjp, dY)
        run.inc_grad(model, **_to_host(gradients | assigned))
        return jax.tree.map(_gradient, dtypes, dX[0]) if dX else None

    return _to_host(Y), backprop


class Compiled:
    """The compiled functions of a layer: prediction, forward pass and backward pass.

    Args:
        layer: The layer of Keras.
    """

    def __init__(self, layer: StatelessLayer) -> None:
        def predict(weights: Named, X: Any) -> Any:
            return layer(X, weights, (), train=False)[0]

        def begin(trained: Named, X: Any, others: Named, seeds: Any, wants_dX: bool) -> Any:
            def call(trained: Named, X: Any = X) -> Any:
                return layer(X, trained | others, seeds, train=True)

            return jax.vjp(call, *((trained, X) if wants_dX else (trained,)), has_aux=True)

        self.layer = layer
        self.predict = jax.jit(predict)
        self.begin = jax.jit(begin, static_argnums=4)
        self.backprop = jax.jit(lambda vjp, dY: vjp(dY))

    def __reduce__(self) -> Any:
        return Compiled, (self.layer,)


def _gradient(dtype: Any, gradient: Any) -> Any:
    """Returns a gradient in the dtype of its input, or None for JAX's gradient of integers."""
    return None if gradient.dtype == jax.dtypes.float0 else np.asarray(gradient, dtype)


def _to_host(X: Any) -> Any:
    return jax.tree.map(np.asarray, X)  # on a CPU, takes a third of the time of jax.device_get
