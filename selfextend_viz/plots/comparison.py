"""Loss and pass key on one figure: a text can stay likely to a model that has lost its beginning."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PasskeyRow, PerplexityRow, wilson_interval
from selfextend_viz.plots.perplexity import LossCurve, loss_curves
from selfextend_viz.plots.theme import INK, KNOWN_STYLES, Style, condition_styles, dress, label
from selfextend_viz.positions import whole_number

HEAD, FOOT, PANEL, BETWEEN, LINE = 110, 56, 250, 64, 16
"""Pixels over the panels, under them, of one, between the two, and between two names."""
HALF = 0.5
"""A condition that finds fewer keys than this, by the whole of its interval, has lost them; by more, it keeps them."""


@dataclass(frozen=True)
class FoundCurve:
    """One condition's pass keys by length, all depths together: counts, shares and Wilson's 95 % bounds."""

    condition: str
    lengths: tuple[int, ...]
    exact: tuple[int, ...]
    trials: tuple[int, ...]

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of exact answers."""
        return tuple(exact / trials for exact, trials in zip(self.exact, self.trials, strict=True))

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Lower and upper bound of each share."""
        return tuple(wilson_interval(exact, trials) for exact, trials in zip(self.exact, self.trials, strict=True))


def found_curves(rows: Iterable[PasskeyRow]) -> list[FoundCurve]:
    """Add up pass-key rows over depths into one curve for each condition, lengths ascending.

    Raises
    ------
    ValueError
        If the rows are of more than one task, whose shares mean different things.
    """
    counts: dict[str, dict[int, tuple[int, int]]] = {}
    tasks: set[str] = set()
    for row in rows:
        tasks.add(row.task)
        cells = counts.setdefault(row.condition, {})
        exact, trials = cells.get(row.length, (0, 0))
        cells[row.length] = exact + row.exact, trials + row.trials
    if len(tasks) > 1:
        raise ValueError(f"the pass-key rows are of {len(tasks)} tasks, {', '.join(sorted(tasks))}; give those of one")
    return [
        FoundCurve(
            condition,
            tuple(sorted(cells)),
            tuple(cells[length][0] for length in sorted(cells)),
            tuple(cells[length][1] for length in sorted(cells)),
        )
        for condition, cells in counts.items()
    ]


def plot_comparison(
    passkey_rows: Iterable[PasskeyRow], perplexity_rows: Iterable[PerplexityRow], *, context_length: int
) -> go.Figure:
    """Draw the loss and the share of pass keys found of several conditions, one over the other, by length.

    Parameters
    ----------
    passkey_rows
        Rows of one task; depths are added up, and the bars are Wilson's 95 % intervals.
    perplexity_rows
        Rows of the same conditions, or some of them.
    context_length
        L.

    Returns
    -------
    plotly.graph_objects.Figure
        Traces ``L loss`` and ``L found``, then ``"<condition> loss"`` for each condition with perplexity rows and
        ``"<condition> found"`` for each with pass-key rows; x is the length on a log axis, moved a little in the lower
        panel so that bars do not cover each other.

    Raises
    ------
    ValueError
        If either kind of rows is missing, the pass-key rows are of several tasks, or L is below 1.
    """
    whole_number("context_length", context_length)
    found, losses = found_curves(passkey_rows), loss_curves(perplexity_rows)
    if not found or not losses:
        missing = "pass-key" if not found else "perplexity"
        raise ValueError(f"0 {missing} rows; the figure needs both kinds, at least one row of each")
    conditions = list(dict.fromkeys([*(curve.condition for curve in found), *(curve.condition for curve in losses)]))
    styles = condition_styles(conditions)
    extent = _extent(losses)
    panel = max(PANEL, LINE * (len(conditions) + 1))
    figure = go.Figure([_limit("L loss", context_length, extent, "y"), _limit("L found", context_length, (0, 1), "y2")])
    shifts = _shifts(found)
    figure.add_traces([_loss(curve, styles[curve.condition]) for curve in losses])
    figure.add_traces(
        [_found(curve, styles[curve.condition], shift) for curve, shift in zip(found, shifts, strict=True)]
    )
    _arrange(figure, found, losses, extent, panel, context_length)
    figure.update_layout(annotations=_names(found, losses, styles, extent, panel, context_length))
    title, subtitle = _words(found, losses, context_length)
    dress(figure, title=title, subtitle=subtitle, height=HEAD + FOOT + 2 * panel + BETWEEN)
    return figure.update_layout(margin={"t": HEAD, "b": FOOT})


def _extent(losses: list[LossCurve]) -> tuple[float, float]:
    low = min((value for curve in losses for value in curve.low if value is not None), default=0.0)
    high = max((value for curve in losses for value in curve.high if value is not None), default=1.0)
    room = 0.06 * max(high - low, 0.1)
    return low - room, high + room


def _limit(name: str, context_length: int, extent: tuple[float, float], axis: str) -> go.Scatter:
    return go.Scatter(
        name=name,
        x=[context_length] * 2,
        y=list(extent),
        yaxis=axis,
        xaxis="x" if axis == "y" else "x2",
        mode="lines",
        line={"color": INK, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )


def _shifts(found: list[FoundCurve]) -> list[float]:
    """Factors by which lengths are moved, a little, so that bars of different conditions stand beside each other."""
    step = min(0.012, 0.06 / max(len(found) - 1, 1))
    return [1 + step * (number - (len(found) - 1) / 2) for number in range(len(found))]


def _loss(curve: LossCurve, style: Style) -> go.Scatter:
    def away(ends: tuple[float | None, ...]) -> list[float]:
        pairs = zip(curve.mean, ends, strict=True)
        return [abs(end - mean) if mean is not None and end is not None else 0.0 for mean, end in pairs]

    return go.Scatter(
        name=f"{curve.condition} loss",
        x=list(curve.context_lengths),
        y=list(curve.mean),
        error_y=_bars(away(curve.high), away(curve.low), style),
        customdata=list(curve.details),
        hovertemplate="%{x:,} tokens: %{customdata}<extra>" + curve.condition + "</extra>",
        xaxis="x",
        yaxis="y",
        **_drawn(style),
    )


def _found(curve: FoundCurve, style: Style, shift: float) -> go.Scatter:
    details = [
        f"{length:,} tokens: {exact} of {trials} keys found (95% {low:.2f} to {high:.2f})"
        for length, exact, trials, (low, high) in zip(
            curve.lengths, curve.exact, curve.trials, curve.bounds, strict=True
        )
    ]
    above = [high - share for share, (_, high) in zip(curve.shares, curve.bounds, strict=True)]
    below = [share - low for share, (low, _) in zip(curve.shares, curve.bounds, strict=True)]
    return go.Scatter(
        name=f"{curve.condition} found",
        x=[length * shift for length in curve.lengths],
        y=list(curve.shares),
        error_y=_bars(above, below, style),
        customdata=details,
        hovertemplate="%{customdata}<extra>" + curve.condition + "</extra>",
        xaxis="x2",
        yaxis="y2",
        **_drawn(style),
    )


def _bars(above: list[float], below: list[float], style: Style) -> dict[str, Any]:
    return {"type": "data", "array": above, "arrayminus": below, "color": style.color, "thickness": 1.3, "width": 4}


def _drawn(style: Style) -> dict[str, Any]:
    return {
        "mode": "lines+markers",
        "line": {"color": style.color, "width": 2.5, "dash": style.dash},
        "marker": {"symbol": style.symbol, "size": 9},
        "showlegend": False,
        "cliponaxis": False,
    }


def _arrange(
    figure: go.Figure,
    found: list[FoundCurve],
    losses: list[LossCurve],
    extent: tuple[float, float],
    panel: int,
    context_length: int,
) -> None:
    """Two panels over one axis of lengths; a short scale of losses at the top, since chance is not far above it."""
    lengths = sorted({length for curve in found for length in curve.lengths})
    lengths = sorted({*lengths, *(length for curve in losses for length in curve.context_lengths)})
    ends = min(lengths[0], context_length) * 0.9, lengths[-1] * 1.1
    share = panel / (2 * panel + BETWEEN)
    shared: dict[str, Any] = {
        "type": "log",
        "domain": [0, 0.72],
        "tickvals": lengths,
        "ticktext": [f"{length:,}" for length in lengths],
        "range": [math.log10(end) for end in ends],
    }
    figure.update_layout(
        xaxis={**shared, "anchor": "y", "matches": "x2", "showticklabels": False},
        xaxis2={**shared, "anchor": "y2", "title": {"text": "length N (tokens)"}},
        yaxis={"domain": [1 - share, 1], "range": list(extent), "title": {"text": "loss (nats a token)"}},
        yaxis2={
            "domain": [0, share],
            "anchor": "x2",
            "range": [-0.04, 1.06],
            "title": {"text": "pass keys found"},
            "tickformat": ".0%",
        },
    )


def _names(
    found: list[FoundCurve],
    losses: list[LossCurve],
    styles: dict[str, Style],
    extent: tuple[float, float],
    panel: int,
    context_length: int,
) -> list[dict[str, Any]]:
    """Each condition's name at the end of its curves, and what the panels and the line are."""
    upper = [(curve.condition, curve.context_lengths[-1], curve.mean[-1]) for curve in losses]
    lower = [(curve.condition, curve.lengths[-1], curve.shares[-1]) for curve in found]
    last = math.log10(max(length for _, length, _ in (*upper, *lower)))
    tall = extent[1] - extent[0]
    notes = [label(f"L = {context_length:,}", x=math.log10(context_length), y=1, yref="paper", yanchor="bottom")]
    for ends, axis, low, high in ((upper, "y", extent[0], extent[1]), (lower, "y2", 0.0, 1.06)):
        apart = LINE * (tall if axis == "y" else 1.1) / panel
        places = spread([(name, value if value is not None else high) for name, _, value in ends], apart, low, high)
        for name, place in places:
            text, bracket, numbers = name.partition("(")
            notes.append(
                label(
                    f"<b>{text}</b>{bracket}{numbers}",
                    x=last,
                    y=place,
                    xref="x" if axis == "y" else "x2",
                    yref=axis,
                    xanchor="left",
                    xshift=26,
                    font={"color": styles[name].color},
                )
            )
    return notes


