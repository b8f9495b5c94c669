"""Activations: each a line in a table and a weightless layer.

With an affine map before them they are in `activated.py` and `clipped.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from combinet.errors import InputError
from combinet.layers.finish import finished
from combinet.layers.linear import affine_params
from combinet.model import Model
from combinet.ops import Ops
from combinet.run import Run, no_backprop
from combinet.shapes import preserves
from combinet.types import Floats, Floats2d, Initializer


class Activation(NamedTuple):
    """`forward(ops, X, *settings) -> (Y, kept)`, `backward(ops, dY, kept, *settings) -> dX`.

    `settings` are the names of the layer's attrs that say how it is to be done. `value(ops, X)` is
    Y alone, for predictions, where that is less work.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    settings: tuple[str, ...] = ()
    value: Callable[..., Any] | None = None


def _relu(ops: Ops, X: Floats) -> tuple[Floats, Floats]:
    Y = ops.relu(X)
    return Y, Y


def _softmax(ops: Ops, X: Floats) -> tuple[Floats, Floats]:
    Y = ops.softmax(X)
    return Y, Y


ACTIVATIONS = {
    "relu": Activation(_relu, lambda ops, dY, Y: ops.backprop_relu(dY, Y),
                       value=lambda ops, X: ops.relu(X)),
    "gelu": Activation(lambda ops, X: ops.gelu(X), lambda ops, dY, slope: ops.multiply(dY, slope),
                       value=lambda ops, X: ops.gelu_value(X)),
    "softmax": Activation(_softmax, lambda ops, dY, Y: ops.backprop_softmax(dY, Y)),
    "sigmoid": Activation(lambda ops, X: (ops.sigmoid(X), X),
                          lambda ops, dY, X: ops.backprop_sigmoid(dY, X)),
    "swish": Activation(lambda ops, X: (ops.swish(X), X),
                        lambda ops, dY, X: ops.backprop_swish(dY, X)),
    "mish": Activation(lambda ops, X: (ops.mish(X), X),
                       lambda ops, dY, X: ops.backprop_mish(dY, X)),
    "dish": Activation(lambda ops, X: (ops.dish(X), X),
                       lambda ops, dY, X: ops.backprop_dish(dY, X)),
    "elu": Activation(lambda ops, X, *a: (ops.elu(X, *a), X),
                      lambda ops, dY, X, *a: ops.backprop_elu(dY, X, *a), ("alpha", "scale")),
    "hard_swish": Activation(lambda ops, X, edge: (ops.hard_swish(X, edge), X),
                             lambda ops, dY, X, edge: ops.backprop_hard_swish(dY, X, edge),
                             ("edge",)),
    "clipped_linear": Activation(lambda ops, X, *a: (ops.clipped_linear(X, *a), X),
                                 lambda ops, dY, X, *a: ops.backprop_clipped_linear(dY, X, *a),
                                 ("slope", "offset", "min_val", "max_val")),
}  # fmt: skip


def elu_settings(alpha: float) -> dict[str, float]:
    """The attrs of `elu`."""
    return {"alpha": float(alpha), "scale": 1.0}


def selu_settings() -> dict[str, float]:
    """The attrs of `selu`: with these, mean 0 and variance 1 are a fixed point."""
    return {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}


def clipped_settings(
    slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0
) -> dict[str, float]:
    """The attrs of `clipped_linear`, checked."""
    if slope == 0 or not min_val < max_val:
        raise InputError(
            f"clipped_linear takes a slope other than 0 and min_val < max_val, not "
            f"slope={slope!r}, min_val={min_val!r}, max_val={max_val!r}"
        )
    return {"slope": float(slope), "offset": float(offset),
            "min_val": float(min_val), "max_val": float(max_val)}  # fmt: skip


def relu_k_settings(k: float) -> dict[str, float]:
    """The attrs of `relu_k`, checked."""
    if not k > 0:
        raise InputError(f"relu_k takes a k above 0, not {k!r}")
    return clipped_settings(max_val=k)


HARD_SIGMOID = clipped_settings(slope=0.2, offset=0.5)
HARD_TANH = clipped_settings(min_val=-1.0)
HARD_SWISH = {"edge": 2.5}
HARD_SWISH_MOBILENET = {"edge": 3.0}


