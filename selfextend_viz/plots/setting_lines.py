"""The lines over a map of G and w_n: where the reach is a length, and where the authors' rule lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.plots.reach_numbers import RULE_SHARES
from selfextend_viz.plots.theme import INK, LABEL_INK, label

STEPS = 481
"""Points of a line over the map."""
EDGE = "#10141f"
"""Around the line of the reach."""


@dataclass(frozen=True)
class SettingAxis:
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


def rule_band(across: SettingAxis, up: SettingAxis, length: int, context_length: int) -> go.Scatter:
    """The authors' band: where the largest position, about ``w_n + (N - w_n) / G``, is 1/2 to 2/3 of L."""
    low, high = (meeting_line(across, up, share * context_length, length) for share in RULE_SHARES)
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


def reach_lines(across: SettingAxis, up: SettingAxis, length: int, context_length: int) -> list[go.Scatter]:
    """A white line with a dark edge, to be seen on each colour of the map."""
    x, y = meeting_line(across, up, context_length, length)
    below = [(one, other) for one, other in zip(x, y, strict=True) if other < up.range[1]]
    ends: dict[str, Any] = {"x": [one for one, _ in below], "y": [other for _, other in below]}
    quiet: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "showlegend": False}
    return [
        go.Scatter(name="reach edge", line={"color": EDGE, "width": 6}, **ends, **quiet),
        go.Scatter(name="reach", line={"color": LABEL_INK, "width": 2.5}, **ends, **quiet),
    ]


def isolines(across: SettingAxis, up: SettingAxis, lengths: Sequence[int], context_length: int) -> go.Scatter:
    """Thin lines, where the reach is each of the other lengths."""
    x: list[float | None] = []
    y: list[float | None] = []
    for length in lengths:
        ends = meeting_line(across, up, context_length, length)
        below = [pair for pair in zip(*ends, strict=True) if pair[1] < up.range[1]]
        x += [*(one for one, _ in below), None]
        y += [*(other for _, other in below), None]
    line = {"color": EDGE, "width": 1.2, "dash": "dash"}
    return go.Scatter(name="isolines", x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)


def isoline_ends(
    across: SettingAxis, up: SettingAxis, lengths: Sequence[int], context_length: int
) -> list[dict[str, Any]]:
    """The lengths of the thin lines, where each meets the map's lower edge."""
    found = []
    for length in lengths:
        x, y = meeting_line(across, up, context_length, length)
        if x:
            found.append(label(f"{length:,}", x=x[0], y=y[0], yanchor="bottom", yshift=3, on_map=True))
            found[-1]["font"] = {**found[-1]["font"], "size": 10}
    return found


def meeting_line(across: SettingAxis, up: SettingAxis, limit: float, length: int) -> tuple[list[float], list[float]]:
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
