"""One rotary pair as a circle: the angles that training showed, and where plain RoPE and a method turn it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from selfextend_viz.plots.pair_angles import (
    WHOLE,
    Hand,
    PairAngles,
    hand_words,
    pair_angles,
    pair_sentence,
    shown_words,
)
from selfextend_viz.plots.theme import (
    INK,
    METHOD_COLOR,
    NEVER_TRAINED,
    REFERENCE_COLOR,
    STOCK_COLOR,
    dress,
    faded,
    label,
)
from selfextend_viz.positions import Method

INNER, OUTER = 0.84, 1.0
"""Radii of the ring that shows what training covered."""
STEP = 4.0
"""Degrees between two points of an arc."""
Points = tuple[list[float], list[float]]
MOST_TURNS = 4
"""A way of more turns is drawn with its last so many."""


def plot_rotation(
    inv_freq: Sequence[float], context_length: int, *, pair: int, distance: int, method: Method
) -> go.Figure:
    """Draw the circle of one rotary pair, and its angle for the key ``distance`` tokens back.

    Parameters
    ----------
    inv_freq
        Radians a token, one for each pair of dimensions.
    context_length
        L: training showed the angles of the distances 0 .. L - 1.
    pair
        Number of the pair, from 0, the fastest.
    distance
        d, of token d from token 0.
    method
        Tells another distance, whose angle is drawn too.

    Returns
    -------
    plotly.graph_objects.Figure
        Always these traces: ``trained`` and ``never trained`` (parts of the ring), ``circle``, ``angles``,
        ``plain way``, ``method way``, ``plain`` and ``method`` (the two hands).

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or the method has no bands.
    """
    found = pair_angles(inv_freq, context_length, pair=pair, distance=distance, method=method)
    figure = go.Figure(
        data=[
            _ring("trained", 0, found.shown),
            _ring("never trained", found.shown, WHOLE),
            _stroke("circle", _points(0, WHOLE, OUTER), INK, 1.2),
            _angles(),
            _way("plain way", found.plain, (0.5, 0.74), STOCK_COLOR, "solid"),
            _way("method way", found.mapped, (0.26, 0.42), METHOD_COLOR, "dash"),
            _hand("plain", found.plain, STOCK_COLOR, "circle", "solid"),
            _hand("method", found.mapped, METHOD_COLOR, "diamond", "dash"),
        ],
        layout={**_axes(), "annotations": _legend(found, method)},
    )
    sentence = pair_sentence(inv_freq, context_length, pair=pair, distance=distance, method=method)
    title, _, rest = sentence.partition(": ")
    return dress(figure, title=title[:1].upper() + title[1:], subtitle=rest, height=420)


def _points(start: float, stop: float, radius: float, last_radius: float | None = None) -> Points:
    """Points of an arc, counter-clockwise from the right; of a spiral where its last radius is another."""
    steps = max(2, round((stop - start) / STEP) + 1)
    radii = np.linspace(radius, radius if last_radius is None else last_radius, steps)
    around = np.exp(1j * np.radians(np.linspace(start, stop, steps))) * radii
    return around.real.round(3).tolist(), around.imag.round(3).tolist()


def _stroke(name: str, points: Points, color: str, width: float, **line: Any) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=points[0],
        y=points[1],
        mode="lines",
        line={"color": color, "width": width, **line},
        hoverinfo="skip",
        showlegend=False,
    )


def _ring(name: str, start: float, stop: float) -> go.Scatter:
    """A part of the ring: grey where training was, orange and hatched where it never was."""
    never = name == "never trained"
    color = NEVER_TRAINED if never else REFERENCE_COLOR
    (x, y), (back_x, back_y) = _points(start, stop, OUTER), _points(start, stop, INNER)
    there = stop > start
    return go.Scatter(
        name=name,
        x=[*x, *back_x[::-1]] if there else [],
        y=[*y, *back_y[::-1]] if there else [],
        fill="toself",
        fillcolor=faded(color, 0.5),
        fillpattern={
            "shape": "/" if never else "",
            "size": 7,
            "solidity": 0.3,
            "fgcolor": NEVER_TRAINED,
            "bgcolor": faded(color, 0.12),
        },
        mode="lines",
        line={"color": color, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )


def _angles() -> go.Scatter:
    return go.Scatter(
        name="angles",
        x=[1.06, 0, -1.06, 0],
        y=[0, 1.12, 0, -1.12],
        text=["0°", "90°", "180°", "270°"],
        textposition=["middle right", "middle center", "middle left", "middle center"],
        textfont={"color": INK, "size": 11},
        mode="text",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )


def _way(name: str, hand: Hand, radii: tuple[float, float], color: str, dash: str) -> go.Scatter:
    """The way of the hand from 0, as a spiral."""
    stop = hand.angle + WHOLE * min(int(hand.turns), MOST_TURNS)
    there = hand.told > 0
    return _stroke(name, _points(0, stop, *radii) if there else ([], []), color, 2, dash=dash)


def _hand(name: str, hand: Hand, color: str, symbol: str, dash: str) -> go.Scatter:
    x, y = _points(hand.angle, hand.angle, (INNER + OUTER) / 2)
    there = hand.told >= 0
    return go.Scatter(
        name=name,
        x=[0, x[0]] if there else [],
        y=[0, y[0]] if there else [],
        mode="lines+markers",
        line={"color": color, "width": 3, "dash": dash},
        marker={"symbol": symbol, "size": [0, 14], "color": color, "line": {"color": "#ffffff", "width": 1.5}},
        hovertemplate=f"told {hand.told:,}: {hand.turns:,.2f} turns, {hand.angle:.0f}°<extra>{name}</extra>",
        showlegend=False,
    )


def _axes() -> dict[str, Any]:
    """A round circle at the left; what its signs mean at the right."""
    hidden = {"visible": False, "range": [-1.28, 1.28], "constrain": "domain", "fixedrange": True}
    return {
        "xaxis": {**hidden, "domain": [0, 0.6]},
        "yaxis": {**hidden, "scaleanchor": "x"},
    }


def _legend(found: PairAngles, method: Method) -> list[dict[str, Any]]:
    column: dict[str, Any] = {"x": 0.64, "xref": "paper", "yref": "paper", "xanchor": "left", "align": "left"}

    def entry(y: float, sign: str, color: str, words: str) -> dict[str, Any]:
        return label(f'<span style="color:{color}">{sign}</span> {words}', y=y, yanchor="middle", **column)

    extended = str(method).replace("(", "<br>(", 1)
    return [
        entry(0.86, "●", STOCK_COLOR, f"<b>plain RoPE</b><br>{hand_words(found.plain)}"),
        entry(0.52, "◆", METHOD_COLOR, f"<b>{extended}</b><br>{hand_words(found.mapped)}"),
        entry(0.2, "■", REFERENCE_COLOR, f"trained: {shown_words(found.shown)}"),
        entry(0.08, "▨", NEVER_TRAINED, "never trained" if found.shown < WHOLE else ""),
    ]
