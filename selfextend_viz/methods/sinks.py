"""Methods that keep a window and the first few tokens, at positions near the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from selfextend_viz.positions import Band, Positions, whole_number


@dataclass(frozen=True)
class StreamingLLM:
    """StreamingLLM (Xiao et al., arXiv 2309.17453, section 3.2): first tokens and a window, at positions in the cache.

    A key nearer than W keeps its distance; of the others only the first S are seen, told ``min(i, S + W - 1) - j``,
    since the method counts positions in a cache that holds S + W tokens at most.

    It changes who sees whom: memory and positions stay bounded whatever the length, and text flows on. It cannot use
    anything between the sinks and the window; a key stated there is lost. The cache here still keeps every token.
    Eager only, since the sinks are no interval of distances.

    Parameters
    ----------
    sinks
        S, how many of the first tokens stay visible from everywhere; the paper takes 4.
    window
        W, the first distance that is hidden, but for the sinks.

    Raises
    ------
    TypeError, ValueError
        If either is not a whole number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "visibility: a window and first tokens, at positions in the cache"

    sinks: int
    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sinks", whole_number("sinks", self.sinks))
        object.__setattr__(self, "window", whole_number("window", self.window))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The window at true positions, and beyond it the sinks, seen from the cache's last place."""
        sinks, last = self.sinks, self.sinks + self.window - 1

        def in_cache(query: Positions) -> Positions:
            return query - (query > last) * (query - last)

        return (Band(beyond=self.window), Band(in_cache, nearest=self.window, visible=lambda i, j: j < sinks))

    def __str__(self) -> str:
        return f"StreamingLLM(sinks={self.sinks}, window={self.window})"


@dataclass(frozen=True)
class LMInfinite:
    """LM-Infinite (Han et al., arXiv 2308.16137, section 4): first tokens and a window, no distance above the window.

    A key nearer than W keeps its distance; of the others only the first S are seen, all told the distance W. The
    paper's distance limit and its window are one number here, as in its experiments: apart, its code leaves pairs out
    or counts them twice.

    It changes who sees whom: positions stay bounded and text flows on. It cannot use anything between the first tokens
    and the window, and cannot tell the first tokens apart by position. Eager only, since those are no interval of
    distances.

    Parameters
    ----------
    sinks
        S, how many of the first tokens stay visible from everywhere; the paper takes 10 to 100.
    window
        W, the first distance that is hidden, but for the first tokens, and what those are told.

    Raises
    ------
    TypeError, ValueError
        If either is not a whole number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "visibility: a window and first tokens, at one distance"

    sinks: int
    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sinks", whole_number("sinks", self.sinks))
        object.__setattr__(self, "window", whole_number("window", self.window))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The window at true positions, and beyond it the first tokens, all at one distance."""
        sinks, window = self.sinks, self.window
        far = Band(lambda i: i * 0 + window, lambda j: j * 0, nearest=window, visible=lambda i, j: j < sinks)
        return (Band(beyond=window), far)

    def __str__(self) -> str:
        return f"LMInfinite(sinks={self.sinks}, window={self.window})"
