"""Attention-logit divergence: what long distances do to one head, what it is told, and what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from selfextend_viz.experiments.rows import LogitRow
from selfextend_viz.plots.curve_names import TOP, names_at_ends
from selfextend_viz.plots.logit_curves import REFERENCE, LogitCurve, bounds_of, logit_curves
from selfextend_viz.plots.outlier_grid import worst_head
from selfextend_viz.plots.theme import (
    INK,
    NEVER_TRAINED,
    REFERENCE_COLOR,
    Style,
    condition_styles,
    dress,
    faded,
)
from selfextend_viz.positions import Method, PlainRoPE, pair_positions, whole_number

STAIRS = 512
"""Points at most on a staircase."""


def staircase(method: Method, length: int) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """What the last of N queries is told for each true distance: distances, and positions (``None`` if unseen).

    Raises
    ------
    TypeError, ValueError
        If the length is not a whole number >= 1.
    """
    last = whole_number("length", length) - 1
    distances = np.unique(np.linspace(0, last, min(length, STAIRS)).round().astype(np.int64))
    numbers = pair_positions(method, last, last - distances)
    told = numbers.astype(object)
    told[numbers < 0] = None
    return distances, told


def plot_divergence(
    rows: Iterable[Any],
    *,
    layer: int | None = None,
    head: int | None = None,
    context_length: int,
    method: Method,
) -> go.Figure:
    """Draw one head's logits against true distance, and under it the positions it is told.

    Parameters
    ----------
    rows
        The rows of ``divergence``, in any order; those of other heads are passed over.
    layer, head
        The head shown; when both are left out, the one with the largest outlier share.
    context_length
        L.
    method
        The method the rows were measured under: its label picks the rows, its bands give the staircase.

    Returns
    -------
    plotly.graph_objects.Figure
        Always these traces: ``trained range``, ``trained range beyond``, ``stock spread``, ``method spread``,
        ``reference``, ``stock``, ``method``, ``L``, ``never trained``, ``told stock``, ``told method``, ``told L``.

    Raises
    ------
    ValueError
        If only one of layer and head is given, or the head has no rows, or none under the method.
    """
    rows = list(rows)
    whole_number("context_length", context_length)
    if (layer is None) != (head is None):
        raise ValueError(f"a head needs both numbers, not layer {layer} and head {head}; give both or neither")
    if layer is None or head is None:
        layer, head = worst_head(rows)
    curves = logit_curves(rows, layer=layer, head=head)
    if not curves:
        raise ValueError(f"no logit rows for layer {layer}, head {head}; measure it, or choose another head")
    if str(method) not in curves:
        raise ValueError(f"no logit rows under {method}, only under {', '.join(curves)}; name the method measured")
    nothing = LogitCurve("", (), (), (), ())
    trained = curves.get(REFERENCE, nothing)
    shown = {name: curves.get(label_, nothing) for name, label_ in (("stock", "stock"), ("method", str(method)))}
    farthest = max(int(row.distance_high) for row in rows if isinstance(row, LogitRow))
    styles = condition_styles(["stock", str(method)])
    style = {"stock": styles["stock"], "method": styles.get(str(method), styles["stock"])}
    figure = go.Figure(
        data=[
            *_range(trained, context_length, farthest),
            *(_spread(name, curve, style[name]) for name, curve in shown.items()),
            _mean("reference", trained, Style(REFERENCE_COLOR, "dash", "circle")),
            *(_mean(name, curve, style[name]) for name, curve in shown.items()),
            _limit([trained, *shown.values()], context_length),
            *_stairs(method, farthest, context_length, style),
        ],
        layout={
            **_axes(farthest),
            "annotations": names_at_ends(trained, shown, style, method, context_length, farthest),
        },
    )
    title = _finding(trained, shown["stock"], shown["method"], context_length, layer, head)
    return dress(figure, title=title, subtitle="bands hold 99.8% of the logits", height=560)


def _range(trained: LogitCurve, context_length: int, farthest: int) -> list[go.Scatter]:
    """What training taught, as a grey band; beyond L its outermost bounds go on, hatched."""
    quiet: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "showlegend": False, "line": {"width": 0}}
    distances = [*trained.distances, *([context_length] if trained.distances else [])]
    high, low = [*trained.high, *trained.high[-1:]], [*trained.low, *trained.low[-1:]]
    band = go.Scatter(
        name="trained range",
        x=[*distances, *distances[::-1]],
        y=[*high, *low[::-1]],
        fill="toself",
        fillcolor=faded(REFERENCE_COLOR, 0.38),
        **quiet,
    )
    hatching = {"shape": "/", "size": 7, "solidity": 0.12, "fgcolor": REFERENCE_COLOR, "bgcolor": "rgba(0,0,0,0)"}
    beyond = go.Scatter(name="trained range beyond", fill="toself", fillpattern=hatching, **quiet)
    if (bounds := bounds_of([trained])) and farthest > context_length:
        beyond.x = [context_length, farthest, farthest, context_length]
        beyond.y = [bounds[1], bounds[1], bounds[0], bounds[0]]
    return [band, beyond]


def _spread(name: str, curve: LogitCurve, style: Style) -> go.Scatter:
    return go.Scatter(
        name=f"{name} spread",
        x=[*curve.distances, *curve.distances[::-1]],
        y=[*curve.high, *curve.low[::-1]],
        fill="toself",
        fillcolor=faded(style.color, 0.16),
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def _mean(name: str, curve: LogitCurve, style: Style) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=list(curve.distances),
        y=list(curve.mean),
        mode="lines",
        line={"color": style.color, "width": 2 if name == "reference" else 3, "dash": style.dash},
        hovertemplate="d = %{x:,.0f}: mean logit %{y:.2f}<extra>" + (curve.condition or name) + "</extra>",
        showlegend=False,
    )


def _limit(curves: Sequence[LogitCurve], context_length: int) -> go.Scatter:
    return _line("L", [context_length] * 2, list(bounds_of(curves) or (0.0, 1.0)), "y")


def _line(name: str, x: list[Any], y: list[Any], yaxis: str) -> go.Scatter:
    line = {"color": INK, "width": 2}
    return go.Scatter(name=name, x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False, yaxis=yaxis)


def _stairs(method: Method, length: int, context_length: int, style: dict[str, Style]) -> list[go.Scatter]:
    """The positions told, under plain RoPE and under the method, and the never-trained ones above L, hatched."""
    plain, mapped = staircase(PlainRoPE(), length), staircase(method, length)
    top = max(length, context_length * TOP)
    never = go.Scatter(
        name="never trained",
        x=[0, length, length, 0],
        y=[context_length, context_length, top, top],
        fill="toself",
        fillpattern={
            "shape": "/",
            "size": 8,
            "solidity": 0.15,
            "fgcolor": NEVER_TRAINED,
            "bgcolor": faded(NEVER_TRAINED, 0.1),
        },
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        yaxis="y2",
    )
    steps = []
    for name, (distances, told) in (("stock", plain), ("method", mapped)):
        look = {"color": style[name].color, "width": 3, "shape": "hv", "dash": style[name].dash}
        steps.append(
            go.Scatter(
                name=f"told {name}",
                x=distances,
                y=told,
                mode="lines",
                line=look,
                yaxis="y2",
                showlegend=False,
                hovertemplate="d = %{x:,}: told %{y:,}<extra>"
                + ("stock" if name == "stock" else str(method))
                + "</extra>",
            )
        )
    return [never, *steps, _line("told L", [0, length], [context_length] * 2, "y2")]


def _axes(farthest: int) -> dict[str, Any]:
    return {
        "xaxis": {
            "title": {"text": "true distance d = i − j (tokens)"},
            "range": [0, farthest],
            "anchor": "y2",
            "domain": [0, 0.82],
        },
        "yaxis": {"title": {"text": "attention logit"}, "domain": [0.44, 1]},
        "yaxis2": {"title": {"text": "position told"}, "domain": [0, 0.36], "rangemode": "tozero"},
    }


def _finding(
    trained: LogitCurve,
    stock: LogitCurve,
    mapped: LogitCurve,
    context_length: int,
    layer: int,
    head: int,
) -> str:
    """Where the curves stand in their last bin, beside where training left them."""
    where = f"Layer {layer}, head {head}"
    ends = [curve.mean[-1] if curve.mean else None for curve in (trained, stock, mapped)]
    if any(end is None for end in ends) or stock.distances[-1] < context_length:
        return f"{where}: attention logit against true distance"
    taught, far, mended = (f"{end:.1f}".replace("-", "−") for end in ends if end is not None)
    return f"{where}: far logits {taught} in training; {far} under stock, {mended} with the method"
