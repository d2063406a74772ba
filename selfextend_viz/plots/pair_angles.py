"""One rotary pair in numbers: the angles that training showed it, and those a distance asks for, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfextend_viz.plots.wavelengths import wavelengths
from selfextend_viz.positions import Method, pair_positions, whole_number

WHOLE = 360.0


@dataclass(frozen=True)
class Hand:
    """Where one pair stands for a key told so many tokens away: turns from 0, and whether its angle was trained.

    ``told`` is -1 where the key is not seen; then the hand is not drawn.
    """

    told: float
    turns: float
    trained: bool

    @property
    def angle(self) -> float:
        """Degrees, 0 to 360."""
        return WHOLE * (self.turns % 1.0)


@dataclass(frozen=True)
class PairAngles:
    """What :func:`plot_rotation` draws.

    Attributes
    ----------
    tokens
        Tokens for one turn of the pair.
    shown
        Training showed the pair the angles from 0 to this, in degrees; 360 is all of them.
    plain, mapped
        Where plain RoPE turns it, and where the method does.
    """

    tokens: float
    shown: float
    plain: Hand
    mapped: Hand


def pair_angles(
    inv_freq: Sequence[float], context_length: int, *, pair: int, distance: int, method: Method
) -> PairAngles:
    """The numbers behind :func:`plot_rotation`.

    The distance is that of token ``distance`` from token 0, the farthest a text of ``distance + 1`` tokens has.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or the method has no bands or changes frequencies.
    """
    found = wavelengths(inv_freq, context_length)
    whole_number("distance", distance, at_least=0)
    if whole_number("pair", pair, at_least=0) >= len(found.tokens):
        raise ValueError(f"pair {pair} is not one of the {len(found.tokens)}; use one of 0 to {len(found.tokens) - 1}")
    if hasattr(method, "rope_parameters"):
        raise ValueError(
            f"{method} changes how fast pairs turn, and this shows where positions turn them; "
            "use a method that changes positions, or PlainRoPE() with other inv_freq"
        )
    tokens = found.tokens[pair]
    shown = min(WHOLE, WHOLE * found.turns[pair])

    def hand(told: float) -> Hand:
        turns = told / tokens
        return Hand(told, turns, shown == WHOLE or told < context_length or WHOLE * (turns % 1.0) <= shown)

    return PairAngles(tokens, shown, hand(distance), hand(pair_positions(method, distance, 0).item()))


def pair_sentence(inv_freq: Sequence[float], context_length: int, *, pair: int, distance: int, method: Method) -> str:
    """What training showed one pair, and what it is asked for at a distance, in words."""
    found = pair_angles(inv_freq, context_length, pair=pair, distance=distance, method=method)
    start = f"pair {pair} makes one turn in {rounded_tokens(found.tokens)} tokens"
    if found.shown == WHOLE:
        return f"{start}: training showed it <b>every angle</b>, so no distance is new to this pair alone"
    plain, mapped = found.plain, found.mapped
    extended = (
        f"{method} tells {round(mapped.told, 2):,}: {in_degrees(mapped.angle)}, <b>{verdict(mapped)}</b>"
        if mapped.told >= 0
        else f"{method} hides the key"
    )
    return (
        f"{start}: training showed it {shown_words(found.shown)}. At distance {distance:,} plain RoPE turns it to "
        f"{in_degrees(plain.angle)}, <b>{verdict(plain)}</b>; {extended}."
    )


def hand_words(hand: Hand) -> str:
    """A hand in two short lines."""
    if hand.told < 0:
        return "does not see the key"
    return f"told {round(hand.told, 2):,}: {hand.turns:,.2f} turns<br>{in_degrees(hand.angle)}, {verdict(hand)}"


def verdict(hand: Hand) -> str:
    """Whether the angle is one that training showed."""
    return "trained" if hand.trained else "never trained"


def shown_words(shown: float) -> str:
    """The angles that training showed."""
    return "every angle" if shown == WHOLE else f"0° to {in_degrees(shown)}"


def in_degrees(angle: float) -> str:
    """An angle, short."""
    return f"{angle:.0f}°" if angle >= 1 or angle == 0 else f"{angle:.2g}°"


def rounded_tokens(tokens: float) -> str:
    """A wavelength, short."""
    return f"{tokens:,.0f}" if tokens >= 100 else f"{tokens:.1f}"
