"""Where the answer looks: which heads fetch a key, and what one of them attends to while the model answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfextend_viz.experiments.answers import AnswerScore, as_digit_rows, teacher_forced
from selfextend_viz.experiments.conditions import Wanted, resolve
from selfextend_viz.experiments.heads import mass
from selfextend_viz.experiments.prompts import Prompt, passkey_prompt
from selfextend_viz.experiments.rows import AttentionRow, DigitRow, RetrievalRow
from selfextend_viz.methods.per_layer import Lent, method_of_layer
from selfextend_viz.patch import LayerView, check_lending, context_length, observe
from selfextend_viz.positions import Method, PlainRoPE, pair_positions, whole_number

__all__ = ["answer_attention", "attention_bins", "never_trained", "retrieval_heads"]

LONGEST = 1024
"""Retrieval heads are looked for in prompts no longer than this, whatever L."""
BINS = 48


def retrieval_heads(
    model: Any, tokenizer: Any, *, trials: int = 4, length: int | None = None, seed: int = 0, **prompt: Any
) -> Iterator[RetrievalRow]:
    """Rank all heads by how much of the answer's attention goes to the key, in prompts that the stock model can read.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer.
    trials
        Prompts, each with another key at another depth, from the start of the text to its end.
    length
        Tokens of prompt and answer, at most L; the smaller of L and 1,024 if left out.
    seed
        Chooses the keys.
    **prompt
        Further arguments of :func:`~selfextend_viz.experiments.passkey_prompt`, such as ``task``, ``filler`` or
        ``phrasing``.

    Yields
    ------
    RetrievalRow
        Each head's mean attention mass on the key's digits, the highest first.

    Raises
    ------
    ValueError
        If the length is beyond L, or too short for the prompt.
    """
    trained = context_length(model)
    whole = min(trained, LONGEST) if length is None else whole_number("length", length)
    if whole > trained:
        raise ValueError(f"length is {whole}, but the stock model reads no more than L = {trained} tokens as trained")
    prompts = [
        _reading_of(tokenizer, whole, depth=(trial + 0.5) / trials, seed=seed + trial, **prompt)
        for trial in range(whole_number("trials", trials))
    ]
    return _ranked(model, prompts)


def _reading_of(tokenizer: Any, whole: int, **options: Any) -> Prompt:
    """A prompt that makes `whole` tokens together with its answer."""
    draft = passkey_prompt(tokenizer, length=whole, **options)
    return passkey_prompt(tokenizer, length=whole - len(draft.answer_ids), **options)


def _ranked(model: Any, prompts: Sequence[Prompt]) -> Iterator[RetrievalRow]:
    masses: dict[tuple[int, int], list[float]] = {}
    for prompt in prompts:
        if prompt.needle[1] <= prompt.needle[0]:
            raise ValueError(f"the task {prompt.task!r} states no key that a head could look at")

        def see(view: LayerView, prompt: Prompt = prompt) -> None:
            logits = view.logits(PlainRoPE())[0]
            places = torch.arange(logits.shape[-1], device=logits.device)
            on_key = (places >= prompt.needle[0]) & (places < prompt.needle[1])
            for head, share in enumerate(mass(logits, on_key).tolist()):
                masses.setdefault((view.layer, head), []).append(share)

        _read(model, prompt, PlainRoPE(), see)
    scores = {place: fmean(shares) for place, shares in masses.items()}
    for layer, head in sorted(scores, key=lambda place: -scores[place]):
        yield RetrievalRow(layer, head, scores[layer, head], len(prompts))


def answer_attention(
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    condition: Wanted = None,
    *,
    layer: int,
    head: int,
    bins: int | Sequence[int] = BINS,
    implementation: str = "auto",
) -> Iterator[DigitRow | AttentionRow]:
    """What a model answers, and where one head looks while it does, from one teacher-forced forward.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer.
    prompt
        From :func:`~selfextend_viz.experiments.passkey_prompt`.
    condition
        ``None`` or ``"stock"``, ``"blindfold"``, ``"sinks"``, a method such as ``SelfExtend(8, 64)``, or a method for
        each layer named.
    layer, head
        The head that is watched; `retrieval_heads` finds those that fetch keys.
    bins
        How many bins of keys, or their edges; none straddles the needle in either case (see `attention_bins`).
    implementation
        Attention implementation of the forward.

    Yields
    ------
    DigitRow
        One for each token of the answer that is more than white space.
    AttentionRow
        One for each bin of keys: the attention mass there, averaged over the answer's queries.

    Raises
    ------
    ValueError
        If the condition shows the model another prompt, or the model has no such head.
    """
    resolved = resolve(condition, model)
    if resolved.last is not None:
        raise ValueError(f"condition {resolved.label!r} cuts the prompt, so the key would stand elsewhere; use another")
    method = PlainRoPE() if resolved.method is None else resolved.method
    check_lending(model, method, implementation=implementation)
    edges = attention_bins(len(prompt.read_ids), prompt.needle, bins)
    watched = _Watched(resolved.label, method_of_layer(method, layer), layer, head)
    return _answered(model, tokenizer, prompt, watched, method, edges, implementation)


@dataclass(frozen=True)
class _Watched:
    """Which head is watched, under what its layer runs."""

    label: str
    method: Method
    layer: int
    head: int


def _answered(
    model: Any,
    tokenizer: Any,
    prompt: Prompt,
    watched: _Watched,
    method: Lent,
    edges: Sequence[int],
    implementation: str,
) -> Iterator[DigitRow | AttentionRow]:
    attention: list[Tensor] = []
    heads: dict[int, int] = {}

    def see(view: LayerView) -> None:
        heads[view.layer] = view.query.shape[1]
        if view.layer == watched.layer and 0 <= watched.head < heads[view.layer]:
            attention.append(view.logits(watched.method)[0, watched.head].double().softmax(-1).mean(0))

    score = _read(model, prompt, method, see, implementation)
    if not attention:
        raise ValueError(
            f"there is no head {watched.head} in layer {watched.layer} to watch; this model has layers "
            f"{min(heads)} to {max(heads)} with heads 0 to {max(heads.values()) - 1}"
        )
    yield from as_digit_rows(tokenizer, prompt, score, watched.label)
    yield from _attention_rows(attention[0], prompt, watched, edges)


def _attention_rows(
    attention: Tensor, prompt: Prompt, watched: _Watched, edges: Sequence[int]
) -> Iterator[AttentionRow]:
    sums = attention.cpu().cumsum(0).tolist()
    below = [0.0, *sums]
    for start, stop in zip(edges, edges[1:], strict=False):
        told = pair_positions(watched.method, prompt.answer_rows[0], min((start + stop) // 2, prompt.answer_rows[0]))
        yield AttentionRow(
            condition=watched.label,
            layer=watched.layer,
            head=watched.head,
            start=start,
            stop=stop,
            mass=below[stop] - below[start],
            told=told.item(),
        )


def attention_bins(length: int, needle: tuple[int, int], bins: int | Sequence[int] = BINS) -> list[int]:
    """Edges of bins over the tokens ``0 .. length - 1``, one of which is exactly the needle.

    Parameters
    ----------
    length
        Number of tokens.
    needle
        First token of the needle and the one after its last; equal where there is none.
    bins
        How many bins before the needle is set apart, or edges from 0 to `length`.

    Raises
    ------
    ValueError
        If given edges do not rise from 0 to `length`.
    """
    if isinstance(bins, Sequence):
        edges = [whole_number("bins", edge, at_least=0) for edge in bins]
        if edges[:1] != [0] or edges[-1] != length or edges != sorted(set(edges)):
            raise ValueError(f"bins must be edges that rise from 0 to {length}, not {edges}")
    else:
        count = whole_number("bins", bins)
        edges = [length * place // count for place in range(count + 1)]
    start, stop = needle
    own = {start, stop} if start < stop else set()
    return sorted({edge for edge in edges if not start < edge < stop} | own)


def never_trained(method: Method, query: int, context_length: int) -> tuple[int, int] | None:
    """The stretch of keys that a query is told to be L tokens away or more, or None.

    Parameters
    ----------
    method
        What tells the query where the keys stand; plain RoPE is stock.
    query
        Position of the query.
    context_length
        L.
    """
    told = pair_positions(method, query, np.arange(query + 1))
    (beyond,) = np.nonzero(told >= context_length)
    return (int(beyond[0]), int(beyond[-1]) + 1) if len(beyond) else None


def _read(
    model: Any, prompt: Prompt, method: Lent, see: Callable[[LayerView], None], implementation: str = "auto"
) -> AnswerScore:
    """One forward over prompt and answer, while `see` looks at the answer's queries."""
    shown, answer = (torch.tensor([ids], device=model.device) for ids in (prompt.ids, prompt.answer_ids))
    looking = observe(model, prompt.answer_rows, see, method=method, implementation=implementation)
    with torch.inference_mode(), looking:
        log_probabilities = teacher_forced(model, shown, answer)[0]
    exact = bool((log_probabilities.argmax(-1) == answer[0]).all())
    of_answer = log_probabilities.gather(-1, answer[0, :, None])[prompt.answer_start :]
    return AnswerScore(exact, float(of_answer.sum()) / len(prompt.answer), log_probabilities)
