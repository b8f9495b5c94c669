"""Pairs of sentences with how related they are, as SICK has them.

http://alt.qcri.org/semeval2014/task1/: columns parted by tabs, below a line that names them.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from combinet.text import features, lower, prefix, suffix
from combinet.types import Floats1d
from lines import MalformedLine, numbered_lines
from words import Keys

COLUMNS = ["pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment"]
JUDGMENTS = ("NEUTRAL", "ENTAILMENT", "CONTRADICTION")
FEATURES = (lower, prefix(4), suffix(3))


class Pair(NamedTuple):
    """Two sentences; how related they are, from 1 to 5; one of JUDGMENTS: whether A entails B."""

    first: list[str]
    second: list[str]
    score: float
    judgment: str


def words_of(sentence: str) -> list[str]:
    """Runs of letters and digits, in lower case, and every other character but spaces alone."""
    return re.findall(r"\w+|[^\w\s]", sentence.lower())


def sentences(pairs: list[Pair]) -> tuple[list[str], list[str]]:
    """The first and the second of all pairs, words parted by blanks."""
    return [" ".join(pair.first) for pair in pairs], [" ".join(pair.second) for pair in pairs]


def encode(sentences: list[list[str]]) -> list[Keys]:
    """The hashed features of each word: itself, its first four letters, its last three."""
    return features(sentences, FEATURES)


def part(folder: Path, name: str) -> Path:
    """The file of one part of the data: plain if it is there, else gzipped."""
    plain = folder / f"{name}.tsv"
    return plain if plain.exists() else folder / f"{name}.tsv.gz"


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file, gzipped or not. Raises MalformedLine, or OSError."""
    pairs = []
    for number, line in numbered_lines(path):
        try:
            columns = line.split("\t")
            if number > 1:
                pairs.append(parse_pair(columns))
            elif columns != COLUMNS:
                raise ValueError(f"expected the names {' '.join(COLUMNS)}, found {line[:60]!r}")
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
    if not pairs:
        raise MalformedLine(f"{path}: there is no pair in it")
    return pairs


def parse_pair(columns: list[str]) -> Pair:
    """The pair of one line. Raises ValueError, saying why."""
    if len(columns) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} columns parted by tabs, found {len(columns)}")
    _, first, second, score, judgment = columns
    if not re.fullmatch(r"[1-4](\.\d+)?|5(\.0+)?", score):
        raise ValueError(f"expected a score from 1 to 5, found {score!r}")
    if judgment not in JUDGMENTS:
        raise ValueError(f"expected one of {', '.join(JUDGMENTS)}, found {judgment!r}")
    A, B = words_of(first), words_of(second)
    if not A or not B:
        raise ValueError("expected two sentences, found one without words")
    return Pair(A, B, float(score), judgment)


def pearson(X: Floats1d, Y: Floats1d) -> float:
    """Pearson's correlation, from -1 to 1; 0 where one of the two is always the same."""
    x, y = (np.asarray(each, "float64") - each.mean() for each in (X, Y))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0
