"""spaCy 3: architectures that a config file names, and trained pipelines moved to them.

spaCy finds the architectures through entry points, `combinet.Tok2Vec.v1` and so on, once combinet
is installed; nobody has to import this.
"""

from combinet.interop.spacy.heads import (
    SpanCategorizer,
    Tagger,
    TextCat,
    TransitionBasedParser,
)
from combinet.interop.spacy.move import move
from combinet.interop.spacy.tok2vec import Tok2Vec

__all__ = ["SpanCategorizer", "Tagger", "TextCat", "Tok2Vec", "TransitionBasedParser", "move"]
