"""L: how many positions a model was trained on, and which number of its configuration says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from selfextend_viz.patch.binding import stock_window
from selfextend_viz.patch.models import check_known_reasons, text_config


@dataclass(frozen=True)
class TrainedLength:
    """L, and where it comes from.

    Attributes
    ----------
    tokens
        L.
    reason
        Which number of the configuration it is, and what scaled frequencies or a sliding window have to do with it.
    """

    tokens: int
    reason: str

    def __str__(self) -> str:
        return f"{self.tokens} tokens, {self.reason}"


def context_length(model: nn.Module) -> int:
    """L, the number of positions the model was trained on; parameters and errors of :func:`trained_length`."""
    return trained_length(model).tokens


def trained_length(model: nn.Module) -> TrainedLength:
    """L of a model's configuration, and why it is that number.

    It is ``max_position_embeddings``, which by transformers' convention counts the positions after scaling where
    ``original_max_position_embeddings`` counts those before (YaRN, Llama 3, LongRoPE). Where the two are equal, or
    the rope type has no second number (linear, dynamic), nothing says whether the factor is included; the smaller
    reading holds, since its positions are trained in both. A sliding window of all layers is shorter still: no layer
    was trained to see further.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    ValueError
        If its configuration states no such number; for ALiBi, that there is none.
    """
    config = text_config(model)
    length = getattr(config, "max_position_embeddings", None)
    if length is None:
        check_known_reasons(model)
    if not isinstance(length, int) or length < 1:
        raise ValueError(
            f"the configuration of {type(model).__name__} has max_position_embeddings = {length!r}; "
            "set it to the context length the model was trained on"
        )
    window = stock_window(config)
    if window is not None and window < length:
        return TrainedLength(
            window,
            f"its sliding_window: max_position_embeddings is {length}, but no layer was trained to see further back",
        )
    return TrainedLength(length, f"max_position_embeddings{_scaling(config, length)}")


def _scaling(config: Any, length: int) -> str:
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention") or rope
    kind, factor, original = rope.get("rope_type", "default"), rope.get("factor"), _original(config, rope)
    if kind == "default" or (factor is None and original is None):
        return ""
    if kind == "dynamic":
        return f", without the factor {factor} of {kind} scaling, which is held off under a method"
    if original is not None and original < length:
        return f", which includes the {kind} scaling of {original} trained positions"
    wider = int(factor * length) if factor is not None else length
    return (
        f", taken as it stands: with its factor {factor}, {kind} scaling would make {wider} of it, but nothing says "
        "whether it is included already; if the model reads further, set max_position_embeddings"
    )


def _original(config: Any, rope: dict[str, Any]) -> int | None:
    found = rope.get("original_max_position_embeddings", getattr(config, "original_max_position_embeddings", None))
    return found if isinstance(found, int) else None
