"""Every published method goes through pass keys, perplexity and divergence on a small random model."""

import math

import pytest
import torch
from experiment_doubles import TEXTS, bytes_tokenizer, tiny_llama

from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.perplexity import perplexity, token_losses
from selfextend_viz.experiments.rows import HeadRow, LogitRow, OutputRow
from selfextend_viz.methods import (
    METHODS,
    DualChunkAttention,
    DynamicNTK,
    LeakyReRoPE,
    Llama3Scaling,
    LlamaCppSelfExtend,
    LMInfinite,
    LogisticSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    ShiftedSparseAttention,
    SlidingWindow,
    StreamingLLM,
    StringAttention,
    YaRN,
)
from selfextend_viz.patch import is_extended
from selfextend_viz.positions import SelfExtend, visible_pairs

L = 64
CHOSEN = [
    PositionInterpolation(4),
    NTKAware(4),
    DynamicNTK(4),
    YaRN(4),
    Llama3Scaling(4),
    LongRoPE([1.0] * 4, [1.0, 2.0, 3.0, 4.0], factor=4),
    SlidingWindow(L),
    StreamingLLM(4, 60),
    LMInfinite(4, 60),
    ShiftedSparseAttention(L),
    SelfExtend(4, 16),
    SelfExtend(3, 16, compat="longlm"),
    ReRoPE(16),
    LeakyReRoPE(16, 4),
    DualChunkAttention(48, 8),
    StringAttention(24, 16),
    LogisticSelfExtend(16, 9, 0.05),
    LlamaCppSelfExtend(4, 16),
]

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")


def text_ids(length):
    return list(TEXTS[0].encode()[:length])


def test_every_method_is_here():
    assert {type(method) for method in CHOSEN} == set(METHODS.values())


def test_pass_keys():
    model = tiny_llama()
    conditions = ["stock", *CHOSEN]
    options = {"lengths": [150], "depths": [0.2], "trials": 2, "conditions": conditions}
    rows = {row.condition: row for row in passkey(model, bytes_tokenizer(), **options)}
    assert list(rows) == ["stock", *map(str, CHOSEN)] and not is_extended(model)
    found = [row.log_probability for row in rows.values()]
    assert all(math.isfinite(number) for number in found) and len(set(found)) == len(found)
    said = {row.condition: row for row in passkey(model, bytes_tokenizer(), scoring="generate", **options)}
    assert {name: row.log_probability for name, row in said.items()} == pytest.approx(
        {name: row.log_probability for name, row in rows.items()}, abs=1e-4
    )


def test_perplexity():
    model = tiny_llama()
    rows = list(
        perplexity(
            model,
            bytes_tokenizer(),
            TEXTS,
            context_lengths=[32, 200],
            conditions=["stock", *CHOSEN],
            targets=200,
            stride=8,
        )
    )
    long = {row.condition: row.perplexity for row in rows if row.context_length == 200}
    assert list(long) == ["stock", *map(str, CHOSEN)]
    assert all(math.isfinite(number) and number > 1 for number in long.values())
    assert len(set(long.values())) == len(long)


@pytest.mark.parametrize("method", CHOSEN, ids=str)
def test_divergence(method):
    rows = list(divergence(tiny_llama(), text_ids(150), method, queries=8, bins=6))
    heads = [row for row in rows if isinstance(row, HeadRow)]
    assert len(heads) == 8
    hides = not visible_pairs(method, 150)[149, :150].all() or isinstance(method, ShiftedSparseAttention)
    assert all(row.kl > 0 and (math.isinf(row.kl) == hides) for row in heads)
    assert {row.condition for row in rows if isinstance(row, LogitRow)} == {"stock", "reference", str(method)}
    assert [row.condition for row in rows if isinstance(row, OutputRow)] == ["stock", str(method)]


@pytest.mark.parametrize("method", [method for method in CHOSEN if hasattr(method, "rope_parameters")], ids=str)
def test_one_forward_gives_the_losses_of_a_model_that_transformers_scales(method):
    from selfextend_viz.patch import export_settings

    model, ids = tiny_llama(), text_ids(150)
    settings = export_settings(method, model, 150).transformers
    config = type(model.config)(**(model.config.to_dict() | settings))
    twin = type(model)(config).eval()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(token_losses(model, ids, method=method), token_losses(twin, ids), atol=1e-4, rtol=0)
