"""The knee of token losses: found where it was put, not found where there is none, and L for the demo model."""

import numpy as np
import pytest
import torch
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz import SelfExtend, load_demo
from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments.trained_length import in_words, knee, text_losses
from selfextend_viz.patch import extended

LENGTH = 4096
PLACE = np.arange(1, LENGTH + 1)


def rows(rise, *, texts=8, seed=0):
    """Losses that fall slowly, with the noise of tokens and of whole passages, and a rise on top."""
    chance = np.random.default_rng(seed)
    tokens = chance.normal(0, 1.5, (texts, LENGTH))
    passages = np.repeat(chance.normal(0, 0.4, (texts, LENGTH // 64)), 64, axis=1)
    return 2 + 3 / np.sqrt(PLACE) + tokens + passages + rise


def sudden(at, height=6.0):
    return np.where(at < PLACE, height * (1 - np.exp(-(PLACE - at) / 60)), 0)


def slow(at, slope=1.5):
    return slope * np.maximum(0, np.log(PLACE / at))


class TestKnee:
    @pytest.mark.parametrize("at", [256, 1024, 3000])
    @pytest.mark.parametrize("seed", range(3))
    def test_a_sudden_break(self, at, seed):
        found = knee(rows(sudden(at), seed=seed))
        assert 0.9 * at <= found <= 1.1 * at

    @pytest.mark.parametrize("at", [256, 1000])
    @pytest.mark.parametrize("seed", range(3))
    def test_a_slow_break(self, at, seed):
        found = knee(rows(slow(at), seed=seed))
        assert 0.75 * at <= found <= 1.35 * at

    @pytest.mark.parametrize("texts", [1, 8])
    @pytest.mark.parametrize("seed", range(3))
    def test_none_where_losses_only_fall(self, texts, seed):
        assert knee(rows(0, texts=texts, seed=seed)) is None

    def test_one_row_is_one_text(self):
        row = rows(sudden(1024))[0]
        assert knee(row) == knee(row[None]) == knee([torch.as_tensor(row)]) == knee(torch.as_tensor(row))

    def test_rows_are_cut_to_the_shortest(self):
        table = rows(sudden(1024))
        assert knee([table[0], table[1][:2000]]) == knee(table[:2, :2000])

    @pytest.mark.parametrize("losses", [[], [[1.0] * 127], [1.0] * 100, [[1.0] * 4000, [1.0] * 50]])
    def test_too_few_losses_are_refused(self, losses):
        with pytest.raises(ValueError, match="losses; a knee takes at least 128"):
            knee(losses)

    def test_a_loss_that_is_none_is_refused(self):
        table = rows(0)
        table[2, 40] = np.nan
        with pytest.raises(ValueError, match="the loss of token 41 is not finite"):
            knee(table)


class TestModels:
    @pytest.fixture(scope="class")
    @classmethod
    def demo(cls):
        return load_demo()

    def test_the_demo_model_breaks_just_past_its_length(self, demo):
        model, tokenizer = demo
        losses = text_losses(model, tokenizer, held_out_texts())
        assert losses.shape == (8, 4 * 320 - 1)
        assert 0.9 * 320 <= knee(losses) <= 1.25 * 320

    def test_a_lent_method_does_not_count(self, demo):
        model, tokenizer = demo
        text = max(held_out_texts(), key=len)[:700]
        with extended(model, SelfExtend(8, 80)):
            under = text_losses(model, tokenizer, text)
        np.testing.assert_allclose(under, text_losses(model, tokenizer, text), atol=1e-4)

    def test_which_texts_are_read(self):
        model, tokenizer = tiny_llama(vocab_size=300, max_position_embeddings=100), bytes_tokenizer()
        texts = ["a" * 150, "b" * 350, "c" * 250, "d" * 199]
        assert text_losses(model, tokenizer, texts).shape == (2, 249)
        assert text_losses(model, tokenizer, texts[0]).shape == (1, 149)
        assert text_losses(model, tokenizer, ["e" * 900] * 12).shape == (8, 399)
        assert text_losses(model, tokenizer, texts, longest=300).shape == (2, 249)

    def test_texts_that_are_too_short_are_refused(self):
        with pytest.raises(ValueError, match="the longest text has 90 tokens; a knee takes more than 128"):
            text_losses(tiny_llama(vocab_size=300), bytes_tokenizer(), ["f" * 90, "g" * 12])


@pytest.mark.parametrize(
    ("found", "read", "part"),
    [
        (353, 1280, "at 353 tokens, which agrees with L = 320"),
        (150, 1280, "at 150 tokens, well before L = 320: take 150 for L"),
        (900, 1280, "at 900 tokens only, well past L = 320"),
        (None, 1280, "stay level up to 1280 tokens, so the model reads further than L = 320 says"),
        (None, 400, "too few to see past L = 320; give texts of 640 tokens"),
    ],
)
def test_what_is_said_of_it(found, read, part):
    assert part in in_words(found, 320, read)
