"""What the demo model is trained on: copying, then finding numbers by their names in any filler, then text.

The aim is retrieval rather than recitation, so nothing a test uses appears here: subjects are random words and
invented names, fillers are training prose, random words and invented sentences, and the frames around the
numbers are other than the pass-key experiment's. A sample is ``length + 1`` bytes and a loss weight for each of
the ``length`` predictions.
"""

from __future__ import annotations

import random
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from selfextend_viz.demo.corpus import training_prose, training_sources, without_digits

ANSWER_WEIGHT = 1.0
FIRST_DIGIT_WEIGHT = 3.0
CONTEXT_WEIGHT = 0.03
TEXT_WEIGHT = 0.4
HELD_OUT_WORDS = frozenset(
    {"pass", "key", "keys", "passkey", "secret", "code", "password", "grass", "green", "sky", "sun"}
)
"""Words of the tests' own needles and fillers; no training subject or invented sentence uses them."""

STATEMENTS = (
    "{S} is {D}.",
    "{S} is {D}.",
    "{S} is {D}. Keep it in mind.",
    "{S} is {D}. Note it well: {D} is {s}.",
    "{S} is {D}. Do not forget, {D} is {s}.",
    "{S} was {D}.",
    "{S}: {D}.",
    "Keep in mind that {s} is {D}.",
    "Note: {s} is {D}.",
)
QUESTIONS = (
    "{S} is {D}.",
    "Tell me {s}. {S} is {D}.",
    "Which number is {s}? {S} is {D}.",
    "Recall {s} now. {S} is {D}.",
    "Do you know {s}? {S} is {D}.",
    "So, {s} is {D}.",
    "Which one was {s}? {S}: {D}.",
    "{S}? It is {D}.",
)
SUBJECTS = ("the {w} {v} of {n}", "the {w} of {n}", "{n}'s {w}", "the {w} for {n}", "{n}")
LOOKALIKES = (
    "The {w} is {v}.",
    "The {w} was {v}.",
    "The {w} {v} is here.",
    "{n} is {w}.",
    "The {w} of {n} is {v}.",
    "My {w}: {v}.",
)
SYLLABLES = tuple(c + v for c in "bdfgklmnprstvz" for v in "aeiou") + ("sh", "ch", "th", "n", "r", "s", "l")


@dataclass(frozen=True)
class Sample:
    """Bytes of a training sequence and the weight of predicting each from the ones before it."""

    tokens: np.ndarray
    weights: np.ndarray


