"""Self-Extend by other people's code: FlexAttention's two bands, and the authors' own kernels from their checkout."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex

from selfextend_viz.bench.contestants import Contestant, Inputs, banded, missing_checkout, tried
from selfextend_viz.bench.rows import SkippedRow
from selfextend_viz.positions import SelfExtend

__all__ = ["peers"]

FLEX = "FlexAttention, two bands"
AUTHORS = {
    "authors' flash": ("selfextend_flash_attn.py", "self_extend_flash_forward"),
    "authors' Triton": ("selfextend_flash_attn_triton.py", "self_extend_flash_forward_triton"),
}


def peers(inputs: Inputs, method: SelfExtend, *, longlm: Path | None) -> Iterator[Contestant | SkippedRow]:
    """All peers, each ready to be timed or with the reason why it is not.

    Parameters
    ----------
    inputs
        Raw tensors.
    method
        What they are to compute.
    longlm
        A checkout of the authors' repository. Its code is run.
    """
    cuda = inputs.device.type == "cuda"
    yield (
        tried(FLEX, partial(_flex, inputs, method))
        if cuda
        else SkippedRow(FLEX, "returns no log-sum-exp on the CPU, so two bands cannot be joined")
    )
    for name, (file, function) in AUTHORS.items():
        reason = missing_checkout(longlm) or (None if cuda else "needs a CUDA device")
        if longlm is None or reason is not None:
            yield SkippedRow(name, str(reason))
        else:
            path = longlm / "self_extend_patch" / file
            yield tried(name, partial(_authors, name, path, function, inputs, method))


def _flex(inputs: Inputs, method: SelfExtend) -> Contestant:
    length, window = inputs.query.shape[2], method.neighbor_window

    def near(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return (i >= j) & (i - j < window)

    def far(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return i - j >= window

    masks = [
        flex.create_block_mask(seen, None, None, length, length, device=inputs.device, _compile=True)
        for seen in (near, far)
    ]
    return Contestant(FLEX, partial(_flex_call, inputs, method, masks), method, "compiled; merged by log-sum-exp")


@lru_cache(maxsize=1)
def _compiled() -> Any:
    return torch.compile(flex.flex_attention)


def _flex_call(inputs: Inputs, method: SelfExtend, masks: list[Any]) -> Tensor:
    parts = [
        _compiled()(query, key, inputs.value, block_mask=mask, enable_gqa=True, return_aux=flex.AuxRequest(lse=True))
        for (query, key), mask in zip(banded(inputs, method), masks, strict=True)
    ]
    weights = torch.stack([aux.lse for _, aux in parts]).softmax(0).to(inputs.query.dtype)[..., None]
    return parts[0][0] * weights[0] + parts[1][0] * weights[1]


def _authors(name: str, path: Path, function: str, inputs: Inputs, method: SelfExtend) -> Contestant:
    module = _loaded(path)
    forward = getattr(module, function)
    owner = _Owner(getattr(module, "flash_attention2_forward_with_window_size", None))
    call = partial(_authors_call, forward, owner, inputs, method, heads_last="triton" not in path.name)
    return Contestant(name, call, method, f"{path.name}, key heads repeated")


def _loaded(path: Path) -> types.ModuleType:
    """The file as a module of its own: their package would import models of an old transformers."""
    spec = importlib.util.spec_from_file_location(f"longlm_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Owner:
    """What their flash expects of the attention module that it is a method of."""

    is_causal = True
    _flash_attn_uses_top_left_mask = False

    def __init__(self, flash: Callable[..., Any] | None) -> None:
        if flash is not None:
            self._flash_attention_forward = types.MethodType(flash, self)


def _authors_call(
    forward: Callable[..., Tensor], owner: _Owner, inputs: Inputs, method: SelfExtend, *, heads_last: bool
) -> Tensor:
    (near_query, near_key), (far_query, far_key) = banded(inputs, method)
    length, groups = inputs.query.shape[2], inputs.query.shape[1] // inputs.key.shape[1]
    keys = [tensor.repeat_interleave(groups, 1) for tensor in (near_key, far_key, inputs.value)]
    tensors = [near_query, keys[0], far_query, keys[1], keys[2]]
    if heads_last:
        tensors = [tensor.transpose(1, 2) for tensor in tensors]
    positions = torch.arange(length, device=inputs.device)
    result = forward(owner, positions, method.neighbor_window, *tensors, None, 1, length, length, 0.0)
    return result.transpose(1, 2)
