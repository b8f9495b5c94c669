"""The weights of a wrapped module, back in a module, and in files that PyTorch's own users read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from combinet.errors import DimensionError, FormatError, InputError
from combinet.file_format import read, to_host, write
from combinet.interop.extras import load
from combinet.interop.torch.sizes import set_sizes
from combinet.interop.torch.skeleton import Skeleton, constant_name
from combinet.model import Model

if TYPE_CHECKING:
    import torch
    from torch import nn
else:
    torch = load("torch", "torch")
    nn = torch.nn


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
    skeleton = _skeleton(model)
    module = skeleton.apart()
    new: dict[str, torch.Tensor] = {}
    for name, kind in skeleton.parameters.items():
        value = torch.as_tensor(to_host(model.get_param(name)), dtype=kind.dtype)
        new[name] = nn.Parameter(value, requires_grad=kind.requires_grad)
    for name, kind in skeleton.buffers.items():
        new[name] = torch.as_tensor(to_host(model.get_param(name)), dtype=kind.dtype)
    for name, kind in skeleton.constants.items():
        new[name] = torch.tensor(model.attrs[constant_name(name)], dtype=kind.dtype)
    names = {id(tensor): name for name, tensor in _named(module)}
    for place, tensor in [*_named(module, remove_duplicate=False)]:
        if names[id(tensor)] in new:
            parent, _, attribute = place.rpartition(".")
            setattr(module.get_submodule(parent), attribute, new[names[id(tensor)]])
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
    skeleton = _skeleton(model)
    values = {name: _plain(tensor) for name, tensor in _named(module)}
    kept = [*skeleton.parameters, *skeleton.buffers]
    if missing := {*kept, *skeleton.constants} - values.keys():
        raise InputError(f"{model.name} needs {sorted(missing)}; the module has {[*values]}")
    for name in kept:
        if values[name].shape != model.slots[name].shape:
            raise DimensionError(
                f"{model.name}: {name} is {model.slots[name].shape}, not {values[name].shape}"
            )
    for name in kept:
        model.set_param(name, values[name])
    model.attrs |= {constant_name(name): values[name] for name in skeleton.constants}


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
    safetensors = load("safetensors.torch", "torch")
    data = safetensors.save({name: value.clone(memory_format=torch.contiguous_format)
                             for name, value in state.items()})  # fmt: skip
    write(path, data)


def from_safetensors(model: Model[Any, Any], path: str | os.PathLike[str]) -> None:
    """Read such a file, one that PyTorch's users wrote too, into a `TorchWrapper`.

    Raises FormatError, the model unchanged, for a file that is none or of another module.
    """
    safetensors = load("safetensors", "torch")
    module = unwrap(model)
    try:
        module.load_state_dict(load("safetensors.torch", "torch").load(read(path)))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise FormatError(f"{os.fspath(path)} does not fit {model.name}: {error}") from None
    take_weights(model, module)


def _skeleton(model: Model[Any, Any]) -> Skeleton:
    skeleton = model.attrs.get("module")
    if not isinstance(skeleton, Skeleton):
        raise InputError(f"a TorchWrapper is needed, not {model.name}")
    return skeleton


def _named(
    module: nn.Module, *, remove_duplicate: bool = True
) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=remove_duplicate)
    yield from module.named_buffers(remove_duplicate=remove_duplicate)


def _plain(tensor: torch.Tensor) -> Any:
    """The values as a NumPy array, of a type that can be saved, apart from the tensor's memory."""
    values = tensor.detach().cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    return values.to(torch.uint8 if values.dtype == torch.bool else values.dtype).numpy().copy()
