"""What an attention call accepts, refused in one sentence with the number that is wrong and what would be right."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_options", "check_padding", "check_rotary", "check_tensors"]


def check_tensors(query: Tensor, key: Tensor, value: Tensor | None = None, *, trailing_queries: bool = True) -> None:
    """Refuse tensors that do not fit ``[batch, heads, length, head_dim]`` or each other.

    Raises
    ------
    TypeError
        Not tensors, not floating point, or of different precision.
    ValueError
        Wrong number of axes, an empty axis, sizes or devices that do not fit, heads that do not divide, more queries
        than keys.
    """
    named = {"query": query, "key": key} | ({} if value is None else {"value": value})
    for name, tensor in named.items():
        _check_one(name, tensor)
    for name, tensor in named.items():
        if tensor.dtype != query.dtype:
            raise TypeError(f"query is {query.dtype} but {name} is {tensor.dtype}; cast them to one precision.")
        if tensor.device != query.device:
            raise ValueError(f"query is on {query.device} but {name} is on {tensor.device}; move them to one device.")
        if tensor.shape[0] != query.shape[0]:
            raise ValueError(f"query has batch {query.shape[0]} but {name} has {tensor.shape[0]}; they must be equal.")
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"query has head_dim {query.shape[-1]} but key has {key.shape[-1]}; they must be equal.")
    if query.shape[1] % key.shape[1]:
        raise ValueError(
            f"{query.shape[1]} query heads do not divide over {key.shape[1]} key heads; "
            "the number of query heads must be a multiple of the number of key heads."
        )
    if value is not None and value.shape[1:3] != key.shape[1:3]:
        raise ValueError(
            f"key has {key.shape[1]} heads of length {key.shape[2]} but value has {value.shape[1]} of length "
            f"{value.shape[2]}; they must be equal."
        )
    if trailing_queries and query.shape[2] > key.shape[2]:
        raise ValueError(
            f"{query.shape[2]} queries but only {key.shape[2]} keys; the queries are the last positions of the keys, "
            "so pass at least as many keys."
        )


def _check_one(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(tensor).__name__}; convert it with torch.as_tensor.")
    if tensor.ndim != 4:
        raise ValueError(
            f"{name} must have 4 axes [batch, heads, length, head_dim], got {tensor.ndim} with shape "
            f"{tuple(tensor.shape)}; add the missing axes, e.g. {name}[None]."
        )
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}; cast it with .float().")
    if 0 in tensor.shape:
        raise ValueError(f"{name} has an empty axis in shape {tuple(tensor.shape)}; every axis must be at least 1.")


def check_rotary(query: Tensor, inv_freq: Tensor | None, attention_factor: float = 1.0) -> None:
    """Refuse a head that RoPE cannot turn in pairs; with ``inv_freq`` given, only the rotated dimensions matter."""
    _check_positive("attention_factor", attention_factor, without="1.0")
    head_dim = query.shape[-1]
    if inv_freq is None and head_dim % 2:
        raise ValueError(
            f"head_dim {head_dim} is odd, and RoPE turns dimensions in pairs; use an even head_dim, or pass inv_freq "
            f"with at most {head_dim // 2} frequencies to turn a part of the head."
        )
    if inv_freq is None:
        return
    if not isinstance(inv_freq, Tensor):
        raise TypeError(f"inv_freq must be a torch tensor, got {type(inv_freq).__name__}.")
    if inv_freq.ndim != 1 or not 1 <= inv_freq.shape[0] <= head_dim // 2:
        raise ValueError(
            f"inv_freq must be one-dimensional with 1 to head_dim // 2 = {head_dim // 2} frequencies, "
            f"got shape {tuple(inv_freq.shape)}."
        )


def check_options(query: Tensor, *, scale: float | None, softcap: float | None, sinks: Tensor | None) -> None:
    """Refuse a scale or softcap that is not a positive number, and sinks that are not one logit per query head."""
    for name, number in (("scale", scale), ("softcap", softcap)):
        if number is not None:
            _check_positive(name, number, without="None")
    if sinks is None:
        return
    if not isinstance(sinks, Tensor):
        raise TypeError(f"sinks must be a torch tensor [heads], got {type(sinks).__name__}.")
    if tuple(sinks.shape) != (query.shape[1],):
        raise ValueError(f"sinks must hold one logit per query head, [{query.shape[1]}], got {tuple(sinks.shape)}.")


def _check_positive(name: str, number: Any, *, without: str) -> None:
    if isinstance(number, bool) or not hasattr(number, "__float__"):
        raise TypeError(f"{name} must be a number, got {number!r} ({type(number).__name__}); {without} leaves it out.")
    if not 0 < float(number) < math.inf:
        raise ValueError(f"{name} must be a positive finite number, got {number}; {without} leaves it out.")


def check_padding(key_padding: Tensor, *, batch: int, keys: int) -> None:
    """Refuse a padding mask that is not bool ``[batch, keys]``."""
    if not isinstance(key_padding, Tensor) or key_padding.dtype is not torch.bool:
        got = key_padding.dtype if isinstance(key_padding, Tensor) else type(key_padding).__name__
        raise TypeError(
            f"key_padding must be a bool tensor, True where a key is padding, got {got}; "
            "from a tokenizer's attention_mask it is attention_mask == 0."
        )
    if tuple(key_padding.shape) != (batch, keys):
        raise ValueError(f"key_padding must be [batch, keys] = [{batch}, {keys}], got {tuple(key_padding.shape)}.")
