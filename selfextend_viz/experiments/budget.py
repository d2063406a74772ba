"""Memory and time of a long text before you wait for it: a short forward is measured, and scaled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from selfextend_viz.experiments.conditions import resolve
from selfextend_viz.experiments.free_memory import free_on
from selfextend_viz.experiments.rows import STOCK
from selfextend_viz.experiments.short_forwards import scaled, short_forwards
from selfextend_viz.experiments.trained_length import in_words, knee, text_losses
from selfextend_viz.methods.per_layer import Lent, PerLayer, lent_method
from selfextend_viz.patch import cache_memory, describe, in_gib, trained_length
from selfextend_viz.positions import Method, suggest, whole_number

__all__ = ["Plan", "plan"]

SLACK = 17 / 16
"""What a growing cache takes of room that is not used yet."""


@dataclass(frozen=True)
class Plan:
    """What a text of so many tokens takes. ``str`` of it is readable.

    Attributes
    ----------
    model, device
        Name of the model's class, and where it is.
    method
        Label of what it is lent; ``"stock"`` for nothing.
    implementation
        What runs the attention.
    target_length, batch_size
        Tokens of a text, and texts at once.
    context_length, context_reason
        L of the configuration, and which of its numbers that is.
    reach
        How many tokens the method keeps within trained positions, where it knows.
    weight_bytes
        The model itself, already in memory.
    cache_bytes, beside_bytes
        Keys and values, and the turned keys that are kept beside them once tokens are generated.
    prefill_bytes
        Peak of the tensors while the text is read in one forward, the cache included and the weights not; estimated.
        The processor's allocator may hold as much again of freed blocks below 32 MiB, which matters for small models.
    free_bytes
        What is free now; ``None`` where that is not known.
    seconds
        Reading the text in one forward; estimated.
    measured
        Tokens and seconds of the forwards that were measured.
    knee
        How many tokens the model reads before its losses leave their level; ``None`` without a text, or if none shows.
    knee_in_words
        What the knee says about L; empty without a text.
    """

    model: str
    device: str
    method: str
    implementation: str
    target_length: int
    batch_size: int
    context_length: int
    context_reason: str
    reach: int | None
    weight_bytes: int
    cache_bytes: int
    beside_bytes: int
    prefill_bytes: int
    free_bytes: float | None
    seconds: float
    measured: tuple[tuple[int, float], ...]
    knee: int | None = None
    knee_in_words: str = ""

    @property
    def peak_bytes(self) -> int:
        """The most that is needed beside the weights: to read the text, or to generate after it."""
        return max(self.prefill_bytes, int((self.cache_bytes + self.beside_bytes) * SLACK))

    @property
    def fits(self) -> bool | None:
        """Whether that is free now; ``None`` where that is not known."""
        return None if self.free_bytes is None else self.peak_bytes <= self.free_bytes

    def __str__(self) -> str:
        return "\n".join([f"{self.model}: {self._what()}", *(f"  {line}" for line in self._lines())])

    def _what(self) -> str:
        texts = "" if self.batch_size == 1 else f"{self.batch_size} texts of "
        return f"{texts}{self.target_length} tokens under {self.method}, {self.implementation} on {self.device}"

    def _lines(self) -> Iterable[str]:
        yield f"L: {self.context_length} tokens ({self.context_reason})"
        if self.knee_in_words:
            yield f"measured: {self.knee_in_words}"
        yield from self._reach_lines()
        beside = f", and {in_gib(self.beside_bytes)} beside it while it grows" if self.beside_bytes else ""
        yield f"weights: {in_gib(self.weight_bytes)}, in memory already"
        yield f"cache: {in_gib(self.cache_bytes)}{beside}"
        yield f"peak: about {in_gib(self.peak_bytes)} beside the weights; {self._verdict()}"
        seconds, tokens = (", ".join(texts) for texts in zip(*self._measured_texts(), strict=True))
        yield f"time: about {_duration(self.seconds)} to read it; measured: {seconds} s for {tokens} tokens of one text"

    def _measured_texts(self) -> Iterable[tuple[str, str]]:
        return ((f"{seconds:.2g}", str(tokens)) for tokens, seconds in self.measured)

    def _reach_lines(self) -> Iterable[str]:
        limit = self.context_length if self.method == STOCK else self.reach
        if limit is None:
            return
        if self.target_length <= limit:
            yield f"reach: {limit} tokens, enough"
        else:
            yield f"reach: {limit} tokens, {self.target_length - limit} too few: expect the model to break"

    def _verdict(self) -> str:
        if self.free_bytes is None:
            return "how much is free cannot be told here"
        free = in_gib(self.free_bytes)
        return f"it fits, {free} are free" if self.fits else f"it does not fit, only {free} are free"


def plan(
    model: Any,
    target_length: int,
    *,
    method: Lent | None = None,
    batch_size: int = 1,
    implementation: str = "auto",
    tokenizer: Any = None,
    text: str | Iterable[str] | None = None,
) -> Plan:
    """Say what memory and time a text will take, from a few short forwards on this machine; some seconds.

    Forwards are measured, each twice as long as the one before, until one takes half a second. Their time grows with
    the tokens and with the pairs of tokens, and so it is scaled; so is the memory of their tensors, which grows with
    the pairs only where attention runs eagerly. Under a method, w_n is shortened with the text, so that the measured
    part of far tokens is that of the target. Texts of a batch are taken to cost the same each.

    Parameters
    ----------
    model
        A transformers causal language model in evaluation mode, lent nothing.
    target_length
        Tokens of each text.
    method
        What the model will be lent; left out, the first suggestion where the target is beyond L, else nothing.
    batch_size
        Texts read at once.
    implementation
        As for :func:`~selfextend_viz.extended`.
    tokenizer, text
        With both, L is also measured, by the :func:`~selfextend_viz.knee` of the losses of this text or these texts.

    Returns
    -------
    Plan
        Frozen; ``str`` of it is a report.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, the model cannot take the method, or a text is given without a tokenizer.

    Examples
    --------
    >>> print(plan(model, 16384, method=SelfExtend(group_size=8, neighbor_window=1024)))
    """
    whole_number("target_length", target_length)
    whole_number("batch_size", batch_size)
    if (text is None) != (tokenizer is None):
        missing = "tokenizer" if tokenizer is None else "text"
        raise ValueError(f"{missing} is missing: give both tokenizer and text to measure L, or neither")
    trained = trained_length(model)
    lent = _chosen(method, trained.tokens, target_length)
    with resolve(lent, model).lent(model, implementation):
        told, memory = describe(model), cache_memory(model, target_length, batch_size=batch_size)
    lengths, seconds, peaks = short_forwards(model, lent, target_length, implementation)
    found, words = None, ""
    if text is not None:
        losses = text_losses(model, tokenizer, text)
        found = knee(losses)
        words = in_words(found, trained.tokens, losses.shape[1] + 1)
    return Plan(
        type(model).__name__,
        str(model.device),
        STOCK if lent is None else str(lent),
        told.implementation,
        target_length,
        batch_size,
        trained.tokens,
        trained.reason,
        told.capacity,
        weight_bytes=sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers())),
        cache_bytes=memory.stock,
        beside_bytes=memory.beside,
        prefill_bytes=batch_size * int(scaled(lengths, peaks, target_length)),
        free_bytes=free_on(model.device),
        seconds=batch_size * scaled(lengths, seconds, target_length),
        measured=tuple(zip(lengths, seconds, strict=True)),
        knee=found,
        knee_in_words=words,
    )


def _chosen(method: Lent | None, trained: int, target: int) -> Method | PerLayer | None:
    if method is not None:
        return lent_method(method)
    return suggest(trained, target)[0] if target > trained else None


def _duration(seconds: float) -> str:
    """For people: ``3.2 s``, ``14 min``, ``2.5 h``."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
