"""What a sweep measures: one plain row a cell, no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from selfextend_viz.sweeps.cells import Cell

__all__ = ["CellRow"]


@dataclass(frozen=True)
class CellRow:
    """A cell's fields and what was measured; ``None`` where its task does not give a number, or one text no error.

    Attributes
    ----------
    task, method, group_size, neighbor_window, length, depth, seed, trials
        As of :class:`~selfextend_viz.sweeps.Cell`.
    expected_failure
        Whether the length is beyond the setting's exact reach, ``SelfExtend.capacity(L)``, or L for stock.
    exact
        How many of the trials were answered right.
    outcomes
        One 1 or 0 for each trial. Every setting of one (task, length, depth, seed) read the same prompts in the same
        order, so that outcomes can be paired.
    log_probability
        Mean natural-log probability of the answers, per character.
    nll, nll_error
        Mean loss in nats a token of text, and its standard error over texts.
    difference, difference_error
        Mean paired difference of the loss to the stock model on the last L tokens, and its standard error over texts.
    kl, kl_error
        Mean KL in nats from the stock model that reads the last L tokens to this one at N, and its standard error over
        texts.
    kl_in_range
        The same where both read the last L tokens (or N, if fewer): the price where stock is right.
    seconds
        What the cell took.
    fingerprint
        Of the model's configuration and weights.
    versions
        Of the packages that measured it.
    finished
        When, in UTC.
    """

    task: str
    method: str
    group_size: int | None
    neighbor_window: int | None
    length: int
    depth: float | None
    seed: int
    trials: int
    expected_failure: bool = False
    exact: int | None = None
    outcomes: tuple[int, ...] | None = None
    log_probability: float | None = None
    nll: float | None = None
    nll_error: float | None = None
    difference: float | None = None
    difference_error: float | None = None
    kl: float | None = None
    kl_error: float | None = None
    kl_in_range: float | None = None
    seconds: float = 0.0
    fingerprint: str = ""
    versions: str = ""
    finished: str = ""

    @property
    def cell(self) -> Cell:
        """The cell it is the row of."""
        return Cell(**{each.name: getattr(self, each.name) for each in fields(Cell)})

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, where there were questions."""
        return None if self.exact is None else self.exact / self.trials

    @property
    def measured(self) -> tuple[Any, ...]:
        """Everything but when it was measured and how long that took: what two runs of one cell agree in."""
        return tuple(getattr(self, each.name) for each in fields(self) if each.name not in ("seconds", "finished"))
