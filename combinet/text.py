"""Features of words as stable 64-bit hashes, the input of `HashEmbed`.

The value of a feature is the BLAKE2b hash of its text, so it is the same in every process and on
every machine. Each call of `features` computes the features of each distinct word once.
"""

from collections.abc import Callable, Sequence
from itertools import groupby, islice

import numpy as np

from combinet.errors import InputError, describe
from combinet.types import Ints

__all__ = ["DEFAULT", "Feature", "features", "hash_text", "lower", "prefix", "shape", "suffix"]

Feature = Callable[[str], str]


def lower(word: str) -> str:
    """Returns the word in lower case.

    Args:
        word: Word of a text.

    Example:
        >>> lower("Tagger")
        'tagger'
    """
    return word.lower()


def prefix(length: int) -> Feature:
    """Returns a feature function: the first `length` characters of a word.

    Args:
        length: Number of characters.

    Example:
        >>> prefix(2)("tagger")
        'ta'
    """
    return lambda word: word[:length]


def suffix(length: int) -> Feature:
    """Returns a feature function: the last `length` characters of a word.

    Args:
        length: Number of characters.

    Example:
        >>> suffix(3)("tagger")
        'ger'
    """
    return lambda word: word[-length:] if length else ""


def shape(word: str) -> str:
    """Returns a word with upper-case letters as X, other letters as x and digits as d.

    Runs of the same character in the result are cut to 4.

    Args:
        word: Word of a text.

    Example:
        >>> shape("Apple's"), shape("2026-11"), shape("internationally")
        ("Xxxxx'x", 'dddd-dd', 'xxxx')
    """
    runs = groupby(map(_shape_of_char, word))
    return "".join("".join(islice(run, 4)) for _, run in runs)


def _shape_of_char(char: str) -> str:
    if char.isalpha():
        return "X" if char.isupper() else "x"
    return "d" if char.isdigit() else char


DEFAULT: tuple[Feature, ...] = (lower, prefix(1), suffix(3), shape)


def hash_text(text: str, salt: int = 0) -> int:
    """Returns a 64-bit hash of a text, the same in every process and on every machine.

    Args:
        text: Text to hash, of any length.
        salt: A number from 0 to 255. Different salts give independent hashes.

    Example:
        >>> hash_text("word") == hash_text("word") != hash_text("word", salt=1)
        True
    """
    from hashlib import blake2b  # here, because it loads OpenSSL, which few programs need

    digest = blake2b(text.encode("utf8", "surrogatepass"), digest_size=8, salt=bytes([salt]))
    return int.from_bytes(digest.digest(), "little")


def features(docs: Sequence[Sequence[str]], extract: Sequence[Feature] = DEFAULT) -> list[Ints]:
    """Returns the hashed features of each word: a uint64 array (n, features) for each document.

    The number of a column is the salt of its hashes, so equal texts differ between columns.

    Args:
        docs: Documents, each a list of n words.
        extract: One function of a word for each column. By default there are four: the lower-cased
            word, its first character, its last three characters, and its shape.

    Raises:
        InputError: If a document is a str instead of a list of words, or a word is not a str.

    Example:
        >>> rows, empty = features([["The", "tagger", "the"], []])
        >>> rows.shape, rows.dtype, bool(rows[0, 0] == rows[2, 0]), empty.shape
        ((3, 4), dtype('uint64'), True, (0, 4))
    """
    docs = [docs] if isinstance(docs, str) else list(docs)
    for doc in docs:
        if isinstance(doc, str):
            raise InputError(f"expected a list of words as document, got the text {doc!r:.60}")
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
                raise InputError(f"expected a str as word, got {describe(word)}") from None
        raise
    return [table[doc] if doc else table[:0] for doc in numbers]
