"""What divergence and perplexity hold at one time, at 32k tokens with 32 heads, and with a large vocabulary."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from selfextend_viz.attention import head_slices
from selfextend_viz.experiments import head_rows
from selfextend_viz.experiments.counted_memory import peak_bytes
from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.losses import HEAD_CHUNK, sequence_losses
from selfextend_viz.experiments.random_heads import random_divergence
from selfextend_viz.experiments.rows import HeadRow
from selfextend_viz.methods import SlidingWindow
from selfextend_viz.positions import Band, SelfExtend

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
HEADS = 32


def llama(**changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": HEADS}
    sizes |= {"vocab_size": 300, "num_key_value_heads": 8, "max_position_embeddings": 128}
    return LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval()


@pytest.mark.parametrize("length", [8192, pytest.param(32768, marks=pytest.mark.slow)])
def test_divergence_of_32_heads_stays_below_256_mebibytes(length):
    """At 32k the logits of all heads at once would be 256 MiB, and what is made of them eight times as much."""

    sizes = {"length": length, "context_length": 4096, "heads": HEADS, "head_dim": 8, "bins": 4}

    def run():
        return list(random_divergence(SelfExtend(16, 1024), **sizes))

    assert peak_bytes(run) < 2**28


def test_logits_of_few_heads_at_a_time_give_the_same_rows(monkeypatch):
    model, ids = llama(), torch.randint(300, (400,), generator=torch.Generator().manual_seed(0))

    def rows(method):
        return list(divergence(model, ids, method, queries=16, bins=6, needle=(40, 45), answer_rows=[398, 399]))

    for method in (SelfExtend(4, 16), SlidingWindow(60), {0: SelfExtend(4, 16)}):
        together = rows(method)
        assert sum(isinstance(row, HeadRow) for row in together) == HEADS
        monkeypatch.setattr(head_rows, "MOST_LOGITS", 1)
        apart = rows(method)
        monkeypatch.undo()
        for one, other in zip(together, apart, strict=True):
            for name, value in vars(one).items():
                same = value if isinstance(value, str) else pytest.approx(value, abs=1e-5, nan_ok=True)
                assert vars(other)[name] == same


def test_heads_that_share_keys_stay_together():
    query, key = torch.zeros(1, 12, 10, 4), torch.zeros(1, 3, 50, 4)
    assert head_slices(query, key, 1) == [slice(0, 4), slice(4, 8), slice(8, 12)]
    assert head_slices(query, key, 2 * 4 * 500) == [slice(0, 8), slice(8, 12)]
    assert head_slices(query, key, 10**9) == [slice(0, 12)]


def test_bands_of_some_heads_are_numbered_by_all_of_them(monkeypatch):
    class HalfTheHeads:
        bands = (Band(heads=slice(0, 4)), Band(beyond=9, heads=slice(4, None)))

        def __str__(self):
            return "half"

    def shares():
        rows = random_divergence(HalfTheHeads(), length=60, context_length=30, heads=8, head_dim=8, bins=4, queries=8)
        return [row.distant_mass_method for row in rows if isinstance(row, HeadRow)]

    together = shares()
    monkeypatch.setattr(head_rows, "MOST_LOGITS", 1)
    assert shares() == pytest.approx(together) and min(together[:4]) > 0 == max(together[4:])


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_losses_hold_logits_of_one_chunk_whatever_the_length_and_the_batch(batch):
    model, vocabulary = llama(vocab_size=20_000), 20_000
    ids = torch.randint(vocabulary, (batch, 4096 // batch))
    with torch.inference_mode():
        peak = peak_bytes(lambda: sequence_losses(model, ids))
    assert peak < 4.5 * HEAD_CHUNK * vocabulary * 4
