"""spaCy architectures in whole pipelines: training, saving, loading, resuming, freezing."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from helpers.commands import ROOT
from helpers.models import params_of

spacy = pytest.importorskip("spacy")

import thinc.api as thinc  # noqa: E402
from spacy.tokens import DocBin  # noqa: E402
from spacy.training import Example, loop  # noqa: E402
from spacy.training.initialize import init_nlp  # noqa: E402

import combinet.interop.spacy  # noqa: E402, F401

TOK2VEC = {
    "@architectures": "combinet.Tok2Vec.v1",
    "width": 16,
    "depth": 2,
    "rows": [50, 20, 20, 20],
}
LISTENER = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}


def component(name, **settings):
    return {"@architectures": f"combinet.{name}.v1", "tok2vec": TOK2VEC, **settings}


MODELS = {
    "tagger": component("Tagger"),
    "morphologizer": component("Tagger"),
    "senter": component("Tagger"),
    "trainable_lemmatizer": component("Tagger"),
    "textcat": component("TextCat", exclusive_classes=True),
    "textcat_multilabel": component("TextCat", exclusive_classes=False),
    "spancat": component("SpanCategorizer", hidden_size=8),
    "spancat_singlelabel": component("SpanCategorizer", exclusive_classes=True),
    "parser": component("TransitionBasedParser", state_type="parser"),
    "ner": component("TransitionBasedParser", state_type="ner"),
}

SENTENCES = [
    ("I like London", ["PRP", "VBP", "NNP"], [1, 1, 1], [(7, 13, "PLACE")], "good"),
    ("We all hate Paris", ["PRP", "DT", "VBP", "NNP"], [2, 0, 2, 2], [(12, 17, "PLACE")], "bad"),
    ("I hate rain", ["PRP", "VBP", "NN"], [1, 1, 1], [], "bad"),
    ("You like it", ["PRP", "VBP", "PRP"], [1, 1, 1], [], "good"),
]
TEXTS = [text for text, *_ in SENTENCES]


def examples(nlp):
    return [
        Example.from_dict(
            nlp.make_doc(text),
            {
                "tags": tags,
                "pos": ["NOUN" if tag[0] == "N" else "X" for tag in tags],
                "morphs": ["" for _ in tags],
                "lemmas": ["be" if tag == "VBP" else "thing" for tag in tags],
                "heads": heads,
                "deps": ["ROOT" if i == head else "dep" for i, head in enumerate(heads)],
                "entities": ents,
                "spans": {"sc": ents},
                "cats": {"good": float(cat == "good"), "bad": float(cat == "bad")},
            },
        )
        for text, tags, heads, ents, cat in SENTENCES
    ]


def trained(*names, steps=25, nlp=None):
    thinc.fix_random_seed(0)
    nlp = nlp or pipeline(*names)
    optimizer = nlp.initialize(lambda: examples(nlp))
    optimizer.learn_rate, optimizer.averages = 0.01, {}
    train(nlp, optimizer, steps)
    return nlp, optimizer


def pipeline(*names):
    nlp = spacy.blank("en")
    for name in names:
        rare = {"parser": {"min_action_freq": 1}, "trainable_lemmatizer": {"min_tree_freq": 1}}
        nlp.add_pipe(name, config={"model": MODELS[name], **rare.get(name, {})})
    return nlp


def train(nlp, optimizer, steps, **settings):
    for _ in range(steps):
        nlp.update(examples(nlp), sgd=optimizer, drop=0.1, **settings)


def annotations(doc):
    return (
        [(t.tag_, t.pos_, t.lemma_, t.is_sent_start, t.dep_, t.head.i, t.ent_type_) for t in doc],
        doc.cats,
        [(span.start, span.end, span.label_) for span in doc.spans.get("sc", [])],
    )


def outputs(nlp, **settings):
    return [annotations(doc) for doc in nlp.pipe(TEXTS, **settings)]


LEARNT = {
    "tagger": ("tag_acc", 1.0),
    "morphologizer": ("pos_acc", 1.0),
    "senter": ("sents_f", 1.0),
    "trainable_lemmatizer": ("lemma_acc", 1.0),
    "textcat": ("cats_macro_f", 1.0),
    "textcat_multilabel": ("cats_macro_auc", 1.0),
    "spancat": ("spans_sc_f", 1.0),
    "spancat_singlelabel": ("spans_sc_f", 1.0),
    "parser": ("dep_uas", 1.0),
    "ner": ("ents_f", 1.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_component_learns_a_tiny_corpus_and_saves_its_averages(name, tmp_path):
    nlp, optimizer = trained(name, steps=60)
    with nlp.use_params(optimizer.averages):
        score = nlp.evaluate(examples(nlp))
        averaged = outputs(nlp)
        nlp.to_disk(tmp_path)
    measure, least = LEARNT[name]
    assert score[measure] >= least
    loaded = spacy.load(tmp_path)
    assert outputs(loaded) == averaged
    assert loaded.to_bytes(exclude=["vocab"]) == spacy.load(tmp_path).to_bytes(exclude=["vocab"])


def test_use_params_applies_averages_only_inside_the_block():
    nlp, optimizer = trained("textcat", steps=3)
    before = outputs(nlp)
    with nlp.use_params(optimizer.averages):
        assert outputs(nlp) != before
    assert outputs(nlp) == before


def test_pipe_with_two_processes_matches_one():
    nlp, _ = trained("tagger", "ner")
    assert outputs(nlp, n_process=2, batch_size=1) == outputs(nlp)


@pytest.mark.parametrize("name", MODELS)
def test_component_models_can_be_pickled(name):
    nlp, _ = trained(name, steps=3)
    before = outputs(nlp)
    pipe = nlp.get_pipe(name)
    pipe.model = pickle.loads(pickle.dumps(pipe.model))
    assert outputs(nlp) == before


def test_loaded_pipeline_continues_training():
    nlp, _ = trained("tagger", steps=2)
    loaded = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    loss = [
        each.update(examples(each), sgd=each.resume_training())["tagger"] for each in (nlp, loaded)
    ]
    assert loss[0] == loss[1]
    train(loaded, loaded.resume_training(), 60)
    assert loaded.evaluate(examples(loaded))["tag_acc"] == 1.0


def test_sourced_component_is_unchanged_if_disabled():
    source, _ = trained("tagger")
    before = outputs(source)
    nlp = spacy.blank("en")
    nlp.add_pipe("tagger", source=source)
    nlp.add_pipe("textcat", config={"model": MODELS["textcat"]})
    nlp.get_pipe("textcat").initialize(lambda: examples(nlp), nlp=nlp)
    with nlp.select_pipes(disable=["tagger"]):
        train(nlp, nlp.resume_training(), 5)
    tags = [[token[0] for token in words] for words, *_ in before]
    assert [[token[0] for token in words] for words, *_ in outputs(nlp)] == tags


def shared_tok2vec():
    """A pipeline of three components that listen to the same tok2vec."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": TOK2VEC})
    for name in ("tagger", "ner", "spancat"):
        nlp.add_pipe(name, config={"model": MODELS[name] | {"tok2vec": LISTENER}})
    return nlp


