"""The map of a sweep at one length: what each G and w_n answers at its worst depth, and where its reach ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.plots.setting_lines import (
    SettingAxis,
    isoline_ends,
    isolines,
    reach_lines,
    rule_band,
)
from selfextend_viz.plots.theme import CELL_INK, FAILING_TO_RIGHT, HATCH, INK, dress, label
from selfextend_viz.positions import SelfExtend, whole_number
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import as_setting, asks_for_keys, standings

STROKES = 5
"""Hatching strokes in a cell."""


@dataclass(frozen=True)
class WorstDepthMap:
    """What :func:`plot_worst_depth` draws, windows as rows and group sizes as columns.

    Attributes
    ----------
    group_sizes, windows
        Of all settings of the sweep, ascending.
    share
        Right answers over prompts at the worst depth, object ``[windows, group_sizes]``, ``None`` where a cell is
        still to come.
    counts, details
        ``"k/n"`` and a hover text, object ``[windows, group_sizes]``; ``""`` where a cell is still to come.
    undecided
        Whether Wilson's interval holds one half, so that the setting neither surely reads nor surely fails.
    """

    group_sizes: tuple[int, ...]
    windows: tuple[int, ...]
    share: NDArray[np.object_]
    counts: NDArray[np.object_]
    details: NDArray[np.object_]
    undecided: NDArray[np.bool_]


def worst_depth_map(rows: Iterable[CellRow], length: int, *, settings: Iterable[SelfExtend] = ()) -> WorstDepthMap:
    """Arrange a sweep's rows at one length; `settings` are shown as pending before their rows are there."""
    rows = list(rows)
    asked = [as_setting(row) for row in rows if asks_for_keys(row)]
    known = [setting for setting in (*settings, *asked) if setting is not None]
    sizes = tuple(sorted({setting.group_size for setting in known}))
    windows = tuple(sorted({setting.neighbor_window for setting in known}))
    shape = len(windows), len(sizes)
    share, counts, details = (np.full(shape, start, dtype=object) for start in (None, "", "no result yet"))
    undecided = np.zeros(shape, dtype=bool)
    for standing in standings(rows, length):
        place = windows.index(standing.setting.neighbor_window), sizes.index(standing.setting.group_size)
        worst, (low, high) = standing.worst, standing.worst.bounds
        share[place], counts[place] = worst.exact / worst.trials, worst.counts
        undecided[place] = low < 0.5 <= high
        details[place] = (
            f"{worst.counts} at the worst depth, {worst.depth:g} (95 %: {low:.2f} to {high:.2f})"
            f"<br>{standing.exact}/{standing.trials} at all depths"
        )
    return WorstDepthMap(sizes, windows, share, counts, details, undecided)


def plot_worst_depth(
    rows: Iterable[CellRow],
    length: int,
    *,
    context_length: int,
    choice: SelfExtend | None = None,
    settings: Iterable[SelfExtend] = (),
) -> go.Figure:
    """Draw worst-depth accuracy over G and w_n, the reach, the authors' rule, and where more trials are wanted.

    Parameters
    ----------
    rows
        Of a sweep of one model; they may be few.
    length
        N.
    context_length
        L.
    choice
        The setting to frame, such as what `recommend` takes.
    settings
        Shown as pending until their rows are there.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``worst depth`` (the heatmap), ``undecided`` (strokes), ``pending``, ``rule`` (the band from 1/2 to 2/3
        of L), ``isolines`` (the reach of the rows' other lengths), ``reach edge`` and ``reach`` (left of them N does
        not fit) and ``choice``, always these eight.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1.
    """
    whole_number("length", length)
    whole_number("context_length", context_length)
    rows = list(rows)
    data = worst_depth_map(rows, length, settings=settings)
    others = sorted({row.length for row in rows if asks_for_keys(row) and row.length > context_length} - {length})
    across, up = SettingAxis(data.group_sizes, log=True), SettingAxis(data.windows, log=False)
    figure = go.Figure(
        data=[
            _heatmap(data),
            _strokes(data),
            _pending(data),
            rule_band(across, up, length, context_length),
            isolines(across, up, others, context_length),
            *reach_lines(across, up, length, context_length),
            _frame(across, up, choice),
        ],
        layout={"xaxis": _axis(across, "group size G"), "yaxis": _axis(up, "neighbour window w<sub>n</sub>")},
    )
    figure.update_layout(annotations=[*_labels(figure, up, length), *isoline_ends(across, up, others, context_length)])
    figure.update_layout(margin={"t": 110})
    return dress(figure, title=_finding(data, length), subtitle=_SUBTITLE, height=250 + 62 * max(2, len(data.windows)))


_SUBTITLE = "right answers at each setting's worst depth · hatched: more trials are wanted · □ no result yet"


