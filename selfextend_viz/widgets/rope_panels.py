"""The panels of rotation: the wavelength of every pair of dimensions, and the circle of one."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import traitlets

from selfextend_viz.plots import (
    pair_angles,
    pair_sentence,
    plot_rotation,
    plot_wavelengths,
    wavelengths,
    wavelengths_sentence,
)
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.card import Table
from selfextend_viz.widgets.controls import MAX_GROUP_SIZE, MAX_LENGTH, BadSetting, WholeNumber
from selfextend_viz.widgets.panel import Panel

NUMBERS = ("pair", "distance", "group_size", "neighbor_window")


class RopeState(traitlets.HasTraits):
    """What the sliders of rotation say: a pair, a distance, G and w_n, validated as they are set.

    Watch ``revision``, which rises by one for each accepted change.

    Parameters
    ----------
    inv_freq
        Radians a token, one for each pair.
    context_length
        L.
    pair, distance, group_size, neighbor_window
        To begin with. Left out: 4 L - 1, 8 and L // 4, and the first pair that this distance turns to an angle never
        trained.

    Raises
    ------
    TypeError, ValueError
        If a frequency or a number is out of range.
    """

    pair: Any = WholeNumber("The pair", 0, 2**16)
    distance: Any = WholeNumber("d", 0, MAX_LENGTH)
    group_size: Any = WholeNumber("G", 1, MAX_GROUP_SIZE)
    neighbor_window: Any = WholeNumber("w_n", 0, MAX_LENGTH)
    revision = traitlets.Int(0, read_only=True)

    def __init__(
        self,
        inv_freq: tuple[float, ...],
        context_length: int,
        *,
        pair: int | None = None,
        distance: int | None = None,
        group_size: int | None = None,
        neighbor_window: int | None = None,
    ) -> None:
        wavelengths(inv_freq, context_length)  # refuses what is no frequency or length
        super().__init__()
        self.inv_freq, self.context_length = inv_freq, context_length
        self.distance = 4 * context_length - 1 if distance is None else distance
        self.group_size = 8 if group_size is None else group_size
        self.neighbor_window = context_length // 4 if neighbor_window is None else neighbor_window
        self.pair = self._telling_pair() if pair is None else pair
        self.observe(self._count, list(NUMBERS))

    @property
    def method(self) -> SelfExtend:
        """The method these numbers make."""
        return SelfExtend(group_size=self.group_size, neighbor_window=self.neighbor_window)

    @property
    def numbers(self) -> dict[str, Any]:
        """What the circle is drawn from, by name."""
        return {"pair": self.pair, "distance": self.distance, "method": self.method}

    def _telling_pair(self) -> int:
        for pair in range(len(self.inv_freq)):
            found = pair_angles(
                self.inv_freq, self.context_length, pair=pair, distance=self.distance, method=self.method
            )
            if not found.plain.trained:
                return pair
        return 0

    def _count(self, change: Any) -> None:
        self.set_trait("revision", self.revision + 1)

    @traitlets.validate("pair")
    def _check_pair(self, proposal: Any) -> int:
        if proposal["value"] >= len(self.inv_freq):
            raise BadSetting(
                f"There are {len(self.inv_freq)} pairs, 0 to {len(self.inv_freq) - 1}; {proposal['value']} is none."
            )
        return int(proposal["value"])

    @traitlets.validate("neighbor_window")
    def _check_neighbor_window(self, proposal: Any) -> int:
        if proposal["value"] >= self.context_length:
            raise BadSetting(
                f"The neighbor window w_n must be smaller than L = {self.context_length}; {proposal['value']} is not."
            )
        return int(proposal["value"])


class WavelengthPanel(Panel):
    """Tokens for one turn of each pair, beside L; a click chooses the pair."""

    def __init__(self, state: RopeState, *, height: int) -> None:
        self.state = state
        super().__init__("Wavelengths", self.draw(), height=height, listen=self._listen)
        self.say(wavelengths_sentence(state.inv_freq, state.context_length))
        state.observe(self._follow, "pair")

    def draw(self) -> go.Figure:
        """The figure of the current state."""
        return plot_wavelengths(self.state.inv_freq, self.state.context_length, pair=self.state.pair)

    def table(self) -> Table:
        """Each pair's wavelength and turns."""
        found = wavelengths(self.state.inv_freq, self.state.context_length)
        rows = zip(found.tokens, found.turns, found.complete, strict=True)
        return ("pair", "tokens for one turn", "turns in training", "every angle trained"), [
            (pair, round(tokens, 1), round(turns, 3), "yes" if complete else "no")
            for pair, (tokens, turns, complete) in enumerate(rows)
        ]

    def choose(self, pair: int) -> None:
        """Look at another pair, as a click on it does."""
        self.state.pair = pair

    def _follow(self, change: Any) -> None:
        self.show(self.draw(), text=self.text)

    def _listen(self, widget: go.FigureWidget) -> None:
        for trace in widget.data:
            if trace.name in ("complete", "incomplete"):
                trace.on_click(self._click)

    def _click(self, trace: Any, points: Any, selector: Any) -> None:
        if points.xs:
            self.choose(int(points.xs[0]))


class RotationPanel(Panel):
    """The circle of one pair: the angles training showed, and where the distance turns it."""

    def __init__(self, state: RopeState, *, height: int) -> None:
        self.state = state
        super().__init__("Rotation", self.draw(), height=height)
        self.say(self.words())
        state.observe(self._follow, "revision")

    def draw(self) -> go.Figure:
        """The figure of the current state."""
        return plot_rotation(self.state.inv_freq, self.state.context_length, **self.state.numbers)

    def words(self) -> str:
        """What training showed the pair, and what the distance asks for."""
        return pair_sentence(self.state.inv_freq, self.state.context_length, **self.state.numbers)

    def table(self) -> Table:
        """Both hands in numbers."""
        found = pair_angles(self.state.inv_freq, self.state.context_length, **self.state.numbers)
        hands = {"plain RoPE": found.plain, str(self.state.method): found.mapped}
        return ("told by", "distance", "turns", "degrees", "angle trained"), [
            (name, hand.told, round(hand.turns, 3), round(hand.angle, 1), "yes" if hand.trained else "no")
            for name, hand in hands.items()
        ]

    def _follow(self, change: Any) -> None:
        self.show(self.draw(), text=self.words())
