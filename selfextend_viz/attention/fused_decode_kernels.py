# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own: only compile-time constants carry one.
"""The Triton kernels of a decode step: a few queries against a cache that is read as it is, split over its keys.

A key is turned in registers: the two dimensions of a pair arrive as two half tiles, so that a turned product is the sum
of two, and neither layout nor memory of the cache is touched. All query heads of a key head, and all queries, are rows
of one tile, so that a key is read once.
"""

import triton
import triton.language as tl

from selfextend_viz.attention.fused_kernels import absorb, capped, product

__all__ = ["decode_kernel", "merge_kernel"]


@triton.jit
def _turn(low, high, cos, sin, offsets, there, TURNED: tl.constexpr):
    """Half tiles turned by the cosines and sines at ``offsets``, rounded to their own precision."""
    turned_low, turned_high = low, high
    if TURNED:
        cosine = tl.load(cos + offsets, mask=there, other=0.0).to(tl.float32)
        sine = tl.load(sin + offsets, mask=there, other=0.0).to(tl.float32)
        wide_low, wide_high = low.to(tl.float32), high.to(tl.float32)
        turned_low = (wide_low * cosine - wide_high * sine).to(low.dtype)
        turned_high = (wide_high * cosine + wide_low * sine).to(high.dtype)
    return turned_low, turned_high


