"""Tables of vectors: by row number, by hashed key, and the mean or sum of several vectors."""

from typing import Any

import numpy as np

from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError, describe
from combinet.initializers import uniform
from combinet.types import Floats2d, Initializer, Ints, Ints1d

_INTS = (np.dtype("int32"), np.dtype("int64"))


def Embed(
    nO: int | None = None,
    nV: int | None = None,
    *,
    column: int | None = None,
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ints, Floats2d]:
    """Looks up a vector for each id in a trained table: Y = E[X].

    The input is an array of integers (n,). With `column`, it is an array (n, columns). The output
    is an array (n, nO). Ids have no gradient, so backprop returns None. Only the rows of E that the
    ids use receive gradients.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nV: Number of rows of the table. Required before initialization; only `unembed` can infer
            it.
        column: Index of the column with the ids if the input is (n, columns). None if it is (n,).
        init: Initializer of the table E (nV, nO). Uniform from -0.1 to 0.1 by default.

    Raises:
        InputError: If X is not an array of integers of this shape.
        DimensionError: If an id is not from 0 to nV - 1. On a GPU, such ids wrap around, because
            the check would force a device sync.

    Example:
        >>> import numpy as np
        >>> model = Embed(1, 3).initialize()
        >>> model.set_param("E", [[0.0], [1.0], [2.0]])
        >>> model.predict(np.array([2, 0]))
        array([[2.],
               [0.]], dtype=float32)
    """
    return table_layer("embed", _embed, "ids", nO, nV, init, column=column)


