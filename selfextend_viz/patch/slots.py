"""Which position each slot of the key cache holds, in place of an attention mask.

transformers asks the mask function of an attention implementation for a mask. Ours answers with positions, one int64
per key, so that nothing of size N x N exists and neither padding nor an unwritten cache can be mistaken for text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import causal_mask_function

from selfextend_viz.attention.slots import Slots

PADDING, UNWRITTEN = -1, -2


def key_positions(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    device: torch.device | str = "cpu",
    config: Any = None,
    **_: Any,
) -> Tensor:
    """The mask function: each key slot's position in its row, int64 ``[batch, 1, 1, kv_length]``.

    ``PADDING`` marks padding and ``UNWRITTEN`` the slots a static cache has not filled. Four axes, since transformers
    hands a mask of four axes on untouched.

    Raises
    ------
    ValueError
        For a pattern other than causal or the layer's causal sliding window, or an attention mask that is too short.
    """
    length = kv_offset + kv_length
    slots = torch.arange(length, device=device)
    if mask_function is not causal_mask_function:
        queries = q_offset + torch.arange(q_length, device=device)
        window = getattr(config, "sliding_window", None) if local_size is None else local_size
        _check_causal(
            partial(mask_function, torch.arange(batch_size, device=device)[:, None], 0), queries, slots, window
        )
    positions = slots.expand(batch_size, -1)
    if attention_mask is not None:
        valid = _fit(attention_mask.to(device=device, dtype=torch.bool), length, q_offset, q_length)
        positions = torch.where(valid, valid.cumsum(-1) - 1, PADDING)
    positions = torch.where(slots < q_offset + q_length, positions, UNWRITTEN)
    return positions[:, None, None, kv_offset:]


def _fit(valid: Tensor, length: int, q_offset: int | Tensor, q_length: int) -> Tensor:
    if isinstance(q_offset, int) and valid.shape[-1] < q_offset + q_length:
        raise ValueError(
            f"attention_mask covers {valid.shape[-1]} tokens, but {q_offset} cached and {q_length} new ones make "
            f"{q_offset + q_length}; pass a mask over all of them"
        )
    return torch.nn.functional.pad(valid, (0, max(0, length - valid.shape[-1])))[:, :length]


def _check_causal(sees: Callable[[Tensor, Tensor], Tensor], queries: Tensor, slots: Tensor, window: int | None) -> None:
    """Accept a pattern by which each token sees the one before it and not the one after, and the last one sees all.

    Or, where there is a window, all within it. So no image may stand in the text, whose tokens see both ways, but a
    model that reads images may be given text alone.
    """
    before, after, last = queries[None, :-1], queries[None, 1:], queries[None, -1:]
    distance = last - slots[None]
    seen = sees(last, slots[None]) == (distance >= 0)
    width = len(slots) + 1 if window is None else window
    far = distance >= width
    narrow = ~(sees(last, slots[None]) & far).any()
    steps = sees(after, before).all() if width > 1 else True
    if not bool(steps & ~sees(before, after).any() & (seen | far).all() & (seen.all() | narrow)):
        raise ValueError(
            "a method needs plain causal attention over one text per row; packed sequences (position_ids that start "
            "again), images (token_type_ids of 1), bidirectional and blockwise masks are not supported: pad the batch "
            "and pass attention_mask instead"
        )


@dataclass(frozen=True, eq=False)
class Reading:
    """What one forward's key slots hold, read from the device once and shared by all layers.

    Attributes
    ----------
    slots
        The slots in use; a static cache's unwritten ones are cut off.
    longest
        Tokens in the longest row, padding not counted.
    dropped
        How many of the first tokens the cache no longer holds.
    starts
        The slot of each batch row's first token.
    """

    slots: Slots
    longest: int
    dropped: int
    starts: tuple[int, ...]

    @property
    def padded(self) -> bool:
        """Whether any row has padding."""
        return len(self.slots.runs) != 1 or self.slots.runs[0].start > 0 or self.slots.runs[0].stop < self.slots.keys


def read_slots(table: Tensor, position_ids: Tensor | None, queries: int) -> Reading:
    """Read a forward's key positions.

    Parameters
    ----------
    table
        int64 ``[batch, 1, 1, keys]`` from :func:`key_positions`.
    position_ids
        int64 ``[batch or 1, queries]`` as the model rotated them, or ``None``.
    queries
        Number of query slots.

    Raises
    ------
    ValueError
        If padding stands between the tokens of a row, or position_ids do not rise by one from token to token.
    """
    table = table[:, 0, 0]
    written, jump, *rows = _summary(table, position_ids, queries)
    _check_rows(rows, jump)
    texts = [row for row in rows if row[0]]
    dropped = min((first for *_, first in texts), default=0)
    if dropped == 0 and len(texts) == len(rows) and all(count == written for count, *_ in rows):
        slots = Slots.full(batch=len(rows), queries=queries, keys=written, device=table.device)
    else:
        slots = Slots.of(table[:, :written], queries=queries, written=written)
    longest = max((count + first for count, _, _, first in texts), default=0)
    return Reading(slots, longest, dropped, tuple(start if count else 0 for count, start, *_ in rows))


def _summary(table: Tensor, position_ids: Tensor | None, queries: int) -> list[Any]:
    """Slots in use, the first jump of position_ids, and each row's (tokens, start, stop, first position)."""
    slots = torch.arange(table.shape[-1], device=table.device)
    valid = table >= 0
    written = (table[0] != UNWRITTEN).sum()
    start = torch.where(valid, slots, table.shape[-1]).amin(-1)
    stop = torch.where(valid, slots + 1, 0).amax(-1)
    first = torch.where(valid, table, torch.iinfo(table.dtype).max).amin(-1)
    rows = torch.stack([valid.sum(-1), start, stop, first], dim=-1)
    jump = _first_jump(valid, written, position_ids, queries)
    head, jump_at, *numbers = torch.cat([written[None], jump[None], rows.flatten()]).tolist()
    return [head, jump_at, *(tuple(numbers[at : at + 4]) for at in range(0, len(numbers), 4))]


def _first_jump(valid: Tensor, written: Tensor, position_ids: Tensor | None, queries: int) -> Tensor:
    """The first query whose position is not one more than that of the token before it, or -1."""
    if position_ids is None or queries < 2:
        return torch.full_like(written, -1)
    asked = valid[:, written - queries + torch.arange(queries, device=valid.device)]
    wrong = ((position_ids.to(valid.device).diff(dim=-1) != 1) & asked[:, 1:] & asked[:, :-1]).any(0)
    return torch.where(wrong.any(), wrong.int().argmax() + 1, -1)


def _check_rows(rows: list[tuple[int, int, int, int]], jump: int) -> None:
    for number, (count, start, stop, _) in enumerate(rows):
        if count and stop - start != count:
            raise ValueError(
                f"row {number} of attention_mask has {stop - start - count} masked slots between its {count} tokens; "
                "a method needs each row's tokens side by side, with padding only before or after them"
            )
    if jump >= 0:
        raise ValueError(
            f"position_ids do not rise by one at query {jump}; a method needs one unbroken text per row, "
            "so leave position_ids out or pad the batch instead of packing it"
        )
