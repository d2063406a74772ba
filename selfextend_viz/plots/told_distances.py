"""How far away keys seem under any method, on one scale: methods of positions beside methods of frequencies.

A method of frequencies leaves every position where it is and turns its pairs of dimensions more slowly. Its slowest
pair, which met the fewest angles in training, then turns as it did at a smaller distance: that one stands for it here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.positions import Method, PlainRoPE, bands_of, pair_positions, whole_number

NEED_NO_LENGTH = ("linear", "ntk", "yarn")


def several(methods: Sequence[Method]) -> list[Method]:
    """The methods as a list, each with bands.

    Raises
    ------
    TypeError
        If one of them is no method.
    ValueError
        If there are none.
    """
    found = list(methods)
    if not found:
        raise ValueError("0 methods to draw; give at least one")
    for method in found:
        bands_of(method)
    return found


def method_name(method: Method) -> str:
    """What a method is called in a picture."""
    return "plain RoPE" if isinstance(method, PlainRoPE) else str(method)


def slowing(method: Method, length: int, *, context_length: int | None = None) -> tuple[float, float] | None:
    """By how much a method slows the fastest and the slowest pair of dimensions; ``None`` if it leaves them alone.

    Parameters
    ----------
    method
        Any method.
    length
        N, which dynamic NTK and LongRoPE look at.
    context_length
        L, where the method does not state it.

    Returns
    -------
    tuple of float or None
        What the frequencies of the first and the last pair are divided by. The first pair turns by one radian a token,
        as in plain RoPE, and the last less than once within L, as in every model that breaks past it.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1, or L is needed and not given.
    """
    whole_number("length", length)
    rule: dict[str, Any] | None = getattr(method, "rope_parameters", None)
    if rule is None:
        return None
    limit = rule.get("original_max_position_embeddings") or context_length
    if limit is None and rule["rope_type"] not in NEED_NO_LENGTH:
        raise ValueError(f"{method} slows its pairs by L, the trained length, which is missing; pass context_length")
    return _SLOWED[rule["rope_type"]](rule, length, whole_number("context_length", limit or 1))


def told_distances(
    method: Method, query: Any, key: Any, *, length: int, context_length: int | None = None
) -> NDArray[np.float64]:
    """How far away each key seems, for pairs of true positions; NaN where it is not seen in any head.

    The relative position told, or the distance at which the slowest pair turned as far before (see :func:`slowing`).

    Parameters
    ----------
    method
        Any method.
    query, key
        Integer arrays that broadcast against each other.
    length, context_length
        As in :func:`slowing`.

    Raises
    ------
    TypeError, ValueError
        As :func:`slowing`.
    """
    numbers = pair_positions(method, query, key).astype(np.float64)
    slowed = slowing(method, length, context_length=context_length)
    return np.where(numbers < 0, np.nan, numbers / (slowed[1] if slowed else 1.0))


def slowing_note(method: Method, length: int, *, context_length: int | None = None) -> str:
    """What a picture must say of a method that scales frequencies; ``""`` for the others."""
    slowed = slowing(method, length, context_length=context_length)
    return f"its slowest pair turns as at d / {slowed[1]:.4g}" if slowed else ""


def blank(numbers: NDArray[np.float64]) -> NDArray[np.object_]:
    """Numbers as a figure takes them: ``None`` in place of NaN, whole ones without a fraction, others short."""
    rounded = np.round(numbers, 3)
    found = rounded.astype(object)
    found[np.isnan(numbers)] = None
    return found


def _everywhere(rule: dict[str, Any], length: int, limit: int) -> tuple[float, float]:
    return rule["factor"], rule["factor"]


def _slowest_only(rule: dict[str, Any], length: int, limit: int) -> tuple[float, float]:
    return 1.0, rule["factor"]


def _dynamic(rule: dict[str, Any], length: int, limit: int) -> tuple[float, float]:
    return 1.0, rule["factor"] * max(length, limit) / limit - (rule["factor"] - 1)


def _llama3(rule: dict[str, Any], length: int, limit: int) -> tuple[float, float]:
    low, high = rule["low_freq_factor"], rule["high_freq_factor"]
    kept = min(max((limit / (2 * math.pi) - low) / (high - low), 0.0), 1.0)
    return 1 / ((1 - kept) / rule["factor"] + kept), rule["factor"]


def _longrope(rule: dict[str, Any], length: int, limit: int) -> tuple[float, float]:
    divisors = rule["long_factor" if length > limit else "short_factor"]
    return divisors[0], divisors[-1]


_SLOWED = {
    "linear": _everywhere,
    "ntk": _slowest_only,
    "yarn": _slowest_only,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "longrope": _longrope,
}
