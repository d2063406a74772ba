"""Verification of a method on the user's own model: is it active, and does every way to run it give the formula?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.experiments.conditions import listed
from selfextend_viz.experiments.courses import Course, Found, Run, courses
from selfextend_viz.experiments.losses import one_text
from selfextend_viz.experiments.verdict import Verification, VerifyRow
from selfextend_viz.patch import BeyondReachWarning, check_lending
from selfextend_viz.patch.models import attention_layers, text_config
from selfextend_viz.positions import Method, bands_of, whole_number

__all__ = ["verification_rows", "verify"]

IMPLEMENTATIONS = ("eager", "flash", "fused")
SHORTEST = 16
EAGER_LOGITS = 2**28
VALUE_ROUNDINGS = 4.0
LOGIT_ROUNDINGS = 2.0


def verify(
    model: Any,
    method: Method,
    *,
    lengths: Sequence[int] | None = None,
    implementations: Sequence[str] | None = None,
    tokens: Sequence[int] | Tensor | None = None,
    seed: int = 0,
) -> Verification:
    """Run a model under a method, and compare every layer's attention with its formula in float64.

    The oracle takes each layer's queries, keys and values from the model's own projections before any rotation, and
    turns each key once by the distance it is told; no band, tile, cache or second rotation is behind it. It compares
    all rows of up to 96 tokens, of longer texts 96 rows with those around the neighbour window, and never holds an
    N x N tensor or a float64 copy of the model. The model is left as it was.

    The tolerance is twice what plain attention of the same precision errs on the same layer, queries and keys, at their
    true positions and at the told ones, each rotated once (the rule of FlashAttention's tests). Where that is small by
    chance there is a floor. Outputs are weighted means of values, so ``4 u max|value|`` for what is stored in the
    model's precision (query, key, weight, output); and a rounding of a logit in float32 changes weights by as much, so
    ``2 u32 max|logit| max|value|``.

    Parameters
    ----------
    model
        A transformers model in evaluation mode, as for ``extended``.
    method
        Any method with bands, such as ``SelfExtend(group_size=8, neighbor_window=1024)``.
    lengths
        Texts of how many tokens; one of ``2 * w_n + 4 * G + 1`` (64 at least) if left out.
    implementations
        Any of ``"eager"``, ``"flash"`` and ``"fused"``; all if left out. One that cannot run gives a row that says why.
    tokens
        Token ids of a text as long as the longest length; random ones if left out.
    seed
        Chooses random tokens, and the rows that are compared.

    Returns
    -------
    Verification
        ``.passed``, ``.failures``, ``.rows``; iterating yields :class:`VerifyRow`, ``str`` is a table.

    Raises
    ------
    TypeError, ValueError
        If the model or the method cannot be verified, or a length is one at which the method is plain RoPE.

    Examples
    --------
    >>> print(verify(model, SelfExtend(group_size=8, neighbor_window=1024)))
    """
    plan = Plan.of(model, method, lengths, implementations, tokens, seed)
    return plan.verdict(tuple(verification_rows(plan)))


@dataclass(frozen=True, eq=False)
class Plan:
    """A verification that is found to be possible."""

    model: Any
    method: Method
    lengths: tuple[int, ...]
    implementations: tuple[str, ...]
    tokens: Tensor
    seed: int

    @classmethod
    def of(
        cls,
        model: Any,
        method: Method,
        lengths: Sequence[int] | None,
        implementations: Sequence[str] | None,
        tokens: Sequence[int] | Tensor | None,
        seed: int,
    ) -> Plan:
        """Check what `verify` is given, and fill in what is left out."""
        check_lending(model, method)
        _check_verifiable(model, method)
        chosen = [default_length(method)] if lengths is None else listed("lengths", lengths)
        for length in chosen:
            _check_length(length, method)
        names = list(IMPLEMENTATIONS) if implementations is None else listed("implementations", implementations)
        unknown = next((name for name in names if name not in IMPLEMENTATIONS), None)
        if unknown is not None:
            raise ValueError(f"implementations has {unknown!r}; choose from {', '.join(IMPLEMENTATIONS)}")
        whole_number("seed", seed, at_least=0)
        text = _random_tokens(model, max(chosen), seed) if tokens is None else one_text(tokens, model.device)
        if len(text) < max(chosen):
            raise ValueError(f"tokens has {len(text)}, fewer than the length {max(chosen)}; give a longer text")
        return cls(model, method, tuple(map(int, chosen)), tuple(names), text, seed)

    def verdict(self, rows: tuple[VerifyRow, ...]) -> Verification:
        """The rows with what they are of."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return Verification(type(self.model).__name__, str(self.method), dtype, str(self.model.device), rows)


def default_length(method: Method) -> int:
    """N where none is given: far enough past the neighbour window that most pairs are grouped."""
    window, group = getattr(method, "neighbor_window", 0), getattr(method, "group_size", 1)
    return max(64, 2 * window + 4 * group + 1)


def verification_rows(plan: Plan) -> Iterator[VerifyRow]:
    """The rows of `verify`, as they are found."""
    for implementation in plan.implementations:
        for length in plan.lengths:
            refusal = _refusal(plan, implementation, length)
            if refusal is not None:
                yield VerifyRow("all", implementation, None, length, None, None, None, refusal)
            else:
                yield from _implementation_rows(plan, implementation, length)


def _implementation_rows(plan: Plan, implementation: str, length: int) -> Iterator[VerifyRow]:
    layers = tuple(layer.index for layer in attention_layers(plan.model) if layer.skipped is None)
    tolerances: dict[int, float] = {}
    for course in courses(length, getattr(plan.method, "group_size", 1)):
        prefill = course.check == "prefill"
        try:
            found = _run(plan, course, implementation, length)
        except (ValueError, RuntimeError) as error:
            said = f"raised {type(error).__name__}: {str(error).splitlines()[0]}"
            yield VerifyRow(course.check, implementation, None, length, None, None, False, said)
            if prefill:
                return
            continue
        if prefill:
            tolerances = {layer: _tolerance(found[layer], plan.model.dtype) for layer in found}
        for layer in layers:
            name = (course.check, implementation, layer, length)
            yield _compared(name, found.get(layer), tolerances.get(layer))
        if prefill and found and _differs(plan.method):
            yield _active(implementation, length, found, tolerances)


def _run(plan: Plan, course: Course, implementation: str, length: int) -> dict[int, Found]:
    run = Run(course, plan.method, seed=plan.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BeyondReachWarning)
        return run.go(plan.model, plan.tokens[:length], implementation)


def _tolerance(found: Found, dtype: torch.dtype) -> float:
    stored, computed = (torch.finfo(kind).eps / 2 for kind in (dtype, torch.promote_types(dtype, torch.float32)))
    roundings = VALUE_ROUNDINGS * stored + LOGIT_ROUNDINGS * computed * found.largest_logit
    return max(2 * found.plain.error, roundings * found.largest_value)


def _compared(name: tuple[str, str, int, int], found: Found | None, tolerance: float | None) -> VerifyRow:
    if found is None or tolerance is None:
        return VerifyRow(*name, None, None, False, "its attention never came to the method")
    worst = found.errors
    note = f"head {worst.head}, query {worst.position}"
    return VerifyRow(*name, worst.error, tolerance, worst.error <= tolerance, note)


def _active(implementation: str, length: int, found: dict[int, Found], tolerances: dict[int, float]) -> VerifyRow:
    """The layer that the method changes most, measured by its tolerance."""
    layer = max(found, key=lambda layer: found[layer].change.error / tolerances[layer])
    change, promised, tolerance = found[layer].change, found[layer].promised.error, tolerances[layer]
    note = f"head {change.head}, query {change.position}"
    if promised <= tolerance:
        note += f"; should be {promised:.1e}: too little to tell, take a longer text or float32"
    return VerifyRow("active", implementation, layer, length, change.error, tolerance, change.error > tolerance, note)


def _refusal(plan: Plan, implementation: str, length: int) -> str | None:
    """Why an implementation cannot be run at a length, or None."""
    try:
        check_lending(plan.model, plan.method, implementation=implementation)
    except ValueError as error:
        return str(error)
    logits = 2 * text_config(plan.model).num_attention_heads * length * length
    if implementation == "eager" and logits > EAGER_LOGITS:
        return (
            f"eager would hold {logits * 4 / 2**30:.1f} GiB of logits at {length} tokens; verify it at a shorter length"
        )
    return None


def _differs(method: Method) -> bool:
    """Whether a method is more than the stock model."""
    bands = bands_of(method)
    return len(bands) > 1 or bands[0].beyond is not None or getattr(method, "differs_from", None) is not None


def _check_verifiable(model: Any, method: Method) -> None:
    if model.training:
        raise ValueError(f"{type(model).__name__} is in training mode, whose dropout is random; call model.eval()")
    if any(band.heads != slice(None) for band in bands_of(method)):
        raise ValueError(
            f"{method} tells some heads other positions than others; only a method for all can be verified"
        )
    if hasattr(method, "differs_from") and method.differs_from is None:
        raise ValueError(
            f"{method} is plain RoPE at every length, so there is nothing to verify; use a larger group_size"
        )


def _check_length(length: Any, method: Method) -> None:
    whole_number("lengths", length, at_least=SHORTEST)
    first = getattr(method, "differs_from", None)
    if first is not None and length < first:
        raise ValueError(
            f"at {length} tokens nothing differs: {method} is plain RoPE up to {first - 1}; "
            f"use a length of at least {first}, better {default_length(method)}"
        )


def _random_tokens(model: Any, length: int, seed: int) -> Tensor:
    vocabulary = text_config(model).vocab_size
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (length,), generator=generator).to(model.device)
