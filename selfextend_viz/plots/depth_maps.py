"""Small multiples of a sweep: one length x depth map for each setting, in rows of few."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PasskeyRow, wilson_interval
from selfextend_viz.plots.passkey_grid import PasskeyMap, passkey_maps
from selfextend_viz.plots.theme import CELL_INK, FAILING_TO_RIGHT, INK, dress, label
from selfextend_viz.positions import whole_number
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import as_setting, asks_for_keys

COLUMNS = 4
ACROSS, DOWN = 0.035, 74
"""The gap beside a map, as a share of the figure, and under one, in pixels."""
MAP_HEIGHT = 120
HEAD = 120
LAST = 2**62


def depth_rows(rows: Iterable[CellRow]) -> list[PasskeyRow]:
    """A sweep's pass keys over all seeds and pass-key tasks, one row for each condition, length and depth."""
    counts: dict[tuple[str, int, float], tuple[int, int]] = {}
    for row in rows:
        if asks_for_keys(row) and row.exact is not None:
            place = row.method, row.length, row.depth or 0.0
            exact, trials = counts.get(place, (0, 0))
            counts[place] = exact + row.exact, trials + row.trials
    return [
        PasskeyRow("", method, length, depth, trials, exact, *wilson_interval(exact, trials), float("nan"), 0)
        for (method, length, depth), (exact, trials) in counts.items()
    ]


def plot_depth_maps(rows: Iterable[CellRow], *, context_length: int, columns: int = COLUMNS) -> go.Figure:
    """Draw each condition's right answers over length and depth, by rising G and w_n, its reach marked.

    Parameters
    ----------
    rows
        Of a sweep of one model with a pass-key task.
    context_length
        L; also stock's reach.
    columns
        Maps side by side.

    Returns
    -------
    plotly.graph_objects.Figure
        For each condition a heatmap with its name, then its line after the last length within reach.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole, or no row is of a pass-key task.
    """
    whole_number("context_length", context_length)
    whole_number("columns", columns)
    rows = list(rows)
    settings = {row.method: as_setting(row) for row in rows}
    maps = sorted(passkey_maps(depth_rows(rows)), key=lambda each: _numbers(settings[each.name]))
    if not maps:
        raise ValueError("0 rows are of a pass-key task; sweep the task passkey first")
    figure = go.Figure(layout={"coloraxis": _COLORS, **_axes(maps, columns)})
    annotations = []
    for number, data in enumerate(maps):
        suffix = "" if number == 0 else str(number + 1)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        setting = settings[data.name]
        reach = setting.capacity(context_length) if setting else context_length if data.name == "stock" else None
        figure.add_traces([_heatmap(data, axes), _edge(data, reach, axes)])
        name = f"G={setting.group_size}, w={setting.neighbor_window}" if setting else data.name
        place: dict[str, Any] = {
            "xref": f"x{suffix} domain",
            "yref": f"y{suffix} domain",
            "xanchor": "left",
            "yanchor": "bottom",
        }
        annotations.append(label(f"<b>{name}</b>", x=0, y=1, font={"size": 12}, **place))
    figure.update_layout(annotations=annotations)
    figure.update_layout(margin={"t": HEAD})
    lines = -(-len(maps) // columns)
    height = HEAD + 60 + lines * MAP_HEIGHT + (lines - 1) * DOWN
    subtitle = "length N across, depth of the key down · line: the last length within reach"
    return dress(figure, title="Right answers by length and depth", subtitle=subtitle, height=height)


_COLORS = {
    "colorscale": [list(stop) for stop in FAILING_TO_RIGHT],
    "cmin": 0,
    "cmax": 1,
    "colorbar": {
        "title": {"text": "right answers", "side": "right"},
        "tickvals": [0, 0.5, 1],
        "ticktext": ["none", "half", "all"],
        "thickness": 12,
        "outlinewidth": 0,
    },
}


def _numbers(setting: Any) -> tuple[int, int]:
    """Settings by window and G, then stock and its controls."""
    return (setting.neighbor_window, setting.group_size) if setting else (LAST, LAST)


def _heatmap(data: PasskeyMap, axes: dict[str, str]) -> go.Heatmap:
    return go.Heatmap(
        name=data.name,
        x=list(range(len(data.lengths))),
        y=list(range(len(data.depths))),
        z=data.accuracy,
        customdata=data.counts,
        text=data.counts,
        texttemplate="%{text}",
        textfont={"color": CELL_INK, "size": 9},
        hovertemplate="%{customdata} right<extra>" + data.name + "</extra>",
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        **axes,
    )


def _edge(data: PasskeyMap, reach: int | None, axes: dict[str, str]) -> go.Scatter:
    within = sum(length <= reach for length in data.lengths) if reach is not None else 0
    shown = reach is not None and 0 < within < len(data.lengths)
    return go.Scatter(
        name=f"{data.name} reach",
        x=[within - 0.5] * 2 if shown else [],
        y=[-0.5, len(data.depths) - 0.5] if shown else [],
        mode="lines",
        line={"color": INK, "width": 3},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )


def _axes(maps: Sequence[PasskeyMap], columns: int) -> dict[str, Any]:
    lines = -(-len(maps) // columns)
    width = (1 - ACROSS * (columns - 1)) / columns
    inner = lines * MAP_HEIGHT + (lines - 1) * DOWN
    layout: dict[str, Any] = {}
    for number, data in enumerate(maps):
        line, column = divmod(number, columns)
        suffix = "" if number == 0 else str(number + 1)
        left, top = column * (width + ACROSS), 1 - line * (MAP_HEIGHT + DOWN) / inner
        last = number + columns >= len(maps)
        layout[f"xaxis{suffix}"] = {
            "domain": [left, left + width],
            "anchor": f"y{suffix}",
            "tickvals": list(range(len(data.lengths))),
            "ticktext": [f"{length:,}" for length in data.lengths],
            "range": [-0.5, len(data.lengths) - 0.5],
            "tickfont": {"size": 10},
            "title": {"text": "length N" if last else "", "font": {"size": 11}},
            "showgrid": False,
        }
        layout[f"yaxis{suffix}"] = {
            "domain": [max(0.0, top - MAP_HEIGHT / inner), top],
            "anchor": f"x{suffix}",
            "tickvals": list(range(len(data.depths))),
            "ticktext": ["" if column else f"{depth:.0%}" for depth in data.depths],
            "range": [len(data.depths) - 0.5, -0.5],
            "tickfont": {"size": 10},
            "title": {"text": "" if column else "depth", "font": {"size": 11}},
            "showgrid": False,
        }
    return layout
