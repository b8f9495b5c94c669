"""examples/tag.py as a command: a treebank, broken files, an interruption, colours."""

import gzip
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import tag
from conllu import read_conllu
from helpers.commands import run_example, start_example
from helpers.errors import raises
from lines import MalformedLine
from tag import predict, score
from training import Recipe

WORDS = [
    ("the", "DET", "DT"),
    ("old", "ADJ", "JJ"),
    ("cats", "NOUN", "NNS"),
    ("sleep", "VERB", "VBP"),
]


def _treebank(path: Path, sentences: int) -> Path:
    lines = []
    for i in range(sentences):
        lines += [f"# sent_id = {i}", "1-2\tthe old" + "\t_" * 8]
        for n, (word, tag_, own) in enumerate(WORDS, 1):
            lines.append("\t".join([str(n), word, word, tag_, own, *"_____"]))
        lines += ["4.1\tghost" + "\t_" * 8, ""]
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def treebank(tmp_path: Path) -> list[str]:
    parts = {"train": 60, "dev": 5, "test": 5}
    paths = {
        p: _treebank(tmp_path / f"{p}.conllu{'.gz' * (p == 'dev')}", n) for p, n in parts.items()
    }
    return [arg for part, path in paths.items() for arg in (f"--{part}", str(path))]


def test_command_trains_on_a_treebank_and_saves_the_model(
    treebank: list[str], tmp_path: Path
) -> None:
    model = tmp_path / "models" / "upos.combinet"
    done = run_example("tag", *treebank, "--quick", "--model", str(model))
    assert done.returncode == 0, done.stderr
    assert "test accuracy 100.00%" in done.stdout
    assert re.search(r"epoch 1/2 +[\d,]+ words/s  loss [\d.]+  dev [\d.]+%  saved", done.stdout)
    tagger: Any = tag.build(**tag.TREEBANK_SIZES).from_disk(model)
    assert predict(tagger, tag.encode([["the", "cats"]])) == [["DET", "NOUN"]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tword", "10 ... columns ... 2"),
        ("2\tword\tword\tNOUN\t_\t_\t_\t_\t_\t_", "1 ... '2'"),
        ("x\tword\tword\tNOUN\t_\t_\t_\t_\t_\t_", "1 ... 'x'"),
        ("1\tword\tword\t_\t_\t_\t_\t_\t_\t_", "UPOS"),
        ("1\t\udcff\tword\tNOUN\t_\t_\t_\t_\t_\t_", "invalid start byte"),
    ],
)
def test_malformed_line_error_names_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.conllu"
    path.write_bytes(f"# a comment\n{line}\n".encode("utf8", "surrogateescape"))
    with raises(MalformedLine, f"{path}:2:", message):
        read_conllu(path)


def test_command_reports_a_malformed_line(treebank: list[str], tmp_path: Path) -> None:
    Path(treebank[1]).write_text("1\tword\n")
    done = run_example("tag", *treebank, "--model", str(tmp_path / "model"))
    assert done.returncode == 1
    assert re.fullmatch(rf"{re.escape(treebank[1])}:1: .*columns.*\n", done.stderr)
    assert not (tmp_path / "model").exists()


def test_command_names_a_missing_file(treebank: list[str]) -> None:
    done = run_example("tag", *treebank[:4], "--test", "nowhere.conllu")
    assert done.returncode == 1
    assert "nowhere.conllu" in done.stderr


def test_labels_combine_upos_and_xpos_tags(tmp_path: Path) -> None:
    sentences = read_conllu(_treebank(tmp_path / "a.conllu", 1))
    assert sentences == [([word for word, _, _ in WORDS], [f"{t}|{own}" for _, t, own in WORDS])]


def test_interrupted_run_keeps_the_best_model(treebank: list[str], tmp_path: Path) -> None:
    _treebank(Path(treebank[1]), 4000)
    model = tmp_path / "upos.combinet"
    process = start_example("tag", *treebank, "--model", model)
    while not model.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\ninterrupted: the best model so far is {model}\n"
    tagger: Any = tag.build(**tag.TREEBANK_SIZES).from_disk(model)
    assert score(tagger, tag.encode([["the"]]), [["DET"]])[0] == 1.0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_python_roles_can_be_learned_and_painted(tmp_path: Path) -> None:
    corpus = tag.python_corpus(5000)
    tagger = tag.learn(corpus, tag.PYTHON_SIZES, Recipe(tag.HIDDEN, epochs=1), tmp_path / "roles")
    painted = tag.colour(tagger, tag.python_source.FRAGMENT)
    assert re.sub("\x1b\\[\\d+m", "", painted) == tag.python_source.FRAGMENT
    assert painted != tag.python_source.FRAGMENT
