"""The texts that a model's attention is looked at on: a prompt, the reader's own tokens, or random ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.work import Subject


class NoTokenizer:
    """Stands where a tokenizer would, for a model that is shown token numbers only."""


class Texts:
    """Gives a text of any length asked for.

    Parameters
    ----------
    subject
        The model, and its tokenizer or `NoTokenizer`.
    ids
        The reader's own tokens, of which the first N are taken.
    seed
        Chooses the key of a prompt, or random tokens.
    """

    def __init__(self, subject: Subject, ids: Any = None, *, seed: int = 0) -> None:
        self._subject, self._seed = subject, seed
        self._ids = None if ids is None else flat_tokens(ids)
        if self._ids is not None and len(self._ids) < 2:
            raise ValueError(f"ids has {len(self._ids)} tokens; attention needs 2 at least")

    @property
    def longest(self) -> int | None:
        """How many tokens there are; ``None`` where as many as wanted can be made."""
        return None if self._ids is None else len(self._ids)

    @property
    def name(self) -> str:
        """What kind of text it is."""
        if self._ids is not None:
            return "your text"
        has_words = not self._subject.loaded or not isinstance(self._subject.load()[1], NoTokenizer)
        return "a pass-key prompt" if has_words else "random tokens"

    def ids(self, length: int) -> Sequence[int]:
        """The tokens of a text of that length.

        Raises
        ------
        ValueError
            If the reader's own text is shorter.
        """
        if self._ids is not None:
            if length > len(self._ids):
                raise ValueError(
                    f"N = {length:,}, but the text given has {len(self._ids):,} tokens; choose a smaller N"
                )
            return self._ids[:length]
        model, tokenizer = self._subject.load()
        if isinstance(tokenizer, NoTokenizer):
            vocabulary = model.get_input_embeddings().weight.shape[0]
            return np.random.default_rng(self._seed).integers(0, vocabulary, length).tolist()
        return self._prompt(tokenizer, length)

    def _prompt(self, tokenizer: Any, length: int) -> Sequence[int]:
        from selfextend_viz.experiments.passkey import INTRODUCTION_FROM
        from selfextend_viz.experiments.prompts import passkey_prompt

        introduction = self._subject.context_length >= INTRODUCTION_FROM
        prompt = passkey_prompt(
            tokenizer, length=length, depth=Question().depth, seed=self._seed, introduction=introduction
        )
        return prompt.ids


def flat_tokens(ids: Any) -> list[int]:
    """Tokens as a plain list, from a list, an array or a tensor on any device, ``[N]`` or ``[1, N]``."""
    return np.asarray(ids.tolist() if hasattr(ids, "tolist") else ids, dtype=np.int64).reshape(-1).tolist()
