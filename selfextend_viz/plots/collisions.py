"""How many keys a query cannot tell apart by position, and how much its positions still say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from selfextend_viz.plots.theme import INK, METHOD_COLOR, dress
from selfextend_viz.plots.told_distances import method_name, several
from selfextend_viz.positions import Method, pair_positions, whole_number

ROW, HEAD, FOOT = 30, 104, 56
NAMES = 0.29
"""The part of the width kept for the methods' names."""


@dataclass(frozen=True)
class Collisions:
    """What the last of N queries can tell of its keys by position.

    Attributes
    ----------
    name
        The method.
    keys
        How many keys it sees, in any head.
    positions
        How many different positions they are told.
    most
        How many of them share the fullest position.
    entropy
        Bits that the position of a key, drawn evenly from those seen, says about which key it is:
        ``-sum p log2 p`` with ``p`` the share of the keys at each position. ``log2(keys)`` where none collide.
    """

    name: str
    keys: int
    positions: int
    most: int
    entropy: float

    @property
    def sharing(self) -> float:
        """Keys for each position, on average."""
        return self.keys / self.positions

    @property
    def whole_entropy(self) -> float:
        """The bits that would name each key seen: ``log2(keys)``."""
        return math.log2(self.keys)


def collisions(method: Method, length: int) -> Collisions:
    """Count the keys of the last query that share positions.

    Scaled frequencies leave positions alone, so that no two keys share one.

    Raises
    ------
    TypeError, ValueError
        If the length is not a whole number >= 1, or the method has no bands.
    """
    last = whole_number("length", length) - 1
    told = pair_positions(method, last, np.arange(length))
    counts = np.unique(told[told >= 0], return_counts=True)[1]
    shares = counts / counts.sum()
    entropy = max(0.0, float(-(shares * np.log2(shares)).sum()))
    return Collisions(method_name(method), int(counts.sum()), len(counts), int(counts.max()), entropy)


def collisions_sentence(method: Method, length: int) -> str:
    """How many keys the last of N queries sees, and how well positions tell them apart, in words.

    Raises
    ------
    TypeError, ValueError
        As :func:`collisions`.
    """
    data = collisions(method, length)
    sees = f"sees all {data.keys:,} keys" if data.keys == length else f"sees {data.keys:,} of {length:,} keys"
    if data.most == 1:
        return f"<b>{data.name}</b> {sees}, each at a position of its own"
    bits = f"{data.entropy:.1f} of {data.whole_entropy:.1f} bits are left"
    return f"<b>{data.name}</b> {sees}, at {data.positions:,} positions, up to {data.most:,} at one: {bits}"


def plot_collisions(methods: Sequence[Method], length: int) -> go.Figure:
    """Draw, for the last of N queries, how many keys share a position and how many bits positions still say.

    Parameters
    ----------
    methods
        Any methods, a line each.
    length
        N, the sequence length.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``sharing`` (bars: keys for each position, on average), ``most`` (marks: keys at the fullest position),
        ``entropy`` (bars: bits) and ``keys seen`` (marks: log2 of the keys seen); y is the method's name.

    Raises
    ------
    TypeError, ValueError
        If there are no methods, or the length is not a whole number >= 1.
    """
    found = [collisions(method, length) for method in several(methods)]
    figure = go.Figure(
        [
            _bars("sharing", [data.sharing for data in found], found, "x"),
            _marks("most", [data.most for data in found], found, "x", "diamond"),
            _bars("entropy", [data.entropy for data in found], found, "x2"),
            _marks("keys seen", [data.whole_entropy for data in found], found, "x2", "line-ns"),
        ]
    )
    figure.data[1].update(
        mode="markers+text",
        text=[f"  {data.sharing:.3g}, at most {data.most:,}" if data.most > 1 else "  1" for data in found],
        textposition="middle right",
        textfont={"color": INK, "size": 11},
    )
    figure.data[2].update(
        text=[f"{data.entropy:.1f}" for data in found],
        textposition="inside",
        insidetextanchor="start",
        constraintext="none",
        textangle=0,
        textfont={"color": "#ffffff", "size": 11},
    )
    middle = NAMES + (1 - NAMES) / 2
    most = max(data.most for data in found)
    figure.update_layout(
        xaxis={
            "domain": [NAMES, middle - 0.03],
            "type": "log",
            "range": [-0.15, math.log10(max(most, 2)) * 1.3 + 0.6],
            "title": {"text": "keys that share a position"},
            "dtick": 1,
        },
        xaxis2={
            "domain": [middle + 0.03, 1],
            "range": [0, max(math.log2(max(length, 2)), 1) * 1.12],
            "title": {"text": "bits that positions say"},
        },
        yaxis={"autorange": "reversed", "domain": [0, 1], "anchor": "x", "showgrid": False, "tickfont": {"size": 11.5}},
        bargap=0.35,
        margin={"l": 16, "t": HEAD, "b": FOOT},
    )
    title, subtitle = _words(found, length)
    return dress(figure, title=title, subtitle=subtitle, height=HEAD + FOOT + ROW * max(3, len(found))).update_layout(
        margin={"l": 16, "t": HEAD, "b": FOOT}
    )


def _details(data: Collisions) -> str:
    return (
        f"<b>{data.name}</b><br>{data.keys:,} keys seen at {data.positions:,} positions<br>"
        f"{data.sharing:.3g} keys a position, {data.most:,} at the fullest<br>"
        f"{data.entropy:.2f} of {data.whole_entropy:.2f} bits"
    )


def _bars(name: str, values: list[float], found: list[Collisions], axis: str) -> go.Bar:
    return go.Bar(
        name=name,
        x=values,
        y=[data.name for data in found],
        xaxis=axis,
        yaxis="y",
        orientation="h",
        marker={"color": METHOD_COLOR},
        customdata=[_details(data) for data in found],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _marks(name: str, values: list[float], found: list[Collisions], axis: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=values,
        y=[data.name for data in found],
        xaxis=axis,
        yaxis="y",
        mode="markers",
        marker={"symbol": symbol, "size": 11, "color": INK, "line": {"width": 3 * (symbol == "line-ns"), "color": INK}},
        customdata=[_details(data) for data in found],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
        cliponaxis=False,
    )


def _words(found: list[Collisions], length: int) -> tuple[str, str]:
    """The title, which says who cannot tell most keys apart, and what the marks are."""
    worst = max(found, key=lambda data: data.most)
    title = f"No two of {length:,} keys share a position"
    if worst.most > 1:
        name = worst.name.partition("(")[0]
        title = f"{name} puts {worst.most:,} of the {worst.keys:,} keys that it sees at one position"
    return title, (
        "left: keys for each position, on average (bar) and at the fullest (diamond)<br>"
        "right: entropy of the positions seen (bar), beside log2 of the keys seen (tick)"
    )
