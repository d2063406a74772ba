"""The ways a text can reach a model, and each layer's largest error on the way, measured against the oracle."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfextend_viz.experiments.oracle import attention_rows, query_factors, told_positions
from selfextend_viz.experiments.plain import rotated_once
from selfextend_viz.patch.raw_heads import LayerCall, recorded
from selfextend_viz.positions import Method, PlainRoPE

ROWS = 96
STEPS = 4

Text = tuple[Tensor, Tensor, Tensor]
"""Un-rotated ``[heads, rows, head_dim]`` of the queries compared, and all keys and values of one text."""


@dataclass(frozen=True)
class Course:
    """One way to read N tokens.

    Attributes
    ----------
    check
        Its name.
    chunks
        How many slots go into each forward, all on one cache.
    padding
        How many of the first slots are padding, for each row of the batch.
    looked_from
        The first slot whose query is compared.
    """

    check: str
    chunks: tuple[int, ...]
    padding: tuple[int, ...] = (0,)
    looked_from: int = 0


@dataclass(frozen=True)
class Worst:
    """The largest error of a layer; ``error`` is NaN where any output is."""

    error: float = 0.0
    head: int = 0
    position: int = 0

    def or_of(self, errors: Tensor, positions: Tensor) -> Worst:
        """This one, or the largest of ``[heads, rows]`` at these positions, if it is larger."""
        flat = int(errors.nan_to_num(torch.inf).argmax())
        error = float(errors.flatten()[flat])
        if error <= self.error or self.error != self.error:
            return self
        head, row = divmod(flat, errors.shape[1])
        return Worst(error, head, int(positions[row]))


@dataclass
class Found:
    """What one course found out about one layer.

    Attributes
    ----------
    errors
        The method's output against the oracle.
    plain
        The larger of two errors, of one forward over the whole text only: plain attention in the model's precision
        against its own oracle, and the same told the method's positions in one rotation.
    change, promised
        The method's output, and its oracle, against the oracle of plain RoPE; likewise.
    largest_value, largest_logit
        The largest number among the layer's values, and what no logit is larger than.
    """

    errors: Worst = field(default_factory=Worst)
    plain: Worst = field(default_factory=Worst)
    change: Worst = field(default_factory=Worst)
    promised: Worst = field(default_factory=Worst)
    largest_value: float = 0.0
    largest_logit: float = 0.0


def courses(length: int, group_size: int) -> tuple[Course, ...]:
    """The five ways a text of N tokens is read; N is 16 at least."""
    third, half, steps = length // 3, length // 2, (1,) * STEPS
    pad = length // 4
    pad += pad % group_size == 0  # a shift by whole groups would look right
    return (
        Course("prefill", (length,)),
        Course("decode", (length - STEPS, *steps), looked_from=length - STEPS),
        Course("chunked", (third, third // 2, length - third - third // 2)),
        Course("padded", (length - STEPS, *steps), padding=(0, pad)),
        Course("cached", (half, *steps, length - half - STEPS), looked_from=half + STEPS),
    )


def sampled_positions(length: int, neighbor_window: int, *, seed: int) -> Tensor:
    """Positions of the queries compared, rising: all, or 96 with the first, the last and those around w_n."""
    if length <= ROWS:
        return torch.arange(length)
    edges = (range(8), range(neighbor_window - 1, neighbor_window + 24), range(length - 16, length))
    chosen = {place for place in itertools.chain(*edges) if 0 <= place < length}
    rest = sorted(set(range(length)) - chosen)
    return torch.tensor(sorted({*chosen, *random.Random(seed).sample(rest, ROWS - len(chosen))}))


class Run:
    """One course through one model: keeps every layer's raw keys and values, and compares as the layers run."""

    def __init__(self, course: Course, method: Method, *, seed: int) -> None:
        self.course, self.method, self.seed = course, method, seed
        self.found: dict[int, Found] = {}
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._told: dict[tuple[Method, int, int, int | None], NDArray[Any]] = {}

    @torch.inference_mode()
    def go(self, model: Any, tokens: Tensor, implementation: str) -> dict[int, Found]:
        """Read the tokens ``[N]``; each layer that was seen, with what was found."""
        length, padding = len(tokens), self.course.padding
        ids = torch.stack([torch.cat((tokens[:pad], tokens[: length - pad])) for pad in padding])
        mask = (torch.arange(length) >= torch.tensor(padding)[:, None]).long().to(tokens.device)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        cache, decoder, start = None, model.get_decoder(), 0
        inputs: dict[str, Tensor] = {}
        with recorded(model, self.method, self._look, implementation=implementation):
            for size in self.course.chunks:
                self._told.clear()
                some = slice(start, start + size)
                if any(padding):
                    inputs = {"attention_mask": mask[:, : some.stop], "position_ids": places[:, some]}
                read = decoder(input_ids=ids[:, some], past_key_values=cache, use_cache=True, **inputs)
                cache, start = read.past_key_values, some.stop
        return self.found

    def _look(self, call: LayerCall) -> None:
        found = self.found.setdefault(call.layer, Found())
        key, value = self._grown(call)
        first = key.shape[2] - call.query.shape[2]
        found.largest_value = max(found.largest_value, float(value.abs().amax()))
        longest = [float(tensor.float().norm(dim=-1).amax()) for tensor in (call.query, key)]
        found.largest_logit = max(found.largest_logit, longest[0] * longest[1] * call.scale * call.rotation.scaling**2)
        for row, pad in enumerate(self.course.padding):
            places = self._places(key.shape[2], first, pad)
            if len(places):
                at = (places + pad - first).to(call.query.device)
                text = call.query[row, :, at], key[row, :, pad:], value[row, :, pad:]
                output = call.output[row, :, at]
                expected = self._attend(call, text, places, row)
                found.errors = found.errors.or_of(_distance(output, expected), places)
                if self.course.check == "prefill":
                    self._measure_plain(found, call, text, places, output, expected)

    def _measure_plain(
        self, found: Found, call: LayerCall, text: Text, places: Tensor, output: Tensor, expected: Tensor
    ) -> None:
        """What plain attention errs at the same precision, and how far from it the method is."""
        plain = self._attend(call, text, places, 0, method=PlainRoPE())
        found.change = found.change.or_of(_distance(output, plain), places)
        found.promised = found.promised.or_of(_distance(expected, plain), places)
        for method, exact in ((PlainRoPE(), plain), (self.method, expected)):
            once = self._attend(call, text, places, 0, method=method, attend=rotated_once)
            found.plain = found.plain.or_of(_distance(once, exact), places)

    def _grown(self, call: LayerCall) -> tuple[Tensor, Tensor]:
        """The layer's raw keys and values so far, the cache not asked."""
        new = call.key, call.value
        kept = self._kept.get(call.layer)
        whole = new if kept is None else tuple(torch.cat(pair, dim=2) for pair in zip(kept, new, strict=True))
        if len(self.course.chunks) > 1:
            self._kept[call.layer] = whole[0], whole[1]
        return whole[0], whole[1]

    def _places(self, slots: int, first: int, pad: int) -> Tensor:
        """Positions of the queries to compare, of those in this forward."""
        window = getattr(self.method, "neighbor_window", 0)
        places = sampled_positions(sum(self.course.chunks) - pad, window, seed=self.seed)
        return places[(places + pad >= max(first, self.course.looked_from)) & (places + pad < slots)]

    def _attend(
        self,
        call: LayerCall,
        text: Text,
        places: Tensor,
        row: int,
        *,
        method: Method | None = None,
        attend: Callable[..., Tensor] = attention_rows,
    ) -> Tensor:
        """Attention of the queries at these places under a method, by the oracle or in the model's precision."""
        method = self.method if method is None else method
        query, key, value = text
        asked = (method, row, key.shape[1], call.window)
        if asked not in self._told:
            pairs = places.numpy()[:, None], np.arange(key.shape[1])[None]
            self._told[asked] = told_positions(method, *pairs, window=call.window)
        factors = torch.as_tensor(query_factors(method, places.numpy()), device=query.device)
        if factors.gt(1).any():
            query = (query.double() * factors[:, None]).to(torch.float64 if attend is attention_rows else query.dtype)
        options: dict[str, Any] = {"scale": call.scale, "softcap": call.softcap, "sinks": call.sinks}
        return attend(query, key, value, self._told[asked], turn=call.rotation.turner, **options)


def _distance(output: Tensor, expected: Tensor) -> Tensor:
    """``[heads, rows]``: the largest error of each head in each row."""
    return (output.to(expected) - expected).abs().amax(-1)
