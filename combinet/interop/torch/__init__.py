"""PyTorch: its modules as layers, models as its modules, and its optimizers."""

from combinet.extras import extra

with extra("torch", "torch"):
    from combinet.interop.torch.module import as_torch
    from combinet.interop.torch.optimizer import TorchOptimizer
    from combinet.interop.torch.weights import (
        from_safetensors,
        take_weights,
        to_safetensors,
        unwrap,
    )
    from combinet.interop.torch.wrapper import TorchWrapper

__all__ = [
    "TorchOptimizer",
    "TorchWrapper",
    "as_torch",
    "from_safetensors",
    "take_weights",
    "to_safetensors",
    "unwrap",
]
