"""The names of a divergence figure's curves, set at the curves' ends so that none covers another."""

from __future__ import annotations

from typing import Any

from selfextend_viz.plots.logit_curves import LogitCurve, bounds_of
from selfextend_viz.plots.theme import INK, Style, label
from selfextend_viz.positions import Method, pair_positions

TOP = 1.15
"""The staircase's axis ends at this many times L, if no longer text needs more."""


def names_at_ends(
    trained: LogitCurve,
    shown: dict[str, LogitCurve],
    style: dict[str, Style],
    method: Method,
    context_length: int,
    farthest: int,
) -> list[dict[str, Any]]:
    """Curves named at their ends, and the line at L."""
    bounds = bounds_of([trained])
    hatched = "hatched: trained range" if bounds and farthest > context_length else ""
    low = bounds[0] if bounds else 0
    grey: dict[str, Any] = {"xanchor": "right", "yanchor": "top", "font": {"color": INK}}
    right: dict[str, Any] = {"x": farthest, "xanchor": "left", "align": "left", "xshift": 8}
    curves = []
    for name, words in (("stock", "stock"), ("method", str(method).replace("(", "<br>(", 1))):
        curve, font = shown[name], {"color": style[name].color}
        height = curve.mean[-1] if curve.mean else None
        curves.append(label(f"<b>{words}</b>" if height is not None else "", y=height or 0, font=font, **right))
    told = pair_positions(method, farthest - 1, 0).item()
    words = "not seen" if told < 0 else "" if told == farthest - 1 else f"told {round(told, 2):,}"
    who, color = ("both told", INK) if told == farthest - 1 else ("told", style["stock"].color)
    stairs = [
        label(f"{who} {farthest - 1:,}", y=farthest - 1, yref="y2", font={"color": color}, **right),
        label(words, y=max(told, 0), yref="y2", font={"color": style["method"].color}, **right),
    ]
    values = bounds_of([trained, *shown.values()]) or (0.0, 1.0)
    part_names(curves, values[1] - values[0])
    part_names(stairs, max(farthest, context_length * TOP))
    corner: dict[str, Any] = {"xanchor": "left", "yanchor": "bottom", "yref": "y2", "on_map": True}
    return [
        label(f"L = {context_length:,}", x=context_length, y=1, yref="paper", yanchor="bottom"),
        label(hatched, x=farthest, y=low, xshift=-4, **grey),
        *curves,
        *stairs,
        label("never trained", x=farthest * 0.02, y=context_length, yshift=8, **corner),
    ]


def part_names(names: list[dict[str, Any]], extent: float, *, close: float = 0.2) -> None:
    """Let two names at their curves' ends grow apart where they are closer than a share of the axis' extent."""
    lower, upper = sorted(names, key=lambda name: name["y"])
    if upper["y"] - lower["y"] < close * extent:
        lower["yanchor"], upper["yanchor"] = "top", "bottom"
