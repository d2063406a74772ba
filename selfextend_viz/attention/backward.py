"""Gradients of attention tile by tile: nothing of size N x N, and every pair's product once more than forward.

A tile's own softmax is not needed. With the merged output and log-sum-exp its pairs have their final weights,
``exp(logit - lse)``, so that each tile gives its share of the gradients exactly and the shares add up.

Source: FlashAttention-2, arXiv 2307.08691, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfextend_viz.attention.merge import Merged, fold, unfold_add
from selfextend_viz.attention.plan import tile_plan
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band, TileRun

__all__ = ["Differentiable", "differentiable_attention", "requires_gradients"]


@dataclass(frozen=True, eq=False)
class Differentiable:
    """One attention call, as its backward pass needs to know it.

    Attributes
    ----------
    bands : tuple of Band
        Intervals only; their tensors are turned already.
    slots : Slots
        Where the tokens are.
    merge : callable
        ``merge(value, pairs) -> Merged``: the forward pass, given an iterator over every band's query and key.
    tile : callable
        ``tile(grad, query, key, value, output, lse, *, causal) -> (query's, key's, value's gradient)``.
    most : int
        Tiles that one call of it may take.
    """

    bands: tuple[Band, ...]
    slots: Slots
    merge: Callable[[Tensor, Iterator[tuple[Tensor, Tensor]]], Merged]
    tile: Callable[..., tuple[Tensor, Tensor, Tensor]]
    most: int


def requires_gradients(*tensors: Tensor | None) -> bool:
    """Whether autograd will ask for gradients of any of these."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def differentiable_attention(
    call: Differentiable, value: Tensor, sinks: Tensor | None, turned: Sequence[tuple[Tensor, Tensor]]
) -> Tensor:
    """Attention whose gradients flow to the value, the sinks, and every band's turned queries and keys.

    Parameters
    ----------
    value : Tensor
        ``[batch, key heads, k, head_dim]``.
    sinks : Tensor, optional
        ``[heads]``.
    turned : sequence of pairs of Tensor
        Every band's query and key. How they were turned is autograd's to undo.

    Returns
    -------
    Tensor
        ``[batch, heads, q, head_dim]`` in value's precision.
    """
    output: Tensor = _TiledAttention.apply(call, value, sinks, *chain.from_iterable(turned))
    return output


class _TiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, call: Differentiable, value: Tensor, sinks: Tensor | None, *turned: Tensor) -> Tensor:
        # Forward and backward must round alike: the weights of the one are recomputed in the other.
        with torch.autocast(value.device.type, enabled=False):
            merged = call.merge(value, iter(_pairs(turned)))
            output, lse = merged.finish(sinks=sinks, dtype=value.dtype), merged.lse
            if sinks is not None:
                lse = torch.logaddexp(lse, sinks.to(lse)[None, :, None])
        ctx.call = call
        ctx.save_for_backward(value, sinks, output, lse, *turned)
        return output

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        value, sinks, output, lse, *turned = ctx.saved_tensors
        with torch.autocast(value.device.type, enabled=False):
            given, found = _sums(value), [_sums(tensor) for tensor in turned]
            for band, (query, key), sums in zip(ctx.call.bands, _pairs(turned), _pairs(found), strict=True):
                _add_band(ctx.call, band, (grad, query, output, lse[..., None]), (key, value), (*sums, given))
            last = None if sinks is None else _sink_gradient(grad, output, lse, sinks)
        return None, given.to(value.dtype), last, *(sums.to(value.dtype) for sums in found)


def _pairs(tensors: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def _sums(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))


def _add_band(
    call: Differentiable,
    band: Band,
    rows: Sequence[Tensor],
    columns: Sequence[Tensor],
    sums: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Add a band's share to the gradients of its query, its key and the value."""
    for batch, queries, keys in call.slots.spans():
        mine = [tensor[batch, :, queries] for tensor in rows]
        theirs = [tensor[batch, :, keys] for tensor in columns]
        into = (sums[0][batch, :, queries], *(tensor[batch, :, keys] for tensor in sums[1:]))
        lengths = mine[0].shape[2], theirs[0].shape[2]
        most = max(1, call.most // mine[0].shape[0])
        for run in tile_plan(*lengths, band.nearest, band.beyond, most):
            _add_tiles(call, run, lengths, mine, theirs, into)


def _add_tiles(
    call: Differentiable,
    run: TileRun,
    lengths: tuple[int, int],
    rows: Sequence[Tensor],
    columns: Sequence[Tensor],
    sums: Sequence[Tensor],
) -> None:
    """All tiles of a run in one call, upper squares reversed as in the forward pass."""
    first, repeated = run.first, {"count": run.count, "stride": run.stride}
    across = {"start": first.row_start - (lengths[1] - lengths[0]), **repeated}
    along = {"start": first.key_start, **repeated}
    grad, query, output, lse = (fold(tensor, size=first.rows, **across) for tensor in rows)
    key, value = (fold(tensor, size=first.keys, **along) for tensor in columns)
    tensors = [grad, query, key, value, output, lse]
    if first.kind == "upper":
        tensors = [tensor.flip(2) for tensor in tensors]
    tensors[-1] = tensors[-1][..., 0]
    shares = call.tile(*tensors, causal=first.kind != "rectangle")
    if first.kind == "upper":
        shares = tuple(share.flip(2) for share in shares)  # type: ignore[assignment]
    for share, into, place in zip(shares, sums, (across, along, along), strict=True):
        unfold_add(into, share, **place)


def _sink_gradient(grad: Tensor, output: Tensor, lse: Tensor, sinks: Tensor) -> Tensor:
    """A sink gives nothing, so that it only takes from every row, by its weight, what the row's output was worth."""
    weight = torch.exp(sinks.to(lse)[None, :, None] - lse)
    worth = (grad.to(lse.dtype) * output.to(lse.dtype)).sum(-1)
    return -(weight * worth).sum((0, 2)).to(sinks.dtype)
