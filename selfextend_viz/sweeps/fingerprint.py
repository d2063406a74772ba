"""Tell one model from another: a hash of its configuration and of its weights."""

from __future__ import annotations

import hashlib
import json
from typing import Any

__all__ = ["model_fingerprint", "weights_fingerprint"]

NOT_THE_MODEL = ("_name_or_path", "transformers_version", "architectures", "torch_dtype")
"""What a configuration says of where it lies and what wrote it."""


def model_fingerprint(model: Any) -> str:
    """A hash of a model's configuration and weights: equal for equal answers, wherever the model lies.

    Raises
    ------
    ValueError
        If some weights are not in memory, as with weights that are offloaded to a disk.
    """
    away = next((name for name, weight in model.state_dict().items() if weight.is_meta), None)
    if away is not None:
        raise ValueError(f"the weight {away} is not in memory, so the model cannot be told from others; load it whole")
    known = {name: value for name, value in model.config.to_diff_dict().items() if name not in NOT_THE_MODEL}
    told = json.dumps(known, sort_keys=True, default=str) + str(model.dtype) + weights_fingerprint(model)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def weights_fingerprint(model: Any) -> str:
    """A hash of a model's weights: names, shapes and bytes.

    Two models with the same fingerprint answer alike; it tells whether stored results are this model's.
    """
    import torch  # here, so that what only compares fingerprints costs no torch

    digest = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
