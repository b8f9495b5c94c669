"""An affine map of rows in which most columns are 0."""

from typing import Any, TypeAlias

import numpy as np

from combinet.core.inputs import check_dtype
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, describe
from combinet.initializers import zeros
from combinet.types import Floats1d, Floats2d, Initializer, Ints1d

Sparse: TypeAlias = tuple[Ints1d, Floats1d, Ints1d]
N_CELLS = 2


def SparseLinear(
    nO: int | None = None,
    length: int = 2**18,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
) -> Model[Sparse, Floats2d]:
    """Affine map of sparse rows: Y[i] = b + the sum of value * W(key) over the entries of row i.

    This is a linear model of bags of features, such as the n-grams of texts. The input is a tuple
    of three arrays: keys (total,), integers of any size, read as 64 bits; values (total,), floats;
    and lengths (n,), the number of entries of each row. The entries of row 0 come first, then the
    entries of row 1, and so on. The output is an array (n, nO).

    Hashing chooses two rows of the table W for each key; W(key) is their sum. Two keys rarely share
    both rows. The gradient of the input is (None, d_values, None). Only the rows of W that the keys
    use receive gradients.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        length: Number of rows of the table W.
        init_W: Initializer of the weights W (length, nO). `zeros` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.

    Raises:
        InputError: If X is not such a tuple.
        DimensionError: If the numbers of keys and values differ, or if the lengths do not add up to
            the number of keys. On a GPU, lengths are only checked if they are on the host, because
            the check would force a device sync.

    Example:
        >>> import numpy as np
        >>> from combinet import ones
        >>> model = SparseLinear(2, 100, init_W=ones).initialize(dtype="float64")
        >>> keys = np.array([7, 2**63, 7], dtype="uint64")
        >>> model.predict((keys, np.array([1.0, 0.5, 1.0]), np.array([2, 0, 1])))
        array([[3., 3.],
               [0., 0.],
               [2., 2.]])

    Source: Weinberger et al. 2009, arXiv:0902.2206, with a second row instead of a sign.
    """
    dims = {"nO": nO, "length": length}
    params = {"W": Param(("length", "nO"), init_W, "C"), "b": Param(("nO",), init_b)}
    return Model("sparse_linear", _sparse_linear, dims=dims, params=params, accepts="sparse")


def _sparse_linear(model: Model[Any, Any], X: Sparse, run: Run) -> Any:
    keys, values, lengths = X
    _check_entries(model, X)
    W, b = run.params(model, "W", "b")
    ops, factors = run.ops, values[:, None]
    segment_ids = ops.segment_ids_on_device(ops.asarray(lengths, "int64"), keys.shape[0])
    cells = ops.hash_rows(keys.astype("uint64"), 0, W.shape[0], N_CELLS)
    weights = ops.gather_sum(W, cells)
    Y: Any = ops.zeros((lengths.shape[0], b.shape[0]), b.dtype)
    ops.scatter_add(Y, segment_ids[:, None], weights * factors)
    Y += b

    def backprop(dY: Floats2d) -> tuple[None, Floats1d, None]:
        d_entries = dY[segment_ids]
        run.inc_grad_rows(model, "W", cells, d_entries * factors)
        run.inc_grad(model, b=dY.sum(axis=0))
        return None, (d_entries * weights).sum(axis=1), None

    return Y, backprop


def _check_entries(model: Model[Any, Any], X: Sparse) -> None:
    keys, values, lengths = X
    check_dtype(model.name, values, values.dtype, model.dtype)
    total = keys.shape[0]
    if values.shape[0] != total:
        raise DimensionError(f"{model.name} expected a value for each key, got {describe(X)}")
    if isinstance(lengths, np.ndarray) and ((lengths < 0).any() or lengths.sum() != total):
        raise DimensionError(
            f"{model.name} expected lengths of at least 0 that add up to {total} keys, got "
            f"{describe(lengths)} with the sum {lengths.sum()}"
        )
