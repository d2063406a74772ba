"""What a method is called in llama.cpp, transformers and vLLM, for those who want to carry it there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from selfextend_viz.methods import (
    DualChunkAttention,
    DynamicNTK,
    LlamaCppSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    SlidingWindow,
    YaRN,
)
from selfextend_viz.patch.context import context_length
from selfextend_viz.patch.frequencies import check_frequencies
from selfextend_viz.patch.models import attention_layers, text_config
from selfextend_viz.positions import Method, PlainRoPE, SelfExtend, bands_of, whole_number

__all__ = ["ExportedSettings", "export_settings"]

_NONE = "no setting of it does this"


@dataclass(frozen=True)
class ExportedSettings:
    """A method's settings in other programs. ``str`` of it is readable.

    Attributes
    ----------
    method
        Label of the method.
    llama_cpp
        Flags of llama.cpp, or ``None`` where it has none.
    transformers
        What to set on a model's configuration before it is loaded, or ``None``.
    vllm
        Options of ``vllm serve``, or ``None``.
    notes
        For ``"llama.cpp"``, ``"transformers"`` and ``"vLLM"``, what to know: why there is none, or how it differs.
    """

    method: str
    llama_cpp: str | None
    transformers: dict[str, Any] | None
    vllm: str | None
    notes: dict[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        shown = None if self.transformers is None else json.dumps(self.transformers)
        lines: list[str] = [self.method]
        for name, settings in (("llama.cpp", self.llama_cpp), ("transformers", shown), ("vLLM", self.vllm)):
            note = self.notes.get(name)
            said = f"none: {note}" if settings is None else f"{settings} ({note})" if note else settings
            lines.append(f"  {name}: {said}")
        return "\n".join(lines)


def export_settings(method: Method, model: nn.Module, target_length: int) -> ExportedSettings:
    """A method's settings for a model in llama.cpp, transformers and vLLM, and a sentence where there are none.

    Parameters
    ----------
    method
        Any method.
    model
        A transformers model of a supported type; L and the base of its frequencies are taken from it.
    target_length
        N, the longest text that the other program shall read.

    Returns
    -------
    ExportedSettings
        To be printed.

    Raises
    ------
    TypeError
        If the model is not a transformers model, the method has no bands or N is not a whole number.
    ValueError
        If the model is not supported, or scales its frequencies already, or N is below 1.

    Examples
    --------
    >>> print(export_settings(YaRN(4), model, 16384))
    """
    whole_number("target_length", target_length)
    bands_of(method)
    layers = attention_layers(model)
    check_frequencies(method, [layer for layer in layers if layer.skipped is None], layers, context_length(model))
    asked = _Asked(method, model, target_length)
    (flags, about_flags), (settings, about_settings), (options, about_options) = (
        _llama_cpp(asked),
        _transformers(asked),
        _vllm(asked),
    )
    notes = {"llama.cpp": about_flags, "transformers": about_settings, "vLLM": about_options}
    said = {name: note for name, note in notes.items() if note}
    return ExportedSettings(str(method), flags, settings, options, said)


class _Asked:
    """A method with what there is to know of the model and the length it is exported for."""

    def __init__(self, method: Method, model: nn.Module, target_length: int) -> None:
        self.method: Any = method
        self.target_length = target_length
        self.context_length = context_length(model)
        self.config = text_config(model)
        self.pairs = int(attention_layers(model)[0].rotary.frequencies.shape[0])

    @property
    def length(self) -> int:
        """L as the method counts it."""
        return getattr(self.method, "original_length", None) or self.context_length

    @property
    def theta(self) -> float:
        """The base of the model's frequencies."""
        return float(self.config.rope_parameters["rope_theta"])

    @property
    def ntk_theta(self) -> float:
        """The base that NTK-aware scaling makes of it."""
        return float(self.theta * self.method.factor ** (self.pairs / (self.pairs - 1)))

    @property
    def rope_parameters(self) -> dict[str, Any] | None:
        """The method's rule, complete, in transformers' words; ``None`` where it leaves frequencies alone."""
        rule = getattr(self.method, "rope_parameters", None)
        if rule is None:
            return None
        part = self.config.rope_parameters.get("partial_rotary_factor")
        kept: dict[str, Any] = {} if part is None else {"partial_rotary_factor": part}
        if isinstance(self.method, NTKAware):
            return kept | {"rope_type": "default", "rope_theta": self.ntk_theta}
        length = {"original_max_position_embeddings": self.length} if "original_max_position_embeddings" in rule else {}
        return kept | {"rope_theta": self.theta} | rule | length


