"""The fused kernels compiled for sm_90 without a GPU; run by test_fused.py in a process that does not interpret.

Registers, spilled bytes and shared memory are read from the machine code: a kernel that spills in its loops, or needs
more than a multiprocessor has, is not as fast as it should be, or does not start.
"""

import contextlib
import re
import subprocess
from pathlib import Path

import pytest
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from selfextend_viz.attention import attend, fused, fused_prefill
from selfextend_viz.attention.fused_decode import decode_blocks
from selfextend_viz.attention.fused_decode_kernels import decode_kernel, merge_kernel
from selfextend_viz.attention.fused_kernels import INTERPRETED, prefill_kernel, turn_kernel
from selfextend_viz.attention.fused_prefill import BLOCKS, BLOCKS_OF_WIDE_HEADS, default_blocks, power_of_two
from selfextend_viz.positions import SelfExtend

MULTIPROCESSOR = {"registers": 65536, "shared": 232448}
LEAST_SPILLED = 32
TYPES = {"bounds": "*i32", "partial": "*fp32", "partial_lse": "*fp32", "scale": "fp32", "softcap": "fp32"}
TENSORS = {
    *("query", "key", "value", "output", "sinks", "tensor", "turned"),
    *("query_near", "query_far", "key_near", "key_far"),
}
NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


def kind_of(name, dtype):
    if name.endswith(("cos", "sin")):
        return "*fp32" if dtype is torch.float32 else "*fp16"
    if name in TENSORS:
        return f"*{NAMES[dtype]}"
    return TYPES.get(name, "i32")


def compiled(kernel, dtype, constants, *, num_warps=4, num_stages=3):
    """The compiled kernel and its registers, spilled bytes and shared memory, in bytes."""
    signature = {name: "constexpr" if name in constants else kind_of(name, dtype) for name in kernel.arg_names}
    aligned = ("_batch", "_head", "_head_step", "_length")
    divisible = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(kernel.arg_names)
        if signature[name].startswith("*") or name.endswith(aligned)
    }
    source = ASTSource(kernel, signature, constants, divisible)
    options = {"num_warps": num_warps, "num_stages": num_stages}
    result = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    return result, usage(result)


def usage(result):
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    folder = Path(triton.knobs.cache.dir)
    folder.mkdir(parents=True, exist_ok=True)
    cubin = folder / "kernel.cubin"
    cubin.write_bytes(result.asm["cubin"])
    said = subprocess.run([tool, "--dump-resource-usage", cubin], capture_output=True, text=True, check=True).stdout
    registers, stack, local = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", said).groups()
    return {"registers": int(registers), "spilled": int(stack) + int(local), "shared": result.metadata.shared}


def check(found, num_warps, *, spilled=0):
    assert found["registers"] * 32 * num_warps <= MULTIPROCESSOR["registers"], found
    assert found["shared"] <= MULTIPROCESSOR["shared"], found
    assert found["spilled"] <= spilled, found


def test_this_process_compiles():
    assert not INTERPRETED


def prefill(head_dim, dtype, blocks, **options):
    settings = {key: blocks.pop(key) for key in ("num_warps", "num_stages")}
    constants = {"GROUPS": 4, "TWO_BANDS": True, "BOUNDED": False, "SINKS": False, "SOFTCAP": False, "UPCAST": False}
    constants |= {"PRECISION": "ieee" if dtype is torch.float32 else "tf32", "HEAD_DIM": head_dim}
    constants |= {"BLOCK_D": power_of_two(head_dim)} | blocks | options
    return *compiled(prefill_kernel, dtype, constants, **settings), settings["num_warps"]


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


def tried(blocks):
    return dict(zip(("BLOCK_M", "BLOCK_N", "num_warps", "num_stages"), blocks, strict=True))


@pytest.mark.parametrize(
    ("head_dim", "dtype", "blocks", "options"),
    [
        (128, torch.bfloat16, tried(BLOCKS[0]), {}),
        slow(64, torch.float16, tried(BLOCKS[0]), {}),
        slow(128, torch.bfloat16, default_blocks(128, torch.bfloat16), {}),
        slow(128, torch.bfloat16, tried(BLOCKS[0]), {"BOUNDED": True, "SINKS": True, "SOFTCAP": True}),
        (80, torch.bfloat16, tried(BLOCKS[0]), {"TWO_BANDS": False}),
        slow(256, torch.bfloat16, tried(BLOCKS_OF_WIDE_HEADS[0]), {}),
    ],
)
def test_prefill_runs_on_tensor_cores_without_spilling(head_dim, dtype, blocks, options):
    result, found, num_warps = prefill(head_dim, dtype, dict(blocks), **options)
    check(found, num_warps, spilled=LEAST_SPILLED if head_dim == 256 else 0)
    assert "wgmma.mma_async" in result.asm["ptx"]
    assert "cp.async" in result.asm["ptx"]


