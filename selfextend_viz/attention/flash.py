"""Every band as rectangles and causal squares, one kernel call for all tiles of a shape, merged by log-sum-exp.

Never an N x N tensor. Exact, since disjoint bands join by their log-sum-exp. Squares and rectangles need no mask and
waste no pair; on CPU a sliding band of W distances goes in slanted tiles of a few rows and W keys more than rows, whose
one small mask hides the corners: that costs some pairs and saves the copies that reversed squares need. There a lone
query takes no tiles, but one softmax (see `lone_query`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import chain

import torch
from torch import Tensor

from selfextend_viz.attention.backward import Differentiable, differentiable_attention, requires_gradients
from selfextend_viz.attention.backward_kernels import backward_kernel_for
from selfextend_viz.attention.flash_attn_kernels import FLASH_ATTN
from selfextend_viz.attention.kernels import TORCH_KERNELS, Kernel, first_fitting, refusal_of, slanted_mask
from selfextend_viz.attention.logits import Rotate
from selfextend_viz.attention.lone_query import is_lone, lone_query_attention
from selfextend_viz.attention.merge import Merged, fold
from selfextend_viz.attention.plan import reached, tile_plan
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band, TileRun

__all__ = ["KERNELS", "FlashUnavailableError", "flash_attention", "flash_refusal", "kernel_for", "probe"]

MOST_FOLDED = 32768

_Part = Callable[[Tensor, Band, str, slice], Tensor]
"""``PartRotate.part``; asked for by name, since ``isinstance`` of a protocol takes as long as turning a token."""


class FlashUnavailableError(ValueError):
    """Flash was asked for by name and cannot run this call."""


def flash_attention(
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
    """Attention over disjoint bands, tile by tile.

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
        Shape and precision of query; zeros where a query sees nothing (padding).

    Raises
    ------
    FlashUnavailableError
        If :func:`flash_refusal` has a reason.
    """
    if refusal := flash_refusal(query, key, value, bands, softcap=softcap, sinks=sinks):
        raise FlashUnavailableError(refusal)
    kernel, _ = kernel_for(query, softcap=softcap)
    assert kernel is not None
    merge = partial(_merge, bands=tuple(bands), slots=slots, kernel=kernel, scale=scale, softcap=softcap)
    pairs = (_turned(query, key, band, rotate, slots) for band in bands)
    if torch.is_grad_enabled():
        kept = tuple(pairs)
        if requires_gradients(value, sinks, *chain.from_iterable(kept)):
            backward, _ = backward_kernel_for(query, softcap=softcap)
            assert backward is not None
            tile = partial(backward.tile, scale=scale, softcap=softcap)
            call = Differentiable(tuple(bands), slots, merge, tile, MOST_FOLDED)
            return differentiable_attention(call, value, sinks, kept)
        pairs = (pair for pair in kept)
    if is_lone(query):
        return lone_query_attention(value, pairs, bands, slots=slots, scale=scale, softcap=softcap, sinks=sinks)
    return merge(value, pairs).finish(sinks=sinks, dtype=query.dtype)


def _turned(query: Tensor, key: Tensor, band: Band, rotate: Rotate, slots: Slots) -> tuple[Tensor, Tensor]:
    """Query and key as a band wants them; where nothing will be differentiated, only what the band reads of them."""
    sides = (("query", query), ("key", key))
    part: _Part | None = None if torch.is_grad_enabled() else getattr(rotate, "part", None)
    if part is None:
        turned = [rotate(tensor, band, side) for side, tensor in sides]
    elif (parts := reached(slots, band)) is None:
        turned = [query, key]
    else:
        turned = [part(tensor, band, side, some) for (side, tensor), some in zip(sides, parts, strict=True)]
    return turned[0].to(query.dtype), turned[1].to(query.dtype)


def _merge(
    value: Tensor,
    turned: Iterator[tuple[Tensor, Tensor]],
    *,
    bands: tuple[Band, ...],
    slots: Slots,
    kernel: Kernel,
    scale: float,
    softcap: float | None,
) -> Merged:
    """All bands merged; a generator turns each band's query and key when their turn comes, and they are freed after."""
    merged: Merged | None = None
    padded = [(span[0], span[1]) for span in slots.spans()] != [(slice(0, value.shape[0]), slice(0, slots.queries))]
    for number, band in enumerate(bands):
        query, key = next(turned)
        if merged is None:
            # Where every query is a token, and sees itself in the first band, all of the output is written.
            cleared = kernel.band is not None or band.nearest > 0 or padded
            merged = Merged.empty(query, value.shape[-1], cleared=cleared)
        add = partial(_add_band, band=band, kernel=kernel, scale=scale, softcap=softcap, fresh=number == 0)
        for rows, queries, keys in slots.spans():
            tokens = (rows, slice(None), keys)
            add(merged.part(rows, queries.start, queries.stop), query[rows, :, queries], key[tokens], value[tokens])
        del query, key
    assert merged is not None
    return merged


