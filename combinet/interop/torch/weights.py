"""The weights of a wrapped module, back in a module, and in files that PyTorch's own users read."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from combinet.core.model import Model
from combinet.errors import DimensionError, FormatError, InputError
from combinet.interop.extras import extra
from combinet.interop.torch.functional_module import FunctionalModule, constant_name
from combinet.interop.torch.sizes import set_sizes
from combinet.storage.file_format import read, to_host, write


def unwrap(model: Model[Any, Any]) -> nn.Module:
    """The module of a `TorchWrapper`, on the CPU, with the weights that the model has now.

    It shares nothing with the model. Raises InputError for any other model.

    Example:
        >>> import torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model = TorchWrapper(torch.nn.Linear(2, 1)).resize_output(3)
        >>> unwrap(model)
        Linear(in_features=2, out_features=3, bias=True)
    """
    functional = _functional(model)
    values = {name: model.get_param(name) for name in model.param_names}
    values |= {name: model.attrs[constant_name(name)] for name in functional.constants}
    new: dict[str, torch.Tensor] = {}
    for name, spec in functional.specs.items():
        value = torch.as_tensor(to_host(values[name]), dtype=spec.dtype)
        trained = isinstance(spec, nn.Parameter)
        new[name] = nn.Parameter(value, spec.requires_grad) if trained else value
    module = functional.copy(new)
    set_sizes(module)
    return module


def take_weights(model: Model[Any, Any], module: nn.Module) -> None:
    """Give a `TorchWrapper` the weights, running means and other buffers of a module like its own.

    Raises InputError, DimensionError where the module is another.

    Example:
        >>> import torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model, trained = TorchWrapper(torch.nn.Linear(2, 1)), torch.nn.Linear(2, 1)
        >>> take_weights(model, trained)
        >>> bool((model.get_param("bias") == trained.bias.detach().numpy()).all())
        True
    """
    functional = _functional(model)
    named = [*module.named_parameters(), *module.named_buffers()]
    values = {name: _plain(tensor) for name, tensor in named}
    stored = [*functional.parameters, *functional.buffers]
    if missing := {*stored, *functional.constants} - values.keys():
        raise InputError(f"{model.name} needs {sorted(missing)}; the module has {[*values]}")
    for name in stored:
        expected, found = model.slots[name].shape, values[name].shape
        if found != expected:
            raise DimensionError(f"{model.name}: {name} is {expected}, not {found}")
    for name in stored:
        model.set_param(name, values[name])
    model.attrs |= {constant_name(name): values[name] for name in functional.constants}


def to_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Write the state dict of a `TorchWrapper`'s module, as PyTorch has it, as safetensors.

    Example:
        >>> import tempfile, torch
        >>> from combinet.interop.torch import TorchWrapper
        >>> model = TorchWrapper(torch.nn.Linear(2, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     to_safetensors(model, f"{folder}/linear.safetensors")
        ...     from_safetensors(model, f"{folder}/linear.safetensors")
    """
    state = unwrap(model).state_dict()
    # A tensor that stands in two places is written twice: the format knows no sharing.
    with extra("torch", "safetensors"):
        from safetensors.torch import save
    write(path, save({name: value.clone().contiguous() for name, value in state.items()}))


def from_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Read such a file, one that PyTorch's users wrote too, into a `TorchWrapper`.

    Raises FormatError, the model unchanged, for a file that is none or of another module.
    """
    with extra("torch", "safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load
    module = unwrap(model)
    try:
        module.load_state_dict(load(read(path)))
    except (RuntimeError, SafetensorError) as error:
        raise FormatError(f"{os.fspath(path)} does not fit {model.name}: {error}") from None
    take_weights(model, module)


def _functional(model: Model[Any, Any]) -> FunctionalModule:
    functional = model.attrs.get("module")
    if not isinstance(functional, FunctionalModule):
        raise InputError(f"a TorchWrapper is needed, not {model.name}")
    return functional


def _plain(tensor: torch.Tensor) -> Any:
    """The values as a NumPy array, of a type that can be saved, apart from the tensor's memory."""
    values = tensor.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return values.to(torch.uint8 if values.dtype == torch.bool else values.dtype).numpy().copy()
