"""What a method is called elsewhere: settings that make transformers do the same, or a sentence."""

import json
import re

import pytest
import torch
from method_matrix import METHODS
from tiny_models import tiny_llama, tiny_mistral, tiny_phi, token_ids
from torch.testing import assert_close

from selfextend_viz.methods import (
    DualChunkAttention,
    DynamicNTK,
    Llama3Scaling,
    LlamaCppSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    SlidingWindow,
    YaRN,
)
from selfextend_viz.patch import export_settings, extended
from selfextend_viz.positions import PlainRoPE, SelfExtend

SCALING = [
    PositionInterpolation(3),
    NTKAware(4),
    DynamicNTK(2.5),
    DynamicNTK(2.5, original_length=20),
    YaRN(4),
    YaRN(4, original_length=20, beta_fast=6),
    Llama3Scaling(8),
    LongRoPE([1.0] * 8, [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], factor=4),
]


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.mark.parametrize("method", SCALING, ids=str)
def test_transformers_does_the_same_with_its_settings(llama, method):
    twin = tiny_llama(**export_settings(method, llama, 100).transformers)
    with torch.no_grad(), extended(llama, method):
        lent = llama(token_ids(60)).logits
    with torch.no_grad():
        assert_close(twin(token_ids(60)).logits, lent, atol=2e-5, rtol=0)


def test_a_partly_rotated_head_stays_so():
    model = tiny_phi()
    settings = export_settings(YaRN(4), model, 100).transformers
    twin = tiny_phi(**settings)
    with torch.no_grad(), extended(model, YaRN(4)):
        lent = model(token_ids(60)).logits
    with torch.no_grad():
        assert_close(twin(token_ids(60)).logits, lent, atol=2e-5, rtol=0)


def test_a_sliding_window_is_mistrals_own(llama):
    model = tiny_mistral()
    settings = export_settings(SlidingWindow(9), model, 100)
    assert settings.transformers == {"sliding_window": 9}
    with torch.no_grad(), extended(model, SlidingWindow(9)):
        lent = model(token_ids(60)).logits
    with torch.no_grad():
        assert_close(tiny_mistral(sliding_window=9)(token_ids(60)).logits, lent, atol=2e-5, rtol=0)
    assert export_settings(SlidingWindow(9), llama, 100).transformers is None


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        (PlainRoPE(), "-c 100"),
        (PositionInterpolation(2.5), "--rope-scaling linear --rope-scale 2.5 -c 100"),
        (NTKAware(4), f"--rope-freq-base {10000 * 4 ** (16 / 14):.9g} -c 100"),
        (YaRN(4), "--rope-scaling yarn --rope-scale 4 --yarn-orig-ctx 32 -c 100"),
        (YaRN(4, 20, 6), "--rope-scaling yarn --rope-scale 4 --yarn-orig-ctx 20 --yarn-beta-fast 6 -c 100"),
        (LlamaCppSelfExtend(4, 8), "--grp-attn-n 4 --grp-attn-w 8 -c 100"),
        (SelfExtend(4, 8), "--grp-attn-n 4 --grp-attn-w 8 -c 100"),
        (SelfExtend(3, 8), None),
        (SelfExtend(3, 0), None),
        (Llama3Scaling(8), None),
        (ReRoPE(9), None),
    ],
    ids=str,
)
def test_flags_of_llama_cpp(llama, method, flags):
    assert llama.config.max_position_embeddings == 32
    assert export_settings(method, llama, 100).llama_cpp == flags


def test_what_differs_is_said(llama):
    assert "sawtooth" in export_settings(SelfExtend(4, 8), llama, 100).notes["llama.cpp"]
    assert "8 is none of 3" in export_settings(SelfExtend(3, 8), llama, 100).notes["llama.cpp"]
    assert "not the same" in export_settings(DynamicNTK(4), llama, 100).notes["vLLM"]


def test_options_of_vllm(llama):
    dual = export_settings(DualChunkAttention(24, 4), llama, 100)
    assert '{"dual_chunk_attention_config": {"chunk_size": 24, "local_size": 4}}' in dual.vllm
    assert export_settings(PlainRoPE(), llama, 100).vllm == "--max-model-len 100"
    for method in SCALING:
        made = export_settings(method, llama, 100)
        overrides, length = re.fullmatch(r"--hf-overrides '(.*)' --max-model-len (\d+)", made.vllm).groups()
        assert json.loads(overrides) == made.transformers and length == "100"


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_has_settings_or_a_sentence(llama, method):
    made = export_settings(method, llama, 100)
    for name, settings in (("llama.cpp", made.llama_cpp), ("transformers", made.transformers), ("vLLM", made.vllm)):
        assert settings is not None or made.notes[name]
        line = next(line for line in str(made).splitlines() if line.startswith(f"  {name}: "))
        assert ("none: " in line) == (settings is None)
    assert str(made).startswith(str(method))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((YaRN(4), 0), ValueError, "target_length is 0"),
        ((YaRN(4), 4.5), TypeError, "target_length must be a whole number, not 4.5"),
        (("yarn", 100), TypeError, "method must have .bands"),
        ((LongRoPE([1], [2]), 100), ValueError, "LongRoPE has 1 numbers, but 8 pairs"),
    ],
)
def test_bad_input(llama, arguments, error, words):
    method, length = arguments
    with pytest.raises(error, match=words):
        export_settings(method, llama, length)
