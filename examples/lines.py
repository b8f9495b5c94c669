"""Lines of a text file, gzipped or not; what is wrong with one is reported with its place."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path


class MalformedLine(ValueError):
    """A line that is not what it should be; the message begins with file and line number."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1, without its end. Raises MalformedLine, or OSError."""
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield number, raw.decode("utf8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MalformedLine(f"{path}:{number}: {error}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MalformedLine(f"{path}:{number + 1}: {error}") from None
