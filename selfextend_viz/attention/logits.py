"""Attention logits of a method: every band's own dot products, each kept where that band holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from einops import rearrange
from torch import Tensor

from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["PartRotate", "Rotate", "TableRotate", "Unturned", "band_logits", "band_mask", "scaled_products"]

Rotate = Callable[[Tensor, Band, str], Tensor]


@runtime_checkable
class TableRotate(Protocol):
    """A :data:`Rotate` that can also say by which angles it turns, for kernels that turn what they read themselves."""

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        """The whole tensor turned to the band's positions."""
        ...

    def tables(self, tensor: Tensor, band: Band, side: str, *, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines ``[batch or 1, 1, length, pairs]`` on the tensor's device, or None where nothing turns.

        Dimension ``d`` turns with dimension ``d + pairs``; those past ``2 * pairs`` are left as they are.
        """
        ...


@runtime_checkable
class PartRotate(Protocol):
    """A :data:`Rotate` that can turn part of a tensor, for bands that leave out queries and keys."""

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        """The whole tensor turned to the band's positions."""
        ...

    def part(self, tensor: Tensor, band: Band, side: str, some: slice) -> Tensor:
        """As the call, of tensor's shape, but only ``some`` of the length is to be read; the rest may be anything.

        It is to be read before the next part of its side is asked for, which may be written over it.
        """
        ...


class Unturned:
    """The :class:`TableRotate` that turns nothing: of tensors that stand where their band wants them."""

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        """The very tensor."""
        return tensor

    def tables(self, tensor: Tensor, band: Band, side: str, *, dtype: torch.dtype) -> None:
        """No angles."""


def band_logits(
    query: Tensor,
    key: Tensor,
    bands: Sequence[Band],
    *,
    rotate: Rotate,
    key_positions: Tensor | Slots | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    query_slots: Tensor | None = None,
) -> Tensor:
    """Logits of every query with every key, ``-inf`` where the key is not seen.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``.
    key : Tensor
        ``[batch, key heads, k, head_dim]``; the number of heads is a multiple of the number of key heads.
    bands : sequence of Band
        Disjoint bands.
    rotate : callable
        ``rotate(tensor, band, side)`` with side ``"query"`` or ``"key"``: the tensor turned to the band's positions.
    key_positions : Tensor or Slots, optional
        int64 ``[batch, k]``, each slot's position, negative where there is no token; left out, 0 .. k - 1.
    scale : float, optional
        ``head_dim ** -0.5`` if left out.
    softcap : float, optional
        Logits become ``softcap * tanh(logits / softcap)``, before anything is masked.
    query_slots : Tensor, optional
        int64 ``[q]``: the slots the queries stand in, for a sample of rows; left out, the last ones in use.

    Returns
    -------
    Tensor
        ``[batch, heads, q, k]``, float32, or float64 for float64 inputs.
    """
    slots = _slots(query, key, key_positions, sampled=query_slots is not None)
    positions = slots.positions.to(query.device)
    rows = positions[:, query_slots] if query_slots is not None else slots.query_positions.to(query.device)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    logits: Tensor | None = None
    for band in bands:
        turned = rotate(query, band, "query"), rotate(key, band, "key")
        products = scaled_products(*turned, scale=scale, softcap=softcap)
        mask = band_mask(band, rows, positions, heads=query.shape[1])
        logits = torch.where(mask, products, -torch.inf if logits is None else logits)
    if logits is None:
        raise ValueError("bands is empty; a method has at least one band.")
    return logits


def scaled_products(query: Tensor, key: Tensor, *, scale: float, softcap: float | None = None) -> Tensor:
    """``query @ key.T * scale``, soft-capped, in float32 at least; key heads are shared, never copied.

    Returns
    -------
    Tensor
        ``[batch, heads, q, k]``.
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    key_heads = key.shape[1]
    shared = rearrange(query.to(dtype) * scale, "b (h g) q d -> b h (g q) d", h=key_heads)
    products = shared @ key.to(dtype).transpose(-1, -2)
    products = rearrange(products, "b h (g q) k -> b (h g) q k", q=query.shape[2])
    return products if softcap is None else softcap * torch.tanh(products / softcap)


def band_mask(band: Band, query_positions: Tensor, key_positions: Tensor, *, heads: int) -> Tensor:
    """Which pairs a band covers.

    Parameters
    ----------
    query_positions, key_positions : Tensor
        int64 ``[batch or 1, q]`` and ``[batch or 1, k]``, negative where there is no token.
    heads : int
        Number of query heads.

    Returns
    -------
    Tensor
        bool, broadcasting to ``[batch, heads, q, k]``.
    """
    i, j = query_positions[:, None, :, None], key_positions[:, None, None, :]
    distance = i - j
    mask = (i >= 0) & (j >= 0) & (distance >= band.nearest)
    if band.beyond is not None:
        mask &= distance < band.beyond
    if band.visible is not None:
        mask = mask & band.visible(i, j)
    if band.heads != slice(None):
        chosen = torch.zeros(heads, dtype=torch.bool, device=mask.device)
        chosen[band.heads] = True
        mask = mask & chosen[None, :, None, None]
    return mask


def _slots(query: Tensor, key: Tensor, key_positions: Tensor | Slots | None, *, sampled: bool) -> Slots:
    if isinstance(key_positions, Slots):
        return key_positions
    queries, keys = 1 if sampled else query.shape[2], key.shape[2]
    if key_positions is None:
        return Slots.full(batch=query.shape[0], queries=queries, keys=keys, device=query.device)
    return Slots.of(key_positions, queries=queries)
