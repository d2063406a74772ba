"""Sensitivity by layer: what a method mends in one layer alone, and what breaks without that layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import ALL, ALL_BUT, ALONE, NONE, LayerRow
from selfextend_viz.plots.theme import INK, METHOD_COLOR, STOCK_COLOR, dress, label

ASIDE = 0.12
"""Half the distance of a layer's two marks."""


def plot_layer_sensitivity(rows: Iterable[LayerRow]) -> go.Figure:
    """Draw the right answers with the method in each layer alone, and in all but it, with 95 % intervals.

    Parameters
    ----------
    rows
        From `layer_sensitivity`.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``none`` and ``all`` (lines), ``alone`` and ``all but`` (marks), always these four.

    Raises
    ------
    ValueError
        If no row is of a layer.
    """
    rows = list(rows)
    layers = sorted({row.layer for row in rows if row.layer is not None})
    if not layers:
        raise ValueError("0 rows are of a layer; layer_sensitivity yields them")
    ends = [layers[0] - 0.5, layers[-1] + 0.5]
    figure = go.Figure(
        data=[
            _level(rows, NONE, STOCK_COLOR, ends),
            _level(rows, ALL, METHOD_COLOR, ends),
            _marks(rows, ALONE, METHOD_COLOR, "diamond", -ASIDE),
            _marks(rows, ALL_BUT, STOCK_COLOR, "circle-open", ASIDE),
        ]
    )
    figure.update_xaxes(title_text="layer", tickvals=layers, range=ends, showgrid=False, domain=[0, 0.84])
    figure.update_yaxes(title_text="right answers", tickformat=".0%", range=[-0.06, 1.08])
    figure.update_layout(annotations=_names(rows, ends[1]))
    figure.update_layout(legend={"y": 1.02})
    length = rows[0].length
    subtitle = f"N = {length:,} · {_lent(rows)}, lent to one layer alone ◆ and to all but one ○, 95 % intervals"
    return dress(figure, title=_finding(rows, layers), subtitle=subtitle)


def _lent(rows: list[LayerRow]) -> str:
    return next((row.condition for row in rows if row.where == ALL), "the method")


def _level(rows: list[LayerRow], where: str, color: str, ends: list[float]) -> go.Scatter:
    known = [row.accuracy for row in rows if row.where == where]
    return go.Scatter(
        name=where,
        x=ends if known else [],
        y=known * 2,
        mode="lines",
        line={"color": color, "width": 2, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )


def _marks(rows: list[LayerRow], where: str, color: str, symbol: str, aside: float) -> go.Scatter:
    members = sorted((row for row in rows if row.where == where), key=lambda row: row.layer or 0)
    return go.Scatter(
        name=where,
        x=[(row.layer or 0) + aside for row in members],
        y=[row.accuracy for row in members],
        error_y={
            "array": [row.high - row.accuracy for row in members],
            "arrayminus": [row.accuracy - row.low for row in members],
            "color": color,
            "thickness": 1.5,
            "width": 4,
        },
        customdata=[f"layer {row.layer} {where}: {row.exact} of {row.trials}" for row in members],
        mode="markers",
        marker={"symbol": symbol, "size": 12, "color": color, "line": {"width": 2, "color": color}},
        hovertemplate="%{customdata} right<extra></extra>",
        showlegend=False,
    )


def _names(rows: list[LayerRow], right: float) -> list[dict[str, object]]:
    names = {NONE: ("stock", STOCK_COLOR), ALL: ("all layers", METHOD_COLOR)}
    found = []
    for row in rows:
        if row.where in names:
            words, color = names[row.where]
            place: dict[str, Any] = {"xanchor": "left", "xshift": 8, "font": {"color": color or INK}}
            found.append(label(f"<b>{words}</b>", x=right, y=row.accuracy, **place))
    return found


def _finding(rows: list[LayerRow], layers: list[int]) -> str:
    by_place = {(row.where, row.layer): row.accuracy for row in rows}
    needed = min(layers, key=lambda layer: by_place.get((ALL_BUT, layer), 1.0))
    alone = max(layers, key=lambda layer: by_place.get((ALONE, layer), 0.0))
    return (
        f"Without layer {needed} {by_place.get((ALL_BUT, needed), 1.0):.0%} are right; "
        f"layer {alone} alone gives {by_place.get((ALONE, alone), 0.0):.0%}"
    )
