"""Measure one cell: the experiments, asked so that a cell depends on nothing but itself and the model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from random import Random
from statistics import fmean, stdev
from typing import Any

import torch

from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments.answers import answer_scores
from selfextend_viz.experiments.conditions import resolve
from selfextend_viz.experiments.output_kl import output_divergence
from selfextend_viz.experiments.passkey import SCORINGS, TOKENS_AT_ONCE, prompt_maker, trial_seeds
from selfextend_viz.experiments.perplexity import Window, cut_windows, perplexity
from selfextend_viz.experiments.prompts import Prompt
from selfextend_viz.experiments.tokens import encode
from selfextend_viz.patch import BeyondReachWarning, context_length
from selfextend_viz.positions import whole_number
from selfextend_viz.sweeps.cells import DIVERGENCE, PERPLEXITY, Cell, Planned, passkey_task
from selfextend_viz.sweeps.fingerprint import model_fingerprint
from selfextend_viz.sweeps.rows import CellRow

__all__ = ["Asking", "Measurer", "Subject"]

PACKAGES = ("selfextend-viz", "torch", "transformers")


@dataclass(frozen=True)
class Asking:
    """How every cell of a sweep is asked.

    Attributes
    ----------
    digits
        Digits of a pass key.
    scoring
        ``"teacher"`` or ``"generate"``, see :func:`~selfextend_viz.passkey`.
    implementation
        Attention implementation for methods.
    texts
        For perplexity and divergence; the demo model's held-out texts where left out.
    batch_size
        Prompts in one forward; as many as make 16384 tokens where left out.
    """

    digits: int = 5
    scoring: str = "teacher"
    implementation: str = "auto"
    texts: tuple[str, ...] | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        whole_number("digits", self.digits)
        if self.batch_size is not None:
            whole_number("batch_size", self.batch_size)
        if self.scoring not in SCORINGS:
            raise ValueError(f"unknown scoring {self.scoring!r}; choose one of {', '.join(SCORINGS)}")
        if isinstance(self.texts, str):
            raise TypeError(f"texts must be a list, not one text of {len(self.texts)} characters; put it in brackets")

    @property
    def facts(self) -> dict[str, Any]:
        """What a store keeps of it: everything that decides what rows say."""
        texts = "held-out" if self.texts is None else hashlib.sha256("\0".join(self.texts).encode()).hexdigest()[:16]
        return {"digits": self.digits, "scoring": self.scoring, "implementation": self.implementation, "texts": texts}


@dataclass(frozen=True)
class Subject:
    """What a sweep must know of its model: L, and the model's fingerprint."""

    context_length: int
    fingerprint: str


