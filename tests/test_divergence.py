"""Divergence rows against laws and against the same numbers computed the long way."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from experiment_doubles import TEXT, TEXTS, bytes_tokenizer, tiny_llama

from selfextend_viz.experiments import heads
from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.needle import Needle
from selfextend_viz.experiments.prompts import passkey_prompt
from selfextend_viz.experiments.random_heads import random_divergence
from selfextend_viz.experiments.rows import HeadRow, LogitRow, OutputRow
from selfextend_viz.methods.masking import SinksAtTrueDistance, SlidingWindow
from selfextend_viz.patch import BeyondReachWarning, extended, is_extended
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend, relative_positions

METHOD = SelfExtend(4, 16)  # exact reach of L = 64: 4 * (64 - 16 + 4) = 208


def text_ids(length: int) -> list[int]:
    return list((TEXT * 3).encode()[:length])


def measure(method=METHOD, length=150, model=None, **options):
    rows = list(divergence(model or tiny_llama(), text_ids(length), method, **{"queries": 16, "bins": 8, **options}))
    return [[row for row in rows if isinstance(row, kind)] for kind in (LogitRow, HeadRow, OutputRow)]


@pytest.fixture(scope="module")
def measured():
    return measure()


def test_every_head_has_its_rows(measured):
    logits, found, output = measured
    assert [(row.layer, row.head) for row in found] == [(layer, head) for layer in (0, 1) for head in range(4)]
    assert {row.length for row in found} == {150}
    bins = {name: [] for name in ("reference", "stock", str(METHOD))}
    for row in logits:
        if (row.layer, row.head) == (1, 2):
            bins[row.condition].append((row.distance_low, row.distance_high))
    edges = [0, 16, 32, 48, 64, 86, 107, 128, 150]
    assert bins["stock"] == bins[str(METHOD)] == list(zip(edges, edges[1:], strict=False))
    assert bins["reference"] == bins["stock"][:4]
    assert [(row.condition, row.length, row.positions) for row in output] == [
        ("stock", 150, 16),
        (str(METHOD), 150, 16),
    ]
    assert all(row.low <= row.mean <= row.high and row.pairs > 0 for row in logits)


def test_inside_the_exact_reach_nothing_stands_at_an_untrained_position(measured):
    for row in measured[1]:
        assert row.far_mass_method == 0 < row.far_mass_stock
        assert row.far_mass_stock == row.distant_mass_stock  # stock is told true distances
        assert row.distant_mass_method > 0 and row.kl > 0 and row.kl_in_range > 0
        assert 0 < row.far_mass_uniform < 1 and 0 <= row.outlier_share_method <= 1
        assert row.needle_mass_stock is row.needle_mass_method is row.needle_mass_reference is None


def test_past_the_reach_something_does():
    with pytest.warns(BeyondReachWarning):
        _, found, _ = measure(SelfExtend(2, 16), length=150)
    assert all(row.far_mass_method > 0 for row in found)


@pytest.mark.parametrize("method", [SelfExtend(1, 16), PlainRoPE(), SlidingWindow(500)])
def test_a_method_that_changes_nothing_diverges_nowhere(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeyondReachWarning)
        logits, found, output = measure(method, stream="stock")
    for row in found:
        assert row.kl == pytest.approx(0, abs=1e-6) and row.kl_in_range == pytest.approx(0, abs=1e-6)
        assert row.outlier_share_method == row.outlier_share_stock
        assert row.far_mass_method == row.far_mass_stock and row.distant_mass_method == row.distant_mass_stock
    assert len({row.kl for row in output}) == 1 or output[0].kl == pytest.approx(output[1].kl, abs=1e-5)
    stock = {(r.layer, r.head, r.distance_low): r.mean for r in logits if r.condition == "stock"}
    for row in logits:
        if row.condition == str(method):
            assert row.mean == stock[row.layer, row.head, row.distance_low]


def test_within_l_stock_is_the_reference():
    _, found, output = measure(length=50)
    assert output[0].kl == pytest.approx(0, abs=1e-6) and output[1].kl > 0
    for row in found:
        assert (row.outlier_share_stock, row.far_mass_stock, row.far_mass_uniform) == (0, 0, 0)
        assert row.kl > 0 and row.kl_in_range > 0


def test_rows_are_those_of_the_whole_attention_matrix():
    """One layer, every row of the second half: the masses from the model's own attention weights."""
    model, length = tiny_llama(layers=1), 120
    _, found, output = measure(model=model, length=length, queries=1000, stream="stock")
    ids = torch.tensor([text_ids(length)])
    with torch.inference_mode(), extended(model, PlainRoPE(), implementation="eager"):
        stock = model(ids, output_attentions=True).attentions[0][0, :, 64:].double()
    with torch.inference_mode(), extended(model, METHOD, implementation="eager"):
        method = model(ids, output_attentions=True).attentions[0][0, :, 64:].double()
    distances = np.subtract.outer(np.arange(64, length), np.arange(length))
    far = torch.tensor(distances >= 64)
    kl = (stock * (stock.clamp(min=1e-300).log() - method.clamp(min=1e-300).log())).sum(-1).mean(-1)
    for row in found:
        assert row.far_mass_stock == pytest.approx((stock[row.head] * far).sum(-1).mean().item(), abs=1e-5)
        assert row.distant_mass_method == pytest.approx((method[row.head] * far).sum(-1).mean().item(), abs=1e-5)
        assert row.kl == pytest.approx(kl[row.head].item(), rel=1e-3, abs=1e-5)
    uniform = np.mean([(position - 63) / (position + 1) for position in range(64, length)])
    assert found[0].far_mass_uniform == pytest.approx(uniform)


