"""What may follow a layer with an affine map: layer norm, then dropout."""

from __future__ import annotations

from typing import Any

from combinet.combinators import chain
from combinet.layers.dropout import Dropout
from combinet.layers.layer_norm import LayerNorm
from combinet.model import Model


def finished(model: Model[Any, Any], normalize: bool, dropout: float | None) -> Model[Any, Any]:
    """The model itself; or a chain of it, LayerNorm if `normalize`, Dropout if there is a rate."""
    after: list[Model[Any, Any]] = []
    if normalize:
        after.append(LayerNorm(model.dims["nO"]))
    if dropout is not None:
        after.append(Dropout(dropout))
    return chain(model, *after) if after else model
