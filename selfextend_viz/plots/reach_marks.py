"""What lies on the reach map: the current setting's dot, and words on plates.

All of it are shapes, which plotly moves without drawing the map under them anew. They are paths around an anchor, in
pixels: a circle's or a rectangle's pixels below 0 are lost on a log axis (plotly.js 4.1).
"""

from __future__ import annotations

import math
import re
from typing import Any

from selfextend_viz.plots.theme import LABEL_BACKGROUND, LABEL_INK, METHOD_COLOR
from selfextend_viz.positions import SelfExtend

DOT = 8.5
"""Radius of the current setting's dot, in pixels."""
CIRCLE = (
    "M8.5,0 C8.5,4.69 4.69,8.5 0,8.5 C-4.69,8.5 -8.5,4.69 -8.5,0 "
    "C-8.5,-4.69 -4.69,-8.5 0,-8.5 C4.69,-8.5 8.5,-4.69 8.5,0 Z"
)
"""The dot, as a path around its middle; plotly's paths know curves, not arcs."""
LETTER, BOLD_LETTER, LINE = 5.9, 6.7, 15
"""Room for a letter and for a line of a plate's words, in pixels."""
SOLID = "rgb(20, 24, 34)"
"""The plate behind the setting's words."""


def map_labels(
    text_of_blocked: str, blocked_at: tuple[float, float], text_of_rule: str, rule_at: tuple[float, float]
) -> list[dict[str, Any]]:
    """The words on the side where N is too long, and those over the authors' rule; hidden where there are none."""
    blocked, rule = plate_size(text_of_blocked), plate_size(text_of_rule)
    return [
        _plate("too long", text_of_blocked, blocked_at, left=-blocked[0] / 2, bottom=-blocked[1] / 2),
        _plate("authors' rule", text_of_rule, rule_at, left=-rule[0], bottom=8),
    ]


def setting_marks(setting: SelfExtend | None, context_length: int, largest_group_size: int) -> list[dict[str, Any]]:
    """The current setting's dot, and its numbers beside it on the side where there is room."""
    size, window = (setting.group_size, setting.neighbor_window) if setting else (1, 0)
    words = f"<b>G = {size}, w_n = {window:,}</b>" if setting else ""
    width, height = plate_size(words)
    left = -DOT - 5 - width if size >= largest_group_size / 4 else DOT + 5
    margin = context_length / 16
    up = DOT + 3 if window < margin else -DOT - 3 if window >= context_length - 1 - margin else 0
    rim = {"color": "#ffffff", "width": 3}
    dot = {"visible": setting is not None, "path": CIRCLE, "fillcolor": METHOD_COLOR, "line": rim}
    return [
        {**_anchored("setting", (size, window)), **dot},
        # Opaque: where it lies over another plate, the words below must not shine through.
        {**_plate("setting in words", words, (size, window), left=left, bottom=up - height / 2), "fillcolor": SOLID},
    ]


def plate_size(text: str) -> tuple[int, int]:
    """Width and height of a plate, in pixels."""
    lines = re.sub("</?b>", "", text).split("<br>")
    letter = BOLD_LETTER if "<b>" in text else LETTER
    return math.ceil(letter * max(map(len, lines))) + 10, LINE * len(lines) + 7


def _plate(name: str, text: str, at: tuple[float, float], *, left: float, bottom: float) -> dict[str, Any]:
    width, height = plate_size(text)
    right, top = left + width, bottom + height
    corners = ((left, bottom), (right, bottom), (right, top), (left, top))
    said = {"text": text, "textposition": "middle center", "font": {"color": LABEL_INK, "size": 12}}
    return {
        **_anchored(name, at),
        "visible": bool(text),
        "path": f"M{'L'.join(f'{x},{y}' for x, y in corners)}Z",
        "fillcolor": LABEL_BACKGROUND,
        "line": {"width": 0},
        "label": said,
    }


def _anchored(name: str, at: tuple[float, float]) -> dict[str, Any]:
    x, y = at
    pixels = {"xsizemode": "pixel", "ysizemode": "pixel"}
    return {"name": name, "type": "path", "layer": "above", "xanchor": x, "yanchor": y, **pixels}
