"""Which heads look at the key, and where one of them looks: sums are 1, masses are transformers' own weights."""

import itertools
from statistics import fmean

import numpy as np
import pytest
import torch
from experiment_doubles import bytes_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_llama

from selfextend_viz.demo import load_demo
from selfextend_viz.experiments.passkey import answer_digits
from selfextend_viz.experiments.prompts import passkey_prompt
from selfextend_viz.experiments.retrieval import answer_attention, attention_bins, never_trained, retrieval_heads
from selfextend_viz.experiments.rows import AttentionRow, DigitRow
from selfextend_viz.patch import extended
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions

CONTEXT_LENGTH = 160
METHOD = SelfExtend(group_size=4, neighbor_window=40)


@pytest.fixture(scope="module")
def model():
    return tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)


def prompt_of(length=150, depth=0.4, **options):
    return passkey_prompt(bytes_tokenizer(), length=length, depth=depth, key="29026", **options)


def weights_of(model, prompt, method=None):
    """The model's own attention weights of the answer's queries: by layer, ``[heads, rows, keys]``."""
    stock = model.config._attn_implementation
    model.set_attn_implementation("eager")
    ids = torch.tensor([prompt.read_ids])
    try:
        with torch.no_grad():
            if method is None:
                found = model(ids, output_attentions=True).attentions
            else:
                with extended(model, method, implementation="eager"):
                    found = model(ids, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(stock)
    return [layer[0, :, list(prompt.answer_rows)] for layer in found]


@pytest.mark.parametrize("method", [None, METHOD], ids=["stock", "extended"])
@pytest.mark.parametrize(("layer", "head"), [(0, 3), (1, 0)])
def test_the_masses_are_the_models_own_weights(model, method, layer, head):
    prompt = prompt_of()
    rows = list(answer_attention(model, bytes_tokenizer(), prompt, method, layer=layer, head=head, bins=20))
    masses = [row for row in rows if isinstance(row, AttentionRow)]
    expected = weights_of(model, prompt, method)[layer][head].double().mean(0)
    assert len(prompt.answer_rows) == 5
    for row in masses:
        assert row.mass == pytest.approx(float(expected[row.start : row.stop].sum()), abs=1e-5)
        assert (row.layer, row.head, row.condition) == (layer, head, "stock" if method is None else str(method))
    assert sum(row.mass for row in masses) == pytest.approx(1, abs=1e-9)
    assert len({round(row.mass, 4) for row in masses}) > 3, "a uniform head would show nothing"


@pytest.mark.parametrize("method", [None, METHOD, "blindfold"])
def test_the_digits_are_those_that_are_scored(model, method):
    prompt = prompt_of()
    rows = list(answer_attention(model, bytes_tokenizer(), prompt, method, layer=0, head=0))
    digits = [row for row in rows if isinstance(row, DigitRow)]
    expected = answer_digits(model, bytes_tokenizer(), prompt, method)
    assert [(row.said, row.wanted, row.index) for row in digits] == [
        (row.said, row.wanted, row.index) for row in expected
    ]
    for got, want in zip(digits, expected, strict=True):
        assert got.probability_said == pytest.approx(want.probability_said, abs=1e-4)
        assert got.probability_wanted == pytest.approx(want.probability_wanted, abs=1e-4)


def test_each_bin_tells_the_position_of_its_middle_key(model):
    prompt = prompt_of()
    told = relative_positions(METHOD, len(prompt.read_ids))
    rows = answer_attention(model, bytes_tokenizer(), prompt, METHOD, layer=1, head=1, bins=30)
    for row in [row for row in rows if isinstance(row, AttentionRow)]:
        middle = min((row.start + row.stop) // 2, prompt.answer_rows[0])
        assert row.told == told[prompt.answer_rows[0], middle]


@given(st.integers(10, 3000), st.data(), st.integers(1, 80))
def test_no_bin_straddles_the_needle(length, data, bins):
    start = data.draw(st.integers(0, length - 2))
    stop = data.draw(st.integers(start + 1, length - 1))
    edges = attention_bins(length, (start, stop), bins)
    assert edges[0] == 0 and edges[-1] == length
    assert all(low < high for low, high in itertools.pairwise(edges))
    assert (start, stop) in itertools.pairwise(edges)
    assert len(edges) <= bins + 3


def test_given_bins_are_kept_but_for_the_needle():
    assert attention_bins(100, (31, 36), [0, 33, 50, 100]) == [0, 31, 36, 50, 100]
    assert attention_bins(100, (0, 0), 4) == [0, 25, 50, 75, 100]
    for edges in ([0, 50], [5, 100], [0, 60, 40, 100], []):
        with pytest.raises(ValueError, match="bins must be edges that rise from 0 to 100"):
            attention_bins(100, (3, 4), edges)


@pytest.mark.parametrize("method", [PlainRoPE(), SelfExtend(8, 80), SelfExtend(4, 20), SelfExtend(3, 100)])
@pytest.mark.parametrize("length", [200, 321, 322, 700, 1300])
def test_the_stretch_never_trained_is_that_of_the_formula(method, length):
    told = relative_positions(method, length)[-1]
    stretch = never_trained(method, length - 1, 320)
    if told.max() < 320:
        assert stretch is None
    else:
        start, stop = stretch
        assert np.array_equal(np.flatnonzero(told >= 320), np.arange(start, stop))


def test_heads_are_ranked_by_their_mass_on_the_key(model):
    rows = list(retrieval_heads(model, bytes_tokenizer(), trials=3, seed=5))
    assert sorted((row.layer, row.head) for row in rows) == sorted(itertools.product((0, 1), range(4)))
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)
    assert all(row.prompts == 3 for row in rows)
    prompts = [
        passkey_prompt(bytes_tokenizer(), length=CONTEXT_LENGTH - 6, depth=(trial + 0.5) / 3, seed=5 + trial)
        for trial in range(3)
    ]
    assert all(len(prompt.ids + prompt.answer_ids) == CONTEXT_LENGTH for prompt in prompts)
    weights = [(prompt, weights_of(model, prompt)) for prompt in prompts]
    for row in rows[:2]:
        shares = [
            float(layers[row.layer][row.head][:, slice(*prompt.needle)].sum(-1).mean()) for prompt, layers in weights
        ]
        assert row.score == pytest.approx(fmean(shares), abs=1e-5)


def test_the_prompts_options_are_passed_on(model):
    usual, once = (
        next(retrieval_heads(model, bytes_tokenizer(), trials=1, phrasing=phrasing)).score
        for phrasing in ("paper", "once")
    )
    assert usual != once


def test_what_cannot_be_looked_at_is_refused_in_a_sentence(model):
    tokenizer, prompt = bytes_tokenizer(), prompt_of()
    with pytest.raises(ValueError, match="no head 4 in layer 1 to watch.* layers 0 to 1 with heads 0 to 3"):
        list(answer_attention(model, tokenizer, prompt, layer=1, head=4))
    with pytest.raises(ValueError, match="no head 0 in layer 7"):
        list(answer_attention(model, tokenizer, prompt, layer=7, head=0))
    with pytest.raises(ValueError, match="'truncate' cuts the prompt"):
        answer_attention(model, tokenizer, prompt, "truncate", layer=0, head=0)
    with pytest.raises(ValueError, match="length is 161.* no more than L = 160"):
        retrieval_heads(model, tokenizer, length=161)
    with pytest.raises(ValueError, match="use a length of at least"):
        retrieval_heads(model, tokenizer, length=30)
    with pytest.raises(ValueError, match="'control' states no key"):
        list(retrieval_heads(model, tokenizer, task="control"))


def test_the_demo_models_best_head_finds_the_key_that_stock_loses():
    model, tokenizer = load_demo()
    best = next(retrieval_heads(model, tokenizer, trials=2, phrasing="once"))
    assert best.score > 0.9
    prompt = passkey_prompt(tokenizer, length=640, depth=0.5, key="29026", phrasing="once")
    looks = {}
    for condition in ("stock", SelfExtend(4, 80)):
        rows = list(answer_attention(model, tokenizer, prompt, condition, layer=best.layer, head=best.head))
        on_key = [row for row in rows if isinstance(row, AttentionRow) and (row.start, row.stop) == prompt.needle]
        looks[str(condition)] = "".join(row.said for row in rows if isinstance(row, DigitRow)), on_key[0].mass
    assert looks["SelfExtend(G=4, w_n=80)"][0] == "29026"
    assert looks["SelfExtend(G=4, w_n=80)"][1] > 0.9
    assert looks["stock"][0] != "29026"
    assert looks["stock"][1] < 0.9
