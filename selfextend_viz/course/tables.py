"""Pass-key tables as lessons show them: read from a file of measured rows, summed over depths, with their intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from selfextend_viz.course.card import Card
from selfextend_viz.experiments.rows import PasskeyRow, wilson_interval

__all__ = ["found_card", "found_in", "stored_rows"]

MEASURED = "measured.json"


def stored_rows(table: str) -> list[PasskeyRow]:
    """The rows of one table that ``benchmarks/course_table.py`` measured; they lie in the package.

    Raises
    ------
    ValueError
        If the file has no such table.
    """
    tables = json.loads((files("selfextend_viz.course") / MEASURED).read_text(encoding="utf-8"))["tables"]
    if table not in tables:
        raise ValueError(f"{MEASURED} has no table {table!r}; it has {', '.join(tables)}")
    return [PasskeyRow(**row) for row in tables[table]]


def found_in(rows: Iterable[PasskeyRow], **where: Any) -> tuple[int, int]:
    """How many keys were found, of how many, in the rows that agree with what is named, such as ``length=640``.

    Raises
    ------
    ValueError
        If no row does.
    """
    kept = [row for row in rows if all(getattr(row, name) == value for name, value in where.items())]
    if not kept:
        raise ValueError(f"0 rows have {', '.join(f'{name}={value!r}' for name, value in where.items())}")
    return sum(row.exact for row in kept), sum(row.trials for row in kept)


def found_card(rows: Iterable[PasskeyRow], title: str) -> Card:
    """Keys found by condition and length, summed over depths, with Wilson's 95 % interval."""
    rows = list(rows)
    places = dict.fromkeys((row.condition, row.length) for row in rows)
    pairs = []
    for condition, length in places:
        exact, trials = found_in(rows, condition=condition, length=length)
        low, high = wilson_interval(exact, trials)
        pairs.append((f"{condition}, N = {length:,}", f"{exact} of {trials} found ({low:.2f} to {high:.2f})"))
    return Card(title, "note", tuple(pairs))
