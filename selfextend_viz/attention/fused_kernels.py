# mypy: disallow-untyped-defs=False
# Triton reads annotations as its own: only compile-time constants carry one.
"""The Triton kernel that attends over both bands in one pass, and the one that turns queries and keys for it.

A block of queries walks along the keys from the farthest: stretches where every pair is in the far band (the grouped
product alone), the few tiles that the distance w_n crosses (both products, one select), stretches where every pair is
near (the plain product alone), and the diagonal. So it computes as many products as plain causal attention, and the
product of the other band in the crossed tiles only.

Slots count from a row's first token. Logits are kept in units of log 2, for ``exp2``. ``UPCAST`` is for the
interpreter, whose ``dot`` is wrong on bfloat16.
"""

import triton
import triton.language as tl

__all__ = ["INTERPRETED", "absorb", "capped", "prefill_kernel", "product", "turn_kernel"]

INTERPRETED: bool = triton.knobs.runtime.interpret
"""Whether the kernels of this process run on the CPU, in Triton's interpreter."""


@triton.jit
def product(left, right, UPCAST: tl.constexpr, PRECISION: tl.constexpr):
    """Matrix product in float32."""
    if UPCAST:
        result = tl.dot(left.to(tl.float32), right.to(tl.float32), input_precision="ieee")
    else:
        result = tl.dot(left, right, input_precision=PRECISION)
    return result


@triton.jit
def capped(products, scale, softcap, SOFTCAP: tl.constexpr):
    """Logits in units of log 2; ``tanh`` by ``exp2``, whose argument is never positive, so that it cannot overflow."""
    if SOFTCAP:
        ratio = products * scale
        shrunk = tl.exp2(-2.8853900817779268 * tl.abs(ratio))
        size = (1.0 - shrunk) / (1.0 + shrunk)
        logits = softcap * 1.4426950408889634 * tl.where(ratio < 0, -size, size)
    else:
        logits = products * (scale * 1.4426950408889634)
    return logits


@triton.jit
def absorb(output, total, largest, logits, value, MASKED: tl.constexpr, UPCAST: tl.constexpr, PRECISION: tl.constexpr):
    """Take a tile of logits and values into the running softmax; a masked tile may leave a row without any key."""
    top = tl.maximum(largest, tl.max(logits, 1))
    base = top
    if MASKED:
        base = tl.where(top == -float("inf"), 0.0, top)
    weights = tl.exp2(logits - base[:, None])
    fade = tl.exp2(largest - base)
    total = total * fade + tl.sum(weights, 1)
    output = output * fade[:, None]
    if UPCAST:
        rounded = weights.to(value.dtype).to(tl.float32)
        output += tl.dot(rounded, value.to(tl.float32), input_precision="ieee")
    else:
        output = tl.dot(weights.to(value.dtype), value, output, input_precision=PRECISION)
    return output, total, top


@triton.jit
def _tile(
    pointer, begin, stride, columns, dims, keys, MASKED: tl.constexpr, HEAD_DIM: tl.constexpr, BLOCK_D: tl.constexpr
):
    """Rows ``begin + columns`` of keys or values, laid out as ``columns`` and ``dims`` are."""
    base = pointer + tl.cast(begin, tl.int64) * stride
    inside = dims < HEAD_DIM
    if MASKED:
        tile = tl.load(base + columns * stride + dims, mask=(begin + columns < keys) & inside, other=0.0)
    elif HEAD_DIM == BLOCK_D:
        tile = tl.load(base + columns * stride + dims)
    else:
        tile = tl.load(base + columns * stride + dims, mask=inside, other=0.0)
    return tile


