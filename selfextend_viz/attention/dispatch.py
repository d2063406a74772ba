"""The one place that picks an implementation, and the one inner function under raw tensors and models alike."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.attention.backward import requires_gradients
from selfextend_viz.attention.backward_kernels import backward_kernel_for
from selfextend_viz.attention.checks import check_options, check_tensors
from selfextend_viz.attention.eager import eager_attention
from selfextend_viz.attention.flash import (
    KERNELS,
    FlashUnavailableError,
    flash_attention,
    flash_refusal,
    kernel_for,
    probe,
)
from selfextend_viz.attention.fused import FusedUnavailableError, fused_attention, fused_probe, fused_refusal
from selfextend_viz.attention.kernels import HALF
from selfextend_viz.attention.logits import Rotate
from selfextend_viz.attention.lone_query import is_lone
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["IMPLEMENTATIONS", "Choice", "Implementation", "check_name", "choose", "core", "implementations"]

_RUN = {"eager": eager_attention, "flash": flash_attention, "fused": fused_attention}
IMPLEMENTATIONS = ("auto", *_RUN)
LONG = 4096


@dataclass(frozen=True)
class Choice:
    """Which implementation runs a call, and why.

    Attributes
    ----------
    name : str
        ``"eager"``, ``"flash"`` or ``"fused"``.
    reason : str
        One sentence.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Implementation:
    """Something that can run attention, and whether it can run here.

    Attributes
    ----------
    name : str
        What to pass as ``implementation``: ``"eager"``, ``"flash"`` or ``"fused"``.
    kernel : str
        What does the work.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"any"``.
    available : bool
        Whether a tiny call of it ran.
    reason : str
        What it is for, or why it cannot run.
    """

    name: str
    kernel: str
    device: str
    available: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.name} ({self.kernel}, {self.device}): {'yes' if self.available else 'no'}, {self.reason}"


