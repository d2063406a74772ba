"""The plain rows that a benchmark yields and plots draw: numbers and labels, no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

PLAIN = "plain"
STOCK = "stock"
LIMIT = "limit"
PREFILL, EAGER, DECODE, FIRST_TOKEN, MEMORY = "prefill", "eager prefill", "decode", "first token", "memory"


@dataclass(frozen=True)
class BenchRow:
    """One contestant's figure in one run.

    Attributes
    ----------
    kind : str
        ``"prefill"``, ``"eager prefill"``, ``"decode"``, ``"first token"`` or ``"memory"``.
    contestant : str
        ``"plain"`` or ``"stock"`` is what the others are compared with.
    shape : str
        Heads and precision, or the model.
    length : int
        N; in decoding the tokens cached.
    neighbor_window, group_size : int or None
        w_n and G, where the contestant has them.
    value : float
        The median over rounds.
    unit : str
        ``"s"``, ``"tokens/s"`` or ``"bytes"``.
    ratio : float
        To the baseline: the median of the ratios of each round, in which all contestants took turns. Tokens per second
        are better when it is large, the others when it is small.
    rounds, run : int
        How many rounds, and in which run of the whole.
    detail : str
        What ran.
    """

    kind: str
    contestant: str
    shape: str
    length: int
    neighbor_window: int | None
    group_size: int | None
    value: float
    unit: str
    ratio: float
    rounds: int
    run: int
    detail: str = ""


def settings_of(method: Any) -> dict[str, Any]:
    """A row's ``neighbor_window`` and ``group_size``: the method's, or None where there is none."""
    return {name: None if method is None else getattr(method, name) for name in ("neighbor_window", "group_size")}


@dataclass(frozen=True)
class RateRow:
    """What the device was measured to do at most: ``"products"`` in FLOP/s, or ``"memory"`` in bytes/s."""

    name: str
    shape: str
    value: float
    unit: str
    run: int


@dataclass(frozen=True)
class SkippedRow:
    """What could not run, and why."""

    what: str
    reason: str


Row = BenchRow | RateRow | SkippedRow


@dataclass(frozen=True)
class Summary:
    """One contestant's figure over all runs: medians, and the lowest and highest ratio of a run."""

    kind: str
    contestant: str
    shape: str
    length: int
    neighbor_window: int | None
    value: float
    unit: str
    ratio: float
    lowest: float
    highest: float
    runs: int

    @property
    def label(self) -> str:
        """The contestant's name, with its window where it has one."""
        return self.contestant if self.neighbor_window is None else f"{self.contestant}, w_n = {self.neighbor_window}"


def over_runs(rows: Iterable[Row]) -> list[Summary]:
    """Medians over runs of the rows that are alike in all else, in the order of their first appearance."""
    alike: dict[tuple[str, str, str, int, int | None], list[BenchRow]] = {}
    for row in rows:
        if isinstance(row, BenchRow):
            key = (row.kind, row.contestant, row.shape, row.length, row.neighbor_window)
            alike.setdefault(key, []).append(row)
    summaries = []
    for key, members in alike.items():
        ratios = [row.ratio for row in members]
        value = median(row.value for row in members)
        spread = (median(ratios), min(ratios), max(ratios), len(members))
        summaries.append(Summary(*key, value, members[0].unit, *spread))
    return summaries
