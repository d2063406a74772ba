"""What long texts cost: settings as points between what breaks at N, what is lost in range, and what is answered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from selfextend_viz.experiments.rows import STOCK
from selfextend_viz.plots.theme import FAILING_TO_RIGHT, INK, METHOD_COLOR, REFERENCE_COLOR, STOCK_COLOR, dress, label
from selfextend_viz.positions import SelfExtend, whole_number
from selfextend_viz.sweeps.front import pareto_front
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import DIVERGENCE, Standing, as_setting, settings_at

LEAST = 1e-5
"""KL is drawn on a log scale from here on; rounding alone gives less."""
Z_95 = 1.959964
BESIDE = 0.15
"""Two names stand at least so many decades of the price apart."""


def plot_frontier(
    rows: Iterable[CellRow], length: int, *, context_length: int, choice: SelfExtend | None = None
) -> go.Figure:
    """Draw output KL at N against the price in range, each setting a point coloured by its worst-depth answers.

    Both are KL from the stock model where it is right: at N from stock on the last L tokens, in range from stock on the
    same text. The front joins the settings that no other one beats in both.

    Parameters
    ----------
    rows
        Of a sweep of one model with the task ``divergence``.
    length
        N.
    context_length
        L.
    choice
        The setting to ring, such as what `recommend` takes.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``stock`` (its KL at N), ``front``, ``settings`` and ``choice``, always these four.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1.
    """
    whole_number("length", length)
    whole_number("context_length", context_length)
    rows = list(rows)
    found = [each for each in settings_at(rows, length) if each.kl is not None and each.price is not None]
    points = [(max(each.price or 0.0, LEAST), max(each.kl or 0.0, LEAST)) for each in found]
    front = sorted((points[number] for number in pareto_front(points)), key=lambda point: point[0])
    stock = _stock_at(rows, length)
    extent = [min((x for x, _ in points), default=LEAST) / 1.5, max((x for x, _ in points), default=1.0) * 1.5]
    figure = go.Figure(
        data=[
            _level(stock, extent),
            _front([x for x, _ in front], [y for _, y in front]),
            _settings(found, points, _errors(rows, found, length)),
            _ring(found, points, choice),
        ],
        layout={
            "xaxis": _log_axis("price in range: KL from stock at N ≤ L (nats)", bool(points)),
            "yaxis": _log_axis(f"KL at N = {length:,} (nats)", bool(points)),
            "annotations": _names(found, points, set(front), choice) + _stock_name(stock, extent, length),
        },
    )
    title = _finding(found, front, points, stock, length)
    return dress(figure, title=title, subtitle=_FRONTIER)


_FRONTIER = (
    "KL from stock where it is right · blue: all right at the worst depth, orange: none · joined: no setting beats them"
)


def plot_pareto(rows: Iterable[CellRow], length: int, *, choice: SelfExtend | None = None) -> go.Figure:
    """Draw right answers at the worst depth against the price in range, with the settings that none beats.

    A setting beats another if its answers are as many, it costs as little in range and its groups are as small, and it
    is better in one of the three; the size of a point grows with G.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``settings``, ``front`` and ``choice``, always these three.

    Raises
    ------
    TypeError, ValueError
        If the length is not a whole number >= 1.
    """
    whole_number("length", length)
    found = [each for each in settings_at(list(rows), length) if each.places and each.price is not None]
    points = [(max(each.price or 0.0, LEAST), each.worst.exact / each.worst.trials) for each in found]
    goals = [(price, -right, each.setting.group_size) for (price, right), each in zip(points, found, strict=True)]
    best = pareto_front(goals)
    figure = go.Figure(
        data=[_bubbles(found, points), _crosses([points[number] for number in best]), _ring(found, points, choice)],
        layout={
            "xaxis": _log_axis("price in range: KL from stock at N ≤ L (nats)", bool(points)),
            "yaxis": {
                "title": {"text": "right answers, worst depth"},
                "range": [-0.08, 1.12],
                "tickformat": ".0%",
            },
            "annotations": _names(found, points, {points[number] for number in best}, choice),
        },
    )
    title = f"{len(best)} of {len(found)} settings are beaten by none at N = {length:,}"
    subtitle = "crossed: none answers as much, costs as little and groups as finely · larger points: larger G"
    return dress(figure, title=title if found else f"At N = {length:,}: no result yet", subtitle=subtitle)


def _stock_at(rows: Iterable[CellRow], length: int) -> float | None:
    known = [
        row.kl
        for row in rows
        if (row.task, row.method, row.length) == (DIVERGENCE, STOCK, length) and row.kl is not None
    ]
    return sum(known) / len(known) if known else None


def _errors(rows: Iterable[CellRow], found: Sequence[Standing], length: int) -> list[float]:
    """Half a 95 % interval of each setting's KL at N; of several seeds the first that has one."""
    known: dict[SelfExtend | None, float] = {}
    for row in rows:
        if row.task == DIVERGENCE and row.length == length and row.kl_error is not None:
            known.setdefault(as_setting(row), Z_95 * row.kl_error)
    return [known.get(each.setting, 0.0) for each in found]


def _log_axis(title: str, drawn: bool) -> dict[str, Any]:
    return {"type": "log", "title": {"text": title}, "exponentformat": "power", "dtick": "D2", "showticklabels": drawn}


