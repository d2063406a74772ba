"""Which setting a sweep speaks for at a length: ranked, compared on the same prompts, and open where it is open."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.positions import SuggestedSelfExtend, suggest, whole_number
from selfextend_viz.sweeps.paired import ERROR, MARGIN, MOST, paired
from selfextend_viz.sweeps.recommendation import Comparison, Recommendation
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.standings import Place, Standing, lengths_answered, standings
from selfextend_viz.sweeps.store import Store

__all__ = ["GOOD", "recommend"]

GOOD = 0.5
"""A setting reads a length if, where it is worst, it surely answers more than this share."""


def recommend(
    rows: Store | Iterable[CellRow],
    target_length: int,
    *,
    context_length: int | None = None,
    error: float = ERROR,
    margin: float = MARGIN,
) -> Recommendation:
    """Say which G and w_n the cells of a sweep speak for at a length, and what they leave open.

    Settings are ranked by Wilson's lower bound of their right answers at their *worst* depth (and task), then by what
    they cost in range (output KL from stock at N <= L), then by the order task. The first is compared with every other
    on the prompts that both have read, by the exact sign test of the pairs that differ. A comparison without a verdict
    is left open, with the number of trials that would give one.

    Parameters
    ----------
    rows
        A store, or rows of one model.
    target_length
        N. Where no cell has it, the next longer length that has cells is taken.
    context_length
        L; a store knows it.
    error
        The chance, over all comparisons, of calling two equal settings different.
    margin
        Settings are as good as each other when their shares of right answers surely differ by less.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, L is not known, the rows are of two models, or no setting was asked for pass keys
        at N or beyond.

    Examples
    --------
    >>> print(recommend(Store("sweep.db"), 1000))
    """
    whole_number("target_length", target_length)
    _share("error", error)
    _share("margin", margin)
    found, trained = _rows_and_length(rows, context_length)
    length = _measured(lengths_answered(found), target_length)
    ranked = sorted(standings(found, length), key=_rank)
    places = {(place.task, place.depth) for standing in ranked for place in standing.places}
    whole = [each for each in ranked if len(each.places) == len(places)]
    choice = _choice(whole)
    against = _compared(choice, whole, error, margin) if choice else ()
    return Recommendation(
        target_length=target_length,
        measured_length=length,
        context_length=trained,
        choice=choice,
        standings=tuple(ranked),
        comparisons=against,
        more_trials=_more_trials(choice, against, whole, len(places)),
        suggested=_suggested(trained, target_length),
    )


def _share(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}, but must be a share between 0 and 1")


def _rows_and_length(rows: Store | Iterable[CellRow], context_length: int | None) -> tuple[list[CellRow], int]:
    """The rows, and L as given or as the store says."""
    known = rows.about().get("settings", {}).get("context_length") if isinstance(rows, Store) else None
    found = rows.rows() if isinstance(rows, Store) else list(rows)
    models = {row.fingerprint for row in found}
    if len(models) > 1:
        raise ValueError(f"the rows are of {len(models)} models; give those of one")
    trained = known if context_length is None else context_length
    if trained is None:
        raise ValueError("context_length is missing: rows alone do not say L; give it, or a store")
    return found, whole_number("context_length", trained, at_least=2)


def _measured(lengths: Sequence[int], target: int) -> int:
    if not lengths:
        raise ValueError("0 cells ask a Self-Extend setting for pass keys; sweep the task passkey first")
    enough = [length for length in lengths if length >= target]
    if not enough:
        raise ValueError(f"the longest pass keys in these cells have N = {lengths[-1]}; sweep the length {target} too")
    return enough[0]


def _rank(standing: Standing) -> tuple[float, float, float, int]:
    """Best first: lower bound at the worst place, price in range, order task, and the smaller G where all is equal."""
    order = standing.order[0] / standing.order[1] if standing.order else 0.0
    price = math.inf if standing.price is None else standing.price
    return -standing.worst.bounds[0], price, -order, standing.setting.group_size


def _choice(whole: Sequence[Standing]) -> Standing | None:
    """The first of those that have all their cells; ``None`` without any, or where all surely fail."""
    fails = all(standing.worst.bounds[1] < GOOD for standing in whole)
    return None if fails else whole[0]


def _compared(choice: Standing, whole: Sequence[Standing], error: float, margin: float) -> tuple[Comparison, ...]:
    """The choice against every other, the chance of a false difference shared among the tests."""
    others = [each for each in whole if each is not choice]
    shared = error / max(1, len(others))
    found = []
    for other in others:
        pairs = paired(choice.answers, other.answers)
        verdict = pairs.verdict(error=shared, margin=margin)
        more = pairs.more_prompts(error=shared, margin=margin)
        found.append(Comparison(other, pairs, verdict, more))
    return tuple(found)


def _more_trials(choice: Standing | None, against: Sequence[Comparison], whole: Sequence[Standing], places: int) -> int:
    """Trials that every cell still wants: for the comparisons that are open, and to be sure that the choice reads."""
    if choice is None:
        return 0 if whole else 1
    open_pairs = max((each.more_prompts for each in against), default=0)
    return max(math.ceil(open_pairs / places), _more_to_be_sure(choice.worst))


def _more_to_be_sure(place: Place) -> int:
    """Trials until Wilson's lower bound is ``GOOD``, or its upper one falls below, if the share stays as it is."""
    for more in range(MOST):
        trials = place.trials + more
        low, high = wilson_interval(round(place.exact * trials / place.trials), trials)
        if low >= GOOD or high < GOOD:
            return more
    return MOST


def _suggested(context_length: int, target_length: int) -> SuggestedSelfExtend:
    return suggest(context_length, target_length)[0]
