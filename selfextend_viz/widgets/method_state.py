"""What the method explorer shows: two chosen methods, a length, a query and L, validated as they are set."""

from __future__ import annotations

from typing import Any

import traitlets

from selfextend_viz.positions import Method
from selfextend_viz.widgets.controls import MAX_LENGTH, BadSetting, WholeNumber
from selfextend_viz.widgets.method_choice import MethodChoice, chosen

SIDES = ("first", "second")
NUMBERS = ("length", "query", "context_length")


class MethodState(traitlets.HasTraits):
    """Two methods and three numbers; watch ``revision``, which rises by one for each accepted change.

    A refused number raises `BadSetting` and leaves the old value in place. A query that is the last token stays the
    last one when N changes, and no query lies past the end.

    Parameters
    ----------
    context_length
        L.
    first, second
        Methods, or their names.
    length, query
        N and i to begin with; 4 L and the last token when left out.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or a method cannot be chosen.
    """

    length: Any = WholeNumber("N", 1, MAX_LENGTH)
    query: Any = WholeNumber("The query i", 0, MAX_LENGTH)
    context_length: Any = WholeNumber("L", 2, MAX_LENGTH)
    revision = traitlets.Int(0, read_only=True)

    def __init__(
        self,
        context_length: int,
        *,
        first: str | Method,
        second: str | Method,
        length: int | None = None,
        query: int | None = None,
    ) -> None:
        super().__init__()
        self.context_length = context_length
        self.length = min(MAX_LENGTH, 4 * self.context_length) if length is None else length
        self.query = self.length - 1 if query is None else query
        self.choices = {side: self._choice(asked) for side, asked in zip(SIDES, (first, second), strict=True)}
        self.observe(self._count, list(NUMBERS))

    @property
    def first(self) -> Method:
        """The first method."""
        return self.choices["first"].method  # type: ignore[no-any-return]

    @property
    def second(self) -> Method:
        """The second method."""
        return self.choices["second"].method  # type: ignore[no-any-return]

    def choose(self, side: str, asked: str | Method) -> None:
        """Take another method on one side, given by name or as it is.

        Raises
        ------
        TypeError, ValueError
            If it cannot be chosen.
        """
        self.choices[side] = self._choice(asked)
        self.set_trait("revision", self.revision + 1)

    def _choice(self, asked: str | Method) -> MethodChoice:
        choice = MethodChoice(chosen(asked, self.context_length, self.length))
        choice.observe(self._count, "revision")
        return choice

    @traitlets.validate("query")
    def _check_query(self, proposal: Any) -> int:
        query = int(proposal["value"])
        if query >= self.length:
            raise BadSetting(f"The query i must be one of the tokens 0 to {self.length - 1:,}; {query} is not.")
        return query

    def _count(self, change: Any) -> None:
        if change["name"] == "length" and (self.query >= self.length or self.query == change["old"] - 1):
            self.query = self.length - 1  # which counts as the change that it is
        else:
            self.set_trait("revision", self.revision + 1)
