"""Divergence of random heads: what rotary logits do past L without any model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from selfextend_viz.attention import band_logits, picked_heads, scaled_by
from selfextend_viz.experiments.head_rows import Survey
from selfextend_viz.experiments.heads import distance_edges, sample_rows
from selfextend_viz.experiments.rows import HeadRow, LogitRow
from selfextend_viz.frequencies import rule_of, scaled_frequencies
from selfextend_viz.positions import Band, Method, bands_of, whole_number
from selfextend_viz.rope import default_inv_freq, rotate


@dataclass(frozen=True, eq=False)
class RandomView:
    """Random queries and keys, not yet rotated, seen as one layer.

    Attributes
    ----------
    query : Tensor
        ``[1, heads, rows, head_dim]``.
    key : Tensor
        ``[1, heads, keys, head_dim]``.
    row_positions : Tensor
        int64 ``[rows]``.
    inv_freq : Tensor
        ``[head_dim // 2]``.
    theta : float
        Their base.
    context_length : int, optional
        L, for methods that scale frequencies by it.
    """

    query: Tensor
    key: Tensor
    row_positions: Tensor
    inv_freq: Tensor
    layer: int = 0
    theta: float = 10000.0
    context_length: int | None = None

    def logits(self, method: Method, heads: slice = slice(None)) -> Tensor:
        """Logits ``[1, heads, rows, keys]`` of the sampled rows under a method, of all heads or of some."""
        keys = torch.arange(self.key.shape[2])
        inv_freq, factor = self.inv_freq, 1.0
        if (rule := rule_of(method)) is not None:
            inv_freq, factor = scaled_frequencies(
                rule, inv_freq, theta=self.theta, length=len(keys), context_length=self.context_length
            )

        def turned(tensor: Tensor, band: Band, side: str) -> Tensor:
            told = band.query_position(self.row_positions) if side == "query" else band.key_position(keys)
            return rotate(tensor, told, inv_freq, attention_factor=factor)

        query, key, left = picked_heads(self.query, self.key, method.bands, heads)
        query = scaled_by(method, query, self.row_positions[None])
        return band_logits(query, key, method.bands, rotate=turned, query_slots=self.row_positions)[:, left]


def random_divergence(
    method: Method,
    *,
    length: int,
    context_length: int,
    head_dim: int = 64,
    heads: int = 4,
    theta: float = 10000.0,
    seed: int = 0,
    queries: int = 64,
    bins: int = 48,
    shared: float = 1.0,
) -> Iterator[LogitRow | HeadRow]:
    """The rows of `divergence` for random queries and keys, without a model (hence without needle and output rows).

    Each head's queries and keys are normal noise around one direction of the head, as in trained models, whose
    queries and keys have large means: through it the logits depend on distance.

    Parameters
    ----------
    method
        What is compared with stock.
    length, context_length
        N, and the L that is taken for trained.
    head_dim, heads, theta
        Size of the heads and base of the frequencies.
    seed
        Chooses queries, keys and rows.
    queries, bins
        As for `divergence`.
    shared
        Length of the shared direction, relative to the noise; 0 for noise alone.

    Yields
    ------
    LogitRow, HeadRow

    Raises
    ------
    TypeError, ValueError
        At once, if a number is out of range.
    """
    length = whole_number("length", length, at_least=2)
    trained = whole_number("context_length", context_length, at_least=2)
    bands_of(method)
    capacity = getattr(method, "capacity", None)
    if capacity is not None:
        capacity(trained)  # refuses a window that leaves no room within L
    inv_freq, _ = default_inv_freq(head_dim, theta=theta)
    generator = torch.Generator().manual_seed(whole_number("seed", seed, at_least=0))
    size = (1, whole_number("heads", heads), length, head_dim)
    direction = shared * torch.randn(1, heads, 1, head_dim, generator=generator)
    query, key = (direction + torch.randn(size, generator=generator) for _ in range(2))
    within = min(length, trained)
    start = max(length // 2, trained) if length > trained else length // 2
    count = whole_number("queries", queries)
    rows, rows_within = (sample_rows(*bounds, count, generator) for bounds in ((start, length), (within // 2, within)))
    survey = Survey(method, length, trained, distance_edges(length, trained, whole_number("bins", bins)), len(rows))
    view = partial(RandomView, inv_freq=inv_freq, theta=theta, context_length=trained)
    survey.see_reference(view(query[:, :, length - within + rows_within], key[:, :, length - within :], rows_within))
    survey.see_length(view(query[:, :, rows], key, rows))
    return survey.rows()
