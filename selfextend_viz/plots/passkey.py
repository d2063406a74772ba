"""Pass-key maps: which lengths and depths each condition answers, one small map a condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PasskeyRow
from selfextend_viz.plots.passkey_grid import PasskeyMap, passkey_maps
from selfextend_viz.plots.theme import CELL_INK, FAILING_TO_RIGHT, INK, dress, label
from selfextend_viz.positions import whole_number

GAP = 0.035
PANELS, CHARACTER, NAME_SIZE, SMALLEST = 700, 8.4, 13, 9
"""Pixels that the maps share in a notebook, pixels of a bold letter, and the sizes of a name's letters."""
LONGEST = 90
"""Letters that a title has room for."""
MANY = 5
"""So many maps side by side leave no room for words under each."""
LABEL_COLUMNS = 3
"""Two labels over a map need this many columns between them."""


def plot_passkey(
    rows: Iterable[PasskeyRow],
    *,
    context_length: int | None = None,
    reach: Mapping[str, int] | None = None,
    lengths: Sequence[int] = (),
    depths: Sequence[float] = (),
    conditions: Sequence[str] = (),
) -> go.Figure:
    """Draw length x depth maps of pass-key accuracy, one a condition, with counts in the cells.

    Parameters
    ----------
    rows
        Pass-key rows; they may be few, or none as yet.
    context_length
        L: a line after the last length that training covered.
    reach
        Exact reach for each condition label that has one: a line after the last length within it.
    lengths, depths, conditions
        The grid to come; its cells show a dot until their rows are given.

    Returns
    -------
    plotly.graph_objects.Figure
        For each condition, in order, four traces ``"<condition>"`` (the heatmap: x is the index of the length, y
        of the depth), ``"<condition> pending"``, ``"<condition> L"`` and ``"<condition> reach"``.

    Raises
    ------
    ValueError
        If there is neither a row nor a grid to come, or a length is below 1.
    """
    maps = passkey_maps(rows, lengths=lengths, depths=depths, conditions=conditions)
    if not maps or not maps[0].lengths or not maps[0].depths:
        raise ValueError("0 pass-key rows and no grid to come; give rows, or lengths, depths and conditions")
    if context_length is not None:
        whole_number("context_length", context_length)
    figure = go.Figure(layout={"coloraxis": _color_axis(), **_axes(maps)})
    room = int(PANELS * (1 + GAP) / len(maps) / CHARACTER) - 1
    annotations = []
    for number, data in enumerate(maps, start=1):
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"} if number > 1 else {"xaxis": "x", "yaxis": "y"}
        extent = (reach or {}).get(data.name.split(" · ")[0])
        figure.add_traces(
            [
                _heatmap(data, axes),
                _waiting(data, axes),
                _line(f"{data.name} L", data, context_length, "solid", axes),
                _line(f"{data.name} reach", data, extent, "dash", axes),
            ]
        )
        annotations += [_name(data.name, axes, room), *_labels(data, axes, context_length, extent)]
    figure.update_layout(annotations=annotations)
    return dress(figure, title=_finding(maps, context_length), height=_height(maps[0]))


def _heatmap(data: PasskeyMap, axes: dict[str, str]) -> go.Heatmap:
    places = [[f"{length:,} tokens, key at {depth:.0%}" for length in data.lengths] for depth in data.depths]
    return go.Heatmap(
        name=data.name,
        z=data.accuracy,
        text=data.counts,
        texttemplate="%{text}",
        textfont={"color": CELL_INK},
        hovertext=[
            [f"{a}<br>{b}" for a, b in zip(*pair, strict=True)] for pair in zip(places, data.details, strict=True)
        ],
        hovertemplate="%{hovertext}<extra>" + data.name + "</extra>",
        coloraxis="coloraxis",
        xgap=2,
        ygap=2,
        **axes,
    )


def _waiting(data: PasskeyMap, axes: dict[str, str]) -> go.Scatter:
    """Pending cells: an open square, so that nothing waiting looks like a zero."""
    spots = data.pending
    return go.Scatter(
        name=f"{data.name} pending",
        x=[data.lengths.index(length) for length, _ in spots],
        y=[data.depths.index(depth) for _, depth in spots],
        mode="markers",
        marker={"symbol": "square-open-dot", "size": 13, "color": INK, "line": {"width": 1}, "opacity": 0.7},
        hovertemplate="pending<extra></extra>",
        showlegend=False,
        **axes,
    )


def _edge(data: PasskeyMap, limit: int) -> float:
    """The cell edge after the last length within a limit."""
    return sum(length <= limit for length in data.lengths) - 0.5


def _line(name: str, data: PasskeyMap, limit: int | None, dash: str, axes: dict[str, str]) -> go.Scatter:
    ends = [] if limit is None else [_edge(data, limit)] * 2
    return go.Scatter(
        name=name,
        x=ends,
        y=[-0.5, len(data.depths) - 0.5][: len(ends)],
        mode="lines",
        line={"color": INK, "width": 3, "dash": dash},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )


