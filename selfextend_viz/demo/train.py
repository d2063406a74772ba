"""The recipe that trained the demo model: a seed, the standard library's text and an hour on one core.

Every step's batch depends on the seed and the step alone, so a run that was stopped goes on exactly where it was.
No step sees a position past L, and none runs under Self-Extend.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from selfextend_viz.demo.curriculum import ANSWER_WEIGHT, FIRST_DIGIT_WEIGHT, Curriculum, Sample
from selfextend_viz.demo.tokenizer import BYTES, VOCABULARY, byte_tokenizer

OnStep = Callable[[int, int, float, str], None]


@dataclass(frozen=True)
class Recipe:
    """Shape of the model and length of each stage of its training.

    Stages: ``copying`` at a quarter and then half of ``context_length``, ``short`` (recall prompts of half the
    length, little filler), ``long`` (the mixture at full length), ``hard`` (the same with filler that resembles the
    statements), ``firm`` (the same with attention logits dimmed by a factor from ``dimmest`` to 1, another one each
    step, and more weight on first digits: a margin for texts with more tokens to tell apart).
    """

    context_length: int = 320
    rope_theta: float = 65536.0
    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 6
    heads: int = 4
    tokens_per_step: int = 4096
    copying_steps: int = 400
    short_steps: int = 600
    long_steps: int = 1500
    hard_steps: int = 1000
    firm_steps: int = 1100
    dimmest: float = 0.6
    learning_rate: float = 2e-3
    constant_share: float = 0.4
    final_share: float = 0.04
    checkpoint_every: int = 250

    @property
    def total_steps(self) -> int:
        """Steps of all stages together."""
        return self.copying_steps + self.short_steps + self.long_steps + self.hard_steps + self.firm_steps

    def stage(self, step: int) -> tuple[str, int]:
        """Name of the stage that `step` belongs to, and its sequence length."""
        if step < self.copying_steps:
            return "copying", self.context_length // (4 if step < self.copying_steps // 2 else 2)
        if step < self.copying_steps + self.short_steps:
            return "short", self.context_length // 2
        if step >= self.total_steps - self.firm_steps:
            return "firm", self.context_length
        return "long" if step < self.total_steps - self.firm_steps - self.hard_steps else "hard", self.context_length

    def rate(self, step: int) -> float:
        """Learning rate at `step`: a short rise, constant, then a cosine down to ``final_share``."""
        progress = step / self.total_steps
        fall = max(0.0, progress - self.constant_share) / (1 - self.constant_share)
        cosine = self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * fall)) / 2
        return self.learning_rate * min(1.0, (step + 1) / 100) * cosine


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """A randomly initialised byte-level Llama of the recipe's shape."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.context_length,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=BYTES,
    )
    return LlamaForCausalLM(config)


def train(
    output: Path, *, seed: int = 0, resume: bool = True, on_step: OnStep | None = None, recipe: Recipe | None = None
) -> Path:
    """Train the demo model into the folder `output`.

    Parameters
    ----------
    output
        Folder for the finished model; ``checkpoint.pt`` lies there meanwhile.
    seed
        Decides the initial weights and every batch.
    resume
        Go on from ``checkpoint.pt`` where there is one.
    on_step
        Called after each step with (steps done, steps in all, loss on the answers in nats, stage).
    recipe
        Other sizes than the shipped model's, for tests and for experiments.

    Returns
    -------
    Path
        `output`, which then holds ``config.json``, ``model.safetensors`` and the tokenizer.

    Raises
    ------
    ValueError
        If the checkpoint in `output` is of another seed or recipe.
    """
    recipe = recipe or Recipe()
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    model = build_model(recipe)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    checkpoint = output / "checkpoint.pt"
    first = _restore(checkpoint, model, optimizer, seed, recipe) if resume and checkpoint.exists() else 0
    for step in range(first, recipe.total_steps):
        loss = _step(model, optimizer, recipe, seed, step)
        done = step + 1
        if done % recipe.checkpoint_every == 0 and done < recipe.total_steps:
            _save_checkpoint(checkpoint, model, optimizer, seed, recipe, done)
        if on_step is not None:
            on_step(done, recipe.total_steps, loss, recipe.stage(step)[0])
    model.to(torch.bfloat16).save_pretrained(output)
    byte_tokenizer(recipe.context_length).save_pretrained(output)
    checkpoint.unlink(missing_ok=True)
    return output


def _step(model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, recipe: Recipe, seed: int, step: int) -> float:
    tokens, weights = batch(recipe, seed, step)
    for group in optimizer.param_groups:
        group["lr"] = recipe.rate(step)
    _dim(model, recipe, seed, step)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(tokens[:, :-1]).logits
    losses = cross_entropy(rearrange(logits.float(), "b n v -> (b n) v"), tokens[:, 1:].flatten(), reduction="none")
    flat = weights.flatten()
    ((losses * flat).sum() / flat.sum()).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return losses.detach()[flat >= ANSWER_WEIGHT].mean().item()


def _dim(model: LlamaForCausalLM, recipe: Recipe, seed: int, step: int) -> None:
    """Scale all attention logits of this step; by 1 outside the last stage."""
    factor = random.Random(f"dim:{seed}:{step}").uniform(recipe.dimmest, 1.0)
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.scaling = attention.head_dim**-0.5 * (factor if recipe.stage(step)[0] == "firm" else 1.0)


def batch(recipe: Recipe, seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens ``[batch, length + 1]`` and loss weights ``[batch, length]`` of one step."""
    stage, length = recipe.stage(step)
    curriculum = Curriculum(
        random.Random(f"{seed}:{step}"),
        hard=stage in ("hard", "firm"),
        first_digit=FIRST_DIGIT_WEIGHT if stage == "firm" else ANSWER_WEIGHT,
    )
    draw: dict[str, Callable[[int], Sample]] = {
        "copying": curriculum.copying,
        "short": lambda size: curriculum.recall(size) if curriculum.rng.random() < 0.75 else curriculum.copying(size),
        "long": curriculum.mixture,
        "hard": curriculum.mixture,
        "firm": curriculum.mixture,
    }
    samples = [draw[stage](length) for _ in range(recipe.tokens_per_step // length)]
    tokens = np.stack([sample.tokens for sample in samples]).astype(np.int64)
    return torch.from_numpy(tokens), torch.from_numpy(np.stack([sample.weights for sample in samples]))


def _save_checkpoint(
    path: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, seed: int, recipe: Recipe, step: int
) -> None:
    state = {
        "step": step,
        "seed": seed,
        "recipe": repr(recipe),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _restore(path: Path, model: LlamaForCausalLM, optimizer: torch.optim.Optimizer, seed: int, recipe: Recipe) -> int:
    state = torch.load(path, weights_only=True)
    if (state["seed"], state["recipe"]) != (seed, repr(recipe)):
        raise ValueError(
            f"{path} was begun with seed {state['seed']} and {state['recipe']}; "
            "go on with the same, choose another folder, or pass resume=False"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
