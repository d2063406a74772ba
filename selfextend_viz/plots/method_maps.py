"""Position maps in small multiples, on one colour scale, and the difference between any two of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import get_colorscale

from selfextend_viz.plots.hatching import boundary, edges, hatch
from selfextend_viz.plots.map_bands import drawn_tokens
from selfextend_viz.plots.theme import (
    HATCH,
    NEAR_TO_FAR,
    NEARER_TO_FARTHER,
    NEVER_TRAINED,
    REFERENCE_COLOR,
    dress,
    faded,
    label,
)
from selfextend_viz.plots.told_distances import blank, method_name, several, slowing_note, told_distances
from selfextend_viz.positions import Method, whole_number

COLUMNS = 4
HEAD, FOOT, GAP = 96, 52, 24
"""Pixels over the panels, under them, and between two rows."""
CELL, LARGE_CELL = 236, 330
"""Pixels of a panel where there are four beside each other, and where there are fewer."""
LINE, SHORT = 15, 24
"""Pixels of a line over a panel, and the longest name in characters that fits on one."""
STROKES = 16


def position_maps(
    methods: Sequence[Method], length: int, *, context_length: int | None = None, max_cells: int = 96
) -> tuple[NDArray[np.int64], list[NDArray[np.float64]]]:
    """The numbers behind :func:`plot_position_maps`.

    Returns
    -------
    tokens : NDArray
        The true positions drawn, int64 ``[cells]``.
    told : list of NDArray
        For each method how far away the key seems, float64 ``[cells, cells]`` (query, key), NaN where it is not seen.

    Raises
    ------
    TypeError, ValueError
        As :func:`plot_position_maps`.
    """
    tokens = drawn_tokens(length, max_cells)
    if context_length is not None:
        whole_number("context_length", context_length)
    places = tokens[:, None], tokens[None, :]
    return tokens, [
        told_distances(method, *places, length=length, context_length=context_length) for method in several(methods)
    ]


def plot_position_maps(
    methods: Sequence[Method],
    length: int,
    *,
    difference: tuple[Method, Method] | None = None,
    context_length: int | None = None,
    max_cells: int = 96,
) -> go.Figure:
    """Draw the relative positions of several methods as small maps on one colour scale; unseen pairs are blank.

    A method of frequencies leaves positions alone, and is drawn as its slowest pair turns; its panel says so.

    Parameters
    ----------
    methods
        Any methods, one panel each.
    length
        N, the sequence length.
    difference
        Two of the methods, (a, b): a last panel shows by how much a's distance is larger than b's. Pairs that only one
        of the two sees are grey and hatched.
    context_length
        L: distances of L or more, which training never showed, are orange, hatched and outlined.
    max_cells
        Longer sequences are sampled to this many tokens a side, and the figure says so.

    Returns
    -------
    plotly.graph_objects.Figure
        For each method the traces ``"<name> map"``, ``"<name> hatch"`` and ``"<name> limit"``; with a difference also
        ``difference map``, ``difference unseen`` and ``difference hatch``.

    Raises
    ------
    TypeError, ValueError
        If there are no methods, a number is not whole or out of range, the difference is not one of two methods drawn,
        or a method needs an L that is missing.
    """
    tokens, told = position_maps(methods, length, context_length=context_length, max_cells=max_cells)
    limit = math.inf if context_length is None else context_length
    figure = go.Figure()
    matrices: list[NDArray[np.object_]] = []
    for number, (method, numbers) in enumerate(zip(methods, told, strict=True)):
        figure.add_traces(_panel(method_name(method), tokens, numbers >= limit, ~np.isnan(numbers), _axes_of(number)))
        matrices.append(blank(numbers))
    panels = [_heading(method, length, context_length) for method in methods]
    if difference is not None:
        first, second = _pair(methods, difference)
        apart = told[first] - told[second]
        one = np.isnan(told[first]) != np.isnan(told[second])
        figure.add_traces(_difference(tokens, one, _axes_of(len(methods))))
        matrices.append(blank(apart))
        panels.append(_difference_heading(methods[first], methods[second], bool(one.any())))
        figure.update_layout(coloraxis2=_difference_axis(apart))
    # Set last: a trace that joins a figure is deep-copied, and an object array cell by cell.
    maps = [trace for trace in figure.data if trace.name.endswith(" map")]
    for heatmap, matrix in zip(maps, matrices, strict=True):
        heatmap.z = matrix
    height = _arrange(figure, panels, length, context_length)
    title, subtitle = _words(methods, told, length, context_length, len(tokens))
    return dress(figure, title=title, subtitle=subtitle, height=height).update_layout(margin={"t": HEAD, "b": FOOT})


def _pair(methods: Sequence[Method], difference: tuple[Method, Method]) -> tuple[int, int]:
    names = [method_name(method) for method in methods]
    if not isinstance(difference, (tuple, list)) or len(difference) != 2:
        raise TypeError(f"difference must be two of the methods, as (a, b), not {difference!r}")
    wanted = [method_name(method) for method in difference]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"the difference needs {missing[0]}, which is none of the {len(names)} methods drawn")
    return names.index(wanted[0]), names.index(wanted[1])


def _axes_of(number: int) -> dict[str, str]:
    suffix = str(number + 1) if number else ""
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _panel(
    name: str,
    tokens: NDArray[np.int64],
    never: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    axes: dict[str, str],
) -> list[Any]:
    sides = edges(tokens)
    heatmap = _heatmap(f"{name} map", tokens, axes, "coloraxis", f"as if %{{z}} away<extra>{name}</extra>")
    labels = np.where(seen, never.astype(np.int64), -1)
    return [
        heatmap,
        _stroke(f"{name} hatch", hatch(never, sides, sides, strokes=STROKES), HATCH, 1.2, axes),
        _stroke(f"{name} limit", boundary(labels, sides, sides), "#1a1208", 1.8, axes),
    ]


def _difference(tokens: NDArray[np.int64], one: NDArray[np.bool_], axes: dict[str, str]) -> list[Any]:
    sides = edges(tokens)
    grey = [[0, faded(REFERENCE_COLOR, 0.35)], [1, faded(REFERENCE_COLOR, 0.35)]]
    unseen = go.Heatmap(
        name="difference unseen",
        x=tokens,
        y=tokens,
        z=[[1 if cell else None for cell in row] for row in one.tolist()],
        colorscale=grey,
        showscale=False,
        hoverongaps=False,
        hovertemplate="token %{y}, token %{x}<br>seen by one of the two<extra></extra>",
        **axes,
    )
    words = "%{z} farther (negative: nearer)<extra>difference</extra>"
    return [
        _heatmap("difference map", tokens, axes, "coloraxis2", words),
        unseen,
        _stroke("difference hatch", hatch(one, sides, sides, strokes=STROKES), REFERENCE_COLOR, 1.2, axes),
    ]


def _heatmap(name: str, tokens: NDArray[np.int64], axes: dict[str, str], coloraxis: str, words: str) -> go.Heatmap:
    return go.Heatmap(
        name=name,
        x=tokens,
        y=tokens,
        coloraxis=coloraxis,
        hoverongaps=False,
        hovertemplate=f"token %{{y}} sees token %{{x}}<br>{words}",
        **axes,
    )


def _stroke(name: str, line: Any, color: str, width: float, axes: dict[str, str]) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=np.array(line[0], dtype=object),
        y=np.array(line[1], dtype=object),
        mode="lines",
        line={"color": color, "width": width},
        hoverinfo="skip",
        showlegend=False,
        **axes,
    )


def _heading(method: Method, length: int, context_length: int | None) -> str:
    """A panel's name over its parameters, and what must be said of a method of frequencies."""
    name, _, numbers = method_name(method).partition("(")
    note = slowing_note(method, length, context_length=context_length)
    if len(method_name(method)) <= SHORT:
        name, numbers = method_name(method), ""
    return "<br>".join(part for part in (f"<b>{name}</b>", numbers.removesuffix(")"), note) if part)


