"""How far a sweep has come: which cells of each condition are in, at each length."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import plotly.graph_objects as go

from selfextend_viz.plots.theme import CELL_INK, dress
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import as_setting

LINE = 20
"""Pixels for one condition."""
EMPTY, FULL = "#e8e8e8", "#8fbdea"
"""No cell and all; both light enough for `CELL_INK`."""


def plot_cells_in(rows: Iterable[CellRow]) -> go.Figure:
    """Draw how many cells of each condition a sweep has at each length, of the most that any condition has there.

    Returns
    -------
    plotly.graph_objects.Figure
        Trace ``cells in``: conditions as rows, by window and G, and lengths as columns.
    """
    rows = list(rows)
    settings = {row.method: as_setting(row) for row in rows}

    def order(method: str) -> tuple[int, int, int]:
        setting = settings[method]
        return (1, setting.neighbor_window, setting.group_size) if setting else (0, 0, 0)

    methods, lengths = sorted(settings, key=order), sorted({row.length for row in rows})
    counts = np.zeros((len(methods), len(lengths)), dtype=int)
    for row in rows:
        counts[methods.index(row.method), lengths.index(row.length)] += 1
    most = counts.max(axis=0, initial=0)
    share = counts / np.maximum(most, 1)
    names = [
        f"G={setting.group_size}, w={setting.neighbor_window}" if (setting := settings[method]) else method
        for method in methods
    ]
    figure = go.Figure(
        go.Heatmap(
            name="cells in",
            x=[f"{length:,}" for length in lengths],
            y=names,
            z=share,
            text=[[f"{count}/{top}" for count, top in zip(line, most, strict=True)] for line in counts],
            texttemplate="%{text}",
            textfont={"color": CELL_INK},
            colorscale=[[0, EMPTY], [1, FULL]],
            zmin=0,
            zmax=1,
            xgap=2,
            ygap=2,
            showscale=False,
            hovertemplate="%{y} at N = %{x}: %{text} cells<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="length N (tokens)", type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return dress(figure, title=_finding(rows, counts, most), height=190 + LINE * max(4, len(methods)))


def _finding(rows: list[CellRow], counts: np.ndarray, most: np.ndarray) -> str:
    if not rows:
        return "No cell yet"
    missing = int((most - counts).sum())
    failing = sum(row.expected_failure for row in rows)
    rest = f", {missing} fewer than if all conditions had as many" if missing else ", as many of each condition"
    return f"{len(rows)} cells are in{rest}; {failing} of them lie beyond their setting's reach"
