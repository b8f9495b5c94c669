"""Pairs of sentences with their relatedness, in the format of SICK.

The format is from http://alt.qcri.org/semeval2014/task1/: a line of column names, then one pair per
line, in columns separated by tabs.
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
    """Two sentences, their relatedness from 1 to 5, and whether A entails B (one of JUDGMENTS)."""

    first: list[str]
    second: list[str]
    score: float
    judgment: str


def words_of(sentence: str) -> list[str]:
    """Returns runs of letters and digits in lower case, and other characters except spaces."""
    return re.findall(r"\w+|[^\w\s]", sentence.lower())


def sentences(pairs: list[Pair]) -> tuple[list[str], list[str]]:
    """Returns the first and the second sentences of all pairs as text."""
    return [" ".join(pair.first) for pair in pairs], [" ".join(pair.second) for pair in pairs]


def encode(sentences: list[list[str]]) -> list[Keys]:
    """Returns hashes of each word, its first four letters and its last three letters."""
    return features(sentences, FEATURES)


def part(folder: Path, name: str) -> Path:
    """Returns the file of one part of the data: the plain file if it exists, else the gzipped."""
    plain = folder / f"{name}.tsv"
    return plain if plain.exists() else folder / f"{name}.tsv.gz"


def read_pairs(path: Path) -> list[Pair]:
    """Reads the pairs of a file, gzipped or not. Raises MalformedLine or OSError."""
    pairs = []
    for number, line in numbered_lines(path):
        try:
            columns = line.split("\t")
            if number > 1:
                pairs.append(parse_pair(columns))
            elif columns != COLUMNS:
                raise ValueError(f"expected the names {' '.join(COLUMNS)}, got {line[:60]!r}")
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
    if not pairs:
        raise MalformedLine(f"{path}: expected at least one pair, got none")
    return pairs


def parse_pair(columns: list[str]) -> Pair:
    """Parses the pair of one line. Raises ValueError."""
    if len(columns) != len(COLUMNS):
        raise ValueError(f"expected {len(COLUMNS)} columns separated by tabs, got {len(columns)}")
    _, first, second, score, judgment = columns
    if not re.fullmatch(r"[1-4](\.\d+)?|5(\.0+)?", score):
        raise ValueError(f"expected a score from 1 to 5, got {score!r}")
    if judgment not in JUDGMENTS:
        raise ValueError(f"expected one of {', '.join(JUDGMENTS)}, got {judgment!r}")
    A, B = words_of(first), words_of(second)
    if not A or not B:
        raise ValueError("expected two sentences, got one without words")
    return Pair(A, B, float(score), judgment)


def pearson(X: Floats1d, Y: Floats1d) -> float:
    """Returns Pearson's correlation, from -1 to 1, or 0 if X or Y is constant."""
    x, y = (np.asarray(each, "float64") - each.mean() for each in (X, Y))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0
