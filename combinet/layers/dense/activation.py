"""The table of activations, and the layers made of it: weightless, or after an affine map.

A new activation is a pair of methods in `ops/activations.py`, a row of the table, and a file with
its constructors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    Y = forward(X, *settings), and dX = backward(dY, saved, *settings). `saved` is "X" or "Y", or
    the name of a method that returns Y together with what `backward` needs. `settings` are the
    layer's attrs that the methods take.
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
    """The settings of `clipped_linear`. Raises InputError for a line that is flat or empty."""
    if slope == 0 or not min_val < max_val:
        raise InputError(
            f"clipped_linear takes a slope other than 0 and min_val < max_val, not "
            f"slope={slope!r}, min_val={min_val!r}, max_val={max_val!r}"
        )
    return {"slope": float(slope), "offset": float(offset),
            "min_val": float(min_val), "max_val": float(max_val)}  # fmt: skip


# Layers with a name of their own: which activation they are, with which settings.
_NAMED: dict[str, tuple[str, Settings]] = {
    # Mean 0 and variance 1 are a fixed point of this one.
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
    """An activation of the tables, without weights."""
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
    """What makes an affine map and an activation, without settings."""

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
        """The layer, or a chain of it and the norm and the dropout asked for."""
        ...


def affine_activation(
    name: str, init: Initializer, fused: Forward | None = None
) -> Callable[[Callable[[], None]], Constructor]:
    """Make a `Constructor` of a function that has a name and a docstring alone.

    `init` is what draws W unless the caller says otherwise. `fused` is a forward function that
    stands in for the one of the tables.
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
            params = affine_params(init_W, init_b, bias)
            return dense_activation(name, nO, nI, params, normalize, dropout, fused=fused)

        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(make, attribute, getattr(described, attribute))
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
    """An affine map and an activation of the tables, with the norm and the dropout asked for."""
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
    """The model, followed by LayerNorm if `normalize`, then by Dropout if there is a rate."""
    if normalize:
        model = model >> LayerNorm(model.dims["nO"])
    if dropout is not None:
        model = model >> Dropout(dropout)
    return model
