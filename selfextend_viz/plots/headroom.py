"""Headroom: the largest relative position that each setting uses at N, as a share of L."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots.reach_numbers import RULE_SHARES
from selfextend_viz.plots.theme import HATCH, INK, METHOD_COLOR, NEVER_TRAINED, dress, label
from selfextend_viz.positions import SelfExtend, pair_positions, whole_number


def headroom(setting: SelfExtend, length: int, context_length: int) -> float:
    """The largest relative position that is told among N tokens, plus one, over L: above 1 it was never trained.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1.
    """
    whole_number("length", length)
    whole_number("context_length", context_length)
    window = setting.neighbor_window
    farthest = int(pair_positions(setting, length - 1, 0))
    exact = min(window, length) - 1
    return (max(farthest, exact) + 1) / context_length


def plot_headroom(settings: Iterable[SelfExtend], length: int, *, context_length: int) -> go.Figure:
    """Draw the headroom of settings at N, the most headroom on top, with L and the authors' band.

    Parameters
    ----------
    settings
        What to compare.
    length
        N.
    context_length
        L.

    Returns
    -------
    plotly.graph_objects.Figure
        Trace ``headroom``: bars, hatched where positions were never trained.

    Raises
    ------
    TypeError, ValueError
        If there are no settings, or a length is not a whole number >= 1.
    """
    shares = {setting: headroom(setting, length, context_length) for setting in settings}
    if not shares:
        raise ValueError("0 settings to draw; give at least one")
    ordered = sorted(shares, key=lambda setting: -shares[setting])
    beyond = [shares[setting] > 1 for setting in ordered]
    bars = go.Bar(
        name="headroom",
        orientation="h",
        x=[shares[setting] for setting in ordered],
        y=[f"G={setting.group_size}, w={setting.neighbor_window}" for setting in ordered],
        text=[f"{shares[setting]:.0%}" for setting in ordered],
        textposition="outside",
        cliponaxis=False,
        marker={
            "color": [NEVER_TRAINED if past else METHOD_COLOR for past in beyond],
            "pattern": {"shape": ["/" if past else "" for past in beyond], "fgcolor": HATCH, "solidity": 0.25},
        },
        hovertemplate="%{y}: the farthest token is told %{x:.0%} of L<extra></extra>",
    )
    figure = go.Figure(data=[bars])
    low, high = RULE_SHARES
    figure.add_vrect(x0=low, x1=high, fillcolor="rgba(127, 127, 127, 0.22)", line_width=0, layer="below")
    figure.add_vline(x=1, line={"color": INK, "width": 2})
    top: dict[str, Any] = {"y": 1, "yref": "paper", "yanchor": "bottom"}
    figure.update_layout(
        annotations=[
            label("authors' rule", x=(low + high) / 2, font={"size": 12}, **top),
            label(f"L = {context_length:,}", x=1, font={"size": 12}, **top),
        ]
    )
    figure.update_xaxes(
        title_text="largest relative position over L",
        tickformat=".0%",
        range=[0, max(1.15, 1.12 * max(shares.values()))],
    )
    figure.update_yaxes(showgrid=False)
    fit = len(ordered) - sum(beyond)
    title = f"At N = {length:,} {fit} of {len(ordered)} settings stay within positions that were trained"
    subtitle = "hatched: positions that training never showed"
    return dress(figure, title=title, subtitle=subtitle, height=210 + 30 * len(ordered))
