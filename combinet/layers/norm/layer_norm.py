"""Layer normalization."""

from typing import Any

from combinet.core.model import Model
from combinet.core.node import Forward, Param
from combinet.core.run import Run
from combinet.core.shape_rules import per_column
from combinet.errors import InputError
from combinet.initializers import ones, zeros
from combinet.types import Floats2d


def LayerNorm(
    nI: int | None = None, *, eps: float = 1e-5, bias: bool = True
) -> Model[Floats2d, Floats2d]:
    """Normalizes each row to mean 0 and variance 1, then scales and shifts columns: Y = G * N + b.

    The input and the output are arrays of floats (n, nI). N = (X - mean) / sqrt(var + eps), with
    the mean and the biased variance of each row. The weights are G (nI,), initially 1, and b (nI,),
    initially 0.

    Args:
        nI: Number of columns. Inferred from the neighboring layers or from a sample if None.
        eps: Number that is added to the variance, above 0.
        bias: Whether to add the bias b.

    Raises:
        InputError: If `eps` is not above 0.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> LayerNorm(2).initialize().predict(np.array([[1, 3]], dtype="float32")).round(3)
        array([[-1.,  1.]], dtype=float32)

    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450, equation 4.
    """
    params = {"G": Param(("nI",), ones), "b": Param(("nI",), zeros)}
    return norm_layer("layer_norm", _layer_norm, nI, eps, params if bias else {"G": params["G"]})


def norm_layer(
    name: str, forward: Forward, nI: int | None, eps: float, params: dict[str, Param]
) -> Model[Any, Any]:
    """Returns a layer that normalizes rows or columns. Raises InputError if eps is not above 0."""
    if not eps > 0:
        raise InputError(f"{name} expected an eps above 0, got {eps!r}")
    dims, attrs = {"nI": nI}, {"eps": eps}
    return Model(
        name, forward, dims=dims, params=params, attrs=attrs, accepts="floats2d", widths=per_column
    )


def _layer_norm(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    G, *bias = run.params(model)
    b, has_bias = bias[0] if bias else run.ops.zeros(G.shape, G.dtype), bool(bias)
    Y, saved = run.ops.layer_norm(X, G, b, model.attrs["eps"])

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dG, db = run.ops.backprop_layer_norm(dY, saved)
        run.inc_grad(model, G=dG, b=db if has_bias else None)
        return dX

    return Y, backprop
