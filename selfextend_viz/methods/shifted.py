"""LongLoRA's shifted sparse attention: groups of neighbours, shifted by half a group in half of the heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.positions import Band, Positions, whole_number


@dataclass(frozen=True)
class ShiftedSparseAttention:
    """LongLoRA's shifted sparse attention (Chen et al., arXiv 2309.12307, section 3.2): attention within groups.

    The first half of the heads sees ``i // g == j // g`` alone; in the second half the groups begin half a group
    later. All positions are true ones.

    It makes fine-tuning at long lengths cheap, and changes who sees whom only. It extends nothing by itself: within a
    group nothing is farther than g, and what lies farther is reached through layers, which a model must be trained
    for. Eager only, since a group is no interval of distances.

    The authors' code rolls the second half of the heads by half a group, and around the end: its last group then
    holds the text's end and its beginning, so that the first half group sees the last, which is the future. Here that
    leak is closed, and the first half group is a group of its own; :meth:`leak` shows what the code lets through.

    Parameters
    ----------
    group_length
        g, tokens in a group; even, since half of it is the shift. The paper takes a quarter of the text.

    Raises
    ------
    TypeError, ValueError
        If it is not an even whole number >= 2.
    """

    training_free: ClassVar[bool] = False
    mechanism: ClassVar[str] = "visibility: groups, shifted in half of the heads"

    group_length: int

    def __post_init__(self) -> None:
        length = whole_number("group_length", self.group_length, at_least=2)
        if length % 2:
            raise ValueError(f"group_length is {length}, but must be even, since groups shift by half of it")
        object.__setattr__(self, "group_length", length)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The same group, seen by the first half of the heads, and the same shifted group, seen by the second."""
        length, half = self.group_length, self.group_length // 2

        def same(query: Positions, key: Positions) -> Positions:
            return query // length == key // length

        def same_shifted(query: Positions, key: Positions) -> Positions:
            return (query + half) // length == (key + half) // length

        return (
            Band(beyond=length, visible=same, heads=lambda count: slice(0, count // 2)),
            Band(beyond=length, visible=same_shifted, heads=lambda count: slice(count // 2, count)),
        )

    def leak(self, length: int) -> NDArray[np.bool_]:
        """Which future keys the authors' code lets a query of the shifted heads see, by rolling around the end.

        Parameters
        ----------
        length
            N, which that code wants to be a multiple of the group length.

        Returns
        -------
        NDArray
            bool ``[N, N]`` (query, key), True only above the diagonal.

        Raises
        ------
        TypeError, ValueError
            If N is not a whole number >= 1, or no multiple of the group length.
        """
        if whole_number("length", length) % self.group_length:
            raise ValueError(
                f"length {length} is no multiple of group_length {self.group_length}, as the authors' code demands"
            )
        places, half = np.arange(length), self.group_length // 2
        leaked: NDArray[np.bool_] = (places[:, None] < half) & (places[None, :] >= length - half)
        return leaked

    def __str__(self) -> str:
        return f"ShiftedSparseAttention({self.group_length})"
