"""Layer normalization."""

from __future__ import annotations

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
    """Each row at mean 0 and variance 1, then scaled and shifted by column: Y = G * N + b.

    X (n, nI) -> Y (n, nI). Params: G (nI,), initially 1, and, if `bias`, b (nI,).
    N = (X - mean) / sqrt(var + eps), with the biased variance. Ba, Kiros and Hinton 2016,
    arXiv:1607.06450, equation 4. Raises DimensionError if X is not (n, nI), InputError if eps is
    not above 0.

    Example:
        >>> import numpy as np
        >>> LayerNorm(2).initialize().predict(np.array([[1, 3]], dtype="float32")).round(3)
        array([[-1.,  1.]], dtype=float32)
    """
    params = {"G": Param(("nI",), ones), "b": Param(("nI",), zeros)}
    return norm_layer("layer_norm", _layer_norm, nI, eps, params if bias else {"G": params["G"]})


def norm_layer(
    name: str, forward: Forward, nI: int | None, eps: float, params: dict[str, Param]
) -> Model[Any, Any]:
    """A layer that normalizes rows or columns, `eps` being added to what it divides by."""
    if not eps > 0:
        raise InputError(f"{name} takes eps above 0, not {eps!r}")
    dims, attrs = {"nI": nI}, {"eps": eps}
    return Model(
        name, forward, dims=dims, params=params, attrs=attrs, accepts="floats2d", widths=per_column
    )


def _layer_norm(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    G, *bias = run.params(model, *model.param_names)
    b, has_bias = bias[0] if bias else run.ops.zeros(G.shape, G.dtype), bool(bias)
    Y, saved = run.ops.layer_norm(X, G, b, model.attrs["eps"])

    def backprop(dY: Floats2d) -> Floats2d:
        dX, dG, db = run.ops.backprop_layer_norm(dY, saved)
        run.inc_grad(model, G=dG, b=db if has_bias else None)
        return dX

    return Y, backprop