def _difference_heading(first: Method, second: Method, hidden: bool) -> str:
    said = f"<b>Difference</b><br>{method_name(first)}<br>− {method_name(second)}"
    return f"{said}<br>hatched: one of them does not see" if hidden else said


def _difference_axis(apart: NDArray[np.float64]) -> dict[str, Any]:
    seen = np.abs(apart[~np.isnan(apart)])
    most = float(seen.max()) if seen.size and seen.max() > 0 else 1.0
    bar = {"title": {"text": "difference<br>(+ farther)", "side": "top"}, "len": 0.44, "y": 0.2, "yanchor": "middle"}
    return {
        "colorscale": [list(stop) for stop in NEARER_TO_FARTHER],
        "cmin": -most,
        "cmax": most,
        "colorbar": {**bar, "thickness": 12, "outlinewidth": 0},
    }


def _color_axis(length: int, context_length: int | None, *, stacked: bool) -> dict[str, Any]:
    """Near to far over the trained distances, and one colour from L on; a shorter bar where another stands under it."""
    scale = get_colorscale(NEAR_TO_FAR)
    bar: dict[str, Any] = {"title": {"text": "told distance", "side": "top"}, "thickness": 12, "outlinewidth": 0}
    if stacked:
        bar |= {"len": 0.5, "y": 0.76, "yanchor": "middle"}
    if context_length is None or length <= context_length:
        return {"colorscale": scale, "cmin": 0, "cmax": context_length or max(length - 1, 1), "colorbar": bar}
    share = 0.74 if stacked else 0.86
    split = [[stop * share, color] for stop, color in scale] + [[share, NEVER_TRAINED], [1.0, NEVER_TRAINED]]
    ticks = {0: "0", context_length // 2: f"{context_length // 2:,}", context_length: f"L = {context_length:,}"}
    values = [*ticks, context_length * (1 + 1 / share) / 2]
    bar |= {"tickvals": values, "ticktext": [*ticks.values(), "untrained"]}
    return {"colorscale": split, "cmin": 0, "cmax": context_length / share, "colorbar": bar}


def _arrange(figure: go.Figure, panels: list[str], length: int, context_length: int | None) -> int:
    """Put the panels into a grid, each under its heading; returns the figure's height."""
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    head = LINE * max(heading.count("<br>") + 1 for heading in panels)
    side = CELL if columns == COLUMNS else LARGE_CELL
    pitch = head + side + GAP
    whole = rows * pitch - GAP
    stacked = "coloraxis2" in figure.layout.to_plotly_json()
    layout: dict[str, Any] = {"coloraxis": _color_axis(length, context_length, stacked=stacked)}
    notes = []
    for number, heading in enumerate(panels):
        row, column = divmod(number, columns)
        axes = _axes_of(number)
        top = 1 - (row * pitch + head) / whole
        across, down = [column / columns, (column + 0.93) / columns], [top - side / whole, top]
        base = number + columns >= len(panels)
        layout[f"xaxis{axes['xaxis'][1:]}"] = _axis(length, across, axes["yaxis"], "key j", base)
        layout[f"yaxis{axes['yaxis'][1:]}"] = {
            **_axis(length, [max(0.0, end) for end in down], axes["xaxis"], "query i", column == 0),
            "range": [length - 0.5, -0.5],
            "scaleanchor": axes["xaxis"],
            "constraintoward": "top",
        }
        above: dict[str, Any] = {"xref": f"{axes['xaxis']} domain", "yref": "paper", "yanchor": "bottom"}
        notes.append(label(heading, x=0, y=top, xanchor="left", align="left", yshift=2, font={"size": 11}, **above))
    figure.update_layout(annotations=notes, **layout)
    return HEAD + FOOT + whole


def _axis(length: int, domain: list[float], anchor: str, title: str, named: bool) -> dict[str, Any]:
    """One side of a panel; only those at the grid's left and lower edges are named."""
    return {
        "range": [-0.5, length - 0.5],
        "domain": domain,
        "anchor": anchor,
        "constrain": "domain",
        "constraintoward": "left",
        "showgrid": False,
        "nticks": 4,
        "showticklabels": named,
        "title": {"text": title if named else ""},
    }


def _words(
    methods: Sequence[Method],
    told: list[NDArray[np.float64]],
    length: int,
    context_length: int | None,
    cells: int,
) -> tuple[str, str]:
    """The title, which counts who tells no distance past L, and what the picture leaves out."""
    signs = ["blank: not seen"]
    title = f"How far away each of {length:,} tokens is said to be"
    scaled = [getattr(method, "rope_parameters", None) is not None for method in methods]
    judged = [numbers for numbers, other in zip(told, scaled, strict=True) if not other]
    if context_length is not None and length > context_length:
        if judged:
            kept = sum(not (numbers >= context_length).any() for numbers in judged)
            title = f"At {length:,} tokens {kept} of {len(judged)} tell no distance of L = {context_length:,} or more"
        signs.append("hatched orange: L or more, never trained")
    if cells < length:
        signs.append(f"{cells} of {length:,} tokens drawn a side")
    lines = [" · ".join(signs)]
    if any(scaled):
        lines.append(
            "Scaled frequencies are drawn as their slowest pair turns; other pairs may leave the trained range."
        )
    return title, "<br>".join(lines)
