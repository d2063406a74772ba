"""Which layers need a method: it is lent to one layer alone, and to all but one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

from selfextend_viz.experiments.conditions import Wanted
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.rows import (
    ALL,
    ALL_BUT,
    ALONE,
    NONE,
    STOCK,
    LayerRow,
    PasskeyRow,
    wilson_interval,
)
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.positions import Method

__all__ = ["layer_sensitivity"]


def layer_sensitivity(
    model: Any,
    tokenizer: Any,
    method: Method,
    *,
    length: int,
    layers: Sequence[int] | None = None,
    depths: Sequence[float] = (0.0, 0.5, 1.0),
    **options: Any,
) -> Iterator[LayerRow]:
    """Ask the same pass keys with the method in one layer alone, and in all layers but that one.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer.
    method
        Such as ``SelfExtend(8, 64)``.
    length
        N; past L, or no layer needs it.
    layers
        Numbers of the layers to look at; all that rotate when left out.
    depths
        Where keys stand; answers are counted over all of them.
    **options
        Further arguments of :func:`~selfextend_viz.passkey`, such as ``task``, ``trials`` or ``seed``.

    Yields
    ------
    LayerRow
        ``"none"`` (stock) and ``"all"`` first, then for each layer ``"alone"`` and ``"all but"``.

    Raises
    ------
    TypeError, ValueError
        At once, if a layer is none of those that rotate, or `passkey` refuses an argument.
    """
    rotating = [layer.index for layer in attention_layers(model) if layer.skipped is None]
    wanted = list(rotating) if layers is None else list(layers)
    unknown = next((layer for layer in wanted if layer not in rotating), None)
    if unknown is not None or not wanted:
        raise ValueError(f"there is no layer {unknown!r} to lend a method to; choose from {rotating}")
    lent: list[tuple[str, int | None, Wanted]] = [(NONE, None, STOCK), (ALL, None, method)]
    for layer in wanted:
        others = {other: method for other in rotating if other != layer}
        lent.append((ALONE, layer, PerLayer.of({layer: method})))
        lent.append((ALL_BUT, layer, PerLayer.of(others) if others else STOCK))
    conditions = {str(condition): condition for _, _, condition in lent}  # of two layers, one's rest is the other alone
    asked = passkey(model, tokenizer, lengths=[length], depths=depths, conditions=list(conditions.values()), **options)
    return _rows(asked, lent, length)


def _rows(
    asked: Iterable[PasskeyRow], lent: Sequence[tuple[str, int | None, Wanted]], length: int
) -> Iterator[LayerRow]:
    """The answers of every condition over all depths."""
    found: dict[str, list[PasskeyRow]] = {}
    for row in asked:
        found.setdefault(row.condition, []).append(row)
    for where, layer, condition in lent:
        rows = found[str(condition)]
        exact, trials = sum(row.exact for row in rows), sum(row.trials for row in rows)
        low, high = wilson_interval(exact, trials)
        log_probability = fmean(row.log_probability for row in rows)
        yield LayerRow(where, layer, str(condition), length, trials, exact, low, high, log_probability)