def test_output_divergence_is_from_the_model_that_sees_the_last_l_tokens():
    model, length = tiny_llama(), 130
    *_, output = measure(model=model, length=length, queries=1000)
    ids = torch.tensor([text_ids(length)])
    with torch.inference_mode():
        near = model(ids[:, -64:]).logits[0, 32:].log_softmax(-1)
        stock = model(ids).logits[0, -32:].log_softmax(-1)
        with extended(model, METHOD):
            method = model(ids).logits[0, -32:].log_softmax(-1)
    for row, other in zip(output, (stock, method), strict=True):
        kl = (near.exp() * (near - other)).sum(-1)
        assert row.kl == pytest.approx(kl.mean().item(), rel=1e-3)
        assert row.kl_error == pytest.approx(kl.std().item() / math.sqrt(32), rel=1e-3)


def test_stream_says_whose_queries_and_keys_are_looked_at():
    streams = [{(r.layer, r.head): r.kl for r in measure(stream=name)[1]} for name in ("method", "stock")]
    assert all(streams[0][0, head] == pytest.approx(streams[1][0, head], rel=1e-3) for head in range(4))
    assert all(streams[0][1, head] != pytest.approx(streams[1][1, head], rel=1e-3) for head in range(4))


def test_a_mask_shows_as_infinite_kl_and_missing_bins():
    logits, found, _ = measure(SlidingWindow(64))
    assert all(row.kl == math.inf and row.kl_in_range == pytest.approx(0, abs=1e-6) for row in found)
    masked = [row for row in logits if row.condition == "SlidingWindow(64)"]
    assert max(row.distance_high for row in masked) == 64
    assert all(row.distant_mass_method == row.outlier_share_method == 0 for row in found)


def test_needle_mass_is_paired_with_the_same_needle_within_l():
    model, tokenizer = tiny_llama(layers=1, context_length=128), bytes_tokenizer()
    prompt = passkey_prompt(tokenizer, length=300, depth=0.3, filler=TEXTS)
    rows = list(
        divergence(
            model,
            prompt.read_ids,
            SelfExtend(4, 32),
            queries=8,
            needle=prompt.needle,
            answer_rows=prompt.answer_rows,
            bins=4,
        )
    )
    found = [row for row in rows if isinstance(row, HeadRow)]
    needle = Needle.of(prompt.needle, prompt.answer_rows, len(prompt.read_ids))
    kept, moved = needle.cut(len(prompt.read_ids), 128)
    read = [prompt.read_ids[place] for place in kept]
    assert bytes(read[moved.start : moved.stop]).decode() == prompt.answer
    assert bytes(read).decode().endswith("What is the pass key? The pass key is " + prompt.answer[:-1])
    for ids, span, at, name in (
        (list(prompt.read_ids), prompt.needle, prompt.answer_rows, "needle_mass_stock"),
        (read, (moved.start, moved.stop), moved.rows, "needle_mass_reference"),
    ):
        with torch.inference_mode(), extended(model, PlainRoPE(), implementation="eager"):
            weights = model(torch.tensor([ids]), output_attentions=True).attentions[0][0]
        wanted = weights[:, list(at), span[0] : span[1]].sum(-1).mean(-1)
        assert [getattr(row, name) for row in found] == pytest.approx(wanted.tolist(), abs=1e-5)
    assert all(0 < row.needle_mass_method < 1 for row in found)