def _name(name: str, axes: dict[str, str], room: int) -> dict[str, Any]:
    """A condition's name over its map, in lines of `room` letters, so that it keeps clear of the next one's."""
    lines = [name]
    if len(name) > room:
        head, bracket, numbers = name.partition("(")
        lines = [line for part in (head, bracket + numbers) for line in wrap(part, room, break_long_words=False)]
    longest = max(map(len, lines))
    small: dict[str, Any] = {"font": {"size": max(SMALLEST, NAME_SIZE * room / longest)}} if longest > room else {}
    where: dict[str, Any] = {
        "xref": f"{axes['xaxis']} domain",
        "yref": f"{axes['yaxis']} domain",
        "xanchor": "left",
        "yanchor": "bottom",
        "align": "left",
    }
    return label(f"<b>{'<br>'.join(lines)}</b>", x=0, y=1, yshift=20, **where, **small)


def _labels(data: PasskeyMap, axes: dict[str, str], context_length: int | None, reach: int | None) -> list[Any]:
    above: dict[str, Any] = {
        "xref": axes["xaxis"],
        "yref": f"{axes['yaxis']} domain",
        "yanchor": "bottom",
        "font": {"size": 12},
    }
    return [
        label(words, x=place, y=1, xanchor=side, **above) for words, place, side in _limits(data, context_length, reach)
    ]


def _limits(data: PasskeyMap, context_length: int | None, reach: int | None) -> list[tuple[str, float, str]]:
    """What stands over the lines at L and at the reach: words, place and side; one label for two close lines."""
    last = len(data.lengths) - 0.5
    if context_length is not None and reach is not None:
        edges = _edge(data, context_length), _edge(data, reach)
        sides = tuple(_side(edge, last) for edge in edges)
        towards = sides == ("left", "center")  # a label beside its line and one over its line grow towards each other
        if abs(edges[1] - edges[0]) < LABEL_COLUMNS + towards:
            both = f"L = {context_length:,}, reach {reach:,}"
            words = f"L = reach = {reach:,}" if reach == context_length else both
            middle = sum(edges) / 2
            at = ((last - 0.5) / 2, "center") if towards else (middle, _side(middle, last))
            return [(words, *at), ("", 0.0, "left")]
    return [
        ("", 0.0, "left") if limit is None else (f"{name} {limit:,}", edge := _edge(data, limit), _side(edge, last))
        for name, limit in (("L =", context_length), ("reach", reach))
    ]


def _side(place: float, last: float) -> str:
    """Which end of a label stands at its place, so that it keeps within its map."""
    share = (place + 0.5) / (last + 0.5)
    return "left" if share < 1 / 3 else "right" if share > 2 / 3 else "center"


def _color_axis() -> dict[str, Any]:
    return {
        "colorscale": [list(stop) for stop in FAILING_TO_RIGHT],
        "cmin": 0,
        "cmax": 1,
        "colorbar": {
            "title": {"text": "exact answers", "side": "right"},
            "tickvals": [0, 0.5, 1],
            "ticktext": ["none", "half", "all"],
            "thickness": 12,
            "outlinewidth": 0,
            "ticks": "outside",
            "ticklen": 3,
            "tickcolor": INK,
        },
    }


def _axes(maps: list[PasskeyMap]) -> dict[str, Any]:
    """Panels side by side; lengths and depths are evenly spaced categories, depth running down the prompt."""
    width = (1 - GAP * (len(maps) - 1)) / len(maps)
    layout: dict[str, Any] = {}
    for number, data in enumerate(maps):
        suffix = str(number + 1) if number else ""
        start = number * (width + GAP)
        layout[f"xaxis{suffix}"] = {
            "domain": [start, start + width],
            "anchor": f"y{suffix}",
            "title": {"text": "length N (tokens)" if len(maps) < MANY else "N (tokens)"},
            "tickvals": list(range(len(data.lengths))),
            "ticktext": [f"{length:,}" for length in data.lengths],
            "range": [-0.5, len(data.lengths) - 0.5],
            "showgrid": False,
        }
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}",
            "domain": [0, 0.9],
            "title": {"text": "" if number else "depth of the key"},
            "tickvals": list(range(len(data.depths))),
            "ticktext": ["" if number else f"{depth:.0%}" for depth in data.depths],
            "range": [len(data.depths) - 0.5, -0.5],
            "showgrid": False,
        }
    return layout


def _height(data: PasskeyMap) -> int:
    return 210 + 42 * max(3, len(data.depths))


def _finding(maps: list[PasskeyMap], context_length: int | None) -> str:
    """What the finished cells beyond L say, by condition, or the ends of a long list; progress while there are none."""
    found: dict[str, float] = {}
    for data in maps:
        beyond = [length > (context_length or 0) for length in data.lengths]
        done = [count.split("/") for count in data.counts[:, beyond].ravel().tolist() if count]
        if done:
            right, asked = (sum(int(part[side]) for part in done) for side in (0, 1))
            found[f"{data.name} {right} of {asked}"] = right / asked
    if not found:
        return "Pass key: no result beyond L yet" if context_length else "Pass key: no result yet"
    where = f" beyond L = {context_length:,}" if context_length else ""
    whole = f"Pass keys found{where}: {', '.join(found)}"
    if len(whole) <= LONGEST or len(found) < 3:
        return whole
    return f"Pass keys found{where}: from {min(found, key=found.__getitem__)} to {max(found, key=found.__getitem__)}"
