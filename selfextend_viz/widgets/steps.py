"""One piece of a worker's job."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One piece of work: `compute` takes a moment and returns what a panel of this `kind` shows.

    ``key`` is what the answer is remembered by; ``label`` the condition it belongs to; ``tokens`` is what it costs, as
    the number of tokens that the model reads for it.
    """

    kind: str
    label: str
    message: str
    key: Hashable
    compute: Callable[[], Any]
    tokens: int
