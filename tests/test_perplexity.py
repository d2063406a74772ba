"""Losses are those of the whole output layer, and perplexity compares the same tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from experiment_doubles import TEXT, TEXTS, bytes_tokenizer, config, tiny_llama
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2Model,
    GraniteConfig,
    GraniteForCausalLM,
)

from selfextend_viz.experiments.losses import output_layer, sequence_losses
from selfextend_viz.experiments.perplexity import cut_windows, mean_over_texts, perplexity, token_losses
from selfextend_viz.patch import extended
from selfextend_viz.positions import SelfExtend

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 257,
    "initializer_range": 0.4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BUILDERS = {
    "llama": tiny_llama,
    "cohere scales up": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=3.0)),
    "granite scales down": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=4.0)),
    "gemma 2 caps": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=2.0)),
}


def text_ids(length: int) -> list[int]:
    return list((TEXT * 3).encode()[:length])


def whole_losses(model, ids):
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("chunk_size", [1, 7, 1024])
def test_losses_in_chunks_are_those_of_the_whole_output_layer(name, chunk_size):
    torch.manual_seed(0)
    model, ids = BUILDERS[name]().eval(), text_ids(50)
    losses = token_losses(model, ids, chunk_size=chunk_size)
    assert losses.shape == (49,) and losses.dtype is torch.float32
    torch.testing.assert_close(losses, whole_losses(model, ids), atol=1e-5, rtol=1e-5)


def test_the_output_layer_never_sees_more_than_a_chunk():
    model, seen = tiny_llama(), []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1]))
    token_losses(model, text_ids(50), chunk_size=16)
    assert seen == [16, 16, 16, 1]


def test_losses_under_a_method_are_those_of_the_extended_model():
    model, ids, method = tiny_llama(), text_ids(150), SelfExtend(4, 16)
    with extended(model, method):
        wanted = whole_losses(model, ids)
    torch.testing.assert_close(token_losses(model, ids, method=method), wanted, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(wanted, token_losses(model, ids), atol=1e-2)


def test_only_the_last_tokens_are_scored_when_asked():
    model, ids = tiny_llama(), torch.tensor([text_ids(40), text_ids(41)[1:]])
    with torch.inference_mode():
        whole, last = sequence_losses(model, ids), sequence_losses(model, ids, first=30)
    assert last.shape == (2, 10)
    torch.testing.assert_close(whole[:, 29:], last)


def uniform_model():
    model = tiny_llama()
    torch.nn.init.zeros_(model.lm_head.weight)
    return model


def rows(model, **options):
    defaults = {"context_lengths": [64, 128], "targets": 400}
    return list(perplexity(model, bytes_tokenizer(), TEXTS, **{**defaults, **options}))


def test_a_uniform_model_has_the_vocabularys_perplexity():
    for row in rows(uniform_model(), conditions=["stock", SelfExtend(4, 16)]):
        assert row.nll == pytest.approx(math.log(257), abs=1e-6) and row.perplexity == pytest.approx(257, rel=1e-5)
        assert (row.difference, row.nll_error) == (0, pytest.approx(0, abs=1e-6))
        assert (row.texts, row.targets) == (2, 400)


def test_every_context_length_scores_the_same_tokens():
    model = tiny_llama()
    by_hand = {length: [] for length in (64, 128)}
    for window in cut_windows([len(TEXT), len(TEXTS[1])], 25, longest=128, stride=16):
        ids = list(TEXTS[window.text].encode())
        for length, losses in by_hand.items():
            losses.append(whole_losses(model, ids[window.stop - length : window.stop])[-16:])
    found = rows(model, conditions=["stock"])
    for row in found:
        assert row.nll == pytest.approx(torch.cat(by_hand[row.context_length]).mean().item(), abs=1e-5)
    paired = torch.cat(by_hand[128]).mean() - torch.cat(by_hand[64]).mean()
    assert found[1].difference == pytest.approx(paired.item(), abs=1e-5)


def test_stock_on_the_last_l_tokens_is_the_zero_of_differences():
    found = rows(tiny_llama(), conditions=["stock", "blindfold", "sinks", "truncate", SelfExtend(4, 16)])
    by_cell = {(row.condition, row.context_length): row for row in found}
    zero = {cell for cell, row in by_cell.items() if row.difference == 0 == row.difference_error}
    controls = {(name, 64) for name in ("stock", "blindfold", "sinks", "truncate")}
    assert zero == controls | {("truncate", 128)}
    assert [row.condition for row in found[:5]] == [row.condition for row in found[5:]]


def test_rows_do_not_depend_on_the_batch_size():
    model = tiny_llama()
    one, many = rows(model, batch_size=1, conditions=["blindfold"]), rows(model, conditions=["blindfold"])
    assert [row.nll for row in one] == pytest.approx([row.nll for row in many], abs=1e-5)


def test_standard_errors_are_over_texts():
    losses = np.array([[1.0, 3.0], [2.0, 2.0], [5.0, 7.0]])
    mean, error = mean_over_texts(losses, np.array([0, 1, 2]))
    assert (mean, error) == (pytest.approx(losses.mean()), pytest.approx(np.std([2, 2, 6], ddof=1) / math.sqrt(3)))
    mean, error = mean_over_texts(losses, np.array([4, 4, 9]))
    assert error == pytest.approx(math.sqrt(2 * ((8 - 4 * mean) ** 2 + (12 - 2 * mean) ** 2)) / 6)
    assert math.isnan(mean_over_texts(losses, np.array([0, 0, 0]))[1])


def test_windows_never_share_a_target_and_spread_over_texts():
    windows = cut_windows([100, 1000, 99, 400], 30, longest=100, stride=20)
    stops = {text: sorted(window.stop for window in windows if window.text == text) for text in range(4)}
    assert len(windows) == 30 and stops[2] == [] and stops[0] == [100] and len(stops[3]) == 15
    for text, size in ((1, 1000), (3, 400)):
        assert min(np.diff(stops[text])) >= 20 and stops[text][0] == 100 and size - 20 < stops[text][-1] <= size
    assert len(cut_windows([100] * 50, 30, longest=90, stride=20)) == 30
    assert len(cut_windows([130], 30, longest=90, stride=20)) == 3


BAD = [
    ({"context_lengths": []}, ValueError, "0 entries"),
    ({"context_lengths": [1]}, ValueError, "context_length is 1"),
    ({"context_lengths": [9999]}, ValueError, "longest text has .* a context needs 9999"),
    ({"targets": 0}, ValueError, "targets is 0"),
    ({"stride": 64}, ValueError, "stride is 64, but must be below every context length \\(64\\)"),
    ({"conditions": "stock"}, TypeError, "must be a list"),
    ({"context_lengths": 64}, TypeError, "context_lengths must be a list, not 64 alone"),
    ({"texts": TEXTS[0]}, TypeError, "texts must be a list, not .* put it in brackets"),
    ({"conditions": ["stock", SelfExtend(2, 64)]}, ValueError, "neighbor_window 64 leaves no room"),
    ({"conditions": ["no_needle"]}, ValueError, "unknown condition 'no_needle'"),
    ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), BAD)
def test_bad_input_is_refused_at_once(options, error, sentence):
    with pytest.raises(error, match=sentence):
        perplexity(tiny_llama(), bytes_tokenizer(), **{"texts": TEXTS, "context_lengths": [64], **options})


def test_bad_ids_are_refused():
    for ids in ([5], [[1, 2], [3, 4]], []):
        with pytest.raises(ValueError, match="one text of at least 2 tokens"):
            token_losses(tiny_llama(), ids)
    with pytest.raises(TypeError, match="ids must be whole numbers, not torch.float32"):
        token_losses(tiny_llama(), [1.5, 2.0])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        token_losses(tiny_llama(), [1, 2, 3], chunk_size=0)


def test_a_model_without_an_output_layer_is_refused():
    bare = GPT2Model(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20))
    with pytest.raises(ValueError, match="GPT2Model has no output layer"):
        output_layer(bare)


def test_the_double_has_the_context_length_the_tests_count_on():
    assert config().max_position_embeddings == 64