@pytest.mark.slow
def test_float32_prefill_leaves_tensor_cores_aside():
    result, found, num_warps = prefill(64, torch.float32, default_blocks(64, torch.float32))
    check(found, num_warps, spilled=512)
    assert "mma" not in result.asm["ptx"]


@pytest.mark.parametrize(
    ("head_dim", "pairs", "dtype", "rows"),
    [
        (128, 64, torch.bfloat16, 4),
        slow(64, 32, torch.float16, 32),
        slow(80, 16, torch.bfloat16, 4),
        slow(256, 128, torch.bfloat16, 8),
    ],
)
def test_decode_keeps_the_turned_keys_in_registers(head_dim, pairs, dtype, rows):
    blocks = decode_blocks(rows, head_dim, pairs, dtype)
    settings = {key: blocks.pop(key) for key in ("num_warps", "num_stages")}
    constants = {"GROUPS": 4, "TWO_BANDS": True, "BOUNDED": False, "NEAR_QUERY_TURNED": False}
    constants |= {"NEAR_KEY_TURNED": False, "FAR_QUERY_TURNED": True, "FAR_KEY_TURNED": True}
    constants |= {"SOFTCAP": False, "UPCAST": False, "PRECISION": "tf32", "HEAD_DIM": head_dim}
    constants |= {"BLOCK_D": power_of_two(head_dim)} | blocks
    result, found = compiled(decode_kernel, dtype, constants, **settings)
    check(found, settings["num_warps"])
    assert "mma.sync" in result.asm["ptx"]
    assert "cp.async" in result.asm["ptx"]


def test_the_small_kernels():
    turning = {"HEAD_DIM": 80, "PAIRS": 16, "BLOCK_P": 16, "BLOCK_R": 64, "BLOCK_N": 32}
    check(compiled(turn_kernel, torch.bfloat16, turning)[1], 4)
    merging = {"SINKS": True, "HEAD_DIM": 128, "BLOCK_D": 128, "BLOCK_S": 128}
    check(compiled(merge_kernel, torch.bfloat16, merging)[1], 4)


class StandInDriver:
    """What Triton asks of a GPU's driver up to the launch itself."""

    def get_current_device(self):
        return 0

    def get_current_stream(self, device):
        return 0

    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

    def get_benchmarker(self):
        return lambda launch, quantiles: [1.0, 1.0, 1.0]


@pytest.fixture
def launches(monkeypatch):
    """Every launch is bound and compiled as on a GPU, and then not made: its kernel, and how many of it there are."""
    seen = []

    def stopping(kernel):
        run = kernel.run

        def stopped(*arguments, grid, warmup, **options):
            run(*arguments, grid=grid, warmup=True, **options)
            seen.append((kernel.fn.__name__, len(kernel.device_caches[0][0])))

        return stopped

    for kernel in (prefill_kernel, turn_kernel, decode_kernel, merge_kernel):
        monkeypatch.setattr(kernel, "run", stopping(kernel))
    monkeypatch.setattr(fused, "fused_probe", lambda device, dtype: None)
    monkeypatch.setattr(triton.runtime.driver, "_active", StandInDriver())
    return seen


def launch(queries, keys, *, head_dim=64, padded=False, **options):
    query = torch.zeros(2, 2, queries, head_dim, dtype=torch.bfloat16)
    key = torch.zeros(2, 1, keys, head_dim, dtype=torch.bfloat16)
    padding = torch.zeros(2, keys, dtype=torch.bool)
    padding[0, : 4 if padded else 0] = True
    attend(query, key, key, SelfExtend(8, 20), key_padding=padding, implementation="fused", **options)


def test_launches_fit_the_kernels_and_a_growing_text_compiles_nothing_anew(launches):
    for keys in (300, 301, 304, 512):
        launch(1, keys)
    assert launches == [("decode_kernel", 1), ("merge_kernel", 1)] * 4
    launches.clear()
    launch(100, 300)
    launch(101, 301)
    assert launches == [*[("turn_kernel", 1)] * 4, ("prefill_kernel", 1)] * 2


@pytest.mark.slow
def test_a_launch_with_padding_softcap_and_sinks_fits_the_kernels(launches):
    launch(3, 300, padded=True, sinks=torch.zeros(2), softcap=3.0)
    launch(9, 300, padded=True, sinks=torch.zeros(2), softcap=3.0)
    decoded, prefilled = ["decode_kernel", "merge_kernel"], [*["turn_kernel"] * 4, "prefill_kernel"]
    assert [name for name, _ in launches] == decoded + prefilled


def test_long_texts_are_tuned(launches, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(fused_prefill, "on_device", lambda tensor: contextlib.nullcontext())
    for tuned in (fused_prefill._tuned(False), fused_prefill._tuned(True)):
        assert not tuned.cache
    launch(600, 600)
    assert [name for name, _ in launches][-1] == "prefill_kernel"
    assert len(fused_prefill._tuned(False).cache) == 1
    assert not fused_prefill._tuned(True).cache
