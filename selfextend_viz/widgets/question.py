"""What the strip asks the model: where the key stands, what hides it, how it is asked for. A checked state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import traitlets

from selfextend_viz.experiments.tasks import PHRASINGS, Phrasing
from selfextend_viz.widgets.controls import BadSetting

KEY = "29026"
"""A fixed key, so that moving the needle moves nothing else."""
STATED_ONCE = PHRASINGS["once"]
"""Said once, a key is one place to look at."""
FILLERS = ("grass", "natural", "own")
LONGEST_KEY = 8
LONGEST_TEXT = 20_000
DEPTH_DECIMALS = 4


@dataclass(frozen=True)
class Question:
    """What is asked of the model.

    Attributes
    ----------
    depth
        Share of the filler that stands before the key's sentence.
    key
        The digits, or letters, to be found.
    filler
        ``"grass"``, ``"natural"`` or ``"own"``, which takes `own_text`.
    phrasing
        How the key is stated and asked for.
    head
        Layer and head that are watched; the strongest retrieval head if None.
    """

    depth: float = 0.5
    key: str = KEY
    filler: str = "grass"
    own_text: str = ""
    phrasing: Phrasing = STATED_ONCE
    head: tuple[int, int] | None = None

    @property
    def prompt_options(self) -> dict[str, Any]:
        """The arguments of `passkey_prompt` that do not change when the needle is moved."""
        filler = [self.own_text] if self.filler == "own" else self.filler
        return {"task": "paper", "key": self.key, "filler": filler, "phrasing": self.phrasing}

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= 1:
            raise BadSetting(f"The depth of the key must be from 0 (start) to 1 (end); {self.depth} is not.")
        self._check_key()
        self._check_filler()
        self._check_phrasing()

    def _check_key(self) -> None:
        if not 1 <= len(self.key) <= LONGEST_KEY or not self.key.isalnum():
            raise BadSetting(f"The key must be 1 to {LONGEST_KEY} digits or letters; {self.key[:40]!r} is not.")

    def _check_filler(self) -> None:
        if self.filler not in FILLERS:
            raise BadSetting(f"The filler is one of {', '.join(FILLERS)}; {self.filler!r} is not.")
        if self.filler == "own" and not any(character.isalpha() for character in self.own_text):
            raise BadSetting("Your own filler has 0 letters; type or paste some text for the key to hide in.")
        if len(self.own_text) > LONGEST_TEXT:
            raise BadSetting(
                f"Your own filler has {len(self.own_text):,} characters; use at most {LONGEST_TEXT:,}, "
                "which are repeated to fill the prompt."
            )

    def _check_phrasing(self) -> None:
        phrasing = self.phrasing
        if not phrasing.subject.strip() or not phrasing.question.strip() or not phrasing.answer_start.strip():
            raise BadSetting("The name of the key, the question and the answer's first words must not be empty.")
        try:
            stated = [phrasing.fill(text, phrasing.subject, self.key) for text in texts_of(phrasing)]
        except (KeyError, IndexError, ValueError, AttributeError) as refusal:
            raise BadSetting(
                "Of the words in braces only {key}, {subject} and {Subject} are filled in; "
                "write no other braces into the sentences."
            ) from refusal
        if self.key not in stated[0] or "{key}" not in phrasing.statement:
            raise BadSetting("The statement must say where the key stands: write {key} into it.")


def texts_of(phrasing: Phrasing) -> tuple[str, str, str]:
    """The sentences that are filled in."""
    return phrasing.statement, phrasing.question, phrasing.answer_start


class QuestionState(traitlets.HasTraits):
    """The question as it is now: watch ``revision``, which rises by one for each accepted change.

    Attributes
    ----------
    asked
        The `Question`; it can be a key of a dictionary.
    """

    revision = traitlets.Int(0, read_only=True)

    def __init__(self, asked: Question | None = None) -> None:
        super().__init__()
        self.asked = Question() if asked is None else asked

    def set(self, **changes: Any) -> None:
        """Change parts of the question, all or none.

        Raises
        ------
        BadSetting
            If what comes out cannot be asked; its message is the sentence shown to the user.
        """
        asked = replace(self.asked, **changes)
        if asked != self.asked:
            self.asked = asked
            self.set_trait("revision", self.revision + 1)

    def move(self, token: int, needle_range: tuple[int, int]) -> None:
        """Move the key to about a token, between where it stands at depth 0 and at depth 1."""
        first, last = needle_range
        share = (token - first) / max(1, last - first)
        self.set(depth=round(min(max(share, 0.0), 1.0), DEPTH_DECIMALS))
