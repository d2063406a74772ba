"""One query and one key of a head, as they are, moved apart: what distance alone makes of their logit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.experiments.conditions import listed
from selfextend_viz.experiments.losses import one_text
from selfextend_viz.experiments.rows import PairLogitRow
from selfextend_viz.patch import LayerView, observe
from selfextend_viz.positions import Band, whole_number

__all__ = ["pair_logits"]


@dataclass(frozen=True)
class _Apart:
    """Every key is told the same distance."""

    distance: int

    @property
    def bands(self) -> tuple[Band, ...]:
        distance = self.distance
        return (Band(lambda i: i * 0 + distance, lambda j: j * 0),)


def pair_logits(
    model: Any,
    ids: Sequence[int] | Tensor,
    *,
    query: int,
    key: int,
    layer: int,
    head: int,
    distances: Iterable[int],
) -> list[PairLogitRow]:
    """The logit that one query would give one key at each distance; their contents stay as this text made them.

    Parameters
    ----------
    model
        A transformers causal language model that uses RoPE.
    ids
        The text's tokens, ``[N]`` or ``[1, N]``; within L, so that queries and keys are those of a working model.
    query, key
        Positions in the text, the key not after the query.
    layer, head
        Whose query and key.
    distances
        How far apart to put them.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or the model has no such head.
    """
    tokens = one_text(ids, model.device)
    apart = [whole_number("distances", each, at_least=0) for each in listed("distances", distances)]
    if not 0 <= key <= query < len(tokens):
        raise ValueError(f"key {key} and query {query} must be 0 <= key <= query < {len(tokens)}, the text's length")
    found: list[PairLogitRow] = []

    def see(view: LayerView) -> None:
        if view.layer == layer and 0 <= head < view.query.shape[1]:
            for distance in apart:
                logit = float(view.logits(_Apart(distance))[0, head, 0, key])
                found.append(PairLogitRow(layer, head, distance, logit))

    with torch.inference_mode(), observe(model, [query], see):
        model(input_ids=tokens[None], use_cache=False, logits_to_keep=1)
    if not found:
        raise ValueError(f"there is no head {head} in layer {layer} to look at")
    return found
