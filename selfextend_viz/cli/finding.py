"""What one look at the machine found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    name
        What was looked at.
    state
        ``"ok"``; ``"note"``: the lab runs, with less than it could have; ``"problem"``: it does not run.
    found
        What was found.
    remedy
        What to do, where the state is not ``"ok"``.
    """

    name: str
    state: State
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.state == "ok") == bool(self.remedy):
            raise ValueError(f"{self.name} is {self.state!r}: a finding has a remedy exactly where it is not ok")


def looked_at(name: str, check: Callable[[], Finding]) -> Finding:
    """The finding of a check; one that breaks down is a problem of its own and ends no other."""
    try:
        return check()
    except Exception as error:  # whatever is broken here must not hide the rest of the report
        return Finding(
            name,
            "problem",
            f"{type(error).__name__}: {error}",
            'The check itself failed on this; install anew, in a fresh environment: pip install "selfextend-viz[lab]"',
        )
