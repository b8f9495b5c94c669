"""Files of word vectors, such as GloVe's."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from combinet.types import Floats2d
from lines import MalformedLine, numbered_lines


class Vectors(NamedTuple):
    """Words in lower case, and a table with the vector of each word in the same row."""

    words: list[str]
    table: Floats2d


def read_vectors(folder: Path) -> Vectors:
    """Reads `words.txt.gz`, with one word per line, and `vectors.npy`, with one row per word.

    Raises MalformedLine or OSError.
    """
    names, numbers = folder / "words.txt.gz", folder / "vectors.npy"
    words = [line for _, line in numbered_lines(names)]
    try:
        table: Any = np.load(numbers)
    except (ValueError, EOFError) as error:
        raise MalformedLine(f"{numbers}: {error}") from None
    if table.dtype.kind != "f" or table.ndim != 2 or len(table) != len(words):
        raise MalformedLine(
            f"{numbers}: expected floats, one row for each of the {len(words):,} words of {names}, "
            f"got {table.dtype} {table.shape}"
        )
    if not np.isfinite(table).all():
        raise MalformedLine(f"{numbers}: expected finite numbers, got infinity or NaN")
    return Vectors(words, table.astype("float32"))
