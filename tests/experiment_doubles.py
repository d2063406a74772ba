"""Stand-ins whose right answers are known: small tokenizers, tiny random models, and models made by hand."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from selfextend_viz.demo.tokenizer import byte_tokenizer

TEXT = (
    "A module is a file that holds definitions and statements, and its name is the file's name without the suffix. "
    "Within a module its name is a global variable. Statements run once, when the module is first imported.\n"
    "Reading files is done by line, by block or whole; 42 lines later a reader is at the end of what it was given. "
) * 12
TEXTS = [TEXT, TEXT[57:].replace("module", "package")]
LLAMA3 = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content | trim }}<|end|>\n{% endfor %}"
    "{{ '<|assistant|>\n' }}"
)


@cache
def bytes_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, as the demo model's."""
    return byte_tokenizer(64)


@cache
def merging_tokenizer(chat: bool = False) -> PreTrainedTokenizerFast:
    """Up to three digits to a token, as Llama 3's; with a beginning-of-text token, and maybe a chat template."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|start|>", "<|user|>", "<|assistant|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=3000, special_tokens=special, initial_alphabet=alphabet)
    numbers = [f"{number:03d}" for number in range(1000)]
    tokenizer.train_from_iterator([TEXT, *(numbers * 9)], trainer)
    tokenizer.post_processor = processors.TemplateProcessing("<|start|> $A", special_tokens=[("<|start|>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|start|>",
        extra_special_tokens=special[1:],
        chat_template=CHAT if chat else None,
    )


@cache
def spacing_tokenizer() -> PreTrainedTokenizerFast:
    """Puts a space before the first word of whatever it is given, as Llama 2's."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    letters = sorted(set(TEXT + "0123456789?:.\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], initial_alphabet=letters)
    tokenizer.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def config(*, layers: int = 2, context_length: int = 64, vocabulary: int = 257) -> LlamaConfig:
    """A Llama of 4 heads x 8."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        initializer_range=0.4,
        tie_word_embeddings=False,
    )


def tiny_llama(*, layers: int = 2, context_length: int = 64, seed: int = 0) -> LlamaForCausalLM:
    """Random weights, large enough that attention is far from uniform."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config(layers=layers, context_length=context_length)).eval()


@dataclass
class Output:
    logits: torch.Tensor
    past_key_values: torch.Tensor


class Oracle(nn.Module):
    """Reads bytes and goes on after the last "The pass key is" with the first key stated before it.

    Where none is stated it says zeros. `slip` is added to each digit, modulo 10; `sure` is the logit of what it says.
    """

    def __init__(self, *, slip: int = 0, sure: float = 10.0, context_length: int = 64) -> None:
        super().__init__()
        self.config = config(context_length=context_length)
        self.slip, self.sure, self.calls = slip, sure, 0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def forward(self, input_ids, past_key_values=None, use_cache=False, logits_to_keep=0) -> Output:
        self.calls += 1
        seen = input_ids if past_key_values is None else torch.cat((past_key_values, input_ids), 1)
        said = torch.tensor([self.continuation(row) for row in seen.tolist()])
        logits = nn.functional.one_hot(said, self.config.vocab_size) * self.sure
        return Output(logits[:, -logits_to_keep:].float(), seen)

    def continuation(self, ids: list[int]) -> list[int]:
        """The byte it says after each byte."""
        text = bytes(ids).decode("latin-1")
        start = text.rfind("The pass key is") + len("The pass key is")
        stated = re.search(r"The pass key is (\d+)\.", text)
        digits = stated.group(1) if stated else "0" * 9
        answer = " " + "".join(str((int(digit) + self.slip) % 10) for digit in digits)
        said = [0] * len(ids)
        for place, character in enumerate(answer):
            if start - 1 + place < len(ids):
                said[start - 1 + place] = ord(character)
        return said
