"""Perplexity on the same target tokens at every context length: only the text to their left grows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfextend_viz.experiments.conditions import Condition, Wanted, listed, resolve, resolve_all
from selfextend_viz.experiments.losses import HEAD_CHUNK, one_text, sequence_losses
from selfextend_viz.experiments.progress import Advance, counted
from selfextend_viz.experiments.rows import BLINDFOLD, SINKS, STOCK, TRUNCATE, PerplexityRow
from selfextend_viz.experiments.tokens import encode
from selfextend_viz.methods.per_layer import Lent
from selfextend_viz.patch import context_length, extended
from selfextend_viz.positions import whole_number

__all__ = ["perplexity", "token_losses"]

TOKENS_AT_ONCE = 16384


def token_losses(
    model: Any,
    ids: Sequence[int] | Tensor,
    *,
    method: Lent | None = None,
    chunk_size: int = HEAD_CHUNK,
    implementation: str = "auto",
) -> Tensor:
    """Negative log-likelihood of every token but the first, in nats, from one forward.

    The output layer is applied to `chunk_size` positions at a time, so that logits of all positions are never held.

    Parameters
    ----------
    model
        A transformers causal language model.
    ids
        One text's tokens, ``[length]`` or ``[1, length]``, at least two.
    method
        What the model is lent for the forward; left out, the model runs as it is.

    Returns
    -------
    Tensor
        float32 ``[length - 1]``; entry ``n`` is the loss of token ``n + 1``.

    Raises
    ------
    TypeError
        If the ids are not whole numbers.
    ValueError
        If there are fewer than two tokens, more than one text, or `chunk_size` is below 1.
    """
    tokens = one_text(ids, model.device)[None]
    whole_number("chunk_size", chunk_size)
    with torch.inference_mode():
        if method is None:
            return sequence_losses(model, tokens, chunk_size=chunk_size)[0]
        with extended(model, method, implementation=implementation):
            return sequence_losses(model, tokens, chunk_size=chunk_size)[0]


def perplexity(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    *,
    context_lengths: Iterable[int],
    conditions: Sequence[Wanted] = ("stock", "blindfold"),
    targets: int = 20_000,
    stride: int | None = None,
    implementation: str = "auto",
    batch_size: int | None = None,
    progress: bool = False,
) -> Iterator[PerplexityRow]:
    """Mean loss of the same tokens under longer and longer contexts, compared with stock on the last L tokens.

    Windows are cut from the texts; the last `stride` tokens of each are scored, with ``context_length`` tokens of text
    up to the window's end. Only a difference below that of ``"blindfold"`` shows that far text is used.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    texts
        Held-out texts; those shorter than the longest context (and L) are left out. Use eight or more.
    context_lengths
        Tokens the model sees up to each window's end.
    conditions
        As for `passkey`. With no more than L tokens the controls are the stock model itself, and are not run again.
    targets
        How many tokens to score, fewer where the texts do not allow as many; spread over the texts evenly.
    stride
        Targets of one window; a quarter of the shortest context if left out.
    implementation
        Attention implementation for methods.
    batch_size
        Windows in one forward; as many as make 16384 tokens if left out.
    progress
        Show a bar with the remaining time, in the notebook or on stderr.

    Yields
    ------
    PerplexityRow
        For each context length, one for each condition. Standard errors are over texts, nan where there is only one.

    Raises
    ------
    TypeError, ValueError
        At once, if an argument is out of range, or no text is long enough.
    """
    lengths = [
        whole_number("context_length", length, at_least=2) for length in listed("context_lengths", context_lengths)
    ]
    resolved, trained = resolve_all(conditions, model), context_length(model)
    for condition in resolved:
        condition.check(model, implementation)
    stride = max(1, min(*lengths, trained) // 4) if stride is None else whole_number("stride", stride)
    if stride >= min(*lengths, trained):
        raise ValueError(f"stride is {stride}, but must be below every context length ({min(*lengths, trained)})")
    tokens = [torch.tensor(encode(tokenizer, text), dtype=torch.long) for text in listed("texts", texts)]
    count = math.ceil(whole_number("targets", targets) / stride)
    windows = cut_windows([len(ids) for ids in tokens], count, longest=max(*lengths, trained), stride=stride)
    runner = _Runner(model, tokens, windows, stride, implementation, batch_size)
    return counted(
        lambda advance: _rows(runner, lengths, resolved, trained, advance),
        label="Perplexity",
        work=len(windows) * tokens_to_read(resolved, lengths, trained, model),
        shown=progress,
    )


def tokens_to_read(conditions: Sequence[Condition], lengths: Sequence[int], trained: int, model: Any) -> int:
    """Tokens of one window over all that runs: every condition at every length once, and stock on the last L tokens."""
    wanted = [
        *((condition, length) for condition in conditions for length in lengths),
        (resolve(STOCK, model), trained),
    ]
    runs = {what_runs(condition, length, trained, model) for condition, length in wanted}
    return sum(length for _, length in runs)


def _rows(
    runner: _Runner, lengths: Sequence[int], conditions: Sequence[Condition], trained: int, advance: Advance
) -> Iterator[PerplexityRow]:
    known: dict[tuple[str, int], NDArray[np.float64]] = {}

    def losses(condition: Condition, length: int) -> NDArray[np.float64]:
        condition, length = what_runs(condition, length, trained, runner.model)
        key = condition.label, length
        if key not in known:
            known[key] = runner.losses(condition, length, advance)
        return known[key]

    texts = np.array([window.text for window in runner.windows])
    baseline = resolve(STOCK, runner.model)
    for length in lengths:
        for condition in conditions:
            found = losses(condition, length)
            nll, nll_error = mean_over_texts(found, texts)
            difference, difference_error = mean_over_texts(found - losses(baseline, trained), texts)
            yield PerplexityRow(
                condition=condition.label,
                context_length=length,
                texts=len(set(texts.tolist())),
                targets=found.size,
                nll=nll,
                nll_error=nll_error,
                difference=difference,
                difference_error=difference_error,
            )


@dataclass(frozen=True)
class Window:
    """Where a window ends, in which text."""

    text: int
    stop: int


def cut_windows(sizes: Sequence[int], count: int, *, longest: int, stride: int) -> list[Window]:
    """Windows whose targets do not overlap, about `count`, spread evenly over the texts and within each.

    Parameters
    ----------
    sizes
        Tokens of each text.
    longest
        Tokens that must lie before each window's end.
    stride
        Targets of one window.

    Raises
    ------
    ValueError
        If no text has `longest` tokens.
    """
    room = sorted((1 + (size - longest) // stride, text) for text, size in enumerate(sizes) if size >= longest)
    if not room:
        raise ValueError(
            f"the longest text has {max(sizes, default=0)} tokens, but a context needs {longest}; "
            "give longer texts or a shorter context"
        )
    windows, left = [], count
    for index, (most, text) in enumerate(room):
        share = min(most, math.ceil(left / (len(room) - index)))
        stops = np.linspace(longest, longest + (most - 1) * stride, share).astype(int) if share > 1 else [longest]
        windows += [Window(text, int(stop)) for stop in stops[:share]]
        left -= share
    return windows


@dataclass(frozen=True, eq=False)
class _Runner:
    """Runs windows through the model."""

    model: Any
    tokens: Sequence[Tensor]
    windows: Sequence[Window]
    stride: int
    implementation: str
    batch_size: int | None

    def losses(self, condition: Condition, length: int, advance: Advance) -> NDArray[np.float64]:
        """Losses ``[windows, stride]`` of the last tokens of windows of that length."""
        size = self.batch_size or max(1, TOKENS_AT_ONCE // length)
        found = []
        with torch.inference_mode(), condition.lent(self.model, self.implementation):
            for start in range(0, len(self.windows), size):
                batch = [self.tokens[w.text][w.stop - length : w.stop] for w in self.windows[start : start + size]]
                ids = torch.stack(batch).to(self.model.device)
                found.append(sequence_losses(self.model, ids, first=length - self.stride).double().cpu().numpy())
                advance(ids.numel())
        return np.concatenate(found)


def what_runs(condition: Condition, length: int, trained: int, model: Any) -> tuple[Condition, int]:
    """The condition and length to run: up to L tokens a control is the stock model, and truncation is always."""
    if condition.label == TRUNCATE or (condition.label in (BLINDFOLD, SINKS) and length <= trained):
        return resolve(STOCK, model), min(length, trained)
    return condition, length


def mean_over_texts(losses: NDArray[np.float64], texts: NDArray[np.int64]) -> tuple[float, float]:
    """Mean over all targets and its standard error, with texts as the independent units.

    Parameters
    ----------
    losses
        ``[windows, stride]``.
    texts
        ``[windows]``: the text each window is from.
    """
    mean = float(losses.mean())
    units = np.unique(texts)
    if len(units) == 1:
        return mean, math.nan
    excess = np.array([(losses[texts == unit] - mean).sum() for unit in units])
    variance = (excess**2).sum() * len(units) / (len(units) - 1)
    return mean, float(math.sqrt(variance) / losses.size)
