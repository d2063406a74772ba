"""Bands of distances, the positions they tell, and the maps that follow from them.

Positions are written with ``//``, ``%``, ``+``, ``-`` and ``*`` only, so that one definition serves ints, NumPy arrays
and torch tensors.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Positions = Any
"""An int, a NumPy array or a torch tensor of positions."""


def whole_number(name: str, value: Any, *, at_least: int = 1) -> int:
    """Check that a value is a whole number in range, and return it as a plain ``int``.

    Parameters
    ----------
    name
        What the number is called in the message.
    value
        Any object; NumPy integers are accepted, bools and floats are not.
    at_least
        The smallest number allowed.

    Raises
    ------
    TypeError
        If the value is a bool or not an integer.
    ValueError
        If it is smaller than ``at_least``.
    """
    number = _index(value)
    if number is None:
        raise TypeError(
            f"{name} must be a whole number, not {value!r} ({type(value).__name__}); use an int >= {at_least}"
        )
    if number < at_least:
        raise ValueError(f"{name} is {number}, but must be at least {at_least}")
    return number


def real_number(name: str, value: Any, *, at_least: float | None = None) -> float:
    """Check that a value is a finite number in range, and return it as a plain ``float``.

    Parameters
    ----------
    name
        What the number is called in the message.
    value
        Any object; bools are no numbers.
    at_least
        The smallest number allowed; left out, any above 0.

    Raises
    ------
    TypeError
        If the value is a bool or not a real number.
    ValueError
        If it is too small, infinite or nan.
    """
    wanted = "above 0" if at_least is None else f"at least {at_least:g}"
    if isinstance(value, bool | str) or "bool" in str(getattr(value, "dtype", "")) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {value!r} ({type(value).__name__}); use one {wanted}")
    number = float(value)
    if not math.isfinite(number) or (number <= 0 if at_least is None else number < at_least):
        raise ValueError(f"{name} is {number:g}, but must be finite and {wanted}")
    return number


def _index(value: Any) -> int | None:
    """The value as an ``int`` if it is one number and whole; bools are none, those of NumPy and torch included."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_interval(nearest: int, beyond: int | None) -> None:
    """Check that ``nearest <= d < beyond`` holds at least one distance, else raise ``TypeError`` or ``ValueError``."""
    whole_number("nearest", nearest, at_least=0)
    if beyond is not None and whole_number("beyond", beyond) <= nearest:
        raise ValueError(f"the band [{nearest}, {beyond}) is empty; beyond must be at least {nearest + 1}")


def true_position(positions: Positions) -> Positions:
    """Return the positions unchanged: where a token really stands."""
    return positions


def real_positions(positions: Positions) -> Positions:
    """The positions in double precision, so that they can be divided: torch's own division would round to float32."""
    return positions.double() if hasattr(positions, "double") else positions * 1.0


@dataclass(frozen=True)
class Band:
    """Where queries and keys are said to stand, for the distances ``nearest <= i - j < beyond``.

    Inside a band the relative position is ``query_position(i) - key_position(j)``, so that a band is one
    ordinary rotary attention.

    Attributes
    ----------
    query_position, key_position
        Map true positions to the ones told; :func:`true_position` where they are the same.
    nearest, beyond
        The interval of distances; ``beyond=None`` means no far limit.
    visible
        Narrows the interval: ``(i, j) -> bool``, elementwise.
    heads
        Which query heads the band belongs to: a slice, or a function from their number to one.
    """

    query_position: Callable[[Positions], Positions] = true_position
    key_position: Callable[[Positions], Positions] = true_position
    nearest: int = 0
    beyond: int | None = None
    visible: Callable[[Positions, Positions], Any] | None = None
    heads: slice | Callable[[int], slice] = field(default_factory=lambda: slice(None), hash=False)

    def __post_init__(self) -> None:
        check_interval(self.nearest, self.beyond)

    def heads_of(self, count: int) -> slice:
        """The band's heads among so many."""
        return self.heads if isinstance(self.heads, slice) else self.heads(count)

    def sees(self, query: Positions, key: Positions) -> Any:
        """Say, elementwise, whether the pair of true positions ``(i, j)`` belongs to this band."""
        distance = query - key
        seen = distance >= self.nearest
        if self.beyond is not None:
            seen = seen & (distance < self.beyond)
        if self.visible is not None:
            seen = seen & self.visible(query, key)
        return seen


