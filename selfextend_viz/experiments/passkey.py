"""The pass-key task: at which lengths and depths does a model still find what it was told?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

from selfextend_viz.experiments.answers import AnswerScore, answer_scores, as_digit_rows
from selfextend_viz.experiments.conditions import Condition, Wanted, listed, resolve, resolve_all
from selfextend_viz.experiments.progress import Advance, counted
from selfextend_viz.experiments.prompts import Document, Phrasing, Prompt, passkey_prompt
from selfextend_viz.experiments.rows import DigitRow, PasskeyRow, wilson_interval
from selfextend_viz.patch import context_length
from selfextend_viz.positions import whole_number

__all__ = ["answer_digits", "passkey"]

SCORINGS = ("teacher", "generate")
TOKENS_AT_ONCE = 16384
INTRODUCTION_FROM = 1024
SEEDS_APART = 100_003


def passkey(
    model: Any,
    tokenizer: Any,
    *,
    lengths: Iterable[int],
    depths: Iterable[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    conditions: Sequence[Wanted] = ("stock",),
    task: str | Document = "paper",
    trials: int = 5,
    digits: int = 5,
    seed: int = 0,
    scoring: str = "teacher",
    implementation: str = "auto",
    batch_size: int | None = None,
    order: Iterable[tuple[int, float]] | None = None,
    filler: str | Sequence[str] | None = None,
    phrasing: str | Phrasing = "paper",
    introduction: bool | None = None,
    chat_template: bool = True,
    progress: bool = False,
) -> Iterator[PasskeyRow]:
    """Ask for pass keys, cell by cell; every condition reads the same prompts.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    lengths, depths
        Tokens of the prompts, and where in them the needle stands; see `passkey_prompt`, which also
        explains `task`, `digits`, `filler`, `phrasing` and `chat_template`.
    conditions
        ``"stock"``, its controls ``"blindfold"`` (keys at d >= L hidden, positions untouched), ``"truncate"`` (the
        last L tokens, answer included), ``"sinks"`` (blindfold plus the first four tokens at their true distances)
        and ``"no_needle"`` (the stock model on a prompt that never states the key: what guessing reaches), and
        methods such as ``SelfExtend(8, 64)`` or ``ShuffledSelfExtend(8, 64)``.
    trials
        Prompts for each cell.
    scoring
        ``"teacher"``: one forward over prompt and answer; exact if every token of the answer is the likeliest one,
        which is when greedy decoding says it. ``"generate"``: greedy decoding; exact if the text said begins with
        the answer. The log-probability is the teacher-forced one in both.
    implementation
        Attention implementation for methods.
    batch_size
        Prompts in one forward; as many as make 16384 tokens if left out.
    order
        The cells, as ``(length, depth)``, in the order wanted, instead of all of `lengths` x `depths`.
    introduction
        Begin with the paper's introduction; left out, only for models with L >= 1024, for it is 150 bytes long.
    progress
        Show a bar with the remaining time, in the notebook or on stderr.

    Yields
    ------
    PasskeyRow
        One for each condition of each cell, all conditions of a cell before the next cell.

    Raises
    ------
    TypeError, ValueError
        At once, before any row, if an argument is out of range or unknown.
    """
    if scoring not in SCORINGS:
        raise ValueError(f"unknown scoring {scoring!r}; choose one of {', '.join(SCORINGS)}")
    whole_number("trials", trials)
    if batch_size is not None:
        whole_number("batch_size", batch_size)
    resolved = resolve_all(conditions, model, prompts=True)
    for condition in resolved:
        condition.check(model, implementation)
    make = prompt_maker(
        model,
        tokenizer,
        task=task,
        digits=digits,
        filler=filler,
        phrasing=phrasing,
        introduction=introduction,
        chat_template=chat_template,
    )
    cells = list(product(listed("lengths", lengths), listed("depths", depths)) if order is None else order)
    for length, depth in cells:
        make(length=length, depth=depth)  # so that a prompt that cannot be made is refused before any work
    seeds = trial_seeds(seed, trials)
    score = partial(answer_scores, model, tokenizer, scoring=scoring, implementation=implementation)
    rows = partial(_rows, make, score, cells, resolved, seeds=seeds, batch_size=batch_size, seed=seed)
    work = trials * len(resolved) * sum(length for length, _ in cells)
    return counted(lambda advance: rows(advance=advance), label="Pass keys", work=work, shown=progress)


def prompt_maker(
    model: Any, tokenizer: Any, *, task: str | Document, introduction: bool | None = None, **wanted: Any
) -> Callable[..., Prompt]:
    """Makes a task's prompts, for which length, depth and seed are left to give, as `passkey` makes them."""
    if introduction is None:
        introduction = not isinstance(task, Document) and context_length(model) >= INTRODUCTION_FROM
    return partial(passkey_prompt, tokenizer, task=task, introduction=introduction, **wanted)


def trial_seeds(seed: int, trials: int) -> range:
    """The seeds of a cell's prompts, far from those of the next seed."""
    return range(seed * SEEDS_APART, seed * SEEDS_APART + trials)


def _rows(
    make: Callable[..., Prompt],
    score: Callable[..., list[AnswerScore]],
    cells: Iterable[tuple[int, float]],
    conditions: Sequence[Condition],
    *,
    seeds: Sequence[int],
    batch_size: int | None,
    seed: int,
    advance: Advance,
) -> Iterator[PasskeyRow]:
    for length, depth in cells:
        size = batch_size or max(1, TOKENS_AT_ONCE // length)
        of_cell = partial(make, length=length, depth=depth)
        prompts = {
            needle: [of_cell(seed=trial_seed, needle=needle) for trial_seed in seeds]
            for needle in {condition.needle for condition in conditions}
        }
        for condition in conditions:
            scores = score(prompts[condition.needle], condition, batch_size=size)
            advance(length * len(scores))
            exact = sum(each.exact for each in scores)
            low, high = wilson_interval(exact, len(scores))
            yield PasskeyRow(
                task=prompts[condition.needle][0].task,
                condition=condition.label,
                length=length,
                depth=depth,
                trials=len(scores),
                exact=exact,
                low=low,
                high=high,
                log_probability=fmean(each.log_probability for each in scores),
                seed=seed,
            )


def answer_digits(
    model: Any, tokenizer: Any, prompt: Prompt, condition: Wanted = None, *, implementation: str = "auto"
) -> list[DigitRow]:
    """What a model says for each token of one answer, and how surely, given the right tokens before it.

    Tokens of white space alone are left out, so that a tokenizer with one token a digit gives one row a digit.
    """
    resolved = resolve(condition, model)
    (score,) = answer_scores(model, tokenizer, [prompt], resolved, implementation=implementation)
    return as_digit_rows(tokenizer, prompt, score, resolved.label)