def test_the_answers_queries_are_those_that_foretell_digits():
    prompt = passkey_prompt(bytes_tokenizer(), length=300, depth=0.3)
    foretold = [prompt.read_ids[row + 1] for row in prompt.answer_rows[:-1]]
    assert bytes(foretold).decode() == prompt.answer[:-1] and len(prompt.answer_rows) == 5
    assert bytes(prompt.read_ids).decode() == f"{prompt.text} {prompt.answer[:-1]}"


@pytest.mark.parametrize("start", [0, 3, 40, 150, 199, 210, 240, 260])
def test_cut_keeps_needle_and_end(start):
    kept, moved = Needle.of((start, start + 5), (290, 299), 300).cut(300, 100)
    assert len(kept) == 100 and kept == sorted(set(kept)) and kept[-50:] == list(range(250, 300))
    assert kept[moved.start : moved.stop] == list(range(start, start + 5))
    assert [kept[row] for row in moved.rows] == [290, 299]


def test_cut_of_a_text_within_l_is_the_text():
    needle = Needle.of((3, 5), None, 60)
    assert needle.cut(60, 100) == (list(range(60)), needle) and needle.rows == (59,)


def test_the_model_comes_back_and_equal_seeds_give_equal_rows():
    model = tiny_llama()
    first, again, other = (measure(model=model, seed=seed) for seed in (0, 0, 1))
    assert first == again and first[1] != other[1] and not is_extended(model)


def test_rows_are_sampled_beyond_l_and_no_more_than_asked():
    generator = torch.Generator().manual_seed(0)
    rows = heads.sample_rows(100, 1000, 64, generator)
    assert len(rows) == 64 and rows.min() >= 100 and rows[-1] == 999
    assert torch.equal(heads.sample_rows(5, 9, 64, generator), torch.arange(5, 9))


def test_positions_told_to_sampled_rows_are_the_methods():
    rows = torch.tensor([3, 40, 99])
    for method in (METHOD, SlidingWindow(20), SinksAtTrueDistance(20), PlainRoPE()):
        whole = torch.from_numpy(relative_positions(method, 100))
        assert torch.equal(heads.told_positions(method, rows, 100, heads=4), whole[rows][None])


def test_positions_told_may_differ_by_head():
    class Halves:
        bands = (Band(beyond=5, heads=slice(0, 2)), Band(nearest=2, heads=slice(2, 4)))

    told = heads.told_positions(Halves(), torch.tensor([9]), 10, heads=4)[:, 0].tolist()
    assert told[0] == told[1] == [-1] * 5 + [4, 3, 2, 1, 0] and told[2] == told[3] == [9, 8, 7, 6, 5, 4, 3, 2, -1, -1]


def test_bins_hold_what_numpy_finds():
    torch.manual_seed(0)
    rows, edges = torch.tensor([30, 44, 59]), [0, 7, 20, 50]
    logits = torch.randn(2, 3, 60)
    keys = torch.arange(60)
    distances = rows[:, None] - keys
    logits[:, (distances < 0) | (distances == 3)] = -torch.inf
    found = heads.binned(logits, rows, edges)
    for head in range(2):
        for index, (low, high) in enumerate(zip(edges, edges[1:], strict=False)):
            values = logits[head][(distances >= low) & (distances < high)].numpy()
            values = values[np.isfinite(values)]
            wanted = [values.mean(), *np.quantile(values, [0.001, 0.999])]
            assert [part[head, index].item() for part in found[:3]] == pytest.approx(wanted, abs=1e-5)
            assert found.pairs[head, index] == len(values)
    assert heads.high_quantile(logits)[0] == pytest.approx(
        np.quantile(logits[0][logits[0].isfinite()], 0.999), abs=1e-5
    )


def test_an_empty_bin_has_no_pairs():
    found = heads.binned(torch.full((1, 1, 9), -torch.inf), torch.tensor([8]), [0, 4])
    assert found.pairs.tolist() == [[0]] and found.low.isnan().all()


def test_outlier_share_counts_only_what_is_seen_far_away():
    logits = torch.tensor([[[5.0, 1.0, -torch.inf, 9.0, 9.0]]])
    rows = torch.tensor([4])
    share = heads.outlier_share(logits, rows, threshold=torch.tensor([4.0]), context_length=2)
    assert share.tolist() == [0.5]


@pytest.mark.parametrize(("length", "bins"), [(150, 8), (65, 8), (40, 8), (5000, 48), (3, 48), (66, 1)])
def test_l_is_an_edge(length, bins):
    edges = heads.distance_edges(length, 64, bins)
    assert edges[0] == 0 and edges[-1] == length and len(edges) <= max(bins, 2) + 1 and edges == sorted(set(edges))
    assert length <= 64 or 64 in edges