class Measurer:
    """Measures cells of one model, in this process.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    asking
        How every cell is asked.
    """

    dashboard = None

    def __init__(self, model: Any, tokenizer: Any, asking: Asking) -> None:
        self.model, self.tokenizer, self.asking = model, tokenizer, asking
        self._prompts: Callable[..., list[Prompt]] = lru_cache(maxsize=4)(self._made_prompts)
        self._texts: list[str] = []
        self._sizes: list[int] = []

    def subject(self) -> Subject:
        """L and the fingerprint of the model."""
        return Subject(context_length(self.model), model_fingerprint(self.model))

    def check(self, planned: Sequence[Planned]) -> None:
        """Refuse at once what some cell would refuse late.

        Raises
        ------
        TypeError, ValueError
            If the model cannot take a method, a prompt does not fit its length, or texts are too short or too few.
        """
        for setting in dict.fromkeys(each.setting for each in planned):
            resolve(setting.lent, self.model, prompts=True).check(self.model, self.asking.implementation)
        for task, length, depth in dict.fromkeys((e.cell.task, e.cell.length, e.cell.depth) for e in planned):
            name = passkey_task(task)
            if name is not None:
                self._maker(name)(length=length, depth=depth)
        for task, length, _, seed, count in dict.fromkeys(each.cell.prompts for each in planned):
            if task in (PERPLEXITY, DIVERGENCE):
                self._windows(length, seed, count)

    def rows(self, planned: Sequence[Planned]) -> Iterator[CellRow]:
        """One row a cell, in order."""
        return map(self.measure, planned)

    def measure(self, planned: Planned) -> CellRow:
        """One cell's row; its fingerprint is for the sweep to fill in."""
        cell, lent = planned.cell, planned.setting.lent
        ask = {PERPLEXITY: self._perplexity, DIVERGENCE: self._divergence}.get(cell.task, self._passkey)
        started = time.perf_counter()
        with warnings.catch_warnings():
            if planned.expected_failure:
                warnings.simplefilter("ignore", BeyondReachWarning)  # the row says so
            found = {name: _finite(value) for name, value in ask(cell, lent).items()}
        return CellRow(
            **asdict(cell),
            expected_failure=planned.expected_failure,
            **found,
            seconds=time.perf_counter() - started,
            versions=versions(),
            finished=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )

    def _passkey(self, cell: Cell, lent: Any) -> dict[str, Any]:
        condition = resolve(lent, self.model, prompts=True)
        prompts = self._prompts(*cell.prompts, condition.needle)
        scores = answer_scores(
            self.model,
            self.tokenizer,
            prompts,
            condition,
            scoring=self.asking.scoring,
            implementation=self.asking.implementation,
            batch_size=self.asking.batch_size or max(1, TOKENS_AT_ONCE // cell.length),
        )
        outcomes = tuple(int(score.exact) for score in scores)
        mean = fmean(score.log_probability for score in scores)
        return {"exact": sum(outcomes), "outcomes": outcomes, "log_probability": mean}

    def _perplexity(self, cell: Cell, lent: Any) -> dict[str, Any]:
        windows, stride = self._windows(cell.length, cell.seed, cell.trials), self._stride(cell.length)
        (row,) = perplexity(
            self.model,
            self.tokenizer,
            [self._texts[text] for text in dict.fromkeys(window.text for window in windows)],
            context_lengths=[cell.length],
            conditions=[lent],
            targets=cell.trials * stride,
            stride=stride,
            implementation=self.asking.implementation,
            batch_size=self.asking.batch_size,
        )
        return {
            "nll": row.nll,
            "nll_error": row.nll_error,
            "difference": row.difference,
            "difference_error": row.difference_error,
        }

    def _divergence(self, cell: Cell, lent: Any) -> dict[str, Any]:
        of_text: dict[int, list[float]] = {}
        in_range = []
        for window in self._windows(cell.length, cell.seed, cell.trials):
            ids = encode(self.tokenizer, self._texts[window.text])[window.stop - cell.length : window.stop]
            found = output_divergence(self.model, ids, lent, seed=cell.seed, implementation=self.asking.implementation)
            of_text.setdefault(window.text, []).append(found.kl)
            in_range.append(found.kl_in_range)
        means = [fmean(values) for values in of_text.values()]
        error = stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan
        return {"kl": fmean(fmean(v) for v in of_text.values()), "kl_error": error, "kl_in_range": fmean(in_range)}

    def _maker(self, task: str) -> Callable[..., Prompt]:
        return prompt_maker(self.model, self.tokenizer, task=task, digits=self.asking.digits)

    def _made_prompts(self, task: str, length: int, depth: float, seed: int, trials: int, needle: bool) -> list[Prompt]:
        make = partial(self._maker(passkey_task(task) or ""), length=length, depth=depth, needle=needle)
        return [make(seed=trial_seed) for trial_seed in trial_seeds(seed, trials)]

    def _stride(self, length: int) -> int:
        return max(1, min(length, context_length(self.model)) // 4)

    def _windows(self, length: int, seed: int, count: int) -> list[Window]:
        """Windows of so many tokens, a text each where there are enough of them; the seed shuffles the texts."""
        if not self._texts:
            self._texts = list(held_out_texts() if self.asking.texts is None else self.asking.texts)
            self._sizes = [len(encode(self.tokenizer, text)) for text in self._texts]
        longest = max(length, context_length(self.model))
        order = Random(seed).sample(range(len(self._texts)), len(self._texts))
        chosen = [text for text in order if self._sizes[text] >= longest][:count]
        sizes = [self._sizes[text] for text in chosen] or [max(self._sizes, default=0)]
        windows = cut_windows(sizes, count, longest=longest, stride=self._stride(length))
        if len(windows) < count:
            raise ValueError(
                f"the texts hold {len(windows)} windows of {longest} tokens, but the grid asks for texts = {count}; "
                f"give more or longer texts, or texts={len(windows)}"
            )
        return [Window(chosen[window.text], window.stop) for window in windows]


def versions() -> str:
    """The versions of what measures: ``"selfextend-viz 0.1.0, torch 2.13.0, transformers 5.23.0, Python 3.12.3"``."""
    named = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES if package != "torch"]
    return ", ".join([*named, f"torch {torch.__version__}", f"Python {platform.python_version()}"])


def _finite(value: Any) -> Any:
    """The value, or ``None`` for a number that could not be had, such as an error from one text."""
    return None if isinstance(value, float) and math.isnan(value) else value
