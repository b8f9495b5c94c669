"""spaCy 3: architectures for config files, and the conversion of trained pipelines.

If combinet is installed, spaCy finds the architectures, such as `combinet.Tok2Vec.v1`, through
entry points. No import is needed.
"""

from combinet.extras import extra

with extra("spacy", "spacy", "thinc"):
    from spacy.util import registry

    from combinet.interop.spacy.heads import SpanCategorizer, Tagger, TextCat, TransitionBasedParser
    from combinet.interop.spacy.move import move
    from combinet.interop.spacy.tok2vec import Tok2Vec

__all__ = ["SpanCategorizer", "Tagger", "TextCat", "Tok2Vec", "TransitionBasedParser", "move"]

# A checkout that is not installed has no entry points: importing this package registers them.
for _each in (SpanCategorizer, Tagger, TextCat, Tok2Vec, TransitionBasedParser):
    registry.architectures(f"combinet.{_each.__name__}.v1", func=_each)
