"""Walks over a tree of layers, the paths of its layers, and its text representation."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from combinet.core.layer import Layer
from combinet.errors import child_names


def walk(model: Layer, order: str = "bfs") -> Iterator[Any]:
    """Iterates over all layers, each once. See `Model.walk`."""
    if order not in ("bfs", "dfs_pre", "dfs_post"):
        raise ValueError(f"expected order 'bfs', 'dfs_pre' or 'dfs_post', got {order!r}")
    return _children_first(model) if order == "dfs_post" else _parents_first(model, order == "bfs")


def divide(model: Layer, *methods: str, pinned: bool = True) -> tuple[list[Any], list[Any]]:
    """Divides a tree between the model and the sublayers that define one of these methods.

    Args:
        model: Root of the tree. It belongs to the first part, whatever it defines.
        methods: Names of methods, of `combinet.core.own_methods.METHODS`.
        pinned: Whether to visit the layers below a pinned layer.

    Returns:
        The layers that the model answers for, and the topmost sublayers that define a method. The
        layers below these belong to neither part, unless they also occur elsewhere.
    """

    def answers(node: Any) -> bool:
        return node is model or node.own_methods.isdisjoint(methods)

    def below(node: Any) -> Sequence[Any]:
        return node.layers if answers(node) and (pinned or not node.pinned) else ()

    nodes = [*_parents_first(model, below=below)]
    if not model.has_own_methods_below:
        return nodes, []
    return [n for n in nodes if answers(n)], [n for n in nodes if not answers(n)]


def _parents_first(
    model: Layer,
    breadth_first: bool = False,
    below: Callable[[Any], Sequence[Any]] = attrgetter("layers"),
) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = deque([model])
    while waiting:
        node = waiting.popleft()
        if node.id in seen:
            continue
        seen.add(node.id)
        yield node
        if breadth_first:
            waiting.extend(below(node))
        else:
            waiting.extendleft(reversed(below(node)))


def _children_first(model: Layer) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [(model, False)]
    while waiting:
        node, entered = waiting.pop()
        if entered:
            yield node
        elif node.id not in seen:
            seen.add(node.id)
            waiting.append((node, True))
            waiting.extend((layer, False) for layer in reversed(node.layers))


def paths(
    model: Layer, below: Callable[[Any], Sequence[Any]] = attrgetter("layers")
) -> dict[str, Any]:
    """Returns each layer once, depth-first, by the first path that leads to it."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting = [(model.name, model)]
    while waiting:
        path, node = waiting.pop()
        if node.id not in seen:
            seen.add(node.id)
            found[path] = node
            layers = below(node)
            names = [f"{path} >> {name}" for name in child_names(layers)]
            waiting.extend(reversed([*zip(names, layers, strict=True)]))
    return found


def route(model: Layer, layer: Layer) -> list[Any]:
    """Returns the layers from the root of a tree to a layer, depth-first, or only the layer."""
    above: dict[int, list[Any]] = {model.id: [model]}
    for node in walk(model, "dfs_pre"):
        for child in node.layers:
            above.setdefault(child.id, [*above[node.id], child])
    return above.get(layer.id, [layer])


def draw(model: Layer) -> str:
    """Returns the text of `repr(model)`: one line per layer, with its dims and parameter count."""
    lines: list[tuple[str, str, str]] = []
    seen: set[int] = set()
    total = 0
    waiting = [(model, 0)]
    while waiting:
        node, depth = waiting.pop()
        dims = [f"{name}={'?' if size is None else size}" for name, size in node.dims.items()]
        shown = "(shared)"
        if node.id not in seen:
            seen.add(node.id)
            count = sum(slot.stop - slot.start for slot in node.slots.values())
            total += count
            shown = f"{count:,}" if count else ""
            waiting.extend((layer, depth + 1) for layer in reversed(node.layers))
        lines.append(("  " * depth + node.name, " ".join(dims), shown))
    widest = [max(len(line[column]) for line in lines) for column in range(3)]
    state = f"{total:,} parameters" if total else "no parameters"
    if any(node.param_names and not node.slots for node in walk(model)):
        state += ", not initialized"
    rows = [
        f"{name:<{widest[0]}}  {dims:<{widest[1]}}  {count:>{widest[2]}}".rstrip()
        for name, dims, count in lines
    ]
    return "\n".join([f"{model.name}: {state}", *rows[1:]] if len(rows) > 1 else
                     [f"{rows[0]}: {state}"])  # fmt: skip
