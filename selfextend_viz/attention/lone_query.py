"""One query a row, as decoding has: its bands are runs of keys, and all their logits take one softmax.

Tiles would be rectangles of one row, for which a kernel made for many rows reads the keys slower than a plain product
does. The logits are one number per key, so nothing of size N x N exists here either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["is_lone", "lone_query_attention"]


def is_lone(query: Tensor) -> bool:
    """Whether plain products serve these queries best: one a row, on CPU, where products are at least single precision.

    Halves would be rounded before the softmax.
    """
    return query.shape[2] == 1 and query.device.type == "cpu" and query.dtype in (torch.float32, torch.float64)


def lone_query_attention(
    value: Tensor,
    turned: Iterable[tuple[Tensor, Tensor]],
    bands: Sequence[Band],
    *,
    slots: Slots,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of the last token over disjoint bands.

    Parameters
    ----------
    value : Tensor
        ``[batch, key heads, k, head_dim]``.
    turned : iterable of pairs of Tensor
        For each band the query ``[batch, heads, 1, head_dim]`` and the keys ``[batch, key heads, k, head_dim]``.
    bands, slots, scale, softcap, sinks
        As in :func:`selfextend_viz.attention.flash.flash_attention`.

    Returns
    -------
    Tensor
        ``[batch, heads, 1, head_dim]``; zeros where a row sees nothing.
    """
    pairs = tuple(turned)
    output = torch.zeros_like(pairs[0][0])
    for rows, queries, keys in slots.spans():
        seen = [(pair, run) for pair, band in zip(pairs, bands, strict=True) if (run := _run(keys, band))]
        if not seen:
            continue
        logits = [_logits(query[rows], key[rows, :, run], scale, softcap) for (query, key), run in seen]
        weights = _softmax(torch.cat(logits, dim=-1), sinks)
        parts = weights.split([part.shape[-1] for part in logits], dim=-1)
        products = [part @ value[rows, :, run] for part, (_, run) in zip(parts, seen, strict=True)]
        output[rows, :, queries] = sum(products[1:], start=products[0]).flatten(1, 2)[:, :, None]
    return output


def _run(keys: slice, band: Band) -> slice | None:
    """The keys that the last of them sees in a band; None if there are none."""
    start = keys.start if band.beyond is None else max(keys.start, keys.stop - band.beyond)
    stop = keys.stop - band.nearest
    return slice(start, stop) if start < stop else None


def _logits(query: Tensor, key: Tensor, scale: float, softcap: float | None) -> Tensor:
    """``[rows, key heads, queries a key head, keys]``: the heads that share keys are rows of one product."""
    shared = query.reshape(query.shape[0], key.shape[1], -1, query.shape[-1])
    logits = (shared * scale) @ key.mT
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _softmax(logits: Tensor, sinks: Tensor | None) -> Tensor:
    if sinks is None:
        return logits.softmax(-1)
    sink = sinks.to(logits).view(1, *logits.shape[1:3], 1).expand(logits.shape[0], -1, -1, -1)
    return torch.cat((logits, sink), dim=-1).softmax(-1)[..., :-1]
