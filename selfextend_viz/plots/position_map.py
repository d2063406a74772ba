"""The position map: how far away each key is said to be, a method's beside plain RoPE's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import get_colorscale

from selfextend_viz.plots.hatching import Line, boundary, edges, hatch
from selfextend_viz.plots.theme import HATCH, INK, NEAR_TO_FAR, NEVER_TRAINED, dress, label
from selfextend_viz.positions import Method, PlainRoPE, SelfExtend, pair_bands, pair_positions, whole_number


@dataclass(frozen=True)
class PositionMap:
    """What the map of one method shows, rows queries and columns keys.

    Attributes
    ----------
    tokens
        The true positions shown, int64 ``[cells]``: all of them, or evenly spaced ones with both ends.
    told
        How far away the key is said to be, object ``[cells, cells]``, ``None`` where it is not seen.
    bands
        Which band holds the pair, int64 ``[cells, cells]``, -1 where the key is not seen.
    never_trained
        Whether the pair is told a position of L or more, bool ``[cells, cells]``.
    """

    tokens: NDArray[np.int64]
    told: NDArray[np.object_]
    bands: NDArray[np.int64]
    never_trained: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """The part of the seen pairs that is told a never-trained position, over the cells shown."""
        return float(self.never_trained.sum() / (self.bands >= 0).sum())


def position_map(
    method: Method, length: int, *, context_length: int | None = None, max_cells: int = 256
) -> PositionMap:
    """The numbers behind one panel of :func:`plot_position_map`.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1, or ``max_cells`` not one >= 2.
    """
    whole_number("length", length)
    cells = min(length, whole_number("max_cells", max_cells, at_least=2))
    limit = np.inf if context_length is None else whole_number("context_length", context_length)
    tokens = np.linspace(0, length - 1, cells).round().astype(np.int64)
    bands = pair_bands(method, tokens[:, None], tokens[None, :])
    numbers = pair_positions(method, tokens[:, None], tokens[None, :])
    told = numbers.astype(object)
    told[bands < 0] = None
    return PositionMap(tokens, told, bands, (bands >= 0) & (numbers >= limit))


def explain_pair(method: Method, query: int, key: int, context_length: int | None = None) -> str:
    """One pair of tokens in a sentence, as "token 700 sees token 12 as if 94 away: trained".

    Raises
    ------
    TypeError, ValueError
        If a position is not a whole number >= 0.
    """
    whole_number("query", query, at_least=0)
    whole_number("key", key, at_least=0)
    if key > query:
        return f"token {query:,} does not see token {key:,}: it has not been written yet"
    if int(pair_bands(method, query, key)) < 0:
        return f"token {query:,} does not see token {key:,}: {method} hides it"
    told = pair_positions(method, query, key).item()
    sentence = f"token {query:,} sees token {key:,} as if {round(told, 2):,} away"
    if hasattr(method, "rope_parameters"):
        return f"{sentence}, at other frequencies"
    if context_length is None:
        return sentence
    return f"{sentence}: {'trained' if told < whole_number('context_length', context_length) else 'never trained'}"


def plot_position_map(
    method: Method,
    length: int,
    *,
    context_length: int | None = None,
    row: int | None = None,
    max_cells: int = 256,
) -> go.Figure:
    """Draw a method's relative positions beside plain RoPE's, on one colour scale.

    Positions of L and more, which training never showed, are orange, hatched and outlined; a white line parts the
    method's bands.

    Parameters
    ----------
    method
        Any method.
    length
        N, the sequence length.
    context_length
        L; without it nothing is marked as never trained.
    row
        A query to point out and explain, ``0 <= row < N``.
    max_cells
        Longer sequences are sampled to this many tokens a side, and the figure says so.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces named ``"<side> <mark>"``: side is ``plain`` or ``method``; mark is ``map`` (the heatmap),
        ``hatch``, ``limit``, ``bands edge``, ``bands``, ``row edge`` and ``row``. Always these fourteen, in this order.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range.
    """
    if row is not None and whole_number("row", row, at_least=0) >= whole_number("length", length):
        raise ValueError(f"row {row} lies outside the {length} tokens; use one of 0 to {length - 1}")
    plain, mapped = (
        position_map(shown, length, context_length=context_length, max_cells=max_cells)
        for shown in (PlainRoPE(), method)
    )
    left: dict[str, Any] = {"xref": "x", "yref": "y"}
    right: dict[str, Any] = {"xref": "x2", "yref": "y2"}
    figure = go.Figure(
        data=[*_traces("plain", plain, row, ("x", "y")), *_traces("method", mapped, row, ("x2", "y2"))],
        layout={
            "annotations": [
                *_labels(left, PlainRoPE(), plain, context_length),
                *_labels(right, method, mapped, context_length),
            ],
            "coloraxis": _color_axis(length, context_length),
            **_axes(length),
        },
    )
    # Set last: a trace that joins a figure is deep-copied, and an object array cell by cell (30 ms for each map).
    for heatmap, data in zip(figure.select_traces({"type": "heatmap"}), (plain, mapped), strict=True):
        heatmap.z = data.told
    title, subtitle = _words(method, length, context_length, row, plain, mapped)
    return dress(figure, title=title, subtitle=subtitle, height=500)


def _traces(name: str, data: PositionMap, row: int | None, axes: tuple[str, str]) -> list[Any]:
    sides = edges(data.tokens)
    seen_as_trained = np.where(data.bands >= 0, data.never_trained.astype(np.int64), -1)
    heatmap = go.Heatmap(
        name=f"{name} map",
        x=data.tokens,
        y=data.tokens,
        xaxis=axes[0],
        yaxis=axes[1],
        coloraxis="coloraxis",
        hoverongaps=False,
        hovertemplate="token %{y} sees token %{x}<br>as if %{z} away<extra></extra>",
    )
    # Taller than one token, so that the eye meets the row and its colours stay visible inside the frame.
    thickness = max(float(sides[-1] - sides[0]) / 55, 1.0) / 2
    frame: Line = ([], [])
    if row is not None:
        frame = (
            [-0.5, row + 0.5, row + 0.5, -0.5, -0.5],
            [row - thickness, row - thickness, row + thickness, row + thickness, row - thickness],
        )
    parting = boundary(data.bands, sides, sides)
    strokes = [
        ("hatch", hatch(data.never_trained, sides, sides), HATCH, 1.2),
        ("limit", boundary(seen_as_trained, sides, sides), "#1a1208", 2.5),
        ("bands edge", parting, "#10141f", 4.5),
        ("bands", parting, "#ffffff", 2),
        ("row edge", frame, "#000000", 3),
        ("row", frame, "#ffffff", 1.2),
    ]
    return [heatmap, *(_stroke(f"{name} {mark}", line, color, width, axes) for mark, line, color, width in strokes)]


def _stroke(name: str, line: Line, color: str, width: float, axes: tuple[str, str]) -> go.Scatter:
    return go.Scatter(
        name=name,
        # As arrays: plotly checks a list point by point, which for a staircase takes longer than all the rest.
        x=np.array(line[0], dtype=object),
        y=np.array(line[1], dtype=object),
        xaxis=axes[0],
        yaxis=axes[1],
        mode="lines",
        line={"color": color, "width": width},
        hoverinfo="skip",
        showlegend=False,
    )


def _labels(
    axes: dict[str, Any], method: Method, data: PositionMap, context_length: int | None
) -> list[dict[str, Any]]:
    """The panel's name, its never-trained region, and its bands: five annotations, hidden where there is nothing."""
    heading = "plain RoPE" if isinstance(method, PlainRoPE) else str(method)
    top: dict[str, Any] = {
        "xref": f"{axes['xref']} domain",
        "yref": f"{axes['yref']} domain",
        "yanchor": "bottom",
        "xanchor": "left",
    }
    found = [label(f"<b>{heading}</b>", x=0, y=1.01, **top)]
    never = f"never trained:<br>told {context_length:,} or more" if context_length is not None else ""
    found.append(_inside(never, data, data.never_trained, axes))
    for number in range(3):
        text = _band_name(method, number)
        cells = (data.bands == number) & ~data.never_trained
        near = number == 0 and len(method.bands) > 1
        found.append((_beside if near else _inside)(text, data, cells, axes))
    return found


