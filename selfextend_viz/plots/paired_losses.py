"""The paired loss of a sweep: each condition minus stock on the last L tokens, on the same target tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots.theme import INK, Style, condition_styles, dress, label
from selfextend_viz.positions import whole_number
from selfextend_viz.sweeps.cells import PERPLEXITY
from selfextend_viz.sweeps.rows import CellRow

Z_95 = 1.959964
CLOSE = 0.075
"""Names at the curves' ends stand at least this share of the height apart."""


def paired_losses(
    rows: Iterable[CellRow], conditions: Sequence[str] | None = None
) -> dict[str, list[tuple[int, float, float]]]:
    """For each condition ``(N, difference, half of its 95 % interval)`` by rising N, seeds joined by inverse variance.

    Where one seed has no error, seeds are averaged and the half is nan.
    """
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for row in rows:
        if row.task == PERPLEXITY and row.difference is not None:
            error = math.nan if row.difference_error is None else row.difference_error
            found.setdefault((row.method, row.length), []).append((row.difference, error))
    curves: dict[str, list[tuple[int, float, float]]] = {}
    for (method, length), seeds in sorted(found.items(), key=lambda item: item[0][1]):
        if conditions is None or method in conditions:
            curves.setdefault(method, []).append((length, *_joined(seeds)))
    return curves


def _joined(seeds: Sequence[tuple[float, float]]) -> tuple[float, float]:
    if all(error > 0 for _, error in seeds):
        weights = [1 / error**2 for _, error in seeds]
        mean = sum(weight * value for weight, (value, _) in zip(weights, seeds, strict=True)) / sum(weights)
        return mean, Z_95 / math.sqrt(sum(weights))
    exact = all(error == 0 for _, error in seeds)
    return sum(value for value, _ in seeds) / len(seeds), 0.0 if exact else math.nan


def plot_paired_losses(
    rows: Iterable[CellRow], *, context_length: int, conditions: Sequence[str] | None = None
) -> go.Figure:
    """Draw loss minus stock on the last L tokens by length, with 95 % intervals; 0 is what stock does within L.

    Parameters
    ----------
    rows
        Of a sweep of one model with the task ``perplexity``.
    context_length
        L.
    conditions
        Labels to draw, such as ``"stock"`` and ``str(SelfExtend(8, 64))``; all when left out.

    Returns
    -------
    plotly.graph_objects.Figure
        Trace ``L``, then one for each condition.

    Raises
    ------
    TypeError, ValueError
        If L is no whole number, or there is nothing to draw.
    """
    whole_number("context_length", context_length)
    curves = paired_losses(rows, conditions)
    if not curves:
        raise ValueError("0 rows of the task perplexity to draw; sweep it first, or name other conditions")
    styles = condition_styles(list(curves))
    values = [value for curve in curves.values() for _, value, _ in curve]
    figure = go.Figure(data=[_limit(context_length, values)])
    figure.add_traces([_curve(name, curve, styles[name]) for name, curve in curves.items()])
    lengths = sorted({length for curve in curves.values() for length, _, _ in curve})
    figure.update_xaxes(
        type="log",
        domain=[0, 0.78],
        title_text="length N (tokens seen up to the target)",
        tickvals=lengths,
        ticktext=[f"{length:,}" for length in lengths],
    )
    figure.update_yaxes(title_text="nats a token", zeroline=True, zerolinecolor=INK)
    figure.update_layout(annotations=_names(curves, styles, context_length))
    subtitle = "loss minus stock on the last L tokens, the same targets at every length, 95 % intervals over texts"
    return dress(figure, title=_finding(curves), subtitle=subtitle)


def _limit(context_length: int, values: Sequence[float]) -> go.Scatter:
    line = {"color": INK, "width": 2}
    ends = [min(0.0, *values), max(values)]
    return go.Scatter(
        name="L", x=[context_length] * 2, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False
    )


def _curve(name: str, curve: Sequence[tuple[int, float, float]], style: Style) -> go.Scatter:
    halves = [0.0 if math.isnan(half) else half for _, _, half in curve]
    return go.Scatter(
        name=name,
        x=[length for length, _, _ in curve],
        y=[value for _, value, _ in curve],
        error_y={"array": halves, "color": style.color, "thickness": 1.5, "width": 4},
        customdata=halves,
        mode="lines+markers",
        line={"color": style.color, "width": 2.5, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 9},
        hovertemplate="%{x:,} tokens: %{y:+.3f} ± %{customdata:.3f} nats a token<extra>" + name + "</extra>",
        showlegend=False,
    )


def _names(
    curves: dict[str, list[tuple[int, float, float]]], styles: dict[str, Style], context_length: int
) -> list[dict[str, object]]:
    """Each condition at the end of its curve, pushed apart where ends are close."""
    values = [value for curve in curves.values() for _, value, _ in curve]
    apart = CLOSE * max(max(values) - min(values), 1e-3)
    names = [label(f"L = {context_length:,}", x=math.log10(context_length), y=1, yref="paper", yanchor="bottom")]
    lowest = -math.inf
    for name, curve in sorted(curves.items(), key=lambda item: item[1][-1][1]):
        length, value, _ = curve[-1]
        lowest = max(value, lowest + apart)
        font = {"color": styles[name].color, "size": 12}
        place: dict[str, Any] = {"xanchor": "left", "xshift": 12, "font": font}
        names.append(label(name.replace("SelfExtend(", "").rstrip(")"), x=math.log10(length), y=lowest, **place))
    return names


def _finding(curves: dict[str, list[tuple[int, float, float]]]) -> str:
    longest = max(curve[-1][0] for curve in curves.values())
    ends = {name: curve[-1] for name, curve in curves.items() if curve[-1][0] == longest}
    best = min(ends, key=lambda name: ends[name][1])
    return f"At {longest:,} tokens {best} loses least: {ends[best][1]:+.3f} nats a token"
