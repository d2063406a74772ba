"""The position map as a few rows of integers, from which a page can draw every cell by one subtraction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.positions import (
    Band,
    Method,
    PlainRoPE,
    SelfExtend,
    bands_of,
    pair_bands,
    pair_positions,
    true_position,
    whole_number,
)


def map_state(
    method: Method,
    length: int,
    *,
    context_length: int | None = None,
    row: int | None = None,
    column: int | None = None,
    max_cells: int = 256,
) -> dict[str, Any]:
    """What a page needs to draw plain RoPE's map and a method's beside it.

    A pair (i, j) is told ``query[i] - key[j]`` in the band whose ``[nearest, beyond)`` holds i - j.

    Parameters
    ----------
    method
        Any method whose bands are intervals of distances alone.
    length
        N, the sequence length.
    context_length
        L; without it nothing is marked as never trained.
    row, column
        The pair pointed out, ``0 <= j <= i < N``; a row alone is shown with the farthest token.
    max_cells
        Longer sequences are sampled to this many tokens a side, both ends among them.

    Returns
    -------
    dict
        Ready for JSON: ``length``, ``context_length``, ``tokens`` (the true positions drawn), ``row``, ``column`` and
        ``panels``, each a ``name`` and its ``bands``. A band has ``name``, ``note``, ``nearest``, ``beyond`` (null: no
        limit) and, one number a token drawn, ``query``, ``key``, ``first`` and ``last``: the positions told and the
        ends of the run of true tokens that share the key's.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, or a band narrows its interval by a predicate.
    """
    tokens, limit = drawn_and_trained(length, context_length, row, max_cells)
    if column is not None and (row is None or whole_number("column", column, at_least=0) > row):
        raise ValueError(f"column {column} is not seen from row {row}; use a row, and a column of 0 to the row")
    return {
        "length": length,
        "context_length": limit,
        "tokens": tokens.tolist(),
        "row": row,
        "column": column,
        "panels": [
            {"name": "plain RoPE", "bands": panel_bands(PlainRoPE(), length, tokens)},
            {"name": str(method), "bands": panel_bands(_by_distance(method), length, tokens)},
        ],
    }


def drawn_tokens(length: int, max_cells: int) -> NDArray[np.int64]:
    """The true positions that a map of at most ``max_cells`` cells a side shows: all, or evenly spaced with both ends.

    Raises
    ------
    TypeError, ValueError
        If ``length`` is not a whole number >= 1, or ``max_cells`` not one >= 2.
    """
    cells = min(whole_number("length", length), whole_number("max_cells", max_cells, at_least=2))
    return np.linspace(0, length - 1, cells).round().astype(np.int64)


def drawn_and_trained(
    length: int, context_length: int | None, row: int | None, max_cells: int
) -> tuple[NDArray[np.int64], int | None]:
    """The true positions that a map shows, and L, once these numbers and the row pointed out are known to be right.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range.
    """
    tokens = drawn_tokens(length, max_cells)
    limit = None if context_length is None else whole_number("context_length", context_length)
    if row is not None and whole_number("row", row, at_least=0) >= length:
        raise ValueError(f"row {row} lies outside the {length} tokens; use one of 0 to {length - 1}")
    return tokens, limit


def band_words(method: Method, number: int) -> tuple[str, str]:
    """What a band is called, and what it does to its tokens."""
    band = bands_of(method)[number]
    if len(method.bands) == 1 and band.query_position is true_position:
        return "true distances", "exact"
    if not isinstance(method, SelfExtend):
        return f"band {number + 1}", f"from {band.nearest:,} away" if band.nearest else "nearest"
    if band.query_position is true_position:
        return "neighbour band", "exact"
    return "group band", f"{method.group_size} tokens share a position"


def row_table(
    method: Method, length: int, row: int, *, context_length: int | None = None, max_cells: int = 256
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """One query's row of both maps as a table: a header, and a line for each key drawn.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range.
    """
    if whole_number("row", row, at_least=0) >= whole_number("length", length):
        raise ValueError(f"row {row} lies outside the {length} tokens; use one of 0 to {length - 1}")
    keys = drawn_tokens(length, max_cells)
    keys = keys[keys <= row]
    told = pair_positions(method, row, keys).tolist()
    bands = pair_bands(method, row, keys).tolist()
    header: tuple[str, ...] = ("key j", f"distance from token {row:,}", f"told by {method}", "band")
    lines: list[tuple[Any, ...]] = []
    for key, number, band in zip(keys.tolist(), told, bands, strict=True):
        line: tuple[Any, ...] = (key, row - key, "", "not seen")
        if band >= 0:
            line = (key, row - key, number, band_words(method, band)[0])
        if context_length is not None:
            line = (*line, _taught(number, context_length) if band >= 0 else "", _taught(row - key, context_length))
        lines.append(line)
    return (header if context_length is None else (*header, "as told", "under plain RoPE")), lines


def _taught(position: float, context_length: int) -> str:
    return "trained" if position < context_length else "never trained"


def _by_distance(method: Method) -> Method:
    """The method, if its bands are intervals of distances alone."""
    if any(band.visible is not None for band in bands_of(method)):
        raise ValueError(
            f"{method} hides pairs by more than their distance, which this map cannot say; use plot_position_map"
        )
    return method


def panel_bands(method: Method, length: int, tokens: NDArray[np.int64]) -> list[dict[str, Any]]:
    """A method's bands as a page draws them; one narrowed by a predicate also has ``spans``.

    ``spans`` holds for each token drawn, as a query, the runs of keys seen as ``[start, stop, start, ...]`` in cells.
    """
    found = []
    for number, band in enumerate(bands_of(method)):
        name, note = band_words(method, number)
        first, last = _shared(band, length, tokens)
        found.append(
            {
                "name": name,
                "note": note,
                "nearest": band.nearest,
                "beyond": band.beyond,
                "query": _at(band.query_position, tokens).tolist(),
                "key": _at(band.key_position, tokens).tolist(),
                "first": first.tolist(),
                "last": last.tolist(),
            }
        )
        if band.visible is not None:
            found[-1]["spans"] = _spans(band, tokens)
    return found


def _spans(band: Band, tokens: NDArray[np.int64]) -> list[list[int]]:
    seen = np.asarray(band.sees(tokens[:, None], tokens[None, :]), dtype=np.int8)
    edges = np.diff(np.pad(seen, ((0, 0), (1, 1))), axis=1)
    return [np.flatnonzero(row).tolist() for row in edges]


def _at(position: Any, tokens: NDArray[np.int64]) -> NDArray[Any]:
    """A band's positions at the tokens given, also where they do not depend on the token."""
    return np.broadcast_to(np.asarray(position(tokens)), tokens.shape)


def _shared(band: Band, length: int, tokens: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and last true token of the run around each token that stands at one key position."""
    if band.key_position is true_position:
        return tokens, tokens
    keys = _at(band.key_position, np.arange(length))
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1, [length]])
    runs = np.searchsorted(starts, tokens, side="right") - 1
    return starts[runs], starts[runs + 1] - 1
