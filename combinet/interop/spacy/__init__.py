"""spaCy 3: architectures that a config file names, and trained pipelines moved to them.

spaCy finds the architectures, `combinet.Tok2Vec.v1` and so on, through entry points once combinet
is installed; nobody has to import this.
"""

from combinet.interop.extras import extra

with extra("spacy", "spacy", "thinc"):
    from spacy.util import registry

    from combinet.interop.spacy.heads import SpanCategorizer, Tagger, TextCat, TransitionBasedParser
    from combinet.interop.spacy.move import move
    from combinet.interop.spacy.tok2vec import Tok2Vec

__all__ = ["SpanCategorizer", "Tagger", "TextCat", "Tok2Vec", "TransitionBasedParser", "move"]

# Once more, for a checkout that is used without being installed: there it has to be imported.
for _each in (SpanCategorizer, Tagger, TextCat, Tok2Vec, TransitionBasedParser):
    registry.architectures(f"combinet.{_each.__name__}.v1", func=_each)
