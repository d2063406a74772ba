"""Short forwards of a model, timed and counted, and what they say about a long one."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from selfextend_viz.experiments.conditions import resolve
from selfextend_viz.experiments.counted_memory import peak_bytes
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.patch import BeyondReachWarning
from selfextend_viz.positions import Method

__all__ = ["scaled", "short_forwards"]

SHORTEST = 64
LONGEST = 4096
SECONDS = 0.5


def scaled(lengths: Sequence[int], values: Sequence[float], target: int) -> float:
    """What grows with tokens and with pairs of tokens, at a target, from its values at some lengths.

    Least squares of the relative errors; neither part counts negatively.
    """
    tokens, found = np.asarray(lengths, dtype=np.float64), np.asarray(values, dtype=np.float64)
    both = np.stack((tokens, tokens**2), axis=1) / found[:, None]
    parts = np.linalg.lstsq(both, np.ones_like(found), rcond=None)[0] if len(tokens) > 1 else np.array([1.0, -1.0])
    for kept in np.flatnonzero(parts[::-1] < 0):
        alone = both[:, kept]
        parts = np.zeros(2)
        parts[kept] = alone.sum() / (alone**2).sum()
    return float(parts @ (target, target**2))


def short_forwards(
    model: Any, lent: Method | PerLayer | None, target: int, implementation: str
) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Lengths, seconds and peak bytes of the last three of the forwards that were measured, or of all if fewer."""
    length, rows = min(SHORTEST, max(1, target // 2)), []
    while True:
        seconds, peak = _one_forward(model, _shortened(lent, length / target), length, implementation)
        rows.append((length, seconds, peak))
        enough = len(rows) > 1 and (seconds > SECONDS or 2 * length > LONGEST)
        if enough or 2 * length > target:
            lengths, times, peaks = zip(*rows[-3:], strict=True)
            return lengths, times, peaks
        length *= 2


def _one_forward(model: Any, lent: Method | PerLayer | None, length: int, implementation: str) -> tuple[float, int]:
    """Seconds and peak bytes of reading a text as generation does: into a cache, logits of the last token alone."""
    ids = torch.randint(model.config.get_text_config().vocab_size, (1, length), device=model.device)

    def read() -> None:
        model(input_ids=ids, use_cache=True, logits_to_keep=1)

    with warnings.catch_warnings(), torch.inference_mode(), resolve(lent, model).lent(model, implementation):
        warnings.simplefilter("ignore", BeyondReachWarning)
        peak = peak_bytes(read)
        return min(_seconds(read, model.device) for _ in range(2)), peak


def _seconds(run: Callable[[], None], device: torch.device) -> float:
    _finish(device)
    start = time.perf_counter()
    run()
    _finish(device)
    return time.perf_counter() - start


def _finish(device: torch.device) -> None:
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


def _shortened(lent: Method | PerLayer | None, share: float) -> Method | PerLayer | None:
    """The same with windows that are the same share of a shorter text."""
    if isinstance(lent, Mapping):
        return PerLayer.of({layer: _one_shortened(method, share) for layer, method in lent.items()})
    return None if lent is None else _one_shortened(lent, share)


def _one_shortened(method: Any, share: float) -> Method:
    window = getattr(method, "neighbor_window", 0)
    shorter: Method = replace(method, neighbor_window=max(1, round(window * share))) if window else method
    return shorter
