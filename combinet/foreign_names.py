"""Errors for argument names of other libraries: `Linear(in_features=3)` suggests nI."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from combinet.errors import InputError

# Argument names of other libraries, with combinet's names. If a function takes several of these,
# the last one applies.
_NAMES = {
    "in_features": "nI", "in_channels": "nI", "input_size": "nI", "input_dim": "nI",
    "num_features": "nI", "normalized_shape": "nI",
    "out_features": "nO", "out_channels": "nO", "output_size": "nO", "output_dim": "nO",
    "units": "nO", "filters": "nO", "num_tags": "nO", "d_model": "nO", "embed_dim": "nO",
    "embedding_dim": "nO", "hidden_size": "nO hidden", "dim_feedforward": "hidden",
    "num_embeddings": "nV longest", "kdim": "nM", "vdim": "nM",
    "num_heads": "heads", "nhead": "heads", "num_layers": "depth", "bidirectional": "bi",
    "is_causal": "causal", "norm_first": "pre_norm", "layer_norm_eps": "eps", "epsilon": "eps",
    "kernel_size": "width window_size", "strides": "stride", "dilation_rate": "dilation",
    "use_bias": "bias", "kernel_initializer": "init_W", "bias_initializer": "init_b",
    "p": "rate", "dropout": "rate", "dropout_rate": "rate dropout",
    "lr": "learn_rate", "learning_rate": "learn_rate", "weight_decay": "L2", "betas": "beta1",
    "b1": "beta1", "b2": "beta2", "max_norm": "grad_clip", "clipnorm": "grad_clip",
}  # fmt: skip


def explain_foreign_names(public: Iterable[Any]) -> None:
    """Makes public functions and classes raise InputError for other libraries' argument names.

    A class gets a new `__init__`. A function is replaced by a wrapper in the `combinet` namespace
    and in the module that defines it. Modules that imported it earlier call the original directly.
    This way no constructor needs a decorator, and none can be forgotten.
    """
    for value in public:
        if not isinstance(value, type):
            explained = _explained(value)
            for module in ("combinet", value.__module__):
                setattr(sys.modules[module], value.__name__, explained)
        elif "__init__" in vars(value):
            value.__init__ = _explained(value.__init__)  # type: ignore[misc]


def _explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a wrapper that checks keyword names before it calls the function.

    Returns the function itself if none of the names applies to it.
    """
    taken = function.__annotations__
    ours = {
        theirs: name
        for theirs, names in _NAMES.items()
        for name in names.split()
        if name in taken and theirs not in taken
    }
    if not ours:
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name in ours:
                caller = type(args[0]) if function.__name__ == "__init__" else function
                raise InputError(f"{caller.__name__}: expected {ours[name]}, got {name}")
        return function(*args, **kwargs)

    return call
