"""A needle in a text, and the same needle in the text cut to L."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Needle:
    """Where a key stands and which queries ask for it.

    Attributes
    ----------
    start, stop
        The key's tokens are ``start .. stop - 1``.
    rows
        Positions of the queries that foretell the answer.
    """

    start: int
    stop: int
    rows: tuple[int, ...]

    @classmethod
    def of(cls, span: Sequence[int], rows: Sequence[int] | None, length: int) -> Needle:
        """Check a span and the answer's rows against a text of `length` tokens.

        Raises
        ------
        ValueError
            If the span is empty or outside the text, or a row does not stand after it.
        """
        start, stop = map(int, span)
        if not 0 <= start < stop < length:
            raise ValueError(f"needle ({start}, {stop}) is no span of tokens before the last of {length}")
        answer = tuple(int(row) for row in ([length - 1] if rows is None else rows))
        wrong = [row for row in answer if not stop <= row < length]
        if wrong or not answer:
            raise ValueError(
                f"answer_rows must be positions from {stop} (after the needle) to {length - 1}, "
                f"not {wrong[0] if wrong else 'empty'}"
            )
        return cls(start, stop, answer)

    def cut(self, length: int, context_length: int) -> tuple[list[int], Needle]:
        """Which tokens to keep so that L are left, the needle and the text's end among them, and where it then stands.

        A needle farther than L from the end keeps L / 2 tokens around it; what lies between goes.

        Raises
        ------
        ValueError
            If needle or answer do not fit.
        """
        kept = min(length, context_length)
        gone = length - kept
        near = self.start >= gone
        head = 0 if near else kept // 2
        first = 0 if near else min(max((self.start + self.stop - head) // 2, 0), gone)
        if not near and not first <= self.start < self.stop <= first + head:
            raise ValueError(f"a needle of {self.stop - self.start} tokens does not fit into L / 2 = {head}")
        tail = gone + head
        if min(self.rows) < tail:
            raise ValueError(f"answer_rows must be among the last {length - tail} tokens, not {min(self.rows)}")
        shift = gone if near else first
        moved = Needle(self.start - shift, self.stop - shift, tuple(row - gone for row in self.rows))
        return [*range(first, first + head), *range(tail, length)], moved
