"""Score a model on the answers of prompts: one teacher-forced forward, or greedy decoding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.experiments.conditions import Condition
from selfextend_viz.experiments.prompts import Prompt
from selfextend_viz.experiments.rows import DigitRow


@dataclass(frozen=True, eq=False)
class AnswerScore:
    """One answer scored.

    Attributes
    ----------
    exact
        Whether the model says it.
    log_probability
        Mean natural logarithm per character of the answer, tokens of white space left out.
    log_probabilities : Tensor
        ``[answer tokens, vocabulary]`` of the teacher-forced forward.
    """

    exact: bool
    log_probability: float
    log_probabilities: Tensor


def answer_scores(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    condition: Condition,
    *,
    scoring: str = "teacher",
    implementation: str = "auto",
    batch_size: int = 1,
) -> list[AnswerScore]:
    """Scores of all prompts, in their order; prompts of one length go through the model together."""
    scores: dict[int, AnswerScore] = {}
    with torch.inference_mode(), condition.lent(model, implementation):
        for members in _batches(prompts, batch_size):
            shown = torch.tensor([_shown(prompts[index], condition.last) for index in members], device=model.device)
            answers = torch.tensor([prompts[index].answer_ids for index in members], device=model.device)
            log_probabilities = teacher_forced(model, shown, answers)
            said = log_probabilities.argmax(-1) if scoring == "teacher" else greedy(model, shown, answers.shape[1])
            for index, row, tokens in zip(members, log_probabilities, said, strict=True):
                exact = _says(tokenizer, tokens.tolist(), prompts[index], scoring)
                scores[index] = AnswerScore(exact, _per_character(tokenizer, row, prompts[index]), row)
    return [scores[index] for index in range(len(prompts))]


def teacher_forced(model: Any, prompts: Tensor, answers: Tensor) -> Tensor:
    """Log-probabilities ``[batch, answer tokens, vocabulary]`` that precede each answer token; one forward.

    Parameters
    ----------
    prompts, answers
        Token ids ``[batch, prompt tokens]`` and ``[batch, answer tokens]``.
    """
    ids = torch.cat((prompts, answers[:, :-1]), dim=1)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=answers.shape[1]).logits
    return logits.float().log_softmax(-1)


def greedy(model: Any, prompts: Tensor, steps: int) -> Tensor:
    """The `steps` tokens ``[batch, steps]`` that the model goes on with, the likeliest one each time."""
    said, feed, cache = [], prompts, None
    for _ in range(steps):
        output = model(input_ids=feed, past_key_values=cache, use_cache=True, logits_to_keep=1)
        feed, cache = output.logits[:, -1:].argmax(-1), output.past_key_values
        said.append(feed)
    return torch.cat(said, dim=1)


def as_digit_rows(tokenizer: Any, prompt: Prompt, score: AnswerScore, label: str) -> list[DigitRow]:
    """One row for each answer token that is more than white space."""
    rows: list[DigitRow] = []
    for wanted, log_probabilities in zip(prompt.answer_ids, score.log_probabilities, strict=True):
        said = int(log_probabilities.argmax())
        text = tokenizer.decode([wanted]).strip()
        if text:
            rows.append(
                DigitRow(
                    condition=label,
                    index=len(rows),
                    wanted=text,
                    said=tokenizer.decode([said]).strip(),
                    probability_wanted=float(log_probabilities[wanted].exp()),
                    probability_said=float(log_probabilities[said].exp()),
                )
            )
    return rows


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[int]]:
    """Indices of prompts whose prompts and answers have equal lengths, at most `size` at a time."""
    alike = defaultdict(list)
    for index, prompt in enumerate(prompts):
        alike[len(prompt.ids), len(prompt.answer_ids)].append(index)
    for members in alike.values():
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _shown(prompt: Prompt, last: int | None) -> tuple[int, ...]:
    """The prompt's tokens, or the last of them that leave room for the answer among `last`."""
    if last is None:
        return prompt.ids
    if last <= len(prompt.answer_ids):
        raise ValueError(f"an answer of {len(prompt.answer_ids)} tokens leaves no prompt within L = {last}")
    return prompt.ids[-(last - len(prompt.answer_ids)) :]


def _says(tokenizer: Any, tokens: list[int], prompt: Prompt, scoring: str) -> bool:
    if scoring == "teacher":
        return tuple(tokens) == prompt.answer_ids
    return str(tokenizer.decode(tokens)).strip().startswith(prompt.answer)


def _per_character(tokenizer: Any, log_probabilities: Tensor, prompt: Prompt) -> float:
    total = sum(
        float(row[token])
        for token, row in zip(prompt.answer_ids, log_probabilities, strict=True)
        if tokenizer.decode([token]).strip()
    )
    return total / len(prompt.answer)
