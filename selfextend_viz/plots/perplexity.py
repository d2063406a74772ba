"""Loss by context length on the same target tokens: who breaks past L, and who holds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PerplexityRow
from selfextend_viz.plots.theme import INK, Style, condition_styles, dress, faded, finite, label
from selfextend_viz.positions import whole_number

Z_95 = 1.959964


@dataclass(frozen=True)
class LossCurve:
    """One condition's losses by context length: mean in nats a token, and the ends of its 95 % interval.

    ``details`` are hover texts, with perplexity and the paired difference to stock on the last L tokens.
    """

    condition: str
    context_lengths: tuple[int, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    details: tuple[str, ...]


def loss_curves(rows: Iterable[PerplexityRow]) -> list[LossCurve]:
    """Arrange perplexity rows into one curve for each condition, lengths ascending."""
    by_condition: dict[str, list[PerplexityRow]] = {}
    for row in rows:
        by_condition.setdefault(row.condition, []).append(row)
    curves = []
    for condition, members in by_condition.items():
        members.sort(key=lambda row: row.context_length)
        error = [finite(row.nll_error) or 0.0 for row in members]
        curves.append(
            LossCurve(
                condition,
                tuple(row.context_length for row in members),
                tuple(finite(row.nll) for row in members),
                tuple(finite(row.nll - Z_95 * e) for row, e in zip(members, error, strict=True)),
                tuple(finite(row.nll + Z_95 * e) for row, e in zip(members, error, strict=True)),
                tuple(_details(row) for row in members),
            )
        )
    return curves


def _details(row: PerplexityRow) -> str:
    text = f"{row.nll:.3f} nats a token (perplexity {row.perplexity:.2f})"
    if finite(row.difference) is not None:
        text += f"<br>{row.difference:+.3f} ± {Z_95 * row.difference_error:.3f} against stock on the last L tokens"
    return f"{text}<br>{row.targets:,} targets in {row.texts} texts"


def plot_perplexity(rows: Iterable[PerplexityRow], *, context_length: int) -> go.Figure:
    """Draw loss by context length with 95 % intervals, each condition named at its end, L marked.

    Parameters
    ----------
    rows
        Perplexity rows of one experiment.
    context_length
        L.

    Returns
    -------
    plotly.graph_objects.Figure
        Trace ``L``, then for each condition ``"<condition> interval"`` and ``"<condition>"``.

    Raises
    ------
    ValueError
        If there are no rows, or L is below 1.
    """
    rows = list(rows)
    whole_number("context_length", context_length)
    if not rows:
        raise ValueError("0 perplexity rows; give at least one")
    curves = loss_curves(rows)
    styles = condition_styles([curve.condition for curve in curves])
    figure = go.Figure()
    figure.add_traces([_limit(curves, context_length)])
    for curve in curves:
        figure.add_traces(_traces(curve, styles[curve.condition]))
    lengths = sorted({length for curve in curves for length in curve.context_lengths})
    figure.update_xaxes(
        type="log",
        domain=[0, 0.8],
        title_text="context length (tokens seen up to the target)",
        tickvals=lengths,
        ticktext=[f"{length:,}" for length in lengths],
        range=[math.log10(lengths[0] * 0.92), math.log10(lengths[-1] * 1.08)],
    )
    figure.update_yaxes(title_text="loss (nats a token)")
    figure.update_layout(annotations=_names(curves, styles, context_length))
    title, subtitle = _words(rows, context_length)
    return dress(figure, title=title, subtitle=subtitle)


def _limit(curves: list[LossCurve], context_length: int) -> go.Scatter:
    """The line at L, over the height of the intervals."""
    low = [value for curve in curves for value in curve.low if value is not None]
    high = [value for curve in curves for value in curve.high if value is not None]
    return go.Scatter(
        name="L",
        x=[context_length] * 2,
        y=[min(low, default=0.0), max(high, default=1.0)],
        mode="lines",
        line={"color": INK, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )


def _traces(curve: LossCurve, style: Style) -> list[go.Scatter]:
    interval = go.Scatter(
        name=f"{curve.condition} interval",
        x=[*curve.context_lengths, *curve.context_lengths[::-1]],
        y=[*curve.high, *curve.low[::-1]],
        fill="toself",
        fillcolor=faded(style.color, 0.25),
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )
    line = go.Scatter(
        name=curve.condition,
        x=list(curve.context_lengths),
        y=list(curve.mean),
        customdata=list(curve.details),
        mode="lines+markers",
        line={"color": style.color, "width": 3, "dash": style.dash},
        marker={"symbol": style.symbol, "size": 9},
        hovertemplate="%{x:,} tokens: %{customdata}<extra>" + curve.condition + "</extra>",
        showlegend=False,
    )
    return [interval, line]


def _names(curves: list[LossCurve], styles: dict[str, Style], context_length: int) -> list[dict[str, object]]:
    """Each condition's name at the end of its curve, pushed apart where the ends are close."""
    tops = [value for curve in curves for value in curve.high if value is not None]
    lows = [value for curve in curves for value in curve.low if value is not None]
    apart = (max(tops, default=1.0) - min(lows, default=0.0)) * 0.075
    names: list[dict[str, object]] = [
        label(f"L = {context_length:,}", x=math.log10(context_length), y=1, yref="paper", yanchor="bottom")
    ]
    lowest = -math.inf
    for curve in sorted(curves, key=lambda curve: curve.mean[-1] or 0.0):
        height = max(curve.mean[-1] or 0.0, lowest + apart)
        lowest = height
        names.append(
            label(
                f"<b>{curve.condition}</b>",
                x=math.log10(curve.context_lengths[-1]),
                y=height,
                xanchor="left",
                xshift=14,
                font={"color": styles[curve.condition].color},
            )
        )
    return names


def _words(rows: list[PerplexityRow], context_length: int) -> tuple[str, str]:
    """The title, which is the finding at the longest context, and the line under it, which compares the others."""
    longest = max(row.context_length for row in rows)
    ends = [row for row in rows if row.context_length == longest and finite(row.difference) is not None]
    same = "the same target tokens at every length"
    if not ends or longest <= context_length:
        return "Loss by context length", same
    first = f"At {longest:,} tokens {ends[0].condition} loses {ends[0].difference:+.2f} nats a token"
    others = [f"{row.condition} {row.difference:+.3f} ± {Z_95 * row.difference_error:.3f}" for row in ends[1:]]
    title = f"{first} against stock on its last {context_length:,}"
    return title, " · ".join([*others, same])
