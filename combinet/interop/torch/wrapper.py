"""A module of PyTorch's as a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from combinet.core.model import Model
from combinet.core.node import Param
from combinet.core.shape_rules import from_dims
from combinet.errors import InputError
from combinet.initializers import zeros
from combinet.interop.torch.forward import forward
from combinet.interop.torch.functional_module import FunctionalModule, constant_name
from combinet.interop.torch.scaling import GradientScale
from combinet.interop.torch.sizes import table_widths, width_axes
from combinet.interop.torch.weights import take_weights


def TorchWrapper(
    module: nn.Module, *, use_drop: bool = False, autocast: str | None = None
) -> Model[Any, Any]:
    """A module of PyTorch's as a layer: Y = module(X), with its weights as the layer's parameters.

    X: an array; a tuple, for several arguments; a dict, for keyword arguments, or for both a
    tuple that ends with one. In these any nesting of tuples, lists and dicts. Arrays become
    tensors, and the module's tensors arrays, that view the same memory; `Padded` goes in as
    `PackedSequence`, and such a one comes out as Padded. The gradient of X has the form of X, with
    None for what has none. In training the module is in training mode, in `predict` in that of
    evaluation, with all that is in it.

    Params: those of the module, under PyTorch's names, at first with its values; the module that
    is given stays as it is. They are float64 if all of the module's are, else float32. Those that
    don't require a gradient are not trained. Buffers that a pass changes in place, as the running
    means of batch normalization, are statistics: an update moves them to what the passes since the
    last one have made of them, to the mean if there were several. They are saved as weights are.

    Dims: nI and nO (nV, the rows, of an `Embedding` that comes first), where the module is
    `Linear`, `Embedding`, or a `Sequential` of whose ends such a layer decides; there alone
    `resize_output` and `resize_input` change the module. Other sizes are dims named by themselves.

    Masks are drawn by PyTorch with a seed from the pass's generator. `begin_update`'s drop sets the
    rate of all dropout in the module if `use_drop` says so. With `autocast`, "bfloat16" or
    "float16", PyTorch computes in that type what it thinks fit, and for float16 scales gradients.

    Raises InputError for TorchScript, a lazy module, and weights that aren't floats; in a pass
    StateError where the module writes to its weights or its input in place, as `Embedding` does
    with a `max_norm`.

    Example:
        >>> import numpy as np
        >>> from combinet import Adam, Softmax
        >>> model = TorchWrapper(nn.Sequential(nn.Linear(4, 8), nn.Tanh())) >> Softmax(3)
        >>> X = np.ones((2, 4), dtype="float32")
        >>> Y, backprop = model.initialize(X).begin_update(X)
        >>> backprop(Y, sgd=Adam(0.01)).shape
        (2, 4)
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"TorchWrapper takes a torch.nn.Module, not {type(module).__name__}")
    if any(isinstance(each, torch.jit.ScriptModule) for each in module.modules()):
        raise InputError("TorchWrapper takes modules of Python, not of TorchScript")
    if autocast not in (None, "bfloat16", "float16"):
        raise InputError(f"autocast is 'bfloat16', 'float16' or None, not {autocast!r}")
    functional = FunctionalModule(module)
    axes = width_axes(module)
    stored, params = functional.parameters | functional.buffers, {}
    for name, value in stored.items():
        sizes = tuple(axes.get((name, axis), size) for axis, size in enumerate(value.shape))
        params[name] = Param(sizes, zeros, "C", 1.0 if name in functional.buffers else None)
    widths = sorted((dim, name, axis) for (name, axis), dim in axes.items())
    attrs = {"module": functional, "use_drop": use_drop, "autocast": autocast}
    constants = dict.fromkeys(map(constant_name, functional.constants))
    model: Model[Any, Any] = Model(
        f"torch({type(module).__name__})",
        forward,
        dims={dim: stored[name].shape[axis] for dim, name, axis in widths},
        params=params,
        attrs={**attrs, "scale": GradientScale(), **constants},
        widths=table_widths if "nV" in axes.values() else from_dims,
    )
    doubles = {value.dtype for value in stored.values() if value.is_floating_point()}
    model.initialize(dtype="float64" if doubles == {torch.float64} else "float32")
    take_weights(model, module)
    return model
