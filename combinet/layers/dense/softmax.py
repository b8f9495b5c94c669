"""Output layers that return probabilities: a softmax over all columns or over groups of columns."""

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
    """Affine map followed by softmax: Y = exp(Z) / sum(exp(Z)) for each row of Z.

    Z is (X @ W.T + b) / T. The input is an array of floats (n, nI). The output is an array (n, nO)
    whose rows are probabilities. The backward pass takes the gradient of the probabilities, as
    `CategoricalCrossentropy` returns it, not the difference between Y and the truth.

    The attrs `softmax_normalize` and `softmax_temperature` hold the last two arguments.

    Args:
        nO: Number of output columns. Inferred from the next layer or from a sample if None.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `zeros` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.
        normalize_outputs: Whether to apply softmax. If False, the layer returns the logits Z, in
            training and in prediction, and its backward pass takes their gradient.
        temperature: Divisor T of the logits, above 0. Above 1, it brings the probabilities closer
            together.

    Raises:
        InputError: If the temperature is not above 0.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> Softmax(4, 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    if not temperature > 0:
        raise InputError(f"softmax expected a temperature above 0, got {temperature!r}")
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
    """Applies softmax over the last axis: Y = exp(X) / sum(exp(X)).

    The input is an array of floats of any shape. The backward pass takes the gradient of the
    probabilities, as for `Softmax`.

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
    """Affine map followed by a softmax over each group of columns, for several choices at once.

    The input is an array of floats (n, nI), the output an array (n, nO) with nO = sum(nOs). The
    first nOs[0] columns are the probabilities of the first choice, the next nOs[1] columns the
    probabilities of the second choice, and so on. The backward pass takes the gradient of the
    probabilities, as for `Softmax`. The output cannot be resized.

    Args:
        nOs: Number of columns of each group. At least one group.
        nI: Number of input columns. Inferred from the previous layer or from a sample if None.
        init_W: Initializer of the weights W (nO, nI). `zeros` by default.
        init_b: Initializer of the bias b (nO,). `zeros` by default.
        bias: Whether to add the bias b.

    Raises:
        InputError: If `nOs` is empty or contains anything but positive ints.
        DimensionError: If X does not have nI columns.

    Example:
        >>> import numpy as np
        >>> MultiSoftmax([2, 4], 3).initialize().predict(np.zeros((1, 3), dtype="float32"))
        array([[0.5 , 0.5 , 0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """
    if not nOs or not all(is_size(size) for size in nOs):
        raise InputError(f"multi_softmax expected sizes of one group or more, got {nOs!r}")
    sizes = [int(size) for size in nOs]
    params, attrs = affine_params(init_W, init_b, bias), {"nOs": sizes}
    return affine_layer(
        "multi_softmax", _multi_softmax, sum(sizes), nI, params, attrs=attrs, widths=_grouped_widths
    )


def _grouped_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    total = sum(model.attrs["nOs"])
    if nO is not None and nO != total:
        raise DimensionError(
            f"{model.name} expected nO={total}, the sum of its groups {model.attrs['nOs']}, "
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
