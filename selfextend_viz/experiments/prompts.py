"""Pass-key prompts: a needle at an exact depth of a prompt of an exact length, both counted in tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from selfextend_viz.experiments.filler import VOCABULARY, filler_tokens
from selfextend_viz.experiments.layout import NOT_STATED, Layout, Piece
from selfextend_viz.experiments.tasks import (
    FILLER_OF,
    INTRODUCTION,
    NAMES,
    PHRASINGS,
    TASKS,
    Content,
    Document,
    Phrasing,
    content_of,
    document,
    named,
    ruler,
)
from selfextend_viz.experiments.tokens import chat_frame, common_prefix, continued, encode, start_tokens
from selfextend_viz.positions import whole_number

__all__ = [
    "NAMES",
    "PHRASINGS",
    "TASKS",
    "Document",
    "Phrasing",
    "Prompt",
    "document",
    "named",
    "passkey_prompt",
    "ruler",
]

TOKENS_PER_DISTRACTOR = 256


@dataclass(frozen=True)
class Prompt:
    """A prompt and the answer that should follow it.

    Attributes
    ----------
    ids
        The prompt's tokens, question and first words of the answer included; exactly ``length`` of them.
    answer_ids
        Tokens of the answer as they come after the prompt, a leading space included.
    needle
        First token of the answer's first statement and the one after its last; ``(0, 0)`` where it is not stated.
    text
        The prompt as text.
    depth
        Share of the filler that stands before the needle.
    answer_start
        How many of the answer's tokens come before its first character: 1 where a space is a token of its own.
    """

    ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    needle: tuple[int, int]
    text: str
    question: str
    answer: str
    task: str
    depth: float
    length: int
    answer_start: int = 0

    @property
    def read_ids(self) -> tuple[int, ...]:
        """What a teacher-forced model reads: the prompt and the answer but for its last token."""
        return self.ids + self.answer_ids[:-1]

    @property
    def answer_rows(self) -> tuple[int, ...]:
        """Positions in `read_ids` of the queries that foretell the answer's characters."""
        return tuple(range(self.length - 1 + self.answer_start, self.length - 1 + len(self.answer_ids)))


