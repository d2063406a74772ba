"""What the fused kernel is asked, in the interpreter and on a GPU alike, and how far from exact its answer may be."""

import torch
from einops import repeat

from selfextend_viz.attention import attend
from selfextend_viz.positions import SelfExtend
from selfextend_viz.rope import default_inv_freq, rotate

HALF = (torch.float16, torch.bfloat16)
FLOOR = 1e-6
"""What the order of summation alone can make of the largest error in float32."""


def tensors(batch, heads, key_heads, queries, keys, head_dim, *, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, heads, queries, head_dim), (batch, key_heads, keys, head_dim), (batch, key_heads, keys, head_dim)
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


def plain(query, key, value, *, softcap=None, sinks=None, inv_freq=None, key_padding=None, scale=None):
    """Causal attention with RoPE in plain PyTorch, every step in the precision of its inputs."""
    keys, groups = key.shape[2], query.shape[1] // key.shape[1]
    inv_freq = default_inv_freq(query.shape[-1])[0] if inv_freq is None else inv_freq
    places = torch.arange(keys, device=key.device)
    rows = places[keys - query.shape[2] :]
    query, key = rotate(query, rows, inv_freq), rotate(key, places, inv_freq)
    key, value = (repeat(tensor, "b h n d -> b (h g) n d", g=groups) for tensor in (key, value))
    logits = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    seen = (rows[:, None] >= places)[None, None]
    if key_padding is not None:
        seen = seen & ~key_padding[:, None, None, :]
    logits = logits.masked_fill(~seen, torch.finfo(logits.dtype).min)
    if sinks is not None:
        extra = repeat(sinks.to(logits), "h -> b h q 1", b=logits.shape[0], q=logits.shape[2])
        return torch.cat((logits, extra), -1).softmax(-1)[..., :-1] @ value
    return logits.softmax(-1) @ value


def check(query, key, value, method, *, slack=1.0, given=None, **options):
    """The fused kernel errs at most twice what plain attention errs at the same precision (FlashAttention's rule).

    Parameters
    ----------
    slack
        Multiplies the allowance, where bfloat16 is rounded otherwise than on a GPU.
    given
        Tensors to hand to the kernel in place of query, key and value: the same tokens in another memory.
    """
    result = attend(*(given or (query, key, value)), method, implementation="fused", **options)
    assert (result.shape, result.dtype) == (query.shape, query.dtype)
    assert torch.isfinite(result).all()
    double = [tensor.double() for tensor in (query, key, value)]
    stock = (plain(query, key, value, **options) - plain(*double, **options)).abs()
    padding = options.get("key_padding")
    if padding is not None:
        stock = stock.masked_fill(padding[:, None, padding.shape[1] - query.shape[2] :, None], 0)
    error = (result - attend(*double, method, implementation="eager", **options)).abs()
    assert error.max() <= 2 * slack * stock.max() + FLOOR, (error.max().item(), stock.max().item())
    assert error.mean() <= 2 * slack * stock.mean() + FLOOR / 10, (error.mean().item(), stock.mean().item())


def padding_of(*rows, keys, device="cpu"):
    """Bool ``[batch, keys]``, True outside each row's ``(first token, one past the last)``."""
    slots = torch.arange(keys, device=device)
    return torch.stack([(slots < start) | (slots >= stop) for start, stop in rows])


LENGTHS = [
    # queries, keys, w_n
    *((1, 1, 1), (63, 63, 1), (63, 63, 20), (111, 111, 20), (111, 111, 70), (260, 260, 130)),
    *((9, 260, 40), (40, 111, 55), (1, 260, 1), (1, 260, 100), (5, 111, 20), (8, 260, 130)),
]
HEADS = [
    # head_dim, dimensions that turn, query heads, key heads
    (64, 64, 4, 2),
    (80, 32, 2, 1),
    (96, 96, 3, 1),
    (128, 128, 2, 2),
    (256, 64, 2, 1),
    (24, 22, 3, 1),
]


def check_heads(head_dim, turning, heads, key_heads, queries, dtype, device="cpu", slack=1.0):
    given = tensors(1, heads, key_heads, queries, 111, head_dim, dtype=dtype, device=device)
    check(*given, SelfExtend(5, 30), inv_freq=default_inv_freq(turning)[0].to(device), slack=slack)


def check_options(queries, dtype, device="cpu", slack=1.0):
    given = tensors(3, 2, 1, queries, 111, 64, dtype=dtype, device=device)
    padding = padding_of((20, 111), (0, 108), (0, 0), keys=111, device=device)
    sinks = torch.tensor([-1.0, 4.0], device=device)
    for options in ({"softcap": 2.0}, {"sinks": sinks}, {"softcap": 3.0, "sinks": sinks, "key_padding": padding}):
        check(*given, SelfExtend(4, 30), slack=slack, **options)
