"""Settings of every method for a model and the length it shall read, as the papers choose them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np

from selfextend_viz.experiments.conditions import listed
from selfextend_viz.frequencies import scaled_frequencies
from selfextend_viz.methods import (
    METHODS,
    DualChunkAttention,
    DynamicNTK,
    LeakyReRoPE,
    Llama3Scaling,
    LlamaCppSelfExtend,
    LMInfinite,
    LogisticSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    ShiftedSparseAttention,
    SlidingWindow,
    StreamingLLM,
    StringAttention,
    YaRN,
)
from selfextend_viz.patch import context_length, plain_frequencies
from selfextend_viz.positions import Method, SelfExtend, pair_positions, suggest, whole_number

__all__ = ["methods_for"]

SINKS, FIRST_TOKENS = 4, 10
MOST_CEILING = 128
SMALLEST_CONTEXT = 32
"""Below it the parts of L that papers take for windows and chunks come down to single tokens."""


def methods_for(model: Any, target_length: int, names: Iterable[str] | None = None) -> dict[str, Method]:
    """Each method of ``METHODS`` with the numbers that its authors would choose for L and a target length N.

    With s = N / L: the factor of frequency methods is s, but of DynamicNTK 1, so that its base grows by n / L (YaRN's
    paper, section 3.3). LongRoPE's numbers come from a search that is not made here; it has those of YaRN, from which
    the search starts. Windows and sinks hold L tokens, LM-Infinite's 10 first tokens and largest distance L - 1. Groups
    of LongLoRA are N / 4. Self-Extend has the first of :func:`~selfextend_viz.suggest`; llama.cpp's variant the
    smallest G that reaches N with a window of about L / 4. ReRoPE's window is L / 2, Leaky ReRoPE's L / 4 with the
    factor that reaches N, DCA's chunk 3 L / 4 with a window of L / 8. STRING's shift is L / 3 and its window L / 32,
    which is 128 at L = 4096. SELF has a window of L / 4, and its authors' C and r where they reach N, else the smallest
    C up to 128 that does, with r doubled where none does.

    Parameters
    ----------
    model
        A transformers causal language model.
    target_length
        N, above L.
    names
        Some names of ``METHODS``; all if left out.

    Returns
    -------
    dict
        Method by name, in the order of the names.

    Raises
    ------
    TypeError, ValueError
        If N is not a whole number above L, a name is unknown, L is below 32, a method has no such setting that reaches
        N, or LongRoPE is asked for and the model's frequencies are scaled already.
    """
    trained, target = context_length(model), whole_number("target_length", target_length)
    if target <= trained:
        raise ValueError(f"target_length is {target}, but must be above L = {trained}: up to L no method is needed")
    if trained < SMALLEST_CONTEXT:
        raise ValueError(f"L is {trained}, too short for parts of it; use a model with L of {SMALLEST_CONTEXT} or more")
    wanted = list(METHODS) if names is None else listed("names", names)
    unknown = next((name for name in wanted if name not in METHODS), None)
    if unknown is not None:
        raise ValueError(f"unknown method {unknown!r}; choose from {', '.join(METHODS)}")
    return {name: _CHOICES[name](model, trained, target) for name in wanted}


def _longrope(model: Any, trained: int, target: int) -> LongRoPE:
    inv_freq, theta = plain_frequencies(model)
    factor = target / trained
    scaled, _ = scaled_frequencies(
        YaRN(factor).rope_parameters, inv_freq, theta=theta, length=target, context_length=trained
    )
    divisors = (inv_freq.float() / scaled).tolist()
    return LongRoPE([1.0] * len(divisors), divisors, factor=factor)


def _llama_cpp(model: Any, trained: int, target: int) -> Method:
    window = trained // 4
    sizes = range(2, window + 1)
    return _reaching((LlamaCppSelfExtend(size, window // size * size) for size in sizes), trained, target)


def _self_extend(model: Any, trained: int, target: int) -> SelfExtend:
    first = suggest(trained, target)[0]
    return SelfExtend(first.group_size, first.neighbor_window)


def _leaky(model: Any, trained: int, target: int) -> LeakyReRoPE:
    window = trained // 4
    factor = math.ceil(10 * (target - 1 - window) / (trained - 1 - window)) / 10
    return LeakyReRoPE(window, factor)


def _logistic(model: Any, trained: int, target: int) -> Method:
    usual = LogisticSelfExtend(trained // 4)
    rates = (usual.rate * 2**doublings for doublings in range(5))
    settings = product(rates, range(usual.ceiling, MOST_CEILING + 1))
    choices = (LogisticSelfExtend(trained // 4, ceiling, rate) for rate, ceiling in settings)
    return _reaching(choices, trained, target)


def _reaching(choices: Iterable[Method], trained: int, target: int) -> Method:
    """The first that tells no query of a text of N tokens a distance of L or more."""
    queries, kind = np.arange(max(0, target - trained), target), ""
    for method in choices:
        kind = type(method).__name__
        if pair_positions(method, queries, 0).max() < trained:
            return method
    raise ValueError(f"no {kind} with a window of L / 4 reaches {target} tokens from L = {trained}; name other methods")


_CHOICES: dict[str, Callable[[Any, int, int], Method]] = {
    "PositionInterpolation": lambda model, trained, target: PositionInterpolation(target / trained),
    "NTKAware": lambda model, trained, target: NTKAware(target / trained),
    "DynamicNTK": lambda model, trained, target: DynamicNTK(1),
    "YaRN": lambda model, trained, target: YaRN(target / trained),
    "Llama3Scaling": lambda model, trained, target: Llama3Scaling(target / trained),
    "LongRoPE": _longrope,
    "SlidingWindow": lambda model, trained, target: SlidingWindow(trained),
    "StreamingLLM": lambda model, trained, target: StreamingLLM(SINKS, trained - SINKS),
    "LMInfinite": lambda model, trained, target: LMInfinite(FIRST_TOKENS, trained - 1),
    "ShiftedSparseAttention": lambda model, trained, target: ShiftedSparseAttention(2 * math.ceil(target / 8)),
    "SelfExtend": _self_extend,
    "ReRoPE": lambda model, trained, target: ReRoPE(trained // 2),
    "LeakyReRoPE": _leaky,
    "DualChunkAttention": lambda model, trained, target: DualChunkAttention(3 * trained // 4, trained // 8),
    "StringAttention": lambda model, trained, target: StringAttention(trained // 3, trained // 32),
    "LogisticSelfExtend": _logistic,
    "LlamaCppSelfExtend": _llama_cpp,
}
