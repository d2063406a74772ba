"""What a store's cells say about each setting at one length: by depth, at its worst, and what it costs in range."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.positions import SelfExtend
from selfextend_viz.sweeps.rows import CellRow

__all__ = ["Place", "Standing", "as_setting", "asks_for_keys", "lengths_answered", "settings_at", "standings"]

PASSKEY = "passkey"
ORDER = "order"
DIVERGENCE = "divergence"
KEYLESS = ("control", ORDER)
"""Variants of the pass-key task that say nothing of finding: the one without a key, and the one with two."""


@dataclass(frozen=True)
class Place:
    """Answers of one setting to one task at one depth: `exact` of `trials` right, with Wilson's 95 % bounds."""

    task: str
    depth: float
    exact: int
    trials: int

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's lower and upper bound."""
        return wilson_interval(self.exact, self.trials)

    @property
    def counts(self) -> str:
        """``k/n``."""
        return f"{self.exact}/{self.trials}"


@dataclass(frozen=True)
class Standing:
    """One setting at one length.

    Attributes
    ----------
    setting
        The method.
    length
        N.
    places
        Its pass keys by task and depth.
    answers
        Which prompts it got right, by what they were made from; of two settings, equal keys are equal prompts.
    price
        Mean output KL from stock at N <= L, in nats: what it costs where stock is right; ``None`` if not measured.
    kl
        Output KL at `length` from stock on the last L tokens; ``None`` if not measured.
    order
        Right answers and prompts of the order task; ``None`` if not asked.
    """

    setting: SelfExtend
    length: int
    places: tuple[Place, ...]
    answers: dict[object, tuple[int, ...]]
    price: float | None = None
    kl: float | None = None
    order: tuple[int, int] | None = None

    @property
    def worst(self) -> Place:
        """The place with the lowest lower bound."""
        return min(self.places, key=lambda place: (place.bounds[0], place.exact / place.trials, place.depth))

    @property
    def exact(self) -> int:
        """Right answers at all places."""
        return sum(place.exact for place in self.places)

    @property
    def trials(self) -> int:
        """Prompts at all places."""
        return sum(place.trials for place in self.places)


def as_setting(row: CellRow) -> SelfExtend | None:
    """The Self-Extend setting of a row, or ``None`` where the row is of stock, a control or another method."""
    if row.group_size is None or row.neighbor_window is None:
        return None
    setting = SelfExtend(row.group_size, row.neighbor_window)
    return setting if row.method == str(setting) else None


def lengths_answered(rows: Iterable[CellRow]) -> list[int]:
    """The lengths at which any Self-Extend setting was asked for pass keys, ascending."""
    return sorted({row.length for row in rows if asks_for_keys(row) and as_setting(row) is not None})


def asks_for_keys(row: CellRow) -> bool:
    """Whether a row is of the pass-key task or of a variant that has a key to find."""
    task, _, variant = row.task.partition(":")
    return task == PASSKEY and variant.partition(":")[0] not in KEYLESS


def standings(rows: Iterable[CellRow], length: int) -> list[Standing]:
    """Every setting that was asked for pass keys at a length, in the order in which the rows name them.

    Parameters
    ----------
    rows
        Of a store, all of one model.
    length
        N.
    """
    return [standing for standing in settings_at(rows, length) if standing.places]


def settings_at(rows: Iterable[CellRow], length: int) -> list[Standing]:
    """Every Self-Extend setting of the rows, with what is known of it at a length, which may be nothing."""
    by_setting: dict[SelfExtend, list[CellRow]] = {}
    for row in rows:
        setting = as_setting(row)
        if setting is not None:
            by_setting.setdefault(setting, []).append(row)
    return [_standing(setting, members, length) for setting, members in by_setting.items()]


def _standing(setting: SelfExtend, rows: Sequence[CellRow], length: int) -> Standing:
    asked = [row for row in rows if row.length == length and asks_for_keys(row) and row.trials]
    counts: dict[tuple[str, float], tuple[int, int]] = {}
    for row in asked:
        place = row.task, 0.0 if row.depth is None else row.depth
        exact, trials = counts.get(place, (0, 0))
        counts[place] = exact + (row.exact or 0), trials + row.trials
    ordered = [row for row in rows if row.length == length and row.task == ORDER and row.trials]
    diverging = [row for row in rows if row.task == DIVERGENCE]
    return Standing(
        setting,
        length,
        tuple(Place(*place, *counts[place]) for place in sorted(counts)),
        {(row.task, row.depth, row.seed): tuple(row.outcomes or ()) for row in asked},
        price=_mean(row.kl_in_range for row in diverging),
        kl=_mean(row.kl for row in diverging if row.length == length),
        order=(sum(row.exact or 0 for row in ordered), sum(row.trials for row in ordered)) if ordered else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
