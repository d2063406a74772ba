"""Contestants timed in turns, so that whatever else the machine does hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from torch.utils.benchmark import Timer

__all__ = ["Measured", "in_turns"]

LEAST_ROUNDS, MOST_ROUNDS = 5, 31
BLOCK_SECONDS = 0.02
"""A measurement repeats a short call until about this long, far above what reading a clock or a device sync costs."""


@dataclass(frozen=True)
class Measured:
    """Median seconds of a call, median ratio to the baseline of the same round, and the number of rounds."""

    seconds: float
    ratio: float
    rounds: int


def in_turns(
    runs: Mapping[str, Callable[[], object]], *, baseline: str, threads: int, seconds: float
) -> dict[str, Measured]:
    """Time every contestant once a round, each round beginning with another one.

    Parameters
    ----------
    runs
        What is timed, by name.
    baseline
        The name that ratios are taken to.
    threads
        Torch's threads while it is timed.
    seconds
        About how long all rounds together may take; five are made however long they take, since of three one
        disturbed round decides too much.

    Returns
    -------
    dict
        By name, in the order given.
    """
    timers = {name: Timer("run()", globals={"run": run}, num_threads=threads) for name, run in runs.items()}
    once = {name: _once(timer, 1) for name, timer in timers.items()}
    calls = {name: max(1, min(1000, int(BLOCK_SECONDS / max(time, 1e-9)))) for name, time in once.items()}
    round_seconds = sum((calls[name] + (2 if calls[name] > 1 else 1)) * time for name, time in once.items())
    rounds = max(LEAST_ROUNDS, min(MOST_ROUNDS, int(seconds / round_seconds)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_once(timers[name], calls[name]))
    return {
        name: Measured(median(taken), median(a / b for a, b in zip(taken, times[baseline], strict=True)), rounds)
        for name, taken in times.items()
    }


def _once(timer: Timer, calls: int) -> float:
    """Seconds a call, after one or two that are not timed: ``timeit`` runs two, which is much for a long call."""
    measured = timer.timeit(calls) if calls > 1 else timer.blocked_autorange(min_run_time=1e-4)
    return float(measured.median)
