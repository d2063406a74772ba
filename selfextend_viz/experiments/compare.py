"""Methods beside their controls: pass keys, perplexity, and attention outside the trained range."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments.comparison_rows import CONTROLS, CompareRow, MassRow
from selfextend_viz.experiments.conditions import Wanted, listed, resolve_all
from selfextend_viz.experiments.mass import mass_rows
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.perplexity import perplexity
from selfextend_viz.experiments.progress import counted
from selfextend_viz.experiments.prompts import Document
from selfextend_viz.experiments.rows import NO_NEEDLE
from selfextend_viz.experiments.tokens import encode
from selfextend_viz.patch import context_length
from selfextend_viz.positions import Method, whole_number

__all__ = ["attention_outside", "compare"]

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEXTS, QUERIES = 2, 32


def compare(
    model: Any,
    tokenizer: Any,
    methods: Iterable[Wanted] | Mapping[str, Method],
    *,
    lengths: Iterable[int] | None = None,
    depths: Iterable[float] = DEPTHS,
    context_lengths: Iterable[int] | None = None,
    texts: Iterable[str] | None = None,
    trials: int = 4,
    targets: int = 1920,
    task: str | Document = "natural",
    seed: int = 0,
    implementation: str = "auto",
    progress: bool = False,
) -> Iterator[CompareRow]:
    """Measure methods beside stock, truncate and blindfold, all on the same prompts and the same target tokens.

    The controls are added here: no method is measured without them. ``Comparison.of(rows, context_length=L)`` makes
    the table. At 2 L a needle in the last L tokens is one that a window finds and the stock model does not; one before
    them is found only by a method that uses far text.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    methods
        Methods, or a mapping of names to them, such as ``methods_for(model, 8 * L)``.
    lengths
        Tokens of the prompts, and of the texts for attention outside the trained range; 2 L and 4 L if left out.
    depths
        Where in the prompts the needle stands.
    context_lengths
        Tokens of context for perplexity; L and `lengths` if left out. Each row's difference is the paired one to the
        truncated stock, which sees the last L tokens.
    texts
        Held-out texts, eight or more that are as long as the longest context; text the demo model never read if left
        out.
    trials
        Prompts for each length and depth.
    targets
        How many tokens perplexity scores.
    task
        As for `passkey`.
    seed
        Chooses prompts and queries.
    implementation
        Attention implementation for methods. Methods whose bands are no intervals of distances run eager.
    progress
        Show bars with the remaining time.

    Yields
    ------
    PasskeyRow
        For each length and depth, one for each condition, ``"no_needle"`` among them.
    PerplexityRow
        For each context length, one for each condition.
    MassRow
        For each length, one for each condition.

    Raises
    ------
    TypeError, ValueError
        At once, if an argument is out of range or unknown, there is no method, or one is named twice.
    """
    trained = context_length(model)
    conditions = [*CONTROLS, *_methods(methods)]
    read = [2 * trained, 4 * trained] if lengths is None else listed("lengths", lengths)
    contexts = (
        list(dict.fromkeys([trained, *read])) if context_lengths is None else listed("context_lengths", context_lengths)
    )
    documents = held_out_texts() if texts is None else listed("texts", texts)
    shared: dict[str, Any] = {"implementation": implementation, "progress": progress}
    return chain(
        passkey(
            model,
            tokenizer,
            lengths=read,
            depths=depths,
            conditions=[*conditions, NO_NEEDLE],
            task=task,
            trials=trials,
            seed=seed,
            **shared,
        ),
        perplexity(
            model, tokenizer, documents, context_lengths=contexts, conditions=conditions, targets=targets, **shared
        ),
        attention_outside(model, tokenizer, documents, lengths=read, conditions=conditions, seed=seed, **shared),
    )


def _methods(methods: Iterable[Wanted] | Mapping[str, Method]) -> list[Wanted]:
    if isinstance(methods, Mapping) and not all(isinstance(name, str) for name in methods):
        raise TypeError(f"methods must be a list, not {methods!r} alone; put it in brackets")
    found = listed("methods", list(methods.values()) if isinstance(methods, Mapping) else methods)
    added = next((name for name in found if name is None or name in (*CONTROLS, NO_NEEDLE)), "")
    if added != "":
        raise ValueError(f"{added!r} is a control, which compare adds by itself; give methods")
    return found


def attention_outside(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    *,
    lengths: Iterable[int],
    conditions: Sequence[Wanted] = CONTROLS,
    queries: int = QUERIES,
    seed: int = 0,
    implementation: str = "auto",
    progress: bool = False,
) -> Iterator[MassRow]:
    """Softmax mass on told distances that no training has taught, beside that of uniform attention.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    texts
        Texts, of which the first two that are long enough are read.
    lengths
        Tokens that are read, N, two or more.
    conditions
        As for `passkey`, without ``"no_needle"``.
    queries
        Rows of attention sampled from each text.
    seed
        Chooses the rows.
    implementation
        Attention implementation of the forwards.
    progress
        Show a bar with the remaining time.

    Yields
    ------
    MassRow
        For each length, one for each condition.

    Raises
    ------
    TypeError, ValueError
        At once, if an argument is out of range, or no text is long enough.
    """
    read = [whole_number("length", length, at_least=2) for length in listed("lengths", lengths)]
    resolved = resolve_all(conditions, model)
    for condition in resolved:
        condition.check(model, implementation)
    rows = partial(
        mass_rows,
        model,
        _long_enough(tokenizer, listed("texts", texts), max(read)),
        resolved,
        lengths=read,
        queries=whole_number("queries", queries),
        seed=whole_number("seed", seed, at_least=0),
        implementation=implementation,
    )
    work = TEXTS * len(resolved) * sum(read)
    return counted(lambda advance: rows(advance=advance), label="Attention outside", work=work, shown=progress)


def _long_enough(tokenizer: Any, texts: Sequence[str], longest: int) -> list[Tensor]:
    """Tokens of the first texts that have as many as the longest length."""
    sizes, found = [0], []
    for text in texts:
        ids = encode(tokenizer, text)
        sizes.append(len(ids))
        if len(ids) >= longest:
            found.append(torch.tensor(ids, dtype=torch.long))
        if len(found) == TEXTS:
            break
    if not found:
        raise ValueError(f"the longest text has {max(sizes)} tokens, but {longest} are to be read; give longer texts")
    return found
