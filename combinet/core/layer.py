"""Layer: the protocol that passes, tree walks, shape rules and storage rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from combinet.ops.base import Ops
from combinet.storage.slots import Slot
from combinet.types import Generator, Shape

if TYPE_CHECKING:
    from combinet.core.node import Param
    from combinet.core.shape_inference import Noted

Backward: TypeAlias = Callable[[Any], Any]
Forward: TypeAlias = Callable[[Any, Any, Any], tuple[Any, Backward]]


class Layer(Protocol):
    """A node of a tree of layers. `Model` implements this protocol and documents the attributes.

    The modules that `Model` imports use only this protocol, which avoids import cycles.
    """

    id: int
    name: str
    forward: Forward
    given_forward: Forward | None
    layers: tuple[Any, ...]
    dims: dict[str, int | None]
    attrs: dict[str, Any]
    accepts: str
    widths: Callable[[Any, Any, Any, Any], tuple[Any, Any]]
    pinned: bool
    param_names: tuple[str, ...]
    slots: dict[str, Slot]
    ops: Ops
    noted: Noted | None
    own_methods: frozenset[str]
    has_own_methods_below: bool
    waits_for_optimizer: bool

    def absorbs(self, layer: Layer) -> bool:
        """Returns whether a sublayer can be replaced by its own sublayers without loss."""
        ...

    def param(self, name: str) -> Param:
        """Returns the declaration of a parameter."""
        ...

    @property
    def rng(self) -> Generator:
        """The generator for initial weights and dropout masks."""
        ...

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the layer's own parameters, or None if it has no weights."""
        ...

    def param_shape(self, name: str, sizes: Mapping[Any, int] | None = None) -> Shape:
        """Returns the shape of a parameter for the layer's dims, or for `sizes`."""
        ...

    def set_dim(self, name: str, size: int) -> None:
        """Sets an unknown dim."""
        ...