def relu() -> Model[Floats, Floats]:
    """The rectifier: Y = max(X, 0), for floats of any shape.

    Example:
        >>> import numpy as np
        >>> relu().predict(np.array([-1.0, 2.0]))
        array([0., 2.])
    """
    return _activation("relu")


def gelu() -> Model[Floats, Floats]:
    """The Gaussian error linear unit: Y = X * P(X), P the normal distribution function.

    For floats of any shape, without approximation. Hendrycks and Gimpel 2016, arXiv:1606.08415.

    Example:
        >>> import numpy as np
        >>> gelu().predict(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    return _activation("gelu")


def mish() -> Model[Floats, Floats]:
    """Y = X * tanh(log(1 + exp X)), for floats of any shape.

    Misra 2019, arXiv:1908.08681, equation 1.

    Example:
        >>> import numpy as np
        >>> mish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.3034,  0.8651])
    """
    return _activation("mish")


def swish() -> Model[Floats, Floats]:
    """Y = X * sigmoid(X), also known as SiLU, for floats of any shape.

    Elfwing et al. 2018, arXiv:1702.03118; Ramachandran et al. 2017, arXiv:1710.05941.

    Example:
        >>> import numpy as np
        >>> swish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.2689,  0.7311])
    """
    return _activation("swish")


def dish() -> Model[Floats, Floats]:
    """Y = X / 2 * (1 + X / sqrt(1 + X * X)), for floats of any shape.

    Shaped like swish and gelu, without an exponential.

    Example:
        >>> import numpy as np
        >>> dish().predict(np.array([-1.0, 1.0])).round(4)
        array([-0.1464,  0.8536])
    """
    return _activation("dish")


def hard_swish() -> Model[Floats, Floats]:
    """Y = X * hard_sigmoid(X): 0 up to -2.5, X from 2.5 on; for floats of any shape.

    Avenash and Viswanath 2019, "Semantic segmentation of satellite images using a modified CNN
    with hard-swish activation function".

    Example:
        >>> import numpy as np
        >>> hard_swish().predict(np.array([-3.0, 0.5, 4.0]))
        array([-0. ,  0.3,  4. ])
    """
    return _activation("hard_swish", settings=HARD_SWISH)


def hard_swish_mobilenet() -> Model[Floats, Floats]:
    """Y = X * min(max(X + 3, 0), 6) / 6, for floats of any shape.

    Howard et al. 2019, arXiv:1905.02244, section 5.2: PyTorch's Hardswish.

    Example:
        >>> import numpy as np
        >>> hard_swish_mobilenet().predict(np.array([-4.0, 1.5, 4.0]))
        array([-0.   ,  1.125,  4.   ])
    """
    return _activation("hard_swish", "hard_swish_mobilenet", settings=HARD_SWISH_MOBILENET)


def clipped_linear(
    *, slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0
) -> Model[Floats, Floats]:
    """Y = X * slope + offset, between min_val and max_val; for floats of any shape.

    The gradient is 0 beyond the bounds and on them. Raises InputError for a slope of 0 and for
    bounds that are not in order.

    Example:
        >>> import numpy as np
        >>> clipped_linear(slope=2.0, max_val=3.0).predict(np.array([-1.0, 1.0, 2.0]))
        array([0., 2., 3.])
    """
    return _activation("clipped_linear", settings=clipped_settings(slope, offset, min_val, max_val))


def relu_k(k: float = 6.0) -> Model[Floats, Floats]:
    """Y = min(max(X, 0), k), for floats of any shape; with k = 6 PyTorch's ReLU6.

    Raises InputError for a k that is not above 0.

    Example:
        >>> import numpy as np
        >>> relu_k(2.0).predict(np.array([-1.0, 1.0, 3.0]))
        array([0., 1., 2.])
    """
    return _activation("clipped_linear", "relu_k", settings=relu_k_settings(k))


def hard_tanh() -> Model[Floats, Floats]:
    """Y = min(max(X, -1), 1), for floats of any shape.

    Example:
        >>> import numpy as np
        >>> hard_tanh().predict(np.array([-2.0, 0.5]))
        array([-1. ,  0.5])
    """
    return _activation("clipped_linear", "hard_tanh", settings=HARD_TANH)


def hard_sigmoid() -> Model[Floats, Floats]:
    """Y = min(max(X / 5 + 1/2, 0), 1), for floats of any shape.

    PyTorch's Hardsigmoid has the slope 1/6: `clipped_linear(slope=1 / 6, offset=0.5)`.

    Example:
        >>> import numpy as np
        >>> hard_sigmoid().predict(np.array([-3.0, 0.5]))
        array([0. , 0.6])
    """
    return _activation("clipped_linear", "hard_sigmoid", settings=HARD_SIGMOID)


def elu(alpha: float = 1.0) -> Model[Floats, Floats]:
    """The exponential linear unit: X above 0, alpha * (exp(X) - 1) below.

    For floats of any shape. Clevert et al. 2016, arXiv:1511.07289, equation 15.

    Example:
        >>> import numpy as np
        >>> elu().predict(np.array([-1.0, 2.0])).round(4)
        array([-0.6321,  2.    ])
    """
    return _activation("elu", settings=elu_settings(alpha))


def selu() -> Model[Floats, Floats]:
    """The scaled exponential linear unit: 1.0507 times an `elu` with alpha = 1.6733.

    For floats of any shape. Klambauer et al. 2017, arXiv:1706.02515, equation 2: with weights of
    variance 1 / nI, mean 0 and variance 1 of the input come back in the output.

    Example:
        >>> import numpy as np
        >>> selu().predict(np.array([-1.0, 1.0])).round(4)
        array([-1.1113,  1.0507])
    """
    return _activation("elu", "selu", settings=selu_settings())


def sigmoid_activation() -> Model[Floats, Floats]:
    """The logistic function: Y = 1 / (1 + exp(-X)), for floats of any shape.

    The slope comes from X, so that it does not vanish where Y rounds to 1.

    Example:
        >>> import numpy as np
        >>> sigmoid_activation().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return _activation("sigmoid", "sigmoid_activation")


