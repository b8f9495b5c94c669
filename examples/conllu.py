"""Sentences and their part-of-speech labels from CoNLL-U files, gzipped or not.

A label is the universal tag (UPOS). If the treebank has its own tag (XPOS), it refines the label:
`NOUN|NNS`.

The format is https://universaldependencies.org/format.html: ten columns separated by tabs. An empty
line ends a sentence, and lines with # are comments. Ranges (1-2) and empty nodes (1.1) are skipped.
"""

from pathlib import Path

from lines import MalformedLine, numbered_lines

Sentence = tuple[list[str], list[str]]


def read_conllu(path: Path) -> list[Sentence]:
    """Returns the words and labels of each sentence. Raises MalformedLine or OSError."""
    sentences: list[Sentence] = []
    words: list[str] = []
    labels: list[str] = []
    for number, line in numbered_lines(path):
        try:
            word, label = parse_line(line, len(words) + 1)
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
        if word is not None and label is not None:
            words.append(word)
            labels.append(label)
        elif not line and words:
            sentences.append((words, labels))
            words, labels = [], []
    if words:
        sentences.append((words, labels))
    if not sentences:
        raise MalformedLine(f"{path}: expected at least one sentence, got none")
    return sentences


def read_documents(path: Path) -> list[tuple[str, list[list[str]]]]:
    """Returns the id of each document, from its comment `# newdoc id = ...`, and its sentences.

    A sentence is the list of its words. Raises MalformedLine or OSError.
    """
    documents: list[tuple[str, list[list[str]]]] = []
    sentences: list[list[str]] = []
    for number, line in numbered_lines(path):
        if line.startswith("# newdoc id ="):
            sentences = [[]]
            documents.append((line.partition("=")[2].strip(), sentences))
        try:
            word, _ = parse_line(line, len(sentences[-1]) + 1 if sentences else 1)
        except ValueError as error:
            raise MalformedLine(f"{path}:{number}: {error}") from None
        if word is not None and sentences:
            sentences[-1].append(word)
        elif not line and sentences and sentences[-1]:
            sentences.append([])
    for _, each in documents:
        each[:] = filter(None, each)
    if not documents:
        raise MalformedLine(f"{path}: expected documents with '# newdoc id = ...', got none")
    return documents


def parse_line(line: str, expected_id: int) -> tuple[str | None, str | None]:
    """Returns the word and label of one line, or None twice if it has none. Raises ValueError."""
    if not line or line.startswith("#"):
        return None, None
    columns = line.split("\t")
    if len(columns) != 10:
        raise ValueError(
            f"expected 10 columns separated by tabs, got {len(columns)}: {line[:60]!r}"
        )
    number, word, tag, own = columns[0], columns[1], columns[3], columns[4]
    first, _, rest = number.partition("-" if "-" in number else ".")
    if rest and first.isdigit() and rest.isdigit():
        return None, None
    if number != str(expected_id):
        raise ValueError(f"expected word number {expected_id}, got {number!r}")
    if not word or not tag.isupper():
        raise ValueError(f"expected a word and its UPOS tag, got {word!r} and {tag!r}")
    return word, tag if own in ("_", tag) else f"{tag}|{own}"
