"""Statistics of sampled rows of attention logits, head by head: plain tensor functions, no model.

Logits are ``[heads, rows, keys]`` with ``-inf`` where a key is not seen; `rows` are the queries' positions, and a
key's position is its index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from selfextend_viz.positions import Method

LOW, HIGH = 0.001, 0.999


class Binned(NamedTuple):
    """Mean, 0.1 % and 99.9 % quantile and number of pairs in each bin of distances: ``[heads, bins]``."""

    mean: Tensor
    low: Tensor
    high: Tensor
    pairs: Tensor


def distance_edges(length: int, context_length: int, bins: int) -> list[int]:
    """Edges of about `bins` bins over the distances 0 .. N - 1, half of them below L, with L itself an edge."""
    within = min(length, context_length)
    count = bins if length <= context_length else max(1, bins // 2)
    edges = torch.linspace(0, within, count + 1).round().int().tolist()
    if length > context_length:
        edges += torch.linspace(within, length, max(1, bins - count) + 1).round().int().tolist()
    return sorted(set(edges))


def sample_rows(start: int, stop: int, count: int, generator: torch.Generator) -> Tensor:
    """At most `count` positions from ``start .. stop - 1``: one at random of each equal part, and the last one."""
    count = min(count, stop - start)
    edges = torch.linspace(start, stop, count + 1, dtype=torch.float64)
    places = edges[:-1] + torch.rand(count, generator=generator, dtype=torch.float64) * edges.diff()
    rows = places.long().clamp(start, stop - 1)
    rows[-1] = stop - 1
    return rows.unique()


def told_positions(method: Method, rows: Tensor, keys: int, heads: int) -> Tensor:
    """Relative position each query is told for each key, -1 where it sees none: ``[heads or 1, rows, keys]``."""
    query, key = rows[:, None], torch.arange(keys, device=rows.device)
    whole = all(band.heads == slice(None) for band in method.bands)
    told = torch.full((1 if whole else heads, len(rows), keys), -1, device=rows.device)
    for band in method.bands:
        positions = band.query_position(query) - band.key_position(key)
        seen = band.sees(query, key) & (query >= key)
        part = slice(None) if whole else band.heads_of(heads)
        told = told.to(torch.promote_types(told.dtype, positions.dtype))
        told[part] = torch.where(seen, positions.to(told.dtype), told[part])
    return told


def binned(logits: Tensor, rows: Tensor, edges: Sequence[int]) -> Binned:
    """Logits by true distance, in the bins ``[edges[n], edges[n + 1])``; an empty bin has nan and 0 pairs."""
    columns = [_bin(logits, rows, low, high) for low, high in zip(edges, edges[1:], strict=False)]
    return Binned(*(torch.stack(parts, dim=-1) for parts in zip(*columns, strict=True)))


def _bin(logits: Tensor, rows: Tensor, low: int, high: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    keys = rows[:, None] - torch.arange(low, high, device=rows.device)
    values = logits.gather(-1, keys.clamp(min=0).expand(len(logits), -1, -1))
    values = values.masked_fill(keys < 0, -torch.inf).flatten(1)
    pairs = values.isfinite().sum(-1)
    mean = values.where(values.isfinite(), 0).sum(-1) / pairs
    ordered = values.sort(-1).values
    return mean, _finite_quantile(ordered, LOW), _finite_quantile(ordered, HIGH), pairs


def high_quantile(logits: Tensor) -> Tensor:
    """Each head's 99.9 % quantile of the logits it has: ``[heads]``."""
    return _finite_quantile(logits.flatten(1).sort(-1).values, HIGH)


def _finite_quantile(ordered: Tensor, share: float) -> Tensor:
    """Quantile, linear between neighbours, of the finite ones of sorted values ``[heads, n]``; nan without any."""
    hidden = (ordered == -torch.inf).sum(-1)
    place = (ordered.shape[-1] - 1 - hidden).clamp(min=0).double() * share
    below = (hidden + place.floor().long()).clamp(max=ordered.shape[-1] - 1)
    above = (below + 1).clamp(max=ordered.shape[-1] - 1)
    first, second = (ordered.gather(-1, index[:, None])[:, 0] for index in (below, above))
    found = first + (second - first) * (place - place.floor()).to(ordered.dtype)
    return torch.where(hidden == ordered.shape[-1], torch.nan, torch.where(first == second, first, found))


def outlier_share(logits: Tensor, rows: Tensor, *, threshold: Tensor, context_length: int) -> Tensor:
    """Part of the logits seen at true distances >= L that lie above each head's threshold; 0 where there are none."""
    far = _far(logits, rows, context_length) & (logits > -torch.inf)
    above = far & (logits > threshold[:, None, None])
    return above.sum((-1, -2)) / far.sum((-1, -2)).clamp(min=1)


def mass(logits: Tensor, where: Tensor) -> Tensor:
    """Mean over rows of the softmax mass on the keys of `where`, a mask that broadcasts: ``[heads]``."""
    return (logits.softmax(-1) * where).sum(-1).mean(-1)


def far_mass(logits: Tensor, told: Tensor, context_length: float) -> Tensor:
    """Softmax mass on relative positions >= L, which no training has taught: ``[heads]``."""
    return mass(logits, told >= context_length)


def distant_mass(logits: Tensor, rows: Tensor, context_length: int) -> Tensor:
    """Softmax mass on true distances >= L: ``[heads]``."""
    return mass(logits, _far(logits, rows, context_length))


def uniform_far_mass(rows: Tensor, context_length: int) -> float:
    """What uniform attention would put on true distances >= L."""
    return float(((rows - context_length + 1).clamp(min=0) / (rows + 1)).double().mean())


def row_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Mean over rows of KL(softmax of `first` || softmax of `second`), in nats: ``[heads]``.

    Infinite where `second` hides a key that `first` sees.
    """
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    probability = log_p.exp()
    terms = torch.where(probability > 0, probability * (log_p - log_q), 0)
    return terms.sum(-1).mean(-1).clamp(min=0)


def _far(logits: Tensor, rows: Tensor, context_length: int) -> Tensor:
    keys = torch.arange(logits.shape[-1], device=rows.device)
    return rows[:, None] - keys >= context_length
