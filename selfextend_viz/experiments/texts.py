"""Texts to measure on: a file, a folder, or a data set of the Hugging Face hub, read one text at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from selfextend_viz.positions import whole_number

SHORT_NAMES = {"pg19": "emozilla/pg19"}
"""Names the literature uses, and the data sets they mean. DeepMind's own upload of PG19 is a script, which
``datasets`` runs no more from version 4 on; this one holds the same books as Parquet files."""
TABLES = {".json": "json", ".jsonl": "json", ".parquet": "parquet", ".csv": "csv"}


def load_texts(
    source: str | Path,
    *,
    split: str = "test",
    column: str = "text",
    config: str | None = None,
    limit: int | None = None,
    at_least: int = 0,
) -> Iterator[str]:
    """Texts of a file, a folder or a data set, in their order; no more than one is held at a time.

    Parameters
    ----------
    source
        A UTF-8 text file, which is one text; a folder of ``.txt`` files, each one text; a ``.jsonl``, ``.parquet`` or
        ``.csv`` file with one text a row; a folder of such files; or the id of a data set on the Hugging Face hub,
        such as ``"emozilla/pg19"``, also called ``"pg19"`` here. A data set is streamed, not downloaded whole.
    split
        Which part of a data set, or of a folder of tables; a single file has no parts.
    column
        Where a table or a data set keeps its text.
    config
        Which of a data set's configurations, where it has several.
    limit
        How many texts at most; all of them if left out.
    at_least
        Texts of fewer UTF-8 bytes are left out. No tokenizer makes more tokens of a text than it has bytes, so what
        is shorter than a context cannot fill it.

    Yields
    ------
    str
        One text.

    Raises
    ------
    ModuleNotFoundError
        If a table or a data set is wanted and ``datasets`` is not installed.
    OSError
        At once, if there is no such file, or the hub cannot be reached.
    ValueError
        At once, if there is no such split or column; at the end, if no text was long enough.
    """
    if limit is not None:
        whole_number("limit", limit)
    whole_number("at_least", at_least, at_least=0)
    if not str(source):
        raise ValueError("the name of the texts has 0 characters; give a file, a folder or the id of a data set")
    found = _texts(source, split=split, column=column, config=config)
    return islice(_long_enough(found, source, at_least), limit)


def _long_enough(texts: Iterable[str], source: str | Path, at_least: int) -> Iterator[str]:
    seen = given = longest = 0
    for text in texts:
        size = len(text.encode(errors="surrogatepass"))
        seen, longest = seen + 1, max(longest, size)
        if size >= at_least:
            given += 1
            yield text
    if not given:
        raise ValueError(
            f"{source} has {seen} texts, the longest of {longest} bytes, but one of {max(at_least, 1)} is needed; "
            "give longer texts or a shorter context"
        )


def _texts(source: str | Path, *, split: str, column: str, config: str | None) -> Iterator[str]:
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() not in TABLES:
        return iter([path.read_text(encoding="utf-8")])
    if path.is_dir() and (files := sorted(path.glob("*.txt"))):
        return (file.read_text(encoding="utf-8") for file in files)
    if path.is_file():
        options: dict[str, Any] = {"path": TABLES[path.suffix.lower()], "data_files": str(path), "split": "train"}
    elif path.is_dir():
        options = {"path": str(path), "split": split, "name": config}
    elif path.suffix.lower() in (".txt", *TABLES) or str(source).startswith((".", "/", "~")):
        raise FileNotFoundError(f"there is no file or folder {path}; give one, or the id of a data set")
    else:
        options = {"path": SHORT_NAMES.get(str(source), str(source)), "split": split, "name": config}
    return _column(_opened(options), source, column)


def _opened(options: dict[str, Any]) -> Any:
    """The data set as a stream of rows; what ``datasets`` raises, said in one sentence."""
    try:
        from datasets import load_dataset
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "reading tables and data sets needs the library datasets: pip install 'selfextend-viz[lm-eval]'"
        ) from error
    try:
        return load_dataset(**options, streaming=True)
    except ConnectionError as error:
        raise ConnectionError(
            f"the data set {options['path']!r} is on the Hugging Face hub, which cannot be reached from here; "
            "give a local file or folder instead"
        ) from error
    except (FileNotFoundError, RuntimeError, ValueError) as error:  # RuntimeError: a data set that is a script
        raise ValueError(f"the data set {options['path']!r} cannot be opened: {error}") from error


def _column(rows: Iterable[dict[str, Any]], source: str | Path, column: str) -> Iterator[str]:
    """The texts of a stream of rows; the first row is looked at before any is handed out."""
    stream = iter(rows)
    first = list(islice(stream, 1))
    for row in first:
        if not isinstance(row.get(column), str):
            texts = [name for name, value in row.items() if isinstance(value, str)]
            raise ValueError(
                f"{source} has no texts in a column {column!r}; the columns with texts are {', '.join(texts) or 'none'}"
            )
    return (str(row[column]) for row in chain(first, stream) if row[column] is not None)
