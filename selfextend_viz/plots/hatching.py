"""Marks on a map of cells that do not depend on colour: hatching of a region, and the line between two."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Line = tuple[list[float | None], list[float | None]]
"""Coordinates of many strokes, ``None`` between them, as a plotly line trace takes them."""


def edges(centres: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where cells of the given centres begin and end: one more number than there are cells."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[1.5 * centres[0] - centres[1] / 2], middles, [1.5 * centres[-1] - centres[-2] / 2]])


def hatch(
    mask: NDArray[np.bool_], x_edges: NDArray[np.float64], y_edges: NDArray[np.float64], *, strokes: int = 24
) -> Line:
    """Strokes at right angles to the diagonal over the cells of a mask ``[rows, columns]``.

    ``strokes`` is how many would cross the whole map.
    """
    rows, columns = mask.shape
    spacing = max(1, (rows + columns) // strokes)
    x: list[float | None] = []
    y: list[float | None] = []
    flipped = mask[::-1]
    for offset in range(-rows + 1 + (rows + spacing // 2) % spacing, columns, spacing):
        cells = np.concatenate([[False], flipped.diagonal(offset), [False]]).astype(np.int8)
        starts, stops = np.flatnonzero(np.diff(cells) == 1), np.flatnonzero(np.diff(cells) == -1)
        left, bottom = max(offset, 0), rows - max(-offset, 0)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            x += [float(x_edges[left + start]), float(x_edges[left + stop]), None]
            y += [float(y_edges[bottom - start]), float(y_edges[bottom - stop]), None]
    return x, y


def boundary(labels: NDArray[np.int64], x_edges: NDArray[np.float64], y_edges: NDArray[np.float64]) -> Line:
    """The cell edges at which neighbouring labels differ; cells labelled below 0 have no boundary."""
    x: list[float | None] = []
    y: list[float | None] = []
    upright = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] >= 0) & (labels[:, :-1] >= 0)
    for row, column in np.argwhere(upright).tolist():
        x += [float(x_edges[column + 1])] * 2 + [None]
        y += [float(y_edges[row]), float(y_edges[row + 1]), None]
    level = (labels[1:] != labels[:-1]) & (labels[1:] >= 0) & (labels[:-1] >= 0)
    for row, column in np.argwhere(level).tolist():
        x += [float(x_edges[column]), float(x_edges[column + 1]), None]
        y += [float(y_edges[row + 1])] * 2 + [None]
    return x, y
