"""A model's logits by the formula itself: no rotation, no bands, no flash, float64.

Queries and keys are left un-rotated, and every pair (i, j) gets its own angle from a matrix of relative positions.
"""

import copy
import inspect
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tiny_models import WINDOW, Architecture
from transformers import AttentionInterface

UNSEEN = -1
PLAIN = Architecture(build=lambda: None)


def self_extend_by_hand(group_size: int, neighbor_window: int, length: int) -> NDArray[np.int64]:
    """Relative positions of Self-Extend, pair by pair, -1 where the key is in the future."""
    told = np.full((length, length), UNSEEN)
    for i in range(length):
        for j in range(i + 1):
            near = i - j < neighbor_window
            shifted = i // group_size + neighbor_window - neighbor_window // group_size
            told[i, j] = i - j if near else shifted - j // group_size
    return told


def plain_by_hand(length: int, window: int | None = None) -> NDArray[np.int64]:
    """Relative positions of the stock model, -1 where the key is in the future or out of the window."""
    told = np.arange(length)[:, None] - np.arange(length)
    told[(told < 0) | (told >= (length if window is None else window))] = UNSEEN
    return told


def oracle_logits(
    model: Any,
    ids: torch.Tensor,
    relative: NDArray[Any],
    architecture: Architecture = PLAIN,
    *,
    frequencies: str = "inv_freq",
    scaled: tuple[torch.Tensor, float] | None = None,
) -> torch.Tensor:
    """Logits ``[batch, N, vocabulary]`` of a model whose keys stand ``relative[..., i, j]`` away, -1 unseen.

    ``relative`` may say it for each head. Local layers keep their window and true distances. Frequencies are those that
    ``model``'s rotary module holds, or the frequencies and the attention factor in ``scaled``.

    Raises
    ------
    AssertionError
        If a layer's attention did not pass through the oracle.
    """
    twin, calls = copy.deepcopy(model).double(), []
    stock = next(module for name, module in model.named_modules() if name.endswith("rotary_emb"))
    for name, rotary in twin.named_modules():
        if name.endswith("rotary_emb"):
            _stop_rotating(rotary)
    local = plain_by_hand(relative.shape[-1], WINDOW)

    def attention(module, query, key, value, mask, scaling, softcap=None, s_aux=None, **_):
        layer = module.layer_idx
        calls.append(layer)
        told = torch.as_tensor(local if layer in architecture.local else relative)
        prefix = _prefix(stock, layer in architecture.local)
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        if layer in architecture.unrotated:
            products = query @ key.transpose(-1, -2)
        else:
            own = getattr(stock, f"{prefix}{frequencies}"), getattr(stock, f"{prefix}attention_scaling")
            inv_freq, factor = scaled or own
            angles = told.double()[..., None] * inv_freq.double()
            products = turned_products(query, key, angles, interleaved=architecture.interleaved)
            products = products * factor**2
            rest = 2 * angles.shape[-1]
            products = products + query[..., rest:] @ key[..., rest:].transpose(-1, -2)
        logits = products * scaling
        if softcap is not None:
            logits = softcap * torch.tanh(logits / softcap)
        logits = logits.masked_fill(told == UNSEEN, -torch.inf)
        if s_aux is not None:
            logits = torch.cat([logits, s_aux[None, :, None, None].expand(*logits.shape[:3], 1)], -1)
        weights = logits.softmax(-1)[..., : key.shape[2]]
        return (weights @ value).transpose(1, 2), weights

    AttentionInterface.register("oracle", attention)
    config = twin.config.get_text_config()
    config._attn_implementation = "oracle"
    # The faster ways to run experts know no float64.
    config._experts_implementation = "eager"
    with torch.no_grad():
        logits = twin(ids, use_cache=False).logits
    assert calls == list(range(config.num_hidden_layers))
    return logits


def _prefix(rotary: Any, local: bool) -> str:
    kind = "sliding_attention_" if local else "full_attention_"
    return kind if hasattr(rotary, f"{kind}inv_freq") else ""


def _stop_rotating(rotary: Any) -> None:
    made = inspect.unwrap(type(rotary).forward)

    def forward(*args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        cos, _ = made(rotary, *args, **kwargs)
        return torch.ones_like(cos), torch.zeros_like(cos)

    rotary.forward = forward


def turned_products(
    query: torch.Tensor, key: torch.Tensor, angles: torch.Tensor, *, interleaved: bool = False
) -> torch.Tensor:
    """Real part of ``q * conj(k) * exp(i * angle)``, summed over pairs (d, d + pairs) or (2d, 2d + 1)."""
    pairs = angles.shape[-1]
    real = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    imaginary = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    q_re, q_im = query[..., :, None, real], query[..., :, None, imaginary]
    k_re, k_im = key[..., None, :, real], key[..., None, :, imaginary]
    along, across = q_re * k_re + q_im * k_im, q_im * k_re - q_re * k_im
    return (along * angles.cos() - across * angles.sin()).sum(-1)