@runtime_checkable
class Method(Protocol):
    """A way to tell a model where its tokens stand: a frozen dataclass whose ``str`` is a short label.

    It may state a ``log_scale``, see :class:`~selfextend_viz.positions.SelfExtend`.
    """

    @property
    def bands(self) -> tuple[Band, ...]:
        """Bands that are disjoint in every head; a pair in none of them is not seen."""
        ...


@dataclass(frozen=True)
class PlainRoPE:
    """What the stock model does: every key at its true distance, all earlier keys seen."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """One identity band."""
        return (Band(),)

    def __str__(self) -> str:
        return "stock"


def bands_of(method: Any) -> tuple[Band, ...]:
    """The bands of a method; ``TypeError`` for what is none, such as a class, a name or a pair of numbers."""
    bands = getattr(method, "bands", None)
    if not isinstance(bands, tuple) or not all(isinstance(band, Band) for band in bands):
        raise TypeError(
            f"method must have .bands, a tuple of Band, as SelfExtend(group_size=8, neighbor_window=64) has; "
            f"got {method!r} ({type(method).__name__})."
        )
    return bands


def log_scale_of(method: Method) -> int | None:
    """The length from which a method scales its queries by log-n; ``None`` where it leaves them as they are."""
    log_scale: int | None = getattr(method, "log_scale", None)
    return log_scale


def pair_bands(method: Method, query: Positions, key: Positions) -> NDArray[np.int64]:
    """Which band of a method holds each pair of true positions; -1 where the key is not seen.

    Where heads differ, the first band that holds the pair in any head.

    Parameters
    ----------
    method
        Any method.
    query, key
        Integer arrays that broadcast against each other; the result has their common shape.

    Raises
    ------
    TypeError
        If the method has no bands.
    ValueError
        If two bands claim one pair in one head.
    """
    query, key = np.broadcast_arrays(np.asarray(query), np.asarray(key))
    index = np.full(query.shape, -1, dtype=np.int64)
    earlier: list[tuple[Band, NDArray[np.bool_]]] = []
    for number, band in enumerate(bands_of(method)):
        seen = np.asarray(band.sees(query, key), dtype=bool)
        for first, (other, theirs) in enumerate(earlier):
            if (clash := seen & theirs).any() and _share_a_head(band, other):
                i, j = (int(values[clash][0]) for values in (query, key))
                raise ValueError(
                    f"bands {first} and {number} of {method} both hold query {i}, key {j}; bands must be disjoint"
                )
        earlier.append((band, seen))
        index = np.where(seen & (index < 0), number, index)
    return index


def _share_a_head(first: Band, second: Band, count: int = 64) -> bool:
    heads = range(count)
    return not set(heads[first.heads_of(count)]).isdisjoint(heads[second.heads_of(count)])


def pair_positions(method: Method, query: Positions, key: Positions) -> NDArray[Any]:
    """How far away each key is said to be, for pairs of true positions; -1 where it is not seen.

    int64, or float64 for a method whose positions are not whole numbers. Arguments and errors as in
    :func:`pair_bands`.
    """
    query, key = np.broadcast_arrays(np.asarray(query), np.asarray(key))
    index = pair_bands(method, query, key)
    result: NDArray[Any] = np.full(index.shape, -1, dtype=np.int64)
    for number, band in enumerate(method.bands):
        result = np.where(index == number, band.query_position(query) - band.key_position(key), result)
    return result


def _triangle(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    places = np.arange(whole_number("length", length))
    return places[:, None], places[None, :]


def band_index(method: Method, length: int) -> NDArray[np.int64]:
    """:func:`pair_bands` of every pair: int64 ``[N, N]`` (query, key), -1 where the key is not seen."""
    return pair_bands(method, *_triangle(length))


def relative_positions(method: Method, length: int) -> NDArray[Any]:
    """:func:`pair_positions` of every pair: ``[N, N]`` (query, key), -1 where the key is not seen.

    Raises
    ------
    TypeError, ValueError
        If the length is not a whole number >= 1, the method has no bands, or two bands claim one pair.
    """
    return pair_positions(method, *_triangle(length))


def visible_pairs(method: Method, length: int) -> NDArray[np.bool_]:
    """Which keys each query sees, in any head: bool ``[N, N]`` (query, key).

    Raises
    ------
    TypeError, ValueError
        If the length is not a whole number >= 1, or the method has no bands.
    """
    query, key = _triangle(length)
    seen = [np.asarray(band.sees(query, key), dtype=bool) for band in bands_of(method)]
    return np.logical_or.reduce(seen)
