"""The reference: all logits at once, one softmax. Slow, obvious, differentiable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor

from selfextend_viz.attention.logits import Rotate, band_logits
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["attention_weights", "eager_attention"]


def eager_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    rotate: Rotate,
    slots: Slots,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention over disjoint bands joined in one softmax.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``.
    key, value : Tensor
        ``[batch, key heads, k, head_dim]``.
    bands, rotate, slots, scale, softcap, sinks
        As in :func:`selfextend_viz.attention.core`.

    Returns
    -------
    Tensor
        ``[batch, heads, q, value head_dim]`` in query's precision; zeros where a query sees nothing (padding).
    """
    logits = band_logits(query, key, bands, rotate=rotate, key_positions=slots, scale=scale, softcap=softcap)
    weights = attention_weights(logits, sinks)
    shared = rearrange(weights, "b (h g) q k -> b h (g q) k", h=value.shape[1])
    output = shared @ value.to(weights.dtype)
    return rearrange(output, "b h (g q) d -> b (h g) q d", q=query.shape[2]).to(query.dtype)


def attention_weights(logits: Tensor, sinks: Tensor | None = None) -> Tensor:
    """Softmax over keys; a sink is one more logit per head whose value is zero.

    Parameters
    ----------
    logits : Tensor
        ``[batch, heads, q, k]`` with ``-inf`` where unseen.
    sinks : Tensor, optional
        ``[heads]``.

    Returns
    -------
    Tensor
        ``[batch, heads, q, k]``; a row without any visible key is zero.
    """
    unseen = (logits == -torch.inf).all(-1, keepdim=True)
    logits = logits.masked_fill(unseen, 0.0)
    if sinks is None:
        return logits.softmax(-1).masked_fill(unseen, 0.0)
    extra = repeat(sinks.to(logits), "h -> b h q 1", b=logits.shape[0], q=logits.shape[2])
    return torch.cat((logits, extra), -1).softmax(-1)[..., :-1].masked_fill(unseen, 0.0)
