"""How much attention falls outside the trained range, under each condition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.attention import head_slices
from selfextend_viz.experiments.comparison_rows import MassRow
from selfextend_viz.experiments.conditions import Condition
from selfextend_viz.experiments.head_rows import MOST_LOGITS
from selfextend_viz.experiments.heads import far_mass, sample_rows, told_positions
from selfextend_viz.experiments.losses import decoder_states
from selfextend_viz.experiments.progress import Advance
from selfextend_viz.frequencies import rule_of, scaled_frequencies
from selfextend_viz.methods.per_layer import method_of_layer
from selfextend_viz.patch import LayerView, context_length, observe, plain_frequencies
from selfextend_viz.positions import Method, PlainRoPE

__all__ = ["mass_rows", "slowdown"]


def mass_rows(
    model: Any,
    texts: Sequence[Tensor],
    conditions: Sequence[Condition],
    *,
    lengths: Sequence[int],
    queries: int,
    seed: int,
    implementation: str,
    advance: Advance,
) -> Iterator[MassRow]:
    """A row for each condition at each length; every condition reads the last N tokens of the same texts.

    Queries are sampled from the second half of the text and beyond L. Each condition's layers run on its own inputs.
    """
    trained = context_length(model)
    for length in lengths:
        generator = torch.Generator().manual_seed(seed)
        rows = sample_rows(max(length // 2, min(length - 1, trained)), length, queries, generator)
        for condition in conditions:
            gone = 0 if condition.last is None else max(0, length - condition.last)
            lent = PlainRoPE() if condition.method is None else condition.method
            seen = _Seen(lent, trained, slowdown(model, lent, length))
            looking = observe(model, rows[rows >= gone] - gone, seen.look, method=lent, implementation=implementation)
            with torch.inference_mode(), looking:
                for text in texts:
                    decoder_states(model, text[None, len(text) - length + gone :].to(model.device))
                    advance(length - gone)
            yield seen.row(condition.label, length, texts=len(texts), queries=len(rows))


@dataclass
class _Seen:
    """Each head's share outside the trained range, text by text, and that of uniform attention."""

    lent: Any
    trained: int
    slower: float
    shares: dict[tuple[int, int], list[float]] = field(default_factory=dict)
    uniform: list[float] = field(default_factory=list)

    def look(self, view: LayerView) -> None:
        """Take note of one layer."""
        method: Method = method_of_layer(self.lent, view.layer)
        heads = view.query.shape[1]
        told = told_positions(method, view.row_positions, view.key.shape[2], heads)
        limit = self.slower * self.trained
        kept = (told >= 0).sum(-1).clamp(min=1)
        self.uniform.append(float(((told >= limit).sum(-1) / kept).double().mean()))
        for part in head_slices(view.query, view.key, MOST_LOGITS):
            places = told if len(told) == 1 else told[part]
            found = far_mass(view.logits(method, part)[0].double(), places, limit)
            for head, share in zip(range(heads)[part], found.tolist(), strict=True):
                self.shares.setdefault((view.layer, head), []).append(share)

    def row(self, label: str, length: int, *, texts: int, queries: int) -> MassRow:
        """Means over heads and texts."""
        heads = [fmean(shares) for shares in self.shares.values()]
        return MassRow(
            condition=label,
            length=length,
            outside=fmean(heads),
            worst=max(heads),
            uniform=fmean(self.uniform),
            slowdown=self.slower,
            texts=texts,
            queries=queries,
            heads=len(heads),
        )


def slowdown(model: Any, method: Any, length: int) -> float:
    """How much farther a told distance may be under a method's frequencies before an angle is one never trained.

    The smallest of ``inv_freq / scaled`` among the pairs that do not turn once within L, since only those meet new
    angles beyond it; where every pair does, that of the slowest pair. 1 for methods that leave frequencies alone.

    Parameters
    ----------
    model
        A transformers causal language model.
    method
        A method; one for each layer named counts as one that leaves frequencies alone, since it must.
    length
        Tokens of the text, which some rules take into account.
    """
    rule = rule_of(method)
    if rule is None:
        return 1.0
    trained = context_length(model)
    inv_freq, theta = plain_frequencies(model)
    scaled, _ = scaled_frequencies(rule, inv_freq, theta=theta, length=length, context_length=trained)
    ratios = inv_freq.float() / scaled.to(inv_freq.device)
    slow = inv_freq * trained < 2 * torch.pi
    return float(ratios[slow].min() if slow.any() else ratios[inv_freq.argmin()])
