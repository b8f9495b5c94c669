"""The table of an embedding once more, as the weights of the output."""

from __future__ import annotations

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
    """The score of each id, by the table of an `Embed` that stands elsewhere: Y = X @ E.T.

    X (n, nO of the table) -> Y (n, nV). It has no weights of its own: E is the layer's, which is
    one layer in both places, with one sum of gradients, saved once, and one in copies as well.
    `resize_output` gives the table other rows, in both places; new ones are 0. Press and Wolf
    2017, arXiv:1608.05859. Raises InputError for any layer but an `Embed`.

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
    """
    return Model("unembed", _unembed, layers=[embed], accepts="floats2d", widths=_widths)


def _unembed(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    (embed,) = model.layers
    check_dtype(model.name, X, X.dtype, embed.dtype)
    (E,) = run.params(embed, "E")
    if X.shape[1] != E.shape[1]:
        raise DimensionError(f"{model.name} takes nO={E.shape[1]} columns, not {describe(X)}")
    xp = run.ops.xp

    def backprop(dY: Floats2d) -> Floats2d:
        run.inc_grad(embed, E=xp.matmul(dY.T, X))
        return xp.matmul(dY, E)  # type: ignore[no-any-return]

    return xp.matmul(X, E.T), backprop


def _widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    (embed,) = model.layers
    if embed.forward is not _EMBED:  # here, so that `replace_node` puts nothing else there either
        raise InputError(f"{model.name} takes an Embed, not {embed.name}")
    return infer.dim(embed, "nO", nI), infer.dim(embed, "nV", nO)