def core(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    rotate: Rotate,
    key_positions: Tensor | Slots | None = None,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Attention over disjoint bands, each rotated its own way, joined in one softmax.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``; the queries stand in the last slots in use.
    key, value : Tensor
        ``[batch, key heads, k, head_dim]``; heads is a multiple of key heads.
    bands : sequence of Band
        Disjoint bands of distances.
    rotate : callable
        ``rotate(tensor, band, side)``, side ``"query"`` or ``"key"``: the whole tensor turned to the band's positions.
    key_positions : Tensor or Slots, optional
        int64 ``[batch, k]``: each slot's position, negative where it is padding or not yet written; left out,
        0 .. k - 1. Within a row the tokens are contiguous. A tensor costs one device sync per call: for many layers
        build :class:`Slots` once.
    scale : float, optional
        ``head_dim ** -0.5`` if left out.
    softcap : float, optional
        Logits become ``softcap * tanh(logits / softcap)``, before anything is masked.
    sinks : Tensor, optional
        ``[heads]``: one more logit per head that takes softmax mass and gives nothing.
    implementation : {"auto", "eager", "flash", "fused"}
        See :func:`choose`.

    Returns
    -------
    Tensor
        ``[batch, heads, q, value head_dim]``, query's precision; zeros for queries that are padding.

    Raises
    ------
    TypeError, ValueError
        For tensors, positions or options that do not fit, and for flash or fused where it cannot run.
    """
    check_tensors(query, key, value)
    check_options(query, scale=scale, softcap=softcap, sinks=sinks)
    if not bands:
        raise ValueError("bands is empty; a method has at least one band.")
    choice = choose(implementation, query, key, value, bands, softcap=softcap, sinks=sinks)
    options: dict[str, Any] = {"rotate": rotate, "slots": slots_of(key_positions, query, key)}
    options |= {"scale": query.shape[-1] ** -0.5 if scale is None else scale, "softcap": softcap, "sinks": sinks}
    try:
        return _RUN[choice.name](query, key, value, bands, **options)
    except FusedUnavailableError:
        # Trained frequencies bring gradients that show once a tensor is turned. Flash takes all that fused takes.
        if implementation != "auto":
            raise
    return flash_attention(query, key, value, bands, **options)


def slots_of(key_positions: Tensor | Slots | None, query: Tensor, key: Tensor) -> Slots:
    """The slots of a call, checked against its tensors."""
    batch, queries, keys = query.shape[0], query.shape[2], key.shape[2]
    if key_positions is None:
        return Slots.full(batch=batch, queries=queries, keys=keys, device=query.device)
    if isinstance(key_positions, Tensor):
        if tuple(key_positions.shape) != (batch, keys):
            raise ValueError(f"key_positions must be [{batch}, {keys}], got {tuple(key_positions.shape)}.")
        return Slots.of(key_positions, queries=queries)
    if (key_positions.queries, key_positions.keys) != (queries, keys):
        raise ValueError(
            f"slots were built for {key_positions.queries} queries and {key_positions.keys} keys, "
            f"but the tensors have {queries} and {keys}."
        )
    return key_positions


def choose(
    implementation: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Choice:
    """Pick the implementation of a call.

    ``"auto"`` takes the fused kernel for half precision on CUDA where no gradients are asked for, else flash wherever
    it can run, else eager, and warns once where eager meets more than 4096 keys. A name is taken at its word.

    Raises
    ------
    ValueError
        For an unknown name, or ``"flash"`` or ``"fused"`` where it cannot run (:class:`FlashUnavailableError`,
        :class:`FusedUnavailableError`).
    """
    check_name(implementation)
    if implementation == "eager":
        return Choice("eager", "asked for by name.")
    passed_over = ""
    if implementation == "fused" or (implementation == "auto" and query.is_cuda and query.dtype in HALF):
        refusal = fused_refusal(query, key, value, bands, sinks=sinks)
        if refusal is None:
            return Choice("fused", "one pass of the Triton kernel over all bands.")
        if implementation == "fused":
            raise FusedUnavailableError(f"fused cannot run this call: {refusal}")
        passed_over = f" Fused cannot run this call: {refusal}"
    refusal = flash_refusal(query, key, value, bands, softcap=softcap, sinks=sinks)
    if refusal is None:
        gradients = requires_gradients(query, key, value, sinks)
        return Choice("flash", _how(query, softcap, gradients=gradients) + passed_over)
    if implementation == "flash":
        raise FlashUnavailableError(f"flash cannot run this call: {refusal}")
    if key.shape[2] > LONG:
        _warn_once(refusal)
    return Choice("eager", f"flash cannot run this call: {refusal}{passed_over}")


def _fused_row() -> Implementation:
    found = torch.cuda.is_available()
    failure = fused_probe(torch.device("cuda" if found else "cpu"), torch.float16)
    purpose = "inference with a near and a far band, in one pass"
    return Implementation("fused", "a Triton kernel", "cuda", failure is None, f"{failure or purpose}.")


def check_name(implementation: str) -> None:
    """Refuse the name of an implementation that there is not, with ``ValueError``."""
    if implementation not in IMPLEMENTATIONS:
        known = ", ".join(repr(name) for name in IMPLEMENTATIONS)
        raise ValueError(f"unknown implementation {implementation!r}; use one of {known}.")


def _how(query: Tensor, softcap: float | None, *, gradients: bool) -> str:
    kernel, skipped = kernel_for(query, softcap=softcap)
    assert kernel is not None
    how = f"tiles through {kernel.name}, merged by log-sum-exp" + (f" ({skipped})" if skipped else "")
    if gradients:
        backward, _ = backward_kernel_for(query, softcap=softcap)
        assert backward is not None
        how += f", and back through {backward.name}"
    elif is_lone(query[:, :, :1]):
        how += "; a lone query in one softmax"
    return f"{how}."


@lru_cache(maxsize=64)
def _warn_once(refusal: str) -> None:
    warnings.warn(
        f"Attention over more than {LONG} tokens runs eagerly, with memory quadratic in length: {refusal}",
        stacklevel=4,
    )


def implementations() -> tuple[Implementation, ...]:
    """What can run attention here, each tried with a tiny call, and why not where it cannot."""
    rows = [Implementation("eager", "plain torch", "any", True, "the reference; memory is quadratic."), _fused_row()]
    for kernel in KERNELS:
        device = "cpu" if kernel.device == "any" else kernel.device
        missing = device == "cuda" and not torch.cuda.is_available()
        failure = "there is no CUDA device here" if missing else probe(kernel, torch.device(device), kernel.dtypes[0])
        purpose = "soft-capped logits, and devices without a kernel" if kernel.device == "any" else "no softcap"
        if kernel.softcaps and kernel.band is not None:
            purpose = "also soft-capped logits"
        reason = f"{failure or purpose}."
        rows.append(Implementation("flash", kernel.name, kernel.device, failure is None, reason))
    return tuple(rows)
