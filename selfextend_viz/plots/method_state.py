"""Two methods beside each other as a few rows of numbers, from which a page draws both maps and their difference."""

from __future__ import annotations

from typing import Any

import numpy as np

from selfextend_viz.plots.map_bands import drawn_and_trained, drawn_tokens, panel_bands
from selfextend_viz.plots.told_distances import blank, method_name, slowing, told_distances
from selfextend_viz.positions import Method, whole_number


def methods_state(
    first: Method,
    second: Method,
    length: int,
    *,
    context_length: int | None = None,
    row: int | None = None,
    column: int | None = None,
    max_cells: int = 256,
) -> dict[str, Any]:
    """What a page needs to draw the maps of two methods, of any kind, and the difference of the two.

    Parameters
    ----------
    first, second
        Any methods. One of frequencies is drawn as its slowest pair turns, and its name says so.
    length, context_length, row, column, max_cells
        As in :func:`~selfextend_viz.plots.map_state`; L is also what DynamicNTK and its kind need.

    Returns
    -------
    dict
        As of :func:`~selfextend_viz.plots.map_state`, with ``difference`` true, and with ``spans`` in bands that hide
        pairs by more than their distance.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, or a method needs an L that is missing.
    """
    tokens, limit = drawn_and_trained(length, context_length, row, max_cells)
    panels = []
    for method in (first, second):
        bands, name = panel_bands(method, length, tokens), method_name(method)
        slowed = slowing(method, length, context_length=limit)
        if slowed is not None:
            name = f"{name}: slowest pair, d / {slowed[1]:.4g}"
            for band in bands:
                for side in ("query", "key"):
                    band[side] = np.round(np.array(band[side]) / slowed[1], 4).tolist()
        panels.append({"name": name, "bands": bands})
    return {
        "length": length,
        "context_length": limit,
        "tokens": tokens.tolist(),
        "row": row,
        "column": column,
        "difference": True,
        "panels": panels,
    }


def methods_table(
    first: Method, second: Method, length: int, row: int, *, context_length: int | None = None, max_cells: int = 256
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """One query's row of both maps and of their difference: a header, and a line for each key drawn.

    Raises
    ------
    TypeError, ValueError
        As :func:`methods_state`.
    """
    keys = drawn_tokens(length, max_cells)
    keys = keys[keys <= whole_number("row", row, at_least=0)]
    told = [
        told_distances(method, row, keys, length=length, context_length=context_length) for method in (first, second)
    ]
    columns = [blank(numbers).tolist() for numbers in (*told, told[0] - told[1])]
    lines = list(zip(keys.tolist(), (row - keys).tolist(), *columns, strict=True))
    names = (f"told by {method_name(first)}", f"told by {method_name(second)}")
    return ("key j", f"distance from token {row:,}", *names, "difference"), lines
