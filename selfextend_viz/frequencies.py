"""Scaled frequencies: what a rule makes of a model's own, for a text of some length.

A rule is a mapping in the words of transformers' ``rope_parameters``, with ``"ntk"`` beside its types.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["changes_with_length", "rule_of", "scaled_frequencies"]

Rule = Mapping[str, Any]


def rule_of(method: Any) -> Rule | None:
    """The rule for frequencies that a method states, or None where it leaves them alone."""
    rule: Rule | None = getattr(method, "rope_parameters", None)
    return rule


def changes_with_length(rule: Rule) -> bool:
    """Whether a rule gives other frequencies for a longer text."""
    return rule["rope_type"] in ("dynamic", "longrope")


def scaled_frequencies(
    rule: Rule, inv_freq: Tensor, *, theta: float, length: int, context_length: int | None = None
) -> tuple[Tensor, float]:
    """The frequencies that a rule makes of plain ones, and what cosines and sines are multiplied by.

    Parameters
    ----------
    rule : Mapping
        ``rope_parameters`` of a method.
    inv_freq : Tensor
        Plain frequencies ``[pairs]``.
    theta : float
        Their base b.
    length : int
        Tokens of the text, n.
    context_length : int, optional
        L, where the rule does not state it.

    Returns
    -------
    inv_freq : Tensor
        float32 ``[pairs]``.
    attention_factor : float
        1.0 but for YaRN and LongRoPE.

    Raises
    ------
    ValueError
        If L is needed and stated by neither, or the rule does not fit the number of pairs.
    """
    original = rule.get("original_max_position_embeddings") or context_length
    if original is None and rule["rope_type"] not in ("linear", "ntk"):
        raise ValueError(
            f"the rule {rule['rope_type']!r} needs the length L that the model was trained on; pass original_length"
        )
    return _RULES[rule["rope_type"]](inv_freq.float(), rule, theta=theta, original=original or 0, length=length)


def _linear(inv_freq: Tensor, rule: Rule, **_: Any) -> tuple[Tensor, float]:
    """``inv_freq / s``."""
    return inv_freq / rule["factor"], 1.0


def _ntk(inv_freq: Tensor, rule: Rule, **_: Any) -> tuple[Tensor, float]:
    """The base ``b s^(D / (D - 2))``."""
    return _rebased(inv_freq, rule["factor"]), 1.0


def _dynamic(inv_freq: Tensor, rule: Rule, *, original: int, length: int, **_: Any) -> tuple[Tensor, float]:
    """The base ``b (s n / L - (s - 1))^(D / (D - 2))``, with n at least L."""
    factor = rule["factor"]
    return _rebased(inv_freq, factor * max(length, original) / original - (factor - 1)), 1.0


def _rebased(inv_freq: Tensor, growth: float) -> Tensor:
    pairs = inv_freq.shape[0]
    if pairs < 2:
        raise ValueError(f"NTK scaling needs at least 2 rotated pairs of dimensions, and there are {pairs}")
    pair = torch.arange(pairs, dtype=torch.float64, device=inv_freq.device)
    return (inv_freq * growth ** (-pair / (pairs - 1))).float()


def _yarn(inv_freq: Tensor, rule: Rule, *, theta: float, original: int, **_: Any) -> tuple[Tensor, float]:
    """``inv_freq / s`` for slow pairs, ``inv_freq`` for fast ones, a ramp between; arXiv 2309.00071, eq. 17 to 23."""
    dim = 2 * inv_freq.shape[0]

    def pair_that_turns(times: float) -> float:
        return dim * math.log(original / (times * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(pair_that_turns(rule["beta_fast"])), 0)
    high = min(math.ceil(pair_that_turns(rule["beta_slow"])), dim - 1)
    pair = torch.arange(inv_freq.shape[0], dtype=torch.float32, device=inv_freq.device)
    interpolated = ((pair - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    scaled = inv_freq / rule["factor"] * interpolated + inv_freq * (1 - interpolated)
    return scaled, 0.1 * math.log(rule["factor"]) + 1.0


def _llama3(inv_freq: Tensor, rule: Rule, *, original: int, **_: Any) -> tuple[Tensor, float]:
    """``inv_freq / s`` for wavelengths above L / low, ``inv_freq`` below L / high, a mixture between."""
    low, high = rule["low_freq_factor"], rule["high_freq_factor"]
    turns = original * inv_freq / (2 * math.pi)
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - kept) * inv_freq / rule["factor"] + kept * inv_freq, 1.0


def _longrope(inv_freq: Tensor, rule: Rule, *, original: int, length: int, **_: Any) -> tuple[Tensor, float]:
    """``inv_freq[k] / long[k]`` beyond L tokens, ``inv_freq[k] / short[k]`` up to L."""
    divisors = rule["long_factor" if length > original else "short_factor"]
    if len(divisors) != inv_freq.shape[0]:
        raise ValueError(f"LongRoPE has {len(divisors)} numbers, but {inv_freq.shape[0]} pairs turn; give one for each")
    scale = 1.0 if original < 2 else math.sqrt(1 + math.log(rule["factor"]) / math.log(original))
    return inv_freq / torch.tensor(divisors, dtype=torch.float32, device=inv_freq.device), scale


_RULES: dict[str, Callable[..., tuple[Tensor, float]]] = {
    "linear": _linear,
    "ntk": _ntk,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "llama3": _llama3,
    "longrope": _longrope,
}
