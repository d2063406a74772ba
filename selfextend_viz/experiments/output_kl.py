"""How far the model's own predictions move: KL from the stock model that reads the last L tokens, in one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.experiments.conditions import Condition, Wanted, resolve
from selfextend_viz.experiments.heads import sample_rows
from selfextend_viz.experiments.losses import decoder_states, one_text, output_layer
from selfextend_viz.experiments.perplexity import what_runs
from selfextend_viz.experiments.rows import STOCK
from selfextend_viz.patch import context_length
from selfextend_viz.positions import whole_number

__all__ = ["OutputKl", "output_divergence", "output_kl"]

QUERIES = 64


@dataclass(frozen=True)
class OutputKl:
    """Mean KL, in nats, over sampled positions of one text.

    Attributes
    ----------
    kl
        From the stock model that reads the last L tokens to the condition at N.
    kl_in_range
        The same where the condition reads those L tokens only: what it costs where stock is right.
    """

    kl: float
    kl_in_range: float


def output_kl(model: Any, reference: Tensor, states: Tensor) -> Tensor:
    """KL from the predictions of one run to those of another, in nats: float64 ``[rows]``.

    Parameters
    ----------
    reference, states
        Last hidden states ``[rows, width]`` of the two runs at the same tokens.
    """
    with torch.inference_mode():
        logits_of = output_layer(model)
        log_p, log_q = (logits_of(part).float().log_softmax(-1) for part in (reference, states))
        return (log_p.exp() * (log_p - log_q)).sum(-1).double()


def output_divergence(
    model: Any,
    ids: Sequence[int] | Tensor,
    condition: Wanted = None,
    *,
    queries: int = QUERIES,
    seed: int = 0,
    implementation: str = "auto",
) -> OutputKl:
    """Output KL of a condition at N and at L, with three forwards at most and no look into any head.

    Parameters
    ----------
    model
        A transformers causal language model in evaluation mode.
    ids
        One text's tokens, ``[N]`` or ``[1, N]``.
    condition
        As for :func:`~selfextend_viz.passkey`.
    queries
        Positions compared, from the second half of the last L tokens.
    seed
        Chooses the positions.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or does not fit the model.
    """
    tokens, trained = one_text(ids, model.device), context_length(model)
    found = resolve(condition, model)
    found.check(model, implementation)
    within = min(len(tokens), trained)
    generator = torch.Generator().manual_seed(whole_number("seed", seed, at_least=0))
    rows = sample_rows(within // 2, within, whole_number("queries", queries), generator)

    def states(condition: Condition, length: int) -> Tensor:
        """States ``[rows, width]`` at the sampled ones of the last tokens, of so many read."""
        condition, length = what_runs(condition, length, trained, model)
        with torch.inference_mode(), condition.lent(model, implementation):
            read = decoder_states(model, tokens[None, -length:])[0, -within:]
            return read[rows.to(read.device)]

    reference = states(resolve(STOCK, model), within)
    kl, in_range = (
        float(output_kl(model, reference, states(found, length)).mean()) for length in (len(tokens), within)
    )
    return OutputKl(kl, in_range)
