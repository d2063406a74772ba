"""Tiny transformers models with random weights, loud enough that a wrong position shows in the logits."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MptConfig,
    MptForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 61
CONTEXT_LENGTH = 32

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_LENGTH,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}


def _built(kind: type, config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config).eval()


def tiny_llama(**changes: Any) -> Any:
    """Llama with four heads of 16 over two key heads."""
    return _built(LlamaForCausalLM, LlamaConfig(**(_SIZES | changes)))


def tiny_mistral(**changes: Any) -> Any:
    """Mistral without a sliding window, unless ``sliding_window`` says otherwise."""
    return _built(MistralForCausalLM, MistralConfig(**(_SIZES | {"sliding_window": None} | changes)))


def tiny_qwen2(**changes: Any) -> Any:
    """Qwen2, whose queries and keys have biases."""
    model = _built(Qwen2ForCausalLM, Qwen2Config(**(_SIZES | changes)))
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def tiny_qwen3(**changes: Any) -> Any:
    """Qwen3, which normalises queries and keys before it rotates; heads of 32, not hidden size over heads."""
    return _built(Qwen3ForCausalLM, Qwen3Config(**(_SIZES | {"head_dim": 32} | changes)))


def tiny_phi(**changes: Any) -> Any:
    """Phi, which rotates half of each head."""
    return _built(PhiForCausalLM, PhiConfig(**(_SIZES | {"partial_rotary_factor": 0.5} | changes)))


ROTARY: dict[str, Callable[..., Any]] = {
    "llama": tiny_llama,
    "mistral": tiny_mistral,
    "qwen2": tiny_qwen2,
    "qwen3": tiny_qwen3,
    "phi": tiny_phi,
}


def tiny_gpt2() -> Any:
    """Learned absolute positions."""
    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": CONTEXT_LENGTH}
    return _built(GPT2LMHeadModel, GPT2Config(**sizes, bos_token_id=1, eos_token_id=2))


def tiny_bloom() -> Any:
    """ALiBi."""
    return _built(BloomForCausalLM, BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=1, n_head=2))


def tiny_mpt() -> Any:
    """ALiBi."""
    sizes = {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 1, "n_heads": 2, "max_seq_len": CONTEXT_LENGTH}
    return _built(MptForCausalLM, MptConfig(**sizes))


def tiny_falcon() -> Any:
    """Rotary, but outside transformers' attention interface."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return _built(FalconForCausalLM, FalconConfig(**sizes))


def tiny_gptj() -> Any:
    """Rotary, but outside transformers' attention interface."""
    sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 1, "n_head": 2, "rotary_dim": 8}
    return _built(GPTJForCausalLM, GPTJConfig(**sizes, n_positions=CONTEXT_LENGTH))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "gpt2": (tiny_gpt2, "one embedding per absolute position"),
    "bloom": (tiny_bloom, "ALiBi"),
    "mpt": (tiny_mpt, "ALiBi"),
    "falcon": (tiny_falcon, "its own attention classes"),
    "gptj": (tiny_gptj, "its own attention classes"),
}


def token_ids(length: int, *, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Random token ids ``[batch, length]``, none of them padding."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))
