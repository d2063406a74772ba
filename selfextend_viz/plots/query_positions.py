"""What one query is told, by true distance: the staircase beside the ramp beside the plateau."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.plots.theme import INK, NEVER_TRAINED, Style, condition_styles, dress, faded, label
from selfextend_viz.plots.told_distances import blank, method_name, several, slowing, slowing_note, told_distances
from selfextend_viz.positions import Method, whole_number

POINTS = 1024
"""Distances drawn at most."""
TOP = 1.3
"""The axis ends at this many times L: what leaves it was never trained, however far it goes."""
FEW = 0.015
"""A run of seen keys shorter than this share of the picture is drawn as a mark, since a line would not show."""
LINE = 17
"""Pixels between two names."""
PLOT_HEIGHT = 330
MOST_FANS = 2
"""More fans than this would cover each other."""


@dataclass(frozen=True)
class QueryPositions:
    """One method's curve.

    Attributes
    ----------
    name, note
        What it is called, and what must be said of a method of frequencies.
    distances
        True distances d, int64, the nearest first.
    told
        How far away the key at each seems (see :func:`~selfextend_viz.plots.told_distances.told_distances`), float64,
        NaN where it is not seen.
    fastest
        The same for the fastest pair of dimensions of a method of frequencies; empty for all others.
    """

    name: str
    note: str
    distances: NDArray[np.int64]
    told: NDArray[np.float64]
    fastest: NDArray[np.float64]

    @property
    def last(self) -> int:
        """Which of the distances is the farthest that is seen; the query always sees itself."""
        return int(np.flatnonzero(~np.isnan(self.told))[-1])


def query_positions(
    method: Method, length: int, *, query: int | None = None, context_length: int | None = None
) -> QueryPositions:
    """The numbers behind one curve of :func:`plot_query_positions`.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, or the method needs an L that is missing.
    """
    row = chosen_query(length, query)
    distances = np.unique(np.linspace(0, row, min(row + 1, POINTS)).round().astype(np.int64))
    told = told_distances(method, row, row - distances, length=length, context_length=context_length)
    slowed = slowing(method, length, context_length=context_length)
    fastest = np.array([]) if slowed is None or slowed[0] == slowed[1] else distances / slowed[0]
    note = slowing_note(method, length, context_length=context_length)
    return QueryPositions(method_name(method), note, distances, told, fastest)


def chosen_query(length: int, query: int | None) -> int:
    """The query asked for, or the last one; ``TypeError`` or ``ValueError`` if it is no position of the text."""
    whole_number("length", length)
    if query is None:
        return length - 1
    if whole_number("query", query, at_least=0) >= length:
        raise ValueError(f"query {query} lies outside the {length} tokens; use one of 0 to {length - 1}")
    return query


def plot_query_positions(
    methods: Sequence[Method], length: int, *, query: int | None = None, context_length: int | None = None
) -> go.Figure:
    """Draw how far away one query is told its keys are, against how far away they are.

    A method of frequencies is drawn as its slowest pair of dimensions turns, with a fan up to its fastest.

    Parameters
    ----------
    methods
        Any methods, a curve each.
    length
        N, the sequence length.
    query
        The query's position, ``0 <= query < N``; the last one when left out.
    context_length
        L: the range that training showed is marked, and the axis ends a little above it.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``never trained`` (hatched), ``L``, and for each method ``"<name> pairs"`` (the fan), ``"<name>"`` and
        ``"<name> few"`` (runs of seen keys too short for a line).

    Raises
    ------
    TypeError, ValueError
        If there are no methods, a number is not whole or out of range, or a method needs an L that is missing.
    """
    row = chosen_query(length, query)
    curves = [
        query_positions(method, length, query=query, context_length=context_length) for method in several(methods)
    ]
    styles = list(_styles(methods))
    top = _top(curves, context_length)
    fans = sum(len(curve.fastest) > 0 for curve in curves) <= MOST_FANS
    traces = _ground(row, top, context_length)
    for curve, style in zip(curves, styles, strict=True):
        traces += _traces(curve, style, fan=fans and len(curve.fastest) > 0)
    height = max(PLOT_HEIGHT, LINE * (len(curves) + 2))
    layout = {
        "xaxis": {"title": {"text": "true distance d = i − j"}, "range": [0, max(row, 1)], "domain": [0, 0.72]},
        "yaxis": {"title": {"text": "told distance"}, "range": [0, top]},
        "annotations": _names(curves, styles, row, top, context_length, LINE * top / height),
    }
    title, subtitle = _words(curves, row, context_length, fans)
    return dress(go.Figure(traces, layout), title=title, subtitle=subtitle, height=height + 150)


def _styles(methods: Sequence[Method]) -> list[Style]:
    labels = [str(method) for method in methods]
    styles = condition_styles(labels)
    return [styles[name] for name in labels]


def _top(curves: list[QueryPositions], context_length: int | None) -> float:
    highest = max(float(np.nanmax(curve.told)) for curve in curves)
    if context_length is None:
        return max(highest * 1.05, 1.0)
    return min(TOP * context_length, max(highest, context_length) * 1.12)


def _ground(row: int, top: float, context_length: int | None) -> list[dict[str, Any]]:
    """What training never showed, hatched, and the line at L."""
    corners: tuple[list[float], list[float]] = ([], [])
    line: tuple[list[float], list[float]] = ([], [])
    if context_length is not None:
        right = max(row, 1)
        corners = ([0, right, right, 0, 0], [context_length, context_length, top, top, context_length])
        line = ([0, right], [context_length, context_length])
    hatching = {"shape": "/", "size": 9, "solidity": 0.16, "fgcolor": NEVER_TRAINED, "bgcolor": "rgba(0, 0, 0, 0)"}
    quiet: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    never = dict(name="never trained", x=corners[0], y=corners[1], fill="toself", fillpattern=hatching, **quiet)
    never["line"] = {"width": 0, "color": NEVER_TRAINED}
    return [never, dict(name="L", x=line[0], y=line[1], line={"color": INK, "width": 2}, **quiet)]


def _traces(curve: QueryPositions, style: Style, *, fan: bool) -> list[dict[str, Any]]:
    quiet: dict[str, Any] = {"showlegend": False, "x": curve.distances}
    few = np.where(_short(curve), curve.told, np.nan)
    fan_x = [*curve.distances.tolist(), *curve.distances[::-1].tolist()] if fan else []
    fan_y = [*curve.told.tolist(), *curve.fastest[::-1].tolist()] if fan else []
    hover = f"{curve.name}: d = %{{x}} is told %{{y}}<extra></extra>"
    if curve.note:
        hover = f"{curve.name}: d = %{{x}}, but {curve.note}, here %{{y}}<extra></extra>"
    return [
        dict(
            name=f"{curve.name} pairs",
            x=fan_x,
            y=fan_y,
            fill="toself",
            fillcolor=faded(style.color, 0.14),
            mode="lines",
            line={"width": 0, "color": style.color},
            hoverinfo="skip",
            showlegend=False,
        ),
        dict(
            name=curve.name,
            y=blank(curve.told),
            mode="lines",
            line={"color": style.color, "width": 3, "dash": style.dash},
            hovertemplate=hover,
            **quiet,
        ),
        dict(
            name=f"{curve.name} few",
            y=blank(few),
            mode="markers",
            marker={"symbol": style.symbol, "size": 9, "color": style.color},
            cliponaxis=False,
            hovertemplate=hover,
            **quiet,
        ),
    ]


def _short(curve: QueryPositions) -> NDArray[np.bool_]:
    """Which seen keys stand in a run too short for a line to show."""
    seen = ~np.isnan(curve.told)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    short = np.zeros(len(seen), dtype=bool)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        short[start:stop] = stop - start <= FEW * len(seen)
    return short


def _names(
    curves: list[QueryPositions], styles: list[Style], row: int, top: float, context_length: int | None, apart: float
) -> list[dict[str, Any]]:
    """Each curve's name where it ends: at the right, where it leaves the trained range, or at the last key it sees."""
    names: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    edge = top if context_length is None else context_length
    for curve, style in zip(curves, styles, strict=True):
        font = {"color": style.color}
        beyond = np.flatnonzero(curve.told > top)
        value = float(curve.told[curve.last])
        name, bracket, numbers = curve.name.partition("(")
        name = f"<b>{name}</b>{bracket}{numbers}"
        if curve.last == len(curve.distances) - 1 and value <= top:
            ends.append(label(name, x=row, y=value, xanchor="left", xshift=10, font=font))
            continue
        place = int(np.flatnonzero(curve.told >= edge)[0]) if len(beyond) else curve.last
        words = f"{name}, in the end {_number(value)}" if len(beyond) else f"{name} sees no farther key"
        at: dict[str, Any] = {"x": int(curve.distances[place]), "y": min(value, edge), "xanchor": "left", "xshift": 8}
        names.append(label(words, yanchor="top", yshift=-len(names) * LINE - 3, font=font, **at))
    _push_apart(ends, apart, top)
    limit = f"L = {context_length:,}: never trained from here up" if context_length is not None else ""
    corner: dict[str, Any] = {"xanchor": "left", "yanchor": "bottom", "yshift": 3, "xshift": 4, "on_map": True}
    return [*ends, *names, label(limit, x=0, y=context_length or 0, **corner)]


