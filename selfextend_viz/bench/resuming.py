"""Rows and stages of a benchmark that was cut short, so that it goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfextend_viz.bench.rows import BenchRow, RateRow, Row, SkippedRow

__all__ = ["Measured", "measured_before", "rows_in", "rows_of"]

KINDS: dict[str, type[Row]] = {kind.__name__: kind for kind in (BenchRow, RateRow, SkippedRow)}
SAME = ("device", "kind", "threads", "runs", "python", "torch", "quick", "group_size")


@dataclass
class Measured:
    """What a benchmark holds so far: its rows, and the names of the stages that gave them."""

    rows: list[Row] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)


def rows_in(path: Path | str) -> list[Row]:
    """The rows of a file that ``selfextend-viz bench --json`` wrote.

    Raises
    ------
    ValueError
        If another command wrote it.
    """
    return rows_of(_content(Path(path)))


def _content(path: Path) -> dict[str, Any]:
    written = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(written, dict) or written.get("command") != "bench":
        raise ValueError(f"{path} was not written by bench; choose another file")
    return written


def rows_of(written: Mapping[str, Any]) -> list[Row]:
    """The rows of what such a file holds."""
    rows: list[Row] = []
    for one in written["rows"]:
        fields = dict(one)
        rows.append(KINDS[fields.pop("row")](**fields))
    return rows


def measured_before(path: Path, settings: Mapping[str, Any]) -> Measured:
    """What a file holds of the benchmark that these settings would measure.

    Raises
    ------
    ValueError
        If the file is no benchmark's, or was measured elsewhere or otherwise.
    """
    written = _content(path)
    before = written["settings"]
    for name in SAME:
        if before.get(name) != settings[name]:
            raise ValueError(
                f"{path} has {name} {before.get(name)!r} and this benchmark {settings[name]!r}; choose another file"
            )
    return Measured(rows_of(written), list(before["stages"]))
