"""A byte tokenizer that is a real Hugging Face tokenizer: token id = byte value."""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

BYTES = 256
PAD_TOKEN = "<|pad|>"
VOCABULARY = BYTES + 1


def byte_tokenizer(context_length: int) -> PreTrainedTokenizerFast:
    """One token per UTF-8 byte, no beginning-of-text token, id 256 for padding (on the left).

    Every byte's id is the byte itself, so that lengths and depths in tokens are lengths in bytes, and any
    text can be cut at any place; decoding replaces bytes that are not valid UTF-8.

    Parameters
    ----------
    context_length
        L of the model it goes with, kept as ``model_max_length``.
    """
    vocabulary = {character: value for value, character in enumerate(_byte_characters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        padding_side="left",
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _byte_characters() -> list[str]:
    """The printable character by which the byte-level alphabet writes each byte (GPT-2's convention)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [value for value in range(BYTES) if value not in printable]
    return [chr(BYTES + hidden.index(value)) if value in hidden else chr(value) for value in range(BYTES)]
