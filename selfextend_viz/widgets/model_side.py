"""The lab's half that asks the model: the strip and two panels, their stamps, and the steps that fill them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from selfextend_viz.experiments.rows import PasskeyRow
from selfextend_viz.widgets.control_bar import REACH_OF_LENGTH_SLIDER
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.live import Progress
from selfextend_viz.widgets.model_panels import DivergencePanel, PasskeyPanel
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Results, Setting
from selfextend_viz.widgets.steps import Step
from selfextend_viz.widgets.strip import Strip
from selfextend_viz.widgets.strip_state import State, with_answer
from selfextend_viz.widgets.strip_work import STRIP
from selfextend_viz.widgets.work import LabWork

STORED = "stored"
AT_REST = "Formula only, at L = {:,}. Untick it to ask the model again."


@dataclass(frozen=True)
class Piece:
    """A step that is to be done, with what the worker reports before and after it."""

    step: Step
    before: Progress
    after: Progress
    cells_to_come: int


class ModelSide:
    """Strip, attention logits and pass key, and how they come by their numbers.

    Parameters
    ----------
    work
        Asks the model, and remembers.
    state
        The lab's numbers.
    height
        Of the panels' figures, in pixels.
    """

    def __init__(self, work: LabWork, state: LabState, *, height: int) -> None:
        self.work, self.state = work, state
        self.stored: Results | None = None
        self.resting = False
        self.strip = Strip(state)
        self.divergence = DivergencePanel(self.setting, height=height)
        self.passkey = PasskeyPanel(self.setting, height=height, beside=str(work.beside))

    @property
    def setting(self) -> Setting:
        """The numbers as they are now."""
        state = self.state
        return Setting(state.length, state.group_size, state.neighbor_window, state.context_length)

    @property
    def parts(self) -> tuple[Strip, DivergencePanel, PasskeyPanel]:
        """All that asks the model."""
        return self.strip, self.divergence, self.passkey

    def open(self, stored: Results | None) -> None:
        """Show stored results if they answer what is asked now; else wait."""
        self.stored = stored
        if stored is None or stored.setting != self.setting or self.strip.question.asked != Question():
            resting = AT_REST.format(self.state.context_length)
            self.strip.say(
                resting if self.state.formula_only else "The model is about to be asked \N{HORIZONTAL ELLIPSIS}"
            )
            return
        self.strip.show(stored.strip)
        self.divergence.show_rows(stored.divergence, stored.setting)
        self.passkey.begin(stored.setting, stored.cells)
        for part in self.parts:
            part.mark(STORED)

    def set_aside(self, *, formula_only: bool) -> None:
        """Mark everything as being of other numbers than the sliders show."""
        for part in self.parts:
            part.enable(not formula_only)
            part.mark("formula only" if formula_only else "stale", dim=True)
        if formula_only or self.resting:
            for panel in (self.divergence, self.passkey):
                panel.say(AT_REST.format(self.state.context_length) if formula_only else panel.words())
        self.resting = formula_only

    def refused(self) -> None:
        """Say that the model was not asked at these numbers; what is on screen is of others."""
        for part in self.parts:
            part.mark("not asked", dim=True)

    def steps(self, setting: Setting, asked: Question) -> Iterator[Progress]:
        """The worker's job for one setting and question."""
        check_length(setting)
        if not self.work.subject.loaded:
            yield Progress(0, 1, "Loading the model")
        self.work.subject.load()
        yield Progress(0, 1, "Looking for the head that reads the key", show=self.check_stored)
        strip = self.work.strip(setting, asked)
        plan = self.work.plan(setting, asked)
        known = [step for step in plan if self.work.remembers(step)]
        for step in known:
            if step.kind == STRIP:
                strip = with_answer(strip, step.label, self.work.run(step))
        pieces = self.pieces(plan)
        rows = [piece for piece in pieces if piece.step.kind == STRIP]
        if not rows:  # else what is known is drawn with the first answer: drawing twice would delay it
            yield Progress(0, len(plan), "", show=partial(self._show_strip, strip))
        yield from self._fill(setting, strip, rows)
        cells = [self.work.run(step) for step in known if step.kind == "cell"]
        if cells:
            yield Progress(0, len(plan), "", show=partial(self._begin, setting, cells))
        yield from self._fill(setting, strip, [piece for piece in pieces if piece.step.kind != STRIP])

    def pieces(self, plan: list[Step]) -> list[Piece]:
        """What is to be done of a plan; attention logits that are known count, for they are shown in their turn."""
        todo = [step for step in plan if step.kind == "divergence" or not self.work.remembers(step)]
        known = len(plan) - len(todo)
        tokens = [0 if self.work.remembers(step) else step.tokens for step in todo]
        left = [sum(tokens[number:]) for number in range(len(todo) + 1)]
        return [
            Piece(
                step,
                before=Progress(known + number, len(plan), step.message, work_left=left[number]),
                after=Progress(known + number + 1, len(plan), step.message, work_left=left[number + 1]),
                cells_to_come=sum(later.kind == "cell" for later in todo[number + 1 :]),
            )
            for number, step in enumerate(todo)
        ]

    def _fill(self, setting: Setting, strip: State, pieces: list[Piece]) -> Iterator[Progress]:
        for piece in pieces:
            yield piece.before
            step, answer = piece.step, self.work.run(piece.step)
            if step.kind == STRIP:
                strip = with_answer(strip, step.label, answer)
                show = partial(self._show_strip, strip)
            elif step.kind == "divergence":
                show = partial(self._show_divergence, answer, setting)
            else:
                show = partial(self._show_cell, answer, setting, to_come=piece.cells_to_come)
            yield replace(piece.after, show=show)

    def check_stored(self) -> None:
        """Set stored results aside if they are not of this model's weights."""
        if self.stored is not None and self.stored.fingerprint != self.work.subject.fingerprint:
            for part in self.parts:
                part.mark("stale: stored results are of other weights", dim=True)
        self.stored = None

    def _begin(self, setting: Setting, cells: list[PasskeyRow]) -> None:
        if self.passkey.stamp == STORED and self.passkey.setting == setting:
            self.passkey.show_cells(cells)  # the stored cells stay until live ones replace them
        else:
            self.passkey.begin(setting, cells)
            self.passkey.mark("live")

    def _show_strip(self, strip: State) -> None:
        self.strip.show(strip)
        self.strip.mark("live")

    def _show_divergence(self, rows: Any, setting: Setting) -> None:
        self.divergence.show_rows(rows, setting)
        self.divergence.mark("live")

    def _show_cell(self, row: PasskeyRow, setting: Setting, *, to_come: int) -> None:
        if self.passkey.setting != setting or not self.passkey.stamp.startswith(("live", STORED)):
            self._begin(setting, [row])  # drawn once, with its first cell; until then the old grid stands dimmed
            return
        self.passkey.show_cells([row])
        if self.passkey.stamp.startswith(STORED):
            self.passkey.mark(f"{STORED}, {to_come} cells to come" if to_come else "live")


def check_length(setting: Setting) -> None:
    """Refuse lengths that would keep the worker busy for minutes."""
    most = REACH_OF_LENGTH_SLIDER * setting.context_length
    if setting.length > most:
        raise ValueError(
            f"N = {setting.length:,} is more than {REACH_OF_LENGTH_SLIDER} L = {most:,}, too long to ask a model while "
            "you wait; call selfextend_viz.passkey for such lengths"
        )
