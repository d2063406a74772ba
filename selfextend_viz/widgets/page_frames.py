"""From figures and lists of numbers to the frames and controls of a page without a kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go

from selfextend_viz.experiments.progress import counted
from selfextend_viz.positions import whole_number
from selfextend_viz.widgets.page import PageControl, Stop, frame_keys

LABELS = {
    "length": "N, tokens",
    "group_size": "G, group size",
    "neighbor_window": "wₙ, neighbor window",
    "pair": "pair of dimensions",
    "distance": "d, distance",
}
DIGITS_KEPT = 6


def number_control(
    name: str, values: Iterable[int], current: int, *, least: int = 1, below: int | None = None
) -> PageControl:
    """A slider over the values, sorted, that opens on the one nearest to `current`.

    Raises
    ------
    TypeError, ValueError
        If there are none, or one is not a whole number in range.
    """
    stops = sorted({whole_number(name, value, at_least=least) for value in values})
    if not stops:
        raise ValueError(f"{name} has 0 values; give at least one")
    if below is not None and stops[-1] >= below:
        raise ValueError(f"{name} is {stops[-1]}, but must be smaller than {below}")
    return PageControl(name, LABELS[name], tuple(stops), min(stops, key=lambda stop: abs(stop - current)))


def all_frames(
    controls: tuple[PageControl, ...],
    make: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    label: str = "",
    work: Callable[[dict[str, Any]], float] = lambda values: 1.0,
) -> dict[str, Any]:
    """A frame for each combination of the controls' stops; with a `label` there is a bar with the time that is left."""
    keys = list(frame_keys(controls))

    def made(advance: Callable[[float], object]) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, values in keys:
            yield key, make(values)
            advance(work(values))

    total = sum(work(values) for _, values in keys)
    return dict(counted(made, label=label, work=total, shown=bool(label)))


def figure_state(figure: go.Figure, fit: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> dict[str, Any]:
    """A figure as plain JSON values, its layout changed by `fit`, and numbers cut to what the eye can tell apart."""
    layout = figure.layout.to_plotly_json()
    return {
        "data": plain_json([trace.to_plotly_json() for trace in figure.data]),
        "layout": plain_json(layout if fit is None else fit(layout)),
    }


def plain_json(value: Any) -> Any:
    """Arrays as lists, numbers short, and what is not finite as ``None``."""
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain_json(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        return plain_json(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS_KEPT}g}") if math.isfinite(value) else None
    return value


def numbers_of(values: dict[str, Stop], *names: str) -> tuple[int, ...]:
    """The whole numbers that the named controls stand at."""
    return tuple(int(values[name]) for name in names)
