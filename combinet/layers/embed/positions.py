"""Layers that add to each row its position in the sequence."""

from typing import Any

import numpy as np

from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.core.shape_rules import per_column, preserves
from combinet.errors import DimensionError
from combinet.initializers import normal
from combinet.ops.sequence import positions
from combinet.types import Floats2d, Initializer


def sinusoidal_positions() -> Model[Floats2d, Floats2d]:
    """Adds to each row sines and cosines of its position in the sequence.

    The input and the output are arrays of floats (n, nI). At position p, Y[2i] = X[2i] + sin(a) and
    Y[2i+1] = X[2i+1] + cos(a), with a = p / 10000^(2i/nI). Inside `with_flatten` or `with_array`, p
    counts from 0 in each sequence. Otherwise the array is one sequence.

    Example:
        >>> import numpy as np
        >>> sinusoidal_positions().predict(np.zeros((2, 2))).round(3)
        array([[0.   , 1.   ],
               [0.841, 0.54 ]])

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    return Model("sinusoidal_positions", _sinusoidal, accepts="floats2d", widths=preserves)


def _sinusoidal(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    columns = np.arange(X.shape[1])
    angles = positions(run.lengths_of(X))[:, None] / 10000.0 ** (columns // 2 * 2 / len(columns))
    waves = np.where(columns % 2, np.cos(angles), np.sin(angles))
    return X + run.ops.asarray(waves, X.dtype), lambda dY: dY


def LearnedPositions(
    nI: int | None = None,
    *,
    longest: int,
    init_P: Initializer = normal(0.02),  # noqa: B008
) -> Model[Floats2d, Floats2d]:
    """Adds to each row a trained vector for its position p in the sequence: Y = X + P[p].

    The input and the output are arrays of floats (n, nI). Inside `with_flatten` or `with_array`, p
    counts from 0 in each sequence. Otherwise the array is one sequence.

    Args:
        nI: Number of columns. Inferred from the neighboring layers or from a sample if None.
        longest: Number of positions, the length of the longest sequence that the layer accepts.
        init_P: Initializer of the table P (longest, nI). Normal with standard deviation 0.02 by
            default.

    Raises:
        DimensionError: If X does not have nI columns, or if a sequence has more than `longest`
            rows.

    Example:
        >>> import numpy as np
        >>> from combinet import ones, with_flatten
        >>> model = with_flatten(LearnedPositions(1, longest=2, init_P=ones))
        >>> model = model.initialize(dtype="float64")
        >>> [Y.tolist() for Y in model.predict([np.array([[5.0], [6.0]]), np.array([[7.0]])])]
        [[[6.0], [7.0]], [[8.0]]]

    Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1.
    """
    return Model(
        "learned_positions",
        _learned_positions,
        dims={"nI": nI, "longest": longest},
        params={"P": Param(("longest", "nI"), init_P, "C")},
        accepts="floats2d",
        widths=per_column,
    )


def _learned_positions(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    lengths, longest = run.lengths_of(X), model.get_dim("longest")
    if lengths.max(initial=0) > longest:
        raise DimensionError(
            f"{model.name} expected sequences of at most {longest} rows, got {lengths.max()} rows"
        )
    (P,) = run.params(model, "P")
    place = run.ops.asarray(positions(lengths))

    def backprop(dY: Floats2d) -> Floats2d:
        run.inc_grad_rows(model, "P", place[:, None], dY)
        return dY

    return X + P[place], backprop
