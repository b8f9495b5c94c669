"""Features of words, as stable 64-bit hashes: what HashEmbed takes.

A feature's value is the BLAKE2b hash of its text, so that it is the same in every process and on
every machine. Each distinct word is worked out once a call; the rest is array work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, islice

import numpy as np

from combinet.errors import InputError, describe
from combinet.types import Ints

__all__ = ["DEFAULT", "Feature", "features", "hash_text", "lower", "prefix", "shape", "suffix"]

Feature = Callable[[str], str]


def lower(word: str) -> str:
    """The word in lower case."""
    return word.lower()


def prefix(length: int) -> Feature:
    """A feature: the first `length` characters.

    Example:
        >>> prefix(2)("tagger")
        'ta'
    """
    return lambda word: word[:length]


def suffix(length: int) -> Feature:
    """A feature: the last `length` characters.

    Example:
        >>> suffix(3)("tagger")
        'ger'
    """
    return lambda word: word[-length:] if length else ""


def shape(word: str) -> str:
    """Upper-case letters as X, others as x, digits as d; runs of one kind are cut off after 4.

    Example:
        >>> shape("Apple's"), shape("2026-11"), shape("internationally")
        ("Xxxxx'x", 'dddd-dd', 'xxxx')
    """
    runs = groupby(map(_kind, word))
    return "".join("".join(islice(run, 4)) for _, run in runs)


def _kind(char: str) -> str:
    """What a character is in a shape."""
    if char.isalpha():
        return "X" if char.isupper() else "x"
    return "d" if char.isdigit() else char


DEFAULT: tuple[Feature, ...] = (lower, prefix(1), suffix(3), shape)


def hash_text(text: str, salt: int = 0) -> int:
    """A 64-bit number for a text, the same everywhere; other salts give other numbers.

    Example:
        >>> hash_text("word") == hash_text("word") != hash_text("word", salt=1)
        True
    """
    from hashlib import blake2b  # here, since it loads OpenSSL, which few programs need

    digest = blake2b(text.encode("utf8", "surrogatepass"), digest_size=8, salt=bytes([salt]))
    return int.from_bytes(digest.digest(), "little")


def features(docs: Sequence[Sequence[str]], extract: Sequence[Feature] = DEFAULT) -> list[Ints]:
    """The features of each word of each document, hashed: (n,) words -> (n, features) uint64.

    By default there are four columns: lower-cased form, first character, last three, shape. The
    number of a column goes into its hashes. Raises InputError for a document that is a str.

    Example:
        >>> rows, empty = features([["The", "tagger", "the"], []])
        >>> rows.shape, rows.dtype, bool(rows[0, 0] == rows[2, 0]), empty.shape
        ((3, 4), dtype('uint64'), True, (0, 4))
    """
    docs = [docs] if isinstance(docs, str) else list(docs)
    for doc in docs:
        if isinstance(doc, str):
            raise InputError(f"a document is a list of words, not the text {doc!r}")
    index: dict[str, int] = {}
    try:
        numbers = [[index.setdefault(word, len(index)) for word in doc] for doc in docs]
        table = np.empty((len(index), len(extract)), dtype="uint64")
        for column, feature in enumerate(extract):
            texts = [*map(feature, index)]
            known = {text: hash_text(text, column) for text in {*texts}}
            table[:, column] = [known[text] for text in texts]
    except (TypeError, AttributeError):
        for word in (word for doc in docs for word in doc):
            if not isinstance(word, str):
                raise InputError(f"a word is a str, not {describe(word)}") from None
        raise
    return [table[doc] if doc else table[:0] for doc in numbers]
