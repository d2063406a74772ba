"""The text a needle hides in: the paper's grass, natural text, or random words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any

from selfextend_viz.demo.corpus import held_out_texts, without_digits
from selfextend_viz.experiments.tokens import encode

GRASS = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
"""The filler of the pass-key task (Mohtashami and Jaggi 2023), which the Self-Extend paper uses."""
FILLERS = ("grass", "natural", "words")
VOCABULARY = 1000
"""Number of lowercase words that the filler ``words`` draws from."""

Take = Callable[[int], list[int]]
"""Gives the next `count` tokens of a filler."""


def filler_tokens(
    tokenizer: Any, kind: str, *, rng: Random, texts: Sequence[str] | None = None, vocabulary: int = VOCABULARY
) -> Take:
    """A source of filler tokens.

    Parameters
    ----------
    tokenizer
        Gives the tokens.
    kind
        ``"grass"`` (every call starts with the first sentence again, as in the paper), ``"natural"`` (the texts as
        one line, digits removed) or ``"words"`` (lowercase words of the texts in random order).
    rng
        Chooses where a natural text starts, and the words.
    texts
        What ``"natural"`` and ``"words"`` are taken from; the demo model's held-out texts if left out.
    vocabulary
        Number of different words for ``"words"``.

    Raises
    ------
    ValueError
        If `kind` is not known, or the texts have no words.
    """
    if kind not in FILLERS:
        raise ValueError(f"unknown filler {kind!r}; choose one of {', '.join(FILLERS)}, or give a list of texts")
    if kind == "grass":
        return lambda count: grow(tokenizer, lambda characters: (GRASS + " ") * (characters // len(GRASS) + 1), count)
    text = _without_digits(_held_out() if texts is None else tuple(texts))
    if not text:
        raise ValueError("the filler's texts hold 0 characters besides digits; give at least one text with words in it")
    if kind == "words":
        return _stream(tokenizer, _random_words(text, rng, vocabulary))
    return _stream(tokenizer, _natural(text, rng))


def grow(tokenizer: Any, text: Callable[[int], str], count: int) -> list[int]:
    """The first `count` tokens of `text`, a function that gives at least as many characters as asked for."""
    characters = 6 * count + 64
    while count:
        ids = encode(tokenizer, text(characters))
        if len(ids) >= count:
            return ids[:count]
        characters *= 2
    return []


def _stream(tokenizer: Any, text: Callable[[int], str]) -> Take:
    position = 0

    def take(count: int) -> list[int]:
        nonlocal position
        position += count
        return grow(tokenizer, text, position)[position - count :]

    return take


def _natural(text: str, rng: Random) -> Callable[[int], str]:
    start = text.find(" ", rng.randrange(len(text))) + 1

    def natural(characters: int) -> str:
        return (text[start:] + f" {text}" * (characters // len(text) + 1))[:characters]

    return natural


def _random_words(text: str, rng: Random, vocabulary: int) -> Callable[[int], str]:
    known = _lowercase_words(text)
    if not known:
        raise ValueError("the filler's texts hold 0 lowercase words; give texts with words in them")
    chosen = rng.sample(known, min(vocabulary, len(known)))
    words: list[str] = []

    def random_words(characters: int) -> str:
        while 3 * len(words) < characters:  # a word and its space are three characters at least
            words.append(rng.choice(chosen))
        return " ".join(words)

    return random_words


@lru_cache(maxsize=4)
def _lowercase_words(text: str) -> list[str]:
    return sorted(set(re.findall(r"\b[a-z]{2,}\b", text)))


@lru_cache(maxsize=4)
def _without_digits(texts: tuple[str, ...]) -> str:
    return without_digits("\n".join(texts))


@lru_cache(maxsize=1)
def _held_out() -> tuple[str, ...]:
    return tuple(held_out_texts())