def Logistic() -> Model[Floats, Floats]:
    """`sigmoid_activation`, under the older of the two names that Thinc has for it.

    Example:
        >>> import numpy as np
        >>> Logistic().predict(np.array([0.0, 1.0])).round(4)
        array([0.5   , 0.7311])
    """
    return sigmoid_activation()


def softmax_activation() -> Model[Floats, Floats]:
    """Y = exp(X) / sum(exp(X)) over the last axis, for floats of any shape.

    The backward pass takes the gradient of the probabilities, as `Softmax` does.

    Example:
        >>> import numpy as np
        >>> softmax_activation().predict(np.zeros((1, 4)))
        array([[0.25, 0.25, 0.25, 0.25]])
    """
    return _activation("softmax", "softmax_activation")


def _activation(
    kind: str, name: str = "", settings: Mapping[str, float] | None = None
) -> Model[Any, Any]:
    attrs = {"activation": kind, **(settings or {})}
    return Model(name or kind, _apply, attrs=attrs, takes="floats", widths=preserves)


def _apply(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    activation = ACTIVATIONS[model.attrs["activation"]]
    if activation.value is not None and not run.train:
        return activation.value(run.ops, X), no_backprop
    settings = [model.attrs[name] for name in activation.settings]
    Y, kept = activation.forward(run.ops, X, *settings)
    return Y, lambda dY: activation.backward(run.ops, dY, kept, *settings)


def activated(
    kind: str,
    nO: int | None,
    nI: int | None,
    init_W: Initializer,
    init_b: Initializer,
    dropout: float | None = None,
    normalize: bool = False,
    name: str = "",
    settings: Mapping[str, float] | None = None,
) -> Model[Any, Any]:
    """An affine map and an activation of the table, and what may follow it."""
    model: Model[Any, Any] = Model(
        name or kind,
        _affine_apply,
        dims={"nI": nI, "nO": nO},
        params=affine_params(init_W, init_b),
        attrs={"activation": kind, **(settings or {})},
        takes="floats2d",
    )
    return finished(model, normalize, dropout)


def _affine_apply(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    W, b = run.params(model, "W", "b")
    wants_dX = run.wants_dX
    Y, callback = _apply(model, run.ops.affine(X, W, b), run)

    def backprop(dY: Floats2d) -> Floats2d | None:
        dZ = callback(dY)
        dX, dW, db = run.ops.backprop_affine(dZ, X, W, wants_dX)
        run.inc_grad(model, W=dW, b=db)
        return dX

    return Y, backprop
