"""Where a model breaks, by its own token losses: the knee at which they leave the level they have in range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.experiments.conditions import listed, resolve
from selfextend_viz.experiments.losses import one_text
from selfextend_viz.experiments.perplexity import token_losses
from selfextend_viz.experiments.rows import STOCK
from selfextend_viz.experiments.tokens import encode
from selfextend_viz.patch import context_length

__all__ = ["in_words", "knee", "text_losses"]

FIRST = 16
PER_OCTAVE = 8
FEWEST = 128
TEXTS = 8
SMALLEST_RISE = 0.1
CLEARLY_BETTER = 15.0
AGREES = (0.75, 1.35)


def knee(losses: Any) -> int | None:
    """How many tokens a model reads before its token losses leave their level for good; ``None`` if they do not.

    Over the logarithm of the position, a line that falls or is level is followed by two that rise or are level: a
    break may be sudden, and full soon after. All places of the two corners are tried on block means. The knee counts
    if the lines fit far better than one falling line does. Within a tenth or two it is L, for models hold a little
    past it; it takes some texts to see it, since a hard passage in one of them looks the same.

    Parameters
    ----------
    losses
        One row of :func:`~selfextend_viz.token_losses` for each text, ``[texts, tokens]`` or a list of rows; one row
        alone is one text. Rows are cut to the shortest.

    Raises
    ------
    ValueError
        If there are fewer than 128 losses in a row, or one is not finite.
    """
    edges, level, weight = _blocks(_mean_row(losses))
    corners = np.log(edges)
    place = (corners[1:] + corners[:-1]) / 2
    flat, _ = _best_fit(level, weight, [-place])
    best, rise, first = np.inf, 0.0, 0
    for start, stop in _pairs(len(edges)):
        left, right = corners[start], corners[stop]
        columns = [-np.minimum(place, left), np.clip(place, left, right) - left, np.maximum(place, right)]
        squares, slopes = _best_fit(level, weight, columns)
        if squares < best:
            best, first = squares, int(edges[start])
            rise = slopes[1] * (right - left) + slopes[2] * (corners[-1] - right)
    better = (flat - best) / 3 > CLEARLY_BETTER * best / (len(level) - 5)
    return first if better and rise > SMALLEST_RISE else None


def _mean_row(losses: Any) -> NDArray[np.float64]:
    rows = [np.atleast_1d(np.asarray(row, dtype=np.float64)) for row in losses]
    if rows and all(row.shape == (1,) for row in rows):
        rows = [np.concatenate(rows)]
    shortest = min((len(row) for row in rows), default=0)
    if shortest < FEWEST:
        raise ValueError(f"a row has {shortest} losses; a knee takes at least {FEWEST}, and some beyond L to be seen")
    mean = np.mean([row[:shortest] for row in rows], axis=0)
    if not np.isfinite(mean).all():
        raise ValueError(f"the loss of token {int(np.argmin(np.isfinite(mean))) + 1} is not finite in some text")
    return mean


def _blocks(mean: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Edges of blocks of equal width on a logarithmic axis, their means, and weights for least squares."""
    count = int(np.ceil(np.log2(len(mean) / FIRST) * PER_OCTAVE)) + 1
    edges = np.unique(np.geomspace(FIRST, len(mean), count).round().astype(np.int64))
    sums = np.concatenate(([0.0], mean.cumsum()))
    return edges, np.diff(sums[edges]) / np.diff(edges), np.sqrt(np.diff(edges))


def _pairs(edges: int) -> Iterator[tuple[int, int]]:
    """Where the two corners may lie: some blocks stand before the first, and at least two after it."""
    return ((start, stop) for start in range(3, edges - 2) for stop in range(start + 1, edges))


def _best_fit(
    level: NDArray[np.float64], weight: NDArray[np.float64], columns: Sequence[NDArray[np.float64]]
) -> tuple[float, NDArray[np.float64]]:
    """Weighted least squares of a constant and of columns that may not count negatively: the squares, the factors."""
    table = np.stack((np.ones_like(level), *columns), axis=1) * weight[:, None]
    best, factors = np.inf, np.zeros(len(columns))
    for size in range(len(columns) + 1):
        for chosen in combinations(range(len(columns)), size):
            used = table[:, [0, *(index + 1 for index in chosen)]]
            found = np.linalg.lstsq(used, level * weight, rcond=None)[0]
            squares = float(((level * weight - used @ found) ** 2).sum())
            if (found[1:] >= 0).all() and squares < best:
                best, factors = squares, np.zeros(len(columns))
                factors[list(chosen)] = found[1:]
    return best, factors


def text_losses(model: Any, tokenizer: Any, texts: str | Iterable[str], *, longest: int | None = None) -> NDArray[Any]:
    """Token losses of the stock model on the longest texts, eight at most, for :func:`knee`.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model, lent a method or not, and its tokenizer.
    texts
        Texts the model was not trained on, better some than one.
    longest
        Tokens of a text that are read at most; 4 L if left out.

    Returns
    -------
    ndarray
        float64 ``[texts, tokens - 1]``, as long as the shortest text used. Of the texts, those are used that have at
        least 2 L tokens, or the longest alone if none has.

    Raises
    ------
    ValueError
        If there is no text, or none has the tokens that a knee takes.
    """
    trained = context_length(model)
    most = 4 * trained if longest is None else longest
    ids = sorted(
        (encode(tokenizer, text) for text in listed("texts", [texts] if isinstance(texts, str) else texts)),
        key=len,
        reverse=True,
    )
    used = [each for each in ids if len(each) >= min(2 * trained, most)][:TEXTS] or ids[:1]
    length = min(most, min(map(len, used)))
    if length <= FEWEST:
        raise ValueError(f"the longest text has {length} tokens; a knee takes more than {FEWEST}")
    with resolve(STOCK, model).lent(model, "auto"):
        return np.stack([token_losses(model, one_text(each[:length])).double().cpu().numpy() for each in used])


def in_words(found: int | None, context_length: int, read: int) -> str:
    """What a knee, or that there is none in so many tokens, says about the L of the configuration: one sentence."""
    low, high = (bound * context_length for bound in AGREES)
    if found is None and read <= high:
        return (
            f"token losses stay level in the {read} tokens that were read, too few to see past L = {context_length}; "
            f"give texts of {2 * context_length} tokens"
        )
    if found is None:
        return f"token losses stay level up to {read} tokens, so the model reads further than L = {context_length} says"
    if found < low:
        return (
            f"token losses leave their level at {found} tokens, well before L = {context_length}: "
            f"take {found} for L when you choose a method"
        )
    if found > high:
        return f"token losses leave their level at {found} tokens only, well past L = {context_length}"
    return f"token losses leave their level at {found} tokens, which agrees with L = {context_length}"
