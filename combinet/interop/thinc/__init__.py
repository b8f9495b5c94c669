"""Thinc 8: combinet's models as nodes of Thinc, and Thinc's models as layers of combinet."""

from combinet.extras import extra

with extra("spacy", "thinc"):
    from combinet.interop.thinc.inside import from_thinc
    from combinet.interop.thinc.outside import resize_output, to_thinc

__all__ = ["from_thinc", "resize_output", "to_thinc"]
