"""examples/sick.py as a command: small data, broken files, an interruption, two sentences."""

import gzip
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sick
from combinet import DimensionError, Ragged
from combinet.testing import check_layer
from helpers.commands import run_example, start_example
from helpers.errors import raises
from lines import MalformedLine
from relatedness import align, build
from sentence_pairs import Pair, read_pairs, words_of
from vectors import Vectors, read_vectors

HEADER = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
WORDS = ["a", "man", "woman", "dog", "cat", "runs", "sleeps", "sings", "no", "."]


def _sentence(rng: np.random.Generator) -> str:
    return f"A {rng.choice(WORDS[1:5])} {rng.choice(WORDS[5:8])}."


def _pairs(path: Path, n: int, seed: int) -> None:
    """Writes pairs of three-word sentences whose score grows with the words in common."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        A, B = _sentence(rng), _sentence(rng)
        shared = len({*A.split()} & {*B.split()})
        judgment = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")[shared - 1]
        lines.append(f"{i}\t{A}\t{B}\t{2 * shared - 1}.0\t{judgment}\n")
    text = HEADER + "".join(lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    data, vectors = tmp_path / "data", tmp_path / "vectors"
    data.mkdir()
    vectors.mkdir()
    _pairs(data / "train.tsv.gz", 800, 0)
    _pairs(data / "dev.tsv", 40, 1)
    _pairs(data / "test.tsv", 40, 2)
    (vectors / "words.txt.gz").write_bytes(gzip.compress("\n".join(WORDS).encode()))
    table = np.random.default_rng(0).normal(0, 0.5, (len(WORDS), 8))
    np.save(vectors / "vectors.npy", table.astype("float16"))
    return ["--data", str(data), "--vectors", str(vectors)]


def test_command_trains_and_compares_two_sentences(folders: list[str], tmp_path: Path) -> None:
    model = ["--model", str(tmp_path / "models" / "sick.combinet")]
    done = run_example("sick", *folders, "--quick", *model)
    assert done.returncode == 0, done.stderr
    assert "pairs: 800 to train, 40 dev, 40 test" in done.stdout
    assert re.search(r"epoch 1/4 +[\d,]+ pairs/s  loss [\d.]+  dev r [\d.]+  saved", done.stdout)
    found = re.search(r"test: Pearson's r ([\d.]+), judgments", done.stdout)
    assert found
    assert float(found[1]) > 0.9
    baseline = re.search(r"(\d\.\d\d)  cosine of averaged vectors, here", done.stdout)
    assert baseline
    assert done.stdout.count("A man is playing a guitar.") == len(sick.EXAMPLES)
    same = run_example("sick", *folders[2:], *model, "--compare", "A dog runs.", "A dog runs.")
    other = run_example("sick", *folders[2:], *model, "--compare", "A dog runs.", "A cat sleeps.")
    assert same.returncode == other.returncode == 0
    assert float(same.stdout.split()[0]) > 4 > 2 > float(other.stdout.split()[0])
    assert same.stdout.split()[1] == "entailment"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\tA dog.", "5 ... columns ... 2"),
        ("1\tA dog.\tA cat.\t5.1\tNEUTRAL", "score ... '5.1'"),
        ("1\tA dog.\tA cat.\tnan\tNEUTRAL", "score ... 'nan'"),
        ("1\tA dog.\tA cat.\t3\tMAYBE", "NEUTRAL ... ENTAILMENT ... CONTRADICTION"),
        ("1\t \tA cat.\t3\tNEUTRAL", "sentences"),
        ("1\t\udcff\tA cat.\t3\tNEUTRAL", "invalid start byte"),
    ],
)
def test_malformed_line_error_names_file_and_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    path.write_bytes(f"{HEADER}{line}\n".encode("utf8", "surrogateescape"))
    with raises(MalformedLine, f"{path}:2:", message):
        read_pairs(path)


def test_truncated_file_fails(tmp_path: Path) -> None:
    path = tmp_path / "cut.tsv.gz"
    _pairs(path, 2000, 0)
    path.write_bytes(path.read_bytes()[:-100])
    with raises(MalformedLine, path, "end-of-stream"):
        read_pairs(path)


def test_file_without_pairs_or_header_fails(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text(HEADER)
    with raises(MalformedLine, "pair"):
        read_pairs(path)
    path.write_text("1\tA dog.\tA cat.\t3\tNEUTRAL\n")
    with raises(MalformedLine, "train.tsv:1", "pair_ID", "sentence_A"):
        read_pairs(path)


def test_command_reports_a_malformed_file_and_writes_nothing(
    folders: list[str], tmp_path: Path
) -> None:
    dev = Path(folders[1], "dev.tsv")
    dev.write_text(f"{HEADER}1\tA dog.\n")
    done = run_example("sick", *folders, "--model", str(tmp_path / "models" / "sick.combinet"))
    assert done.returncode == 1
    assert re.fullmatch(rf"{re.escape(str(dev))}:2: .*columns.*\n", done.stderr)
    assert not (tmp_path / "models").exists()
    dev.unlink()
    done = run_example("sick", *folders)
    assert done.returncode == 1
    assert f"{dev}.gz" in done.stderr


def test_invalid_vectors_fail(folders: list[str]) -> None:
    folder = Path(folders[3])
    np.save(folder / "vectors.npy", np.zeros((3, 8), "float16"))
    with raises(MalformedLine, "10", "words"):
        read_vectors(folder)
    np.save(folder / "vectors.npy", np.full((10, 8), np.inf, "float16"))
    with raises(MalformedLine, "finite"):
        read_vectors(folder)
    (folder / "vectors.npy").write_bytes(b"no array")
    with raises(MalformedLine, folder / "vectors.npy"):
        read_vectors(folder)


@pytest.mark.parametrize("args", [[], ["--vectors", "x"], ["--compare", "a", "b"]])
def test_command_reports_missing_arguments(args: list[str]) -> None:
    done = run_example("sick", *args)
    assert done.returncode == 2
    assert "--data" in done.stderr


def test_interrupted_run_keeps_the_best_model(folders: list[str], tmp_path: Path) -> None:
    _pairs(Path(folders[1], "train.tsv.gz"), 1500, 0)
    model = tmp_path / "sick.combinet"
    process = start_example("sick", *folders, "--model", model)
    while not model.exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == f"\ninterrupted: the best model so far is {model}\n"
    rater: Any = build(read_vectors(Path(folders[3]))).from_disk(model)
    assert rater.predict(sick.sides([Pair(["a"], ["dog"], 1.0, "NEUTRAL")])).shape == (1, 8)


def test_align_satisfies_the_invariants() -> None:
    rng = np.random.default_rng(0)
    first = Ragged(rng.normal(size=(7, 3)), [2, 4, 1])
    check_layer(align(), (first, Ragged(rng.normal(size=(6, 3)), [3, 1, 2])))


def test_align_compares_each_word_with_the_other_sentence() -> None:
    U, V = np.array([[1.0, 2.0]]), np.array([[3.0, 5.0], [3.0, 5.0]])
    Y = align().predict((Ragged(U, [1]), Ragged(V, [2])))
    assert Y.lengths.tolist() == [3]
    np.testing.assert_allclose(Y.data, [[2, 3, 3, 10]] * 3, rtol=1e-12)


def test_align_doubles_the_width() -> None:
    from combinet import Linear, siamese, with_array

    siamese(with_array(Linear(4)), align() >> with_array(Linear(2, 8)))
    with pytest.raises(DimensionError):
        siamese(with_array(Linear(4)), align() >> with_array(Linear(2, 4)))


def test_pearson_matches_numpy() -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.normal(3, 1, (2, 50))
    assert sick.pearson(X, X + Y) == pytest.approx(np.corrcoef(X, X + Y)[0, 1], rel=1e-12)
    assert sick.pearson(X, -X) == pytest.approx(-1)
    assert sick.pearson(X, np.ones(50)) == 0


def test_mean_of_a_target_is_the_score() -> None:
    pairs = [Pair(["a"], ["a"], score, "ENTAILMENT") for score in (1.0, 2.4, 3.95, 5.0)]
    rows = sick.targets(pairs)
    assert (rows[:, :5] @ np.arange(1, 6)).tolist() == pytest.approx([1.0, 2.4, 3.95, 5.0])
    assert rows[:, :5].sum(axis=1).tolist() == pytest.approx([1] * 4)
    assert ((rows[:, :5] > 0).sum(axis=1) <= 2).all()
    assert rows[:, 5:].tolist() == [[0, sick.JUDGMENT_WEIGHT, 0]] * 4


def test_baseline_is_the_cosine_of_averaged_vectors() -> None:
    vectors = Vectors(["a", "b", "c"], np.array([[1, 0], [0, 1], [1, 1]], "float32"))
    pairs = [
        Pair(["a"], ["a", "a"], 5.0, "NEUTRAL"),
        Pair(["a", "b"], ["a", "unknown"], 3.0, "NEUTRAL"),
        Pair(["a"], ["b"], 1.0, "NEUTRAL"),
    ]
    expected = np.corrcoef([1, np.sqrt(0.5), 0], [5, 3, 1])[0, 1]
    assert sick.averaged_cosine(vectors, pairs) == pytest.approx(expected, rel=1e-6)


def test_words_are_lower_case_and_punctuation_is_separate() -> None:
    assert words_of("A dog isn't  here!") == ["a", "dog", "isn", "'", "t", "here", "!"]
