"""What each pass-key task says: its statements, its question and its answer, in words and without a tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from selfextend_viz.positions import whole_number

INTRODUCTION = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there."
)
NAMES = ("Alice", "Oscar", "Ursula", "Edward", "Ingrid", "Walter", "Ophelia", "Harold", "Eugene", "Wilhelmina")
QUALITIES = (
    *("amber", "brisk", "calm", "dusty", "eager", "frosty", "gentle", "hollow", "ivory", "jolly"),
    *("keen", "lofty", "mellow", "nimble", "olive", "proud", "quiet", "rustic", "silent", "tidy"),
)
CREATURES = (
    *("badger", "crane", "dolphin", "egret", "falcon", "gecko", "heron", "ibex", "jackal", "koala"),
    *("lemur", "marten", "newt", "otter", "puffin", "quail", "raven", "stork", "tapir", "vole"),
)
MOST_RULER_NEEDLES = 64
NUMBERED_THINGS = ("order", "invoice", "locker", "ticket", "parcel", "account", "room", "flight")


@dataclass(frozen=True)
class Phrasing:
    """How a task is worded; ``{subject}`` and ``{key}`` are filled in.

    Attributes
    ----------
    subject
        What the key is called.
    statement
        The needle. The first ``{key}`` in it is the one whose tokens are reported.
    question, answer_start
        The question, and the words up to the key that the model goes on from.
    joiner
        Stands between filler, needle and question.
    """

    subject: str = "the pass key"
    statement: str = "{Subject} is {key}. Remember it. {key} is {subject}."
    question: str = "What is {subject}?"
    answer_start: str = "{Subject} is"
    joiner: str = "\n"

    def fill(self, text: str, subject: str, key: str = "") -> str:
        """One of the sentences, with `subject` and `key` in it."""
        return text.format(subject=subject, Subject=subject[:1].upper() + subject[1:], key=key)


PHRASINGS = {
    "paper": Phrasing(),
    "once": Phrasing(statement="{Subject} is {key}."),
    "secret": Phrasing(
        subject="the secret code",
        statement="{Subject} is {key}. Do not lose it.",
        question="Which one is {subject}?",
    ),
}


RULER = Phrasing(subject="the magic number", statement="{Subject} is {key}.")
"""The task ``ruler`` always says it in these words, with the word that is the key behind "for"."""


@dataclass(frozen=True)
class Content:
    """What a prompt says.

    Attributes
    ----------
    statement
        The needle; empty in the control.
    follow
        A second statement that stands halfway between the needle and the question; mostly empty.
    others
        Sentences scattered in the filler.
    question, answer_start, answer
        The question, the first words of the answer, and what must come after them.
    marked
        The part of the answer that the needle states, where it is not all of it.
    """

    statement: str
    question: str
    answer_start: str
    answer: str
    follow: str = ""
    others: tuple[str, ...] = ()
    marked: str = ""

    @property
    def stated(self) -> str:
        """What is looked for in the needle, so that its place can be told."""
        return self.marked or self.answer


@dataclass(frozen=True)
class Document:
    """A task of the caller's own: a text, a question about it and the answer; made by `document`."""

    text: str
    question: str
    answer: str
    answer_start: str = "Answer:"

    def __str__(self) -> str:
        return "document"


def document(text: str, question: str, answer: str, *, answer_start: str = "Answer:") -> Document:
    """A task made of one's own text, question and answer, to be passed as ``task=``.

    Raises
    ------
    ValueError
        If one of the three is empty.
    """
    for name, value in (("text", text), ("question", question), ("answer", answer)):
        if not value.strip():
            raise ValueError(f"the document's {name} has 0 characters besides spaces; give some")
    return Document(text, question, answer.strip(), answer_start)


def named(k: int) -> str:
    """The task with `k` named keys of which one is asked for, to be passed as ``task=``."""
    return f"named:{whole_number('k', k)}"


def ruler(needles: int = 1, *, asked: int = 1) -> str:
    """The needle of RULER (Hsieh et al. 2024), to be passed as ``task=``: its key is a word and its value a number.

    Parameters
    ----------
    needles
        Keys with values in the prompt: 1 is RULER's single needle, more are its multi-key one. The first one asked
        for stands at the prompt's depth, the others anywhere.
    asked
        How many of the values are asked for at once, RULER's multi-query; the answer is all of them, in the order
        of the question.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole, or more are asked for than there are.
    """
    whole_number("needles", needles)
    if whole_number("asked", asked) > needles:
        raise ValueError(f"asked is {asked}, but there are {needles} needles; ask for 1 to {needles}")
    return f"ruler:{needles}:{asked}"


def content_of(
    task: str | Document, *, rng: Random, digits: int, phrasing: Phrasing, others: int, key: str | None = None
) -> Content:
    """The words of one trial.

    Parameters
    ----------
    task
        ``"paper"``, ``"natural"``, ``"words"`` (one key), ``"distractor"`` (one key and `others` other numbers),
        ``"named"`` or ``"named:k"`` (k keys with names, one asked for), ``"ruler"``, ``"ruler:k"`` or ``"ruler:k:q"``
        (k words with numbers, q asked for; see `ruler`), ``"control"`` (no key at all), ``"order"`` and
        ``"order:first"`` (two contradicting keys; the answer counted is the later one or the first one), or a
        `Document`.
    rng
        Chooses keys and names.
    digits
        Digits of a key.
    key
        The asked key, if it is not to be chosen by `rng`.

    Raises
    ------
    TypeError
        If the task is neither a name nor a `Document`.
    ValueError
        If it is not known.
    """
    if isinstance(task, Document):
        return Content(task.text, task.question, task.answer_start, task.answer)
    kind, detail = check_task(task)
    return _BUILDERS[kind](rng, _keys(rng, digits, _count(kind, detail, others), key), phrasing, detail)


