"""Which of several points no other one beats."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, ...]]) -> list[int]:
    """The numbers of the points that none beats: no other one is at most as large in all numbers and smaller in one."""

    def beaten(point: tuple[float, ...]) -> bool:
        return any(other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points)

    return [number for number, point in enumerate(points) if not beaten(point)]
