"""The table of activations, and constructors of layers that use them.

A layer applies an activation alone (`relu`) or after an affine map (`Relu`). A new activation needs
a pair of methods in `ops/activations.py`, a row in the table and a file with its constructors.
"""

from collections.abc import Callable, Mapping
from inspect import cleandoc
from typing import Any, NamedTuple, Protocol, TypeAlias

from combinet.core.model import Model
from combinet.core.node import Forward
from combinet.core.run import Run
from combinet.core.shape_rules import preserves
from combinet.errors import InputError
from combinet.initializers import zeros
from combinet.layers.dense.dropout import Dropout
from combinet.layers.dense.linear import affine, affine_layer, affine_params
from combinet.layers.norm.layer_norm import LayerNorm
from combinet.types import Floats, Floats2d, Initializer

Settings: TypeAlias = Mapping[str, float]


class Activation(NamedTuple):
    """The names of the `Ops` methods that compute an activation and its gradient.

    Y = forward(X, *settings) and dX = backward(dY, saved, *settings). `saved` is "X" or "Y", or the
    name of a method that returns Y and the array that `backward` needs. `settings` names the attrs
    of the layer that both methods receive.
    """

    forward: str
    backward: str
    saved: str = "X"
    settings: tuple[str, ...] = ()


ACTIVATIONS = {
    "relu": Activation("relu", "backprop_relu", "Y"),
    "gelu": Activation("gelu_value", "multiply", "gelu"),
    "softmax": Activation("softmax", "backprop_softmax", "Y"),
    "sigmoid": Activation("sigmoid", "backprop_sigmoid"),
    "swish": Activation("swish", "backprop_swish"),
    "mish": Activation("mish", "backprop_mish"),
    "dish": Activation("dish", "backprop_dish"),
    "elu": Activation("elu", "backprop_elu", "X", ("alpha", "scale")),
    "hard_swish": Activation("hard_swish", "backprop_hard_swish", "X", ("edge",)),
    "clipped_linear": Activation("clipped_linear", "backprop_clipped_linear", "X",
                                 ("slope", "offset", "min_val", "max_val")),
}  # fmt: skip


def line(
    slope: float = 1.0, offset: float = 0.0, min_val: float = 0.0, max_val: float = 1.0
) -> dict[str, float]:
    """Returns the settings of `clipped_linear`. Raises InputError if Y would be constant."""
    if slope == 0 or not min_val < max_val:
        raise InputError(
            f"clipped_linear expected a slope other than 0 and min_val < max_val, got "
            f"slope={slope!r}, min_val={min_val!r}, max_val={max_val!r}"
        )
    return {"slope": float(slope), "offset": float(offset),
            "min_val": float(min_val), "max_val": float(max_val)}  # fmt: skip


# Layers with another name than their activation: the activation and its settings.
_NAMED: dict[str, tuple[str, Settings]] = {
    # With these settings, mean 0 and variance 1 are a fixed point.
    "selu": ("elu", {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}),
    "hard_sigmoid": ("clipped_linear", line(slope=0.2, offset=0.5)),
    "hard_tanh": ("clipped_linear", line(min_val=-1.0)),
    "hard_swish": ("hard_swish", {"edge": 2.5}),
    "hard_swish_mobilenet": ("hard_swish", {"edge": 3.0}),
    "relu_k": ("clipped_linear", line(max_val=6.0)),
    "sigmoid_activation": ("sigmoid", {}),
    "softmax_activation": ("softmax", {}),
}


def activation(name: str, settings: Settings | None = None) -> Model[Any, Any]:
    """Returns a layer without weights that applies an activation from the tables."""
    attrs = _attrs(name, settings)
    return Model(name, _activate, attrs=attrs, accepts="floats", widths=preserves)


def _attrs(name: str, settings: Settings | None) -> dict[str, Any]:
    row, preset = _NAMED.get(name, (name, {}))
    return {"activation": row, **(settings or preset)}


