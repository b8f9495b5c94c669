"""Output layers of probabilities: one softmax over all columns, or one over each group of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from combinet.core.model import Model
from combinet.core.run import Run
from combinet.core.shape_inference import ShapeInference, Width, Widths
from combinet.core.shape_rules import from_dims
from combinet.errors import DimensionError, InputError
from combinet.initializers import zeros
from combinet.layers.dense.activation import activation
from combinet.layers.dense.linear import affine, affine_layer, affine_params
from combinet.types import Floats, Floats2d, Initializer, is_size


def Softmax(
    nO: int | None = None,
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
    bias: bool = True,
    normalize_outputs: bool = True,
    temperature: float = 1.0,
) -> Model[Floats2d, Floats2d]:
    """Affine map and softmax: Y = exp(Z) / sum(exp(Z)) in each row, with Z = (X @ W.T + b) / T.

    X (n, nI) -> Y (n, nO), rows of probabilities. Params: W (nO, nI) and, if `bias`, b (nO,). T is
    the `temperature`: above 1, probabilities are closer. The backward pass takes the gradient of
    the probabilities, as `CategoricalCrossentropy` gives it, not Y less the truth. Without
    `normalize_outputs` the layer gives Z, the logits, in training and prediction alike, and takes
    their gradient. Both settings are attrs, `softmax_normalize` and `softmax_temperature`.
    Raises DimensionError if X is not (n, nI), InputError for a temperature that is not above 0.

    Example:
        >>> import numpy as np
        >>> Softmax(4, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    if not temperature > 0:
        raise InputError(f"softmax takes a temperature above 0, not {temperature!r}")
    params = affine_params(init_W, init_b, bias)
    attrs = {"softmax_normalize": normalize_outputs, "softmax_temperature": float(temperature)}
    return affine_layer("softmax", _softmax, nO, nI, params, attrs=attrs)


def _softmax(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    normalize, temperature = model.attrs["softmax_normalize"], model.attrs["softmax_temperature"]
    Z, backprop_affine = affine(model, X, run)
    if temperature != 1:
        Z = Z / temperature
    Y = run.ops.softmax(Z) if normalize else Z

    def backprop(dY: Floats2d) -> Any:
        dZ = run.ops.backprop_softmax(dY, Y) if normalize else dY
        if temperature != 1:
            dZ = dZ / temperature
        return backprop_affine(dZ)

    return Y, backprop


def softmax_activation() -> Model[Floats, Floats]:
    """Y = exp(X) / sum(exp(X)) over the last axis, for floats of any shape.

    The backward pass takes the gradient of the probabilities, as `Softmax` does.

    Example:
        >>> import numpy as np
        >>> softmax_activation().predict(np.zeros((1, 4)))
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    return activation("softmax_activation")


def MultiSoftmax(
    nOs: Sequence[int],
    nI: int | None = None,
    *,
    init_W: Initializer = zeros,
    init_b: Initializer = zeros,
    bias: bool = True,
) -> Model[Floats2d, Floats2d]:
    """Affine map, and a softmax over each group of columns: several choices at once.

    X (n, nI) -> Y (n, sum(nOs)): the first nOs[0] columns of a row are the probabilities of one
    choice, the next nOs[1] of another, and so on. Params: W (sum(nOs), nI) and, if `bias`,
    b (sum(nOs),). The backward pass takes the gradient of the probabilities, as that of `Softmax`
    does. The output can't be resized. Raises DimensionError if X is not (n, nI), InputError
    without sizes.

    Example:
        >>> import numpy as np
        >>> MultiSoftmax([2, 4], 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5 , 0.5 , 0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    if not nOs or not all(is_size(size) for size in nOs):
        raise InputError(f"multi_softmax takes the sizes of one group or more, not {nOs!r}")
    sizes = [int(size) for size in nOs]
    params, attrs = affine_params(init_W, init_b, bias), {"nOs": sizes}
    return affine_layer(
        "multi_softmax", _multi_softmax, sum(sizes), nI, params, attrs=attrs, widths=_grouped_widths
    )


def _grouped_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    total = sum(model.attrs["nOs"])
    if nO is not None and nO != total:
        raise DimensionError(
            f"{model.name} has nO={total} by its groups {model.attrs['nOs']}, "
            f"but {infer.source} {nO}"
        )
    return from_dims(model, nI, nO, infer)


def _multi_softmax(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    ops, bounds = run.ops, [*pairwise(accumulate(model.attrs["nOs"], initial=0))]
    Z, backprop_affine = affine(model, X, run)
    outputs = [ops.softmax(Z[:, i:j]) for i, j in bounds]

    def backprop(dY: Floats2d) -> Any:
        groups = zip(bounds, outputs, strict=True)
        dZ = [ops.backprop_softmax(dY[:, i:j], Y) for (i, j), Y in groups]
        return backprop_affine(ops.concatenate(dZ, axis=1))

    return ops.concatenate(outputs, axis=1), backprop
