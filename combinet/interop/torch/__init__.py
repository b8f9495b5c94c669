"""PyTorch: its modules as layers, and models as its modules."""

from combinet.interop.torch.wrapper import TorchWrapper

__all__ = ["TorchWrapper"]