def check_task(task: str) -> tuple[str, str]:
    """The kind and the detail of a task's name; ``TypeError`` if it is none, ``ValueError`` if it is not known."""
    if not isinstance(task, str):
        raise TypeError(f"task must be a name or document(...), not {task!r}; the names are {', '.join(TASKS)}")
    kind, _, detail = task.partition(":")
    if kind not in _BUILDERS or not _DETAILS.get(kind, _NO_DETAIL).fullmatch(detail):
        raise ValueError(
            f"unknown task {task!r}; choose one of {', '.join(TASKS)}, named:k, ruler:k, ruler:k:q, or document(...)"
        )
    return kind, detail


def _count(kind: str, detail: str, others: int) -> int:
    """Different keys that a task needs."""
    if kind in _MOST:
        count, *asked = map(int, detail.split(":")) if detail else (_FEWEST[kind],)
        if not 1 <= count <= _MOST[kind]:
            named = "names" if kind == "named" else "needles"
            raise ValueError(f"task '{kind}:{detail}' asks for {count} {named}; use 1 to {_MOST[kind]}")
        if asked and not 1 <= asked[0] <= count:
            raise ValueError(f"task '{kind}:{detail}' asks for {asked[0]} of {count} values; ask for 1 to {count}")
        return count
    return {"order": 2, "distractor": 1 + others}.get(kind, 1)


def _keys(rng: Random, digits: int, count: int, first: str | None) -> list[str]:
    low, high = 10 ** (digits - 1), 10**digits
    if count >= high - low:
        raise ValueError(f"there are no {count} different keys of {digits} digits to choose from; use more digits")
    keys = [str(number) for number in rng.sample(range(low, high), count + 1)]
    return keys[:count] if first is None else [first, *(key for key in keys if key != first)][:count]


def _asked(
    phrasing: Phrasing, subject: str, answer: str, *, statement: str, follow: str = "", others: tuple[str, ...] = ()
) -> Content:
    question, start = phrasing.fill(phrasing.question, subject), phrasing.fill(phrasing.answer_start, subject)
    return Content(statement, question, start, answer, follow, others)


def _one_key(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    statement = phrasing.fill(phrasing.statement, phrasing.subject, keys[0])
    return _asked(phrasing, phrasing.subject, keys[0], statement=statement)


def _control(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    return _asked(phrasing, phrasing.subject, keys[0], statement="")


def _distractor(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    others = tuple(f"The {rng.choice(NUMBERED_THINGS)} number is {number}." for number in keys[1:])
    statement = phrasing.fill(phrasing.statement, phrasing.subject, keys[0])
    return _asked(phrasing, phrasing.subject, keys[0], statement=statement, others=others)


def _named(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    subjects = [f"{phrasing.subject} of {name}" for name in rng.sample(NAMES, len(keys))]
    sentences = [
        phrasing.fill("{Subject} is {key}.", subject, key) for subject, key in zip(subjects, keys, strict=True)
    ]
    return _asked(phrasing, subjects[0], keys[0], statement=sentences[0], others=tuple(sentences[1:]))


def _ruler(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    asked = int(detail.partition(":")[2] or 1)
    words = [f"{QUALITIES[place // 20]}-{CREATURES[place % 20]}" for place in rng.sample(range(400), len(keys))]
    sentences = [
        RULER.fill(RULER.statement, f"{RULER.subject} for {word}", key) for word, key in zip(words, keys, strict=True)
    ]
    if asked == 1:
        made = _asked(RULER, f"{RULER.subject} for {words[0]}", keys[0], statement=sentences[0])
        return replace(made, others=tuple(sentences[1:]))
    subject = f"{RULER.subject}s for {', '.join(words[: asked - 1])} and {words[asked - 1]}"
    return Content(
        statement=sentences[0],
        question=f"What are {subject}?",
        answer_start=f"{subject[:1].upper()}{subject[1:]} are",
        answer=", ".join(keys[:asked]),
        others=tuple(sentences[1:]),
        marked=keys[0],
    )


def _order(rng: Random, keys: list[str], phrasing: Phrasing, detail: str) -> Content:
    first, last = (phrasing.fill(phrasing.statement, phrasing.subject, key) for key in keys)
    return _asked(phrasing, phrasing.subject, keys[0 if detail == "first" else 1], statement=first, follow=last)


_BUILDERS: dict[str, Callable[[Random, list[str], Phrasing, str], Content]] = {
    "paper": _one_key,
    "natural": _one_key,
    "words": _one_key,
    "distractor": _distractor,
    "named": _named,
    "ruler": _ruler,
    "control": _control,
    "order": _order,
}
TASKS = tuple(_BUILDERS)
_NO_DETAIL = re.compile("")
_DETAILS = {
    "named": re.compile(r"(\d+)?"),
    "ruler": re.compile(r"(\d+(:\d+)?)?"),
    "order": re.compile("(first)?"),
}
_FEWEST, _MOST = {"named": 2, "ruler": 1}, {"named": len(NAMES), "ruler": MOST_RULER_NEEDLES}
FILLER_OF = {"paper": "grass", "order": "grass", "words": "words"}
"""The filler of each task where it is not natural text."""
