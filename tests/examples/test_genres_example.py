"""examples/genres.py as a command, and documents of CoNLL-U files."""

import gzip
import re
from pathlib import Path

import numpy as np
import pytest

from conllu import read_documents
from helpers.commands import run_example
from helpers.errors import raises
from lines import MalformedLine

GENRES = {"reviews": ["great", "food"], "email": ["dear", "regards"]}


def _row(number: int, word: str) -> str:
    return "\t".join([str(number), word, "_", "NOUN", *"_" * 6])


def _treebank(path: Path, n: int, seed: int) -> None:
    """Writes documents of two sentences whose words show the genre."""
    rng, lines = np.random.default_rng(seed), []
    for i in range(n):
        genre = [*GENRES][i % 2]
        lines.append(f"# newdoc id = {genre}-{i:03}")
        for _ in range(2):
            words = [*rng.permutation(["the", "a", GENRES[genre][rng.integers(2)]]), "."]
            lines += [_row(j, word) for j, word in enumerate(words, 1)] + [""]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_command_trains_and_names_the_genre_of_a_text(tmp_path: Path) -> None:
    model = tmp_path / "genres.combinet"
    files = {part: tmp_path / f"{part}.conllu.gz" for part in ("train", "dev", "test")}
    for seed, (part, path) in enumerate(files.items()):
        _treebank(path, 40 if part == "train" else 10, seed)
    vectors = tmp_path / "vectors"
    vectors.mkdir()
    (vectors / "words.txt.gz").write_bytes(gzip.compress(b"great\ndear\n"))
    np.save(vectors / "vectors.npy", np.eye(2, dtype="float16"))
    given = [word for part, path in files.items() for word in (f"--{part}", str(path))]
    done = run_example("genres", *given, "--vectors", str(vectors), "--epochs", 6, "--model", model)
    assert re.search(r"\n +50\.00%  always 'reviews'\n +100\.00%  test accuracy\n", done.stdout)
    given = ["--vectors", vectors, "--model", model]
    asked = run_example("genres", "--ask", "The great food.", *given)
    assert re.fullmatch(r"reviews \([\d.]+%\)\n", asked.stdout)


def test_documents_are_lists_of_sentences(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    lines = ["# newdoc id = email-1", "# sent_id = 1", _row(1, "Dear"), _row(2, "Ann"), "",
             _row(1, "Bye"), "", "# newdoc id = weblog-2", _row(1, "Hello")]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf8")
    assert read_documents(path) == [
        ("email-1", [["Dear", "Ann"], ["Bye"]]), ("weblog-2", [["Hello"]]),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [
    ("", ["newdoc", "none"]), (_row(1, "Dear"), ["newdoc"]),
    ("# newdoc id = a\n" + _row(2, "Dear"), ["a.conllu:2", "word number 1"]),
])  # fmt: skip
def test_files_without_documents_are_refused(text: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text(text, encoding="utf8")
    with raises(MalformedLine, *words):
        read_documents(path)
