"""Compares all-MiniLM-L6-v2 in combinet, PyTorch and onnxruntime: vectors and speed.

    python benchmarks/minilm_speed.py --data DIR [--rounds N] [--seconds S] [--json FILE]

DIR contains SICK's test.tsv or test.tsv.gz, and the pretrained model's model.safetensors and
tokenizer.json. First, the benchmark prints the smallest cosine between each library's vectors of
200 sentences and combinet's, and Pearson's r of each library's cosines on the whole file.

Then it measures three batches: 64 sentences in their original order, 64 sorted ones (of similar
lengths, as sentence-transformers sorts them), and one sentence. The input is the ids of pieces.
Each library runs in its own process, in turn, in rounds. Milliseconds are the median of the rounds'
tenth percentiles: processor time with one thread, wall time with two. A ratio is a library's time
divided by combinet's.

PyTorch runs in two forms: `nn.TransformerEncoder`, whose fast path skips padding too, and plain
functions. onnxruntime runs the functions as PyTorch exports them. These three receive padded arrays
and masks, prepared before the clock starts; combinet receives lists.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import measure

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import sentence_encoder as bert
from combinet import with_threads
from sentence_pairs import part, pearson, read_pairs, sentences

Encode = Callable[[Any], Any]  # from the result of `Prepare` to vectors
Prepare = Callable[[list[Any]], Any]  # from the ids of a batch to a library's input
BATCH, SAME = 64, 200


def ours(folder: Path, threads: int) -> tuple[Prepare, Encode]:
    """Returns combinet's encoder."""
    encoder = bert.pooled(bert.read_bert(folder))
    return list, with_threads(encoder, threads).predict


def torch_modules(folder: Path, threads: int) -> tuple[Prepare, Encode]:
    """Returns the encoder made of PyTorch's modules."""
    import torch
    from torch import nn

    warnings.filterwarnings("ignore", "The PyTorch API of nested tensors")
    torch.set_num_threads(threads)
    W = _weights(folder)
    block = nn.TransformerEncoderLayer(
        bert.WIDTH, bert.HEADS, bert.HIDDEN, 0.0, "gelu", bert.EPS, batch_first=True
    )
    encoder = nn.TransformerEncoder(block, bert.DEPTH).eval()
    for i, layer in enumerate(encoder.layers):
        p = f"encoder.layer.{i}"
        names = [f"{p}.attention.self.{x}" for x in ("query", "key", "value")]
        state = {f"self_attn.in_proj_{x}": torch.cat([W[f"{name}.{x}"] for name in names])
                 for x in ("weight", "bias")}  # fmt: skip
        for mine, theirs in {
            "self_attn.out_proj": f"{p}.attention.output.dense",
            "linear1": f"{p}.intermediate.dense", "linear2": f"{p}.output.dense",
            "norm1": f"{p}.attention.output.LayerNorm", "norm2": f"{p}.output.LayerNorm",
        }.items():  # fmt: skip
            state |= {f"{mine}.{x}": W[f"{theirs}.{x}"] for x in ("weight", "bias")}
        layer.load_state_dict(state)

    def encode(batch: Any) -> Any:
        ids, real = batch
        with torch.inference_mode():
            X = encoder(_embedded(W, ids), src_key_padding_mask=~real)
            return _pooled(X, real).numpy()

    return _padded, encode


def torch_functions(folder: Path, threads: int) -> tuple[Prepare, Encode]:
    """Returns the encoder made of PyTorch's functions."""
    import torch

    torch.set_num_threads(threads)
    W = _weights(folder)

    def encode(batch: Any) -> Any:
        with torch.inference_mode():
            return _forward(W, *batch).numpy()

    return _padded, encode


def onnx(folder: Path, threads: int) -> tuple[Prepare, Encode]:
    """Returns the encoder in onnxruntime, with all optimizations."""
    import onnxruntime
    import torch

    W = _weights(folder)

    class Exported(torch.nn.Module):
        def forward(self, ids: Any, real: Any) -> Any:
            return _forward(W, ids, real)

    axes = {name: {0: "sentences", 1: "pieces"} for name in ("ids", "real")}
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, but the new exporter needs an extra
        path = str(Path(temporary, "minilm.onnx"))
        example = _padded([np.array([101, 102]), np.array([101, 7592, 102])])
        torch.onnx.export(
            Exported(), example, path, dynamo=False, opset_version=17,
            input_names=[*axes], output_names=["vectors"], dynamic_axes=axes,
        )  # fmt: skip
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

    def prepare(batch: list[Any]) -> Any:
        ids, real = _padded(batch)
        return {"ids": ids.numpy(), "real": real.numpy()}

    return prepare, lambda batch: session.run(None, batch)[0]


