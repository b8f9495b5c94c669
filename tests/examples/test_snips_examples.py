"""examples/intents.py and examples/slots.py as commands; span F1 compared with hand counts.

The span F1 cases were counted by hand with the rules of conlleval (CoNLL-2000 shared task).
"""

import gzip
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import slots
import snips
from helpers.commands import run_example, start_example
from helpers.errors import raises
from lines import MalformedLine
from slots import Span, span_f1, spans
from vectors import read_vectors

REQUESTS = [
    ("PlayMusic", "play some jazz by miles davis", "O O B-genre O B-artist I-artist"),
    ("GetWeather", "will it rain in paris", "O O B-condition O B-city"),
    ("RateBook", "give this novel four stars", "O O B-type B-value B-unit"),
]


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for part, times in {"train": 30, "valid": 2, "test": 2}.items():
        _write(folder / f"{part}.tsv.gz", ["\t".join(request) for request in REQUESTS * times])
    return folder


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    folder = tmp_path / "vectors"
    folder.mkdir()
    _write(folder / "words.txt.gz", ["play", "jazz"])
    np.save(folder / "vectors.npy", np.array([[1, 2, 3], [4, 5, 6]], dtype="float16"))
    return folder


ANSWERS = {
    "intents": ("accuracy", r"play jazz by miles davis: PlayMusic \([\d.]+%\)"),
    "slots": ("span F1", r"play \[jazz: genre\] by \[miles davis: artist\]"),
}


@pytest.mark.parametrize("example", ["intents", "slots"])
def test_command_trains_and_answers_questions(
    example: str, data: Path, vectors: Path, tmp_path: Path
) -> None:
    model = tmp_path / "models" / "model"
    question = ["--model", model, "--vectors", vectors, "--ask", "Play jazz by Miles Davis!"]
    done = run_example(example, "--data", data, *question)
    assert done.returncode == 0, done.stderr
    figure, answer = ANSWERS[example]
    assert f"test {figure} 100.00%; for comparison:" in done.stdout
    assert re.search(r"epoch 1/\d+ +[\d,]+ words/s  loss [\d.]+  dev [\d.]+%  saved", done.stdout)
    assert re.fullmatch(answer, done.stdout.splitlines()[-1])
    again = run_example(example, *question)
    assert again.returncode == 0, again.stderr
    assert re.fullmatch(answer + "\n", again.stdout)
    without = run_example(example, "--model", model, "--ask", "play jazz")
    assert without.returncode == 1
    assert without.stderr.startswith(f"{model}: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("PlayMusic\tplay jazz", "3 ... columns ... 2"),
        ("PlayMusic\tplay jazz\tO", "tag ... 2 ... 1"),
        ("PlayMusic\tplay  jazz\tO O O", "intent"),
        ("\tplay jazz\tO O", "intent"),
        ("PlayMusic\tplay jazz\tO genre", "slot"),
        ("PlayMusic\tplay jazz\tO B-", "'B-'"),
        ("PlayMusic\t\udcff\tO", "invalid start byte"),
    ],
)
def test_malformed_line_error_names_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    good = "\t".join(REQUESTS[0])
    path.write_bytes(f"{good}\n{line}\n".encode("utf8", "surrogateescape"))
    with raises(MalformedLine, f"{path}:2:", message):
        snips.read_requests(path)