def weights(nlp, name):
    return [
        array
        for node in nlp.get_pipe(name).model.walk(order="dfs_pre")
        for shim in node.shims
        for array in params_of(shim.model).values()
    ]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_components_train_a_shared_tok2vec_together():
    nlp, optimizer = trained(nlp=shared_tok2vec(), steps=60)
    with nlp.use_params(optimizer.averages):
        score = nlp.evaluate(examples(nlp))
    assert (score["tag_acc"], score["ents_f"], score["spans_sc_f"]) == (1.0, 1.0, 1.0)


def test_frozen_components_keep_their_weights():
    nlp, optimizer = trained(nlp=shared_tok2vec(), steps=5)
    before = {name: weights(nlp, name) for name in nlp.pipe_names}
    nlp.update(examples(nlp), sgd=optimizer, exclude=["tok2vec", "tagger"], annotates=["tok2vec"])
    after = {name: weights(nlp, name) for name in nlp.pipe_names}
    assert [same(before[name], after[name]) for name in nlp.pipe_names] == [True, True, True, False]


def test_replace_listeners_copies_the_tok2vec():
    nlp, optimizer = trained(nlp=shared_tok2vec(), steps=5)
    before = outputs(nlp)
    nlp.replace_listeners("tok2vec", "tagger", ["model.tok2vec"])
    assert outputs(nlp) == before
    copied = weights(nlp, "tagger")
    nlp.update(examples(nlp), sgd=optimizer, exclude=["tagger"])
    assert same(weights(nlp, "tagger"), copied)
    assert outputs(nlp) != before


