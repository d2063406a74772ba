"""What the strip asks the model: the prompt, the head that is watched, and one forward for each row."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from selfextend_viz.experiments.rows import STOCK, RetrievalRow
from selfextend_viz.positions import Method, PlainRoPE
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.steps import Step
from selfextend_viz.widgets.strip_state import State, answer_state, waiting_state

if TYPE_CHECKING:
    from selfextend_viz.experiments.prompts import Prompt
    from selfextend_viz.widgets.work import Subject

STRIP = "strip"
RANKING = ("ranking",)


class StripWork:
    """Makes the strip's prompts and its steps; what it learns goes into a memory that it shares.

    Parameters
    ----------
    subject
        The model asked.
    memory
        Answers by what they depend on.
    seed
        Chooses the filler's start where it is natural text.
    """

    def __init__(self, subject: Subject, memory: dict[Hashable, Any], *, seed: int = 0) -> None:
        self.subject, self.memory, self.seed = subject, memory, seed

    def state(self, setting: Setting, asked: Question) -> State:
        """The strip before its rows are answered."""
        prompt = self.prompt(setting.length, asked)
        return waiting_state(
            length=prompt.length,
            context_length=setting.context_length,
            reach=setting.method.capacity(setting.context_length),
            needle=prompt.needle,
            needle_range=self._needle_range(setting.length, asked),
            answer=prompt.answer,
            question=prompt.question,
            head=self.head(asked),
            heads=self.ranking(),
            labels=(STOCK, str(setting.method)),
        )

    def steps(self, setting: Setting, asked: Question) -> Iterator[Step]:
        """The rows' steps, the method's first, since a slider changes it and seldom the stock model's."""
        for condition in (setting.method, STOCK):
            name = "the stock model" if condition == STOCK else str(condition)
            yield Step(
                STRIP,
                str(condition),
                f"Asking {name} for the key at N = {setting.length:,}",
                (STRIP, str(condition), setting.length, setting.context_length, asked),
                partial(self._answer, setting, asked, condition),
                setting.length,
            )

    def ranking(self) -> tuple[RetrievalRow, ...]:
        """All heads by how much they look at the key, in prompts the stock model can read."""
        with self.subject.turn:
            if RANKING not in self.memory:
                from selfextend_viz.experiments.retrieval import retrieval_heads

                options = {**Question().prompt_options, "key": None}
                self.memory[RANKING] = tuple(retrieval_heads(*self.subject.load(), **options))
            ranking: tuple[RetrievalRow, ...] = self.memory[RANKING]
        return ranking

    def head(self, asked: Question) -> tuple[int, int]:
        """Layer and head that are watched."""
        best = self.ranking()[0]
        return asked.head or (best.layer, best.head)

    def prompt(self, length: int, asked: Question) -> Prompt:
        """The prompt of a question, `length` tokens long."""
        key = ("prompt", length, replace(asked, head=None))
        if key not in self.memory:
            self.memory[key] = self._made(length, asked, asked.depth)
        prompt: Prompt = self.memory[key]
        return prompt

    def _needle_range(self, length: int, asked: Question) -> tuple[int, int]:
        key = ("needle range", length, replace(asked, head=None, depth=0.0))
        if key not in self.memory:
            first, last = (self._made(length, asked, depth).needle[0] for depth in (0.0, 1.0))
            self.memory[key] = (first, last)
        places: tuple[int, int] = self.memory[key]
        return places

    def _made(self, length: int, asked: Question, depth: float) -> Prompt:
        from selfextend_viz.experiments.passkey import INTRODUCTION_FROM
        from selfextend_viz.experiments.prompts import passkey_prompt

        return passkey_prompt(
            self.subject.load()[1],
            length=length,
            depth=depth,
            seed=self.seed,
            introduction=self.subject.context_length >= INTRODUCTION_FROM,
            **asked.prompt_options,
        )

    def _answer(self, setting: Setting, asked: Question, condition: Any) -> State:
        from selfextend_viz.experiments.retrieval import answer_attention, never_trained

        prompt, (layer, head) = self.prompt(setting.length, asked), self.head(asked)
        rows = answer_attention(*self.subject.load(), prompt, condition, layer=layer, head=head)
        method: Method = PlainRoPE() if condition == STOCK else setting.method
        return answer_state(rows, never_trained(method, prompt.answer_rows[0], setting.context_length))
