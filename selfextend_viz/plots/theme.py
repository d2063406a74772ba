"""One look for all figures: colours that survive colour blindness, and no background, for light and dark pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

STOCK_COLOR = "#e0701a"
METHOD_COLOR = "#3b82d6"
REFERENCE_COLOR = "#8a8a8a"
INK = "#7a7a7a"
"""Text and axes: contrast above 4 to 1 on white and on JupyterLab's dark grey alike."""
GRID = "rgba(127, 127, 127, 0.22)"
NEVER_TRAINED = "#e0701a"
"""Positions at or past L; always with hatching, so that colour is never the only sign."""
HATCH = "rgba(60, 20, 0, 0.75)"
LABEL_BACKGROUND = "rgba(20, 24, 34, 0.78)"
LABEL_INK = "#ffffff"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

NEAR_TO_FAR = "Cividis_r"
"""Trained relative positions: bright is near, dark is far."""
NEARER, FARTHER = "#3b82d6", "#e0701a"
NEARER_TO_FARTHER = ((0.0, "#1f4f94"), (0.25, "#6aa5e6"), (0.5, "#ece7df"), (0.75, "#f0a05c"), (1.0, "#b04a08"))
"""Differences of told distances: blue is nearer, orange is farther, and the middle is none."""
FAILING, DOUBTFUL, MIDDLE, HELPED, RIGHT = "#dd7a2b", "#f0ab70", "#ece7df", "#8fbdea", "#4f93dc"
FAILING_TO_RIGHT = ((0.0, FAILING), (0.25, DOUBTFUL), (0.5, MIDDLE), (0.75, HELPED), (1.0, RIGHT))
"""Shares of right answers: orange is broken, blue is mended. All are light enough for `CELL_INK`."""
CELL_INK = "#000000"
"""Words in coloured cells: contrast above 6 to 1 on each colour of `FAILING_TO_RIGHT`."""


@dataclass(frozen=True)
class Style:
    """How one condition is drawn everywhere: a colour, a dash and a marker, so that no sign stands alone."""

    color: str
    dash: str
    symbol: str


KNOWN_STYLES = {
    "stock": Style(STOCK_COLOR, "solid", "circle"),
    "reference": Style(REFERENCE_COLOR, "solid", "circle"),
    "blindfold": Style("#8a63c9", "dash", "square"),
    "truncate": Style("#2f9e8f", "dot", "triangle-up"),
    "sinks": Style("#b0577d", "dashdot", "x"),
}
METHOD_STYLES = (
    Style(METHOD_COLOR, "solid", "diamond"),
    Style("#4fa3b8", "longdash", "star"),
    Style("#6b79d9", "longdashdot", "hexagon"),
    Style("#9a8f3a", "dash", "pentagon"),
)
MORE_STYLES = (
    Style("#c2649a", "solid", "triangle-down"),
    Style("#5f9e4f", "longdash", "cross"),
    Style("#a8763e", "dashdot", "bowtie"),
    Style("#7f8fa6", "dash", "triangle-left"),
    Style("#8f6bb8", "longdashdot", "triangle-right"),
    Style("#3f8f9f", "dot", "diamond-tall"),
    Style("#b5894f", "solid", "hourglass"),
    Style("#5c6fb0", "dashdot", "star-diamond"),
)
"""For the fifth method and on; so many only stand side by side where each is named at its mark."""


def condition_styles(conditions: list[str]) -> dict[str, Style]:
    """One style for each condition label; methods take the blue ones in the order given."""
    methods = [name for name in dict.fromkeys(conditions) if name not in KNOWN_STYLES]
    choice = (*METHOD_STYLES, *MORE_STYLES)
    styles = {name: choice[index % len(choice)] for index, name in enumerate(methods)}
    return {name: KNOWN_STYLES.get(name) or styles[name] for name in dict.fromkeys(conditions)}


def faded(color: str, opacity: float) -> str:
    """A ``#rrggbb`` colour as ``rgba`` with the opacity given."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity})"


def finite(value: float | None) -> float | None:
    """The number, or ``None`` in place of NaN and infinities, which live figures cannot carry."""
    return float(value) if value is not None and math.isfinite(value) else None


def dress(figure: go.Figure, *, title: str, subtitle: str = "", height: int = 440) -> go.Figure:
    """Give a figure the common look and a title that states its finding; returns the same figure."""
    figure.update_layout(
        template=LOOK,
        title={"text": title, "subtitle": {"text": subtitle}},
        height=height,
    )
    return figure


def label(text: str, *, x: float, y: float, on_map: bool = False, **changes: Any) -> dict[str, Any]:
    """An annotation without an arrow; ``on_map`` puts light text on a dark plate, readable on any colour."""
    plate = {"bgcolor": LABEL_BACKGROUND, "font": {"color": LABEL_INK, "size": 12}, "borderpad": 3} if on_map else {}
    return {"text": text, "x": x, "y": y, "showarrow": False, "visible": bool(text), **plate, **changes}


_AXIS = {
    "gridcolor": GRID,
    "linecolor": INK,
    "tickcolor": INK,
    "ticks": "outside",
    "ticklen": 4,
    "zeroline": False,
    "title": {"standoff": 8},
    "automargin": True,
}
LOOK = go.layout.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "title": {
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "pad": {"l": 16, "t": 14},
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "font": {"size": 17},
            "subtitle": {"font": {"size": 13}},
        },
        "margin": {"l": 64, "r": 24, "t": 96, "b": 56},
        "colorway": [style.color for style in METHOD_STYLES],
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {"font": {"family": FONT}, "namelength": -1},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1.0},
    }
)
