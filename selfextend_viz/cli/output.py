"""What a command leaves behind: a table on the terminal, rows as JSON, a figure as HTML."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from selfextend_viz import __version__

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Row = TypeVar("Row")


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where the rows and the figure go; made before the long work, so that a bad path fails at once."""

    json: Path | None
    html: Path | None

    def __post_init__(self) -> None:
        for option, path in (("--json", self.json), ("--html", self.html)):
            if path is not None:
                check_writable(option, path)

    def write_rows(self, command: str, settings: dict[str, Any], rows: Iterable[Any]) -> None:
        """Write the rows with what was asked, when ``--json`` was given."""
        if self.json is None:
            return
        content = {
            "selfextend_viz": __version__,
            "command": command,
            "settings": settings,
            "rows": [row if isinstance(row, dict) else {"row": type(row).__name__, **_fields(row)} for row in rows],
        }
        _replace(self.json, json.dumps(_finite(content), indent=1, allow_nan=False, default=str) + "\n")
        say(f"wrote {self.json}")

    def write_figure(self, figure: Figure) -> None:
        """Write the figure as one file that opens without a network, when ``--html`` was given."""
        if self.html is not None:
            _replace(self.html, figure.to_html(include_plotlyjs=True, full_html=True))
            say(f"wrote {self.html}")


def check_writable(option: str, path: Path) -> None:
    """Refuse a path that no file can be written to, in a sentence with the option."""
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; give a file name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{option} {path}: the folder {path.parent} cannot be written to; choose another")


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then rename: a reader sees the old content or the new, never a half."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _fields(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def _finite(value: Any) -> Any:
    """The value with ``None`` for the numbers that JSON cannot say."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_progress(rows: Iterator[Row], *, total: int | None, label: str) -> list[Row]:
    """All rows of an experiment, counted on a bar as they come."""
    collected = []
    with progress_bar() as bar:
        task = bar.add_task(label, total=total)
        for row in rows:
            collected.append(row)
            bar.advance(task)
        bar.update(task, total=len(collected))
    return collected


def progress_bar(count: ProgressColumn | None = None) -> Progress:
    """A bar on stderr, so that stdout holds the result alone; it shows steps done of all, or `count` instead."""
    columns = (TextColumn("{task.description}"), BarColumn(), count or MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def cost_bar() -> Progress:
    """A bar that moves by what steps cost; how many are done is the task's field ``count``."""
    return progress_bar(TextColumn("{task.fields[count]}"))


def say(text: str) -> None:
    """One dim line on stderr about what is going on."""
    Console(stderr=True).print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def print_table(title: str, columns: Sequence[str], lines: Iterable[Sequence[str]], *, words: Sequence[str]) -> None:
    """Print a table; the columns named in `words` stand to the left, the numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", overflow="fold")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


def print_text(text: str) -> None:
    """Print plain text, wrapped to the terminal, with no markup read into it."""
    Console().print(text, markup=False, highlight=False)
