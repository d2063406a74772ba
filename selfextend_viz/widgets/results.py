"""What the model panels show, as one value that can be kept in a file and told apart by the model's weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from typing import Any

from selfextend_viz.experiments.rows import HeadRow, LogitRow, OutputRow, PasskeyRow
from selfextend_viz.positions import SelfExtend

STORED = "stored/demo.json"
ROWS = {row.__name__: row for row in (PasskeyRow, LogitRow, HeadRow, OutputRow)}
DIGITS_KEPT = 5


@dataclass(frozen=True)
class Setting:
    """The numbers that one run of the model panels is for."""

    length: int
    group_size: int
    neighbor_window: int
    context_length: int

    @property
    def method(self) -> SelfExtend:
        """Self-Extend as set."""
        return SelfExtend(group_size=self.group_size, neighbor_window=self.neighbor_window)

    def __str__(self) -> str:
        return f"N={self.length}, G={self.group_size}, w_n={self.neighbor_window}"


@dataclass(frozen=True)
class Results:
    """The model panels' content at one setting, and the fingerprint of the weights that gave it."""

    setting: Setting
    fingerprint: str
    strip: dict[str, Any]
    divergence: tuple[LogitRow | HeadRow | OutputRow, ...] = ()
    cells: tuple[PasskeyRow, ...] = ()

    def to_json(self) -> str:
        """As JSON text; rows of one kind as a table."""
        content = {
            "setting": asdict(self.setting),
            "fingerprint": self.fingerprint,
            "strip": self.strip,
            "divergence": list(tables(self.divergence)),
            "cells": list(tables(self.cells)),
        }
        return json.dumps(content, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """The results that `to_json` wrote."""
        content = json.loads(text)
        return cls(
            setting=Setting(**content["setting"]),
            fingerprint=content["fingerprint"],
            strip=content["strip"],
            divergence=tuple(rows_of(content["divergence"])),
            cells=tuple(rows_of(content["cells"])),
        )


def tables(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Rows grouped by kind: the field names once, then the values, floats rounded."""
    kinds: dict[str, list[Any]] = {}
    for row in rows:
        kinds.setdefault(type(row).__name__, []).append(row)
    for kind, members in kinds.items():
        names = [item.name for item in fields(ROWS[kind])]
        values = [[rounded(getattr(row, name)) for name in names] for row in members]
        yield {"kind": kind, "fields": names, "rows": values}


def rows_of(stored: Iterable[dict[str, Any]]) -> Iterator[Any]:
    """The rows in what `tables` made."""
    for table in stored:
        for values in table["rows"]:
            yield ROWS[table["kind"]](**dict(zip(table["fields"], values, strict=True)))


def rounded(value: Any) -> Any:
    """Floats to a few significant digits, the rest as it is."""
    return float(f"{value:.{DIGITS_KEPT}g}") if isinstance(value, float) else value


def stored_results() -> Results | None:
    """The results shipped with the package for its demo model, or None if this copy has none."""
    path = files("selfextend_viz.widgets").joinpath(STORED)
    return Results.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None
