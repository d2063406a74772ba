"""A model too large for one device: two processes hold half of every layer each, and answer as one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensor_parallel_worker import LENGTH, run
from tiny_models import ROTARY, token_ids
from torch.testing import assert_close

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WORKER = Path(__file__).with_name("tensor_parallel_worker.py")
FAMILIES = ("llama", "mistral", "qwen3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Answers of two processes, each beside its model."""
    folder = tmp_path_factory.mktemp("parallel")
    for name in FAMILIES:
        ROTARY[name](vocab_size=64).save_pretrained(folder / name)
        torch.save(token_ids(LENGTH, batch=2), folder / name / "ids.pt")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run(
        [*command, str(WORKER), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_two_processes_answer_as_one(folder, name):
    model = ROTARY[name](vocab_size=64)
    alone = run(model, token_ids(LENGTH, batch=2))
    shared = torch.load(folder / name / "answers.pt", weights_only=False)
    assert shared.pop("query rows here") == model.model.layers[0].self_attn.q_proj.weight.shape[0] // 2
    assert (alone["eager"] - alone["stock"]).abs().max() > 0.1  # the method matters here
    for kind, logits in alone.items():
        if isinstance(logits, torch.Tensor):
            assert_close(shared.pop(kind), logits, atol=5e-5, rtol=0, msg=lambda text, kind=kind: f"{kind}: {text}")
    assert shared["said"] == alone["said"]
    assert 2 * shared["memory"].stock == alone["memory"].stock > 0  # each process caches the heads it holds
    assert 2 * shared["memory"].beside == alone["memory"].beside > 0
