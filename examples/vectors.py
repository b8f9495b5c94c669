"""Vectors of words, such as GloVe's: their files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from combinet.types import Floats2d
from lines import MalformedLine, numbered_lines


class Vectors(NamedTuple):
    """The vector of each word, in lower case, by its row."""

    words: list[str]
    table: Floats2d


def read_vectors(folder: Path) -> Vectors:
    """`words.txt.gz`, a word a line, with `vectors.npy`, a row a word.

    Raises MalformedLine, or OSError.
    """
    names, numbers = folder / "words.txt.gz", folder / "vectors.npy"
    words = [line for _, line in numbered_lines(names)]
    try:
        table: Any = np.load(numbers)
    except (ValueError, EOFError) as error:
        raise MalformedLine(f"{numbers}: {error}") from None
    if table.dtype.kind != "f" or table.ndim != 2 or len(table) != len(words):
        raise MalformedLine(
            f"{numbers}: expected floats, a row for each of the {len(words):,} words of {names}, "
            f"found {table.dtype} {table.shape}"
        )
    if not np.isfinite(table).all():
        raise MalformedLine(f"{numbers}: not all of its numbers are finite")
    return Vectors(words, table.astype("float32"))
