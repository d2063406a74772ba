"""Loss by position in the text, one forward a candidate: where each stops to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.plots.theme import INK, condition_styles, dress, label
from selfextend_viz.positions import whole_number

BINS = 48
FIRST = 8
"""Tokens before this one have no text to go by, and would stretch the axis."""


def position_losses(losses: Any, *, bins: int = BINS) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean loss in evenly spaced bins of positions.

    Parameters
    ----------
    losses
        Of one text ``[N - 1]`` or of several ``[texts, N - 1]``, as `token_losses` gives them; entry ``n`` is of token
        ``n + 1``.
    bins
        How many, fewer where there are fewer tokens.

    Returns
    -------
    tuple of arrays
        The middle position of each bin, and the mean loss in it.

    Raises
    ------
    TypeError, ValueError
        If `bins` is no whole number >= 1, or there are not more than eight tokens.
    """
    whole_number("bins", bins)
    found = np.atleast_2d(np.asarray(losses, dtype=np.float64))
    tokens = found.shape[1] + 1
    if found.ndim != 2 or tokens <= FIRST + 1:
        raise ValueError(f"losses of {tokens} tokens cannot be drawn by position; give texts of more than {FIRST + 1}")
    edges = np.unique(np.linspace(FIRST, found.shape[1], min(bins, tokens - 1 - FIRST) + 1).round().astype(int))
    means = [found[:, start:stop].mean() for start, stop in zip(edges, edges[1:], strict=False)]
    return (edges[:-1] + edges[1:] + 1) / 2, np.array(means)


def plot_position_losses(
    losses: Mapping[str, Any],
    *,
    context_length: int,
    reach: Mapping[str, int] | None = None,
    bins: int = BINS,
) -> go.Figure:
    """Draw the loss of every candidate by position in the text, with L and each reach.

    Parameters
    ----------
    losses
        By label, such as ``"stock"`` and ``str(method)``, what `token_losses` gives for one text or the same texts.
    context_length
        L.
    reach
        Exact reach for labels that have one; marked where the text is longer.
    bins
        See :func:`position_losses`.

    Returns
    -------
    plotly.graph_objects.Figure
        Trace ``L``, then for each label a line, and a marker ``"<label> reach"``.

    Raises
    ------
    TypeError, ValueError
        If there are no losses, or a number is out of range.

    Examples
    --------
    >>> plot_position_losses({str(m): token_losses(model, ids, method=m) for m in methods}, context_length=4096)
    """
    whole_number("context_length", context_length)
    if not losses:
        raise ValueError("0 candidates to draw; give at least one")
    curves = {name: position_losses(values, bins=bins) for name, values in losses.items()}
    styles = condition_styles(list(curves))
    top = max(float(mean.max()) for _, mean in curves.values())
    last = max(float(place[-1]) for place, _ in curves.values())
    figure = go.Figure()
    figure.add_scatter(
        name="L",
        x=[context_length] * 2 if context_length <= last else [],
        y=[0, top] if context_length <= last else [],
        mode="lines",
        line={"color": INK, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )
    for name, (place, mean) in curves.items():
        style = styles[name]
        figure.add_scatter(
            name=name,
            x=place,
            y=mean,
            mode="lines",
            line={"color": style.color, "width": 2.5, "dash": style.dash},
            hovertemplate="near token %{x:,.0f}: %{y:.2f} nats<extra>" + name + "</extra>",
            showlegend=False,
        )
        end = (reach or {}).get(name)
        shown = end is not None and end <= place[-1]
        figure.add_scatter(
            name=f"{name} reach",
            x=[end] if shown else [],
            y=[float(np.interp(end or 0, place, mean))] if shown else [],
            mode="markers",
            marker={"symbol": style.symbol, "size": 12, "color": style.color, "line": {"color": INK, "width": 1}},
            hovertemplate=f"{name}<br>reaches " + "%{x:,} tokens<extra></extra>",
            showlegend=False,
        )
    figure.update_xaxes(title_text="position in the text (tokens)", domain=[0, 0.82], range=[0, last])
    figure.update_yaxes(title_text="loss (nats a token)", rangemode="tozero")
    names = _names(curves, {name: styles[name].color for name in curves}, top)
    limit = f"L = {context_length:,}" if context_length <= last else ""
    figure.update_layout(annotations=[label(limit, x=context_length, y=1, yref="paper", yanchor="bottom"), *names])
    return dress(figure, title=_finding(curves), subtitle="mean loss in bins of positions · a marker: the exact reach")


def _names(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]], colors: Mapping[str, str], top: float
) -> Sequence[dict[str, Any]]:
    names, lowest = [], -np.inf
    for name, (place, mean) in sorted(curves.items(), key=lambda item: float(item[1][1][-1])):
        lowest = max(float(mean[-1]), lowest + 0.065 * top)
        words = name.replace("SelfExtend(", "").rstrip(")")
        font = {"color": colors[name], "size": 12}
        names.append(label(words, x=float(place[-1]), y=lowest, xanchor="left", xshift=8, font=font))
    return names


def _finding(curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> str:
    ends = {name: float(mean[-1]) for name, (_, mean) in curves.items()}
    best, worst = min(ends, key=ends.__getitem__), max(ends, key=ends.__getitem__)
    if best == worst:
        return f"Loss by position: {best}"
    return f"At the text's end {best} loses {ends[best]:.2f} nats a token, {worst} {ends[worst]:.2f}"
