"""The fused kernel: what it refuses and why, its numbers in the interpreter, its machine code, its numbers on a GPU.

Whether Triton interprets or compiles is settled when the kernels are imported, so each is a process of its own.
"""

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import fused_cases as cases
import pytest
import torch
from packaging.version import Version

from selfextend_viz.attention import FusedUnavailableError, attend, choose, implementations
from selfextend_viz.attention.fused import fused_probe, fused_refusal, two_bands
from selfextend_viz.methods import SlidingWindow
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend

TESTS = Path(__file__).parent
NO_TRITON = importlib.util.find_spec("triton") is None
OLD_TRITON = not NO_TRITON and Version(version("triton")) < Version("3.7")
needs_triton = pytest.mark.skipif(NO_TRITON, reason="needs Triton: the gpu extra")
needs_interpreter = pytest.mark.skipif(OLD_TRITON, reason="Triton before 3.7 interprets no loop under NumPy 2.4")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


which = pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])


def run_apart(file, which, folder, **environment):
    """A file of tests, or its slow ones, in a process of its own, with nothing of this session's way of running."""
    plain = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", str(TESTS / file), "-m", which, "-q", *plain]
    settings = os.environ | {"TRITON_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"} | environment
    run = subprocess.run(command, cwd=TESTS.parent, env=settings, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout, run.stdout


@needs_triton
@needs_interpreter
@pytest.mark.timeout(300)
@which
def test_its_numbers_in_the_interpreter(which, tmp_path):
    run_apart("fused_interpreted.py", which, tmp_path, TRITON_INTERPRET="1", CUDA_VISIBLE_DEVICES="")


@needs_triton
@pytest.mark.timeout(300)
@which
def test_its_machine_code(which, tmp_path):
    run_apart("fused_compiled.py", which, tmp_path, TRITON_INTERPRET="0")


# What it takes and what it refuses, wherever this runs


def test_two_bands_are_recognised_in_any_order():
    near, far = SelfExtend(4, 9).bands
    assert two_bands((near, far)) == two_bands((far, near)) == (near, far)
    assert two_bands(PlainRoPE().bands) == (PlainRoPE().bands[0], None)
    (group,) = SelfExtend(4, 0).bands
    assert two_bands((group,)) == (group, None)


@pytest.mark.parametrize(
    "bands",
    [
        SlidingWindow(8).bands,
        (Band(nearest=3),),
        (Band(beyond=4), Band(nearest=5)),
        (Band(beyond=4), Band(nearest=4, beyond=9)),
        (Band(beyond=4), Band(nearest=4, beyond=9), Band(nearest=9)),
        (Band(visible=lambda i, j: j < 4),),
        (Band(heads=slice(0, 1)), Band(heads=slice(1, 2))),
    ],
    ids=["sliding", "far alone", "a gap", "a far limit", "three", "by a predicate", "by heads"],
)
def test_other_bands_are_refused(bands):
    query, key, value = cases.tensors(1, 2, 1, 5, 9, 16)
    assert two_bands(bands) is None
    assert "its bands are not one over all distances" in fused_refusal(query, key, value, bands)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda q, k, v: (q, k, v[..., :8]), "value has head_dim 8 and query 16"),
        (lambda q, k, v: (q.double(), k.double(), v.double()), "no float64"),
        (lambda q, k, v: [t.repeat(1, 1, 1, 17) for t in (q, k, v)], "at most 256, not 272"),
        (lambda q, k, v: (q.requires_grad_(), k, v), "no backward pass"),
    ],
)
def test_what_it_cannot_run_is_refused_in_a_sentence_with_the_remedy(change, words):
    query, key, value = change(*cases.tensors(1, 2, 1, 5, 9, 16))
    with pytest.raises(FusedUnavailableError, match=f"fused cannot run this call: .*{words}.*; .*use implementation="):
        attend(query, key, value, SelfExtend(3, 4), implementation="fused")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_gpu_it_is_not_available_and_auto_leaves_it_alone(monkeypatch):
    query, key, value = cases.tensors(1, 2, 1, 5, 9, 16)
    assert choose("auto", query, key, value, SelfExtend(3, 4).bands).name == "flash"
    (row,) = (row for row in implementations() if row.name == "fused")
    assert not row.available
    with pytest.raises(FusedUnavailableError, match="not for cpu|not installed"):
        attend(query, key, value, SelfExtend(3, 4), implementation="fused")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    fused_probe.cache_clear()
    assert fused_probe(torch.device("cpu"), torch.float16) == "triton is not installed"
    fused_probe.cache_clear()


def test_auto_prefers_it_for_half_precision_on_cuda(monkeypatch):
    """Seen through stand-ins, since meta tensors are on no device that runs anything."""
    monkeypatch.setattr("selfextend_viz.attention.dispatch.fused_refusal", lambda *_, **__: None)
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    given = cases.tensors(1, 2, 1, 5, 9, 16)
    assert choose("auto", *(t.half() for t in given), SelfExtend(3, 4).bands).name == "fused"
    assert choose("auto", *given, SelfExtend(3, 4).bands).name == "flash"
    monkeypatch.setattr("selfextend_viz.attention.dispatch.fused_refusal", lambda *_, **__: "it is broken.")
    choice = choose("auto", *(t.half() for t in given), SelfExtend(3, 4).bands)
    assert (choice.name, "Fused cannot run this call: it is broken." in choice.reason) == ("flash", True)


def test_auto_leaves_gradients_to_flash(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    given = [t.half() for t in cases.tensors(1, 2, 1, 5, 9, 16)]
    choice = choose("auto", *given, SelfExtend(3, 4).bands, sinks=torch.zeros(2, requires_grad=True))
    assert choice.name == "flash"
    assert "back through torch's CPU flash kernel" in choice.reason
    assert "Fused cannot run this call: the fused kernel has no backward pass" in choice.reason


# On a GPU


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, *cases.HALF])
@pytest.mark.parametrize(("queries", "keys", "window"), [*cases.LENGTHS, (500, 500, 128), (2000, 4000, 500)])
def test_lengths_on_cuda(queries, keys, window, dtype):
    cases.check(*cases.tensors(1, 4, 2, queries, keys, 64, dtype=dtype, device="cuda"), SelfExtend(8, window))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, *cases.HALF])
@pytest.mark.parametrize("queries", [3, 50])
@pytest.mark.parametrize("head", cases.HEADS, ids=str)
def test_heads_on_cuda(head, queries, dtype):
    cases.check_heads(*head, queries, dtype, device="cuda")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, *cases.HALF])
@pytest.mark.parametrize("queries", [7, 60])
def test_softcap_sinks_and_padding_on_cuda(queries, dtype):
    cases.check_options(queries, dtype, device="cuda")
