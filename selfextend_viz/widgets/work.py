"""What the model panels ask the model, cut into steps, and the memory of what it answered."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import RLock
from typing import Any

from selfextend_viz.experiments.rows import BLINDFOLD, STOCK, HeadRow, LogitRow, OutputRow, PasskeyRow
from selfextend_viz.positions import Method
from selfextend_viz.sweeps.fingerprint import weights_fingerprint
from selfextend_viz.widgets.controls import geometric_stops
from selfextend_viz.widgets.interruption import interruptible
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Results, Setting
from selfextend_viz.widgets.steps import Step
from selfextend_viz.widgets.strip_state import State, with_answer
from selfextend_viz.widgets.strip_work import StripWork

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTHS = 5
QUERIES = 64
READINGS = 8
"""How many readings of its prompt the attention logits of all heads take as long as."""


class Subject:
    """The model the lab asks: the user's own, or the demo model, which is loaded when it is first needed.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model and its tokenizer; both or neither.
    context_length
        L, where it is known without the model.

    Attributes
    ----------
    turn
        Held while the model is asked: a snapshot asks from another thread than the worker, and one model cannot be
        lent to both.

    Raises
    ------
    TypeError
        If only one of the two is given.
    """

    def __init__(self, model: Any = None, tokenizer: Any = None, *, context_length: int | None = None) -> None:
        if (model is None) != (tokenizer is None):
            missing = "tokenizer" if tokenizer is None else "model"
            raise TypeError(
                f"lab() needs a model and its tokenizer, or neither for the demo model; the {missing} is missing"
            )
        self.is_demo = model is None
        self.turn = RLock()
        self._loaded = None if model is None else (model, tokenizer)
        self._context_length = context_length
        self._fingerprint: str | None = None

    @property
    def context_length(self) -> int:
        """L, from the model's configuration."""
        if self._context_length is None:
            from selfextend_viz.patch import context_length

            self._context_length = context_length(self.load()[0])
        return self._context_length

    @property
    def loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._loaded is not None

    def load(self) -> tuple[Any, Any]:
        """The model and its tokenizer."""
        with self.turn:
            if self._loaded is None:
                from selfextend_viz.demo import load_demo

                self._loaded = load_demo()
            return self._loaded

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        if self._fingerprint is None:
            self._fingerprint = weights_fingerprint(self.load()[0])
        return self._fingerprint


class LabWork:
    """Plans the model panels' steps for a setting, and remembers every answer by what it depends on.

    Parameters
    ----------
    subject
        The model asked.
    task
        The pass-key task of the grid (see `selfextend_viz.passkey`).
    trials
        Prompts per cell of the grid.
    beside
        What the grid asks beside stock and Self-Extend, as a condition of `selfextend_viz.passkey`.

    Attributes
    ----------
    wanted
        Asked before each layer of a forward; once it says no, the step under way is left.
    """

    def __init__(
        self, subject: Subject, *, task: str = "paper", trials: int = 4, seed: int = 0, beside: str | Method = BLINDFOLD
    ) -> None:
        self.subject, self.beside = subject, beside
        self.task, self.trials, self.seed = task, trials, seed
        self.wanted: Callable[[], bool] = lambda: True
        self.memory: dict[Hashable, Any] = {}
        self.asking = StripWork(subject, self.memory, seed=seed)

    def run(self, step: Step) -> Any:
        """The answer of a step, from memory or computed now.

        Raises
        ------
        Superseded
            If it is not wanted any more; nothing is remembered then.
        """
        with self.subject.turn:
            if step.key not in self.memory:
                with beyond_reach_is_a_lesson(), interruptible(self.subject.load()[0], self.wanted):
                    self.memory[step.key] = step.compute()
            return self.memory[step.key]

    def remembers(self, step: Step) -> bool:
        """Whether a step's answer is known already."""
        return step.key in self.memory

    def strip(self, setting: Setting, asked: Question) -> State:
        """The strip before its rows are answered."""
        return self.asking.state(setting, asked)

    def plan(self, setting: Setting, asked: Question) -> list[Step]:
        """All steps of a setting: what is seen first comes first, remembered cells before the others."""
        cells = sorted(self.cell_steps(setting), key=lambda step: not self.remembers(step))
        first = sum(map(self.remembers, cells)) + 1
        return [*self.asking.steps(setting, asked), *cells[:first], self.divergence_step(setting), *cells[first:]]

    def divergence_step(self, setting: Setting) -> Step:
        """The attention logits of all heads at N."""
        key = ("divergence", str(setting.method), setting.length)
        message = f"Looking at the attention logits at N = {setting.length:,}"
        work = partial(self._divergence, setting)
        return Step("divergence", str(setting.method), message, key, work, READINGS * setting.length)

    def cell_steps(self, setting: Setting) -> Iterator[Step]:
        """The grid's cells, quickest first, Self-Extend's before the two it is compared with."""
        for length in grid_lengths(setting.length, setting.context_length):
            for depth in DEPTHS:
                for condition in (setting.method, STOCK, self.beside):
                    yield Step(
                        "cell",
                        str(condition),
                        f"Pass key: {spoken(condition)} at {length:,} tokens, depth {depth:.0%}",
                        ("cell", str(condition), length, depth),
                        partial(self._cell, condition, length, depth),
                        self.trials * length,
                    )

    def _divergence(self, setting: Setting) -> tuple[LogitRow | HeadRow | OutputRow, ...]:
        from selfextend_viz.experiments.divergence import divergence

        prompt = self.asking.prompt(setting.length, Question())
        rows = divergence(self.subject.load()[0], prompt.ids, setting.method, queries=QUERIES, seed=self.seed)
        return tuple(rows)

    def _cell(self, condition: Any, length: int, depth: float) -> PasskeyRow:
        from selfextend_viz.experiments.passkey import passkey

        (row,) = passkey(
            *self.subject.load(),
            lengths=(length,),
            depths=(depth,),
            conditions=(condition,),
            task=self.task,
            trials=self.trials,
            seed=self.seed,
        )
        return row

    def results(self, setting: Setting, asked: Question | None = None) -> Results:
        """Everything at one setting, computed now where it is not remembered."""
        asked = Question() if asked is None else asked
        strip = self.strip(setting, asked)
        for step in self.asking.steps(setting, asked):
            strip = with_answer(strip, step.label, self.run(step))
        divergence = self.run(self.divergence_step(setting))
        cells = tuple(self.run(step) for step in self.cell_steps(setting))
        return Results(setting, self.subject.fingerprint, strip, divergence, cells)


@contextmanager
def beyond_reach_is_a_lesson() -> Iterator[None]:
    """No warning for a text longer than the reach: the reach panel says so, and what it does is what the lab shows."""
    from selfextend_viz.patch import BeyondReachWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeyondReachWarning)
        yield


def grid_lengths(length: int, context_length: int) -> tuple[int, ...]:
    """The lengths of a grid that ends at N: the stops from L on, which neighbouring N share; N alone below L."""
    stops = [stop for stop in geometric_stops(context_length, length) if stop < length]
    return (*stops[-(LENGTHS - 1) :], length)


def spoken(condition: Any) -> str:
    """A condition as the lab's words name it."""
    return {STOCK: "the stock model", BLINDFOLD: "the blindfold"}.get(condition, str(condition))
