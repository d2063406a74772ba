"""The eager reference against the formula written out, its options, and what is refused."""

import math

import numpy as np
import pytest
import torch
from method_matrix import METHOD_CASES, frequencies_of, head_positions

from selfextend_viz.attention import (
    FlashUnavailableError,
    Slots,
    attend,
    attention_logits,
    band_logits,
    choose,
    core,
    dispatch,
    implementations,
)
from selfextend_viz.methods import SinksAtTrueDistance
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend, relative_positions, visible_pairs
from selfextend_viz.rope import default_inv_freq, rotate


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def tensors(batch, heads, key_heads, queries, keys, head_dim=8, dtype=torch.float64):
    return (
        random(batch, heads, queries, head_dim, dtype=dtype, seed=1),
        random(batch, key_heads, keys, head_dim, dtype=dtype, seed=2),
        random(batch, key_heads, keys, head_dim, dtype=dtype, seed=3),
    )


def self_extend_position(i, j, group_size, window):
    """Section 3 of the paper, for one pair."""
    if i - j < window:
        return i - j
    return (i // group_size + window - window // group_size) - j // group_size


def formula(query, key, value, position, inv_freq, *, scale=None, softcap=None, sinks=None):
    """Attention by a triple loop in float64: a query's and a key's pairs are complex numbers, turned by their distance.

    ``position(i, j)`` is the relative position of two slots, or None where the key is not seen.
    """
    query, key, value, inv_freq = (t.double().numpy() for t in (query, key, value, inv_freq))
    batch, heads, queries, head_dim = query.shape
    pairs, keys, groups = len(inv_freq), key.shape[2], heads // key.shape[1]
    scale = head_dim**-0.5 if scale is None else scale
    output = np.zeros((batch, heads, queries, value.shape[-1]))
    for b in range(batch):
        for h in range(heads):
            for row in range(queries):
                i, logits, seen = keys - queries + row, [], []
                q = query[b, h, row]
                for j in range(keys):
                    distance = position(i, j)
                    if distance is None:
                        continue
                    k = key[b, h // groups, j]
                    turned = (q[:pairs] + 1j * q[pairs : 2 * pairs]) * (k[:pairs] - 1j * k[pairs : 2 * pairs])
                    logit = (turned * np.exp(1j * distance * inv_freq)).real.sum() + q[2 * pairs :] @ k[2 * pairs :]
                    logit *= scale
                    logits.append(logit if softcap is None else softcap * math.tanh(logit / softcap))
                    seen.append(value[b, h // groups, j])
                weights = np.exp(np.array(logits))
                total = weights.sum() + (0 if sinks is None else math.exp(sinks[h].item()))
                output[b, h, row] = (weights[:, None] * np.array(seen)).sum(0) / total
    return torch.from_numpy(output)


def causal(group_size, window):
    return lambda i, j: self_extend_position(i, j, group_size, window) if j <= i else None


@pytest.mark.parametrize("queries", [1, 7, 23])
@pytest.mark.parametrize(("group_size", "window"), [(1, 5), (2, 4), (3, 5), (8, 0), (8, 1), (4, 22), (4, 23), (5, 99)])
def test_eager_equals_the_formula(group_size, window, queries):
    query, key, value = tensors(2, 4, 2, queries, 23)
    inv_freq = default_inv_freq(8, theta=50.0)[0]
    result = attend(query, key, value, SelfExtend(group_size, window), inv_freq=inv_freq, implementation="eager")
    expected = formula(query, key, value, causal(group_size, window), inv_freq)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", METHOD_CASES, ids=[name for name, _ in METHOD_CASES])
def test_eager_equals_the_formula_for_every_method(case):
    _, method = case
    query, key, value = tensors(1, 2, 1, 19, 23, head_dim=16)
    told, (inv_freq, factor) = head_positions(method, 23, 2), frequencies_of(method, default_inv_freq(16)[0], 23)
    result = attend(query, key, value, method, implementation="eager")
    for head in range(2):
        expected = formula(
            query[:, head : head + 1],
            key,
            value,
            lambda i, j, told=told[head]: told[i, j] if told[i, j] >= 0 else None,
            inv_freq,
            scale=factor**2 / 4,
        )
        torch.testing.assert_close(result[:, head : head + 1], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("implementation", ["eager", "flash"])
def test_scale_softcap_sinks_and_partial_rotation_equal_the_formula(implementation):
    query, key, value = tensors(1, 4, 2, 9, 17, head_dim=10)
    inv_freq, sinks = default_inv_freq(6)[0], torch.tensor([-1.0, 0.0, 2.0, 5.0], dtype=torch.float64)
    options = {"scale": 0.4, "softcap": 1.5, "sinks": sinks}
    result = attend(query, key, value, SelfExtend(3, 5), inv_freq=inv_freq, implementation=implementation, **options)
    torch.testing.assert_close(
        result, formula(query, key, value, causal(3, 5), inv_freq, **options), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("implementation", ["eager", "flash"])
def test_sinks_alone_equal_the_formula(implementation):
    query, key, value = tensors(1, 2, 1, 9, 17)
    inv_freq, sinks = default_inv_freq(8)[0], torch.tensor([1.0, 3.0], dtype=torch.float64)
    result = attend(query, key, value, SelfExtend(4, 3), sinks=sinks, implementation=implementation)
    expected = formula(query, key, value, causal(4, 3), inv_freq, sinks=sinks)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_theta_and_attention_factor_reach_the_rotation():
    query, key, value = tensors(1, 2, 2, 9, 9)
    inv_freq = default_inv_freq(8, theta=123.0)[0]
    result = attend(query, key, value, SelfExtend(2, 3), theta=123.0, attention_factor=1.2)
    expected = formula(1.2 * query, 1.2 * key, value, causal(2, 3), inv_freq)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_value_may_have_its_own_head_dim_in_eager_and_flash_says_why_not():
    query, key, value = tensors(1, 2, 2, 5, 5)
    narrow = value[..., :3]
    expected = attend(query, key, value, SelfExtend(2, 3), implementation="eager")[..., :3]
    torch.testing.assert_close(attend(query, key, narrow, SelfExtend(2, 3)), expected)
    with pytest.raises(FlashUnavailableError, match="value has head_dim 3 and query 8"):
        attend(query, key, narrow, SelfExtend(2, 3), implementation="flash")


def test_logits_are_the_dot_products_at_the_method_s_positions():
    query, key, _ = tensors(1, 2, 1, 6, 11)
    method, inv_freq = SelfExtend(2, 4), default_inv_freq(8)[0]
    logits = attention_logits(query, key, method, softcap=2.0)
    assert logits.shape == (1, 2, 6, 11)
    distances, seen = relative_positions(method, 11), visible_pairs(method, 11)
    for h in range(2):
        for row in range(6):
            i = row + 5
            for j in range(11):
                if not seen[i, j]:
                    assert logits[0, h, row, j] == -torch.inf
                    continue
                turned = rotate(query[:, h : h + 1, row : row + 1], torch.tensor([distances[i, j]]), inv_freq)
                product = (turned[0, 0, 0] @ key[0, 0, j]).item() * 8**-0.5
                assert logits[0, h, row, j].item() == pytest.approx(2.0 * math.tanh(product / 2.0), abs=1e-12)


def test_logits_of_half_precision_are_float32():
    query, key, _ = tensors(1, 2, 1, 6, 11, dtype=torch.bfloat16)
    assert attention_logits(query, key, SelfExtend(2, 4)).dtype == torch.float32


def test_sampled_queries_give_the_same_rows():
    query, key, _ = tensors(2, 4, 2, 40, 40)
    method, inv_freq = SelfExtend(4, 6), default_inv_freq(8)[0]
    rows = torch.tensor([0, 3, 17, 18, 39])

    def turn(tensor, band, side):
        places = {"query": band.query_position(rows), "key": band.key_position(torch.arange(40))}
        return rotate(tensor, places[side], inv_freq)

    sampled = band_logits(query[:, :, rows], key, method.bands, rotate=turn, query_slots=rows)
    assert torch.equal(sampled.isinf(), attention_logits(query, key, method)[:, :, rows].isinf())
    torch.testing.assert_close(sampled, attention_logits(query, key, method)[:, :, rows])


def test_bands_may_narrow_by_a_predicate_and_by_head():
    class Strided:
        bands = (
            Band(visible=lambda i, j: (i - j) % 2 == 0, heads=slice(0, 1)),
            Band(nearest=0, beyond=3, heads=slice(1, None)),
        )

    query, key, value = tensors(1, 2, 2, 9, 9)
    inv_freq = default_inv_freq(8)[0]
    result = attend(query, key, value, Strided())
    even = formula(query, key, value, lambda i, j: i - j if j <= i and (i - j) % 2 == 0 else None, inv_freq)
    near = formula(query, key, value, lambda i, j: i - j if 0 <= i - j < 3 else None, inv_freq)
    torch.testing.assert_close(result, torch.cat((even[:, :1], near[:, 1:]), 1), rtol=0, atol=1e-12)
    with pytest.raises(FlashUnavailableError, match=r"Band\.visible"):
        attend(query, key, value, Strided(), implementation="flash")


@pytest.mark.parametrize("implementation", ["eager", "flash"])
def test_plain_rope_is_plain_attention(implementation):
    query, key, value = tensors(2, 4, 4, 33, 33)
    inv_freq, places = default_inv_freq(8)[0], torch.arange(33)
    expected = torch.nn.functional.scaled_dot_product_attention(
        rotate(query, places, inv_freq), rotate(key, places, inv_freq), value, is_causal=True
    )
    for method in (PlainRoPE(), SelfExtend(1, 4), SelfExtend(4, 33), SelfExtend(4, 32)):
        torch.testing.assert_close(attend(query, key, value, method, implementation=implementation), expected)
    changed = attend(query, key, value, SelfExtend(4, 31), implementation=implementation)
    assert (changed - expected).abs().max() > 1e-6


@pytest.mark.parametrize("softcap", [None, 3.0])
def test_gradients_of_eager_are_right(softcap):
    inputs = [t.requires_grad_() for t in tensors(1, 2, 1, 4, 6, head_dim=4)]
    sinks = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    padding = torch.tensor([[True, True, True, False, False, False]])

    def run(query, key, value, sinks):
        return attend(
            query,
            key,
            value,
            SelfExtend(2, 2),
            sinks=sinks,
            softcap=softcap,
            key_padding=padding,
            implementation="eager",
        )

    assert torch.autograd.gradcheck(run, (*inputs, sinks))


# Padding and slots


def pad(tensor, left, right):
    """Junk, not zeros, in the padding: what is masked must not matter."""
    shape = list(tensor.shape)
    shape[2] = left
    before = torch.full(shape, 7.0, dtype=tensor.dtype)
    shape[2] = right
    return torch.cat((before, tensor, torch.full(shape, -9.0, dtype=tensor.dtype)), 2)


@pytest.mark.parametrize("implementation", ["eager", "flash"])
@pytest.mark.parametrize("sinks", [None, torch.tensor([0.3, -2.0, 1.0, 4.0], dtype=torch.float64)])
def test_a_padded_batch_equals_each_row_alone(implementation, sinks):
    """Left padding, none, right padding, both, and a row of nothing but padding."""
    keys, method = 20, SelfExtend(3, 4)
    pads = [(6, 0), (0, 0), (6, 0), (0, 5), (3, 2), (20, 0)]
    rows, alone = [], []
    padding = torch.zeros(len(pads), keys, dtype=torch.bool)
    for number, (left, right) in enumerate(pads):
        length = keys - left - right
        padding[number, :left], padding[number, keys - right :] = True, True
        row = [random(1, heads, length, 8, seed=10 * number + heads + s) for s, heads in enumerate((4, 2, 2))]
        rows.append([pad(t, left, right) for t in row])
        result = torch.zeros(1, 4, 0, 8, dtype=torch.float64)
        if length:
            result = attend(*row, method, sinks=sinks, implementation="eager")
        alone.append((result, left, right))
    batch = [torch.cat([row[n] for row in rows]) for n in range(3)]
    output = attend(*batch, method, key_padding=padding, sinks=sinks, implementation=implementation)
    for number, (expected, left, right) in enumerate(alone):
        torch.testing.assert_close(output[number : number + 1, :, left : keys - right], expected, rtol=0, atol=1e-12)
        assert (output[number, :, :left] == 0).all()
        assert (output[number, :, keys - right :] == 0).all()


@pytest.mark.parametrize("implementation", ["eager", "flash"])
@pytest.mark.parametrize("queries", [1, 5])
def test_padded_decode_and_chunks_are_the_last_rows(implementation, queries):
    query, key, value = tensors(3, 2, 1, 20, 20)
    padding = torch.arange(20) < torch.tensor([[0], [4], [17]])
    whole = attend(query, key, value, SelfExtend(3, 4), key_padding=padding, implementation="eager")
    last = attend(
        query[:, :, -queries:], key, value, SelfExtend(3, 4), key_padding=padding, implementation=implementation
    )
    torch.testing.assert_close(last, whole[:, :, -queries:])


@pytest.mark.parametrize("implementation", ["eager", "flash"])
def test_slots_not_yet_written_are_not_seen(implementation):
    """A static cache: 24 slots, 15 in use, one row padded by 2 on the left; the queries are slots 11 .. 14."""
    query, key, value = tensors(2, 2, 2, 4, 24)
    positions = torch.full((2, 24), -1)
    positions[0, :15], positions[1, 2:15] = torch.arange(15), torch.arange(13)
    method, inv_freq = SelfExtend(2, 3), default_inv_freq(8)[0]
    places = {"query": positions[:, 11:15], "key": positions.clamp(min=0)}

    def turn(tensor, band, side):
        told = (band.query_position if side == "query" else band.key_position)(places[side])
        return rotate(tensor, told, inv_freq)

    result = core(query, key, value, method.bands, rotate=turn, key_positions=positions, implementation=implementation)
    first = attend(query[:1], key[:1, :, :15], value[:1, :, :15], method, implementation="eager")
    second = attend(query[1:], key[1:, :, 2:15], value[1:, :, 2:15], method, implementation="eager")
    torch.testing.assert_close(result, torch.cat((first, second)))
    ready = Slots.of(positions, queries=4)
    again = core(query, key, value, method.bands, rotate=turn, key_positions=ready, implementation=implementation)
    assert torch.equal(again, result)


def test_slots_say_where_tokens_and_queries_are():
    slots = Slots.of(torch.tensor([[-1, 0, 1, 2, -1], [-1, 0, 1, 2, -1], [5, 6, 7, -1, -1], [-1] * 5]), queries=2)
    assert [(run.rows, run.start, run.stop) for run in slots.runs] == [(slice(0, 2), 1, 4), (slice(2, 3), 0, 3)]
    assert (slots.written, slots.query_start) == (4, 2)
    assert slots.query_positions.tolist() == [[1, 2], [1, 2], [7, -1], [-1, -1]]
    assert Slots.of(torch.tensor([[0, 1, -1, -1]]), queries=2, written=4).query_start == 2


@pytest.mark.parametrize(
    ("positions", "error", "words"),
    [
        ([[0, 1, -1, 2]], ValueError, "row 0"),
        ([[0, 1, 2, 3], [0, 1, 0, 1]], ValueError, "row 1"),
        ([[0, 2, 4, 6]], ValueError, "count up by one"),
        ([0, 1, 2, 3], ValueError, r"\[batch, keys\]"),
        ([[0.0, 1.0]], TypeError, "float32"),
    ],
)
def test_positions_with_gaps_are_refused(positions, error, words):
    with pytest.raises(error, match=words):
        Slots.of(torch.tensor(positions), queries=1)


# Choosing


def test_auto_takes_flash_and_says_through_what():
    query, key, value = tensors(1, 2, 2, 5, 5)
    choice = choose("auto", query, key, value, SelfExtend(2, 3).bands)
    assert choice.name == "flash"
    assert "CPU flash kernel" in choice.reason
    assert choose("eager", query, key, value, SelfExtend(2, 3).bands).name == "eager"


def test_soft_capped_flash_is_reported_as_a_blockwise_loop():
    query, key, value = tensors(1, 2, 2, 5, 5)
    choice = choose("flash", query, key, value, SelfExtend(2, 3).bands, softcap=30.0)
    assert "blockwise loop" in choice.reason
    assert "torch's CPU flash kernel has no softcap" in choice.reason


def test_auto_warns_once_where_eager_meets_a_long_text():
    query, key, value = tensors(1, 1, 1, 1, 4097, head_dim=2, dtype=torch.float32)
    method = SinksAtTrueDistance(7)
    dispatch._warn_once.cache_clear()
    with pytest.warns(UserWarning, match=r"4096 tokens runs eagerly.*a mask of pairs"):
        attend(query, key, value, method)
    attend(query, key, value, method)
    attend(query, key[:, :, :4096], value[:, :, :4096], method)


def test_implementations_tells_what_can_run_and_why_not():
    rows = implementations()
    assert {row.name for row in rows} == {"eager", "flash", "fused"}
    by_kernel = {row.kernel: row for row in rows}
    assert by_kernel["torch's CPU flash kernel"].available
    assert by_kernel["a blockwise loop"].available
    if not torch.cuda.is_available():
        assert not by_kernel["flash_attn"].available
        assert "no CUDA device" in by_kernel["flash_attn"].reason
    assert all(row.reason.endswith(".") and row.kernel in str(row) for row in rows)


# What is refused


def bad(**changes):
    query, key, value = tensors(1, 4, 2, 5, 5)
    return {"query": query, "key": key, "value": value, "method": SelfExtend(2, 3)} | changes


SHAPES = (1, 4, 5, 8)


@pytest.mark.parametrize("implementation", ["auto", "eager", "flash"])
@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"query": random(4, 5, 8)}, ValueError, r"query must have 4 axes.*got 3"),
        ({"value": random(2, 5, 8)}, ValueError, r"value must have 4 axes.*got 3"),
        ({"query": random(1, 3, 5, 8)}, ValueError, "3 query heads do not divide over 2 key heads"),
        ({"query": random(1, 4, 6, 8)}, ValueError, "6 queries but only 5 keys"),
        ({"query": random(1, 4, 5, 6)}, ValueError, "query has head_dim 6 but key has 8"),
        ({"query": random(2, 4, 5, 8)}, ValueError, "batch 2"),
        ({"value": random(1, 2, 4, 8)}, ValueError, "length 5 but value has 2 of length 4"),
        ({"value": random(1, 4, 5, 8)}, ValueError, "key has 2 heads"),
        ({"query": random(1, 4, 0, 8)}, ValueError, "empty axis"),
        ({"key": random(1, 2, 0, 8), "value": random(1, 2, 0, 8)}, ValueError, "empty axis"),
        ({"query": random(*SHAPES, dtype=torch.float32)}, TypeError, "cast them to one precision"),
        ({"query": torch.ones(SHAPES, dtype=torch.int64)}, TypeError, "floating point, got torch.int64"),
        ({"query": np.zeros(SHAPES)}, TypeError, "torch tensor, got ndarray"),
        ({"method": 8}, TypeError, r"\(int\)"),
        ({"inv_freq": torch.ones(5)}, ValueError, "head_dim // 2 = 4"),
        ({"inv_freq": [1.0]}, TypeError, "got list"),
        ({"theta": -1.0}, ValueError, "got -1.0"),
        ({"scale": 0.0}, ValueError, "scale must be a positive finite number"),
        ({"softcap": -3.0}, ValueError, "softcap must be a positive finite number, got -3.0; None leaves it out"),
        ({"softcap": "high"}, TypeError, "softcap must be a number, got 'high'"),
        ({"attention_factor": 0}, ValueError, "attention_factor must be a positive finite number, got 0"),
        ({"softcap": math.nan}, ValueError, "got nan"),
        ({"sinks": torch.zeros(2)}, ValueError, r"one logit per query head, \[4\]"),
        ({"sinks": 0.5}, TypeError, "got float"),
        ({"key_padding": torch.ones(1, 5)}, TypeError, "attention_mask == 0"),
        ({"key_padding": torch.zeros(2, 5, dtype=torch.bool)}, ValueError, r"\[1, 5\]"),
        ({"key_padding": torch.tensor([[False, True, False, False, False]])}, ValueError, "row 0"),
    ],
)
def test_bad_input_is_refused_with_the_number(implementation, changes, error, words):
    with pytest.raises(error, match=words):
        attend(**bad(**changes), implementation=implementation)


def test_odd_heads_are_refused_unless_a_part_is_turned():
    query, key, value = tensors(1, 2, 2, 5, 5, head_dim=7)
    with pytest.raises(ValueError, match="head_dim 7 is odd"):
        attend(query, key, value, SelfExtend(2, 3))
    assert attend(query, key, value, SelfExtend(2, 3), inv_freq=default_inv_freq(6)[0]).shape == query.shape


@pytest.mark.parametrize("name", ["sdpa", "", "Flash", None])
def test_unknown_implementations_are_refused(name):
    with pytest.raises(ValueError, match="unknown implementation"):
        attend(**bad(), implementation=name)


def test_core_refuses_no_bands_and_slots_of_other_sizes():
    query, key, value = tensors(1, 2, 2, 5, 5)
    with pytest.raises(ValueError, match="bands is empty"):
        core(query, key, value, (), rotate=lambda tensor, band, side: tensor)
    for wrong in (torch.arange(6)[None], Slots.full(batch=1, queries=4, keys=5)):
        with pytest.raises(ValueError, match="5"):
            core(query, key, value, PlainRoPE().bands, rotate=lambda t, band, side: t, key_positions=wrong)
