"""What must hold for every architecture; run by the tests and by the script that writes the README's table.

An error is what float32 logits differ by. It may be twice what the stock model's plain attention errs on the same text,
both measured against float64, in the mean square and at the worst; a wrong position is a thousand times as far off.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from model_oracle import oracle_logits, plain_by_hand, self_extend_by_hand
from tiny_models import ARCHITECTURES, token_ids
from torch import Tensor
from transformers import DynamicCache, StaticCache

from selfextend_viz.patch import BeyondReachWarning, describe, extended
from selfextend_viz.positions import PlainRoPE, SelfExtend

LENGTH = 61
METHOD = SelfExtend(group_size=3, neighbor_window=7)
ROWS = (61, 40, 33, 9)
PREFILL = 30
WORST, MEAN = 3e-5, 1e-6
"""The least that is allowed at the worst and in the mean: a float32 logit of 6 is rounded to steps of 5e-7."""


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes
    ----------
    error, tolerance
        At the worst, in logits.
    mean_error, mean_tolerance
        Root of the mean square.
    """

    error: float
    tolerance: float
    mean_error: float
    mean_tolerance: float

    @property
    def passed(self) -> bool:
        """Whether both errors are within their tolerances."""
        return self.error <= self.tolerance and self.mean_error <= self.mean_tolerance


class Subject:
    """One tiny model and what its logits should be."""

    def __init__(self, name: str) -> None:
        self.architecture = ARCHITECTURES[name]
        self.model = self.architecture.build()
        # Of the stock implementations only this one runs soft caps and sinks.
        self.model.set_attn_implementation("eager")
        self.config = self.model.config.get_text_config()
        self.ids = token_ids(LENGTH, batch=2)
        self.stock = self.logits()
        told = plain_by_hand(LENGTH, self.architecture.window)
        plain = oracle_logits(self.model, self.ids, told, self.architecture)
        self.stock_worst, self.stock_mean = _differences(self.stock, plain)
        self.whole = self.logits(METHOD, "eager")

    @torch.no_grad()
    def logits(self, method: Any = None, implementation: str = "auto", ids: Tensor | None = None, **inputs: Any) -> Any:
        """Logits in one forward, stock or under a method."""
        ids = self.ids if ids is None else ids
        if method is None:
            return self.model(ids, **inputs).logits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BeyondReachWarning)
            with extended(self.model, method, implementation=implementation):
                return self.model(ids, **inputs).logits

    def found(self, actual: Tensor, wanted: Tensor) -> Found:
        """The difference of two logits, beside what is allowed."""
        worst, mean = _differences(actual, wanted)
        return Found(worst, max(2 * self.stock_worst, WORST), mean, max(2 * self.stock_mean, MEAN))

    @functools.cached_property
    def expected(self) -> Tensor:
        """The oracle's logits under the method."""
        told, trained = self_extend_by_hand(3, 7, LENGTH), self.architecture.trained
        return oracle_logits(self.model, self.ids, told, self.architecture, frequencies=trained)

    @torch.no_grad()
    def in_parts(self, make_cache: Callable[[], Any], *stops: int) -> Tensor:
        """Logits under the method of a text in parts, each up to its stop, on a cache that is made in the block."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BeyondReachWarning)
            with extended(self.model, METHOD):
                cache, spans = make_cache(), zip((0, *stops), stops, strict=False)
                parts = [self.model(self.ids[:, a:b], past_key_values=cache, use_cache=True).logits for a, b in spans]
        return torch.cat(parts, 1)


def _differences(actual: Tensor, wanted: Tensor) -> tuple[float, float]:
    difference = (actual.double() - wanted.double()).abs()
    return float(difference.max()), float(difference.square().mean().sqrt())


@functools.lru_cache(maxsize=4)
def subject(name: str) -> Subject:
    """The model of an architecture's name, made once."""
    return Subject(name)


def eager(the: Subject) -> Found:
    """The reference follows the formula pair by pair."""
    return the.found(the.logits(METHOD, "eager"), the.expected)


def flash(the: Subject) -> Found:
    """Tiles follow the formula pair by pair."""
    return the.found(the.logits(METHOD, "flash"), the.expected)


def padding(the: Subject) -> Found:
    """Each left-padded row is that row alone."""
    rows = [token_ids(length, seed=length) for length in ROWS]
    ids = torch.cat([torch.nn.functional.pad(row, (LENGTH - row.shape[1], 0)) for row in rows])
    mask = (torch.arange(LENGTH)[None] >= LENGTH - torch.tensor(ROWS)[:, None]).long()
    batch = the.logits(METHOD, ids=ids, attention_mask=mask)
    apart = [the.logits(METHOD, "eager", row)[0] for row in rows]
    together = [batch[number, LENGTH - length :] for number, length in enumerate(ROWS)]
    return the.found(torch.cat(together), torch.cat(apart))


def decode(the: Subject) -> Found:
    """Each step is that row of one prefill."""
    steps = the.in_parts(lambda: DynamicCache(config=the.config), *range(PREFILL, LENGTH + 1))
    return the.found(steps, the.whole)


def chunks(the: Subject) -> Found:
    """A prefill in chunks is one prefill."""
    return the.found(the.in_parts(lambda: DynamicCache(config=the.config), 17, 18, 41, LENGTH), the.whole)


def static(the: Subject) -> Found:
    """A static cache with room left is a dynamic one."""
    room = LENGTH + 5
    steps = the.in_parts(lambda: StaticCache(config=the.config, max_cache_len=room), *range(PREFILL, LENGTH + 1))
    return the.found(steps, the.whole)


def identity(the: Subject) -> Found:
    """A method that changes nothing is the stock model."""
    return the.found(the.logits(PlainRoPE()), the.stock)


CHECKS: dict[str, Callable[[Subject], Found]] = {
    check.__name__: check for check in (eager, flash, padding, decode, chunks, static, identity)
}


def row(name: str) -> dict[str, Any]:
    """One architecture's line of the table."""
    the = subject(name)
    found = {check: CHECKS[check](the) for check in CHECKS}
    with extended(the.model, METHOD, implementation="flash"):
        told = describe(the.model)
    return {
        "architecture": name,
        "layers": {"touched": told.touched, "left": dict(told.skipped)},
        "flash": told.reason,
        "stock_error": the.stock_worst,
        "checks": {check: vars(result) | {"passed": result.passed} for check, result in found.items()},
    }
