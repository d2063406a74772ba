"""The strip's content as one plain dictionary: made here, drawn by ``web/strip.js``, stored and exported as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from selfextend_viz.experiments.rows import STOCK, AttentionRow, DigitRow, RetrievalRow

DECIMALS = 5
"""Probabilities and masses are kept to so many decimals."""
HEADS_OFFERED = 64
MOST = 0.5
"""A head looks at the key where at least this share of its attention is on it."""

State = dict[str, Any]


def waiting_state(
    *,
    length: int,
    context_length: int,
    reach: int,
    needle: tuple[int, int],
    needle_range: tuple[int, int],
    answer: str,
    question: str,
    head: tuple[int, int],
    heads: Iterable[RetrievalRow],
    labels: Sequence[str],
) -> State:
    """A strip whose rows wait for their answers.

    Parameters
    ----------
    length, context_length, reach
        N, L and the method's exact reach.
    needle
        First token of the key and the one after its last.
    needle_range
        Where the key's first token stands at depth 0 and at depth 1.
    answer, question
        The key, and the sentence at the end of the prompt.
    head
        Layer and head that are watched.
    heads
        The ranking the head was chosen from.
    labels
        Conditions, one a row, as rows of experiments name them.
    """
    return {
        "length": length,
        "context_length": context_length,
        "reach": reach,
        "needle": list(needle),
        "needle_range": list(needle_range),
        "answer": answer,
        "question": question,
        "head": list(head),
        "heads": [[row.layer, row.head, round(row.score, DECIMALS)] for row in heads][:HEADS_OFFERED],
        "rows": [waiting_row(label) for label in labels],
    }


def waiting_row(label: str) -> State:
    """A condition that has not answered yet."""
    stock = label == STOCK
    name, note = ("Stock", "the model as it is") if stock else ("Self-Extend", settings_of(label))
    return {"label": label, "name": name, "note": note, "never": None, "digits": None, "arcs": None}


def settings_of(label: str) -> str:
    """The part of a method's label between its brackets."""
    return label[label.find("(") + 1 : label.rfind(")")] if "(" in label else label


def answer_state(rows: Iterable[DigitRow | AttentionRow], never: tuple[int, int] | None) -> State:
    """What `answer_attention` yielded, and the stretch that was never trained, as a row's content."""
    found = list(rows)
    return {
        "never": None if never is None else list(never),
        "digits": [digit_state(row) for row in found if isinstance(row, DigitRow)],
        "arcs": [arc_state(row) for row in found if isinstance(row, AttentionRow)],
    }


def digit_state(row: DigitRow) -> State:
    """One token of the answer."""
    return {
        "said": row.said,
        "wanted": row.wanted,
        "probability_said": round(row.probability_said, DECIMALS),
        "probability_wanted": round(row.probability_wanted, DECIMALS),
    }


def arc_state(row: AttentionRow) -> State:
    """One bin of keys."""
    return {"start": row.start, "stop": row.stop, "mass": round(row.mass, DECIMALS), "told": row.told}


def with_answer(state: State, label: str, answer: State) -> State:
    """The strip with one row answered; the one given stays as it is."""
    rows = [{**row, **answer} if row["label"] == label else row for row in state["rows"]]
    return {**state, "rows": rows}


def needle_mass(state: State, row: State) -> float:
    """The share of a row's attention that lies on the key."""
    return sum(arc["mass"] for arc in row["arcs"] if [arc["start"], arc["stop"]] == state["needle"])


def said(row: State) -> str:
    """A row's answer as text; what is no visible character is a middle dot."""
    return "".join(visible(digit["said"]) for digit in row["digits"])


def visible(text: str) -> str:
    """A token as it can be shown."""
    shown = text.strip() and text.isprintable() and "\N{REPLACEMENT CHARACTER}" not in text
    return text if shown else "\N{MIDDLE DOT}"


def right(row: State) -> bool:
    """Whether a row's answer is the key."""
    return all(digit["said"] == digit["wanted"] for digit in row["digits"])


def asked_words(state: State) -> str:
    """Where the key stands, what is asked and which head is watched."""
    layer, head = state["head"]
    back = state["length"] - state["needle"][0]
    return (
        f"The key {state['answer']} stands {back:,} tokens before the end of {state['length']:,}. "
        f"{state['question'].strip()} Arcs: where layer {layer}, head {head} looks while it answers."
    )


def happened_words(state: State) -> str:
    """What each answered row looked at and said; empty before the first answer."""
    return " ".join(row_words(state, row) for row in state["rows"] if row["digits"] is not None)


def row_words(state: State, row: State) -> str:
    """One row in a sentence."""
    share = needle_mass(state, row)
    where = f"at the key ({share:.0%})" if share >= MOST else f"elsewhere ({share:.0%} on the key)"
    verdict = f"and reads {said(row)}" if right(row) else f"and answers {said(row)}: wrong"
    return f"{row['name']} looks {where} {verdict}."


def strip_words(state: State) -> str:
    """All of it, in words."""
    return f"{asked_words(state)} {happened_words(state)}".strip()
