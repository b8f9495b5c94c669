"""Windows over rows: followed by a layer for rows, they form a convolution."""

from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Widths
from combinet.errors import DimensionError, InputError
from combinet.types import Floats2d, is_size


def expand_window(window_size: int = 1) -> Model[Floats2d, Floats2d]:
    """Concatenates each row with its neighbors: Y[i] = X[i-w], ..., X[i], ..., X[i+w].

    The input is an array of floats (n, nI), the output an array (n, (2 * w + 1) * nI). Beyond the
    ends of a sequence, the rows are zeros. Inside `with_flatten` or `with_array`, no window reaches
    into another sequence. Otherwise the array is one sequence.

    Args:
        window_size: Number w of neighbors on each side, at least 1.

    Raises:
        InputError: If the window size is not a positive int.

    Example:
        >>> import numpy as np
        >>> expand_window(1).predict(np.array([[1.0], [2.0], [3.0]]))
        array([[0., 1., 2.],
               [1., 2., 3.],
               [2., 3., 0.]])
    """
    if not is_size(window_size):
        raise InputError(f"expand_window expected a window of 1 or more, got {window_size!r}")
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
            raise DimensionError(f"{model.name} expected nO divisible by {times}, got {nO}")
        return None, infer.same(model, nO)
    if nO not in (None, nI * times) and not infer.resize:
        raise DimensionError(f"{model.name} expected nO={nI * times} for nI={nI}, got {nO}")
    return nI, ConcatWidth([nI] * times)
