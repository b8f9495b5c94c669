"""The conversion of trained pipelines: copies the weights of spaCy's tok2vec to combinet's."""

from typing import Any

from combinet import InputError, StateError
from combinet.interop.spacy.tok2vec import FIRST_SEED, Tok2Vec

_MOVED = {f"spacy.{name}.v{n}" for name in ("HashEmbedCNN", "Tok2Vec") for n in (1, 2)}


def move(nlp: Any) -> Any:
    """Replaces the tok2vec models of a trained pipeline by combinet's with the same weights.

    Each `spacy.HashEmbedCNN` (v1 or v2) becomes a `combinet.Tok2Vec.v1` that computes the same
    vectors, and so does each `spacy.Tok2Vec` made of MultiHashEmbed and MaxoutWindowEncoder. Both
    the components and their config change, so the pipeline can be saved, loaded and trained
    further. The rest of the pipeline does not change. An error leaves the whole pipeline unchanged.

    Args:
        nlp: A trained pipeline. It is changed in place.

    Returns:
        The same pipeline.

    Raises:
        InputError: If the pipeline has no such tok2vec, or one of another architecture.
        StateError: If the pipeline is not trained.

    Example:
        >>> import spacy
        >>> spacy.util.fix_random_seed(0)
        >>> nlp = spacy.blank("en")
        >>> tok2vec = nlp.add_pipe("tok2vec")
        >>> optimizer = nlp.initialize()
        >>> before = nlp("Any words").tensor
        >>> bool(abs(move(nlp)("Any words").tensor - before).max() < 1e-5)
        True
    """
    moves = [
        (component, config, tok2vec, *_converted(tok2vec))
        for name, component in nlp.pipeline
        if hasattr(getattr(component, "model", None), "walk")
        for config, tok2vec in _pairs(name, nlp.get_pipe_config(name), component.model)
    ]
    if not moves:
        raise InputError(f"expected a tok2vec of spaCy, got the components {nlp.pipe_names}")
    for component, config, tok2vec, settings, node in moves:
        if component.model is tok2vec:
            component.model = node
        component.model.replace_node(tok2vec, node)
        config.clear()
        config |= {"@architectures": "combinet.Tok2Vec.v1"} | settings
    return nlp


def _pairs(name: str, config: Any, model: Any) -> list[tuple[dict[str, Any], Any]]:
    """Returns spaCy's tok2vecs in a component: for each, its block of the config and its node."""
    blocks = _blocks(config)
    nodes = [n for n in model.walk(order="dfs_pre") if {"embed", "encode"} <= {*n.ref_names}]
    if len(blocks) != len(nodes):
        raise InputError(f"{name} expected {len(blocks)} tok2vecs by its config, got {len(nodes)}")
    return list(zip(blocks, nodes, strict=True))


def _blocks(config: Any) -> list[dict[str, Any]]:
    """Returns the blocks of the config that name one of these architectures."""
    if not isinstance(config, dict):
        return []
    if config.get("@architectures") in _MOVED:
        return [config]
    return [block for value in config.values() for block in _blocks(value)]


def _converted(tok2vec: Any) -> tuple[dict[str, Any], Any]:
    """Returns the settings of spaCy's tok2vec for the config, and the new node with weights."""
    embed, encode = tok2vec.get_ref("embed"), tok2vec.get_ref("encode")
    tables, extractors = _named(embed, "hashembed"), _named(embed, "extract_features")
    vectors = _named(embed, "static_vectors")
    windows, encoders = _named(encode, "expand_window"), _named(encode, "maxout")
    expected = ["hashembed"] * len(tables) + ["static_vectors"] * len(vectors)
    expected += ["maxout", "layernorm"] * (1 + len(windows))
    sources = [node for node in tok2vec.walk(order="dfs_pre") if node.param_names]
    seeds = [node.attrs["seed"] for node in tables]
    if (
        [node.name for node in sources] != expected
        or not (tables and windows and len(extractors) == 1)
        or seeds != [*range(FIRST_SEED, FIRST_SEED + len(tables))]
    ):
        raise InputError(f"expected MultiHashEmbed and MaxoutWindowEncoder, got {tok2vec.name}")
    for node in sources:
        if not all(map(node.has_param, node.param_names)):
            raise StateError(f"{node.name} expected weights; first train or load the pipeline")
    settings = {
        "width": tables[0].get_dim("nO"),
        "depth": len(windows),
        "rows": [node.get_dim("nV") for node in tables],
        "window_size": windows[0].attrs["window_size"],
        "maxout_pieces": encoders[0].get_dim("nP"),
        "attrs": list(extractors[0].attrs["columns"]),
        "include_static_vectors": bool(vectors),
        "margins": True,
    }
    return settings, _with_weights(Tok2Vec(**settings), sources)


def _named(node: Any, name: str) -> list[Any]:
    return [each for each in node.walk(order="dfs_pre") if each.name == name]


def _with_weights(node: Any, sources: list[Any]) -> Any:
    layers = (layer for layer in node.shims[0].model.walk("dfs_pre") if layer.param_names)
    pairs = list(zip(layers, sources, strict=True))
    for layer, source in pairs:
        if source.name == "static_vectors":
            layer.set_dim("nI", source.get_dim("nM"))
    node.initialize()
    for layer, source in pairs:
        for name in source.param_names:  # static_vectors has no bias, so the layer's bias stays 0
            layer.set_param(name, source.get_param(name))
    return node
