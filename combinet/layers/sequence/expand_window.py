"""Rows beside their neighbours: what makes a row-wise layer a convolution."""

from __future__ import annotations

from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Widths
from combinet.errors import DimensionError, InputError
from combinet.types import Floats2d, is_size


def expand_window(window_size: int = 1) -> Model[Floats2d, Floats2d]:
    """Each row between its neighbours: Y[i] = X[i-w] ... X[i] ... X[i+w], side by side.

    X (n, nI) -> Y (n, (2w + 1) * nI), w = window_size. Beyond the ends of a sequence there are
    zeros: inside `with_flatten` or `with_array` no window reaches into the next sequence, and an
    array by itself is one sequence.

    Example:
        >>> import numpy as np
        >>> expand_window(1).predict(np.array([[1.0], [2.0], [3.0]]))
        array([[0., 1., 2.],
               [1., 2., 3.],
               [2., 3., 0.]])
    """
    if not is_size(window_size):
        raise InputError(f"expand_window takes a window of 1 or more, not {window_size!r}")
    attrs = {"window_size": int(window_size)}
    return Model("expand_window", _expand_window, attrs=attrs, accepts="floats2d", widths=_widths)


def _expand_window(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    ops, window, lengths = run.ops, model.attrs["window_size"], run.lengths_of(X)
    Y = ops.expand_window(X, window, lengths)
    return Y, lambda dY: ops.backprop_expand_window(dY, window, lengths)


def _widths(model: Any, nI: Any, nO: Any, infer: ShapeInference) -> Widths:
    times = 2 * model.attrs["window_size"] + 1
    if nI is None and nO is not None and nO % times == 0:
        nI = nO // times
    if nI is None:
        if nO is not None and not infer.resize:
            raise DimensionError(f"{model.name} makes {times} columns of each, not {nO}")
        return None, infer.same(model, nO)
    if nO not in (None, nI * times) and not infer.resize:
        raise DimensionError(f"{model.name} makes {nI * times} columns of {nI}, not {nO}")
    return nI, ConcatWidth([nI] * times)
