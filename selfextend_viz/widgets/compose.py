"""Several plotly figures side by side in one plain figure, for the lab's snapshot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

BAR_ROOM = 0.085
"""Share of the width kept at the right of each piece for its colour bar or the names of its curves."""
AXIS_ROOM, HEAD_ROOM, FOOT_ROOM = 0.055, 0.115, 0.06
WIDTH, ROW_HEIGHT = 1240, 400
LINE, LONG_LINE = 86, 165
"""Characters of a sentence on one line of a piece, and across the whole figure."""


@dataclass(frozen=True)
class Piece:
    """One figure with its name and sentence."""

    name: str
    text: str
    figure: go.Figure


@dataclass(frozen=True)
class Place:
    """A piece's rectangle in paper coordinates, and what its axes' numbers rise by."""

    left: float
    right: float
    bottom: float
    top: float
    offset: int

    def x(self, share: float) -> float:
        """A share of the piece's width, on the paper."""
        return self.left + share * (self.right - self.left)

    def y(self, share: float) -> float:
        """A share of the piece's height, on the paper."""
        return self.bottom + share * (self.top - self.bottom)

    def axis(self, name: str) -> str:
        """``"x2"`` or ``"xaxis2"`` under its new number."""
        letters, number = re.fullmatch(r"([a-z]+)(\d*)", name).groups()  # type: ignore[union-attr]
        moved = int(number or 1) + self.offset
        return letters if moved == 1 else f"{letters}{moved}"


def compose(pieces: Sequence[Piece], *, title: str, text: str = "", columns: int = 2) -> go.Figure:
    """One figure with all `pieces` in a grid, each under its name and sentence; `text` stands under the title."""
    rows = -(-len(pieces) // columns)
    together = go.Figure()
    shapes: list[Any] = []
    notes: list[Any] = []
    offset = 0
    for number, piece in enumerate(pieces):
        row, column = divmod(number, columns)
        place = Place(
            left=column / columns + AXIS_ROOM * (column > 0),
            right=(column + 1) / columns - BAR_ROOM,
            bottom=1 - (row + 1) / rows + FOOT_ROOM * (row < rows - 1),
            top=1 - row / rows - HEAD_ROOM,
            offset=offset,
        )
        add_piece(together, piece, place, shapes, notes)
        offset += axes_of(piece.figure)
    template = pieces[0].figure.layout.template
    lines = wrap(text, LONG_LINE)
    together.update_layout(
        template=template,
        title={"text": title, "subtitle": {"text": "<br>".join(lines)}},
        width=WIDTH,
        height=rows * ROW_HEIGHT + 80 + 20 * len(lines),
        shapes=shapes,
        annotations=notes,
    )
    together.update_layout(font={"size": 11}, margin={"t": 60 + 20 * len(lines), "b": 45, "l": 55, "r": 20})
    return together


def axes_of(figure: go.Figure) -> int:
    """The highest axis number of a figure."""
    names = [name for name in figure.layout.to_plotly_json() if re.fullmatch(r"[xy]axis\d*", name)]
    return max((int(re.sub(r"\D", "", name) or 1) for name in names), default=1)


def add_piece(together: go.Figure, piece: Piece, place: Place, shapes: list[Any], notes: list[Any]) -> None:
    """Put one piece's traces, axes, shapes and annotations in its place."""
    layout = {"xaxis": {}, "yaxis": {}, **piece.figure.layout.to_plotly_json()}
    for trace in piece.figure.data:
        together.add_trace(type(trace)(moved_trace(trace.to_plotly_json(), place)))
    for name, axis in layout.items():
        if re.fullmatch(r"[xy]axis\d*", name):
            together.update_layout({place.axis(name): moved_axis(name, axis, place)})
        elif name.startswith("coloraxis"):
            together.update_layout({place.axis(name): moved_bar(axis, place)})
    shapes += [moved_mark(shape, place) for shape in layout.get("shapes") or ()]
    notes += [moved_mark(note, place) for note in layout.get("annotations") or ()]
    notes.append(name_note(piece, place))


def moved_trace(trace: dict[str, Any], place: Place) -> dict[str, Any]:
    """A trace on its new axes."""
    moved = {**trace, "xaxis": place.axis(trace.get("xaxis", "x")), "yaxis": place.axis(trace.get("yaxis", "y"))}
    if "coloraxis" in trace:
        moved["coloraxis"] = place.axis(trace["coloraxis"])
    moved["showlegend"] = False
    return moved_bar(moved, place)


def moved_bar(holder: dict[str, Any], place: Place) -> dict[str, Any]:
    """A trace or colour axis whose colour bar, if any, stands in its place."""
    bar = holder.get("colorbar")
    if not bar:
        return holder
    vertical = bar.get("orientation", "v") == "v"
    moved = {
        **bar,
        "x": place.x(bar.get("x", 1.02 if vertical else 0.5)),
        "y": place.y(bar.get("y", 0.5 if vertical else 1.02)),
    }
    if bar.get("lenmode", "fraction") == "fraction":
        size = place.top - place.bottom if vertical else place.right - place.left
        moved["len"] = bar.get("len", 1) * size
    return {**holder, "colorbar": moved}


def moved_axis(name: str, axis: dict[str, Any], place: Place) -> dict[str, Any]:
    """An axis whose domain, and the axes it refers to, are moved."""
    low, high = axis.get("domain") or (0.0, 1.0)
    move = place.x if name.startswith("x") else place.y
    moved = {**axis, "domain": [move(low), move(high)]}
    for key in ("anchor", "matches", "scaleanchor", "overlaying"):
        if key in moved and re.fullmatch(r"[xy]\d*", str(moved[key])):
            moved[key] = place.axis(moved[key])
    moved.setdefault("anchor", place.axis("y" if name.startswith("x") else "x"))
    return moved


def moved_mark(mark: dict[str, Any], place: Place) -> dict[str, Any]:
    """A shape or annotation on its new axes, or its new share of the paper."""
    moved = dict(mark)
    for letter, move in (("x", place.x), ("y", place.y)):
        reference = moved.get(f"{letter}ref", letter)
        if reference == "paper":
            for key in (letter, f"{letter}0", f"{letter}1"):
                if key in moved:
                    moved[key] = move(moved[key])
            moved[f"{letter}ref"] = "paper"
        else:
            axis, _, domain = reference.partition(" ")
            moved[f"{letter}ref"] = f"{place.axis(axis)} {domain}".strip()
    return moved


def name_note(piece: Piece, place: Place) -> dict[str, Any]:
    """A piece's name over its figure."""
    return {
        "text": f"<b>{piece.name}</b><br>" + "<br>".join(wrap(piece.text, LINE)),
        "x": place.left,
        "y": place.top,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 30,
        "align": "left",
        "font": {"size": 12},
        "showarrow": False,
    }
