"""Load the demo model that lies in the package: no network, no remote code."""

from __future__ import annotations

from importlib.resources import as_file, files

import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast


def load_demo() -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """The demo model and its byte tokenizer, ready to run on the CPU.

    A byte-level Llama trained from scratch on texts of at most L tokens (``model.config.max_position_embeddings``)
    to find numbers by name; it breaks past L as larger RoPE models do. Weights are stored in bfloat16 and computed
    with in float32. ``weights/README.md`` is its model card.

    Returns
    -------
    model : LlamaForCausalLM
        In evaluation mode.
    tokenizer : PreTrainedTokenizerFast
        One token per byte, padding on the left.
    """
    with as_file(files("selfextend_viz.demo") / "weights") as folder:
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer
