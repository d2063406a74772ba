"""Which head to look at: how often each head's far logits leave the range training gave it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.experiments.rows import HeadRow
from selfextend_viz.plots.theme import CELL_INK, DOUBTFUL, FAILING, HELPED, MIDDLE, RIGHT, dress, finite, label


@dataclass(frozen=True)
class OutlierGrid:
    """Outlier share by layer (rows) and head (columns), object ``[layers, heads]``, ``None`` where not measured."""

    layers: tuple[int, ...]
    heads: tuple[int, ...]
    stock: NDArray[np.object_]
    method: NDArray[np.object_]


def worst_head(rows: Iterable[Any]) -> tuple[int, int]:
    """The (layer, head) whose far logits most often leave the head's own trained range under stock.

    Raises
    ------
    ValueError
        If there is no head row.
    """
    heads = [row for row in rows if isinstance(row, HeadRow)]
    if not heads:
        raise ValueError("0 head rows among the rows; name a layer and a head, or give divergence's head rows too")
    worst = max(heads, key=lambda row: finite(row.outlier_share_stock) or 0.0)
    return worst.layer, worst.head


def outlier_grid(rows: Iterable[Any]) -> OutlierGrid:
    """Arrange :class:`~selfextend_viz.experiments.rows.HeadRow` into layers x heads grids."""
    found = [row for row in rows if isinstance(row, HeadRow)]
    layers, heads = sorted({row.layer for row in found}), sorted({row.head for row in found})
    stock, method = (np.full((len(layers), len(heads)), None, dtype=object) for _ in range(2))
    for row in found:
        cell = layers.index(row.layer), heads.index(row.head)
        stock[cell], method[cell] = finite(row.outlier_share_stock), finite(row.outlier_share_method)
    return OutlierGrid(tuple(layers), tuple(heads), stock, method)


CHANCE = 0.001
FLOOR = CHANCE / 2
"""Shares below half of chance are drawn as half of chance: a logarithm has no zero."""


def plot_outlier_grid(rows: Iterable[Any], *, layer: int | None = None, head: int | None = None) -> go.Figure:
    """Draw, layers x heads, how often far logits leave the head's own trained range: stock beside the method.

    Parameters
    ----------
    rows
        The rows of ``divergence``.
    layer, head
        The head to outline; when left out, the one with the largest share under stock.

    Returns
    -------
    plotly.graph_objects.Figure
        Heatmaps ``stock`` and ``method`` (x head, y layer), each followed by the outline ``"<name> chosen edge"`` and
        ``"<name> chosen"``.

    Raises
    ------
    ValueError
        If there are no head rows.
    """
    rows = list(rows)
    chosen = worst_head(rows) if layer is None or head is None else (layer, head)
    data = outlier_grid(rows)
    figure = go.Figure(
        data=[
            trace
            for name, shares, axes in (("stock", data.stock, ("x", "y")), ("method", data.method, ("x2", "y2")))
            for trace in (_shares(name, data, shares, axes), *_chosen(name, chosen, axes))
        ],
        layout={"coloraxis": _share_axis(), **_grid_axes(data)},
    )
    heading: dict[str, Any] = {"y": 1, "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
    figure.update_layout(
        annotations=[
            label("<b>stock</b>", x=0, xref="x domain", **heading),
            label("<b>with the method</b>", x=0, xref="x2 domain", **heading),
        ]
    )
    worst = [
        max((share for share in shares.ravel() if share is not None), default=0.0)
        for shares in (data.stock, data.method)
    ]
    title = f"Worst head: {worst[0]:.1%} of far logits outside its trained range; with the method {worst[1]:.1%}"
    return dress(figure, title=title, subtitle="chance is 0.1%", height=170 + 34 * max(4, min(len(data.layers), 12)))


def _shares(name: str, data: OutlierGrid, shares: NDArray[np.object_], axes: tuple[str, str]) -> go.Heatmap:
    logs = np.array([[None if s is None else math.log10(max(s, FLOOR)) for s in row] for row in shares], dtype=object)
    small = len(data.heads) <= 8
    return go.Heatmap(
        name=name,
        x=list(data.heads),
        y=list(data.layers),
        z=logs,
        text=[["" if s is None else f"{s:.1%}" for s in row] for row in shares],
        texttemplate="%{text}" if small else None,
        textfont={"color": CELL_INK},
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        hovertemplate="layer %{y}, head %{x}: %{text} of far logits<extra></extra>",
        xaxis=axes[0],
        yaxis=axes[1],
    )


def _chosen(name: str, chosen: tuple[int, int], axes: tuple[str, str]) -> list[go.Scatter]:
    layer, head = chosen
    outlines = (("chosen edge", "#10141f", 6), ("chosen", "#ffffff", 2.5))
    return [
        go.Scatter(
            name=f"{name} {mark}",
            x=[head - 0.5, head + 0.5, head + 0.5, head - 0.5, head - 0.5],
            y=[layer - 0.5, layer - 0.5, layer + 0.5, layer + 0.5, layer - 0.5],
            mode="lines",
            line={"color": color, "width": width},
            hoverinfo="skip",
            showlegend=False,
            xaxis=axes[0],
            yaxis=axes[1],
        )
        for mark, color, width in outlines
    ]


def _share_axis() -> dict[str, Any]:
    ticks = [FLOOR, CHANCE, 0.01, 0.1, 1.0]
    return {
        "colorscale": [[0.0, RIGHT], [0.09, HELPED], [0.4, MIDDLE], [0.75, DOUBTFUL], [1.0, FAILING]],
        "cmin": math.log10(FLOOR),
        "cmax": 0,
        "colorbar": {
            "title": {"text": "outlier share", "side": "right"},
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": ["< chance", "chance", "1%", "10%", "all"],
            "thickness": 12,
            "outlinewidth": 0,
        },
    }


def _grid_axes(data: OutlierGrid) -> dict[str, Any]:
    ticks = {"tickmode": "linear" if len(data.heads) <= 12 else "auto", "showgrid": False, "title": {"text": "head"}}
    layers = {"autorange": "reversed", "showgrid": False, "tickmode": "linear" if len(data.layers) <= 12 else "auto"}
    return {
        "xaxis": {**ticks, "domain": [0, 0.47], "anchor": "y"},
        "yaxis": {**layers, "anchor": "x", "title": {"text": "layer"}},
        "xaxis2": {**ticks, "domain": [0.53, 1], "anchor": "y2"},
        "yaxis2": {**layers, "anchor": "x2", "showticklabels": False},
    }