def _embed(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    return gather_rows(model, ids_of(model, X, run).reshape(-1, 1), run)


def ids_of(model: Model[Any, Any], X: Ints, run: Run) -> Ints1d:
    """Returns the ids as int32 or int64. Raises DimensionError if one is out of range.

    In training, the ids are copied, because the backward pass and the update read them again, when
    X may have changed. On a GPU, the range is not checked.
    """
    given, nV = column_of(model, X), model.get_dim("nV")
    ids: Any = given.astype(given.dtype if given.dtype in _INTS else "int64", copy=run.train)
    # As unsigned integers, negative ids are the largest: one maximum checks both bounds.
    if run.ops.name == "numpy" and ids.size and ids.view(f"u{ids.dtype.itemsize}").max() >= nV:
        raise DimensionError(
            f"{model.name} expected ids from 0 to {nV - 1}, got {given.min()} to {given.max()}"
        )
    return ids  # type: ignore[no-any-return]


def HashEmbed(
    nO: int | None = None,
    nV: int | None = None,
    *,
    seed: int = 0,
    column: int | None = None,
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ints, Floats2d]:
    """Computes a vector for each key: the sum of four rows of a trained table, chosen by hashing.

    The input is an array (n,) of integers of any size, which are read as 64 bits. With `column`, it
    is an array (n, columns). The output is an array (n, nO). There can be many more keys than rows:
    two keys rarely share all four rows, so their vectors differ. Keys have no gradient, so backprop
    returns None. Only the rows of E that the keys use receive gradients.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nV: Number of rows of the table. Required before initialization.
        seed: Seed of the hash. Another seed chooses other rows.
        column: Index of the column with the keys if the input is (n, columns). None if it is (n,).
        init: Initializer of the table E (nV, nO). Uniform from -0.1 to 0.1 by default.

    Raises:
        InputError: If X is not an array of integers of this shape.

    Example:
        >>> import numpy as np
        >>> model = HashEmbed(4, 100).initialize()
        >>> model.predict(np.array([2**63, 5], dtype="uint64")).shape
        (2, 4)

    Source: Svenstrup, Hansen and Winther 2017, arXiv:1709.03933, without the weights.
    """
    return table_layer("hash_embed", _hash_embed, "ids", nO, nV, init, column=column, seed=seed)


def _hash_embed(model: Model[Any, Any], X: Ints, run: Run) -> Any:
    keys: Any = column_of(model, X).astype("uint64")
    rows = run.ops.hash_rows(keys, model.attrs["seed"], model.get_dim("nV"))
    return gather_rows(model, rows, run)


def EmbedBag(
    nO: int | None = None,
    nV: int | None = None,
    *,
    column: int | None = None,
    reduce: str = "mean",
    init: Initializer = uniform(-0.1, 0.1),  # noqa: B008
) -> Model[Ragged, Floats2d]:
    """Computes the mean or sum of the vectors of each sequence's ids, in one step.

    The layer returns the same as `Embed` followed by `reduce_mean` or `reduce_sum`, but neither the
    vectors of single ids nor their gradients are stored. PyTorch calls this layer EmbeddingBag.

    The input is Ragged with integers (total,). With `column`, the integers are (total, columns).
    The output is an array (sequences, nO). An empty sequence returns zeros. Ids have no gradient,
    so backprop returns None. Only the rows of E that the ids use receive gradients.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nV: Number of rows of the table. Required before initialization.
        column: Index of the column with the ids if they are (total, columns). None if they are
            (total,).
        reduce: "mean" or "sum".
        init: Initializer of the table E (nV, nO). Uniform from -0.1 to 0.1 by default.

    Raises:
        InputError: If `reduce` has another value, or if X is not Ragged with integers of this
            shape.
        DimensionError: If an id is not from 0 to nV - 1. On a GPU, such ids wrap around, because
            the check would force a device sync.

    Example:
        >>> import numpy as np
        >>> model = EmbedBag(1, 3).initialize()
        >>> model.set_param("E", [[0.0], [1.0], [2.0]])
        >>> model.predict(Ragged(np.array([2, 1, 0]), [2, 1])).tolist()
        [[1.5], [0.0]]
    """
    if reduce not in ("mean", "sum"):
        raise InputError(f"embed_bag expected reduce='mean' or 'sum', got {reduce!r}")
    attrs = {"column": column, "reduce": reduce}
    return table_layer("embed_bag", _embed_bag, "ragged_ids", nO, nV, init, **attrs)


@innermost
def _embed_bag(model: Model[Any, Any], X: Ragged, run: Run) -> Any:
    ids, lengths = ids_of(model, X.data, run), X.lengths
    (E,) = run.params(model, "E")
    ops, mean = run.ops, model.attrs["reduce"] == "mean"

    def backprop(dY: Floats2d) -> None:
        gradient: Any = dY * ops.mean_weights(lengths, dY.dtype) if mean else dY
        run.inc_grad_rows(model, "E", ids, gradient, lengths)

    return ops.embed_bag(E, ids, lengths, mean), backprop


def table_layer(
    name: str, forward: Any, accepts: str, nO: int | None, nV: int | None, init: Any, **attrs: Any
) -> Model[Any, Any]:
    """Returns a layer with a table E (nV, nO) that is stored row by row."""
    dims, params = {"nO": nO, "nV": nV}, {"E": Param(("nV", "nO"), init, "C")}
    return Model(name, forward, dims=dims, params=params, attrs=attrs, accepts=accepts)


def column_of(model: Model[Any, Any], X: Ints) -> Ints1d:
    """Returns the ids in the layer's column, or X if the layer has no column."""
    column = model.attrs["column"]
    if column is None and X.ndim == 1:
        return X
    if column is None or X.ndim == 1 or not -X.shape[1] <= column < X.shape[1]:
        wanted = "ids (n,) or a `column`" if column is None else f"an array with column {column}"
        raise InputError(f"{model.name} expected {wanted}, got {describe(X)}")
    return X[:, column]


def gather_rows(model: Model[Any, Any], rows: Any, run: Run) -> Any:
    """Returns the sum of the rows (n, k) of the layer's table E, and the backprop."""
    (E,) = run.params(model, "E")

    def backprop(dY: Floats2d) -> None:
        run.inc_grad_rows(model, "E", rows, dY)

    return run.ops.gather_sum(E, rows), backprop
