"""Methods that change how fast pairs of dimensions turn, and leave positions and visibility as they are.

Each states a rule in transformers' own words, ``rope_parameters``; :mod:`selfextend_viz.frequencies` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from selfextend_viz.positions import Band, real_number, whole_number


def _check(method: Any, **lowest: float | None) -> None:
    for name, at_least in lowest.items():
        object.__setattr__(method, name, real_number(name, getattr(method, name), at_least=at_least))
    if getattr(method, "original_length", None) is not None:
        object.__setattr__(method, "original_length", whole_number("original_length", method.original_length))


class _OneBand:
    """Every key at its true distance, all earlier keys seen."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """One identity band."""
        return (Band(),)


@dataclass(frozen=True)
class PositionInterpolation(_OneBand):
    """Position Interpolation (Chen et al., arXiv 2306.15595, section 2.3): every frequency divided by s.

    The same as positions ``p / s``, so that s L tokens stay within the trained range. It blurs near distances as much
    as far ones, and without fine-tuning a model reads them worse.

    Parameters
    ----------
    factor
        s, usually N / L.

    Raises
    ------
    TypeError, ValueError
        If the factor is not a finite number >= 1.
    """

    training_free: ClassVar[bool] = False
    mechanism: ClassVar[str] = "frequencies: all divided by s"

    factor: float

    def __post_init__(self) -> None:
        _check(self, factor=1)

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule: ``inv_freq / s``."""
        return {"rope_type": "linear", "factor": self.factor}

    def __str__(self) -> str:
        return f"PositionInterpolation({self.factor:g})"


@dataclass(frozen=True)
class NTKAware(_OneBand):
    """NTK-aware scaling (bloc97, 2023; in YaRN, arXiv 2309.00071, section 3.1): the base grows, ``b s^(D / (D - 2))``.

    The fastest pair keeps its frequency and the slowest is divided by s, so that near distances stay sharp. The pairs
    between are stretched by less than s, so that some leave their trained range before s L tokens.

    Parameters
    ----------
    factor
        s.

    Raises
    ------
    TypeError, ValueError
        If the factor is not a finite number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "frequencies: a larger base"

    factor: float

    def __post_init__(self) -> None:
        _check(self, factor=1)

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule: ``inv_freq[k] s^(-2 k / (D - 2))``; transformers has no name for it but another ``rope_theta``."""
        return {"rope_type": "ntk", "factor": self.factor}

    def __str__(self) -> str:
        return f"NTKAware({self.factor:g})"


@dataclass(frozen=True)
class DynamicNTK(_OneBand):
    """Dynamic NTK scaling (emozilla, 2023; in YaRN, arXiv 2309.00071, section 3.3): the base grows with the text.

    ``b (s n / L - (s - 1))^(D / (D - 2))`` at n tokens, and nothing changes up to L. Short texts are read as trained.
    It cannot keep a growing text consistent: each cached key stays turned by the base of its own time, here as in
    transformers, so that decoding and prefill in parts differ from one forward over the whole text.

    Parameters
    ----------
    factor
        s.
    original_length
        L; left out, that of the model it is lent to.

    Raises
    ------
    TypeError, ValueError
        If the factor is not a finite number >= 1, or L not a whole number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "frequencies: a base that grows with the text"

    factor: float
    original_length: int | None = None

    def __post_init__(self) -> None:
        _check(self, factor=1)

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule."""
        rule = {"rope_type": "dynamic", "factor": self.factor}
        return rule | {"original_max_position_embeddings": self.original_length}

    def __str__(self) -> str:
        return f"DynamicNTK({self.factor:g}{_length(self.original_length)})"


