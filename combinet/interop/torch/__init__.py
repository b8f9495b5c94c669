"""PyTorch: its modules as layers, and models as its modules."""

from combinet.interop.torch.module import as_torch
from combinet.interop.torch.wrapper import TorchWrapper

__all__ = ["TorchWrapper", "as_torch"]
