"""A panel: a card with one living figure that fresh figures are copied into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
import numpy as np
import plotly.graph_objects as go

from selfextend_viz.widgets.card import Card, Table
from selfextend_viz.widgets.look import script

SMALL = 11
"""The type size inside cards, in pixels."""
LONG = 64
"""Lists longer than this are set as arrays, which plotly checks at once instead of item by item."""
CONFIG = {"displayModeBar": False, "responsive": True}


class CardFigure(go.FigureWidget):
    """A `FigureWidget` that shares the page's one copy of plotly, which a `Companion` brings."""

    _esm = script("figure.js")

    def refresh(self) -> None:
        """Put the figure as it is now into the state that a page starts from."""
        self._widget_layout = copied(self._layout_obj._props)
        self._widget_data = [dict(trace) for trace in self._data]


class LiveFigure:
    """One `FigureWidget` that stays on screen while plain figures are copied into it.

    Only what differs is sent: trace data are changed in place, layout is changed leaf by leaf, in one batch; shapes
    are sent apart, since the page can draw them without the rest.

    Parameters
    ----------
    figure
        What is shown first.
    fit
        Changes a layout, as a plain dict, to what the place on screen has room for.
    listen
        Called with the widget whenever its traces were made anew, to attach hover and click handlers.

    Attributes
    ----------
    on_drawn
        Called when a page has drawn the figure for the first time.
    """

    def __init__(
        self,
        figure: go.Figure,
        *,
        fit: Callable[[dict[str, Any]], dict[str, Any]],
        listen: Callable[[go.FigureWidget], None] | None = None,
    ) -> None:
        self._fit = fit
        self._listen = listen or (lambda widget: None)
        self.shown = figure
        self._traces, self._layout = raw_traces(figure), fit(raw_layout(figure))
        self._lock = threading.RLock()
        self._asked = False
        self.on_drawn: Callable[[], object] = lambda: None
        self.widget = CardFigure(data=figure.data, layout=self._layout)
        self.widget._config = CONFIG
        self.widget.add_class("sv-figure")
        self.widget.on_msg(self._answer)
        self._listen(self.widget)

    def show(self, figure: go.Figure) -> None:
        """Make the widget show `figure`."""
        with self._lock:
            self._copy(figure)
            if not self._asked:
                self.widget.refresh()

    def plain(self) -> go.Figure:
        """What is on screen as a plain figure."""
        return go.Figure(data=self.shown.data, layout=self._layout)

    def _answer(self, widget: Any, content: Any, buffers: Any) -> None:
        """Send the whole state to a page that has just loaded plotly, and hear that it has drawn it."""
        if content.get("kind") == "drawn":
            self.on_drawn()
        if content.get("kind") == "state":
            with self._lock:
                self._asked = True
                self.widget.refresh()
                self.widget.send({"kind": "state"})

    def _copy(self, figure: go.Figure) -> None:
        traces, layout = raw_traces(figure), self._fit(raw_layout(figure))
        same = shared_prefix(self._traces, traces)
        anew = same < len(self._traces) or same < len(traces)
        if anew:  # before the layout, which may speak of axes that only the new traces have
            self.widget.data = self.widget.data[:same]
            self.widget.add_traces(figure.data[same:])
        with self.widget.batch_update():
            for living, old, new in zip(self.widget.data[:same], self._traces, traces, strict=False):
                put(living, changes(old, new))
            put(self.widget.layout, changes(without_shapes(self._layout), without_shapes(layout)))
        if self._layout.get("shapes") != layout.get("shapes"):  # whole and alone: figure.js then draws nothing else
            self.widget.layout.shapes = layout.get("shapes")
        self.shown, self._traces, self._layout = figure, traces, layout
        if anew:
            self._listen(self.widget)


def raw_traces(figure: go.Figure) -> list[dict[str, Any]]:
    """The traces as plain dicts, without plotly's deep copies of their arrays: they are read, never written."""
    return [trace._props for trace in figure.data]


def raw_layout(figure: go.Figure) -> dict[str, Any]:
    """The layout as a plain dict whose axes and annotations may be changed freely."""
    return {key: copied(value) for key, value in figure.layout._props.items()}


