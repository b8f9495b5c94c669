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


def movable(model: Layer) -> list[Any]:
    """Returns the layers that move with the model: all except those below a pinned layer."""
    return [*_parents_first(model, below=lambda node: () if node.pinned else node.layers)]


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


def paths(model: Layer) -> dict[str, Any]:
    """Returns each layer once, depth-first, by the first path that leads to it."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    waiting = [(model.name, model)]
    while waiting:
        path, node = waiting.pop()
        if node.id not in seen:
            seen.add(node.id)
            found[path] = node
            names = [f"{path} >> {name}" for name in child_names(node.layers)]
            waiting.extend(reversed([*zip(names, node.layers, strict=True)]))
    return found


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
