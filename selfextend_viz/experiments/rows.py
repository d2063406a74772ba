"""The plain rows that experiments yield and plots draw: numbers and labels, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

STOCK = "stock"
BLINDFOLD = "blindfold"
TRUNCATE = "truncate"
SINKS = "sinks"
NO_NEEDLE = "no_needle"
NONE, ALL, ALONE, ALL_BUT = "none", "all", "alone", "all but"
"""Where a method is lent when layers are looked at one by one."""
CONDITIONS = (STOCK, BLINDFOLD, TRUNCATE, SINKS)
"""Conditions known by name; every other condition is a method object, labelled by ``str(method)``.

``"no_needle"`` comes on top where there are prompts with a needle to leave out.
"""


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % score interval for a proportion (Wilson 1927).

    Parameters
    ----------
    successes, trials
        Counts, ``0 <= successes <= trials`` and ``trials >= 1``.
    z
        Normal quantile of the wanted coverage.

    Returns
    -------
    tuple of float
        Lower and upper bound, both within ``[0, 1]``.

    Raises
    ------
    ValueError
        If the counts are not those of a proportion.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(
            f"{successes} successes in {trials} trials is no proportion; use 0 <= successes <= trials, trials >= 1"
        )
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == trials else (centre + half) / scale
    return low, high


@dataclass(frozen=True)
class PasskeyRow:
    """One cell of a pass-key grid: `exact` of `trials` answers right, at one length and depth.

    ``low`` and ``high`` are Wilson's 95 % bounds, ``log_probability`` the mean natural-log
    probability of the answer's digits, per digit.
    """

    task: str
    condition: str
    length: int
    depth: float
    trials: int
    exact: int
    low: float
    high: float
    log_probability: float
    seed: int

    @property
    def accuracy(self) -> float:
        """The share of exact answers."""
        return self.exact / self.trials


@dataclass(frozen=True)
class DigitRow:
    """One token of an answer: what was wanted, what the model says, and how surely."""

    condition: str
    index: int
    wanted: str
    said: str
    probability_wanted: float
    probability_said: float


@dataclass(frozen=True)
class PerplexityRow:
    """Mean loss on the same target tokens, seen with `context_length` tokens of text up to each target's end.

    ``difference`` is the mean paired difference to stock on the last L tokens, in nats a token, and
    ``difference_error`` its standard error over texts.
    """

    condition: str
    context_length: int
    texts: int
    targets: int
    nll: float
    nll_error: float
    difference: float
    difference_error: float

    @property
    def perplexity(self) -> float:
        """``exp(nll)``."""
        return math.exp(self.nll)


@dataclass(frozen=True)
class LogitRow:
    """Attention logits of one head in one bin of true distances ``[distance_low, distance_high)``.

    ``condition`` is ``"stock"``, the method's label, or ``"reference"`` (stock at length L).
    ``low`` and ``high`` are the 0.1 % and 99.9 % quantiles.
    """

    layer: int
    head: int
    condition: str
    distance_low: int
    distance_high: int
    mean: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class HeadRow:
    """What long distances do to one head, stock beside the method, on the same q and k at length N.

    Attributes
    ----------
    outlier_share_stock, outlier_share_method
        Part of the logits at d >= L above the head's own in-range 99.9 % quantile; chance is 0.001. 0 if N <= L.
    far_mass_stock, far_mass_method, far_mass_uniform
        Softmax mass on *relative positions* >= L (never trained), and what uniform attention would put there.
    distant_mass_stock, distant_mass_method
        Softmax mass on *true distances* >= L; its uniform reference is ``far_mass_uniform`` too.
    kl
        Mean KL(stock row || method row) at N: what was moved. Infinite if the method hides keys that stock sees.
    kl_in_range
        The same on the last L tokens read alone: what coarsening costs where stock is right.
    needle_mass_stock, needle_mass_method, needle_mass_reference
        Attention of the answer's queries on the key's digits (reference: the same needle in a prompt
        cut to L); ``None`` without a needle.
    """

    layer: int
    head: int
    length: int
    outlier_share_stock: float
    outlier_share_method: float
    far_mass_stock: float
    far_mass_method: float
    far_mass_uniform: float
    distant_mass_stock: float
    distant_mass_method: float
    kl: float
    kl_in_range: float
    needle_mass_stock: float | None = None
    needle_mass_method: float | None = None
    needle_mass_reference: float | None = None


@dataclass(frozen=True)
class OutputRow:
    """Mean KL, in nats, from the stock model that sees only the last L tokens to a condition at N."""

    condition: str
    length: int
    positions: int
    kl: float
    kl_error: float


@dataclass(frozen=True)
class RetrievalRow:
    """One head's `score`: mean attention mass of the answer's queries on the key's digits, over `prompts` prompts."""

    layer: int
    head: int
    score: float
    prompts: int


@dataclass(frozen=True)
class PairLogitRow:
    """The logit of one query and one key of a head, were they `distance` tokens apart."""

    layer: int
    head: int
    distance: int
    logit: float


@dataclass(frozen=True)
class AttentionRow:
    """The attention mass that one head's answer queries put on the keys ``start .. stop - 1``, averaged over queries.

    ``told`` is the relative position that the first of those queries is told for the keys' middle one; -1 if unseen.
    """

    condition: str
    layer: int
    head: int
    start: int
    stop: int
    mass: float
    told: float


@dataclass(frozen=True)
class LayerRow:
    """Pass keys at one length with a method in some layers: `exact` of `trials` answers right, over all depths.

    ``where`` is ``"none"``, ``"all"``, ``"alone"`` (in `layer` only) or ``"all but"`` (in all but `layer`), and
    ``condition`` the label of what is lent; ``low`` and ``high`` are Wilson's 95 % bounds.
    """

    where: str
    layer: int | None
    condition: str
    length: int
    trials: int
    exact: int
    low: float
    high: float
    log_probability: float

    @property
    def accuracy(self) -> float:
        """The share of exact answers."""
        return self.exact / self.trials
