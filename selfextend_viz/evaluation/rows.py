"""What an evaluation yields: one row for each metric of each task."""

from __future__ import annotations

from dataclasses import dataclass

from selfextend_viz.experiments.rows import wilson_interval

SHARES = ("acc", "acc_norm", "exact_match")
"""Metrics of the harness that count right answers."""


@dataclass(frozen=True)
class TaskRow:
    """One metric of one task under one condition.

    Attributes
    ----------
    task
        The harness's name for the task, or for a group of tasks.
    condition
        ``"stock"``, a control, or the method.
    metric, filter
        The metric, and the filter on the answers that it is of; ``"none"`` mostly.
    value, error
        Its value and the harness's standard error; ``nan`` where the harness gives none.
    low, high
        95 % interval: Wilson's where the metric is a share of right answers, since a standard error is 0 where all
        are right; else 1.96 standard errors to both sides.
    samples
        How many documents it is over.
    max_length
        The longest text the model was given, answer included; longer ones are refused, or cut where that was asked.
    cut
        Whether longer texts were cut.
    """

    task: str
    condition: str
    metric: str
    filter: str
    value: float
    error: float
    low: float
    high: float
    samples: int
    max_length: int
    cut: bool = False


def interval(metric: str, value: float, error: float, samples: int) -> tuple[float, float]:
    """The 95 % interval of a metric over `samples` documents; see `TaskRow`."""
    right = value * samples
    if metric in SHARES and samples and abs(right - round(right)) < 1e-6:
        return wilson_interval(round(right), samples)
    return value - 1.96 * error, value + 1.96 * error
