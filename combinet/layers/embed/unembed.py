"""An output layer that shares its weights with an embedding."""

from typing import Any

from combinet.core.inputs import check_dtype
from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import ShapeInference, Width, Widths
from combinet.errors import DimensionError, InputError, describe
from combinet.layers.embed.embed import Embed
from combinet.types import Floats2d, Ints

_EMBED = Embed().forward


def unembed(embed: Model[Ints, Floats2d]) -> Model[Floats2d, Floats2d]:
    """Scores each id with the table of an `Embed` in the same model: Y = X @ E.T.

    The input is an array of floats (n, nO), where nO is the width of the table. The output is an
    array (n, nV). The layer has no weights. It shares E with `embed`, so the gradients are summed,
    E is saved once, and a copy of the model shares E too. `resize_output` changes the number of
    rows of the table; new rows are 0.

    Args:
        embed: The `Embed` layer whose table is shared.

    Raises:
        InputError: If `embed` is not an `Embed`, or if X does not have the dtype of the table.
        DimensionError: If X does not have nO columns.

    Example:
        >>> from combinet import Gelu, softmax_activation
        >>> embed = Embed(8, 100)
        >>> (embed >> Gelu() >> unembed(embed) >> softmax_activation()).initialize()
        chain: 872 parameters
          embed               nO=8 nV=100       800
          gelu                nI=8 nO=8          72
          unembed
            embed             nO=8 nV=100  (shared)
          softmax_activation

    Source: Press and Wolf 2017, arXiv:1608.05859.
    """
    return Model("unembed", _unembed, layers=[embed], accepts="floats2d", widths=_widths)


def _unembed(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    (embed,) = model.layers
    check_dtype(model.name, X, X.dtype, embed.dtype)
    (E,) = run.params(embed, "E")
    if X.shape[1] != E.shape[1]:
        raise DimensionError(f"{model.name} expected nO={E.shape[1]} columns, got {describe(X)}")
    xp = run.ops.xp

    def backprop(dY: Floats2d) -> Floats2d:
        run.inc_grad(embed, E=xp.matmul(dY.T, X))
        return xp.matmul(dY, E)  # type: ignore[no-any-return]

    return xp.matmul(X, E.T), backprop


def _widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    (embed,) = model.layers
    if embed.forward is not _EMBED:  # checked here, because `replace_node` can replace it
        raise InputError(f"{model.name} expected an Embed, got {embed.name}")
    return infer.dim(embed, "nO", nI), infer.dim(embed, "nV", nO)
