"""One process of a tensor-parallel run; it takes a folder that holds a model in each of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.distributed import DistributedConfig

from selfextend_viz import SelfExtend, extended
from selfextend_viz.patch import cache_memory, describe

METHOD = SelfExtend(group_size=4, neighbor_window=8)
LENGTH, NEW_TOKENS = 80, 6


def run(model, ids):
    """What a model answers under the method: logits of a padded batch, a cached step's, a text, and its memory."""
    mask = torch.ones_like(ids)
    mask[1, :7] = 0
    answers = {}
    with torch.inference_mode():
        answers["stock"] = model(ids).logits
        for implementation in ("eager", "flash"):
            with extended(model, METHOD, implementation=implementation):
                answers[implementation] = model(ids).logits
                answers[f"{implementation}, padded"] = model(ids, attention_mask=mask).logits[:, 7:]
        with extended(model, METHOD):
            cache = model(ids[:, :-1]).past_key_values
            answers["step"] = model(ids[:, -1:], past_key_values=cache).logits
            answers["text"] = model.generate(ids[:1], max_new_tokens=NEW_TOKENS, do_sample=False)
            answers["memory"] = cache_memory(model, LENGTH)
            answers["said"] = str(describe(model))
        answers["stock again"] = model(ids).logits
    return answers


def main(folder):
    """Load every model in its share of this process; the first process writes the answers beside it."""
    for place in sorted(folder.iterdir()):
        model = AutoModelForCausalLM.from_pretrained(place, distributed_config=DistributedConfig(tp_plan="auto")).eval()
        answers = run(model, torch.load(place / "ids.pt"))
        answers["query rows here"] = model.model.layers[0].self_attn.q_proj.weight.to_local().shape[0]
        if torch.distributed.get_rank() == 0:
            torch.save(answers, place / "answers.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
