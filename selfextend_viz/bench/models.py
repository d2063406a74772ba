"""What a generated token and the first one cost in a whole model, stock beside the same model under Self-Extend."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

from selfextend_viz.bench.plan import ModelShape
from selfextend_viz.bench.rounds import Measured, in_turns
from selfextend_viz.bench.rows import DECODE, FIRST_TOKEN, STOCK, BenchRow, settings_of
from selfextend_viz.checkpoints import random_llama
from selfextend_viz.patch import context_length, describe, extended
from selfextend_viz.positions import suggest

__all__ = ["Decoder", "built", "decode_rows", "first_token_rows", "twin"]

OURS = "auto"


def built(which: ModelShape | str, *, device: str) -> tuple[str, Any]:
    """A name and a model: the demo, or a Llama of random weights."""
    if isinstance(which, ModelShape):
        fields = {name: value for name, value in vars(which).items() if name not in ("name", "dtype")}
        return which.name, random_llama(**fields, device=device, dtype=which.dtype)
    from selfextend_viz.demo import load_demo

    return "demo model", load_demo()[0].to(device)


def twin(model: Any) -> Any:
    """The same model with modules of its own and the same weights, so that one of the two can be lent a method."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in model.parameters()})


class Decoder:
    """A model behind a full cache, which decodes some tokens and takes them back."""

    def __init__(self, model: Any, *, cached: int, tokens: int) -> None:
        device, vocabulary = model.device, model.config.vocab_size
        generator = torch.Generator(device).manual_seed(0)
        ids = torch.randint(vocabulary, (1, cached + tokens), generator=generator, device=device)
        self._model, self._next = model, ids[:, cached:].split(1, dim=1)
        self._cache = model(ids[:, :cached], use_cache=True, logits_to_keep=1).past_key_values

    def __call__(self) -> None:
        """Decode them, one after the other."""
        for token in self._next:
            self._model(token, past_key_values=self._cache, use_cache=True)
        self._cache.crop(-len(self._next))


def decode_rows(
    name: str, model: Any, *, cached: int, tokens: int, threads: int, seconds: float, run: int
) -> list[BenchRow]:
    """Tokens per second behind a cache of some length, stock and under Self-Extend in turns."""

    def ready(which: Any) -> Decoder:
        return Decoder(which, cached=cached, tokens=tokens)

    beside = _Beside(name, model, cached + tokens, threads=threads, seconds=seconds)
    return [
        BenchRow(
            DECODE, length=cached, value=tokens / found.seconds, unit="tokens/s", ratio=1 / found.ratio, run=run, **of
        )
        for found, of in beside.measure(ready)
    ]


def first_token_rows(name: str, model: Any, *, length: int, threads: int, seconds: float, run: int) -> list[BenchRow]:
    """Seconds from a prompt to the logits of the first new token."""
    ids = torch.randint(model.config.vocab_size, (1, length), device=model.device)

    def ready(which: Any) -> Callable[[], object]:
        return lambda: which(ids, use_cache=True, logits_to_keep=1)

    beside = _Beside(name, model, length, threads=threads, seconds=seconds)
    return [
        BenchRow(FIRST_TOKEN, length=length, value=found.seconds, unit="s", ratio=found.ratio, run=run, **of)
        for found, of in beside.measure(ready)
    ]


class _Beside:
    """A stock model and its twin under Self-Extend, timed in turns."""

    def __init__(self, name: str, model: Any, length: int, *, threads: int, seconds: float) -> None:
        self._models = {STOCK: model, OURS: twin(model)}
        self._method = suggest(context_length(model), length)[0]
        self._shape = _shape(name, threads, model)
        self._given: dict[str, Any] = {"baseline": STOCK, "threads": threads, "seconds": seconds}

    def measure(self, ready: Callable[[Any], Callable[[], object]]) -> Iterator[tuple[Measured, dict[str, Any]]]:
        """What was measured of both, and the fields of a row that say whose it is."""
        with extended(self._models[OURS], self._method, implementation=OURS) as lent:
            how = describe(lent)
            runs = {who: ready(model) for who, model in self._models.items()}
            measured = in_turns(runs, **self._given)
        said = {STOCK: "", OURS: f"{how.implementation}: {how.reason}"}
        for who, found in measured.items():
            told = settings_of(None if who == STOCK else self._method)
            whose = {"contestant": who, "shape": self._shape, "rounds": found.rounds, "detail": said[who]}
            yield found, {**whose, **told}


def _shape(name: str, threads: int, model: Any) -> str:
    where = f", {threads} thread{'s' if threads > 1 else ''}" if model.device.type == "cpu" else ""
    return f"{name}, {str(model.dtype).removeprefix('torch.')}{where}"