_Made = tuple[str | None, str]
"""Settings, or none, and a note."""


def _llama_cpp(asked: _Asked) -> _Made:
    method, size = asked.method, f"-c {asked.target_length}"
    if isinstance(method, PlainRoPE):
        return size, ""
    if isinstance(method, PositionInterpolation):
        return f"--rope-scaling linear --rope-scale {method.factor:g} {size}", ""
    if isinstance(method, NTKAware):
        return f"--rope-freq-base {asked.ntk_theta:.9g} {size}", ""
    if isinstance(method, YaRN):
        return (
            f"--rope-scaling yarn --rope-scale {method.factor:g} --yarn-orig-ctx {asked.length}{_betas(method)} {size}",
            "",
        )
    if isinstance(method, SelfExtend | LlamaCppSelfExtend):
        return _grouped(method, size)
    if asked.rope_parameters is not None:
        kind = asked.rope_parameters["rope_type"]
        return None, f"no flag does this; a file converted from a checkpoint with rope_type {kind!r} may carry it"
    return None, _NONE


def _betas(method: YaRN) -> str:
    changed = (("fast", method.beta_fast, 32), ("slow", method.beta_slow, 1))
    return "".join(f" --yarn-beta-{name} {value:g}" for name, value, usual in changed if value != usual)


def _grouped(method: SelfExtend | LlamaCppSelfExtend, size: str) -> _Made:
    window = method.window if isinstance(method, LlamaCppSelfExtend) else method.neighbor_window
    if window == 0 or window % method.group_size:
        return None, f"--grp-attn-w must be a multiple of --grp-attn-n, and {window} is none of {method.group_size}"
    flags = f"--grp-attn-n {method.group_size} --grp-attn-w {window} {size}"
    where = "in llama-completion; llama-server lost it in October 2024"
    if isinstance(method, LlamaCppSelfExtend):
        return flags, where
    return flags, f"not the same: its exact window is a sawtooth, which LlamaCppSelfExtend shows; {where}"


def _transformers(asked: _Asked) -> tuple[dict[str, Any] | None, str]:
    if isinstance(asked.method, PlainRoPE):
        return {}, ""
    if (rope := asked.rope_parameters) is not None:
        if isinstance(asked.method, DynamicNTK):
            return {"max_position_embeddings": asked.length, "rope_parameters": rope}, "L is max_position_embeddings"
        return {"rope_parameters": rope}, ""
    if isinstance(asked.method, SlidingWindow) and asked.config.model_type == "mistral":
        return {"sliding_window": asked.method.window}, ""
    return None, f"{_NONE}; extended(model, method) does"


def _vllm(asked: _Asked) -> _Made:
    length = f"--max-model-len {asked.target_length}"
    if isinstance(asked.method, DualChunkAttention):
        config = {"chunk_size": asked.method.chunk_size, "local_size": asked.method.local_window}
        options = _overrides({"dual_chunk_attention_config": config})
        return f"{options} {length}", "where its attention backend DUAL_CHUNK_FLASH_ATTN is chosen, as 0.10 has it"
    settings, _ = _transformers(asked)
    if settings is None:
        return None, _NONE
    note = ""
    if isinstance(asked.method, DynamicNTK):
        note = f"not the same: it takes the base for {asked.method.factor:g} L tokens, whatever the text's length"
    if isinstance(asked.method, LongRoPE):
        note = "it takes the attention's scale from its lengths, not from factor"
    return " ".join(part for part in (_overrides(settings) if settings else "", length) if part), note


def _overrides(settings: dict[str, Any]) -> str:
    return f"--hf-overrides '{json.dumps(settings)}'"