def _band_name(method: Method, number: int) -> str:
    if number >= len(method.bands) or len(method.bands) == 1:
        return ""
    band = method.bands[number]
    if isinstance(method, SelfExtend):
        return f"group band: {method.group_size} tokens<br>share a position" if number else "neighbour band:<br>exact"
    return f"band {number + 1}: from {band.nearest:,} away" if band.nearest else f"band {number + 1}: nearest"


def _inside(text: str, data: PositionMap, cells: NDArray[np.bool_], axes: dict[str, Any]) -> dict[str, Any]:
    """A label in the middle of a region, if the region has room for one."""
    if not text or cells.sum() < 0.03 * cells.size:
        return label("", x=0, y=0, on_map=True, **axes)
    rows, columns = np.nonzero(cells)
    x, y = float(data.tokens[columns].mean()), float(data.tokens[rows].mean())
    return label(text, x=x, y=y, on_map=True, **axes)


def _beside(text: str, data: PositionMap, cells: NDArray[np.bool_], axes: dict[str, Any]) -> dict[str, Any]:
    """A label in the empty upper triangle with an arrow to a region on the diagonal."""
    rows, columns = np.nonzero(cells)
    row = rows[np.abs(rows - len(data.tokens) * 0.45).argmin()]
    column = int(columns[rows == row].mean())
    arrow = {"showarrow": True, "arrowhead": 2, "arrowcolor": INK, "axref": axes["xref"], "ayref": axes["yref"]}
    end = {"ax": float(data.tokens[-1]) * 0.80, "ay": float(data.tokens[-1]) * 0.14}
    return {**label(text, x=float(data.tokens[column]), y=float(data.tokens[row])), **axes, **arrow, **end}


