"""A layer that compares pairs of vectors."""

from typing import Any

from combinet.combinators.tuples import pair
from combinet.core.inputs import INPUT_KINDS, check_dtype
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError, describe
from combinet.initializers import ones
from combinet.types import Floats1d, Floats2d, Initializer


def CauchySimilarity(
    nI: int | None = None, *, init_W: Initializer = ones
) -> Model[tuple[Floats2d, Floats2d], Floats1d]:
    """Similarity of the rows of two arrays: Y = 1 / (1 + sum(W * (X1 - X2)**2)).

    The input is a tuple of two arrays of floats (n, nI), the output an array (n,). The similarity
    of equal rows is 1.

    Args:
        nI: Number of columns of both inputs. Inferred from a sample if None.
        init_W: Initializer of the weights W (nI,). `ones` by default.

    Raises:
        InputError: If X is not a tuple of two arrays of floats in the dtype of the weights.
        DimensionError: If the shapes differ, or if the arrays do not have nI columns.

    Example:
        >>> import numpy as np
        >>> model = CauchySimilarity(2).initialize(dtype="float64")
        >>> model.predict((np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]])))
        array([0.5])
    """
    params = {"W": Param(("nI",), init_W)}
    return Model("cauchy_similarity", _cauchy_similarity, dims={"nI": nI}, params=params)


def _cauchy_similarity(model: Model[Any, Any], X: Any, run: Run) -> Any:
    X1, X2 = pair(model, X)
    nI = model.get_dim("nI")
    for each in (X1, X2):
        if not INPUT_KINDS["floats2d"].fits(each, run.ops):
            raise InputError(f"{model.name} expected two float arrays (n, {nI}), got {describe(X)}")
        check_dtype(model.name, each, each.dtype, model.dtype)
        if each.shape != X1.shape or each.shape[1] != nI:
            raise DimensionError(f"{model.name} expected two arrays (n, {nI}), got {describe(X)}")
    (W,) = run.params(model, "W")
    difference = X1 - X2
    squares = difference * difference
    Y = 1 / (1 + squares @ W)

    def backprop(dY: Floats1d) -> tuple[Floats2d, Floats2d]:
        d_total = -dY * Y * Y
        run.inc_grad(model, W=d_total @ squares)
        dX1 = d_total[:, None] * (2 * W * difference)
        return dX1, -dX1

    return Y, backprop
