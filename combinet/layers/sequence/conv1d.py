"""Convolution over the rows of sequences."""

from typing import Any

from combinet.batches.ragged import Ragged
from combinet.core.levels import innermost
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.errors import DimensionError, InputError
from combinet.initializers import glorot_uniform, zeros
from combinet.layers.dense.linear import affine, affine_params
from combinet.ops.convolution import Window
from combinet.types import Floats, Generator, Initializer, Shape, is_size


def Conv1d(
    nO: int | None = None,
    nI: int | None = None,
    *,
    width: int = 3,
    stride: int = 1,
    dilation: int = 1,
    padding: str = "same",
    init_W: Initializer = glorot_uniform,
    init_b: Initializer = zeros,
    bias: bool = True,
) -> Model[Any, Any]:
    """Convolution along each sequence: Y[i] = b + sum over k of W[:, :, k] @ X[i*s + k*d - p].

    s is `stride` and d is `dilation`. p is the number of zero rows before a sequence. A window
    never reaches into another sequence.

    The input is Ragged with floats (total, nI), and the output Ragged with nO columns.
    `with_ragged` converts lists and Padded. A sequence of n rows has ceil(n / s) rows in the
    output. With padding "valid", max(n - d * (width - 1), 0) replaces n.

    The input can also be an array (n, nI), which is one sequence. Inside `with_flatten` or
    `with_array`, the array contains several sequences. The layer must then keep their lengths,
    because an array cannot represent new ones: use stride 1 and a padding other than "valid".

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        width: Number nW of rows in a window.
        stride: Number of rows from one window to the next.
        dilation: Number of rows from one row of a window to the next. The rows are consecutive if
            1.
        padding: Where to add the d * (width - 1) rows of zeros. "same" adds one half before the
            sequence and one half after it; an odd row goes after it. "causal" adds all before it,
            so that no output depends on later rows. "valid" adds none.
        init_W: Initializer of the weights W (nO, nI, nW). `glorot_uniform` by default. It is called
            with the shape (nO, nW * nI), as for `Linear` after `expand_window`.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.

    Raises:
        InputError: If `stride` or `dilation` is not a positive int, or if `padding` has another
            value.
        DimensionError: If `width` is not a positive int, if X does not have nI columns, or if X is
            an array of several sequences and their lengths would change.

    Example:
        >>> import numpy as np
        >>> model = Conv1d(1, 1, width=2, padding="causal").initialize()
        >>> model.set_param("W", [[[10.0, 1.0]]])
        >>> model.predict(Ragged(np.array([[1], [2], [3]], "float32"), [2, 1])).data.tolist()
        [[1.0], [12.0], [3.0]]

    Source: van den Oord et al. 2016, arXiv:1609.03499, section 2.1, for causal convolution.
    """
    for name, value in (("stride", stride), ("dilation", dilation)):
        if not is_size(value):
            raise InputError(f"conv1d expected a {name} of 1 or more, got {value!r}")
    if padding not in ("same", "causal", "valid"):
        raise InputError(f"conv1d expected padding 'same', 'causal' or 'valid', got {padding!r}")
    return Model(
        "conv1d",
        _conv1d,
        dims={"nI": nI, "nO": nO, "nW": width},
        params=affine_params(_by_row(init_W), init_b, bias, ("nO", "nI", "nW")),
        attrs={"stride": stride, "dilation": dilation, "padding": padding},
        accepts="rows2d",
    )


def _by_row(init: Initializer) -> Initializer:
    """Returns an initializer of W (nO, nI, nW) that draws the map of a whole window."""

    def init_W(shape: Shape, rng: Generator) -> Floats:
        nO, nI, nW = shape
        W: Floats = init((nO, nW * nI), rng).reshape(nO, nW, nI).swapaxes(1, 2)
        return W

    return init_W


@innermost
def _conv1d(model: Model[Any, Any], X: Any, run: Run) -> Any:
    window, ragged = window_of(model), isinstance(X, Ragged)
    rows, lengths = (X.data, X.lengths) if ragged else (X, run.lengths_of(X))
    counts = window.counts(lengths)
    if not ragged and run.lengths is not None and (counts != lengths).any():
        raise DimensionError(
            f"{model.name} expected Ragged, got an array: sequences change their lengths with "
            f"{', '.join(f'{k}={v!r}' for k, v in model.attrs.items())}; use with_ragged"
        )
    Y, backprop_affine = affine(model, run.ops.unfold(rows, window, lengths), run)

    def backprop(dY: Any) -> Any:
        d_unfolded = backprop_affine(dY.data if ragged else dY)
        if d_unfolded is None:
            return None
        dX = run.ops.backprop_unfold(d_unfolded, window, lengths)
        return Ragged(dX, lengths) if ragged else dX

    return Ragged(Y, counts) if ragged else Y, backprop


def window_of(model: Model[Any, Any]) -> Window:
    """Returns which input rows each output of a `Conv1d` depends on."""
    width, attrs = model.get_dim("nW"), model.attrs
    stride, dilation, padding = attrs["stride"], attrs["dilation"], attrs["padding"]
    total = dilation * (width - 1)
    before = {"same": total // 2, "causal": total, "valid": 0}[padding]
    return Window(width, stride, dilation, before, 0 if padding == "valid" else total - before)
