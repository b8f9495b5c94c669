"""Objects that save themselves: their bytes, and loading these."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from combinet.errors import CombinetError, FormatError, describe
from combinet.storage import file_format


def is_savable_object(value: object) -> bool:
    """Returns whether a value has `to_bytes` and `from_bytes`, or `to_disk` and `from_disk`."""
    if isinstance(value, type | int):  # an int has to_bytes, too
        return False
    return any(
        callable(getattr(value, f"to_{place}", None))
        and callable(getattr(value, f"from_{place}", None))
        for place in ("bytes", "disk")
    )


def is_layer_object(value: object) -> bool:
    """Returns whether a value is an object with `begin_update`."""
    return callable(getattr(value, "begin_update", None)) and not isinstance(value, type)


def has_state(value: object) -> bool:
    """Returns whether an object has attributes that a copy in another process would lack."""
    return bool(getattr(value, "__dict__", True))


def bytes_of(name: str, value: object, exclude: Mapping[str, bool]) -> bytes:
    """Returns what `value.to_bytes(**exclude)` returns, or the packed files of `to_disk`.

    Args:
        name: Name of the layer, for errors.
        value: An object for which `is_savable_object` is true.
        exclude: Content to leave out, as in `Model.to_bytes`.

    Raises:
        FormatError: If `to_bytes` returns anything but bytes.
    """
    obj: Any = value
    if not hasattr(obj, "to_bytes"):
        with _temporary_path() as path:
            obj.to_disk(path, **exclude)
            return file_format.encode("files", _files_in(path))
    data = obj.to_bytes(**exclude)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise FormatError(
            f"{name} expected {type(value).__name__}.to_bytes to return bytes, got {describe(data)}"
        )
    return bytes(data)


def load_bytes(name: str, value: object, data: bytes, exclude: Mapping[str, bool]) -> None:
    """Loads what `bytes_of` returned.

    Args:
        name: Name or path of the layer, for errors.
        value: The object.
        data: The bytes.
        exclude: Content to ignore, as in `Model.from_bytes`.

    Raises:
        FormatError: If the object cannot load the bytes.
    """
    obj: Any = value
    try:
        if hasattr(obj, "from_bytes"):
            obj.from_bytes(data, **exclude)
            return
        with _temporary_path() as path:
            _write_files(path, file_format.decode("files", data))
            obj.from_disk(path, **exclude)
    except CombinetError:
        raise
    except Exception as error:
        method = "from_bytes" if hasattr(value, "from_bytes") else "from_disk"
        raise FormatError(
            f"{name} expected bytes that {type(value).__name__}.{method} can load, got "
            f"{len(data)} bytes and this error: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _temporary_path() -> Iterator[str]:
    from tempfile import TemporaryDirectory  # slow, so `import combinet` avoids it

    with TemporaryDirectory() as folder:
        yield os.path.join(folder, "object")


def _files_in(path: str) -> dict[str, bytes]:
    """Returns the content of a file, under the name ".", or of all files below a folder."""
    if os.path.isfile(path):
        return {".": file_format.read(path)}
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return {os.path.relpath(each, path): file_format.read(each) for each in sorted(files)}


def _write_files(path: str, files: Any) -> None:
    if not isinstance(files, dict) or not all(isinstance(each, bytes) for each in files.values()):
        raise FormatError(f"expected files by name, got {describe(files)}")
    for name, content in files.items():
        target = os.path.normpath(os.path.join(path, str(name)))
        if target != path and not target.startswith(path + os.sep):
            raise FormatError(f"expected a file below the object's folder, got {name!r:.60}")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        file_format.write(target, content)
