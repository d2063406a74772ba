"""Which transformers models a method can be lent to, and which of their layers it touches.

A model is known by what its layers do, not by its name: any layer qualifies that rotates its queries and keys, hands
them to transformers' attention interface, and sees the whole text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from selfextend_viz.patch.measure import Handed, NotRotary, measure, through_interface
from selfextend_viz.patch.rotation import Rotary

SUPPORTED = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3_text", "gemma3"),
    *("gpt_neox", "olmo2", "stablelm", "smollm3", "glm4", "cohere", "granite", "starcoder2", "gpt_oss"),
)
"""``config.model_type`` of the models that are tested; others are taken by what their layers do."""

_LEARNED = "it learns one embedding per absolute position, so there is no rotation to remap"
_ALIBI = "it biases attention by distance (ALiBi) and rotates nothing, so there is no position to remap"
_OWN_ATTENTION = "it is rotary, but calls its own attention classes instead of transformers' attention interface"
_LATENT = (
    "its attention is latent (MLA): it rotates a part of each head that it keeps apart from the rest, and one rotated "
    "key serves all heads"
)
_CHUNKED = "the layers that it rotates attend within chunks, and those that see the whole text are not rotated"
_WHY = {
    _LEARNED: ("gpt2", "gpt_neo", "gpt_bigcode", "opt", "xglm", "biogpt"),
    _ALIBI: ("bloom", "mpt"),
    _OWN_ATTENTION: ("falcon", "gptj", "codegen"),
    _LATENT: ("deepseek_v2", "deepseek_v3"),
    _CHUNKED: ("llama4", "llama4_text"),
}
_REFUSED = {model_type: why for why, model_types in _WHY.items() for model_type in model_types}
_FULL = "full_attention"
SLIDING = "sliding_attention"
"""The kind of layer that sees the last tokens only, in ``config.layer_types``."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One attention layer of a model.

    Attributes
    ----------
    name
        Its dotted name in the model.
    module
        The attention module.
    rotary
        How it is rotated.
    handed
        What it hands to attention, of one token; ``None`` where no method could touch it anyway.
    skipped
        Why no method touches it; ``None`` where one does.
    """

    name: str
    module: Any
    rotary: Rotary
    handed: Handed | None = None
    skipped: str | None = None

    @property
    def index(self) -> int:
        """Number of the layer, from 0."""
        return int(self.module.layer_idx)


def text_config(model: nn.Module) -> Any:
    """The configuration of a model's decoder.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    """
    config = getattr(model, "config", None)
    if not isinstance(model, nn.Module) or not isinstance(config, PretrainedConfig):
        raise TypeError(f"expected a transformers model, got {type(model).__name__}; load one with from_pretrained")
    return config.get_text_config(decoder=True)


def attention_layers(model: nn.Module) -> tuple[Layer, ...]:
    """All attention layers of a model's decoder, in order, each with the reason if no method may touch it.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    ValueError
        If the model is not rotary, does not go through transformers' attention interface, or has no rotated layer
        that sees the whole text.
    """
    check_known_reasons(model)
    modules = dict(model.named_modules())
    numbered = {name: module for name, module in modules.items() if _is_numbered(module)}
    found = {name: module for name, module in numbered.items() if through_interface(module)}
    if not found:
        _refuse(model, _OWN_ATTENTION if _has_rotary(modules) else "it has no rotary module, so nothing is rotated")
    layers = tuple(_measured(_unmeasured(name, module, modules, model), model) for name, module in found.items())
    if all(layer.skipped for layer in layers):
        whys = {layer.skipped: layer.index for layer in reversed(layers)}
        each = ", and ".join(f"layer {index} is {why}" for why, index in sorted(whys.items(), key=lambda why: why[1]))
        raise ValueError(f"no layer of {type(model).__name__} can take a method: {each}")
    return layers


def check_known_reasons(model: nn.Module) -> None:
    """Refuse, with ``ValueError``, a model whose type or kind is known to have no rotation that could be remapped."""
    config = text_config(model)
    if config.model_type in _REFUSED:
        _refuse(model, _REFUSED[config.model_type])
    if getattr(config, "alibi", False) is True:
        _refuse(model, _ALIBI)
    if getattr(config, "is_encoder_decoder", False):
        _refuse(model, "it has an encoder that sees its text both ways; a method needs one causal text")


def _refuse(model: nn.Module, why: str) -> None:
    raise ValueError(
        f"{type(model).__name__} cannot be extended: {why}; a model can be whose layers rotate queries and keys (RoPE) "
        f"and call transformers' attention interface, such as {', '.join(SUPPORTED)}"
    )


def _is_numbered(module: Any) -> bool:
    return isinstance(getattr(module, "layer_idx", None), int) and hasattr(module, "config")


def _has_rotary(modules: dict[str, nn.Module]) -> bool:
    return any(hasattr(module, "inv_freq") for module in modules.values())


def _unmeasured(name: str, module: Any, modules: dict[str, nn.Module], model: nn.Module) -> Layer:
    """A layer with its rotary module, and the reason to leave it alone that can be seen without running it."""
    kind = _layer_type(module)
    for rotary in _rotaries_above(name, modules):
        own = (hasattr(rotary, "inv_freq"), Rotary(rotary)), (hasattr(rotary, f"{kind}_inv_freq"), Rotary(rotary, kind))
        frequencies = next((candidate for there, candidate in own if there), None)
        if frequencies is not None:
            return Layer(name, module, frequencies, skipped=_why_local(module, kind))
    return _no_rotary(name, model)


def _no_rotary(name: str, model: nn.Module) -> Layer:
    _refuse(model, f"no rotary module was found above {name}, so nothing tells how it rotates")
    raise AssertionError


def _rotaries_above(name: str, modules: dict[str, nn.Module]) -> Iterator[nn.Module]:
    path = name
    while path:
        rotary = getattr(modules[path], "rotary_emb", None)
        if isinstance(rotary, nn.Module):
            yield rotary
        path = path.rpartition(".")[0]
    rotary = getattr(modules[""], "rotary_emb", None)
    if isinstance(rotary, nn.Module):
        yield rotary


def _layer_type(module: Any) -> str:
    layer_types = getattr(module.config, "layer_types", None)
    return _FULL if layer_types is None else str(layer_types[module.layer_idx])


def local_window(module: Any) -> int:
    """How many tokens a layer sees whose kind is :data:`SLIDING`, itself included."""
    window: int = getattr(module, "sliding_window", None) or module.config.sliding_window
    return window


def _why_local(module: Any, layer_type: str) -> str | None:
    if not getattr(module, "is_causal", True):
        return "not causal: it sees the text both ways"
    if layer_type == SLIDING:
        return f"local: it was trained to see the last {local_window(module)} tokens only, all at trained distances"
    if layer_type == "chunked_attention":
        return "local: it was trained to see its own chunk of the text only"
    return None


def _measured(layer: Layer, model: nn.Module) -> Layer:
    if layer.skipped is not None:
        return layer
    if hasattr(layer.module, "kv_lora_rank"):
        _refuse(model, _LATENT)
    try:
        handed = measure(layer.module, layer.rotary)
    except NotRotary as error:
        raise ValueError(f"{type(model).__name__} cannot be extended: in {layer.name}, {error}") from error
    if handed.layout is None:
        return replace(layer, handed=handed, skipped="not rotated, so it tells no position that could be remapped")
    rotary = replace(layer.rotary, interleaved=handed.layout == "interleaved")
    return replace(layer, handed=handed, rotary=rotary)