def _activate(model: Model[Any, Any], X: Floats, run: Run) -> Any:
    forward, backward, saved, names = ACTIVATIONS[model.attrs["activation"]]
    ops, settings = run.ops, [model.attrs[name] for name in names]
    if saved in ("X", "Y") or not run.train:
        Y = getattr(ops, forward)(X, *settings)
        for_backward = X if saved == "X" else Y
    else:
        Y, for_backward = getattr(ops, saved)(X, *settings)
    return Y, lambda dY: getattr(ops, backward)(dY, for_backward, *settings)


class Constructor(Protocol):
    """A constructor of an affine map followed by an activation without settings."""

    def __call__(
        self,
        nO: int | None = None,
        nI: int | None = None,
        *,
        init_W: Initializer = ...,
        init_b: Initializer = ...,
        bias: bool = True,
        dropout: float | None = None,
        normalize: bool = False,
    ) -> Model[Floats2d, Floats2d]:
        """Returns the layer, or a chain of the layer, `LayerNorm` and `Dropout`."""
        ...


def affine_activation(
    name: str, init: Initializer, fused: Forward | None = None
) -> Callable[[Callable[[], None]], Constructor]:
    """Makes a `Constructor` from a stub: a function that has only a name and a docstring.

    Args:
        name: Name of the layer and of its activation in the tables.
        init: Default initializer of W.
        fused: Forward function that computes the affine map and the activation in one step. None
            computes them one after the other.
    """

    def decorate(described: Callable[[], None]) -> Constructor:
        def make(
            nO: int | None = None,
            nI: int | None = None,
            *,
            init_W: Initializer = init,
            init_b: Initializer = zeros,
            bias: bool = True,
            dropout: float | None = None,
            normalize: bool = False,
        ) -> Model[Floats2d, Floats2d]:
            """Makes the layer.

            Args:
                nO: Number of output columns. Inferred from the next layer or from a sample if None.
                nI: Number of input columns. Inferred from the previous layer or from a sample if
                    None.
                init_W: Initializer of the weights W (nO, nI). `{init_W}` by default.
                init_b: Initializer of the bias b (nO,). `zeros` by default.
                bias: Whether to add the bias b.
                dropout: Rate of a `Dropout` layer at the end, from 0 to below 1. None adds no such
                    layer.
                normalize: Whether to add a `LayerNorm` layer after the activation.

            Raises:
                InputError: If the dropout rate is not from 0 to below 1.
                DimensionError: If X does not have nI columns.
            """
            params = affine_params(init_W, init_b, bias)
            return dense_activation(name, nO, nI, params, normalize, dropout, fused=fused)

        for attribute in ("__module__", "__name__", "__qualname__"):
            setattr(make, attribute, getattr(described, attribute))
        # All stubs share the arguments of `make`, so its docstring describes them once. They are
        # inserted before "Example:" in the docstring of each stub, so that help(Relu) shows them.
        args = cleandoc(make.__doc__ or "").partition("\n\n")[2].format(init_W=init.__name__)
        text, title, example = cleandoc(described.__doc__ or "").partition("Example:")
        make.__doc__ = f"{text}{args}\n\n{title}{example}"
        return make

    return decorate


def dense_activation(
    name: str,
    nO: int | None,
    nI: int | None,
    params: Any,
    normalize: bool = False,
    dropout: float | None = None,
    settings: Settings | None = None,
    fused: Forward | None = None,
) -> Model[Any, Any]:
    """Returns an affine map followed by an activation and, if requested, LayerNorm and Dropout."""
    forward, attrs = (fused, None) if fused else (_affine_activate, _attrs(name, settings))
    layer = affine_layer(name, forward, nO, nI, params, attrs=attrs)
    return add_norm_dropout(layer, normalize, dropout)


def _affine_activate(model: Model[Any, Any], X: Floats2d, run: Run) -> Any:
    Z, backprop_affine = affine(model, X, run)
    Y, backprop = _activate(model, Z, run)
    return Y, lambda dY: backprop_affine(backprop(dY))


def add_norm_dropout(
    model: Model[Any, Any], normalize: bool, dropout: float | None
) -> Model[Any, Any]:
    """Appends LayerNorm if `normalize` is set, then Dropout if a rate is given."""
    if normalize:
        model = model >> LayerNorm(model.dims["nO"])
    if dropout is not None:
        model = model >> Dropout(dropout)
    return model