@triton.jit
def _span(
    output,
    total,
    largest,
    query_near,
    query_far,
    key_near,
    key_far,
    value,
    near_stride,
    far_stride,
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
    MASKED: tl.constexpr,
    SOFTCAP: tl.constexpr,
    UPCAST: tl.constexpr,
    PRECISION: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Walk over the tiles ``start .. stop`` of keys, with the product of one band or of both."""
    columns = tl.arange(0, BLOCK_N)
    dims = tl.arange(0, BLOCK_D)
    for begin in tl.range(start, stop, BLOCK_N, num_stages=2 if MASKED else None):
        begin = tl.multiple_of(begin, BLOCK_N)
        if NEAR:
            key = _tile(key_near, begin, near_stride, columns[None, :], dims[:, None], keys, MASKED, HEAD_DIM, BLOCK_D)
            logits = capped(product(query_near, key, UPCAST, PRECISION), scale, softcap, SOFTCAP)
        if FAR:
            key = _tile(key_far, begin, far_stride, columns[None, :], dims[:, None], keys, MASKED, HEAD_DIM, BLOCK_D)
            grouped = capped(product(query_far, key, UPCAST, PRECISION), scale, softcap, SOFTCAP)
            if NEAR:
                logits = tl.where(slots[:, None] - (begin + columns)[None, :] < window, logits, grouped)
            else:
                logits = grouped
        if MASKED:
            logits = tl.where(slots[:, None] >= (begin + columns)[None, :], logits, -float("inf"))
        tile = _tile(value, begin, value_stride, columns[:, None], dims[None, :], keys, MASKED, HEAD_DIM, BLOCK_D)
        output, total, largest = absorb(output, total, largest, logits, tile, MASKED, UPCAST, PRECISION)
    return output, total, largest


@triton.jit
def _head(pointer, batch, head, batch_stride, head_stride, length_stride, first):
    """Where a head's tokens begin, offsets in 64 bits."""
    return (
        pointer
        + batch.to(tl.int64) * batch_stride
        + head.to(tl.int64) * head_stride
        + tl.cast(first, tl.int64) * length_stride
    )


# Numbers that change from call to call are not specialized: compiling anew costs more than a kernel of its own gains.
@triton.jit(do_not_specialize=["heads", "queries", "written", "window", "length_class"])
def prefill_kernel(
    query_near,
    query_far,
    key_near,
    key_far,
    value,
    output,
    sinks,
    bounds,
    query_near_batch,
    query_near_head,
    query_near_length,
    query_far_batch,
    query_far_head,
    query_far_length,
    key_near_batch,
    key_near_head,
    key_near_length,
    key_far_batch,
    key_far_head,
    key_far_length,
    value_batch,
    value_head,
    value_length,
    output_batch,
    output_head,
    output_length,
    heads,
    queries,
    written,
    window,
    length_class,
    scale,
    softcap,
    GROUPS: tl.constexpr,
    TWO_BANDS: tl.constexpr,
    BOUNDED: tl.constexpr,
    SINKS: tl.constexpr,
    SOFTCAP: tl.constexpr,
    UPCAST: tl.constexpr,
    PRECISION: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Attention of one block of queries of one head; the blocks with the most keys are started first.

    ``bounds`` holds each batch row's first token and one past its last; the queries end at slot ``written``.
    """
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    batch = tl.program_id(1) // heads
    head = tl.program_id(1) % heads
    first, last = 0, written
    if BOUNDED:
        first = tl.load(bounds + 2 * batch)
        last = tl.load(bounds + 2 * batch + 1)
    keys = last - first
    rows = block * BLOCK_M + tl.arange(0, BLOCK_M)
    lowest = written - queries - first + block * BLOCK_M
    slots = lowest + tl.arange(0, BLOCK_M)
    dims = tl.arange(0, BLOCK_D)
    there = (rows[:, None] < queries) & (dims[None, :] < HEAD_DIM)

    near_query = _head(query_near, batch, head, query_near_batch, query_near_head, query_near_length, 0)
    offsets = rows[:, None].to(tl.int64)
    near_rows = tl.load(near_query + offsets * query_near_length + dims[None, :], mask=there, other=0.0)
    near_keys = _head(key_near, batch, head // GROUPS, key_near_batch, key_near_head, key_near_length, first)
    values = _head(value, batch, head // GROUPS, value_batch, value_head, value_length, first)

    mixed = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    largest = tl.full((BLOCK_M,), -float("inf"), tl.float32)

    # The keys up to the last one any of these queries sees, and where whole tiles stop needing the causal mask.
    end = tl.where(lowest < keys, tl.minimum(lowest + BLOCK_M, keys), 0)
    diagonal = tl.minimum(tl.maximum(lowest + 1, 0) // BLOCK_N * BLOCK_N, end)
    near_start = 0
    far_rows, far_keys = near_rows, near_keys
    if TWO_BANDS:
        far_query = _head(query_far, batch, head, query_far_batch, query_far_head, query_far_length, 0)
        far_rows = tl.load(far_query + offsets * query_far_length + dims[None, :], mask=there, other=0.0)
        far_keys = _head(key_far, batch, head // GROUPS, key_far_batch, key_far_head, key_far_length, first)
        far_stop = tl.minimum(tl.maximum(lowest - window + 1, 0) // BLOCK_N * BLOCK_N, end)
        near_start = tl.cdiv(tl.maximum(lowest + BLOCK_M - window, 0), BLOCK_N) * BLOCK_N
        mixed, total, largest = _span(
            mixed, total, largest, near_rows, far_rows, near_keys, far_keys, values,
            key_near_length, key_far_length, value_length, 0, far_stop, slots, keys, window, scale, softcap,
            False, True, False, SOFTCAP, UPCAST, PRECISION, HEAD_DIM, BLOCK_D, BLOCK_N,
        )  # fmt: skip
        mixed, total, largest = _span(
            mixed, total, largest, near_rows, far_rows, near_keys, far_keys, values,
            key_near_length, key_far_length, value_length, far_stop, tl.minimum(near_start, end), slots, keys, window,
            scale, softcap,
            True, True, True, SOFTCAP, UPCAST, PRECISION, HEAD_DIM, BLOCK_D, BLOCK_N,
        )  # fmt: skip
    mixed, total, largest = _span(
        mixed, total, largest, near_rows, far_rows, near_keys, far_keys, values,
        key_near_length, key_far_length, value_length, near_start, diagonal, slots, keys, window, scale, softcap,
        True, False, False, SOFTCAP, UPCAST, PRECISION, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip
    mixed, total, largest = _span(
        mixed, total, largest, near_rows, far_rows, near_keys, far_keys, values,
        key_near_length, key_far_length, value_length, tl.maximum(near_start, diagonal), end, slots, keys, window,
        scale, softcap,
        True, False, True, SOFTCAP, UPCAST, PRECISION, HEAD_DIM, BLOCK_D, BLOCK_N,
    )  # fmt: skip

    if SINKS:
        sink = tl.load(sinks + head).to(tl.float32) * 1.4426950408889634
        base = tl.maximum(largest, sink)
        fade = tl.exp2(largest - base)
        mixed = mixed * fade[:, None]
        total = total * fade + tl.exp2(sink - base)
    token = (slots >= 0) & (slots < keys)
    mixed = tl.where(token[:, None], mixed / tl.where(token, total, 1.0)[:, None], 0.0)
    result = _head(output, batch, head, output_batch, output_head, output_length, 0)
    tl.store(result + offsets * output_length + dims[None, :], mixed.to(output.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["heads", "length"])
def turn_kernel(
    tensor,
    turned,
    cos,
    sin,
    tensor_batch,
    tensor_head,
    tensor_length,
    turned_batch,
    turned_head,
    turned_length,
    table_batch,
    table_length,
    heads,
    length,
    HEAD_DIM: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Turn a stretch of one head's tokens by each token's cosines and sines; dimensions past the pairs are copied."""
    batch = tl.program_id(1) // heads
    head = tl.program_id(1) % heads
    tokens = tl.program_id(0).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    source = _head(tensor, batch, head, tensor_batch, tensor_head, tensor_length, 0) + tokens * tensor_length
    target = _head(turned, batch, head, turned_batch, turned_head, turned_length, 0) + tokens * turned_length
    dims = tl.arange(0, BLOCK_P)[None, :]
    there = (tokens < length) & (dims < PAIRS)
    table = batch.to(tl.int64) * table_batch + tokens * table_length + dims
    cosine = tl.load(cos + table, mask=there, other=0.0).to(tl.float32)
    sine = tl.load(sin + table, mask=there, other=0.0).to(tl.float32)
    low = tl.load(source + dims, mask=there, other=0.0).to(tl.float32)
    high = tl.load(source + PAIRS + dims, mask=there, other=0.0).to(tl.float32)
    element = turned.dtype.element_ty
    tl.store(target + dims, (low * cosine - high * sine).to(element), mask=there)
    tl.store(target + PAIRS + dims, (high * cosine + low * sine).to(element), mask=there)
    if HEAD_DIM > 2 * PAIRS:
        rest = 2 * PAIRS + tl.arange(0, BLOCK_R)[None, :]
        kept = (tokens < length) & (rest < HEAD_DIM)
        tl.store(target + rest, tl.load(source + rest, mask=kept, other=0.0), mask=kept)