def copied(value: Any) -> Any:
    """A copy of nested dicts and lists, down to the leaves."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, (list, tuple)) else value


def without_shapes(layout: dict[str, Any]) -> dict[str, Any]:
    """All of a layout but its shapes."""
    return {key: value for key, value in layout.items() if key != "shapes"}


def shared_prefix(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> int:
    """How many leading traces of two figures are of the same type."""
    count = 0
    for before, after in zip(old, new, strict=False):
        if before["type"] != after["type"]:
            break
        count += 1
    return count


def changes(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves in which nested dict `new` differs from `old`, as (plotly path, value); a leaf gone is None.

    Lists of dicts of one length (annotations) are compared item by item; all else is a leaf.
    """
    if old is new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(gone for gone in old if gone not in new)]:
            yield from changes(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif are_items(old) and are_items(new) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from changes(before, after, f"{path}[{index}]")
    elif not same_leaf(old, new):
        yield path, new


def are_items(value: Any) -> bool:
    """Whether `value` is a list of dicts."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, dict) for item in value)


def same_leaf(old: Any, new: Any) -> bool:
    """Equality that arrays may take part in."""
    if isinstance(old, np.ndarray) or isinstance(new, np.ndarray):
        return type(old) is type(new) and old.shape == new.shape and bool(np.array_equal(old, new))
    return type(old) is type(new) and old == new


def put(living: Any, leaves: Iterator[tuple[str, Any]]) -> None:
    """Set each leaf on a trace or layout that is on screen."""
    for path, value in leaves:
        long = isinstance(value, (list, tuple)) and len(value) > LONG
        living[path] = np.array(value, dtype=object) if long else value


class Panel(Card):
    """A card with one living figure.

    Parameters
    ----------
    name
        What the panel is called.
    figure
        What it shows first.
    height
        Of the figure, in pixels.
    listen
        See `LiveFigure`.
    """

    def __init__(
        self,
        name: str,
        figure: go.Figure,
        *,
        height: int,
        listen: Callable[[go.FigureWidget], None] | None = None,
    ) -> None:
        self.height = height
        self.figure = LiveFigure(figure, fit=self.fit, listen=listen)
        super().__init__(name, self.body())
        self.say(headline_of(figure))

    def body(self) -> ipywidgets.Widget:
        """What stands under the sentence: the figure, and what a panel puts beside it."""
        return row_of(self.figure.widget)

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout as the card has room for it."""
        return for_card(layout, self.height)

    def plain(self) -> go.Figure:
        """What is on screen as a plain figure, without its title, which the sentence says."""
        return self.figure.plain()

    def table(self) -> Table:
        """The numbers drawn, one a row."""
        return drawn_numbers(self.plain())

    def show(self, figure: go.Figure, *, text: str | None = None) -> None:
        """Copy `figure` into the one on screen; its title, or `text`, becomes the sentence."""
        self.say(headline_of(figure) if text is None else text)
        self.figure.show(figure)


def drawn_numbers(figure: go.Figure) -> Table:
    """Each number that a figure's named traces draw, with its place."""
    rows: list[tuple[Any, ...]] = []
    for trace in figure.data:
        if trace.type == "heatmap":
            rows += [
                (trace.name, x, y, value)
                for y, line in zip(trace.y, trace.z, strict=True)
                for x, value in zip(trace.x, line, strict=True)
                if value is not None
            ]
        else:
            rows += [(trace.name, x, y, "") for x, y in zip(trace.x, trace.y, strict=True) if y is not None]
    return ("drawn", "across", "up", "number"), rows


def row_of(*widgets: ipywidgets.Widget) -> ipywidgets.HBox:
    """Widgets side by side, the last one as wide as there is room."""
    row = ipywidgets.HBox(widgets)
    row.add_class("sv-row")
    return row


def headline_of(figure: go.Figure) -> str:
    """The finding that a figure's title states."""
    return figure.layout.title.text or ""


def for_card(layout: dict[str, Any], height: int) -> dict[str, Any]:
    """A layout without its title, which the card says, in small type and with narrow margins."""
    small = {"size": SMALL}
    kept = {key: value for key, value in layout.items() if key not in ("title", "width")}
    for key, value in kept.items():
        if key.startswith(("xaxis", "yaxis")):
            title = value.get("title") or {}
            title.update(font=small, standoff=2)
            value.update(title=title, ticklen=3)
    if "coloraxis" in kept:
        bar = kept["coloraxis"].setdefault("colorbar", {})
        bar.update(title={**bar.get("title", {}), "font": small}, thickness=10)
    for note in kept.get("annotations", ()):
        note["font"] = {**note.get("font", {}), **small}
    for shape in kept.get("shapes", ()):
        if "label" in shape:
            shape["label"]["font"] = {**shape["label"].get("font", {}), **small}
    margin = {"t": 24, "b": 30, "l": 40, "r": 6}
    return {**kept, "height": height, "autosize": True, "font": small, "margin": margin}
