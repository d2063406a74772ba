"""The explorer of rotation: which pairs of dimensions never completed a turn in training, and what a distance does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets

from selfextend_viz.plots import pair_sentence, plot_rotation, plot_wavelengths, wavelengths_sentence
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.control_bar import MAX_SLIDER_GROUP_SIZE, REACH_OF_LENGTH_SLIDER, LinkedNumber
from selfextend_viz.widgets.controls import geometric_stops, powers_of_two
from selfextend_viz.widgets.explorer import HEIGHT, Explorer
from selfextend_viz.widgets.page import WORDS, PageView
from selfextend_viz.widgets.page_frames import all_frames, figure_state, number_control, numbers_of
from selfextend_viz.widgets.panel import for_card
from selfextend_viz.widgets.rope_panels import RopeState, RotationPanel, WavelengthPanel

PAIRS_ON_PAGE = 16
NAME_WIDTH = "34px"


class RopeBar(ipywidgets.HBox):
    """Sliders with boxes for the pair, the distance, G and w_n; `words` says why a number was refused."""

    def __init__(self, state: RopeState) -> None:
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))
        self.words.add_class("sv-status")
        limit = state.context_length
        stops = {
            "pair": ("pair", "pair of dimensions, the fastest first", tuple(range(len(state.inv_freq)))),
            "distance": ("d", "distance between query and key", (0, *distance_stops(limit))),
            "group_size": (
                "G",
                "group size: so many neighbouring tokens share a position",
                powers_of_two(MAX_SLIDER_GROUP_SIZE),
            ),
            "neighbor_window": (
                "wₙ",
                "neighbor window: tokens nearer than this stay exact",
                (0, *geometric_stops(1, limit - 1)),
            ),
        }
        self.numbers = {
            name: LinkedNumber(state, name, symbol, tooltip, places, self.refuse)
            for name, (symbol, tooltip, places) in stops.items()
        }
        for number in self.numbers.values():
            number.slider.style.description_width = NAME_WIDTH
        fact = ipywidgets.HTML(
            f'<span class="sv-fact"><span class="sv-symbol">L</span> = <b>{limit:,}</b> '
            '<i class="fa fa-lock" role="img" aria-label="locked"></i></span>'
        )
        super().__init__([*self.numbers.values(), fact])
        self.add_class("sv-bar")

    def refuse(self, words: str) -> None:
        """Say why a number was refused; "" takes the words back."""
        self.words.value = f'<span class="sv-refusal" role="alert">{escape(words)}</span>' if words else ""


def distance_stops(context_length: int) -> tuple[int, ...]:
    """Distances within and past L, the farthest of 4 L tokens among them."""
    stops = geometric_stops(1, REACH_OF_LENGTH_SLIDER * context_length)
    return tuple(sorted({*stops, context_length - 1, context_length, 4 * context_length - 1} - {0}))


class RopeExplorer(Explorer):
    """Wavelengths against L, and the circle of one pair."""

    title = "Rotations past the trained length"
    intro = (
        "RoPE turns each pair of dimensions by an angle that grows with distance. Slow pairs never completed a turn in "
        "training, so past L they reach angles never seen. Self-Extend tells a smaller distance, which takes them back."
    )

    def __init__(self, state: RopeState) -> None:
        self.bar = RopeBar(state)
        self.wavelengths = WavelengthPanel(state, height=HEIGHT)
        self.rotation = RotationPanel(state, height=HEIGHT)
        super().__init__(state, self.bar, self.bar.words, [self.wavelengths, self.rotation])

    def setting_words(self) -> str:
        """The numbers as they are now."""
        state = self.state
        return (
            f"L={state.context_length}, pair {state.pair}, d={state.distance}, G={state.group_size}, "
            f"w_n={state.neighbor_window}"
        )

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        pairs: Iterable[int] | None = None,
        distances: Iterable[int] | None = None,
        group_sizes: Iterable[int] | None = None,
        neighbor_windows: Iterable[int] | None = None,
    ) -> Path:
        """Write a page whose sliders work without a kernel.

        Parameters
        ----------
        path
            Where to.
        pairs, distances, group_sizes, neighbor_windows
            The sliders' stops; when left out, up to 16 pairs, and a few numbers around the current ones.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, or the page would be larger than 6 MB.
        """
        state, limit, count = self.state, self.state.context_length, len(self.state.inv_freq)
        if pairs is None:
            pairs = {*range(0, count, -(-count // PAIRS_ON_PAGE)), count - 1, state.pair}
        if distances is None:
            distances = {max(1, limit // 2), limit - 1, limit, 2 * limit, 4 * limit - 1, state.distance}
        controls = (
            number_control("pair", pairs, state.pair, least=0, below=count),
            number_control("distance", distances, state.distance, least=0),
            number_control("group_size", group_sizes or {2, 8, state.group_size}, state.group_size),
            number_control(
                "neighbor_window",
                neighbor_windows or {state.neighbor_window},
                state.neighbor_window,
                least=0,
                below=limit,
            ),
        )
        pictures: dict[int, Any] = {}
        frames = all_frames(controls, partial(rope_frame, state.inv_freq, limit, pictures))
        views = (
            PageView("wavelengths", "Wavelengths", "plotly", HEIGHT, depends=("pair",)),
            PageView("rotation", "Rotation", "plotly", HEIGHT),
        )
        return self.write(path, {"controls": controls, "frames": frames, "views": views})


def rope_frame(
    inv_freq: tuple[float, ...], context_length: int, pictures: dict[int, Any], values: dict[str, Any]
) -> dict[str, Any]:
    """Both pictures of one setting; that of the wavelengths is drawn once a pair and kept in `pictures`."""
    pair, distance, group_size, window = numbers_of(values, "pair", "distance", "group_size", "neighbor_window")
    fit = partial(for_card, height=HEIGHT)
    if pair not in pictures:
        pictures[pair] = figure_state(plot_wavelengths(inv_freq, context_length, pair=pair), fit)
    numbers: dict[str, Any] = {"pair": pair, "distance": distance, "method": SelfExtend(group_size, window)}
    return {
        "wavelengths": pictures[pair],
        "rotation": figure_state(plot_rotation(inv_freq, context_length, **numbers), fit),
        WORDS: {
            "wavelengths": wavelengths_sentence(inv_freq, context_length),
            "rotation": pair_sentence(inv_freq, context_length, **numbers),
        },
    }