@pytest.mark.parametrize("name", ["textcat", "textcat_multilabel"])
def test_categories_can_be_added_after_training(name):
    nlp, _ = trained(name)
    before = nlp(TEXTS[0]).cats
    nlp.get_pipe(name).add_label("new")
    after = nlp(TEXTS[0]).cats
    assert set(after) == {"good", "bad", "new"}
    if name == "textcat_multilabel":  # the new category does not affect the others
        assert {label: after[label] for label in before} == pytest.approx(before)
        assert after["new"] == pytest.approx(0.5)
    else:
        assert after["good"] / after["bad"] == pytest.approx(before["good"] / before["bad"], 1e-3)
    train(nlp, nlp.resume_training(), 2)
    reloaded = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert reloaded(TEXTS[0]).cats == nlp(TEXTS[0]).cats


@pytest.mark.parametrize("name", ["tagger", "spancat"])
def test_labels_can_be_added_after_training(name):
    nlp, _ = trained(name)
    pipe, before = nlp.get_pipe(name), weights(nlp, name)[-2:]
    pipe.add_label("NEW")
    pipe.set_output(len(pipe.labels))
    W, b = weights(nlp, name)[-2:]
    for old, new in zip(before, (W, b), strict=True):
        assert np.array_equal(new[:-1], old)
        assert not new[-1].any()
    assert pipe.model.get_dim("nO") == len(pipe.labels)
    train(nlp, nlp.resume_training(), 2)
    reloaded = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert outputs(reloaded) == outputs(nlp)


def test_static_vectors_of_the_vocabulary_are_used():
    nlp = spacy.blank("en")
    for i, word in enumerate(("I", "like", "hate")):
        nlp.vocab.set_vector(word, np.eye(4, dtype="float32")[i])
    model = component("Tagger") | {"tok2vec": TOK2VEC | {"include_static_vectors": True}}
    nlp.add_pipe("tagger", config={"model": model})
    trained(nlp=nlp, steps=60)
    assert nlp.evaluate(examples(nlp))["tag_acc"] == 1.0
    loaded = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert outputs(loaded) == outputs(nlp)


# -- the command line --------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path):
    """A path that simulates an installed combinet with the entry points of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = tmp_path / "path" / "combinet-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: combinet\nVersion: 0\n")
    lines = [
        line
        for group, names in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return os.pathsep.join([str(info.parent), str(ROOT)])


def corpus(path):
    nlp = spacy.blank("en")
    gold = [example.reference for example in examples(nlp)]
    for doc in gold:
        doc.spans["sc"] = list(doc.ents)
    DocBin(docs=gold, store_user_data=True).to_disk(path)
    return str(path)


@pytest.mark.parametrize("frozen", [[], ["tagger"]])
def test_config_can_source_a_component_from_a_pipeline(frozen, tmp_path):
    nlp, _ = trained("tagger")
    nlp.to_disk(tmp_path / "first")
    path = corpus(tmp_path / "corpus.spacy")
    textcat = {"factory": "textcat", "model": MODELS["textcat"]}
    config = spacy.blank("en").config
    config["nlp"]["pipeline"] = ["tagger", "textcat"]
    config["components"] = {"tagger": {"source": str(tmp_path / "first")}, "textcat": textcat}
    config["paths"] |= {"train": path, "dev": path}
    config["training"] |= {"max_steps": 20, "eval_frequency": 10, "frozen_components": frozen}
    resumed = init_nlp(config)
    assert same(weights(resumed, "tagger"), weights(nlp, "tagger"))
    loop.train(resumed, tmp_path)
    last = spacy.load(tmp_path / "model-last")
    assert same(weights(last, "tagger"), weights(nlp, "tagger")) == bool(frozen)
    assert last.evaluate(examples(last))["tag_acc"] == 1.0


def test_spacy_commands_find_the_architectures_by_entry_points(installed, tmp_path):
    nlp = shared_tok2vec()
    config = nlp.config.copy()
    config["paths"] = {"train": None, "dev": None, "vectors": None, "init_tok2vec": None}
    config["training"] |= {"max_steps": 40, "eval_frequency": 20, "patience": 0}
    config.to_disk(tmp_path / "config.cfg")
    corpus(tmp_path / "corpus.spacy")

    def run(*command):
        return subprocess.run(
            [sys.executable, "-m", "spacy", *command],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": installed},
            capture_output=True, text=True, check=True, timeout=100,
        ).stdout  # fmt: skip

    paths = ["--paths.train", "corpus.spacy", "--paths.dev", "corpus.spacy"]
    run("train", "config.cfg", "--output", "out", *paths)
    scores = run("evaluate", "out/model-best", "corpus.spacy")
    assert "TAG" in scores
    assert spacy.load(tmp_path / "out" / "model-last").evaluate(examples(nlp))["tag_acc"] > 0.9
