"""The conditions an experiment compares: stock, its controls, and methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from selfextend_viz.attention import check_name
from selfextend_viz.experiments.rows import BLINDFOLD, CONDITIONS, NO_NEEDLE, SINKS, STOCK, TRUNCATE
from selfextend_viz.methods.masking import SinksAtTrueDistance, SlidingWindow
from selfextend_viz.methods.per_layer import Lent, PerLayer
from selfextend_viz.patch import check_lending, context_length, extended, is_extended
from selfextend_viz.positions import Method, PlainRoPE

Wanted = str | Lent | None
"""``None`` or ``"stock"``, ``"blindfold"``, ``"truncate"``, ``"sinks"``, any method, one for each layer named, or for
prompts ``"no_needle"``."""


@dataclass(frozen=True)
class Condition:
    """What is done to the model, or to the text it reads.

    Attributes
    ----------
    label
        As rows show it.
    method
        What the model is lent; ``None`` for the stock model.
    last
        How many of the last tokens the model is shown; ``None`` for all.
    needle
        Whether prompts state what they ask for.
    """

    label: str
    method: Method | PerLayer | None = None
    last: int | None = None
    needle: bool = True

    def check(self, model: Any, implementation: str) -> None:
        """Raise at once what `lent` would raise: a method or an implementation that does not fit the model."""
        check_name(implementation)
        if self.method is not None:
            check_lending(model, self.method, implementation=implementation)

    def lent(self, model: Any, implementation: str) -> AbstractContextManager[Any]:
        """A block in which the model runs under this condition."""
        if self.method is not None:
            return extended(model, self.method, implementation=implementation)
        return extended(model, PlainRoPE()) if is_extended(model) else nullcontext(model)


def resolve(wanted: Wanted, model: Any, *, prompts: bool = False) -> Condition:
    """The condition that a name or a method stands for; the controls take L from the model.

    With `prompts` there are prompts to be made, and ``"no_needle"`` is the stock model on one that leaves the key out.

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If it is neither a name nor a method.
    """
    if wanted is None or wanted == STOCK:
        return Condition(STOCK)
    if wanted == BLINDFOLD:
        return Condition(BLINDFOLD, SlidingWindow(context_length(model)))
    if wanted == SINKS:
        return Condition(SINKS, SinksAtTrueDistance(context_length(model)))
    if wanted == TRUNCATE:
        return Condition(TRUNCATE, last=context_length(model))
    if wanted == NO_NEEDLE and prompts:
        return Condition(NO_NEEDLE, needle=False)
    if isinstance(wanted, str):
        known = ", ".join((*CONDITIONS, NO_NEEDLE) if prompts else CONDITIONS)
        raise ValueError(f"unknown condition {wanted!r}; choose one of {known}, or give a method")
    if isinstance(wanted, Mapping):
        methods = PerLayer.of(wanted)
        return Condition(str(methods), methods)
    if not isinstance(wanted, Method):
        raise TypeError(f"a condition is a name or a method with bands, not {wanted!r} ({type(wanted).__name__})")
    return Condition(str(wanted), wanted)


def listed(name: str, values: Any) -> list[Any]:
    """The values as a list; ``TypeError`` when one value, or one text, is given alone, ``ValueError`` without any."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        shown = repr(values) if len(repr(values)) < 40 else f"{repr(values)[:36]} ..."
        raise TypeError(f"{name} must be a list, not {shown} alone; put it in brackets")
    found = list(values)
    if not found:
        raise ValueError(f"{name} has 0 entries; give at least one")
    return found


def resolve_all(conditions: Sequence[Wanted], model: Any, *, prompts: bool = False) -> list[Condition]:
    """All conditions, which must differ by their labels.

    Raises
    ------
    TypeError
        If one condition is given instead of a list of them.
    ValueError
        If there are none, or two have one label.
    """
    if conditions is None or isinstance(conditions, str | Method | Mapping):
        raise TypeError(f"conditions must be a list, not {conditions!r} alone; put it in brackets")
    found = [resolve(wanted, model, prompts=prompts) for wanted in conditions]
    labels = [condition.label for condition in found]
    if not found:
        raise ValueError('conditions has 0 entries; give at least one, such as "stock"')
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ValueError(f"condition {twice!r} is given {labels.count(twice)} times; name each once")
    return found
