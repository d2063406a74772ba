"""The map of a sweep at one length: what each G and w_n answers at its worst depth, and where its reach ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.plots.reach import RULE_SHARES
from selfextend_viz.plots.theme import CELL_INK, FAILING_TO_RIGHT, HATCH, INK, LABEL_INK, dress, label
from selfextend_viz.positions import SelfExtend, whole_number
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import as_setting, asks_for_keys, standings

STEPS = 481
"""Points of a line over the map."""
EDGE = "#10141f"
"""Around the line of the reach."""
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
        of L), ``reach edge`` and ``reach`` (left of them N does not fit) and ``choice``, always these seven.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1.
    """
    whole_number("length", length)
    whole_number("context_length", context_length)
    data = worst_depth_map(rows, length, settings=settings)
    across, up = _Axis(data.group_sizes, log=True), _Axis(data.windows, log=False)
    figure = go.Figure(
        data=[
            _heatmap(data),
            _strokes(data),
            _pending(data),
            _rule(across, up, length, context_length),
            *_reach(across, up, length, context_length),
            _frame(across, up, choice),
        ],
        layout={"xaxis": _axis(across, "group size G"), "yaxis": _axis(up, "neighbour window w<sub>n</sub>")},
    )
    figure.update_layout(annotations=_labels(figure, length))
    figure.update_layout(margin={"t": 110})
    return dress(figure, title=_finding(data, length), subtitle=_SUBTITLE, height=250 + 62 * max(2, len(data.windows)))


_SUBTITLE = "right answers at each setting's worst depth · hatched: more trials are wanted · □ no result yet"


@dataclass(frozen=True)
class _Axis:
    """Evenly spaced cells whose values lie between them as on a line, or on a log scale."""

    values: Sequence[int]
    log: bool

    def place(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where a value stands, in cells; outside the first and the last by the step beside them."""
        if not self.values:
            return np.zeros_like(value)
        known, asked = (self._scaled(np.asarray(each, dtype=np.float64)) for each in (self.values, value))
        if len(known) == 1:
            return (asked - known[0]) / (1.0 if self.log else max(1.0, float(self.values[0])))
        steps = np.clip(np.searchsorted(known, asked) - 1, 0, len(known) - 2)
        return steps + (asked - known[steps]) / (known[steps + 1] - known[steps])

    def at(self, place: NDArray[np.float64]) -> NDArray[np.float64]:
        """The value that stands at a place."""
        known = self._scaled(np.asarray(self.values, dtype=np.float64))
        if len(known) == 1:
            found = known[0] + place * (1.0 if self.log else max(1.0, float(self.values[0])))
        else:
            steps = np.clip(np.floor(place).astype(int), 0, len(known) - 2)
            found = known[steps] + (place - steps) * (known[steps + 1] - known[steps])
        return np.exp2(found) if self.log else found

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log2(values) if self.log else values

    @property
    def range(self) -> list[float]:
        """The outer edges of the first and the last cell."""
        return [-0.5, max(0, len(self.values) - 1) + 0.5]


def _axis(axis: _Axis, title: str) -> dict[str, Any]:
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


def _rule(across: _Axis, up: _Axis, length: int, context_length: int) -> go.Scatter:
    """The authors' band: where the largest position, about ``w_n + (N - w_n) / G``, is 1/2 to 2/3 of L."""
    low, high = (_line(across, up, share * context_length, length) for share in RULE_SHARES)
    return go.Scatter(
        name="rule",
        x=[*low[0], *high[0][::-1], *low[0][:1]],
        y=[*low[1], *high[1][::-1], *low[1][:1]],
        mode="lines",
        line={"color": INK, "width": 1.5, "dash": "dot"},
        fill="toself",
        fillcolor="rgba(127, 127, 127, 0.22)",
        hoverinfo="skip",
        showlegend=False,
    )


def _reach(across: _Axis, up: _Axis, length: int, context_length: int) -> list[go.Scatter]:
    """A white line with a dark edge, to be seen on each colour of the map."""
    x, y = _line(across, up, context_length, length)
    below = [(one, other) for one, other in zip(x, y, strict=True) if other < up.range[1]]
    ends: dict[str, Any] = {"x": [one for one, _ in below], "y": [other for _, other in below]}
    quiet: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return [
        go.Scatter(name="reach edge", line={"color": EDGE, "width": 6}, **ends, **quiet),
        go.Scatter(name="reach", line={"color": LABEL_INK, "width": 2.5}, **ends, **quiet),
    ]


def _line(across: _Axis, up: _Axis, limit: float, length: int) -> tuple[list[float], list[float]]:
    """Where ``w_n + (N - w_n) / G`` meets a limit, cut to the map; empty where it passes beside it."""
    if not across.values:
        return [], []
    left, right = across.range
    x = np.linspace(left, right, STEPS)
    size = across.at(x)
    x, size = x[size > 1], size[size > 1]
    window = (limit * size - length) / (size - 1)
    y = up.place(window)
    low, high = up.range
    inside = (window >= 0) & (y >= low)
    return x[inside].tolist(), np.minimum(y[inside], high).tolist()


def _frame(across: _Axis, up: _Axis, choice: SelfExtend | None) -> go.Scatter:
    x: list[float] = []
    y: list[float] = []
    if choice and choice.group_size in across.values and choice.neighbor_window in up.values:
        column, row = across.values.index(choice.group_size), up.values.index(choice.neighbor_window)
        x = [column + side * 0.47 for side in (-1, 1, 1, -1, -1)]
        y = [row + side * 0.46 for side in (-1, -1, 1, 1, -1)]
    line = {"color": CELL_INK, "width": 4}
    return go.Scatter(name="choice", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def _labels(figure: go.Figure, length: int) -> list[dict[str, Any]]:
    """The reach's line and the rule's band, named on the map where each is highest."""
    lines = {trace.name: trace for trace in figure.data}
    found = []
    for name, words, side in (("reach", f"N = {length:,} fits →", "left"), ("rule", "authors' rule", "right")):
        trace = lines[name]
        if not trace.x:
            found.append(label("", x=0, y=0))
            continue
        top = max(trace.y)
        place = [x for x, y in zip(trace.x, trace.y, strict=True) if y == top]
        shift = {"xshift": 6} if side == "left" else {}
        x = min(place) if side == "left" else max(place)
        found.append(label(words, x=x, y=top, xanchor=side, yanchor="top", yshift=-4, on_map=True, **shift))
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
