"""Compares spaCy's tok2vec with combinet's in a tagger: `spacy train` and `nlp.pipe`.

    python benchmarks/spacy_tagger.py FOLDER --rounds 3

FOLDER contains train.spacy, dev.spacy and test.spacy, written by `spacy convert`. combinet must be
installed with the extras `spacy` and `numba`. Each round trains both taggers with another seed,
then runs both on the texts of the test set, in turn. BLAS has one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

SPACYS = """
[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy.HashEmbedCNN.v2"
width = 96
depth = 4
embed_size = 2000
window_size = 1
maxout_pieces = 3
subword_features = true
pretrained_vectors = null
"""

COMBINETS = """
[components.tagger.model]
@architectures = "combinet.Tagger.v1"

[components.tagger.model.tok2vec]
@architectures = "combinet.Tok2Vec.v1"
width = 96
depth = 4
rows = [2000, 1000, 1000, 1000]
window_size = 1
maxout_pieces = 3
"""

CONFIG = """
[paths]
train = null
dev = null

[nlp]
lang = "en"
pipeline = ["tagger"]
batch_size = 256

[components]

[components.tagger]
factory = "tagger"
{model}
[corpora]

[corpora.train]
@readers = "spacy.Corpus.v1"
path = ${{paths.train}}

[corpora.dev]
@readers = "spacy.Corpus.v1"
path = ${{paths.dev}}

[training]
max_epochs = {epochs}
max_steps = 0
patience = 0
eval_frequency = 200

[training.batcher]
@batchers = "spacy.batch_by_words.v1"
size = 1000
tolerance = 0.2

[training.optimizer]
@optimizers = "Adam.v1"
"""

MODELS = {"spacy": SPACYS, "combinet": COMBINETS}


def seconds(run: Callable[[], Any], who: int) -> tuple[float, float]:
    """Returns wall time and processor time in seconds."""
    wall, before = time.perf_counter(), resource.getrusage(who)
    run()
    after = resource.getrusage(who)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - wall, cpu


def train(folder: Path, config: Path, out: Path, seed: int) -> tuple[float, float]:
    """Returns the wall time and the processor time of the whole command `spacy train`."""
    command = [sys.executable, "-m", "spacy"]
    full = config.with_suffix(".full.cfg")
    subprocess.run([*command, "init", "fill-config", str(config), str(full)], check=True,
                   capture_output=True)  # fmt: skip
    command += ["train", str(full), "--output", str(out), "--system.seed", str(seed)]
    for part in ("train", "dev"):
        command += [f"--paths.{part}", str(folder / f"{part}.spacy")]
    return seconds(
        lambda: subprocess.run(command, check=True, capture_output=True),
        resource.RUSAGE_CHILDREN,
    )


def main() -> None:
    """Trains, evaluates and runs both taggers in turn."""
    import spacy
    from spacy.tokens import DocBin
    from spacy.training import Corpus

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    blank = spacy.blank("en")
    docs = {
        part: list(DocBin().from_disk(options.folder / f"{part}.spacy").get_docs(blank.vocab))
        for part in ("train", "test")
    }
    trained_words = options.epochs * sum(map(len, docs["train"]))
    texts = [doc.text for doc in docs["test"]] * 3
    words = sum(map(len, blank.pipe(texts)))
    with TemporaryDirectory() as name:
        temporary = Path(name)
        for seed in range(options.rounds):
            pipelines = {}
            for name, model in MODELS.items():
                config, out = temporary / f"{name}.cfg", temporary / f"{name}-{seed}"
                config.write_text(CONFIG.format(model=model, epochs=options.epochs))
                wall, cpu = train(options.folder, config, out, seed)
                nlp = pipelines[name] = spacy.load(out / "model-best")
                score = nlp.evaluate(list(Corpus(options.folder / "test.spacy")(nlp)))["tag_acc"]
                print(
                    f"round {seed}  {name:8}  tag_acc {100 * score:.2f}  train {wall:.0f} s, "
                    f"words/s {trained_words / wall:,.0f} (processor time {cpu:.0f} s: "
                    f"{trained_words / cpu:,.0f})",
                    flush=True,
                )
            for _ in range(3):
                for name, nlp in pipelines.items():

                    def run(nlp: Any = nlp) -> None:
                        for _ in nlp.pipe(texts):
                            pass

                    wall, cpu = seconds(run, resource.RUSAGE_SELF)
                    print(
                        f"round {seed}  {name:8}  pipe words/s {words / wall:,.0f} "
                        f"(processor time: {words / cpu:,.0f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
