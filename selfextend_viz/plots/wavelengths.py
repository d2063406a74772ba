"""The wavelengths of rotary pairs against the trained length: which of them never completed a turn in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots.theme import INK, METHOD_COLOR, NEVER_TRAINED, dress, faded, label
from selfextend_viz.positions import whole_number


@dataclass(frozen=True)
class Wavelengths:
    """How fast each pair of dimensions turns, the fastest first.

    Attributes
    ----------
    tokens
        Tokens for one turn, ``2 pi / inv_freq``.
    turns
        Turns made over the distances 0 .. L - 1 that training showed.
    """

    tokens: tuple[float, ...]
    turns: tuple[float, ...]

    @property
    def complete(self) -> tuple[bool, ...]:
        """Whether training showed the pair every angle."""
        return tuple(turns >= 1 for turns in self.turns)

    @property
    def incomplete(self) -> int:
        """How many pairs never completed a turn in training."""
        return self.complete.count(False)


def wavelengths(inv_freq: Sequence[float], context_length: int) -> Wavelengths:
    """The numbers behind :func:`plot_wavelengths`.

    Raises
    ------
    TypeError, ValueError
        If a frequency is not a positive finite number, there is none, or L is not a whole number >= 1.
    """
    longest = whole_number("context_length", context_length) - 1
    frequencies = [float(frequency) for frequency in inv_freq]
    if not frequencies:
        raise ValueError("inv_freq has 0 frequencies; give one for each rotated pair")
    for frequency in frequencies:
        if not (math.isfinite(frequency) and frequency > 0):
            raise ValueError(f"inv_freq holds {frequency}; every frequency must be a positive finite number")
    tokens = tuple(2 * math.pi / frequency for frequency in frequencies)
    return Wavelengths(tokens, tuple(longest / length for length in tokens))


def wavelengths_sentence(inv_freq: Sequence[float], context_length: int) -> str:
    """How many pairs never completed a turn, and what that means past L, in words."""
    found = wavelengths(inv_freq, context_length)
    count, slow = len(found.tokens), found.incomplete
    if not slow:
        return (
            f"every one of the {count} pairs completed a turn within L = {context_length:,} tokens, so no angle of a "
            "single pair is new past L"
        )
    others = f"The other {count - slow} had shown every angle." if slow < count else "No pair had shown every angle."
    return (
        f"{slow} of {count} pairs never completed a turn within L = {context_length:,} tokens: past L they turn to "
        f"angles that training never showed, and fail. {others}"
    )


def plot_wavelengths(inv_freq: Sequence[float], context_length: int, *, pair: int | None = None) -> go.Figure:
    """Draw how many tokens each rotary pair takes for one turn, beside the trained length.

    Parameters
    ----------
    inv_freq
        Radians a token, one for each pair of dimensions.
    context_length
        L.
    pair
        A pair to point out.

    Returns
    -------
    plotly.graph_objects.Figure
        Always these traces: ``complete``, ``incomplete``, ``beyond`` (the region of turns that training never
        completed), ``L`` and ``pair``.

    Raises
    ------
    TypeError, ValueError
        If a frequency or a number is out of range.
    """
    found = wavelengths(inv_freq, context_length)
    if pair is not None and whole_number("pair", pair, at_least=0) >= len(found.tokens):
        raise ValueError(f"pair {pair} is not one of the {len(found.tokens)}; use one of 0 to {len(found.tokens) - 1}")
    top = max(found.tokens[-1], max(found.tokens), context_length) * 1.6
    ends = [-0.7, len(found.tokens) - 0.3]
    figure = go.Figure(
        data=[
            _pairs("complete", found, True, METHOD_COLOR, "circle"),
            _pairs("incomplete", found, False, NEVER_TRAINED, "triangle-up"),
            _beyond(ends, context_length, top),
            _limit(ends, context_length),
            _pointed(found, pair),
        ],
        layout={
            "xaxis": {
                "title": {"text": "pair of dimensions, fastest first"},
                "range": ends,
                "showgrid": False,
                "dtick": max(1, math.ceil(len(found.tokens) / 16)),
                "tick0": 0,
            },
            "yaxis": {
                "title": {"text": "tokens for one turn"},
                "type": "log",
                "dtick": 1,
                "tickformat": ",~s",
                "range": [math.log10(min(found.tokens) / 1.6), math.log10(top)],
            },
            "annotations": _names(found, context_length, top),
        },
    )
    sentence = wavelengths_sentence(inv_freq, context_length)
    title, _, rest = sentence.partition(": ")
    return dress(figure, title=title[:1].upper() + title[1:], subtitle=rest, height=420)


def _pairs(name: str, found: Wavelengths, complete: bool, color: str, symbol: str) -> go.Scatter:
    members = [pair for pair, whole in enumerate(found.complete) if whole is complete]
    return go.Scatter(
        name=name,
        x=members,
        y=[found.tokens[pair] for pair in members],
        customdata=[found.turns[pair] for pair in members],
        mode="markers",
        marker={"color": color, "symbol": symbol, "size": 9},
        hovertemplate="pair %{x}: one turn in %{y:,.1f} tokens<br>%{customdata:,.2f} turns in training<extra></extra>",
        showlegend=False,
    )


def _beyond(ends: list[float], context_length: int, top: float) -> go.Scatter:
    """The wavelengths that training was too short for, hatched."""
    hatching = {"shape": "/", "size": 8, "solidity": 0.15, "fgcolor": NEVER_TRAINED}
    return go.Scatter(
        name="beyond",
        x=[ends[0], ends[1], ends[1], ends[0]],
        y=[context_length, context_length, top, top],
        fill="toself",
        fillpattern={**hatching, "bgcolor": faded(NEVER_TRAINED, 0.08)},
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
    )


def _limit(ends: list[float], context_length: int) -> go.Scatter:
    return go.Scatter(
        name="L",
        x=ends,
        y=[context_length] * 2,
        mode="lines",
        line={"color": INK, "width": 2},
        hoverinfo="skip",
        showlegend=False,
    )


def _pointed(found: Wavelengths, pair: int | None) -> go.Scatter:
    """A ring around the pair looked at."""
    return go.Scatter(
        name="pair",
        x=[] if pair is None else [pair],
        y=[] if pair is None else [found.tokens[pair]],
        mode="markers",
        marker={"symbol": "circle-open", "size": 19, "color": INK, "line": {"width": 2.5}},
        hoverinfo="skip",
        showlegend=False,
    )


def _names(found: Wavelengths, context_length: int, top: float) -> list[dict[str, Any]]:
    """The line at L, and the region above it where a pair lies in it."""
    left: dict[str, Any] = {"x": 0, "xref": "paper", "xanchor": "left"}
    level = math.log10(context_length)
    limit = label(f"L = {context_length:,}", y=level, yanchor="bottom", xshift=6, yshift=4, on_map=True, **left)
    words = "no whole turn in training" if found.incomplete else ""
    return [limit, label(words, y=math.log10(top), yanchor="top", xshift=6, yshift=-6, on_map=True, **left)]
