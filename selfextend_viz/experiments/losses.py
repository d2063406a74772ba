"""Losses of a text's tokens from one forward, without ever holding logits of all positions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import cross_entropy

HEAD_CHUNK = 1024


def one_text(ids: Sequence[int] | Tensor, device: torch.device | None = None) -> Tensor:
    """The tokens of one text, given as ``[N]`` or ``[1, N]``: int64 ``[N]``.

    Raises
    ------
    TypeError
        If they are not whole numbers.
    ValueError
        If there are fewer than two, or more than one text.
    """
    tokens = torch.as_tensor(ids, device=device)
    if tokens.numel() and (tokens.is_floating_point() or tokens.dtype is torch.bool):
        raise TypeError(f"ids must be whole numbers, not {tokens.dtype}; give the token ids of a tokenizer")
    tokens = tokens[0] if tokens.ndim == 2 and len(tokens) == 1 else tokens
    if tokens.ndim != 1:
        raise ValueError(f"ids must be one text of at least 2 tokens, not of shape {tuple(tokens.shape)}")
    if len(tokens) < 2:
        raise ValueError(f"ids has {len(tokens)} tokens; give one text of at least 2 tokens")
    return tokens.long()


def sequence_losses(model: Any, ids: Tensor, *, first: int = 1, chunk_size: int = HEAD_CHUNK) -> Tensor:
    """Negative log-likelihoods, in nats, of the tokens from `first` on, each given all before it.

    One forward of the decoder; the output layer runs on `chunk_size` positions at a time, of all texts together. That
    takes four times ``chunk_size * vocabulary`` float32 numbers at most, whatever the length.

    Parameters
    ----------
    model
        A transformers causal language model, stock or extended.
    ids : Tensor
        Token ids ``[batch, length]``.
    first
        Index of the first token that is scored.

    Returns
    -------
    Tensor
        float32 ``[batch, length - first]``.
    """
    hidden = decoder_states(model, ids)[:, first - 1 : -1]
    logits_of = output_layer(model)
    losses = torch.empty(hidden.shape[:2], dtype=torch.float32, device=hidden.device)
    step = max(1, chunk_size // len(ids))
    for start in range(0, hidden.shape[1], step):
        stop = min(start + step, hidden.shape[1])
        logits = rearrange(logits_of(hidden[:, start:stop]).float(), "b n v -> b v n")
        targets = ids[:, first + start : first + stop].to(logits.device)
        losses[:, start:stop] = cross_entropy(logits, targets, reduction="none")
    return losses


def decoder_states(model: Any, ids: Tensor) -> Tensor:
    """Last hidden states ``[batch, length, width]`` of the model without its output layer."""
    states: Tensor = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
    return states


def output_layer(model: Any) -> Callable[[Tensor], Tensor]:
    """From hidden states to logits, with the scalings and the cap that some models apply after the output layer.

    Raises
    ------
    ValueError
        If the model has no output layer.
    """
    head, config = model.get_output_embeddings(), model.config.get_text_config(decoder=True)
    if head is None:
        raise ValueError(f"{type(model).__name__} has no output layer; load it with AutoModelForCausalLM")
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere multiplies
    scale /= getattr(config, "logits_scaling", None) or 1.0  # Granite divides
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma

    def logits_of(hidden: Tensor) -> Tensor:
        logits: Tensor = head(hidden) * scale if scale != 1.0 else head(hidden)
        return cap * torch.tanh(logits / cap) if cap else logits

    return logits_of
