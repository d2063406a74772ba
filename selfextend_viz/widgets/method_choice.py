"""One chosen method and its numbers: what can be set is read from its dataclass, and it checks what is set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import traitlets

from selfextend_viz.methods import METHODS
from selfextend_viz.positions import Method, PlainRoPE, bands_of, suggest
from selfextend_viz.widgets.controls import BadSetting

PLAIN = "plain RoPE"
KINDS: dict[str, type[Any]] = {PLAIN: PlainRoPE, **METHODS}
"""What can be chosen, by name."""
UNSEEN = frozenset(
    {"log_scale", "original_length", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor", "LongRoPE.factor"}
)
"""Fields that no map and no curve shows, or that the explorer's L stands for; they keep what they were given."""
SINKS = 4


class Checked(traitlets.TraitType[Any, Any]):
    """A number that the method itself checks."""

    def validate(self, obj: Any, value: Any) -> Any:
        """`value` as the method keeps it, or `BadSetting` with the method's own sentence."""
        return obj.checked(self.name, value)


class MethodChoice(traitlets.HasTraits):
    """A method whose fields are traits; watch ``revision``, which rises by one for each accepted change.

    Parameters
    ----------
    method
        The method to begin with: plain RoPE or one of ``METHODS``.

    Raises
    ------
    TypeError
        If it is none of these.
    """

    revision = traitlets.Int(0, read_only=True)

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.name = name_of(method)
        self._kind = KINDS[self.name]
        self._values = {item.name: getattr(method, item.name) for item in fields(self._kind)}
        self.names = tuple(name for name in self._values if not {name, f"{self.name}.{name}"} & UNSEEN)
        self.add_traits(**{name: Checked() for name in self.names})
        for name in self.names:
            setattr(self, name, self._values[name])
        self.observe(self._count, list(self.names))

    @property
    def method(self) -> Any:
        """The method as it is set."""
        return self._kind(**self._values)

    def checked(self, name: str, value: Any) -> Any:
        """The value as the method keeps it.

        Raises
        ------
        BadSetting
            If the method refuses it.
        """
        try:
            return getattr(self._kind(**{**self._values, name: value}), name)
        except (TypeError, ValueError) as refusal:
            raise BadSetting(f"{self.name}: {refusal}") from None

    def is_number(self, name: str) -> bool:
        """Whether a field is one number; the others are given as text."""
        return get_type_hints(self._kind)[name] in (int, float)

    def is_whole(self, name: str) -> bool:
        """Whether a field is a whole number."""
        return get_type_hints(self._kind)[name] is int

    def _count(self, change: Any) -> None:
        self._values[change["name"]] = change["new"]
        self.set_trait("revision", self.revision + 1)


def name_of(method: Any) -> str:
    """The name under which a method can be chosen; ``TypeError`` if there is none."""
    bands_of(method)
    for name, kind in KINDS.items():
        if isinstance(method, kind):
            return name
    raise TypeError(f"{method} cannot be chosen here; give one of {', '.join(KINDS)}, by name or with numbers")


def as_text(value: Any) -> str:
    """A field that is no number, as it stands in its box."""
    if value is None:
        return ""
    return value if isinstance(value, str) else ", ".join(f"{number:g}" for number in value)


def from_text(text: str) -> Any:
    """What a box of text says: numbers between commas, a word, or nothing."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        return [float(word) for word in words] if words else None
    except ValueError:
        return text.strip()


def chosen(asked: str | Method, context_length: int, length: int) -> Method:
    """A method given as it is, or by name with numbers that suit L and N.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If it is no method that can be chosen.
    """
    if not isinstance(asked, str):
        name_of(asked)
        return asked
    if asked not in KINDS:
        raise ValueError(f"unknown method {asked!r}; choose one of {', '.join(KINDS)}")
    return _opening(asked, context_length, length)


def _opening(name: str, context_length: int, length: int) -> Any:
    """A method with the parts of L that its paper takes, and what carries N tokens where it has a number for it."""
    limit, factor = max(context_length, 8), max(1.0, round(length / context_length, 2))
    numbers: dict[str, Sequence[Any]] = {
        "LongRoPE": ([1.0] * 4, [round(factor ** (pair / 3), 2) for pair in range(4)]),
        "SlidingWindow": (limit,),
        "StreamingLLM": (SINKS, limit - SINKS),
        "LMInfinite": (SINKS, limit - 1),
        "ShiftedSparseAttention": (2 * math.ceil(length / 8),),
        "SelfExtend": (8, limit // 4),
        "ReRoPE": (limit // 2,),
        "LeakyReRoPE": (limit // 4, max(1.0, math.ceil(10 * length / (limit - limit // 4)) / 10)),
        "DualChunkAttention": (3 * limit // 4, limit // 8),
        "StringAttention": (limit // 3, limit // 32),
        "LogisticSelfExtend": (limit // 4,),
        "LlamaCppSelfExtend": (8, max(8, limit // 4 // 8 * 8)),
    }
    if name == "SelfExtend" and length > context_length >= 8:
        best = suggest(context_length, length)[0]
        return KINDS[name](best.group_size, best.neighbor_window)
    if name == PLAIN:
        return PlainRoPE()
    return KINDS[name](*numbers.get(name, (1.0 if name == "DynamicNTK" else factor,)))
