"""A few queries against a long cache: the cache is read once, as it is, and its keys are turned on the way."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from selfextend_viz.attention.fused import refuse_gradients
from selfextend_viz.attention.fused_decode_kernels import decode_kernel, merge_kernel
from selfextend_viz.attention.fused_kernels import INTERPRETED
from selfextend_viz.attention.fused_prefill import (
    WIDE_HEAD,
    compile_options,
    on_device,
    output_like,
    parts,
    power_of_two,
    row_bounds,
    strides,
)
from selfextend_viz.attention.logits import TableRotate
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["run", "splits_for"]

TILE = 64
"""Keys of a tile; a split holds a whole number of them."""
MOST_SPLITS = 128
TURNS = ("NEAR_QUERY", "NEAR_KEY", "FAR_QUERY", "FAR_KEY")
PROGRAMS_PER_CORE = 2


def run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    near: Band,
    far: Band | None,
    *,
    rotate: TableRotate,
    slots: Slots,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of a few queries over a near band and the far band beyond it, or over one band.

    Parameters and result are those of :func:`selfextend_viz.attention.fused_prefill.run`; ``rotate`` tells its angles.
    The tables of half-precision tensors are read in float16, whose rounding is at most that of the keys themselves.
    """
    precision = torch.float32 if query.dtype is torch.float32 else torch.float16
    bands = (near, near) if far is None else (near, far)
    sides = (("query", query), ("key", key))
    tables = [rotate.tables(tensor, band, side, dtype=precision) for band in bands for side, tensor in sides]
    pairs = next((table[0].shape[-1] for table in tables if table is not None), query.shape[-1] // 2)
    pointers = [part for table in tables for part in _contiguous(table)]
    output = output_like(query)
    batch, heads, queries, head_dim = query.shape
    key_heads, groups = key.shape[1], heads // key.shape[1]
    bounds = row_bounds(slots, batch=batch, device=query.device)
    splits, keys_of_split = splits_for(slots.written, programs=batch * key_heads, device=query.device)
    partial = torch.empty((batch, heads, queries, splits, head_dim), dtype=torch.float32, device=query.device)
    partial_lse = torch.empty((batch, heads, queries, splits), dtype=torch.float32, device=query.device)
    options = compile_options(query, key, softcap=softcap)
    options |= {
        "TWO_BANDS": far is not None,
        "BOUNDED": bounds is not None,
        **{f"{name}_TURNED": table is not None for name, table in zip(TURNS, tables, strict=True)},
        **decode_blocks(groups * queries, head_dim, pairs, query.dtype),
    }
    with on_device(query):
        decode_kernel[(splits, batch * key_heads, parts(groups * queries, options["BLOCK_M"]))](
            *(query, key, value, *pointers, bounds, partial, partial_lse),
            *(stride for tensor in (query, key, value) for stride in strides(tensor)),
            *(0 if table is None or table[0].shape[0] == 1 else table[0].stride(0) for table in tables),
            *(heads, queries, slots.written, 0 if far is None else far.nearest, keys_of_split),
            *(scale if softcap is None else scale / softcap, softcap or 0.0),
            **options,
        )
        merge_kernel[(batch * heads * queries,)](
            *(partial, partial_lse, sinks, output, *strides(output), heads, queries, splits),
            SINKS=sinks is not None,
            HEAD_DIM=head_dim,
            BLOCK_D=options["BLOCK_D"],
            BLOCK_S=power_of_two(splits, at_least=1),
        )
    return output


def decode_blocks(rows: int, head_dim: int, pairs: int, dtype: torch.dtype) -> dict[str, int]:
    """Sizes of the tiles; queries of all heads that share a key head are rows of one."""
    wide, full = head_dim > WIDE_HEAD, dtype is torch.float32
    keys = TILE if INTERPRETED else TILE >> (wide + full)
    compiled = {"num_warps": 8 if wide and full else 4, "num_stages": 1 if full else 2 if wide else 3}
    return {
        "PAIRS": pairs,
        "BLOCK_P": power_of_two(pairs),
        "BLOCK_R": power_of_two(head_dim - 2 * pairs),
        "BLOCK_M": min(16 if full else 32 if wide else 64, power_of_two(rows)),
        "BLOCK_N": keys,
    } | ({} if INTERPRETED else compiled)


def _contiguous(table: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
    """Cosines and sines whose tokens follow one another in memory."""
    if table is None:
        return None, None
    refuse_gradients(*table)
    cos, sin = (part if part.stride()[-2:] == (part.shape[-1], 1) else part.contiguous() for part in table)
    return cos, sin


def splits_for(keys: int, *, programs: int, device: torch.device) -> tuple[int, int]:
    """How many splits of the keys keep every core of the device at work, and how many keys each has.

    Parameters
    ----------
    keys
        Slots in use.
    programs
        Programs there are without splitting.
    """
    tiles = parts(keys, TILE)
    wanted = parts(PROGRAMS_PER_CORE * _cores(device), programs)
    tiles_of_split = parts(tiles, max(1, min(wanted, tiles, MOST_SPLITS)))
    return parts(tiles, tiles_of_split), tiles_of_split * TILE


@lru_cache(maxsize=16)
def _cores(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 2
