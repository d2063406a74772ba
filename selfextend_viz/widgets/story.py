"""The story: six settings of the demo model, from inside L to the authors' rule, with what to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets

from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.question import Question, QuestionState

WINDOW = "w\N{LATIN SUBSCRIPT SMALL LETTER N}"


@dataclass(frozen=True)
class StoryStep:
    """One step: what it sets, what it says, and where to look.

    Attributes
    ----------
    stock_right, extended_right
        Which rows of the strip find the key, as `text` says; a test asks the model.
    """

    title: str
    length: int
    group_size: int
    neighbor_window: int
    text: str
    look: str
    stock_right: bool
    extended_right: bool

    @property
    def values(self) -> dict[str, Any]:
        """What `LabState.set` takes."""
        return {
            "formula_only": False,
            "length": self.length,
            "group_size": self.group_size,
            "neighbor_window": self.neighbor_window,
        }


STORY = (
    StoryStep(
        "Inside L",
        256,
        1,
        80,
        "The text has 256 tokens, fewer than the L = 320 that the model was trained on. With G = 1, Self-Extend is "
        "the model as it is, and both rows of the strip find the key.",
        "the large digits on the right of the strip; no orange in the position maps.",
        stock_right=True,
        extended_right=True,
    ),
    StoryStep(
        "Past L",
        1024,
        1,
        80,
        "Now the text has 1,024 tokens, and the farthest ones stand at distances the model never met in training. "
        "Both rows lose the key.",
        "the hatched orange part of both position maps, and the struck-out digits.",
        stock_right=False,
        extended_right=False,
    ),
    StoryStep(
        "Add Self-Extend",
        1024,
        4,
        80,
        "With G = 4, tokens 80 or more away share a position in fours, and the farthest is told 315 away: trained. "
        "The same weights find the key.",
        "the strip's blue arc, which now lands on the key; the right-hand map has no orange left.",
        stock_right=False,
        extended_right=True,
    ),
    StoryStep(
        "Too large N",
        1536,
        4,
        80,
        "G = 4 reaches 1,040 tokens, and this text has 1,536. The far tokens are past L again, and the key is lost.",
        "the reach panel, where N is past this setting's reach; orange is back in the map.",
        stock_right=False,
        extended_right=False,
    ),
    StoryStep(
        "Too coarse G",
        1024,
        64,
        2,
        "Back at 1,024 tokens, 64 of them share a position and only the nearest 2 stay exact. Some digits of the key "
        "come back, but not in its order.",
        f"the blue digits. Then set {WINDOW} to 80: this model forgives G = 64 as long as near tokens are exact.",
        stock_right=False,
        extended_right=False,
    ),
    StoryStep(
        "Choose by the rule",
        1024,
        8,
        80,
        "The authors advise to keep every told position under two thirds of L. With "
        f"{WINDOW} = 80 the smallest such G is 8, which tells the farthest token 197 away, and the key is found.",
        "the pass-key panel, where every depth is found; selfextend_viz.suggest(320, 1024) gives this setting.",
        stock_right=False,
        extended_right=True,
    ),
)
MOVED = "You have left this step's setting; Back and Next set the sliders again."


class Story(ipywidgets.HBox):
    """Walks through `STORY`: each step sets the sliders and the question, and says what to look at.

    Parameters
    ----------
    state, question
        What a step sets.
    on_close
        Called when the story ends.
    """

    def __init__(self, state: LabState, question: QuestionState, *, on_close: Callable[[], None]) -> None:
        self._state, self._question, self._on_close = state, question, on_close
        self.place = 0
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0", flex="1 1 0"))
        self.back = self._button("Back", "Step back", lambda: self.go(self.place - 1))
        self.next = self._button("Next", "Next step", self._forward)
        self.end = self._button("Close", "Close the story; the sliders stay", self.close_story)
        for button, name in ((self.back, "sv-back"), (self.next, "sv-next"), (self.end, "sv-close")):
            button.add_class(name)
        super().__init__([self.words, self.back, self.next, self.end])
        self.add_class("sv-story")
        self.layout.display = "none"
        state.observe(self._follow, "revision")

    @property
    def step(self) -> StoryStep:
        """The step on screen."""
        return STORY[self.place]

    @property
    def running(self) -> bool:
        """Whether the story is on screen."""
        return self.layout.display != "none"

    def start(self) -> None:
        """Open the story at its first step."""
        self.layout.display = ""
        self.go(0)

    def go(self, place: int) -> None:
        """Show a step and set the lab to it; places outside the story are passed over."""
        if 0 <= place < len(STORY):
            self.place = place
            self._question.set(**vars(Question()))
            self._state.set(**self.step.values)
            self.back.disabled = place == 0
            self.next.description = "Finish" if place == len(STORY) - 1 else "Next"
            self._say()

    def close_story(self) -> None:
        """Leave the story; the sliders stay."""
        self.layout.display = "none"
        self._on_close()

    def _forward(self) -> None:
        if self.place == len(STORY) - 1:
            self.close_story()
        else:
            self.go(self.place + 1)

    def _follow(self, change: Any) -> None:
        if self.running:
            self._say()

    def _say(self) -> None:
        step, here = self.step, self._state.values()
        moved = any(here[name] != value for name, value in step.values.items())
        look = MOVED if moved else f"<b>Look at</b> {escape(step.look)}"
        self.words.value = (
            f'<div class="sv-step" role="status"><span class="sv-title">{self.place + 1} of {len(STORY)}: '
            f'{escape(step.title)}</span> {escape(step.text)} <span class="sv-look">{look}</span></div>'
        )

    def _button(self, words: str, tooltip: str, act: Callable[[], None]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=words, tooltip=tooltip, layout=ipywidgets.Layout(width="68px"))
        button.on_click(lambda button: act())
        return button
