"""Lay needle, other sentences and filler out on an exact number of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from selfextend_viz.experiments.filler import Take
from selfextend_viz.experiments.tasks import Content
from selfextend_viz.experiments.tokens import continued, span_of

NOT_STATED = (0, 0)


@dataclass(frozen=True)
class Piece:
    """Tokens, and where among them the answer is stated."""

    ids: list[int]
    answer: tuple[int, int] = NOT_STATED

    def part(self, start: int, stop: int) -> Piece:
        """The tokens ``start .. stop - 1``, the answer's span moved along."""
        ids, shift = self.ids[start:stop], lambda place: min(max(place - start, 0), stop - start)
        return Piece(ids, NOT_STATED if self.answer == NOT_STATED else (shift(self.answer[0]), shift(self.answer[1])))


@dataclass(frozen=True)
class Layout:
    """Fills the room between a prompt's head and its question.

    Attributes
    ----------
    tokenizer, take, rng
        Give the tokens of sentences, those of the filler, and the places of scattered sentences.
    joiner
        Stands before every sentence, and before filler that follows one.
    at_start
        Whether nothing stands before the body, so that its first piece needs no joiner.
    fixed
        Tokens of head and question, for the message that a prompt is too short.
    """

    tokenizer: Any
    take: Take
    rng: Random
    joiner: str
    at_start: bool
    fixed: int

    def body(self, content: Content, room: int, depth: float, *, document: bool = False) -> Piece:
        """Exactly `room` tokens with `depth` of the filler before the needle.

        A document longer than the room is cut to it, with the answer at `depth`.

        Raises
        ------
        ValueError
            If the sentences need more room.
        """
        needle, follow = (self._sentence(text, content.stated) for text in (content.statement, content.follow))
        if document and len(needle.ids) > room:
            return self._window(needle, room, depth)
        others = [continued(self.tokenizer, self.joiner + text + self.joiner) for text in content.others]
        depth = depth if needle.ids else 1.0
        halved = bool(follow.ids)
        free = room - len(needle.ids) - len(follow.ids)
        self._check(free, room, [len(ids) for ids in others], depth, halved)
        if self.at_start and gap_sizes(free, depth, halved)[0] == 0:
            needle, depth = self._without_joiner(needle), 0.0
            free = room - len(needle.ids) - len(follow.ids)
        return self._filled(needle, follow, others, gap_sizes(free, depth, halved))

    def _sentence(self, text: str, answer: str) -> Piece:
        if not text:
            return Piece([])
        ids, place = continued(self.tokenizer, self.joiner + text), text.find(answer)
        if place < 0:
            return Piece(ids)
        before = continued(self.tokenizer, self.joiner + text[:place])
        through = continued(self.tokenizer, self.joiner + text[: place + len(answer)])
        return Piece(ids, span_of(ids, before, through))

    def _without_joiner(self, piece: Piece) -> Piece:
        joiner = continued(self.tokenizer, self.joiner)
        return piece.part(len(joiner), len(piece.ids)) if piece.ids[: len(joiner)] == joiner else piece

    def _window(self, document: Piece, room: int, depth: float) -> Piece:
        start, stop = document.answer
        if document.answer == NOT_STATED or stop - start > room:
            needed = self.fixed + (stop - start or len(document.ids))
            raise ValueError(
                f"the document needs {needed} tokens, but the length is {self.fixed + room}; it can be cut only "
                "where its text has the answer word for word, and then to no less than the answer"
            )
        first = start - round(depth * (room - (stop - start)))
        first = min(max(first, 0), len(document.ids) - room)
        return document.part(first, first + room)

    def _check(self, free: int, room: int, lengths: Sequence[int], depth: float, halved: bool) -> None:
        if free >= 0 and pack(lengths, gap_sizes(free, depth, halved)) is not None:
            return
        enough = next(n for n in count(max(free, 0)) if pack(lengths, gap_sizes(n, depth, halved)) is not None)
        length = self.fixed + room
        needed = length - free + enough
        raise ValueError(
            f"the parts of this prompt that cannot be cut need {needed} tokens, but its length is {length}; "
            f"use a length of at least {needed}, or shorter sentences"
        )

    def _filled(self, needle: Piece, follow: Piece, others: list[list[int]], sizes: tuple[int, int, int]) -> Piece:
        lengths = [len(ids) for ids in others]
        places = pack(lengths, sizes, self.rng) or pack(lengths, sizes) or []
        gaps = [
            self._gap(size, [ids for ids, place in zip(others, places, strict=True) if place == gap], first=gap == 0)
            for gap, size in enumerate(sizes)
        ]
        pieces = (Piece(gaps[0]), needle, Piece(gaps[1]), follow, Piece(gaps[2]))
        ids: list[int] = []
        answer = NOT_STATED
        for piece in pieces:
            if answer == NOT_STATED != piece.answer:
                answer = (len(ids) + piece.answer[0], len(ids) + piece.answer[1])
            ids += piece.ids
        return Piece(ids, answer)

    def _gap(self, size: int, sentences: list[list[int]], *, first: bool) -> list[int]:
        """Filler with sentences at random places in it, `size` tokens in all."""
        filler = size - sum(map(len, sentences))
        cuts = sorted(self.rng.randint(0, filler) for _ in sentences)
        ids: list[int] = []
        for start, stop, sentence in zip([0, *cuts], [*cuts, filler], [*sentences, []], strict=True):
            ids += self._stretch(stop - start, joined=start == 0 and not (first and self.at_start)) + sentence
        return ids

    def _stretch(self, size: int, *, joined: bool) -> list[int]:
        joiner = continued(self.tokenizer, self.joiner)[:size] if joined else []
        return joiner + self.take(size - len(joiner))


def gap_sizes(free: int, depth: float, halved: bool) -> tuple[int, int, int]:
    """Tokens of filler before the needle, after it, and after the statement that follows halfway (if `halved`)."""
    before = int(depth * free + 0.5)
    between = (free - before) // 2 if halved else free - before
    return before, between, free - before - between


def pack(lengths: Sequence[int], sizes: Sequence[int], rng: Random | None = None) -> list[int] | None:
    """Which gap each sentence goes to: the roomiest or, with `rng`, a random one; None if one does not fit."""
    room, places = list(sizes), []
    for length in lengths:
        fits = [gap for gap, size in enumerate(room) if size >= length]
        if not fits:
            return None
        weights = [room[gap] for gap in fits]
        place = rng.choices(fits, weights)[0] if rng else max(fits, key=room.__getitem__)
        room[place] -= length
        places.append(place)
    return places
