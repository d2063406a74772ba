"""Every band's tiles on the triangle of query and key: that they cover it, and that none lies over another."""

from __future__ import annotations

from itertools import chain
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots.map_bands import band_words
from selfextend_viz.plots.theme import METHOD_STYLES, dress, faded
from selfextend_viz.positions import Band, Method, Tile, bands_of, tiles, whole_number

__all__ = ["plot_tiles"]

STEPS = 64
"""Rows up to which a square's slope is drawn as the stairs that it is."""

WORDS = {"rectangle": "rectangle", "causal": "causal square", "upper": "upper square", "slanted": "slanted tile"}


def plot_tiles(method: Method, length: int, *, queries: int | None = None) -> go.Figure:
    """Draw how flash attention cuts a method's pairs into rectangles and squares, one colour a band.

    Parameters
    ----------
    method
        Any method whose bands are intervals of distances alone.
    length
        N, the number of keys.
    queries
        The last so many tokens ask; all of them if left out.

    Returns
    -------
    plotly.graph_objects.Figure
        For each band a filled trace of its tiles' outlines and a trace of their centres, which tell each tile's slots
        and pairs on hover.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or out of range, or a band narrows its interval.
    """
    asking = whole_number("length", length) if queries is None else queries
    bands = bands_of(method)
    if any(band.visible is not None or band.heads != slice(None) for band in bands):
        raise ValueError(f"{method} narrows a band by more than distances, so no tiles cover it; draw another method")
    cut = [list(tiles(asking, length, band.nearest, band.beyond)) for band in bands]
    figure = go.Figure()
    for number, (band, members) in enumerate(zip(bands, cut, strict=True)):
        figure.add_traces(_band(_name(method, band, number), members, number))
    axis: dict[str, Any] = {"range": [0, length], "constrain": "domain", "showgrid": False}
    figure.update_xaxes(title_text="key position j", **axis)
    figure.update_yaxes(title_text="query position i", scaleanchor="x", **{**axis, "range": [length, length - asking]})
    products = sum(tile.pairs for tile in chain.from_iterable(cut))
    plain = asking * (2 * length - asking + 1) // 2
    title = f"{sum(map(len, cut))} tiles: {products:,} products of query and key"
    beside = "exactly as many as" if products == plain else f"of {plain:,} in"
    return dress(figure, title=title, subtitle=f"{beside} plain causal attention; {method}, N = {length:,}", height=520)


def _name(method: Method, band: Band, number: int) -> str:
    name, _ = band_words(method, number)
    return name if band.beyond is None else f"{name}, d < {band.beyond:,}"


def _band(name: str, members: list[Tile], number: int) -> list[go.Scatter]:
    style = METHOD_STYLES[-number % len(METHOD_STYLES)]
    outline: list[tuple[float | None, float | None]] = []
    for tile in members:
        outline += [*_corners(tile), (None, None)]
    common: dict[str, Any] = {"name": name, "legendgroup": name}
    shape = go.Scatter(
        x=[x for x, _ in outline],
        y=[y for _, y in outline],
        mode="lines",
        line={"color": style.color, "width": 1.5},
        fill="toself",
        fillcolor=faded(style.color, 0.25),
        hoverinfo="skip",
        **common,
    )
    centres = go.Scatter(
        x=[tile.key_start + tile.keys * _share(tile) for tile in members],
        y=[tile.row_stop - tile.rows * _share(tile) for tile in members],
        mode="markers",
        marker={"color": style.color, "size": 5, "symbol": style.symbol},
        text=[_told(tile) for tile in members],
        hovertemplate="%{text}<extra>" + name + "</extra>",
        showlegend=False,
        **common,
    )
    return [shape, centres]


def _share(tile: Tile) -> float:
    """How far from its lower left corner a tile's middle lies, as a share of its sides."""
    return {"causal": 1 / 3, "upper": 2 / 3}.get(tile.kind, 1 / 2)


def _corners(tile: Tile) -> list[tuple[float | None, float | None]]:
    """The outline, closed; slot s reaches from s to s + 1."""
    left, right, top, bottom = tile.key_start, tile.key_stop, tile.row_start, tile.row_stop
    if tile.kind == "rectangle":
        return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    rows = range(tile.rows if tile.rows <= STEPS else 0)
    if tile.kind == "causal":
        stairs = [corner for row in rows for corner in ((left + row + 1, top + row), (left + row + 1, top + row + 1))]
        return [(left, top), *stairs, (right, bottom), (left, bottom), (left, top)]
    stairs = [corner for row in rows for corner in ((left + row, top + row), (left + row, top + row + 1))]
    return [(left, top), *stairs, (right, bottom), (right, top), (left, top)]


def _told(tile: Tile) -> str:
    return (
        f"{WORDS[tile.kind]}: queries {tile.row_start:,} to {tile.row_stop - 1:,}, "
        f"keys {tile.key_start:,} to {tile.key_stop - 1:,}<br>{tile.pairs:,} products"
    )
