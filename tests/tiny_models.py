"""Tiny transformers models with random weights, loud enough that a wrong position shows in the logits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Cohere2Config,
    Cohere2ForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForCausalLM,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    Glm4Config,
    Glm4ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    Llama4ForCausalLM,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    MptConfig,
    MptForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

VOCABULARY = 61
CONTEXT_LENGTH = 32
WINDOW = 9

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


@dataclass(frozen=True)
class Architecture:
    """A tiny model, and what an oracle has to know of it that is not in a tensor.

    Attributes
    ----------
    build
        Makes it.
    interleaved
        Whether it rotates neighbouring dimensions.
    local, unrotated
        Layers that see the last ``WINDOW`` tokens only, and layers that are not rotated.
    window
        How many tokens all layers of the stock model see, where a method lifts that.
    trained
        Which buffer of the rotary module holds the frequencies that a method uses.
    """

    build: Callable[[], Any]
    interleaved: bool = False
    local: tuple[int, ...] = ()
    unrotated: tuple[int, ...] = ()
    window: int | None = None
    trained: str = "inv_freq"


def sized(kind: type, config: type, **changes: Any) -> Callable[[], Any]:
    """Builds a model of these sizes whose norms of queries and keys, biases and sinks are not what they start as."""

    def build() -> Any:
        model = _built(kind, config(**(_SIZES | changes)))
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
            elif name.endswith(("_proj.bias", "query_key_value.bias", "sinks")):
                torch.nn.init.normal_(parameter, std=0.5)
        return model

    return build


def _rope(kind: str, **numbers: Any) -> dict[str, Any]:
    return {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0} | numbers


def _scaled_llama(kind: str, **numbers: Any) -> Callable[[], Any]:
    return sized(LlamaForCausalLM, LlamaConfig, rope_parameters=_rope(kind, **numbers))


def _long(pairs: int) -> dict[str, Any]:
    """LongRoPE whose long frequencies hold from five tokens on."""
    factors = {"short_factor": [1.0] * pairs, "long_factor": [1.0 + pair for pair in range(pairs)]}
    return {"factor": 8.0, "original_max_position_embeddings": 4} | factors


_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 24, "tie_word_embeddings": False}
_BY_TYPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
}
_PARTIAL = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}


def tiny_gemma3() -> Any:
    """The composite model: a vision tower beside the text model."""
    text = _SIZES | _GEMMA | _ALTERNATING | {"rope_parameters": _BY_TYPE}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 8, "patch_size": 4}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=60)
    config.boi_token_index, config.eoi_token_index = 58, 59
    return _built(Gemma3ForConditionalGeneration, config)


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(tiny_llama),
    "llama, yarn": Architecture(_scaled_llama("yarn", original_max_position_embeddings=8)),
    "llama, llama3": Architecture(
        _scaled_llama("llama3", original_max_position_embeddings=8, low_freq_factor=1.0, high_freq_factor=4.0)
    ),
    "llama, linear": Architecture(_scaled_llama("linear")),
    "llama, dynamic": Architecture(_scaled_llama("dynamic", factor=2.0), trained="original_inv_freq"),
    "llama, longrope": Architecture(_scaled_llama("longrope", **_long(8))),
    "solar": Architecture(sized(LlamaForCausalLM, LlamaConfig, num_hidden_layers=3, num_key_value_heads=1)),
    "mistral": Architecture(tiny_mistral),
    "mistral, window": Architecture(sized(MistralForCausalLM, MistralConfig, sliding_window=WINDOW), window=WINDOW),
    "mixtral": Architecture(sized(MixtralForCausalLM, MixtralConfig, sliding_window=None, num_local_experts=4)),
    "qwen2": Architecture(tiny_qwen2),
    "qwen3": Architecture(sized(Qwen3ForCausalLM, Qwen3Config, head_dim=32)),
    "phi": Architecture(tiny_phi),
    "phi3": Architecture(
        sized(
            Phi3ForCausalLM,
            Phi3Config,
            rope_parameters=_rope("longrope", **_long(4)) | {"partial_rotary_factor": 0.5},
            original_max_position_embeddings=4,
        )
    ),
    "gemma": Architecture(sized(GemmaForCausalLM, GemmaConfig, head_dim=16, tie_word_embeddings=False)),
    "gemma2": Architecture(
        sized(Gemma2ForCausalLM, Gemma2Config, **_GEMMA, **_ALTERNATING, attn_logit_softcapping=5.0), local=(0,)
    ),
    "gemma3_text": Architecture(
        sized(Gemma3ForCausalLM, Gemma3TextConfig, **_GEMMA, **_ALTERNATING, rope_parameters=_BY_TYPE), local=(0,)
    ),
    "gemma3": Architecture(tiny_gemma3, local=(0,)),
    "gpt_neox": Architecture(sized(GPTNeoXForCausalLM, GPTNeoXConfig, rope_parameters=_PARTIAL)),
    "olmo2": Architecture(sized(Olmo2ForCausalLM, Olmo2Config)),
    "stablelm": Architecture(sized(StableLmForCausalLM, StableLmConfig, rope_parameters=_PARTIAL, qk_layernorm=True)),
    "smollm3": Architecture(sized(SmolLM3ForCausalLM, SmolLM3Config, no_rope_layers=[1, 0]), unrotated=(1,)),
    "glm4": Architecture(sized(Glm4ForCausalLM, Glm4Config, head_dim=16, rope_parameters=_PARTIAL), interleaved=True),
    "cohere": Architecture(sized(CohereForCausalLM, CohereConfig, logit_scale=1.0, use_qk_norm=True), interleaved=True),
    "granite": Architecture(sized(GraniteForCausalLM, GraniteConfig, attention_multiplier=0.4)),
    "starcoder2": Architecture(sized(Starcoder2ForCausalLM, Starcoder2Config, sliding_window=None)),
    "gpt_oss": Architecture(
        sized(
            GptOssForCausalLM,
            GptOssConfig,
            **_ALTERNATING,
            head_dim=16,
            num_local_experts=4,
            num_experts_per_tok=2,
            rope_parameters=_rope("yarn", original_max_position_embeddings=8, truncate=False),
        ),
        local=(0,),
    ),
}


def tiny_cohere2() -> Any:
    """Rotates its local layers only."""
    return sized(Cohere2ForCausalLM, Cohere2Config, **_ALTERNATING)()


_LATENT = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
}


def tiny_deepseek_v2() -> Any:
    """Latent attention."""
    return sized(DeepseekV2ForCausalLM, DeepseekV2Config, **_LATENT, first_k_dense_replace=2)()


def tiny_deepseek_v3() -> Any:
    """Latent attention."""
    return sized(DeepseekV3ForCausalLM, DeepseekV3Config, **_LATENT, first_k_dense_replace=2)()


def tiny_llama4() -> Any:
    """Attends in chunks where it rotates."""
    sizes = {"head_dim": 16, "intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 8}
    return sized(Llama4ForCausalLM, Llama4TextConfig, **sizes)()


def tiny_opt() -> Any:
    """Learned absolute positions."""
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "ffn_dim": 32, "num_hidden_layers": 1}
    return _built(OPTForCausalLM, OPTConfig(**sizes, num_attention_heads=2, word_embed_proj_dim=32))


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
    "opt": (tiny_opt, "one embedding per absolute position"),
    "bloom": (tiny_bloom, "ALiBi"),
    "mpt": (tiny_mpt, "ALiBi"),
    "falcon": (tiny_falcon, "its own attention classes"),
    "gptj": (tiny_gptj, "its own attention classes"),
    "deepseek_v2": (tiny_deepseek_v2, "latent"),
    "deepseek_v3": (tiny_deepseek_v3, "latent"),
    "llama4": (tiny_llama4, "within chunks"),
}


def token_ids(length: int, *, batch: int = 1, seed: int = 0) -> torch.Tensor:
    """Random token ids ``[batch, length]``, none of them padding."""
    return torch.randint(3, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))
