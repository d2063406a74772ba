"""What Self-Extend costs beside plain attention, by length, and how near both are to the device's own limit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.bench.rows import LIMIT, PLAIN, PREFILL, BenchRow, Row, Summary, over_runs
from selfextend_viz.plots.theme import INK, METHOD_STYLES, REFERENCE_COLOR, STOCK_COLOR, Style, dress, label

__all__ = ["plot_ratios"]

OTHERS = Style(REFERENCE_COLOR, "dot", "circle")
GAP = 0.08
BELOW = {"y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"}
"""Many contestants take more than one line in a narrow page, which above the panels would run into the subtitle."""


def plot_ratios(rows: Iterable[Row], *, limit: bool = False) -> go.Figure:
    """Draw the time of prefill in units of plain attention's, by length: one panel for each shape of heads.

    Parameters
    ----------
    rows
        Rows of one benchmark; other kinds are passed over.
    limit
        Also draw the least time that the device allows, from its measured rates.

    Returns
    -------
    plotly.graph_objects.Figure
        For each shape a trace ``"plain"`` at 1, one for each contestant and, if asked for, ``"limit"``. Whiskers span
        the runs.

    Raises
    ------
    ValueError
        If there is no prefill to draw.
    """
    prefill = [row for row in rows if isinstance(row, BenchRow) and row.kind == PREFILL]
    found = [row for row in over_runs(prefill) if limit or row.contestant != LIMIT]
    if not any(row.contestant not in (PLAIN, LIMIT) for row in found):
        raise ValueError("there is no prefill row of a contestant to compare with plain attention")
    shapes = list(dict.fromkeys(row.shape for row in found))
    labels = list(dict.fromkeys(row.label for row in found if row.contestant not in (PLAIN, LIMIT)))
    styles = {name: METHOD_STYLES[place % len(METHOD_STYLES)] for place, name in enumerate(labels)}
    figure = go.Figure()
    for place, shape in enumerate(shapes):
        figure.add_traces(_panel([row for row in found if row.shape == shape], styles, place))
    figure.update_layout(**_axes(found, shapes), annotations=_names(shapes), showlegend=True, legend=BELOW)
    title, subtitle = _words(found)
    return dress(figure, title=title, subtitle=subtitle)


def _panel(rows: list[Summary], styles: dict[str, Style], place: int) -> list[go.Scatter]:
    curves: dict[str, list[Summary]] = {}
    for row in rows:
        curves.setdefault(row.label, []).append(row)
    return [_curve(name, members, styles, place) for name, members in curves.items()]


def _curve(name: str, members: list[Summary], styles: dict[str, Style], place: int) -> go.Scatter:
    members = sorted(members, key=lambda row: row.length)
    known = {PLAIN: Style(STOCK_COLOR, "solid", "circle"), LIMIT: OTHERS}
    style = known.get(name) or styles[name]
    axis = "" if place == 0 else str(place + 1)
    return go.Scatter(
        name=name,
        x=[row.length for row in members],
        y=[row.ratio for row in members],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [row.highest - row.ratio for row in members],
            "arrayminus": [row.ratio - row.lowest for row in members],
            "thickness": 1,
        },
        customdata=[[1000 * row.value, row.runs] for row in members],
        mode="lines+markers",
        line={"color": style.color, "width": 2, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 7},
        hovertemplate="N = %{x:,}: %{y:.3f} x plain, %{customdata[0]:.3g} ms"
        "<br>runs: %{customdata[1]}<extra>" + name + "</extra>",
        xaxis=f"x{axis}",
        yaxis=f"y{axis}",
        legendgroup=name,
        showlegend=place == 0,
    )


def _axes(rows: list[Summary], shapes: list[str]) -> dict[str, Any]:
    lengths = sorted({row.length for row in rows})
    top = 1.05 * max(max(row.highest for row in rows), 1.0)
    width = (1 - GAP * (len(shapes) - 1)) / len(shapes)
    layout: dict[str, Any] = {}
    for place, _ in enumerate(shapes):
        axis = "" if place == 0 else str(place + 1)
        begin = place * (width + GAP)
        layout[f"xaxis{axis}"] = {
            "type": "log",
            "domain": [begin, begin + width],
            "anchor": f"y{axis}",
            "title": {"text": "N (tokens)"},
            "tickvals": lengths,
            "ticktext": [f"{length:,}" for length in lengths],
            "range": [math.log10(lengths[0] * 0.85), math.log10(lengths[-1] * 1.18)],
        }
        layout[f"yaxis{axis}"] = {"anchor": f"x{axis}", "range": [0, top]}
    layout["yaxis"]["title"] = {"text": "time ÷ plain attention's"}
    return layout


def _names(shapes: list[str]) -> list[dict[str, Any]]:
    width = (1 - GAP * (len(shapes) - 1)) / len(shapes)
    return [
        label(
            f"<b>{shape}</b>",
            x=place * (width + GAP) + width,
            y=0.02,
            xref="paper",
            yref="paper",
            xanchor="right",
            yanchor="bottom",
            font={"color": INK},
        )
        for place, shape in enumerate(shapes)
    ]


def _words(rows: list[Summary]) -> tuple[str, str]:
    """The title, which is our best at the longest length, and what the ratio is."""
    own = [row for row in rows if row.contestant in ("flash", "fused")]
    same = "prefill with RoPE, time in units of plain causal attention's of the same round"
    if not own:
        return "Prefill beside plain attention", same
    longest = max(row.length for row in own)
    best = min((row for row in own if row.length == longest), key=lambda row: row.ratio)
    return f"At {longest:,} tokens Self-Extend takes {best.ratio:.2f} x plain attention ({best.label})", same
