"""Which transformers models a method can be lent to, which of their layers it touches, and their context length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PretrainedConfig

SUPPORTED = ("llama", "mistral", "qwen2", "qwen3", "phi")
"""``config.model_type`` of the models whose layout is tested."""

_LEARNED = "it learns one embedding per absolute position, so there is no rotation to remap"
_ALIBI = "it biases attention by distance (ALiBi) and rotates nothing, so there is no position to remap"
_OWN_ATTENTION = "it is rotary, but calls its own attention classes instead of transformers' attention interface"
_REFUSED = {
    "gpt2": _LEARNED,
    "gpt_neo": _LEARNED,
    "gpt_bigcode": _LEARNED,
    "opt": _LEARNED,
    "bloom": _ALIBI,
    "mpt": _ALIBI,
    "falcon": _OWN_ATTENTION,
    "gptj": _OWN_ATTENTION,
    "codegen": _OWN_ATTENTION,
}


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
        The rotary module of its nearest ancestor that has one.
    skipped
        Why no method touches it; ``None`` where one does.
    """

    name: str
    module: Any
    rotary: Any
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


def context_length(model: nn.Module) -> int:
    """L, the number of positions the model was trained on: ``max_position_embeddings`` of its configuration.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    ValueError
        If its configuration states no such number; for ALiBi, that there is none.
    """
    config = text_config(model)
    length = getattr(config, "max_position_embeddings", None)
    if length is None and config.model_type in _REFUSED:
        _refuse_unsupported(type(model).__name__, config.model_type)
    if not isinstance(length, int) or length < 1:
        raise ValueError(
            f"the configuration of {type(model).__name__} has max_position_embeddings = {length!r}; "
            "set it to the context length the model was trained on"
        )
    return length


def attention_layers(model: nn.Module) -> tuple[Layer, ...]:
    """All attention layers of a model, in order, each with the reason if no method may touch it.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    ValueError
        If the model is not rotary, not supported, or has no layer that sees the whole text.
    """
    config = text_config(model)
    _refuse_unsupported(type(model).__name__, config.model_type)
    modules = dict(model.named_modules())
    layers = tuple(
        Layer(name, module, _nearest_rotary(name, modules), _why_skipped(module))
        for name, module in modules.items()
        if type(module).__name__.endswith("Attention") and hasattr(module, "layer_idx")
    )
    if all(layer.skipped for layer in layers):
        why = layers[0].skipped if layers else "no attention layer was found"
        raise ValueError(f"no layer of {type(model).__name__} can take a method: {why}")
    return layers


def _refuse_unsupported(name: str, model_type: str) -> None:
    if model_type in SUPPORTED:
        return
    why = _REFUSED.get(model_type, f"{model_type!r} is not among the supported types")
    raise ValueError(f"{name} cannot be extended: {why}; supported are {', '.join(SUPPORTED)}")


def _nearest_rotary(name: str, modules: dict[str, nn.Module]) -> nn.Module:
    path = name
    while path:
        path = path.rpartition(".")[0]
        rotary = getattr(modules[path], "rotary_emb", None)
        if rotary is not None:
            return rotary
    raise ValueError(f"no rotary module was found above {name}; the model must rotate its queries and keys")


def _why_skipped(module: Any) -> str | None:
    layer_types = getattr(module.config, "layer_types", None)
    if layer_types is not None and layer_types[module.layer_idx] == "sliding_attention":
        return f"local: it was trained to see the last {module.sliding_window} tokens only, all at trained distances"
    return None
