"""Methods that change who sees whom and leave every position where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from selfextend_viz.positions import Band, whole_number


@dataclass(frozen=True)
class SlidingWindow:
    """Hide every key at distance ``window`` or more, at true positions.

    With ``window`` set to L it is the blindfold: the model never meets a distance it was not trained on, and
    never sees anything farther. Only a method that beats it can be said to use far text.

    Parameters
    ----------
    window
        The first distance that is hidden.

    Raises
    ------
    TypeError, ValueError
        If the window is not a whole number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "visibility: a window"

    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole_number("window", self.window))

    @property
    def bands(self) -> tuple[Band, ...]:
        """One identity band that ends at the window."""
        return (Band(beyond=self.window),)

    def __str__(self) -> str:
        return f"SlidingWindow({self.window})"


@dataclass(frozen=True)
class SinksAtTrueDistance:
    """A sliding window that also lets the first few tokens through, at their true distances.

    A control: if a handful of tokens at never-trained distances is enough to break a model, what breaks it is
    the distance and not the amount of far text.

    Parameters
    ----------
    window
        The first distance that is hidden, but for the sinks.
    sinks
        How many of the first tokens stay visible from everywhere.

    Raises
    ------
    TypeError, ValueError
        If either is not a whole number >= 1.
    """

    window: int
    sinks: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole_number("window", self.window))
        object.__setattr__(self, "sinks", whole_number("sinks", self.sinks))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The window, and beyond it the first tokens, both at true positions."""
        sinks = self.sinks
        return (Band(beyond=self.window), Band(nearest=self.window, visible=lambda i, j: j < sinks))

    def __str__(self) -> str:
        return f"SinksAtTrueDistance({self.window}, sinks={self.sinks})"
