"""Loading any causal language model of transformers, by folder or hub id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_model(
    path_or_id: str | Path,
    *,
    trust_remote_code: bool = False,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint and its tokenizer, ready for inference.

    Parameters
    ----------
    path_or_id
        A local folder, or the id of a model on the Hugging Face hub.
    trust_remote_code
        Let the checkpoint run its own Python code. Off unless asked for.
    device
        Where the model goes; the first GPU when there is one, else the CPU.
    dtype
        A floating torch dtype or its name, such as ``"bfloat16"``; the checkpoint's own when absent.

    Returns
    -------
    tuple
        The model in evaluation mode, and its tokenizer.

    Raises
    ------
    ValueError
        If `dtype` or `device` is none that torch knows, or is not there.
    OSError
        If there is no such checkpoint.
    """
    chosen_dtype = "auto" if dtype is None else floating_dtype(dtype)
    chosen_device = usable_device(device)
    looks_local = isinstance(path_or_id, Path) or str(path_or_id).startswith((".", "/", "~"))
    path = Path(path_or_id).expanduser()
    if looks_local and not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give a folder with config.json and weights, or a hub id")

    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = str(path) if path.is_dir() else str(path_or_id)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=chosen_dtype, trust_remote_code=trust_remote_code)
    return model.to(chosen_device).eval(), tokenizer


def floating_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The torch dtype of that name; ValueError when it is not a floating one."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ValueError(f"{dtype!r} is no floating torch dtype; use float32, bfloat16 or float16")
    return found


def usable_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the best one here; ValueError when it is not on this machine."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{device!r} is no torch device; use cpu, cuda, cuda:1 or mps") from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"{device!r} is not here: torch sees {torch.cuda.device_count()} CUDA devices; use cpu")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"{device!r} is not here: torch sees no Apple GPU; use cpu")
    return found


def random_llama(
    *,
    layers: int,
    hidden: int,
    heads: int,
    key_heads: int,
    intermediate: int,
    vocabulary: int,
    context_length: int,
    theta: float = 10000.0,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = torch.float32,
) -> Any:
    """A Llama of random weights, made where it will run: enough to measure what a model of its shape costs.

    Parameters
    ----------
    layers, hidden, heads, key_heads, intermediate, vocabulary
        Its shape; ``hidden`` is a multiple of ``heads``, ``heads`` one of ``key_heads``.
    context_length
        L.
    theta
        RoPE's base.
    device, dtype
        Where it is, and its precision or the name of it.

    Returns
    -------
    LlamaForCausalLM
        In evaluation mode.
    """
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        intermediate_size=intermediate,
        vocab_size=vocabulary,
        max_position_embeddings=context_length,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=floating_dtype(dtype)).eval()