@triton.jit
def _keys(
    output,
    total,
    largest,
    near_low,
    near_high,
    far_low,
    far_high,
    rest,
    key,
    value,
    near_cos,
    near_sin,
    far_cos,
    far_sin,
    key_stride,
    value_stride,
    start,
    stop,
    slots,
    keys,
    window,
    scale,
    softcap,
    NEAR: tl.constexpr,
    FAR: tl.constexpr,
    NEAR_KEY_TURNED: tl.constexpr,
    FAR_KEY_TURNED: tl.constexpr,
    SOFTCAP: tl.constexpr,
    UPCAST: tl.constexpr,
    PRECISION: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Walk over keys ``start .. stop`` with the product of one band or of both."""
    columns = tl.arange(0, BLOCK_N)[:, None]
    pairs = tl.arange(0, BLOCK_P)[None, :]
    dims = tl.arange(0, BLOCK_D)[None, :]
    others = 2 * PAIRS + tl.arange(0, BLOCK_R)[None, :]
    for begin in tl.range(start, stop, BLOCK_N):
        inside = begin + columns < keys
        there = inside & (pairs < PAIRS)
        place = key + tl.cast(begin, tl.int64) * key_stride + columns * key_stride
        low = tl.load(place + pairs, mask=there, other=0.0)
        high = tl.load(place + PAIRS + pairs, mask=there, other=0.0)
        if HEAD_DIM > 2 * PAIRS:
            unturned = tl.load(place + others, mask=inside & (others < HEAD_DIM), other=0.0)
            shared = product(rest, tl.trans(unturned), UPCAST, PRECISION)
        if NEAR:
            offsets = tl.cast(begin, tl.int64) * PAIRS + columns * PAIRS + pairs
            first, second = _turn(low, high, near_cos, near_sin, offsets, there, NEAR_KEY_TURNED)
            products = product(near_low, tl.trans(first), UPCAST, PRECISION)
            products += product(near_high, tl.trans(second), UPCAST, PRECISION)
            if HEAD_DIM > 2 * PAIRS:
                products += shared
            logits = capped(products, scale, softcap, SOFTCAP)
        distance = slots[:, None] - (begin + tl.arange(0, BLOCK_N))[None, :]
        if FAR:
            offsets = tl.cast(begin, tl.int64) * PAIRS + columns * PAIRS + pairs
            first, second = _turn(low, high, far_cos, far_sin, offsets, there, FAR_KEY_TURNED)
            products = product(far_low, tl.trans(first), UPCAST, PRECISION)
            products += product(far_high, tl.trans(second), UPCAST, PRECISION)
            if HEAD_DIM > 2 * PAIRS:
                products += shared
            grouped = capped(products, scale, softcap, SOFTCAP)
            if NEAR:
                logits = tl.where(distance < window, logits, grouped)
            else:
                logits = grouped
        logits = tl.where(distance >= 0, logits, -float("inf"))
        place = value + tl.cast(begin, tl.int64) * value_stride + columns * value_stride
        tile = tl.load(place + dims, mask=inside & (dims < HEAD_DIM), other=0.0)
        output, total, largest = absorb(output, total, largest, logits, tile, True, UPCAST, PRECISION)
    return output, total, largest


@triton.jit(do_not_specialize=["heads", "queries", "written", "window", "keys_of_split"])
def decode_kernel(
    query,
    key,
    value,
    near_query_cos,
    near_query_sin,
    near_key_cos,
    near_key_sin,
    far_query_cos,
    far_query_sin,
    far_key_cos,
    far_key_sin,
    bounds,
    partial,
    partial_lse,
    query_batch,
    query_head_step,
    query_length,
    key_batch,
    key_head_step,
    key_length,
    value_batch,
    value_head_step,
    value_length,
    near_query_batch,
    near_key_batch,
    far_query_batch,
    far_key_batch,
    heads,
    queries,
    written,
    window,
    keys_of_split,
    scale,
    softcap,
    GROUPS: tl.constexpr,
    TWO_BANDS: tl.constexpr,
    BOUNDED: tl.constexpr,
    NEAR_QUERY_TURNED: tl.constexpr,
    NEAR_KEY_TURNED: tl.constexpr,
    FAR_QUERY_TURNED: tl.constexpr,
    FAR_KEY_TURNED: tl.constexpr,
    SOFTCAP: tl.constexpr,
    UPCAST: tl.constexpr,
    PRECISION: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Attention of all queries of one key head's query heads over one split of the keys.

    A row is a query of a head: ``row = query * GROUPS + head in its group``. ``partial`` is float32
    ``[batch, heads, queries, splits, head_dim]``, contiguous, and ``partial_lse``, in units of log 2, the same without
    its last axis.
    """
    split = tl.program_id(0)
    key_heads = heads // GROUPS
    batch = (tl.program_id(1) // key_heads).to(tl.int64)
    key_head = (tl.program_id(1) % key_heads).to(tl.int64)
    first, last = 0, written
    if BOUNDED:
        first = tl.load(bounds + 2 * batch)
        last = tl.load(bounds + 2 * batch + 1)
    keys = last - first
    lowest = written - queries - first
    highest = written - 1 - first

    rows = tl.program_id(2) * BLOCK_M + tl.arange(0, BLOCK_M)
    index = rows // GROUPS
    head = key_head * GROUPS + rows % GROUPS
    slots = lowest + index
    used = (index < queries)[:, None]
    pairs = tl.arange(0, BLOCK_P)[None, :]
    dims = tl.arange(0, BLOCK_D)[None, :]
    others = 2 * PAIRS + tl.arange(0, BLOCK_R)[None, :]
    there = used & (pairs < PAIRS)

    place = query + batch * query_batch + (head * query_head_step + index * query_length)[:, None]
    low = tl.load(place + pairs, mask=there, other=0.0)
    high = tl.load(place + PAIRS + pairs, mask=there, other=0.0)
    rest = low
    if HEAD_DIM > 2 * PAIRS:
        rest = tl.load(place + others, mask=used & (others < HEAD_DIM), other=0.0)
    offsets = batch * near_query_batch + index[:, None] * PAIRS + pairs
    near_low, near_high = _turn(low, high, near_query_cos, near_query_sin, offsets, there, NEAR_QUERY_TURNED)
    far_low, far_high = near_low, near_high
    if TWO_BANDS:
        offsets = batch * far_query_batch + index[:, None] * PAIRS + pairs
        far_low, far_high = _turn(low, high, far_query_cos, far_query_sin, offsets, there, FAR_QUERY_TURNED)

    # Keys, values and their tables from the row's first token on.
    skipped = tl.cast(first, tl.int64)
    key += batch * key_batch + key_head * key_head_step + skipped * key_length
    value += batch * value_batch + key_head * value_head_step + skipped * value_length
    if NEAR_KEY_TURNED:
        near_key_cos += batch * near_key_batch + skipped * PAIRS
        near_key_sin += batch * near_key_batch + skipped * PAIRS
    if FAR_KEY_TURNED:
        far_key_cos += batch * far_key_batch + skipped * PAIRS
        far_key_sin += batch * far_key_batch + skipped * PAIRS

    output = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    largest = tl.full((BLOCK_M,), -float("inf"), tl.float32)
    start = split * keys_of_split
    stop = tl.minimum(start + keys_of_split, tl.minimum(highest + 1, keys))
    near_start = start
    if TWO_BANDS:
        far_stop = tl.maximum(lowest - window + 1, 0) // BLOCK_N * BLOCK_N
        near_start = tl.cdiv(tl.maximum(highest - window + 1, 0), BLOCK_N) * BLOCK_N
        output, total, largest = _keys(
            output, total, largest, near_low, near_high, far_low, far_high, rest, key, value,
            near_key_cos, near_key_sin, far_key_cos, far_key_sin, key_length, value_length,
            start, tl.minimum(stop, far_stop), slots, keys, window, scale, softcap,
            False, True, NEAR_KEY_TURNED, FAR_KEY_TURNED, SOFTCAP, UPCAST, PRECISION,
            HEAD_DIM, PAIRS, BLOCK_D, BLOCK_P, BLOCK_R, BLOCK_N,
        )  # fmt: skip
        output, total, largest = _keys(
            output, total, largest, near_low, near_high, far_low, far_high, rest, key, value,
            near_key_cos, near_key_sin, far_key_cos, far_key_sin, key_length, value_length,
            tl.maximum(start, far_stop), tl.minimum(stop, near_start), slots, keys, window, scale, softcap,
            True, True, NEAR_KEY_TURNED, FAR_KEY_TURNED, SOFTCAP, UPCAST, PRECISION,
            HEAD_DIM, PAIRS, BLOCK_D, BLOCK_P, BLOCK_R, BLOCK_N,
        )  # fmt: skip
    output, total, largest = _keys(
        output, total, largest, near_low, near_high, far_low, far_high, rest, key, value,
        near_key_cos, near_key_sin, far_key_cos, far_key_sin, key_length, value_length,
        tl.maximum(start, near_start), stop, slots, keys, window, scale, softcap,
        True, False, NEAR_KEY_TURNED, FAR_KEY_TURNED, SOFTCAP, UPCAST, PRECISION,
        HEAD_DIM, PAIRS, BLOCK_D, BLOCK_P, BLOCK_R, BLOCK_N,
    )  # fmt: skip

    seen = (total > 0) & (slots < keys)
    result = ((batch * heads + head) * queries + index) * tl.num_programs(0) + split
    mean = output / tl.where(seen, total, 1.0)[:, None]
    tl.store(partial + result[:, None] * HEAD_DIM + dims, mean, mask=used & (dims < HEAD_DIM))
    lse = tl.where(seen, largest + tl.log2(tl.where(seen, total, 1.0)), -float("inf"))
    tl.store(partial_lse + result, lse, mask=index < queries)


@triton.jit(do_not_specialize=["heads", "queries", "splits"])
def merge_kernel(
    partial,
    partial_lse,
    sinks,
    output,
    output_batch,
    output_head_step,
    output_length,
    heads,
    queries,
    splits,
    SINKS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """Join one query's partial results of all splits by their log-sum-exp; zeros where it saw nothing."""
    row = tl.program_id(0).to(tl.int64)
    index = row % queries
    head = row // queries % heads
    batch = row // queries // heads
    parts = tl.arange(0, BLOCK_S)
    dims = tl.arange(0, BLOCK_D)
    lse = tl.load(partial_lse + row * splits + parts, mask=parts < splits, other=-float("inf"))
    top = tl.max(lse, 0)
    seen = top > -float("inf")
    base = tl.where(seen, top, 0.0)
    sink = 0.0
    if SINKS:
        sink = tl.load(sinks + head).to(tl.float32) * 1.4426950408889634
        base = tl.maximum(base, sink)
    weights = tl.exp2(lse - base)
    total = tl.sum(weights, 0)
    if SINKS:
        total += tl.exp2(sink - base)
    place = (row * splits + parts)[:, None] * HEAD_DIM + dims[None, :]
    each = tl.load(partial + place, mask=(parts < splits)[:, None] & (dims < HEAD_DIM)[None, :], other=0.0)
    mixed = tl.sum(each * weights[:, None], 0) / tl.where(seen, total, 1.0)
    result = output + batch * output_batch + head * output_head_step + index * output_length
    tl.store(result + dims, mixed.to(output.dtype.element_ty), mask=dims < HEAD_DIM)
