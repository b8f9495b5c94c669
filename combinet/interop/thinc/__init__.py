"""Thinc 8: combinet's models as nodes of Thinc's, and Thinc's models as layers of combinet's."""

from combinet.interop.thinc.inside import from_thinc
from combinet.interop.thinc.outside import Shim, resize_output, to_thinc

__all__ = ["Shim", "from_thinc", "resize_output", "to_thinc"]