def _add_band(
    merged: Merged,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    band: Band,
    kernel: Kernel,
    scale: float,
    softcap: float | None,
    fresh: bool,
) -> None:
    """One band's tiles; ``fresh`` says that no query has seen anything yet."""
    queries, keys = query.shape[2], key.shape[2]
    interval = {"nearest": band.nearest, "beyond": band.beyond}
    if kernel.band is None:
        tile = partial(kernel.tile, scale=scale, softcap=softcap)
        done, most = 0, max(1, MOST_FOLDED // query.shape[0])
        for run in tile_plan(queries, keys, **interval, most=most, slanted=kernel.slanted, halved=kernel.halved):
            _add_tiles(merged, query, key, value, run=run, tile=tile, fresh=fresh and run.first.row_start >= done)
            done = max(done, run.row_stop)
    elif keys > band.nearest:
        first, output, lse = kernel.band(query, key, value, **interval, scale=scale, softcap=softcap)
        merged.add(output, lse, start=first - (keys - queries))


def _add_tiles(
    merged: Merged,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    run: TileRun,
    tile: Callable[..., tuple[Tensor, Tensor]],
    fresh: bool,
) -> None:
    """All tiles of a run in one kernel call; an upper square is causal once rows and keys are reversed.

    Slanted tiles share most of their keys, which a batch of several would copy for each: it goes row by row.
    """
    if run.first.kind == "slanted" and run.count > 1 and query.shape[0] > 1:
        for row in range(query.shape[0]):
            one = slice(row, row + 1)
            mine = merged.part(one, 0, query.shape[2])
            _add_tiles(mine, query[one], key[one], value[one], run=run, tile=tile, fresh=fresh)
        return
    first, repeated = run.first, {"count": run.count, "stride": run.stride}
    start = first.row_start - (key.shape[2] - query.shape[2])
    rows = fold(query, start=start, size=first.rows, **repeated)
    columns = [fold(tensor, start=first.key_start, size=first.keys, **repeated) for tensor in (key, value)]
    if first.kind == "upper":
        output, lse = tile(*(tensor.flip(2) for tensor in (rows, *columns)), causal=True)
        output, lse = output.flip(2), lse.flip(2)
    elif first.kind == "slanted":
        mask = slanted_mask(first.rows, first.keys, torch.promote_types(query.dtype, torch.float32))
        output, lse = tile(rows, *columns, causal=False, mask=mask)
    else:
        output, lse = tile(rows, *columns, causal=first.kind == "causal")
    merged.add(output, lse, start=start, **repeated, fresh=fresh)


def flash_refusal(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> str | None:
    """Why flash cannot run this call, as a sentence with the remedy, or None."""
    if any(band.visible is not None for band in bands):
        return "a band narrows its distances by Band.visible, which needs a mask of pairs; use implementation='eager'."
    if any(band.heads != slice(None) for band in bands):
        return "a band belongs to some heads only (Band.heads); use implementation='eager'."
    if value.shape[-1] != query.shape[-1]:
        return (
            f"value has head_dim {value.shape[-1]} and query {query.shape[-1]}, and flash kernels take one size; "
            "use implementation='eager'."
        )
    kernel, reason = kernel_for(query, softcap=softcap)
    return None if kernel is not None else f"no kernel can run it ({reason}); use implementation='eager'."


def kernel_for(query: Tensor, *, softcap: float | None = None) -> tuple[Kernel | None, str]:
    """The first kernel that takes these queries, and why the ones before it do not."""
    return first_fitting(KERNELS, query, softcap, probe)


@lru_cache(maxsize=64)
def probe(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> str | None:
    """Run a kernel once on two grouped heads of two tokens; None if it works, else what it said."""
    query = torch.ones(1, 2, 2, 16, dtype=dtype, device=device)
    key = query[:, :1]
    if kernel.band is not None:
        return refusal_of(partial(kernel.band, query, key, key, nearest=0, beyond=None, scale=0.25, softcap=None))
    return refusal_of(partial(kernel.tile, query, key, key, causal=True, scale=0.25, softcap=None))


KERNELS = (FLASH_ATTN, *TORCH_KERNELS)