def _axis(axis: SettingAxis, title: str) -> dict[str, Any]:
    return {
        "title": {"text": title},
        "tickvals": list(range(len(axis.values))),
        "ticktext": [f"{value:,}" for value in axis.values],
        "range": axis.range,
        "showgrid": False,
    }


def _heatmap(data: WorstDepthMap) -> go.Heatmap:
    names = [
        [f"G = {size}, w_n = {window:,}<br>{data.details[row, column]}" for column, size in enumerate(data.group_sizes)]
        for row, window in enumerate(data.windows)
    ]
    return go.Heatmap(
        name="worst depth",
        x=list(range(len(data.group_sizes))),
        y=list(range(len(data.windows))),
        z=data.share,
        text=data.counts,
        texttemplate="<b>%{text}</b>",
        textfont={"color": CELL_INK},
        hovertext=names,
        hovertemplate="%{hovertext}<extra></extra>",
        colorscale=[list(stop) for stop in FAILING_TO_RIGHT],
        zmin=0,
        zmax=1,
        xgap=3,
        ygap=3,
        colorbar={
            "title": {"text": "right answers", "side": "right"},
            "tickvals": [0, 0.5, 1],
            "ticktext": ["none", "half", "all"],
            "thickness": 12,
            "outlinewidth": 0,
            "ticks": "outside",
            "ticklen": 3,
            "tickcolor": INK,
        },
    )


def _strokes(data: WorstDepthMap) -> go.Scatter:
    """Diagonal strokes over the undecided cells; they leave the counts in the middle free."""
    x: list[float | None] = []
    y: list[float | None] = []
    for row, column in np.argwhere(data.undecided).tolist():
        for stroke in range(1, STROKES + 1):
            reach = 0.96 * stroke / (STROKES + 1)
            for corner in (-1, 1):
                x += [column + corner * 0.48, column + corner * (0.48 - reach / 2), None]
                y += [row - corner * (0.48 - reach / 2), row - corner * 0.48, None]
    line = {"color": HATCH, "width": 1.5}
    return go.Scatter(name="undecided", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _pending(data: WorstDepthMap) -> go.Scatter:
    rows, columns = np.nonzero(data.counts == "")
    return go.Scatter(
        name="pending",
        x=columns.tolist(),
        y=rows.tolist(),
        mode="markers",
        marker={"symbol": "square-open", "size": 15, "color": INK, "line": {"width": 1.5}},
        hovertemplate="no result yet<extra></extra>",
        showlegend=False,
    )


def _frame(across: SettingAxis, up: SettingAxis, choice: SelfExtend | None) -> go.Scatter:
    x: list[float] = []
    y: list[float] = []
    if choice and choice.group_size in across.values and choice.neighbor_window in up.values:
        column, row = across.values.index(choice.group_size), up.values.index(choice.neighbor_window)
        x = [column + side * 0.47 for side in (-1, 1, 1, -1, -1)]
        y = [row + side * 0.46 for side in (-1, -1, 1, 1, -1)]
    line = {"color": CELL_INK, "width": 4}
    return go.Scatter(name="choice", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _labels(figure: go.Figure, up: SettingAxis, length: int) -> list[dict[str, Any]]:
    """The reach's line and the rule's band, named where each is highest, between two rows, clear of their counts."""
    lines = {trace.name: trace for trace in figure.data}
    found = []
    for name, words, side in (("reach", f"N = {length:,} fits →", "left"), ("rule", "authors' rule", "right")):
        trace = lines[name]
        if not trace.x:
            found.append(label("", x=0, y=0))
            continue
        top = max(trace.y)
        border = min(round(top - 0.5) + 0.5, up.range[1])
        at_top = border == up.range[1]
        place = [x for x, y in zip(trace.x, trace.y, strict=True) if y == top]
        shift = {"xshift": 6} if side == "left" else {}
        x = min(place) if side == "left" else max(place)
        height = {"yanchor": "top", "yshift": -1} if at_top else {"yanchor": "middle"}
        found.append(label(words, x=x, y=border, xanchor=side, on_map=True, **height, **shift))
    return found


def _finding(data: WorstDepthMap, length: int) -> str:
    known = [share for share in data.share.ravel().tolist() if share is not None]
    if not known:
        return f"At N = {length:,}: no result yet"
    open_cells = int(data.undecided.sum())
    reading = sum(
        share is not None and share >= 0.5 and not unsure
        for share, unsure in zip(data.share.ravel().tolist(), data.undecided.ravel().tolist(), strict=True)
    )
    rest = f", {open_cells} undecided" if open_cells else ""
    return f"At N = {length:,} {reading} of {len(known)} settings surely read at every depth{rest}"
