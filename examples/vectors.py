"""Files of word vectors, such as GloVe's."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from combinet import Model, StaticVectors, premap_ids
from combinet.text import hash_text
from combinet.types import Floats2d, Ints
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


def look_up(vectors: Vectors) -> Model[Ints, Floats2d]:
    """Returns a layer that looks up word vectors by hash. Unknown words have zeros."""
    rows = {hash_text(word): row for row, word in enumerate(vectors.words, 1)}
    return premap_ids(rows, column=0) >> StaticVectors(np.pad(vectors.table, ((1, 0), (0, 0))))
