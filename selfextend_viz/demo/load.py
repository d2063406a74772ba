"""Load the demo model that lies in the package: no network, no remote code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging


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
    with as_file(files("selfextend_viz.demo") / "weights") as folder, _without_progress():
        model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model.eval(), tokenizer


@contextmanager
def _without_progress() -> Iterator[None]:
    """No bar for a load that takes less than a second; it would stay in notebooks as an error's red text."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
