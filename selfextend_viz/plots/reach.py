"""The reach map: how long a text each setting of G and w_n carries, and whether the current one carries N."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from selfextend_viz.plots.hatching import edges
from selfextend_viz.plots.reach_marks import map_labels, setting_marks
from selfextend_viz.plots.reach_numbers import ReachMap, enough, reach_map, reach_sentence
from selfextend_viz.plots.theme import INK, STOCK_COLOR, dress
from selfextend_viz.positions import SelfExtend

LEFT_EDGE = 0.75
"""Where the map begins: a little left of G = 1, whose column is drawn whole."""


def plot_reach(
    *,
    context_length: int,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
    largest_group_size: int | None = None,
) -> go.Figure:
    """Draw the exact reach ``G * (L - w_n + w_n // G)`` over G and w_n, and where the current N and setting lie.

    Parameters
    ----------
    context_length
        L.
    length
        N: draws the line up to which it fits, and the authors' rule for it.
    group_size, neighbor_window
        The current setting, drawn as a dot; give both or neither.
    largest_group_size
        How far the map goes; when left out, far enough for N and the setting, and 64 at least.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``reach`` (the heatmap: x is G on a log axis, y is w_n), ``too short`` (hatched), ``rule 1/2``,
        ``rule 2/3``, ``N edge`` and ``N``, always these six, in this order; shapes ``too long`` and
        ``authors' rule`` (words), ``setting`` (the dot) and ``setting in words``.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, w_n >= L, or only one of the setting's two is given.
    """
    setting = _setting_of(context_length, group_size, neighbor_window)
    if largest_group_size is None:
        largest_group_size = enough(context_length, length, setting)
    data = reach_map(context_length=context_length, length=length, largest_group_size=largest_group_size)
    figure = go.Figure(
        data=[_heatmap(data, context_length), *_lines(data)],
        layout={"shapes": _labels(data, context_length, length), **_axes(data, context_length)},
    )
    dress(figure, title=f"How far Self-Extend carries a model trained at {context_length:,} tokens", height=460)
    return _marked(figure, context_length, length, setting)


def _setting_of(context_length: int, group_size: int | None, neighbor_window: int | None) -> SelfExtend | None:
    """The setting, if one is given and L can carry it."""
    if (group_size is None) != (neighbor_window is None):
        raise ValueError(
            f"a setting needs both numbers, not group_size {group_size} and neighbor_window {neighbor_window}; "
            "give both or neither"
        )
    if group_size is None or neighbor_window is None:
        return None
    setting = SelfExtend(group_size, neighbor_window)
    setting.capacity(context_length)
    return setting


def move_setting(
    figure: go.Figure, *, context_length: int, length: int, group_size: int, neighbor_window: int
) -> go.Figure:
    """Make a figure of :func:`plot_reach` show another setting; its L, N and :func:`enough` must be the same.

    Returns
    -------
    plotly.graph_objects.Figure
        The same figure.

    Raises
    ------
    TypeError, ValueError
        As :class:`~selfextend_viz.positions.SelfExtend` does, and if w_n >= L.
    """
    return _marked(figure, context_length, length, _setting_of(context_length, group_size, neighbor_window))


def _marked(figure: go.Figure, context_length: int, length: int | None, setting: SelfExtend | None) -> go.Figure:
    """The same figure with the setting's dot on its map and, if N is drawn, the finding as its title."""
    labels = figure.layout.shapes[:2]
    figure.layout.shapes = [*labels, *setting_marks(setting, context_length, int(figure.data[0].x[-1]))]
    if length is None or setting is None:
        return figure
    numbers = {"group_size": setting.group_size, "neighbor_window": setting.neighbor_window}
    reach = setting.capacity(context_length)
    fits = "N fits" if reach >= length else "N does not fit"
    figure.layout.title.text = f"{fits}: {setting} reaches {reach:,} tokens, N is {length:,}"
    figure.layout.title.subtitle.text = reach_sentence(context_length=context_length, length=length, **numbers)
    return figure


def _heatmap(data: ReachMap, context_length: int) -> dict[str, Any]:
    powers = range(0, math.ceil(math.log2(data.reach.max() / context_length)) + 1)
    step = max(1, len(powers) // 6)
    marks = [context_length * 2**power for power in powers[::step]]
    names = ["L", *(f"{2**power} L" for power in powers[::step][1:])]
    return dict(
        type="heatmap",
        name="reach",
        x=data.group_sizes,
        y=data.windows,
        z=np.log2(data.reach / context_length),
        customdata=data.reach,
        colorscale="Cividis",
        zmin=0,
        colorbar={
            "title": {"text": "exact reach", "side": "right"},
            "tickvals": [math.log2(mark / context_length) for mark in marks],
            "ticktext": [f"{name} = {mark:,}" for name, mark in zip(names, marks, strict=True)],
            "thickness": 12,
            "outlinewidth": 0,
            "ticks": "outside",
            "ticklen": 3,
            "tickcolor": INK,
        },
        hovertemplate="G = %{x}, w_n = %{y}<br>reaches %{customdata:,} tokens<extra></extra>",
    )


def _lines(data: ReachMap) -> list[dict[str, Any]]:
    """Where N stops fitting, hatched on the side where it does not, and the authors' rule."""
    sizes = [*data.group_sizes.tolist(), float(edges(data.group_sizes)[-1])]
    widest = [*data.widest, *data.widest[-1:]]
    short_x: list[float] = []
    short_y: list[float] = []
    top = float(data.windows[-1]) + 0.5
    if data.widest:
        short_x = [LEFT_EDGE, *sizes, sizes[-1], LEFT_EDGE]
        lower = [-0.5 if wide is None else float(wide) for wide in (widest[0], *widest)]
        short_y = [*lower, top, top]
    line_x = [size for size, wide in zip(sizes, widest, strict=False) if wide is not None]
    line_y = [wide for wide in widest if wide is not None]
    quiet: dict[str, Any] = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False}
    hatching = {"shape": "/", "size": 9, "solidity": 0.18, "fgcolor": STOCK_COLOR, "bgcolor": "rgba(20, 12, 4, 0.45)"}
    marks = [dict(name="too short", x=short_x, y=short_y, fill="toself", fillpattern=hatching, **quiet)]
    marks[0]["line"] = {"width": 0, "color": STOCK_COLOR}
    for number, (name, dash) in enumerate((("rule 1/2", "dot"), ("rule 2/3", "dash"))):
        windows = data.rule[number] if data.rule else ()
        x = [size for size, window in zip(sizes, windows, strict=False) if window is not None]
        y = [window for window in windows if window is not None]
        marks.append(dict(name=name, x=x, y=y, line={"color": "#ffffff", "width": 2, "dash": dash}, **quiet))
    marks.append(dict(name="N edge", x=line_x, y=line_y, line={"color": "#10141f", "width": 6}, **quiet))
    marks.append(dict(name="N", x=line_x, y=line_y, line={"color": STOCK_COLOR, "width": 3}, **quiet))
    return marks


def _labels(data: ReachMap, context_length: int, length: int | None) -> list[dict[str, Any]]:
    """Direct labels: the side where N is too long, and the rule."""
    blocked = [size for size, wide in zip(data.group_sizes, data.widest, strict=False) if wide is None]
    sizes = data.group_sizes.tolist()
    text = f"N = {length:,}<br>does not fit" if length is not None and blocked else ""
    middle = math.sqrt(blocked[-1]) if blocked else 1.0
    rule = [(size, window) for size, window in zip(sizes, data.rule[1] if data.rule else (), strict=False) if window]
    words = "authors' rule: below the<br>dashes (2/3 L) or dots (1/2 L)" if rule else ""
    return map_labels(text, (middle, context_length * 0.5), words, rule[-1] if rule else (1, 0.0))


def _axes(data: ReachMap, context_length: int) -> dict[str, Any]:
    sides = edges(data.group_sizes)
    powers = [2**power for power in range(int(math.log2(data.group_sizes[-1])) + 1)]
    x_range = [math.log10(LEFT_EDGE), math.log10(float(sides[-1]))]
    shares = [(0, "0"), (1 / 4, "L/4"), (1 / 2, "L/2"), (3 / 4, "3L/4"), (1, "L")]
    ticks = {round(share * context_length): name for share, name in shares}
    return {
        "xaxis": {
            "type": "log",
            "title": {"text": "group size G"},
            "tickvals": powers,
            "ticktext": [str(power) for power in powers],
            "range": x_range,
            "showgrid": False,
        },
        "yaxis": {
            "title": {"text": "neighbour window w<sub>n</sub>"},
            "tickvals": list(ticks),
            "ticktext": [f"{name} = {tick:,}" if tick else "0" for tick, name in ticks.items()],
            "range": [-0.5, context_length - 0.5],
            "showgrid": False,
        },
    }
