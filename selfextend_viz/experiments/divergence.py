"""Attention-logit divergence: what long distances do to each head's logits, and what a method makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.experiments.conditions import Condition
from selfextend_viz.experiments.head_rows import Survey
from selfextend_viz.experiments.heads import distance_edges, sample_rows
from selfextend_viz.experiments.losses import decoder_states, one_text
from selfextend_viz.experiments.needle import Needle
from selfextend_viz.experiments.output_kl import output_kl
from selfextend_viz.experiments.progress import Advance, counted
from selfextend_viz.experiments.random_heads import random_divergence
from selfextend_viz.experiments.rows import STOCK, HeadRow, LogitRow, OutputRow
from selfextend_viz.methods.per_layer import Lent, PerLayer, lent_method
from selfextend_viz.patch import LayerView, check_lending, context_length, observe
from selfextend_viz.positions import Method, PlainRoPE, whole_number

__all__ = ["divergence", "random_divergence"]

QUERIES = 64
BINS = 48


def divergence(
    model: Any,
    ids: Sequence[int] | Tensor,
    method: Lent,
    *,
    queries: int = QUERIES,
    bins: int | Sequence[int] = BINS,
    needle: tuple[int, int] | None = None,
    answer_rows: Sequence[int] | None = None,
    seed: int = 0,
    stream: str = "method",
    implementation: str = "auto",
    progress: bool = False,
) -> Iterator[LogitRow | HeadRow | OutputRow]:
    """Compare attention logits of stock and method at N, on one stream of q and k, with what training taught.

    Four forwards at most: the stock model on the last L tokens (the in-range reference), stock and method at N, and
    with a needle the stock model on a text cut to L. Only sampled rows of logits are ever held, of one layer and of
    few heads at a time: ``queries * N`` numbers a head, and eight times ``2**22`` numbers in all (or what the heads
    that share one key head have, if more). At 32k tokens and 32 heads that is 212 MiB beside the forward's own.

    Parameters
    ----------
    model
        A transformers causal language model in evaluation mode.
    ids
        One text's tokens, ``[N]`` or ``[1, N]``.
    method
        What is compared with stock, such as ``SelfExtend(8, 64)``, or a method for each layer named; a layer that is
        not named is plain on both sides.
    queries
        Rows sampled, from the second half of the text and from beyond L where it is longer.
    bins
        How many bins of true distance, half of them below L, or their edges.
    needle, answer_rows
        Span of a key's tokens, and positions of the queries that foretell the answer (``Prompt.needle`` and
        ``Prompt.answer_rows``); the last position if left out.
    seed
        Chooses the rows.
    stream
        Whose q and k are looked at: ``"method"`` (every layer's inputs are those of the working model, so each head
        shows what the distances alone do to it) or ``"stock"`` (later layers inherit what earlier ones broke).
    implementation
        Attention implementation of the forwards.
    progress
        Show a bar with the remaining time, in the notebook or on stderr.

    Yields
    ------
    LogitRow
        (a) For each head, condition (``"reference"``, ``"stock"``, the method's label) and bin.
    HeadRow
        (b) to (e) For each head, after its logit rows.
    OutputRow
        (f) For stock and method, at the end.

    Raises
    ------
    TypeError, ValueError
        At once, if an argument is out of range or does not fit the text.
    """
    trained = context_length(model)
    tokens = one_text(ids, model.device)
    length = len(tokens)
    if stream not in ("method", STOCK):
        raise ValueError(f"unknown stream {stream!r}; choose 'method' or 'stock'")
    method = lent_method(method)
    check_lending(model, method, implementation=implementation)
    found = None if needle is None else Needle.of(needle, answer_rows, length)
    if found is not None:
        found.cut(length, trained)
    generator = torch.Generator().manual_seed(whole_number("seed", seed, at_least=0))
    start = max(length // 2, trained) if length > trained else length // 2
    within = min(length, trained)
    sampled, sampled_within = (
        sample_rows(*bounds, whole_number("queries", queries), generator)
        for bounds in ((start, length), (within // 2, within))
    )
    span = None if found is None else (found.start, found.stop)
    edges = checked_edges(bins, length, trained)
    survey = Survey(method, length, trained, edges, sampled=len(sampled), needle=span)
    run = _Run(model, tokens, survey, sampled, sampled_within, found, stream, implementation)
    return counted(run.rows, label="Attention logits", work=run.work, shown=progress)


def checked_edges(bins: int | Sequence[int], length: int, trained: int) -> list[int]:
    """Edges of distance bins: of so many bins, or as given.

    Raises
    ------
    ValueError
        If given edges do not rise from 0 on, or miss L.
    """
    if not isinstance(bins, Sequence):
        return distance_edges(length, trained, whole_number("bins", bins))
    edges = [whole_number("bins", edge, at_least=0) for edge in bins]
    rising = all(low < high for low, high in zip(edges, edges[1:], strict=False))
    if len(edges) < 2 or not rising or (edges[0] < trained < edges[-1] and trained not in edges):
        raise ValueError(f"bins must be edges that rise, with L = {trained} among them, not {list(bins)}")
    return edges


@dataclass(frozen=True, eq=False)
class _Run:
    """The forwards of one comparison."""

    model: Any
    tokens: Tensor
    survey: Survey
    sampled: Tensor
    sampled_within: Tensor
    needle: Needle | None
    stream: str
    implementation: str

    @property
    def observed(self) -> Lent:
        """What the layers run under while they are looked at."""
        return self.survey.method if self.stream == "method" else PlainRoPE()

    @property
    def work(self) -> int:
        """Tokens of all forwards."""
        length = len(self.tokens)
        within = min(length, self.survey.context_length)
        again = sum(lent != self.observed for lent in (PlainRoPE(), self.survey.method))
        return within + length + (within if self.needle is not None else 0) + again * length

    def rows(self, advance: Advance) -> Iterator[LogitRow | HeadRow | OutputRow]:
        plain, method, observed = PlainRoPE(), self.survey.method, self.observed
        look = partial(self._look, advance=advance)
        within = self.tokens[-min(len(self.tokens), self.survey.context_length) :]
        reference = look(within, self.sampled_within, self.survey.see_reference, plain)
        asking = torch.tensor(self.needle.rows if self.needle else (), dtype=torch.long)
        states = look(self.tokens, torch.cat((self.sampled, asking)), self.survey.see_length, observed)
        if self.needle is not None:
            kept, moved = self.needle.cut(len(self.tokens), self.survey.context_length)
            see = partial(self.survey.see_cut, span=(moved.start, moved.stop))
            look(self.tokens[kept], torch.tensor(moved.rows), see, plain)
        yield from self.survey.rows()
        for label, lent in {STOCK: plain, str(method): method}.items():
            same = lent == observed
            yield self._output_row(label, reference, states if same else self._states(lent, advance))

    def _look(
        self, tokens: Tensor, rows: Tensor, see: Callable[[LayerView], None], method: Lent, *, advance: Advance
    ) -> Tensor:
        """Run the decoder with `see` looking on; the states of the last tokens, one for each row within L."""
        layers = self.model.config.get_text_config(decoder=True).num_hidden_layers
        seen = []

        def look(view: LayerView) -> None:
            see(view)
            seen.append(view.layer)
            advance(len(tokens) / layers)

        with torch.inference_mode(), observe(self.model, rows, look, method=method, implementation=self.implementation):
            states = self._compared(decoder_states(self.model, tokens[None]))
        advance(len(tokens) * (layers - len(seen)) / layers)
        return states

    def _states(self, method: Method | PerLayer, advance: Advance) -> Tensor:
        with torch.inference_mode(), Condition(str(method), method).lent(self.model, self.implementation):
            states = self._compared(decoder_states(self.model, self.tokens[None]))
        advance(len(self.tokens))
        return states

    def _compared(self, states: Tensor) -> Tensor:
        """States ``[rows, width]`` at the rows sampled within the last L tokens."""
        last = min(len(self.tokens), self.survey.context_length)
        return states[0, states.shape[1] - last :][self.sampled_within.to(states.device)]

    def _output_row(self, label: str, reference: Tensor, states: Tensor) -> OutputRow:
        divergences = output_kl(self.model, reference, states)
        count = len(divergences)
        error = float(divergences.std() / math.sqrt(count)) if count > 1 else math.nan
        return OutputRow(label, len(self.tokens), count, float(divergences.mean()), error)
