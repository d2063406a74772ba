"""Pass-key rows arranged as one grid for each condition, depths as rows and lengths as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.experiments.rows import PasskeyRow


@dataclass(frozen=True)
class PasskeyMap:
    """One condition's grid, depths as rows and lengths as columns.

    Attributes
    ----------
    name
        The condition's label, with the task where several tasks are shown.
    lengths, depths
        The whole grid, cells still to come included.
    accuracy
        Share of exact answers, object ``[depths, lengths]``, ``None`` where a cell is pending.
    counts, details
        ``"k/n"`` for the cell and a hover text with Wilson's interval, object ``[depths, lengths]``, ``""`` and
        ``"pending"`` where a cell is pending.
    """

    name: str
    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    accuracy: NDArray[np.object_]
    counts: NDArray[np.object_]
    details: NDArray[np.object_]

    @property
    def pending(self) -> tuple[tuple[int, float], ...]:
        """The (length, depth) cells without a result."""
        rows, columns = np.nonzero(self.counts == "")
        return tuple((self.lengths[column], self.depths[row]) for row, column in zip(rows, columns, strict=True))


def passkey_maps(
    rows: Iterable[PasskeyRow],
    *,
    lengths: Sequence[int] = (),
    depths: Sequence[float] = (),
    conditions: Sequence[str] = (),
) -> list[PasskeyMap]:
    """Arrange rows into one grid for each condition (and task); of two rows for one cell the later one counts.

    Parameters
    ----------
    rows
        Results so far, in any order.
    lengths, depths, conditions
        What is still to come: these cells are in the grid, pending, before their rows are.
    """
    rows = list(rows)
    tasks = list(dict.fromkeys(row.task for row in rows))
    all_lengths = tuple(sorted({*lengths, *(row.length for row in rows)}))
    all_depths = tuple(sorted({*depths, *(row.depth for row in rows)}))
    all_conditions = list(dict.fromkeys([*conditions, *(row.condition for row in rows)]))
    return [
        _one_map(
            condition if len(tasks) < 2 else f"{condition} · {task}",
            [row for row in rows if row.condition == condition and task in (row.task, "")],
            all_lengths,
            all_depths,
        )
        for task in (tasks or [""])
        for condition in all_conditions
    ]


def _one_map(name: str, rows: list[PasskeyRow], lengths: tuple[int, ...], depths: tuple[float, ...]) -> PasskeyMap:
    shape = (len(depths), len(lengths))
    accuracy = np.full(shape, None, dtype=object)
    counts, details = np.full(shape, "", dtype=object), np.full(shape, "pending", dtype=object)
    for row in rows:
        cell = depths.index(row.depth), lengths.index(row.length)
        accuracy[cell] = row.accuracy
        counts[cell] = f"{row.exact}/{row.trials}"
        details[cell] = (
            f"{row.exact} of {row.trials} exact: {row.accuracy:.2f} (95% {row.low:.2f} to {row.high:.2f})"
            f"<br>mean log-probability {row.log_probability:.2f} a digit"
        )
    return PasskeyMap(name, lengths, depths, accuracy, counts, details)