def test_damaged_and_empty_files_fail(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    _write(path, [])
    with raises(MalformedLine, "request"):
        snips.read_requests(path)
    path.write_bytes(b"no gzip")
    with raises(MalformedLine, f"{path}:1:", "gzipped"):
        snips.read_requests(path)
    whole = gzip.compress(("\t".join(REQUESTS[0]) + "\n").encode())
    path.write_bytes(whole[:-8])
    with raises(MalformedLine, f"{path}:2:", "ended"):
        snips.read_requests(path)


@pytest.mark.parametrize("example", ["intents", "slots"])
def test_command_reports_malformed_and_missing_files(
    example: str, data: Path, vectors: Path
) -> None:
    valid = data / "valid.tsv.gz"
    _write(valid, ["PlayMusic\tplay"])
    done = run_example(example, "--data", data)
    assert done.returncode == 1
    assert re.fullmatch(rf"{re.escape(str(valid))}:1: .*columns.*\n", done.stderr)
    valid.unlink()
    done = run_example(example, "--data", data)
    assert done.returncode == 1
    assert str(valid) in done.stderr
    (vectors / "vectors.npy").write_bytes(b"no array")
    done = run_example(example, "--data", data, "--vectors", vectors)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{vectors / 'vectors.npy'}: ")
    assert run_example(example).returncode == 2


def test_vectors_are_looked_up_by_word_and_scaled(vectors: Path) -> None:
    given = read_vectors(vectors)
    (keys,) = snips.encode([["jazz", "blues", "play"]], given)
    assert keys[:, snips.NUMBER].tolist() == [2, 0, 1]
    layer = next(node for node in snips.embed(8, given).walk() if node.name == "static_vectors")
    scale = np.std([1, 2, 3, 4, 5, 6])
    expected = np.array([[4, 5, 6], [0, 0, 0], [1, 2, 3]]) / scale
    np.testing.assert_allclose(layer.predict(keys), expected, rtol=1e-6)


def test_interrupted_run_keeps_the_best_model(data: Path, tmp_path: Path) -> None:
    _write(data / "train.tsv.gz", ["\t".join(request) for request in REQUESTS * 500])
    model = tmp_path / "model"
    process = start_example("slots", "--data", data, "--model", model)
    while not model.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\ninterrupted: the best model so far is {model}\n"
    answer = slots.answer([["play", "jazz"]], None, model)
    assert answer == ["play [jazz: genre]"]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-a I-a O", [Span(0, 2, "a")]),
        ("B-a B-a", [Span(0, 1, "a"), Span(1, 2, "a")]),  # adjacent slots of the same kind
        ("B-a I-a B-b", [Span(0, 2, "a"), Span(2, 3, "b")]),
        ("O I-a I-a", [Span(1, 3, "a")]),  # I- without B-
        ("B-a I-b I-b O I-a", [Span(0, 1, "a"), Span(1, 3, "b"), Span(4, 5, "a")]),  # other kind
        ("I-a B-a I-a", [Span(0, 1, "a"), Span(1, 3, "a")]),
        ("O B-a", [Span(1, 2, "a")]),  # to the end
    ],
)
def test_spans_are_found_from_tags(tags: str, expected: list[Span]) -> None:
    assert spans(tags.split()) == expected


@pytest.mark.parametrize(
    ("guesses", "truths", "f1"),
    [
        (["B-a I-a O"], ["B-a I-a O"], 1.0),
        (["B-a O O"], ["B-a I-a O"], 0.0),  # right kind, wrong words
        (["B-b I-b O"], ["B-a I-a O"], 0.0),  # right words, wrong kind
        (["O I-a B-b"], ["O B-a B-b"], 1.0),  # I- without B- starts a span
        (["B-a I-b"], ["B-a B-b"], 1.0),
        (["B-a I-a"], ["B-a B-a"], 0.0),
        # precision 2/3, recall 2/4, over both sentences together
        (["B-a O B-b", "B-c O"], ["B-a O B-b", "B-d B-c"], 2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4)),
        (["O B-a"], ["O O"], 0.0),
        (["O"], ["B-a"], 0.0),
        (["O"], ["O"], 0.0),
    ],
)
def test_span_f1_matches_hand_counts(guesses: list[str], truths: list[str], f1: float) -> None:
    reached = span_f1([line.split() for line in guesses], [line.split() for line in truths])
    assert reached == pytest.approx(f1)


def test_words_of_splits_like_the_files() -> None:
    assert snips.words_of("What's on at 8:30, please? ") == [
        "what",
        "s",
        "on",
        "at",
        "8:30",
        "please",
    ]
