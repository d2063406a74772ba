"""Plain attention in the model's own precision, told where its keys stand: the measure of what that precision costs."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from selfextend_viz.experiments.oracle import Turn

CELLS = 2**22


def rotated_once(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    told: NDArray[Any],
    *,
    turn: Turn,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of the last rows of a text as the stock model computes it, if its keys stood where a method tells.

    A query turns to its true position i and a key to i minus its told distance, each once, so that angles are as large
    as the stock model's. Parameters as for :func:`selfextend_viz.experiments.oracle.attention_rows`.

    Returns
    -------
    Tensor
        ``[heads, rows, head_dim]``, in query's precision.
    """
    distance = torch.as_tensor(told, device=query.device)
    places = (distance >= 0).long().mul(torch.arange(distance.shape[1], device=query.device)).amax(-1)
    here = rearrange(turn(query[None])(places[None]), "1 h r d -> r h 1 d")
    size = max(1, CELLS // key.numel())
    turn_keys, parts = turn(key[None]), []
    for start in range(0, len(distance), size):
        some = slice(start, start + size)
        keys = turn_keys(places[some, None] - distance[some])
        values = value.expand(len(keys), -1, -1, -1)
        seen = (distance[some] >= 0)[:, None, None]
        if softcap is None and sinks is None:
            options: dict[str, Any] = {"scale": scale, "enable_gqa": True}
            parts.append(scaled_dot_product_attention(here[some], keys, values, attn_mask=seen, **options))
        else:
            parts.append(_by_hand(here[some], keys, values, seen, scale=scale, softcap=softcap, sinks=sinks))
    return rearrange(torch.cat(parts), "r h 1 d -> h r d")


def _by_hand(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seen: Tensor,
    *,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """As transformers' eager attention does it, ``[rows, heads, 1, head_dim]``: soft caps and sinks have no kernel."""
    shared = rearrange(query, "r (h g) 1 d -> r h g d", h=key.shape[1])
    logits = rearrange(shared @ key.mT * scale, "r h g n -> r (h g) 1 n")
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    logits = logits.masked_fill(~seen, -torch.inf)
    if sinks is not None:
        extra = sinks.to(logits)[None, :, None, None].expand(len(logits), -1, 1, 1)
        logits = torch.cat((logits, extra), dim=-1)
    weights = logits.float().softmax(-1)[..., : key.shape[2]].to(value.dtype)
    output = rearrange(weights, "r (h g) 1 n -> r h g n", h=key.shape[1]) @ value
    return rearrange(output, "r h g d -> r (h g) 1 d")