def _weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _padded(batch: list[Any]) -> Any:
    """Returns the padded ids in one array, and a mask of the real ones."""
    import torch

    ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.int64)
    for row, each in zip(ids, batch, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return ids, ids > 0


def _embedded(W: dict[str, Any], ids: Any) -> Any:
    from torch.nn import functional as F

    X = F.embedding(ids, W["embeddings.word_embeddings.weight"])
    X = X + W["embeddings.position_embeddings.weight"][: ids.shape[1]]
    return _norm(W, X + W["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")


def _norm(W: dict[str, Any], X: Any, name: str) -> Any:
    from torch.nn import functional as F

    return F.layer_norm(X, (bert.WIDTH,), W[f"{name}.weight"], W[f"{name}.bias"], bert.EPS)


def _pooled(X: Any, real: Any) -> Any:
    from torch.nn import functional as F

    return F.normalize((X * real[..., None]).sum(1) / real.sum(1, keepdim=True))


def _forward(W: dict[str, Any], ids: Any, real: Any) -> Any:
    from torch.nn import functional as F

    def affine(X: Any, name: str) -> Any:
        return F.linear(X, W[f"{name}.weight"], W[f"{name}.bias"])

    def heads(X: Any) -> Any:
        return X.unflatten(-1, (bert.HEADS, -1)).transpose(1, 2)

    X, mask = _embedded(W, ids), real[:, None, None]
    for i in range(bert.DEPTH):
        p = f"encoder.layer.{i}"
        Q, K, V = (heads(affine(X, f"{p}.attention.self.{x}")) for x in ("query", "key", "value"))
        Y = F.scaled_dot_product_attention(Q, K, V, mask).transpose(1, 2).flatten(2)
        X = _norm(
            W, X + affine(Y, f"{p}.attention.output.dense"), f"{p}.attention.output.LayerNorm"
        )
        Y = affine(F.gelu(affine(X, f"{p}.intermediate.dense")), f"{p}.output.dense")
        X = _norm(W, X + Y, f"{p}.output.LayerNorm")
    return _pooled(X, real)


LIBRARIES = {each.__name__: each for each in (ours, torch_modules, torch_functions, onnx)}


def speed(library: str, data: str, threads: int, seconds: float) -> list[float]:
    """Returns milliseconds for each of the three batches."""
    prepare, encode = LIBRARIES[library](Path(data), threads)
    ids = _ids(data)[0][: BATCH * 20]
    batches = (_batches(ids, BATCH), _batches(sorted(ids, key=len), BATCH), _batches(ids, 1))
    now = time.process_time if threads == 1 else time.perf_counter

    def clock(batches: list[list[Any]]) -> float:
        ready = [*map(prepare, batches)]
        step = lambda i: encode(ready[i % len(ready)])  # noqa: E731
        return measure.clock(step, seconds=seconds, least=20, now=now)[0]

    return [*map(clock, batches)]


def _batches(ids: list[Any], size: int) -> list[list[Any]]:
    return [ids[i : i + size] for i in range(0, len(ids), size)]


def quality(library: str, data: str) -> tuple[list[Any], float]:
    """Returns the vectors of the first sentences, and Pearson's r of the cosines of all pairs."""
    prepare, encode = LIBRARIES[library](Path(data), 1)
    sides = _ids(data)
    U, V = (
        np.concatenate([encode(prepare(batch)) for batch in _batches(ids, BATCH)]) for ids in sides
    )
    scores = np.array([pair.score for pair in read_pairs(part(Path(data), "test"))])
    return U[:SAME].tolist(), pearson((U * V).sum(axis=1), scores)


def _ids(data: str) -> tuple[list[Any], list[Any]]:
    tokenizer = bert.read_tokenizer(Path(data))
    first, second = sentences(read_pairs(part(Path(data), "test")))
    return bert.encode(tokenizer, first), bert.encode(tokenizer, second)


def main() -> None:
    """Compares the vectors, measures the speed and writes the figures."""
    parser = measure.options(__doc__)
    parser.add_argument("--data", required=True, help="folder of SICK's test part and the model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each batch in a round")
    given = parser.parse_args()
    figures: dict[str, Any] = {"quality": compare(given.data)}
    for threads in (1, 2):
        figures[f"threads: {threads}"] = race(given.data, threads, given.rounds, given.seconds)
    measure.write(given.json, figures)


def compare(data: str) -> list[tuple[str, float, float]]:
    """Prints and returns each library's smallest cosine with combinet's vectors, and its r."""
    found = {name: measure.alone(quality, name, data) for name in LIBRARIES}
    mine = np.array(found["ours"][0])
    rows = [
        (name, float((mine * np.array(vectors)).sum(axis=1).min()), r)
        for name, (vectors, r) in found.items()
    ]
    texts = [(name, f"{cosine:.7f}", f"{r:.5f}") for name, cosine, r in rows]
    measure.report(("", f"least cosine of {SAME}", "Pearson's r"), texts)
    return rows


def race(data: str, threads: int, rounds: int, seconds: float) -> dict[str, list[list[float]]]:
    """Measures all libraries in turn, in rounds. Prints the medians and returns all times."""
    environment = {f"{blas}_NUM_THREADS": str(threads) for blas in ("OMP", "OPENBLAS", "MKL")}
    seen: dict[str, list[Any]] = {name: [] for name in LIBRARIES}
    for _ in range(rounds):
        for name, times in seen.items():
            times.append(measure.alone(speed, name, data, threads, seconds, **environment))
    middle = {name: [statistics.median(ms) for ms in zip(*times, strict=True)]
              for name, times in seen.items()}  # fmt: skip
    rows = []
    for name, times in middle.items():
        ratios = [ms / own for ms, own in zip(times, middle["ours"], strict=True)]
        rows.append((name, *(x for both in zip(times, ratios, strict=True) for x in both)))
    columns = (f"{threads} threads, ms", "64", "ratio", "64 sorted", "ratio", "1", "ratio")
    measure.report(columns, rows)
    return seen


if __name__ == "__main__":
    main()