@dataclass(frozen=True)
class YaRN(_OneBand):
    """YaRN (Peng et al., arXiv 2309.00071, sections 3.2 and 3.4): slow pairs interpolated, fast ones left alone.

    Pairs that turn more than beta_fast times in L tokens keep their frequency, those below beta_slow turns are divided
    by s, with a ramp between. Cosines and sines are multiplied by ``0.1 ln s + 1``, hence logits by its square.
    It keeps near distances; without fine-tuning it cannot keep all of s L usable, and it changes short texts too.

    Parameters
    ----------
    factor
        s.
    original_length
        L; left out, that of the model it is lent to.
    beta_fast, beta_slow
        Turns within L, the bounds of the ramp.

    Raises
    ------
    TypeError, ValueError
        If the factor is not a finite number >= 1, L not a whole number >= 1, or beta_fast not above beta_slow > 0.
    """

    training_free: ClassVar[bool] = False
    mechanism: ClassVar[str] = "frequencies: slow pairs divided by s, and a temperature"

    factor: float
    original_length: int | None = None
    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def __post_init__(self) -> None:
        _check(self, factor=1, beta_fast=None, beta_slow=None)
        if self.beta_fast <= self.beta_slow:
            raise ValueError(f"beta_fast is {self.beta_fast:g}, but must be above beta_slow = {self.beta_slow:g}")

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule."""
        rule = {"rope_type": "yarn", "factor": self.factor, "beta_fast": self.beta_fast, "beta_slow": self.beta_slow}
        return rule | {"original_max_position_embeddings": self.original_length}

    def __str__(self) -> str:
        return f"YaRN({self.factor:g}{_length(self.original_length)})"


@dataclass(frozen=True)
class Llama3Scaling(_OneBand):
    """Llama 3.1's scaling (arXiv 2407.21783; the formula is in its released code): by parts, without a temperature.

    Wavelengths above L / low are divided by s, those below L / high stay, and between the two are mixed. Meta trained
    the model further with it; without that it cannot promise the whole s L.

    Parameters
    ----------
    factor
        s; Llama 3.1 takes 8.
    original_length
        L; left out, that of the model it is lent to. Llama 3.1 takes 8192.
    low_freq_factor, high_freq_factor
        Turns within L, the bounds of the mixture.

    Raises
    ------
    TypeError, ValueError
        If the factor is not a finite number >= 1, L not a whole number >= 1, or high not above low > 0.
    """

    training_free: ClassVar[bool] = False
    mechanism: ClassVar[str] = "frequencies: slow pairs divided by s"

    factor: float
    original_length: int | None = None
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0

    def __post_init__(self) -> None:
        _check(self, factor=1, low_freq_factor=None, high_freq_factor=None)
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(
                f"high_freq_factor is {self.high_freq_factor:g}, but must be above "
                f"low_freq_factor = {self.low_freq_factor:g}"
            )

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule."""
        return {
            "rope_type": "llama3",
            "factor": self.factor,
            "low_freq_factor": self.low_freq_factor,
            "high_freq_factor": self.high_freq_factor,
            "original_max_position_embeddings": self.original_length,
        }

    def __str__(self) -> str:
        return f"Llama3Scaling({self.factor:g}{_length(self.original_length)})"


@dataclass(frozen=True)
class LongRoPE(_OneBand):
    """LongRoPE (Ding et al., arXiv 2402.13753, section 3): every pair divided by a number of its own.

    One list holds up to L tokens and another beyond, and cosines and sines are multiplied by
    ``sqrt(1 + ln s / ln L)``. It can keep what each pair needs; it cannot find the numbers: they come from a search
    on the model, and mostly with fine-tuning. A text that grows past L changes lists, and cached keys do not follow.

    Parameters
    ----------
    short, long
        The divisor of each pair up to L tokens and beyond.
    factor
        s, for the attention's scale alone; 1 leaves it as it is.
    original_length
        L; left out, that of the model it is lent to.

    Raises
    ------
    TypeError, ValueError
        If a divisor is not a finite number above 0, the lists differ in length or are empty, the factor is not a finite
        number >= 1, or L not a whole number >= 1.
    """

    training_free: ClassVar[bool] = False
    mechanism: ClassVar[str] = "frequencies: a divisor for each pair, and a temperature"

    short: Sequence[float]
    long: Sequence[float]
    factor: float = 1.0
    original_length: int | None = None

    def __post_init__(self) -> None:
        _check(self, factor=1)
        for name in ("short", "long"):
            given = getattr(self, name)
            if isinstance(given, str) or not hasattr(given, "__iter__"):
                raise TypeError(f"{name} must be a list of numbers, not {given!r} ({type(given).__name__})")
            numbers = tuple(real_number(f"{name}[{place}]", number) for place, number in enumerate(given))
            object.__setattr__(self, name, numbers)
        if len(self.short) != len(self.long) or not self.short:
            raise ValueError(
                f"short has {len(self.short)} numbers and long {len(self.long)}; give both one for each pair"
            )

    @property
    def rope_parameters(self) -> dict[str, Any]:
        """The rule."""
        return {
            "rope_type": "longrope",
            "factor": self.factor,
            "short_factor": list(self.short),
            "long_factor": list(self.long),
            "original_max_position_embeddings": self.original_length,
        }

    def __str__(self) -> str:
        spans = [f"{name} {min(part):g}..{max(part):g}" for name, part in (("short", self.short), ("long", self.long))]
        return f"LongRoPE({', '.join(spans)}{_length(self.original_length)})"


def _length(original_length: int | None) -> str:
    return "" if original_length is None else f", L={original_length}"
