"""Lines of a text file, gzipped or not. Errors contain the file and the line number."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path


class MalformedLine(ValueError):
    """A line in the wrong format. The message begins with the file and the line number."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields each line without its end, with its number from 1. Raises MalformedLine or OSError."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, raw.decode("utf8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MalformedLine(f"{path}:{number}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MalformedLine(f"{path}:{number + 1}: {error}") from None