def test_edges_may_be_given():
    logits, *_ = measure(bins=[10, 64, 100])
    assert {(row.distance_low, row.distance_high) for row in logits} == {(10, 64), (64, 100)}


RANDOM = {"length": 300, "context_length": 128, "head_dim": 16, "heads": 3, "queries": 16, "bins": 8}


def random_rows(method, **options):
    rows = list(random_divergence(method, **{**RANDOM, **options}))
    return [row for row in rows if isinstance(row, LogitRow)], [row for row in rows if isinstance(row, HeadRow)]


def test_random_heads_obey_the_same_laws():
    logits, found = random_rows(SelfExtend(4, 32))
    assert len(found) == 3 and {row.condition for row in logits} == {"reference", "stock", "SelfExtend(G=4, w_n=32)"}
    assert all(row.far_mass_method == 0 < row.far_mass_stock == row.distant_mass_stock for row in found)
    near = {(r.condition, r.head): r.mean for r in logits if r.distance_high <= 32}
    assert all(near["stock", head] == near["SelfExtend(G=4, w_n=32)", head] for head in range(3))
    assert all(row.kl > 0 for row in found)
    assert all(row.kl == 0 == row.kl_in_range for row in random_rows(SelfExtend(1, 32))[1])
    assert random_rows(SelfExtend(4, 32)) == (logits, found) != random_rows(SelfExtend(4, 32), seed=1)


def test_noise_alone_knows_no_distance():
    logits, found = random_rows(SelfExtend(4, 32), shared=0.0, queries=64, heads=1)
    assert all(abs(row.mean) < 0.5 for row in logits)
    assert found[0].outlier_share_stock < 0.01
    assert found[0].far_mass_stock == pytest.approx(found[0].far_mass_uniform, abs=0.15)


BAD = [
    ({"queries": 0}, ValueError, "queries is 0"),
    ({"bins": 0}, ValueError, "bins is 0"),
    ({"bins": [0, 60, 150]}, ValueError, "edges that rise, with L = 64 among them"),
    ({"bins": [5, 5]}, ValueError, "edges that rise"),
    ({"seed": -1}, ValueError, "seed is -1"),
    ({"stream": "both"}, ValueError, "unknown stream 'both'"),
    ({"method": 3}, TypeError, "got 3"),
    ({"method": "blindfold"}, TypeError, "method must have .bands"),
    ({"method": SelfExtend(2, 64)}, ValueError, "neighbor_window 64 leaves no room"),
    ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
    ({"length": 1}, ValueError, "ids has 1 tokens"),
    ({"needle": (9, 9)}, ValueError, r"needle \(9, 9\) is no span"),
    ({"needle": (9, 150)}, ValueError, "no span of tokens before the last of 150"),
    ({"needle": (9, 12), "answer_rows": [10]}, ValueError, "from 12 .*not 10"),
    ({"needle": (9, 12), "answer_rows": []}, ValueError, "not empty"),
    ({"needle": (9, 12), "answer_rows": [100]}, ValueError, "among the last 32 tokens, not 100"),
    ({"needle": (5, 45)}, ValueError, "a needle of 40 tokens does not fit into L / 2 = 32"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), BAD)
def test_bad_input_is_refused_at_once(options, error, sentence):
    model, seen = tiny_llama(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    arguments = {"length": 150, "method": METHOD, **options}
    ids = text_ids(arguments.pop("length"))
    with pytest.raises(error, match=sentence):
        divergence(model, ids, arguments.pop("method"), **arguments)
    assert not seen


def test_one_text_is_asked_for():
    with pytest.raises(ValueError, match=r"one text .*, not of shape \(2, 40\)"):
        divergence(tiny_llama(), torch.ones(2, 40, dtype=torch.long), METHOD)
    with pytest.raises(TypeError, match="whole numbers, not torch.float32"):
        divergence(tiny_llama(), torch.ones(40), METHOD)


def test_random_divergence_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="neighbor_window 64 leaves no room"):
        random_divergence(SelfExtend(2, 64), **{**RANDOM, "context_length": 64})
    with pytest.raises(TypeError, match="method must have .bands"):
        random_divergence("stock", **RANDOM)


@pytest.mark.parametrize("name", ["length", "context_length", "heads", "queries", "bins"])
def test_random_divergence_refuses_nothing_sized(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        random_divergence(METHOD, **{**RANDOM, name: 0})
