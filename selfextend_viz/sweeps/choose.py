"""A setting for a user in a hurry: a shortlist, asked in rounds until it is decided or the time is spent."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfextend_viz.experiments.budget import Plan, plan
from selfextend_viz.experiments.conditions import listed
from selfextend_viz.patch import context_length, in_gib
from selfextend_viz.positions import SelfExtend, suggest, whole_number
from selfextend_viz.sweeps.cells import DIVERGENCE, Grid
from selfextend_viz.sweeps.paired import ERROR
from selfextend_viz.sweeps.recommend import recommend
from selfextend_viz.sweeps.recommendation import Recommendation
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import lengths_answered
from selfextend_viz.sweeps.store import Store
from selfextend_viz.sweeps.sweep import sweep

__all__ = ["choose", "shortlist"]

ROUNDS = 8
"""At most; each look at the answers so far takes its part of the chance of a false difference."""
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEXTS = 4
"""Texts for the price in range."""


def shortlist(context_length: int, target_length: int) -> list[SelfExtend]:
    """What is worth trying: the settings of `suggest`, and for each of their windows the smallest G that reaches.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1, or N is within L.
    """
    suggested = suggest(context_length, target_length)
    if target_length <= context_length:
        raise ValueError(
            f"target_length is {target_length}, which fits in L = {context_length}: no setting is needed; "
            f"give more than {context_length}"
        )
    found = [SelfExtend(each.group_size, each.neighbor_window) for each in suggested]
    found += [_smallest(each.neighbor_window, context_length, target_length) for each in suggested]
    return list(dict.fromkeys(found))


def _smallest(window: int, context_length: int, target_length: int) -> SelfExtend:
    sizes = range(2, target_length + 1)
    methods = (SelfExtend(size, window) for size in sizes)
    return next(method for method in methods if method.capacity(context_length) >= target_length)


def choose(
    model: Any,
    tokenizer: Any,
    target_length: int,
    *,
    budget_minutes: float = 10,
    settings: Sequence[SelfExtend] | None = None,
    tasks: Sequence[str] = ("passkey:natural",),
    depths: Sequence[float] = DEPTHS,
    trials: int = 4,
    texts: Sequence[str] | None = None,
    store: Store | str | Path | None = None,
    tell: Callable[[str], object] | None = None,
    heard: Callable[[CellRow], object] | None = None,
) -> Recommendation:
    """Find G and w_n for a length by asking a model for pass keys, within so many minutes.

    It says what it costs first. The price in range of every setting comes first, being cheapest; then rounds of pass
    keys at N, in which only those settings stay that are not told apart from the best yet. It stops once a
    `Recommendation` is decided, or before a cell that no longer fits in the time.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    target_length
        N, more than L.
    budget_minutes
        The most that it may take.
    settings
        What to try; `shortlist` when left out.
    tasks
        Pass-key tasks of :func:`~selfextend_viz.sweep`.
    depths, trials
        Where keys stand, and prompts for each place in a round.
    texts
        For the price in range; the demo model's held-out texts when left out.
    store
        Where rows are kept, so that a second call goes on where the first one stopped.
    tell
        Called with each line about what is going on; written to the terminal when left out.
    heard
        Called with each row as it comes.

    Returns
    -------
    Recommendation
        Printed, it ends in one line of code, after its evidence and what is not decided.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, N is within L, memory is too small, or the time for one round.
    """
    started, say = time.monotonic(), tell or _write
    whole_number("target_length", target_length)
    whole_number("trials", trials)
    if isinstance(budget_minutes, bool) or not isinstance(budget_minutes, int | float) or not budget_minutes > 0:
        raise ValueError(f"budget_minutes is {budget_minutes!r}, but must be a number above 0")
    trained = context_length(model)
    wanted = shortlist(trained, target_length) if settings is None else listed("settings", settings)
    cost = Cost(plan(model, target_length, method=wanted[0]), len(wanted), len(tasks) * len(depths) * trials)
    say(cost.sentence(budget_minutes))
    cost.check(budget_minutes)
    asked = _Asked(
        {"model": model, "tokenizer": tokenizer, "store": store, "texts": texts},
        deadline=started + 60 * budget_minutes,
        prefill=cost.prefill,
        heard=heard or (lambda row: None),
    )
    rows = list(asked.prices(wanted, trained, say))
    grid = {"lengths": (target_length,), "depths": depths, "trials": trials}
    return _rounds(asked, rows, wanted, {**grid, "tasks": tasks, "context_length": trained}, say)


def _rounds(
    asked: _Asked, rows: list[CellRow], wanted: Sequence[SelfExtend], grid: dict[str, Any], say: Callable[[str], object]
) -> Recommendation:
    """Ask round by round; the last look at all answers so far."""
    tasks, trained = grid.pop("tasks"), grid.pop("context_length")
    (target,) = grid["lengths"]
    left = list(wanted)
    for number in range(ROUNDS):
        rows += asked.rows(Grid(methods=left, seeds=(number,), **grid), tasks)
        if not lengths_answered(rows):
            raise ValueError("budget_minutes were spent before a pass key was asked; give more of them")
        found = recommend(rows, target, context_length=trained, error=ERROR / ROUNDS)
        say(f"Round {number + 1}: {found.sentence}")
        if found.decided or asked.spent:
            break
        left = [each for each in wanted if found.is_open(each)]
    if asked.spent:
        say("The time is spent; what was measured stays, and a longer budget goes on from there if there is a store")
    return found


@dataclass(frozen=True)
class Cost:
    """What choosing costs.

    Attributes
    ----------
    plan
        Of one prompt.
    settings
        How many are tried.
    prompts
        Of each setting in one round.
    """

    plan: Plan
    settings: int
    prompts: int

    @property
    def prefill(self) -> float:
        """Seconds to read one prompt; estimated."""
        return self.plan.seconds

    @property
    def minutes(self) -> float:
        """Of one round."""
        return self.settings * self.prompts * self.prefill / 60

    def sentence(self, budget: float) -> str:
        """The cost in words."""
        rounds = min(ROUNDS, math.floor(budget / self.minutes))
        return (
            f"{self.settings} settings at N = {self.plan.target_length:,}: a round is {self.settings * self.prompts} "
            f"prefills, about {self.minutes:.1f} minutes and {in_gib(self.plan.peak_bytes)} beside the weights; "
            f"{budget:g} minutes pay for {rounds} of at most {ROUNDS} rounds"
        )

    def check(self, budget: float) -> None:
        """Raise ``ValueError`` where one round takes longer than the budget, or more memory than is free."""
        if self.minutes > budget:
            raise ValueError(
                f"one round takes about {self.minutes:.1f} minutes, more than budget_minutes = {budget:g}; give "
                f"{math.ceil(self.minutes * 1.5)} minutes, or fewer settings, depths or trials"
            )
        if self.plan.fits is False:
            raise ValueError(
                f"a prompt of {self.plan.target_length:,} tokens takes about {in_gib(self.plan.peak_bytes)} beside the "
                f"weights, but only {in_gib(int(self.plan.free_bytes or 0))} are free; give a shorter target_length"
            )


class _Asked:
    """Asks a model for cells until the time is spent."""

    def __init__(
        self, subject: dict[str, Any], *, deadline: float, prefill: float, heard: Callable[[CellRow], object]
    ) -> None:
        self._subject, self._deadline, self._prefill, self._heard = subject, deadline, prefill, heard
        self.spent = False

    def rows(self, grid: Grid, tasks: Sequence[str]) -> Iterator[CellRow]:
        """The rows of a grid, as long as the next cell fits in the time."""
        running = sweep(**self._subject, grid=grid, tasks=tasks)
        while time.monotonic() + grid.trials * self._prefill <= self._deadline:
            row = next(running, None)
            if row is None:
                return
            self._heard(row)
            yield row
        self.spent = True
        running.close()  # type: ignore[attr-defined]

    def prices(self, wanted: Sequence[SelfExtend], trained: int, say: Callable[[str], object]) -> Iterator[CellRow]:
        """What every setting costs in range; said, where no text is long enough."""
        grid = Grid(lengths=(trained,), methods=wanted, texts=TEXTS)
        try:
            yield from self.rows(grid, (DIVERGENCE,))
        except ValueError as error:
            say(f"The price in range is not measured: {error}")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
