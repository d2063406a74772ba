"""What the model panels ask the model, cut into steps, and the memory of what it answered."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from selfextend_viz.experiments.rows import BLINDFOLD, STOCK, HeadRow, LogitRow, OutputRow, PasskeyRow
from selfextend_viz.widgets.controls import geometric_stops
from selfextend_viz.widgets.headline import Answers, Question
from selfextend_viz.widgets.results import Results, Setting, fingerprint

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LENGTHS = 5
HEADLINE_DEPTH = 0.5
QUERIES = 64


class Subject:
    """The model the lab asks: the user's own, or the demo model, which is loaded when it is first needed.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model and its tokenizer; both or neither.
    context_length
        L, where it is known without the model.

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
        if self._loaded is None:
            from selfextend_viz.demo import load_demo

            self._loaded = load_demo()
        return self._loaded

    @property
    def fingerprint(self) -> str:
        """A hash of the weights."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.load()[0])
        return self._fingerprint


@dataclass(frozen=True)
class Step:
    """One piece of work: `compute` takes a moment and returns what a panel of this `kind` shows.

    ``key`` is what the answer is remembered by; ``label`` the condition it belongs to.
    """

    kind: str
    label: str
    message: str
    key: Hashable
    compute: Callable[[], Any]


class LabWork:
    """Plans the model panels' steps for a setting, and remembers every answer by what it depends on.

    Parameters
    ----------
    subject
        The model asked.
    task
        The pass-key task of headline and grid (see `selfextend_viz.passkey`).
    trials
        Prompts per cell of the grid.
    """

    def __init__(self, subject: Subject, *, task: str = "paper", trials: int = 4, seed: int = 0) -> None:
        self.subject = subject
        self.task, self.trials, self.seed = task, trials, seed
        self.memory: dict[Hashable, Any] = {}

    def run(self, step: Step) -> Any:
        """The answer of a step, from memory or computed now."""
        if step.key not in self.memory:
            with beyond_reach_is_a_lesson():
                self.memory[step.key] = step.compute()
        return self.memory[step.key]

    def remembers(self, step: Step) -> bool:
        """Whether a step's answer is known already."""
        return step.key in self.memory

    def plan(self, setting: Setting) -> list[Step]:
        """All steps of a setting: what is seen first comes first, remembered cells before all."""
        cells = list(self.cell_steps(setting))
        known = [step for step in cells if step.key in self.memory]
        fresh = [step for step in cells if step.key not in self.memory]
        return [*known, *fresh[:1], *self.answer_steps(setting), self.divergence_step(setting), *fresh[1:]]

    def question(self, setting: Setting) -> Question:
        """What the headline asks."""
        prompt = self._prompt(setting.length)
        return Question(length=prompt.length, needle_end=prompt.needle[1], answer=prompt.answer, text=prompt.question)

    def answer_steps(self, setting: Setting) -> Iterator[Step]:
        """The headline's three answers."""
        for condition in (setting.method, STOCK, BLINDFOLD):
            key = ("answer", str(condition), setting.length, setting.context_length)
            yield Step(
                "answer",
                str(condition),
                f"Asking {spoken(condition)} for the pass key at N = {setting.length:,}",
                key,
                partial(self._answer, setting, condition),
            )

    def divergence_step(self, setting: Setting) -> Step:
        """The attention logits of all heads at N."""
        key = ("divergence", str(setting.method), setting.length)
        message = f"Looking at the attention logits at N = {setting.length:,}"
        return Step("divergence", str(setting.method), message, key, partial(self._divergence, setting))

    def cell_steps(self, setting: Setting) -> Iterator[Step]:
        """The grid's cells, longest first, Self-Extend's before the two it is compared with."""
        for length in reversed(grid_lengths(setting.length, setting.context_length)):
            for depth in DEPTHS:
                for condition in (setting.method, STOCK, BLINDFOLD):
                    yield Step(
                        "cell",
                        str(condition),
                        f"Pass key: {spoken(condition)} at {length:,} tokens, depth {depth:.0%}",
                        ("cell", str(condition), length, depth),
                        partial(self._cell, condition, length, depth),
                    )

    def _prompt(self, length: int) -> Any:
        from selfextend_viz.experiments.passkey import INTRODUCTION_FROM
        from selfextend_viz.experiments.prompts import passkey_prompt

        key = ("prompt", length)
        if key not in self.memory:
            tokenizer = self.subject.load()[1]
            self.memory[key] = passkey_prompt(
                tokenizer,
                task=self.task,
                length=length,
                depth=HEADLINE_DEPTH,
                seed=self.seed,
                introduction=self.subject.context_length >= INTRODUCTION_FROM,
            )
        return self.memory[key]

    def _answer(self, setting: Setting, condition: Any) -> Any:
        from selfextend_viz.experiments.passkey import answer_digits

        return tuple(answer_digits(*self.subject.load(), self._prompt(setting.length), condition))

    def _divergence(self, setting: Setting) -> tuple[LogitRow | HeadRow | OutputRow, ...]:
        from selfextend_viz.experiments.divergence import divergence

        prompt = self._prompt(setting.length)
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

    def results(self, setting: Setting) -> Results:
        """Everything at one setting, computed now where it is not remembered."""
        answers = Answers(self.question(setting))
        for step in self.answer_steps(setting):
            answers = answers.with_digits(step.label, self.run(step))
        divergence = self.run(self.divergence_step(setting))
        cells = tuple(self.run(step) for step in self.cell_steps(setting))
        return Results(setting, self.subject.fingerprint, answers, divergence, cells)


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