def spread(ends: list[tuple[str, float]], apart: float, low: float, high: float) -> list[tuple[str, float]]:
    """Names with heights moved so that none covers another, in the order of their values and within the ends."""
    placed: list[tuple[str, float]] = []
    floor = low
    for name, value in sorted(ends, key=lambda end: end[1]):
        place = max(value, floor)
        placed.append((name, place))
        floor = place + apart
    ceiling = high
    for number in range(len(placed) - 1, -1, -1):
        name, place = placed[number]
        placed[number] = (name, min(place, ceiling))
        ceiling = placed[number][1] - apart
    return placed


def _words(found: list[FoundCurve], losses: list[LossCurve], context_length: int) -> tuple[str, str]:
    """The title, which is the finding at the longest length that both panels share, if there is one past L."""
    what = "bars: 95% intervals, Wilson's for the pass keys; the same texts and prompts for all"
    both = {length for curve in found for length in curve.lengths} & {
        length for curve in losses for length in curve.context_lengths
    }
    if not both or max(both) <= context_length:
        return "Loss and pass key by length", what
    length = max(both)
    keys = {curve.condition: _at(curve, length) for curve in found if length in curve.lengths}
    pair = _deceived(keys, _means(losses, length))
    if pair is None:
        counts = [f"{name.partition('(')[0]} {exact} of {trials}" for name, (exact, trials) in keys.items()]
        return f"Pass keys found at {length:,} tokens: {', '.join(counts[:4])}", what
    (blind, lower), (kept, higher) = pair
    title = (
        f"Perplexity is not enough: at {length:,} tokens {blind.partition('(')[0]} finds {keys[blind][0]} of "
        f"{keys[blind][1]} keys, {kept.partition('(')[0]} {keys[kept][0]} of {keys[kept][1]}"
    )
    return title, f"though its loss is no higher: {lower:.3f} against {higher:.3f} nats a token<br>{what}"


def _at(curve: FoundCurve, length: int) -> tuple[int, int]:
    place = curve.lengths.index(length)
    return curve.exact[place], curve.trials[place]


def _means(losses: list[LossCurve], length: int) -> dict[str, float]:
    """The mean losses that are known at a length."""
    at = {c.condition: c.mean[c.context_lengths.index(length)] for c in losses if length in c.context_lengths}
    return {name: mean for name, mean in at.items() if mean is not None}


def _deceived(
    keys: dict[str, tuple[int, int]], means: dict[str, float]
) -> tuple[tuple[str, float], tuple[str, float]] | None:
    """A condition that lost the keys and one that keeps them at no better a loss; ``None`` if there is no such pair."""
    judged = {name: wilson_interval(*keys[name]) for name in keys if name in means}
    lost = [name for name, (_, high) in judged.items() if high < HALF]
    kept = [name for name, (low, _) in judged.items() if low > HALF]
    if not lost or not kept:
        return None
    known = [name for name in lost if name not in KNOWN_STYLES]
    blind = min(known or lost, key=lambda name: means[name])
    best = max(kept, key=lambda name: (keys[name][0] / keys[name][1], -means[name]))
    return ((blind, means[blind]), (best, means[best])) if means[blind] <= means[best] else None
