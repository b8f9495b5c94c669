"""What passes, walks, shape rules and storage need of a layer, as a protocol."""

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


class Layer(Protocol):
    """A node of a tree of layers. `Model` is one; the code below it asks for nothing else.

    See `Model` for what each attribute means.
    """

    id: int
    name: str
    forward: Callable[[Any, Any, Any], tuple[Any, Backward]]
    layers: tuple[Any, ...]
    dims: dict[str, int | None]
    attrs: dict[str, Any]
    accepts: str
    widths: Callable[[Any, Any, Any, Any], tuple[Any, Any]]
    pinned: bool
    slots: dict[str, Slot]
    ops: Ops
    noted: Noted | None

    def absorbs(self, layer: Layer) -> bool:
        """Whether the layers of a sublayer stand for it without loss."""
        ...

    def param(self, name: str) -> Param:
        """The declaration of a parameter."""
        ...

    @property
    def rng(self) -> Generator:
        """The generator of initial weights and of dropout."""
        ...

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of the layer's own parameters; None if it has none yet."""
        ...

    @property
    def param_names(self) -> tuple[str, ...]:
        """The names of the layer's own parameters."""
        ...

    def param_shape(self, name: str, sizes: Mapping[Any, int] | None = None) -> Shape:
        """The shape of a parameter, by the layer's dims or by `sizes`."""
        ...

    def set_dim(self, name: str, size: int) -> None:
        """Give an unknown dim its size."""
        ...
