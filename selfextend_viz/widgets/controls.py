"""The lab's state: four validated numbers that every panel reads, and the stops its sliders rest on."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets

from selfextend_viz.positions import SelfExtend

MAX_LENGTH = 2**20
MAX_GROUP_SIZE = 2**12
NUMBERS = ("length", "group_size", "neighbor_window", "context_length")
SETTABLE = (*NUMBERS, "formula_only")


class BadSetting(traitlets.TraitError, ValueError):
    """A number the lab refuses; its message is the sentence shown to the user."""


class WholeNumber(traitlets.TraitType[int, int]):
    """An integer trait within [least, most]; anything else is refused with a sentence that names `symbol`."""

    def __init__(self, symbol: str, least: int, most: int) -> None:
        super().__init__(default_value=least)
        self.symbol, self.least, self.most = symbol, least, most

    def validate(self, obj: Any, value: Any) -> int:
        """`value` as an int, or `BadSetting`."""
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise BadSetting(f"{self.symbol} must be a whole number; {value!r} is not.")
        number = int(value)
        if not self.least <= number <= self.most:
            raise BadSetting(f"{self.symbol} must be between {self.least} and {self.most:,}; {number} is not.")
        return number


class LabState(traitlets.HasTraits):
    """What the sliders say: N, G, w_n and L, validated as they are set.

    A refused number raises `BadSetting` and leaves the old value in place. Watch ``revision``, which
    rises by one for each accepted change, however many numbers it touched.

    Parameters
    ----------
    context_length
        L, the length the model was pretrained at. A fact of the model: it is locked until
        ``formula_only`` is set.
    length, group_size, neighbor_window
        N, G and w_n to begin with; 4 L, 8 and L // 4 when left out.
    """

    length: Any = WholeNumber("N", 1, MAX_LENGTH)
    group_size: Any = WholeNumber("G", 1, MAX_GROUP_SIZE)
    neighbor_window: Any = WholeNumber("w_n", 0, MAX_LENGTH)
    context_length: Any = WholeNumber("L", 2, MAX_LENGTH)
    formula_only = traitlets.Bool(False)
    revision = traitlets.Int(0, read_only=True)

    def __init__(
        self,
        context_length: int,
        *,
        length: int | None = None,
        group_size: int | None = None,
        neighbor_window: int | None = None,
    ) -> None:
        self._building = True
        self._batching = False
        super().__init__()
        self.context_length = context_length
        self.model_context_length = self.context_length
        self.neighbor_window = context_length // 4 if neighbor_window is None else neighbor_window
        self.group_size = 8 if group_size is None else group_size
        self.length = min(MAX_LENGTH, 4 * context_length) if length is None else length
        self._building = False
        self.observe(self._count, [*NUMBERS, "formula_only"])
        self.keep_as_opening()

    def values(self) -> dict[str, Any]:
        """All that can be set, by name."""
        return {name: getattr(self, name) for name in SETTABLE}

    def keep_as_opening(self) -> None:
        """Let `reset` return to the numbers of now."""
        self.opening = self.values()

    def reset(self) -> None:
        """Back to the numbers the lab opened with."""
        self.set(**self.opening)

    @property
    def method(self) -> SelfExtend:
        """The method these numbers make."""
        return SelfExtend(group_size=self.group_size, neighbor_window=self.neighbor_window)

    @property
    def reach(self) -> int:
        """The longest N whose relative positions all stay below L (exact, not the paper's formula)."""
        return self.method.capacity(self.context_length)

    def set(self, **values: Any) -> None:
        """Set several numbers as one change, all or none.

        Raises
        ------
        BadSetting
            If one of them is refused; then none is set.
        """
        before = self.values()
        with self._one_revision():
            try:
                for name in self._order(values):
                    setattr(self, name, values[name])
            except BadSetting:
                for name in self._order(before):
                    setattr(self, name, before[name])
                raise

    def _order(self, values: dict[str, Any]) -> list[str]:
        """Names in an order that keeps w_n below L on the way, if it is so at the end."""
        window = values.get("neighbor_window", self.neighbor_window)
        smaller = isinstance(window, numbers.Integral) and window < self.neighbor_window
        first = ("formula_only", "neighbor_window") if smaller else ("formula_only", "context_length")
        return sorted(values, key=lambda name: first.index(name) if name in first else len(first))

    @contextmanager
    def _one_revision(self) -> Iterator[None]:
        start = self.values()
        self._batching = True
        try:
            yield
        finally:
            self._batching = False
        if start != self.values():
            self.set_trait("revision", self.revision + 1)

    def _count(self, change: Any) -> None:
        if change["name"] == "formula_only" and not change["new"]:
            self._return_to_model()
        if not self._batching:
            self.set_trait("revision", self.revision + 1)

    def _return_to_model(self) -> None:
        """Leaving "formula only" takes L back to the model's, and w_n below it."""
        batching, self._batching = self._batching, True
        self.neighbor_window = min(self.neighbor_window, min(self.context_length, self.model_context_length) - 1)
        self._building = True
        self.context_length = self.model_context_length
        self._building = False
        self._batching = batching

    @traitlets.validate("neighbor_window")
    def _check_neighbor_window(self, proposal: Any) -> int:
        window = int(proposal["value"])
        if window >= self.context_length:
            raise BadSetting(
                f"The neighbor window w_n must be smaller than L = {self.context_length}, since L positions must "
                f"hold the window and the groups; {window} is not. Try {self.context_length // 4}."
            )
        return window

    @traitlets.validate("context_length")
    def _check_context_length(self, proposal: Any) -> int:
        context_length = int(proposal["value"])
        if self._building:
            return context_length
        if not self.formula_only and context_length != self.context_length:
            raise BadSetting(
                f"L = {self.context_length} is a fact of this model, the length it was pretrained at; "
                'tick "formula only" to try another.'
            )
        if context_length <= self.neighbor_window:
            raise BadSetting(
                f"L must be larger than the neighbor window w_n = {self.neighbor_window}; {context_length} is not. "
                "Make w_n smaller first."
            )
        return context_length


def powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to `most`: the stops of the G slider."""
    return tuple(2**exponent for exponent in range(most.bit_length()) if 2**exponent <= most)


def geometric_stops(least: int, most: int) -> tuple[int, ...]:
    """Powers of two and one and a half times them, within [least, most]: the stops of the w_n and N sliders."""
    powers = powers_of_two(most)
    middles = {3 * power // 2 for power in powers if power > 1}
    return tuple(sorted(stop for stop in {*powers, *middles} if least <= stop <= most))