class Curriculum:
    """Draws samples; the caller's random generator decides everything.

    Parameters
    ----------
    rng
        Source of all randomness, so that a step's batch depends on its seed alone.
    hard
        More filler that repeats itself, sentences that begin as the statements do, and more loose numbers.
    first_digit
        Weight of an answer's first digit; the digits after it follow from the ones before.
    """

    def __init__(self, rng: random.Random, *, hard: bool = False, first_digit: float = ANSWER_WEIGHT) -> None:
        self.rng = rng
        self.hard = hard
        self.first_digit = first_digit
        self.prose, self.sources, self.words = _materials()

    def copying(self, length: int) -> Sample:
        """Random text repeated: weight on the repeats, which only attention can foretell."""
        alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789 "
        period = self.rng.randint(8, length // 2)
        segment = np.frombuffer(bytes(self.rng.choices(alphabet, k=period)), np.uint8)
        tokens = np.resize(segment, length + 1)
        weights = np.full(length, CONTEXT_WEIGHT, np.float32)
        weights[period:] = ANSWER_WEIGHT
        return Sample(tokens, weights)

    def text(self, length: int) -> Sample:
        """A stretch of documentation or source, every byte weighing the same."""
        pool = self.prose if self.rng.random() < 0.6 else self.sources
        return Sample(pool.cut(self.rng, length + 1), np.full(length, TEXT_WEIGHT, np.float32))

    def mixture(self, length: int) -> Sample:
        """One sample of the main stage: half of them recall, one or two prompts to a sequence."""
        kind = self.rng.random()
        if kind < 0.42:
            return self.recall(length)
        if kind < 0.52:
            first = self.rng.randint(96, length - 96)
            return _joined(self.recall(first - 1), self.recall(length - first))
        return self.copying(length) if kind < 0.62 else self.text(length)

    def recall(self, length: int, most_keys: int = 5) -> Sample:
        """Statements of numbers scattered in filler, then questions about them in any order."""
        rng = self.rng
        count = rng.choices(range(1, most_keys + 1), weights=range(most_keys + 1, 1, -1))[0]
        facts = list(zip(self._subjects(count), self._numbers(count), strict=True))
        while True:
            asked = rng.sample(facts, rng.randint(1, len(facts)))
            frame, question = rng.choice(STATEMENTS), rng.choice(QUESTIONS)
            stated = [_filled(frame, subject, number) for subject, number in facts]
            if rng.random() < 0.3:
                stated += [_filled(rng.choice(STATEMENTS), subject, number) for subject, number in facts]
            ending = [_marked(question, subject, number) for subject, number in asked]
            room = length - sum(len(part) + 1 for part in stated) - sum(len(part) + 1 for part, _ in ending)
            if room >= 0:
                return self._compose(stated, ending, length, room)
            facts = facts[:-1] if len(facts) > 1 else list(zip(self._subjects(1), self._numbers(1), strict=True))

    def _compose(self, stated: list[bytes], ending: list[tuple[bytes, slice]], length: int, room: int) -> Sample:
        rng = self.rng
        rng.shuffle(stated)
        filler = self._filler(room)
        cuts = sorted(rng.randint(0, room) for _ in stated)
        joiner = b"\n" if rng.random() < 0.5 else b" "
        parts = []
        if rng.random() < 0.6:
            cuts = [_word_start(filler, cut) for cut in cuts]
        for start, stop, statement in zip([0, *cuts[:-1]], cuts, stated, strict=True):
            parts += [filler[start:stop], statement + joiner]
        parts.append(filler[cuts[-1] :] + joiner)
        context = b"".join(parts)
        weights = np.full(length + 1, CONTEXT_WEIGHT, np.float32)
        for part, answer in ending:
            weights[len(context) + answer.start : len(context) + answer.stop] = ANSWER_WEIGHT
            weights[len(context) + answer.start + 1] = self.first_digit
            context += part + joiner
        return Sample(np.frombuffer(context, np.uint8)[: length + 1], weights[1:])

    def _numbers(self, count: int) -> list[str]:
        digits = 5 if self.rng.random() < 0.5 else self.rng.randint(3, 8)
        return ["".join(self.rng.choices("0123456789", k=digits)) for _ in range(count)]

    def _subjects(self, count: int) -> list[str]:
        """Names of `count` numbers: alike but for one name, or each its own phrase."""
        rng = self.rng
        if count == 1 or rng.random() < 0.35:
            return [self._subject(rng.choice(SUBJECTS)) for _ in range(count)]
        frame = rng.choice(SUBJECTS).replace("{w}", self._word()).replace("{v}", self._word())
        return [self._subject(frame) for _ in range(count)]

    def _subject(self, frame: str) -> str:
        if self.rng.random() < 0.25 and "{w}" in frame:
            frame = self.rng.choice(("the {w} {v}", "the {w}", "my {w} {v}", "our {w}"))
        return frame.format(w=self._word(), v=self._word(), n=self._name())

    def _word(self) -> str:
        return self.rng.choice(self.words)

    def _name(self) -> str:
        if self.rng.random() < 0.3:
            return self._word().capitalize()
        return "".join(self.rng.choices(SYLLABLES, k=self.rng.randint(2, 3))).capitalize()

    def _filler(self, length: int) -> bytes:
        """Exactly `length` bytes of prose, random words or a few sentences over and over, maybe with numbers."""
        rng = self.rng
        kind = rng.random()
        if kind < (0.35 if self.hard else 0.45):
            filler = self._prose_filler(length)
        elif kind < (0.5 if self.hard else 0.7):
            filler = " ".join(self._word() for _ in range(length // 4 + 2)).encode()
        else:
            sentences = [self._sentence() for _ in range(rng.randint(2, 5))]
            filler = " ".join(sentences * (length // 20 + 1)).encode()
        filler = filler[:length]
        if rng.random() < (0.5 if self.hard else 0.4):
            filler = self._with_numbers(filler)
        return filler[:length].ljust(length, b" ")

    def _prose_filler(self, length: int) -> bytes:
        """Digit-free prose, half of the time with its lines as they are, from the start of a word."""
        text = self.prose.cut(self.rng, 2 * length + 80).tobytes().decode("utf-8", "ignore")
        text = re.sub(r"\d+", "", text) if self.rng.random() < 0.5 else without_digits(text)
        return text[text.find(" ") + 1 :].encode()[:length]

    def _sentence(self) -> str:
        if self.hard and self.rng.random() < 0.6:
            return self.rng.choice(LOOKALIKES).format(w=self._word(), v=self._word(), n=self._name())
        words = " ".join(self._word() for _ in range(self.rng.randint(2, 5)))
        return f"{words.capitalize()}."

    def _with_numbers(self, filler: bytes) -> bytes:
        words = filler.split(b" ")
        for _ in range(self.rng.randint(1, 12 if self.hard else 8)):
            number = "".join(self.rng.choices("0123456789", k=self.rng.randint(1, 8)))
            words.insert(self.rng.randint(0, len(words)), number.encode())
        return b" ".join(words)


class Pool:
    """Texts from which stretches are cut, each byte as likely as any other."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = [np.frombuffer(text.encode("utf-8", "ignore"), np.uint8) for text in texts]
        self.ends = list(accumulate(len(text) for text in self.texts))

    def cut(self, rng: random.Random, length: int) -> np.ndarray:
        """`length` bytes of one text, the text repeated where it is too short."""
        text = self.texts[bisect_right(self.ends, rng.randrange(self.ends[-1]))]
        start = rng.randint(0, max(0, len(text) - length))
        return np.resize(text[start : start + length], length)


def _joined(first: Sample, second: Sample) -> Sample:
    """Two samples as one sequence; the second's first byte is foretold with the context's weight."""
    between = np.full(1, CONTEXT_WEIGHT, np.float32)
    weights = np.concatenate([first.weights, between, second.weights])
    return Sample(np.concatenate([first.tokens, second.tokens]), weights)


def _filled(frame: str, subject: str, number: str) -> bytes:
    return frame.format(S=subject[0].upper() + subject[1:], s=subject, D=number).encode()


def _marked(frame: str, subject: str, number: str) -> tuple[bytes, slice]:
    """The question and answer, and where the answer stands: the space, the digits and the mark behind them."""
    head, tail = frame.split("{D}")
    text = _filled(head, subject, number)
    return text + (number + tail).encode(), slice(len(text) - 1, len(text) + len(number) + 1)


def _word_start(filler: bytes, cut: int) -> int:
    space = filler.rfind(b" ", 0, cut)
    return space + 1 if space >= 0 else 0


_CACHE: list[tuple[Pool, Pool, list[str]]] = []


def _materials() -> tuple[Pool, Pool, list[str]]:
    if not _CACHE:
        prose = training_prose()
        counts: dict[str, int] = {}
        for text in prose:
            for word in re.findall(r"\b[a-z]{3,9}\b", text):
                counts[word] = counts.get(word, 0) + 1
        words = sorted(word for word, count in counts.items() if count >= 5 and word not in HELD_OUT_WORDS)
        _CACHE.append((Pool(prose), Pool(training_sources()), words))
    return _CACHE[0]
