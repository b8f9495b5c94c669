"""Keyword arguments named as in other libraries raise an error that gives the name here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from types import FunctionType
from typing import Any

from combinet.errors import InputError

# The name in another library: the names here. The first that the function takes is the right one.
_NAMES = {
    "in_features": "nI", "in_channels": "nI", "input_size": "nI", "input_dim": "nI",
    "num_features": "nI", "normalized_shape": "nI",
    "out_features": "nO", "out_channels": "nO", "output_size": "nO", "output_dim": "nO",
    "units": "nO", "filters": "nO", "num_tags": "nO", "d_model": "nO", "embed_dim": "nO",
    "embedding_dim": "nO", "hidden_size": "hidden nO", "dim_feedforward": "hidden",
    "num_embeddings": "nV longest", "kdim": "nM", "vdim": "nM",
    "num_heads": "heads", "nhead": "heads", "num_layers": "depth", "bidirectional": "bi",
    "is_causal": "causal", "norm_first": "pre_norm", "layer_norm_eps": "eps", "epsilon": "eps",
    "kernel_size": "width window_size", "strides": "stride", "dilation_rate": "dilation",
    "use_bias": "bias", "kernel_initializer": "init_W", "bias_initializer": "init_b",
    "p": "rate", "dropout": "rate", "dropout_rate": "dropout rate",
    "lr": "learn_rate", "learning_rate": "learn_rate", "weight_decay": "L2", "betas": "beta1",
    "b1": "beta1", "b2": "beta2", "max_norm": "grad_clip", "clipnorm": "grad_clip",
}  # fmt: skip


def explain_foreign_names(public: Iterable[Any]) -> None:
    """Make functions and classes raise InputError, a TypeError, that says which name to use.

    A function is replaced in each module of this package that has it, a class gets another
    `__init__`: constructors need no decorator, and none is forgotten. Those that take no argument
    of the table stay as they are.
    """
    modules = [module for name, module in sys.modules.items() if name.startswith("combinet")]
    for value in public:
        if isinstance(value, type) and isinstance(vars(value).get("__init__"), FunctionType):
            value.__init__ = _explained(vars(value)["__init__"])  # type: ignore[misc]
        elif isinstance(value, FunctionType):
            name, explained = value.__name__, _explained(value)
            for module in modules:
                if getattr(module, name, None) is value:
                    setattr(module, name, explained)


def _explained(function: FunctionType) -> Callable[..., Any]:
    """The function, checking its keywords first; the same object if there is none to check."""
    code = function.__code__
    taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    ours = {
        name: next(each for each in here.split() if each in taken)
        for name, here in _NAMES.items()
        if name not in taken and not set(taken).isdisjoint(here.split())
    }
    if not ours:
        return function

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name in ours:
                caller = type(args[0]).__name__ if taken[0] == "self" else function.__name__
                raise InputError(f"{caller}: expected {ours[name]}, got {name}")
        return function(*args, **kwargs)

    return call
