"""Partial attention results, joined exactly by their log-sum-exp."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

__all__ = ["Merged", "fold", "unfold_add"]


def fold(tensor: Tensor, *, start: int, size: int, count: int, stride: int) -> Tensor:
    """``count`` stretches of ``size`` positions, each ``stride`` after the one before, as batch rows.

    Copies nothing for a batch of one, also where stretches overlap.

    Parameters
    ----------
    tensor : Tensor
        ``[batch, heads, length, head_dim]``.

    Returns
    -------
    Tensor
        ``[batch * count, heads, size, head_dim]``.
    """
    span = tensor.narrow(2, start, (count - 1) * stride + size)
    return span if count == 1 else rearrange(span.unfold(2, size, stride), "b h n d s -> (b n) h s d")


def unfold_add(into: Tensor, part: Tensor, *, start: int, count: int, stride: int) -> None:
    """Add to the stretches that :func:`fold` took what belongs to them; where they overlap all of it.

    Parameters
    ----------
    into : Tensor
        ``[batch, heads, length, head_dim]``, changed in place.
    part : Tensor
        ``[batch * count, heads, size, head_dim]``.
    """
    size = part.shape[2]
    if count > 1 and stride < size:
        for number, one in enumerate(part.unflatten(0, (-1, count)).unbind(1)):
            into.narrow(2, start + number * stride, size).add_(one)
        return
    mine = into.narrow(2, start, (count - 1) * stride + size)
    if count > 1:
        mine = mine.unfold(2, size, stride)
        part = rearrange(part, "(b n) h s d -> b h n d s", n=count)
    mine.add_(part)


@dataclass(frozen=True, eq=False)
class Merged:
    """Running attention output and the log-sum-exp of every logit that went into it.

    Attributes
    ----------
    output : Tensor
        float32 (float64 for float64 inputs) ``[batch, heads, length, head_dim]``.
    lse : Tensor
        ``[batch, heads, length]``, natural logarithm; ``-inf`` where nothing was seen.
    """

    output: Tensor
    lse: Tensor

    @classmethod
    def empty(cls, query: Tensor, head_dim: int, *, cleared: bool = True) -> Merged:
        """Nothing seen yet, for queries ``[batch, heads, length, ...]``; uncleared, every row must get a fresh part."""
        batch, heads, length = query.shape[:3]
        dtype = torch.promote_types(query.dtype, torch.float32)
        make = torch.zeros if cleared else torch.empty
        output = make((batch, length, heads, head_dim), dtype=dtype, device=query.device)
        lse = torch.full((batch, heads, length), -torch.inf, dtype=dtype, device=query.device)
        return cls(output.transpose(1, 2), lse)

    def part(self, rows: slice, start: int, stop: int) -> Merged:
        """Some batch rows and queries; what is added there is added here."""
        return Merged(self.output[rows, :, start:stop], self.lse[rows, :, start:stop])

    def add(
        self, output: Tensor, lse: Tensor, *, start: int, count: int = 1, stride: int = 0, fresh: bool = False
    ) -> None:
        """Join a partial result whose keys were not seen before.

        Parameters
        ----------
        output : Tensor
            ``[batch * count, heads, size, head_dim]``, laid out as :func:`fold` does.
        lse : Tensor
            ``[batch * count, heads, size]``; finite.
        start, count, stride
            The queries it belongs to, as in :func:`fold`.
        fresh : bool
            Whether these queries have seen nothing yet, so that there is nothing to join with.
        """
        size = output.shape[2]
        span = (count - 1) * stride + size
        mine, seen = self.output.narrow(2, start, span), self.lse.narrow(2, start, span)
        if count > 1:
            mine, seen = rearrange(mine.unfold(2, size, stride), "b h n d s -> b h n s d"), seen.unfold(2, size, stride)
            output = rearrange(output, "(b n) h s d -> b h n s d", n=count)
            lse = rearrange(lse, "(b n) h s -> b h n s", n=count)
        if fresh:
            mine.copy_(output)
            seen.copy_(lse)
            return
        # Kernels return rows a number of heads apart, on which logaddexp takes ten times as long.
        lse = lse.to(seen.dtype).contiguous()
        mine.lerp_(output.to(mine.dtype), torch.sigmoid(lse - seen)[..., None])
        torch.logaddexp(seen, lse, out=seen)

    def finish(self, *, sinks: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The attention output; a sink takes its share of every row once, after all keys are in.

        Parameters
        ----------
        sinks : Tensor, optional
            ``[heads]``.
        dtype : torch.dtype
            Precision of the result, rounded to once.
        """
        if sinks is None:
            return self.output.to(dtype)
        share = torch.sigmoid(self.lse - sinks.to(self.lse)[None, :, None])
        return (self.output * share[..., None]).to(dtype)