def _level(stock: float | None, extent: list[float]) -> go.Scatter:
    return go.Scatter(
        name="stock",
        x=[] if stock is None else extent,
        y=[] if stock is None else [max(stock, LEAST)] * 2,
        mode="lines",
        line={"color": STOCK_COLOR, "width": 2},
        hovertemplate="stock: %{y:.3f} nats<extra></extra>",
        showlegend=False,
    )


def _front(x: list[float], y: list[float]) -> go.Scatter:
    line = {"color": METHOD_COLOR, "width": 2, "dash": "dot", "shape": "hv"}
    return go.Scatter(name="front", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _settings(found: Sequence[Standing], points: Sequence[tuple[float, float]], errors: list[float]) -> go.Scatter:
    return go.Scatter(
        name="settings",
        x=[x for x, _ in points],
        y=[y for _, y in points],
        error_y={"array": errors, "color": INK, "thickness": 1, "width": 3},
        mode="markers",
        marker={"size": 15, "line": {"color": INK, "width": 1.5}, "color": _colors(found)},
        customdata=[_detail(each) for each in found],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _bubbles(found: Sequence[Standing], points: Sequence[tuple[float, float]]) -> go.Scatter:
    sizes = [9 + 4 * math.log2(each.setting.group_size) for each in found]
    low = [y - each.worst.bounds[0] for (_, y), each in zip(points, found, strict=True)]
    high = [each.worst.bounds[1] - y for (_, y), each in zip(points, found, strict=True)]
    return go.Scatter(
        name="settings",
        x=[x for x, _ in points],
        y=[y for _, y in points],
        error_y={"array": high, "arrayminus": low, "color": INK, "thickness": 1, "width": 3},
        mode="markers",
        marker={"size": sizes, "opacity": 1, "line": {"color": INK, "width": 1.5}, "color": _colors(found)},
        customdata=[_detail(each) for each in found],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )


def _crosses(points: Sequence[tuple[float, float]]) -> go.Scatter:
    return go.Scatter(
        name="front",
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="markers",
        marker={"symbol": "x-thin", "size": 9, "line": {"color": "#000000", "width": 2}},
        hoverinfo="skip",
        showlegend=False,
    )


def _colors(found: Sequence[Standing]) -> list[str]:
    """Worst-depth answers as colours; grey where nothing was asked."""
    scale = [list(stop) for stop in FAILING_TO_RIGHT]
    shares = [each.worst.exact / each.worst.trials if each.places else None for each in found]
    return [REFERENCE_COLOR if share is None else sample_colorscale(scale, [share])[0] for share in shares]


def _detail(each: Standing) -> str:
    answers = f"<br>{each.worst.counts} at the worst depth, {each.worst.depth:g}" if each.places else ""
    at_length = "" if each.kl is None else f"<br>KL at N {each.kl:.4f} nats"
    return f"{each.setting}{answers}{at_length}<br>price in range {each.price or 0:.4f} nats"


def _ring(found: Sequence[Standing], points: Sequence[tuple[float, float]], choice: SelfExtend | None) -> go.Scatter:
    ringed = [point for each, point in zip(found, points, strict=True) if each.setting == choice]
    return go.Scatter(
        name="choice",
        x=[x for x, _ in ringed],
        y=[y for _, y in ringed],
        mode="markers",
        marker={"symbol": "circle-open", "size": 27, "color": METHOD_COLOR, "line": {"width": 3}},
        hoverinfo="skip",
        showlegend=False,
    )


def _names(
    found: Sequence[Standing],
    points: Sequence[tuple[float, float]],
    named: set[tuple[float, float]],
    choice: SelfExtend | None,
) -> list[dict[str, Any]]:
    """The choice by name, and the front's settings as far as they do not stand beside one that is named."""
    names: dict[tuple[float, float], str] = {}
    for each, point in sorted(zip(found, points, strict=True), key=lambda pair: pair[0].setting != choice):
        beside = any(abs(math.log10(point[0] / other)) < BESIDE for other, _ in names)
        if each.setting == choice or (point in named and not beside):
            words = f"G={each.setting.group_size}, w={each.setting.neighbor_window}"
            names[point] = f"<b>{words}</b>" if each.setting == choice else words
    linear = all(0 <= y <= 1 for _, y in points) and any(y in (0, 1) for _, y in points)
    return [
        label(
            words,
            x=math.log10(x),
            y=y if linear else math.log10(y),
            yanchor="bottom",
            yshift=13,
            font={"size": 11, "color": INK},
        )
        for (x, y), words in names.items()
    ]


def _stock_name(stock: float | None, extent: list[float], length: int) -> list[dict[str, Any]]:
    if stock is None:
        return [label("", x=0, y=0)]
    return [
        label(
            f"stock at N = {length:,}",
            x=math.log10(extent[1]) - 0.02,
            y=math.log10(max(stock, LEAST)),
            xanchor="right",
            yanchor="bottom",
            font={"color": STOCK_COLOR, "size": 12},
        )
    ]


def _finding(
    found: Sequence[Standing],
    front: Sequence[tuple[float, float]],
    points: Sequence[tuple[float, float]],
    stock: float | None,
    length: int,
) -> str:
    if not found:
        return f"At N = {length:,}: no result yet"
    lowest = min(range(len(found)), key=lambda number: points[number][1])
    against = "" if stock is None else f", stock {stock:.2g}"
    return f"{found[lowest].setting} moves the model least at N = {length:,}: {points[lowest][1]:.2g} nats{against}"
