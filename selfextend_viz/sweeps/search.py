"""Search over G, w_n and the first layer, not a grid: Optuna asks, and a sweep's store answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.patch import context_length
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.positions import Method, SelfExtend, whole_number
from selfextend_viz.sweeps.cells import DIVERGENCE, Grid
from selfextend_viz.sweeps.choose import TEXTS, shortlist
from selfextend_viz.sweeps.front import pareto_front
from selfextend_viz.sweeps.store import Store
from selfextend_viz.sweeps.sweep import sweep

__all__ = ["Found", "search"]

PARTS = 16
"""w_n is a multiple of L over this."""
SPARE = 4
"""The largest G is this many times N / L."""
DIRECTIONS = ("maximize", "minimize", "minimize")


@dataclass(frozen=True)
class Found:
    """One setting that was tried.

    Attributes
    ----------
    method
        What was lent: Self-Extend, or Self-Extend on some layers.
    group_size
        G: how many far tokens share a position.
    low
        Wilson's lower bound of the right answers at the worst depth.
    exact, trials
        Right answers and prompts there.
    price
        Output KL from stock at L, in nats.
    best
        Whether no other one has as high a bound, as low a price and as small a G, and one of them better.
    """

    method: Method | PerLayer
    group_size: int
    low: float
    exact: int
    trials: int
    price: float
    best: bool


def search(
    model: Any,
    tokenizer: Any,
    target_length: int,
    *,
    store: Store | str | Path,
    trials: int = 30,
    layers: bool = False,
    task: str = "passkey:natural",
    depths: Sequence[float] = (0.0, 0.5, 1.0),
    prompts: int = 8,
    texts: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Found]:
    """Look for settings that answer most at N, cost least in range and group least, by Optuna's TPE sampler.

    The settings of `shortlist` are tried first. Every trial's cells go through :func:`~selfextend_viz.sweep`, so that
    none that the store has is measured again: the same call after an interruption takes the same path, and a longer
    one goes on from its end.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    target_length
        N, more than L.
    store
        Where the cells are kept.
    trials
        Settings to try; some may come twice, and are answered by the store.
    layers
        Whether to search also for the layer from which on Self-Extend is lent; those below it stay stock.
    task, depths, prompts
        What is asked for at N, where keys stand, and how many prompts each place has.
    texts
        For the price in range; the demo model's held-out texts when left out.
    seed
        Of the sampler.

    Returns
    -------
    list of Found
        Each setting once, in the order tried.

    Raises
    ------
    ImportError
        If Optuna is missing; the extra ``optuna`` brings it.
    TypeError, ValueError
        If a number is out of range, or N is within L.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(
            'search needs Optuna, which is not installed; say pip install "selfextend-viz[optuna]"'
        ) from error
    whole_number("trials", trials)
    trained = context_length(model)
    space = _Space(trained, target_length, _layers(model) if layers else ())
    known: dict[str, Found] = {}
    asked = {"task": task, "depths": depths, "prompts": prompts, "store": store, "texts": texts}

    def objective(trial: Any) -> tuple[float, float, float]:
        method = space.method(trial)
        if str(method) not in known:
            known[str(method)] = _measured(model, tokenizer, method, trained, target_length, asked)
        return _goals(known[str(method)])

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=whole_number("seed", seed, at_least=0))
        study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
        for first in space.first():
            study.enqueue_trial(first)
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(level)
    return _with_best(list(known.values()))


@dataclass(frozen=True)
class _Space:
    """What is searched: numbers as Optuna names them, and the methods they stand for."""

    context_length: int
    target_length: int
    layers: tuple[int, ...]

    @property
    def step(self) -> int:
        return max(1, self.context_length // PARTS)

    @property
    def parts(self) -> int:
        """The most steps of a window that stays below L."""
        return (self.context_length - 1) // self.step

    @property
    def largest(self) -> int:
        return max(2, SPARE * math.ceil(self.target_length / self.context_length))

    def method(self, trial: Any) -> Method | PerLayer:
        """The method of a trial."""
        size = trial.suggest_int("group_size", 2, self.largest, log=True)
        window = self.step * trial.suggest_int("window_parts", 0, self.parts)
        method = SelfExtend(size, window)
        if not self.layers:
            return method
        first = trial.suggest_int("first_layer", 0, len(self.layers) - 1)
        return PerLayer.of(dict.fromkeys(self.layers[first:], method)) if first else method

    def first(self) -> list[dict[str, int]]:
        """The shortlist, as far as its numbers lie in the space."""
        found = shortlist(self.context_length, self.target_length)
        layer = {"first_layer": 0} if self.layers else {}
        return [
            {"group_size": each.group_size, "window_parts": each.neighbor_window // self.step, **layer}
            for each in found
            if each.group_size <= self.largest
        ]


def _layers(model: Any) -> tuple[int, ...]:
    return tuple(layer.index for layer in attention_layers(model) if layer.skipped is None)


def _measured(
    model: Any,
    tokenizer: Any,
    method: Method | PerLayer,
    trained: int,
    target: int,
    asked: Mapping[str, Any],
) -> Found:
    """A setting's answers at N and its price at L, from the store or measured now."""
    common: dict[str, Any] = {"store": asked["store"], "texts": asked["texts"]}
    keys = Grid(lengths=(target,), depths=asked["depths"], methods=(method,), trials=asked["prompts"])
    rows = list(sweep(model, tokenizer, keys, tasks=(asked["task"],), **common))
    prices = sweep(
        model, tokenizer, Grid(lengths=(trained,), methods=(method,), texts=TEXTS), tasks=(DIVERGENCE,), **common
    )
    worst = min(rows, key=lambda row: row.accuracy or 0.0)
    exact, price = worst.exact or 0, fmean(row.kl_in_range or 0.0 for row in prices)
    size = next(iter(method.values())) if isinstance(method, PerLayer) else method
    low, _ = wilson_interval(exact, worst.trials)
    return Found(method, size.group_size, low, exact, worst.trials, price, best=False)  # type: ignore[attr-defined]


def _goals(found: Found) -> tuple[float, float, float]:
    """In the order of ``DIRECTIONS``."""
    return found.low, found.price, float(found.group_size)


def _with_best(found: Sequence[Found]) -> list[Found]:
    front = pareto_front([(-low, price, size) for low, price, size in map(_goals, found)])
    return [replace(each, best=number in front) for number, each in enumerate(found)]
