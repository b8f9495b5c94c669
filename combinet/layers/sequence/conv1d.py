"""Convolution over the rows of sequences."""

from __future__ import annotations

from typing import Any

from combinet.batches.ragged import Ragged
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

    s is `stride`, d `dilation`, and p the zeros before a sequence, of d * (width - 1) in all:
    "same" has them on both sides, the odd one after it, "causal" all before, so that no row sees a
    later one (van den Oord et al. 2016, arXiv:1609.03499, 2.1); "valid" has none at all. No
    window reaches into another sequence.

    X Ragged of (total, nI) -> Y Ragged of (total', nO). A sequence of n rows has ceil(n / stride)
    afterwards; if "valid", that of n - d * (width - 1), or 0. `with_ragged` brings lists and
    Padded. An array (n, nI) is one sequence; inside `with_flatten` or `with_array` it is several,
    and as an array cannot tell how long they became, their lengths have to stay: stride 1, not
    "valid". Raises DimensionError otherwise, and if X has not nI columns.

    Params: W (nO, nI, nW), nW being `width`, and, if `bias`, b (nO,). `init_W` draws W as
    (nO, nW * nI), as that of `Linear` behind `expand_window`.

    Example:
        >>> import numpy as np
        >>> model = Conv1d(1, 1, width=2, padding="causal").initialize()
        >>> model.set_param("W", [[[10.0, 1.0]]])
        >>> model.predict(Ragged(np.array([[1], [2], [3]], "float32"), [2, 1])).data.tolist()
        [[1.0], [12.0], [3.0]]
    """
    for name, value in (("stride", stride), ("dilation", dilation)):
        if not is_size(value):
            raise InputError(f"conv1d takes a {name} of 1 or more, not {value!r}")
    if padding not in ("same", "causal", "valid"):
        raise InputError(f"conv1d takes 'same', 'causal' or 'valid' padding, not {padding!r}")
    return Model(
        "conv1d",
        _conv1d,
        dims={"nI": nI, "nO": nO, "nW": width},
        params=affine_params(_by_row(init_W), init_b, bias, ("nO", "nI", "nW")),
        attrs={"stride": stride, "dilation": dilation, "padding": padding},
        accepts="rows2d",
    )


def _by_row(init: Initializer) -> Initializer:
    """An initializer of the map of a whole window, for W."""

    def init_W(shape: Shape, rng: Generator) -> Floats:
        nO, nI, nW = shape
        W: Floats = init((nO, nW * nI), rng).reshape(nO, nW, nI).swapaxes(1, 2)
        return W

    return init_W


def _conv1d(model: Model[Any, Any], X: Any, run: Run) -> Any:
    window, ragged = window_of(model), isinstance(X, Ragged)
    rows, lengths = (X.data, X.lengths) if ragged else (X, run.lengths_of(X))
    counts = window.counts(lengths)
    if not ragged and run.lengths is not None and (counts != lengths).any():
        raise DimensionError(
            f"{model.name} with {', '.join(f'{k}={v!r}' for k, v in model.attrs.items())} changes "
            f"how long sequences are, which an array of them cannot tell: it takes Ragged here"
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
    """Which rows go into each output of a `Conv1d`."""
    width, attrs = model.get_dim("nW"), model.attrs
    stride, dilation, padding = attrs["stride"], attrs["dilation"], attrs["padding"]
    total = dilation * (width - 1)
    before = {"same": total // 2, "causal": total, "valid": 0}[padding]
    return Window(width, stride, dilation, before, 0 if padding == "valid" else total - before)
