"""The demo model's answers over a grid of settings, as one value that can be kept in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from selfextend_viz.widgets.page import PageControl, Stop
from selfextend_viz.widgets.page_frames import all_frames, numbers_of
from selfextend_viz.widgets.pool import REFERENCE, Pool
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.strip_state import State, with_answer
from selfextend_viz.widgets.work import LabWork

GRID = "stored/grid.json"
LISTED = ("digits", "arcs")
"""Parts of a strip's row that are lists of small objects; a file keeps them as columns."""


@dataclass(frozen=True)
class AnswerGrid:
    """Strip states, one for each combination of the controls' stops, and the weights that gave them.

    Attributes
    ----------
    context_length
        L of the model asked.
    fingerprint
        Of its weights.
    strips
        By `page.frame_key` of the stops.
    """

    context_length: int
    fingerprint: str
    strips: dict[str, State] = field(repr=False)

    def to_json(self) -> str:
        """As JSON text in which what recurs is written once."""
        pool = Pool()
        strips = ",\n".join(f'"{key}":{pool.text(with_rows(strip, as_columns))}' for key, strip in self.strips.items())
        head = json.dumps({"context_length": self.context_length, "fingerprint": self.fingerprint})
        return f'{head[:-1]},\n"strips":{{\n{strips}\n}},\n"pool":{pool.items()}}}\n'

    @classmethod
    def from_json(cls, text: str) -> AnswerGrid:
        """The grid that `to_json` wrote."""
        content = json.loads(text)
        strips = {key: whole(strip, content["pool"]) for key, strip in content["strips"].items()}
        return cls(
            context_length=content["context_length"],
            fingerprint=content["fingerprint"],
            strips={key: with_rows(strip, as_records) for key, strip in strips.items()},
        )


def asked_grid(work: LabWork, controls: tuple[PageControl, ...]) -> AnswerGrid:
    """Ask the model for every combination of the controls' stops, with a bar that shows the time left."""
    strips = all_frames(
        controls,
        partial(answered_strip, work),
        label="Asking the model",
        work=lambda values: float(values["length"]),
    )
    return AnswerGrid(work.subject.context_length, work.subject.fingerprint, strips)


def answered_strip(work: LabWork, values: dict[str, Stop]) -> State:
    """The strip at one setting, both rows answered; `depth` is in percent."""
    length, group_size, window, percent = numbers_of(values, "length", "group_size", "neighbor_window", "depth")
    setting = Setting(length, group_size, window, work.subject.context_length)
    asked = Question(depth=percent / 100)
    strip = work.strip(setting, asked)
    for step in work.asking.steps(setting, asked):
        strip = with_answer(strip, step.label, work.run(step))
    return strip


def with_rows(strip: State, change: Callable[[Any], Any]) -> State:
    """The strip with the listed parts of its rows changed."""
    rows = [{**row, **{name: change(row[name]) for name in LISTED}} for row in strip["rows"]]
    return {**strip, "rows": rows}


def as_columns(records: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Objects with the same keys as one object of lists."""
    listed = list(records)
    return {name: [record[name] for record in listed] for name in listed[0]}


def as_records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The objects that `as_columns` was given."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def whole(value: Any, pool: list[Any]) -> Any:
    """A value of a `Pool`, with its shared parts put back."""
    if isinstance(value, list):
        return [whole(item, pool) for item in value]
    if not isinstance(value, dict):
        return value
    if REFERENCE in value:
        return whole(pool[value[REFERENCE]], pool)
    return {name: whole(item, pool) for name, item in value.items()}
