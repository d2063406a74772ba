"""What `recommend` found, and how it reads: the choice, its evidence, what speaks against it, what is open."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.positions import SelfExtend, SuggestedSelfExtend, inside_trained_region
from selfextend_viz.sweeps.paired import MOST, Paired, Verdict
from selfextend_viz.sweeps.standings import Standing

__all__ = ["COLUMNS", "Comparison", "Recommendation"]

COLUMNS = ("G", "w_n", "reach", "worst depth", "95 %", "all", "price", "order", "verdict")
PAPER = ("passkey", "passkey:paper")


@dataclass(frozen=True)
class Comparison:
    """The choice against one other setting.

    Attributes
    ----------
    standing
        The other.
    pairs
        Both on the same prompts, the choice first.
    verdict
        On the choice: ``"better"``, ``"worse"``, ``"as good"`` or ``"undecided"``.
    more_prompts
        How many more prompts would give a verdict; 0 with one.
    """

    standing: Standing
    pairs: Paired
    verdict: Verdict
    more_prompts: int


@dataclass(frozen=True)
class Recommendation:
    """Which setting to take at a length. ``str`` of it is readable.

    Attributes
    ----------
    target_length, measured_length, context_length
        N as asked, N of the cells, and L.
    choice
        The setting taken, with its answers; ``None`` where none reads the length, or none has all its cells.
    standings
        All settings asked at that length, best first. The table of them has the exact reach, the worst depth with
        Wilson's 95 % bounds, the answers at all depths, the price in range in nats, the order task, and the verdict.
    comparisons
        The choice against every other setting that has all its cells.
    more_trials
        Trials that every cell still wants until all is decided; 0 where it is.
    suggested
        What `suggest` says first.
    """

    target_length: int
    measured_length: int
    context_length: int
    choice: Standing | None
    standings: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]
    more_trials: int
    suggested: SuggestedSelfExtend

    @property
    def setting(self) -> SelfExtend | None:
        """The method to use, or ``None``."""
        return self.choice.setting if self.choice else None

    @property
    def decided(self) -> bool:
        """Whether nothing is open: no comparison, no cell, no doubt that the choice reads, or that none does."""
        return self.more_trials == 0 and not self.unfinished

    @property
    def unfinished(self) -> tuple[Standing, ...]:
        """Settings that still lack cells which others have."""
        places = {(place.task, place.depth) for each in self.standings for place in each.places}
        return tuple(each for each in self.standings if len(each.places) < len(places))

    def is_open(self, setting: SelfExtend) -> bool:
        """Whether more answers of a setting would help: of the choice, and of those not told apart from it."""
        if self.choice is None or self.choice.setting == setting:
            return True
        verdicts = {each.standing.setting: each.verdict for each in self.comparisons}
        return verdicts.get(setting, "undecided") == "undecided"

    @property
    def code(self) -> str:
        """One line that makes the method; empty without a choice."""
        if self.setting is None:
            return ""
        return f"SelfExtend(group_size={self.setting.group_size}, neighbor_window={self.setting.neighbor_window})"

    @property
    def sentence(self) -> str:
        """The outcome in a sentence or two."""
        where = f"At N = {self.measured_length:,}"
        if self.choice is None and self.decided:
            best = self.standings[0]
            return f"{where} no setting reads: the best, {best.setting}, has {_worst(best)}"
        if self.choice is None:
            return f"{where} no setting has all its cells yet"
        found = f"{where} take {self.choice.setting}: {_worst(self.choice)}, {_all(self.choice)}"
        return found if self.decided else f"{found}. Not decided: {self._open}"

    @property
    def _open(self) -> str:
        parts = []
        if self.more_trials:
            count = f"more than {MOST:,}" if self.more_trials >= MOST else f"{self.more_trials:,} more"
            rivals = [str(each.standing.setting) for each in self.comparisons if each.verdict == "undecided"]
            against = f" against {', '.join(rivals)}" if rivals else ""
            parts.append(f"about {count} trials in each cell would tell{against}")
        if self.unfinished:
            parts.append(f"{len(self.unfinished)} settings still lack cells")
        return ", and ".join(parts)

    def notes(self) -> Iterator[str]:
        """What to know beside the choice: the rule, the suggestion, and what the evidence rests on."""
        if self.measured_length != self.target_length:
            yield f"N = {self.target_length:,} itself has no cells; these are the next longer ones"
        if self.choice is not None:
            yield from self._cheaper_note(self.choice)
            yield from self._order_note(self.choice)
            yield self._reach_note(self.choice.setting)
            yield self._rule_note(self.choice.setting)
            yield self._suggestion_note(self.choice.setting)
        tasks = {place.task for each in self.standings for place in each.places}
        depths = {place.depth for each in self.standings for place in each.places}
        if tasks <= set(PAPER):
            yield (
                "all of it rests on the paper's prompt alone, whose filler repeats; "
                "add passkey:natural, whose filler is text"
            )
        if len(depths) < 3:
            yield f"keys stood at {len(depths)} of all depths only; three or more show the worst"

    def _cheaper_note(self, choice: Standing) -> Iterator[str]:
        equals = [each.standing for each in self.comparisons if each.verdict == "as good"]
        cheaper = [each for each in equals if _price(each) < _price(choice)]
        if cheaper:
            best = min(cheaper, key=_price)
            costs = "" if choice.price is None else f", {best.price:.3f} nats against {choice.price:.3f}"
            yield f"{best.setting} is as good and costs less in range{costs}"

    def _order_note(self, choice: Standing) -> Iterator[str]:
        """Whether one that is as good surely keeps more of the order, which ranks behind the price."""
        equals = [each.standing for each in self.comparisons if each.verdict == "as good" and each.standing.order]
        if choice.order is None or not equals:
            return
        best = max(equals, key=lambda each: wilson_interval(*each.order)[0] if each.order else 0.0)
        exact, trials = best.order or (0, 1)
        if wilson_interval(exact, trials)[0] > choice.order[0] / choice.order[1]:
            kept, asked = choice.order
            yield f"{best.setting} is as good and keeps more order: {exact} of {trials} against {kept} of {asked}"

    def _reach_note(self, setting: SelfExtend) -> str:
        reach = setting.capacity(self.context_length)
        if self.measured_length <= reach:
            return f"its exact reach is {reach:,}"
        return f"N is past its exact reach of {reach:,}, so it leans on luck"

    def _rule_note(self, setting: SelfExtend) -> str:
        told = setting.neighbor_window + (self.measured_length - setting.neighbor_window) / setting.group_size
        limit = 2 * self.context_length / 3
        if inside_trained_region(setting, self.context_length, self.measured_length):
            return f"the authors' rule agrees: the largest position is about {told:,.0f}, below 2/3 L = {limit:,.0f}"
        return f"the authors' rule disagrees: the largest position is about {told:,.0f}, not below 2/3 L = {limit:,.0f}"

    def _suggestion_note(self, setting: SelfExtend) -> str:
        suggested = SelfExtend(self.suggested.group_size, self.suggested.neighbor_window)
        if suggested == setting:
            return "suggest says the same"
        standing = next((each for each in self.standings if each.setting == suggested), None)
        if standing is None:
            return f"suggest says {suggested}, which these cells have not tried"
        verdicts = {each.standing.setting: each.verdict for each in self.comparisons}
        said = _VERDICTS[verdicts.get(suggested)]
        return f"suggest says {suggested}: {said}, with {_worst(standing)}"

    def lines(self) -> list[tuple[str, ...]]:
        """The table's cells, as named in ``COLUMNS``, best first."""
        compared = {each.standing.setting: each for each in self.comparisons}
        return [self._line(standing, compared.get(standing.setting)) for standing in self.standings]

    def _line(self, standing: Standing, comparison: Comparison | None) -> tuple[str, ...]:
        worst, setting = standing.worst, standing.setting
        low, high = worst.bounds
        said = "choice" if standing is self.choice else "lacks cells" if standing in self.unfinished else ""
        if comparison is not None:
            said = f"{_VERDICTS[comparison.verdict]}, p = {comparison.pairs.p_value:.1g}"
        return (
            str(setting.group_size),
            str(setting.neighbor_window),
            f"{setting.capacity(self.context_length):,}",
            f"{worst.counts} at {worst.depth:g}",
            f"{low:.2f}-{high:.2f}",
            f"{standing.exact}/{standing.trials}",
            "-" if standing.price is None else f"{standing.price:.3f}",
            "-" if standing.order is None else f"{standing.order[0]}/{standing.order[1]}",
            said,
        )

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        heads = "".join(f"<th>{escape(word)}</th>" for word in COLUMNS)
        lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in self.lines())
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes())
        code = f"<pre>{escape(self.code)}</pre>" if self.code else ""
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        return f"<p><b>{escape(self.sentence)}</b></p>{table}<ul>{notes}</ul>{code}"

    def __str__(self) -> str:
        table = [COLUMNS, *self.lines()]
        widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
        cells = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
        notes = [f"  {note}" for note in self.notes()]
        return "\n".join([*(line.rstrip() for line in cells), self.sentence, *notes, *filter(None, [self.code])])


_VERDICTS: dict[Verdict | None, str] = {  # of the other setting, where a `Verdict` is on the choice
    "better": "worse",
    "worse": "better",
    "as good": "as good",
    "undecided": "not decided",
    None: "not compared",
}


def _price(standing: Standing) -> float:
    return math.inf if standing.price is None else standing.price


def _worst(standing: Standing) -> str:
    place = standing.worst
    low, high = place.bounds
    return f"{place.exact} of {place.trials} keys at its worst depth, {place.depth:g} (95 %: {low:.2f} to {high:.2f})"


def _all(standing: Standing) -> str:
    return f"{standing.exact} of {standing.trials} at all depths"