def _push_apart(names: list[dict[str, Any]], apart: float, top: float) -> None:
    """Move names at the right edge so far that none covers another, keeping their order and the picture's ends."""
    names.sort(key=lambda name: name["y"])
    for before, name in zip(names, names[1:], strict=False):
        name["y"] = max(name["y"], before["y"] + apart)
    ceiling = top
    for name in reversed(names):
        name["y"] = min(name["y"], ceiling)
        ceiling = name["y"] - apart


def _number(value: float) -> str:
    return f"{round(value, 2):,.15g}"


def _words(curves: list[QueryPositions], row: int, context_length: int | None, fans: bool) -> tuple[str, str]:
    """The title, which says who tells more than training showed, and what stands for scaled frequencies."""
    title = f"How far away token {row:,} is told its keys are"
    judged = [curve for curve in curves if not curve.note]
    if context_length is not None and row >= context_length and judged:
        past = [curve for curve in judged if np.nanmax(curve.told) >= context_length]
        who = ", ".join(dict.fromkeys(curve.name.partition("(")[0] for curve in past)) or "no method"
        others = "; the others do not" if past and len(past) < len(judged) else ""
        said = f"{'tell' if len(past) > 1 else 'tells'} token {row:,} distances past the trained L = {context_length:,}"
        title = f"{who[0].upper()}{who[1:]} {said}{others}"
    scaled = [curve for curve in curves if curve.note]
    if len(scaled) > MOST_FANS:
        return title, "Scaled frequencies keep true distances; each is drawn as its slowest pair turns."
    fan = "; the fan reaches up to its fastest" if fans else ""
    lines = [
        f"{curve.name} keeps true distances, but {curve.note}{fan if len(curve.fastest) else ''}" for curve in scaled
    ]
    return title, "<br>".join(lines)
