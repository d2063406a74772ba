"""Look at a model's queries and keys while it runs: logits of sampled rows, under any method, from the same q and k."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfextend_viz.attention import Rotate, band_logits, picked_heads, scaled_by
from selfextend_viz.methods.per_layer import Lent
from selfextend_viz.patch.attention_function import Forward
from selfextend_viz.patch.binding import Block
from selfextend_viz.patch.frequencies import rotate_for
from selfextend_viz.patch.lending import make_blocks, pushed
from selfextend_viz.positions import Band, Method, PlainRoPE, bands_of


@dataclass(frozen=True, eq=False)
class LayerView:
    """Sampled queries and all keys of one attention layer, as the model rotated them.

    Attributes
    ----------
    layer
        Number of the layer.
    query
        ``[batch, heads, rows, head_dim]``.
    key
        ``[batch, key heads, keys, head_dim]``.
    row_positions
        int64 ``[rows]``: positions of the sampled queries.
    scale, softcap
        The layer's own.
    """

    layer: int
    query: Tensor
    key: Tensor
    row_positions: Tensor
    scale: float | None
    softcap: float | None
    _rotate: Callable[[Method], Rotate] = field(repr=False)
    _bands: dict[Method, tuple[Band, ...]] = field(repr=False)

    def logits(self, method: Method, heads: slice = slice(None)) -> Tensor:
        """Logits the sampled rows would have under a method: float32 ``[batch, heads, rows, keys]``, -inf where unseen.

        A sliding window of the model's own is no part of the method and is not applied. ``heads`` picks some heads, as
        :func:`selfextend_viz.attention.head_slices` cuts them.
        """
        bands = self._bands.setdefault(method, bands_of(method))
        query, key, left = picked_heads(self.query, self.key, bands, heads)
        logits = band_logits(
            scaled_by(method, query, self.row_positions[None]),
            key,
            bands,
            rotate=self._rotate(method),
            scale=self.scale,
            softcap=self.softcap,
            query_slots=self.row_positions,
        )
        return logits[:, left].float()


@contextmanager
def observe(
    model: nn.Module,
    rows: Sequence[int] | NDArray[np.integer[Any]] | Tensor,
    callback: Callable[[LayerView], None],
    *,
    method: Lent | None = None,
    implementation: str = "auto",
) -> Iterator[nn.Module]:
    """Call back with a :class:`LayerView` from every touched layer of every forward inside the block.

    Memory is that of one layer's sampled rows; views should not be kept, since they hold the layer's keys. A forward
    that processes none of the rows calls nothing back; one in chunks calls back with the rows of each chunk.

    Parameters
    ----------
    model
        As for :func:`extended`.
    rows
        Positions of the queries to look at.
    callback
        Called with each view, before the layer's attention runs.
    method
        What the forward itself runs under, as for :func:`extended`; plain RoPE if left out.
    implementation
        As for :func:`extended`.

    Yields
    ------
    nn.Module
        The same model.

    Raises
    ------
    ValueError
        If the rows are not positions, or a forward is given padded rows.
    """
    wanted = _positions(rows)
    blocks = make_blocks(model, PlainRoPE() if method is None else method, implementation)
    bands: dict[Method, tuple[Band, ...]] = {}

    def look(block: Block, module: Any, query: Tensor, key: Tensor, forward: Forward, **options: Any) -> None:
        first, here = _rows_of(forward, wanted)
        if here:
            layer, at = block.layer_of(module), torch.tensor(here, device=query.device)
            rotate = partial(
                rotate_for,
                layer=layer,
                context_length=block.context_length,
                turns=forward.turns(layer.rotary, here),
                query_positions=at,
                key_positions=torch.arange(key.shape[2], device=key.device),
            )
            view = LayerView(
                module.layer_idx, query[:, :, at - first], key, at, _rotate=rotate, _bands=bands, **options
            )
            callback(view)

    for block in blocks:
        block.observer = partial(look, block)
    with pushed(blocks):
        yield model


def _positions(rows: Sequence[int] | NDArray[np.integer[Any]] | Tensor) -> Tensor:
    positions = torch.as_tensor(rows)
    if positions.ndim != 1 or positions.is_floating_point() or positions.dtype is torch.bool:
        raise ValueError(
            f"rows must be a list of whole numbers, not {positions.dtype} of shape {tuple(positions.shape)}"
        )
    if positions.numel() and int(positions.min()) < 0:
        raise ValueError(f"rows must be positions from 0 on, not {int(positions.min())}")
    return positions.to(device="cpu", dtype=torch.int64)


def _rows_of(forward: Forward, wanted: Tensor) -> tuple[int, tuple[int, ...]]:
    """The position of a forward's first query, and those of the wanted positions that it processes."""
    if forward.reading.padded or forward.reading.dropped:
        raise ValueError("a padded batch, or a cache that dropped tokens, cannot be observed; give each text alone")
    slots = forward.reading.slots
    return slots.query_start, tuple(wanted[(wanted >= slots.query_start) & (wanted < slots.written)].tolist())