def _color_axis(length: int, context_length: int | None) -> dict[str, Any]:
    """Near to far over the trained positions; everything from L on is one colour of its own."""
    scale = get_colorscale(NEAR_TO_FAR)
    top = max(length - 1, 1)
    bar: dict[str, Any] = {"title": {"text": "told distance", "side": "right"}, "thickness": 12, "outlinewidth": 0}
    if context_length is None or length <= context_length:
        limit = top if context_length is None else context_length
        return {"colorscale": scale, "cmin": 0, "cmax": limit, "colorbar": bar}
    share = 0.86
    split = [[place * share, color] for place, color in scale] + [[share, NEVER_TRAINED], [1.0, NEVER_TRAINED]]
    ticks = sorted({0, context_length // 2, context_length})
    names = [f"{tick:,}" if tick < context_length else f"L = {tick:,}" for tick in ticks]
    never = context_length * (1 + 1 / share) / 2
    bar |= {"tickvals": [*ticks, never], "ticktext": [*names, "never trained"]}
    return {"colorscale": split, "cmin": 0, "cmax": context_length / share, "colorbar": bar}


def _axes(length: int) -> dict[str, Any]:
    """Two square panels; queries run downwards, as in a matrix."""
    ends = [-0.5, length - 0.5]
    key = {"title": {"text": "key position j"}, "range": ends, "constrain": "domain", "showgrid": False}
    query = {"range": ends[::-1], "constrain": "domain", "showgrid": False}
    return {
        "xaxis": {**key, "domain": [0, 0.47], "anchor": "y"},
        "yaxis": {**query, "anchor": "x", "scaleanchor": "x", "title": {"text": "query position i"}},
        "xaxis2": {**key, "domain": [0.53, 1], "anchor": "y2"},
        "yaxis2": {**query, "anchor": "x2", "scaleanchor": "x2", "matches": "y", "showticklabels": False},
    }


def _words(
    method: Method, length: int, context_length: int | None, row: int | None, plain: PositionMap, mapped: PositionMap
) -> tuple[str, str]:
    """The title, which is the finding, and the line under it, which explains the row."""
    if context_length is None:
        title = f"How far away each of {length:,} tokens is said to be"
    elif length <= context_length:
        title = f"All {length:,} tokens lie within the {context_length:,} the model was trained on"
    else:
        name = str(method).partition("(")[0]
        told = f"still {_percent(mapped.share)}" if mapped.never_trained.any() else "none"
        if hasattr(method, "rope_parameters"):
            told = "the same, at other frequencies"
        title = f"Plain RoPE tells {_percent(plain.share)} of the pairs a distance never trained; {name} {told}"
    lines = []
    if row is not None:
        lines.append(f"{explain_pair(method, row, 0, context_length)}; plain RoPE says {row:,}")
    if len(mapped.tokens) < length:
        lines.append(f"{len(mapped.tokens)} of {length:,} tokens drawn a side")
    return title, " · ".join(lines)


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.01 else f"{share:.0%}"
