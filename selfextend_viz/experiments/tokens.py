"""Where prompts meet a tokenizer: pieces of text as the tokens they are inside a longer text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ANCHOR = "x"
"""A letter that stands before a piece while it is tokenized, so that no start-of-text rule touches the piece."""
CONTENT = "CONTENTOFTHEMESSAGE"
"""Stands for the user's message while a chat template is rendered."""


def encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of `text` alone, without special tokens added."""
    return list(tokenizer.encode(text, add_special_tokens=False, verbose=False)) if text else []


def continued(tokenizer: Any, text: str) -> list[int]:
    """Tokens of `text` as it reads after other text.

    SentencePiece tokenizers put a space before whatever they are given first; tokenized after a letter and
    without it, the piece is what it is in the middle of a document. A piece that starts with a line break never
    merges with that letter; where a tokenizer merges them all the same, the piece is tokenized alone.
    """
    anchor, whole = encode(tokenizer, ANCHOR), encode(tokenizer, ANCHOR + text)
    if whole[: len(anchor)] == anchor:
        return whole[len(anchor) :]
    return encode(tokenizer, text)


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading tokens that two sequences share."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count


def span_of(ids: Sequence[int], before: Sequence[int], through: Sequence[int]) -> tuple[int, int]:
    """Tokens of `ids` that hold what `through` has and `before` has not.

    Parameters
    ----------
    ids
        Tokens of the whole piece.
    before, through
        Tokens of the piece up to the part sought, and up to its end. A token that the part shares with its
        surroundings counts as part of it.
    """
    stop = common_prefix(ids, through)
    return common_prefix(ids, before), min(stop + (stop < len(through)), len(ids))


def start_tokens(tokenizer: Any) -> list[int]:
    """Special tokens that the tokenizer puts before a text, such as a beginning-of-text token."""
    whole, bare = list(tokenizer.encode(ANCHOR)), encode(tokenizer, ANCHOR)
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return whole[:start]
    return []


def chat_frame(tokenizer: Any) -> tuple[str, str] | None:
    """What the tokenizer's chat template writes before and after a user's message, or None without a template.

    Raises
    ------
    ValueError
        If the template does not print the message exactly once.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    messages = [{"role": "user", "content": CONTENT}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if rendered.count(CONTENT) != 1:
        raise ValueError(
            f"the tokenizer's chat template prints the user's message {rendered.count(CONTENT)} times; "
            "it must print it once, so pass chat_template=False"
        )
    opening, closing = rendered.split(CONTENT)
    return opening, closing
