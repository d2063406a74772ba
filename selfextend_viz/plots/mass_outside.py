"""How much attention falls where training never was, beside what attention without any preference would put there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.comparison_rows import MassRow
from selfextend_viz.plots.theme import INK, condition_styles, dress, faded

HEAD, FOOT, BAR, GAP = 108, 56, 17, 12
"""Pixels over the bars, under them, of a bar, and between two conditions."""
PALEST = 0.35
AXIS, CHARACTER = 440, 6.6
"""Pixels of the axis where the names take much of a page, and of a letter of the numbers."""


def plot_mass_outside(rows: Iterable[MassRow]) -> go.Figure:
    """Draw each condition's attention mass outside the trained range, a bar for each length.

    Parameters
    ----------
    rows
        Rows of `compare`; of two rows for one condition and length the later one counts.

    Returns
    -------
    plotly.graph_objects.Figure
        For each length, ascending, the traces ``"N = <length>"`` (bars: the mass) and ``"N = <length> uniform"``
        (ticks: what uniform attention over the keys seen would put there); y is the condition.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    cells = {(row.condition, row.length): row for row in rows}
    if not cells:
        raise ValueError("0 rows of attention mass; give at least one")
    conditions = list(dict.fromkeys(condition for condition, _ in cells))
    lengths = sorted({length for _, length in cells})
    most = max(max(row.outside, row.uniform) for row in cells.values())
    end = min(1.12, 1.15 * max(most, 0.01))
    figure = go.Figure()
    for number, length in enumerate(lengths):
        shown = [cells[condition, length] for condition in conditions if (condition, length) in cells]
        strength = 1 if len(lengths) == 1 else PALEST + (1 - PALEST) * number / (len(lengths) - 1)
        figure.add_traces(_traces(shown, f"N = {length:,}", strength, conditions, end))
    figure.update_layout(
        barmode="group",
        scattermode="group",
        bargap=GAP / (GAP + BAR * len(lengths)),
        scattergap=GAP / (GAP + BAR * len(lengths)),
        xaxis={
            "title": {"text": "attention mass told L or more"},
            "range": [0, end],
            "tickformat": ".0%" if most >= 0.05 else ".2%",
        },
        yaxis={
            "autorange": "reversed",
            "categoryorder": "array",
            "categoryarray": conditions,
            "showgrid": False,
            "tickfont": {"size": 11.5},
        },
    )
    title, subtitle = _words(cells, conditions, lengths)
    height = HEAD + FOOT + max(3, len(conditions)) * (GAP + BAR * len(lengths))
    return dress(figure, title=title, subtitle=subtitle, height=height).update_layout(
        margin={"t": HEAD, "b": FOOT, "r": 40}
    )


def _traces(rows: list[MassRow], name: str, strength: float, conditions: list[str], end: float) -> list[Any]:
    styles = condition_styles(conditions)
    crossed = [row.outside < row.uniform <= row.outside + _width(row, end) for row in rows]
    shared: dict[str, Any] = {
        "y": [row.condition for row in rows],
        "offsetgroup": name,
        "customdata": [_details(row) for row in rows],
        "hovertemplate": "%{customdata}<extra></extra>",
        "showlegend": False,
    }
    bars = go.Bar(
        name=name,
        x=[row.outside for row in rows],
        orientation="h",
        marker={"color": [faded(styles[row.condition].color, round(strength, 3)) for row in rows]},
        text=[_number(row) for row in rows],
        textposition=["none" if behind else "outside" for behind in crossed],
        textfont={"size": 11, "color": INK},
        cliponaxis=False,
        **shared,
    )
    ticks = go.Scatter(
        name=f"{name} uniform",
        x=[row.uniform for row in rows],
        orientation="h",
        mode="markers+text",
        text=[_number(row) if behind else "" for row, behind in zip(rows, crossed, strict=True)],
        textposition="middle right",
        textfont={"size": 11, "color": INK},
        marker={"symbol": "line-ns", "size": 11, "color": INK, "line": {"width": 3, "color": INK}},
        cliponaxis=False,
        **shared,
    )
    return [bars, ticks]


def _number(row: MassRow) -> str:
    return f"{_percent(row.outside)} at {row.length:,}"


def _width(row: MassRow, end: float) -> float:
    """How far the number at a bar's end goes along the axis; where the tick would cross it, it stands behind that."""
    return (len(_number(row)) * CHARACTER + 8) / AXIS * end


def _details(row: MassRow) -> str:
    slower = f"<br>distances divided by {row.slowdown:.3g}, as its frequencies are" if row.slowdown != 1 else ""
    return (
        f"<b>{row.condition}</b>, {row.length:,} tokens<br>{_percent(row.outside)} outside the trained range "
        f"(uniform attention: {_percent(row.uniform)})<br>{_percent(row.worst)} in the worst of {row.heads} heads<br>"
        f"{row.queries} queries in each of {row.texts} texts{slower}"
    )


def _percent(share: float) -> str:
    return "0" if share == 0 else "under 0.1%" if share < 0.001 else f"{100 * share:.3g}%"


def _words(cells: dict[tuple[str, int], MassRow], conditions: list[str], lengths: list[int]) -> tuple[str, str]:
    """The title, which is the worst and the best at the longest length, and what the ticks are."""
    last = [cells[condition, lengths[-1]] for condition in conditions if (condition, lengths[-1]) in cells]
    worst = max(last, key=lambda row: row.outside)
    inside = sum(row.outside == 0 for row in last)
    title = f"At {lengths[-1]:,} tokens no attention falls outside the trained range"
    if worst.outside > 0:
        title = (
            f"At {lengths[-1]:,} tokens {worst.condition} puts {_percent(worst.outside)} of its attention where "
            f"training never was; {inside} of {len(last)} put none"
        )
    return title, (
        "bar: mean over heads, queries and texts, darker for longer texts<br>"
        "tick: what uniform attention over the keys seen would put there"
    )
