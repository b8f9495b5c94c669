"""Normalization by the root mean square."""

from typing import Any

from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.initializers import ones
from combinet.layers.norm.layer_norm import norm_layer
from combinet.types import Floats2d


def RMSNorm(nI: int | None = None, *, eps: float = 1e-5) -> Model[Floats2d, Floats2d]:
    """Divides each row by its root mean square, then scales columns: Y = G * N.

    The input and the output are arrays of floats (n, nI). N = X / sqrt(mean(X * X) + eps). Unlike
    `LayerNorm`, the layer does not subtract the mean and has no bias. The weights are G (nI,),
    initially 1.

    Args:
        nI: Number of columns. Inferred from the neighboring layers or from a sample if None.
        eps: Number that is added to the mean square, above 0.

    Raises:
        InputError: If `eps` is not above 0.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> RMSNorm(2).initialize().predict(np.array([[1, 7]], dtype="float32")).round(3)
        array([[0.2, 1.4]], dtype=float32)

    Source: Zhang and Sennrich 2019, arXiv:1910.07467, equation 4.
    """
    return norm_layer("rms_norm", _rms_norm, nI, eps, {"G": Param(("nI",), ones)})


def _rms_norm(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    (G,) = run.params(model, "G")
    Y, saved = run.ops.rms_norm(X, G, model.attrs["eps"])

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dG = run.ops.backprop_rms_norm(dY, saved)
        run.inc_grad(model, G=dG)
        return dX

    return Y, backprop
