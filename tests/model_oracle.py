"""A model's logits by the formula itself: no rotation, no bands, no flash, float64.

Queries and keys are left un-rotated, and every pair (i, j) gets its own angle from a matrix of relative positions.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AttentionInterface

UNSEEN = -1


def self_extend_by_hand(group_size: int, neighbor_window: int, length: int) -> NDArray[np.int64]:
    """Relative positions of Self-Extend, pair by pair, -1 where the key is in the future."""
    told = np.full((length, length), UNSEEN)
    for i in range(length):
        for j in range(i + 1):
            near = i - j < neighbor_window
            shifted = i // group_size + neighbor_window - neighbor_window // group_size
            told[i, j] = i - j if near else shifted - j // group_size
    return told


def oracle_logits(
    model: Any, ids: torch.Tensor, relative: NDArray[Any], *, scaled: tuple[torch.Tensor, float] | None = None
) -> torch.Tensor:
    """Logits ``[batch, N, vocabulary]`` of a model whose keys stand ``relative[..., i, j]`` away, -1 unseen.

    ``relative`` may say it for each head; ``scaled`` are frequencies and attention factor in place of the model's own.

    Raises
    ------
    AssertionError
        If a layer's attention did not pass through the oracle.
    """
    twin = copy.deepcopy(model).double()
    rotary, calls = twin.model.rotary_emb, []
    frequencies, factor = scaled or (model.model.rotary_emb.inv_freq, rotary.attention_scaling)
    frequencies = frequencies.double()
    rotary.forward = lambda x, position_ids: (
        torch.ones(*position_ids.shape, 2 * len(frequencies), dtype=x.dtype),
        torch.zeros(*position_ids.shape, 2 * len(frequencies), dtype=x.dtype),
    )
    angles = torch.as_tensor(relative).double()[..., None] * frequencies
    scaling_squared = factor**2
    seen = torch.as_tensor(relative != UNSEEN)

    def attention(module, query, key, value, mask, scaling, **_):
        calls.append(module.layer_idx)
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        products = scaling_squared * turned_products(query, key, angles)
        rest = 2 * angles.shape[-1]
        products = products + query[..., rest:] @ key[..., rest:].transpose(-1, -2)
        weights = (products * scaling).masked_fill(~seen, -torch.inf).softmax(-1)
        return (weights @ value).transpose(1, 2), weights

    AttentionInterface.register("oracle", attention)
    twin.set_attn_implementation("oracle")
    with torch.no_grad():
        logits = twin(ids, use_cache=False).logits
    assert calls == list(range(model.config.num_hidden_layers))
    return logits


def turned_products(query: torch.Tensor, key: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Real part of ``q * conj(k) * exp(i * angle)``, summed over the pairs of dimensions (d, d + pairs)."""
    pairs = angles.shape[-1]
    q_re, q_im = query[..., :, None, :pairs], query[..., :, None, pairs : 2 * pairs]
    k_re, k_im = key[..., None, :, :pairs], key[..., None, :, pairs : 2 * pairs]
    along, across = q_re * k_re + q_im * k_im, q_im * k_re - q_re * k_im
    return (along * angles.cos() - across * angles.sin()).sum(-1)