def passkey_prompt(
    tokenizer: Any,
    *,
    task: str | Document = "paper",
    length: int,
    depth: float,
    digits: int = 5,
    seed: int = 0,
    key: str | None = None,
    filler: str | Sequence[str] | None = None,
    phrasing: str | Phrasing = "paper",
    introduction: bool = False,
    chat_template: bool = True,
    needle: bool = True,
    distractors: int | None = None,
    vocabulary: int = VOCABULARY,
) -> Prompt:
    """One trial of a task; equal arguments give equal prompts.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer.
    task
        One of `TASKS`, ``"named:k"``, ``"ruler:k:q"``, ``"order:first"`` or ``document(text, question, answer)``;
        `named` and `ruler` write the two with numbers. ``order`` states two contradicting keys and counts the later
        one as the answer, ``order:first`` the first one.
    length
        Tokens of the whole prompt, without the answer.
    depth
        0 puts the needle at the very start (after a chat template's opening and the introduction), 1 right before
        the question. Filler is cut between tokens, the needle never. A document longer than the prompt is cut
        so that the answer stands at this depth.
    digits
        Digits of the key; `key` gives the key itself.
    filler
        ``"grass"``, ``"natural"``, ``"words"``, or a list of texts to take natural filler (or the words of the
        task ``words``) from. Left out, grass for ``paper`` and ``order``, else text the demo model never read.
    phrasing
        A key of `PHRASINGS`, or a `Phrasing`.
    introduction
        Begin with the paper's introduction, some 35 tokens or 150 bytes: too long for a byte-level model.
    chat_template
        Apply the tokenizer's chat template, where it has one.
    needle
        Whether the prompt states what it asks for; without, filler (or, of a document, natural text) stands there.
    distractors
        Other numbers in the task ``distractor``; one for every 256 tokens if left out.
    vocabulary
        Number of different words in the filler ``words``.

    Raises
    ------
    ValueError
        If a number is out of range, a name is unknown, or the parts that cannot be cut are longer than the
        prompt; the message says how many tokens they need.
    """
    length, digits = whole_number("length", length), whole_number("digits", digits)
    if not 0 <= depth <= 1:
        raise ValueError(f"depth is {depth}, but must be from 0 (start) to 1 (right before the question)")
    if isinstance(phrasing, str) and phrasing not in PHRASINGS:
        raise ValueError(f"unknown phrasing {phrasing!r}; choose one of {', '.join(PHRASINGS)}, or give a Phrasing")
    wording = PHRASINGS[phrasing] if isinstance(phrasing, str) else phrasing
    name = str(task).removesuffix(":first")  # either question about two keys is asked of the same prompt
    rng = Random(f"{name} {float(depth)} {seed}")
    others = max(1, length // TOKENS_PER_DISTRACTOR) if distractors is None else distractors
    content = content_of(task, rng=rng, digits=digits, phrasing=wording, others=others, key=key)
    content = content if needle else replace(content, statement="", follow="")
    frame = _frame(tokenizer, content, wording.joiner, introduction=introduction, chat_template=chat_template)
    kind, texts = _filler_of(name, filler)
    rng = Random(f"{name} {float(depth)} {seed} {length}")  # other filler at other lengths, but the same key
    take = filler_tokens(tokenizer, kind, rng=rng, texts=texts, vocabulary=vocabulary)
    layout = Layout(tokenizer, take, rng, joiner=wording.joiner, at_start=not introduction, fixed=frame.fixed)
    body = layout.body(content, length - frame.fixed, depth, document=isinstance(task, Document))
    return _assembled(tokenizer, frame, body, content, task=str(task), depth=depth)


@dataclass(frozen=True)
class _Frame:
    """Tokens before the body, after it, and of the answer."""

    head: tuple[int, ...]
    tail: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def fixed(self) -> int:
        return len(self.head) + len(self.tail)


def _filler_of(task: str, filler: str | Sequence[str] | None) -> tuple[str, Sequence[str] | None]:
    """Kind of filler, and the texts it is taken from if they are the caller's own."""
    if isinstance(filler, str):
        return filler, None
    kind = FILLER_OF.get(task.partition(":")[0], "natural")
    return (kind, None) if filler is None else ("words" if kind == "words" else "natural", filler)


def _assembled(tokenizer: Any, frame: _Frame, body: Piece, content: Content, *, task: str, depth: float) -> Prompt:
    ids = (*frame.head, *body.ids, *frame.tail)
    needle = NOT_STATED
    if body.answer != NOT_STATED:
        needle = (body.answer[0] + len(frame.head), body.answer[1] + len(frame.head))
    return Prompt(
        ids=ids,
        answer_ids=frame.answer,
        needle=needle,
        text=tokenizer.decode(list(ids)),
        question=content.question,
        answer=content.answer,
        task=task,
        depth=depth,
        length=len(ids),
        answer_start=0 if tokenizer.decode([frame.answer[0]]).strip() else 1,
    )


def _frame(tokenizer: Any, content: Content, joiner: str, *, introduction: bool, chat_template: bool) -> _Frame:
    chat = chat_frame(tokenizer) if chat_template else None
    opening, closing = chat or ("", " ")
    head = encode(tokenizer, opening) if chat else start_tokens(tokenizer)
    if introduction:
        head += encode(tokenizer, INTRODUCTION)
    tail_text = joiner + content.question + closing + content.answer_start
    tail = continued(tokenizer, tail_text)
    whole = continued(tokenizer, f"{tail_text} {content.answer}")
    kept = common_prefix(tail, whole)  # shorter than the tail where its last token merges with the answer's first
    return _Frame(tuple(head), tuple(whole[:kept]), tuple(whole[kept:]))
