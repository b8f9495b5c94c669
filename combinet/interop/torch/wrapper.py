"""A module of PyTorch as a layer."""

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
    """A module of PyTorch as a layer: Y = module(X), with the module's weights as parameters.

    X is an array, a tuple for several arguments, or a dict for keyword arguments. A tuple that ends
    with a dict holds both. Arguments may be nested tuples, lists and dicts. Arrays become tensors
    that view the same memory, and output tensors become arrays in the same way. `Padded` becomes a
    `PackedSequence`, and a `PackedSequence` in the output becomes Padded. The gradient of X has the
    structure of X, with None for values without a gradient. The module is in training mode in
    training and in evaluation mode in `predict`.

    The layer's parameters have PyTorch's names and copies of the module's values; the module itself
    does not change. They are float64 if all floats of the module are float64, and float32
    otherwise. A parameter that does not require a gradient is not trained. Buffers that a pass may
    change, such as the running means of batch normalization, are buffers here too: an update sets
    them to the values that the passes since the last update computed, or to the mean if there were
    several passes. Buffers are saved with the weights.

    The dims nI, nO and nV (the number of rows of an `Embedding` that comes first) are known for
    `Linear`, `Embedding`, and a `Sequential` that begins or ends with one of them, apart from
    activations and dropout. Only these dims can be changed by `resize_input` and `resize_output`.

    PyTorch draws dropout masks, with a seed from the generator of the pass.

    Args:
        module: The module.
        use_drop: Whether the `drop` of `begin_update` sets the rate of all dropout in the module.
            If False, the module's own rates apply.
        autocast: "bfloat16" or "float16" for mixed precision by PyTorch's autocast. "float16" also
            scales gradients. None computes in the dtype of the weights.

    Raises:
        InputError: If the module is a TorchScript or lazy module, if a weight is not a float, or if
            `autocast` has another value.
        StateError: In a pass, if the module changes its weights or its input in place, as
            `Embedding` does with `max_norm`.

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
        raise InputError(f"TorchWrapper expected a torch.nn.Module, got {type(module).__name__}")
    if any(isinstance(each, torch.jit.ScriptModule) for each in module.modules()):
        raise InputError("TorchWrapper expected a module in Python, got TorchScript")
    if autocast not in (None, "bfloat16", "float16"):
        raise InputError(f"expected autocast 'bfloat16', 'float16' or None, got {autocast!r}")
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
