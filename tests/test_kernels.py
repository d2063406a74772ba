"""One contract for every kernel that returns log-sum-exp, real where it can run, else against a stand-in for it."""

import dataclasses
import sys
import types

import pytest
import torch
from einops import repeat

from selfextend_viz.attention import attend, flash, kernels
from selfextend_viz.attention.flash import KERNELS, kernel_for, probe
from selfextend_viz.attention.flash_attn_kernels import FLASH_ATTN, flash_attn_band, flash_attn_tile
from selfextend_viz.attention.kernels import Kernel
from selfextend_viz.positions import SelfExtend


def tensors(batch, heads, key_heads, rows, keys, head_dim=16, dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, heads, rows, head_dim), (batch, key_heads, keys, head_dim), (batch, key_heads, keys, head_dim)
    return [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]


def reference(query, key, value, *, scale, seen, softcap=None):
    """Output and log-sum-exp in float64, with a mask of visible pairs."""
    query, key, value = query.double(), key.double(), value.double()
    key, value = (repeat(t, "b h n d -> b (h g) n d", g=query.shape[1] // key.shape[1]) for t in (key, value))
    logits = query @ key.transpose(-1, -2) * scale
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    logits = logits.masked_fill(~seen.to(logits.device), -torch.inf)
    return logits.softmax(-1) @ value, logits.logsumexp(-1)


def square(rows, keys, causal):
    seen = torch.ones(rows, keys, dtype=torch.bool)
    return seen.tril() if causal else seen


def on_cpu(kernel, dtypes=(torch.float32,)):
    """The same adapter as if it ran here."""
    return dataclasses.replace(kernel, device="cpu", dtypes=dtypes)


TILES = [(1, 1, True), (1, 1, False), (1, 40, False), (33, 33, True), (33, 70, False), (70, 33, False)]


HERE = [kernel for kernel in KERNELS if kernel.device != "cuda"]
ON_CUDA = [kernel for kernel in KERNELS if kernel.device == "cuda"]


def check_contract(kernel, device):
    for rows, keys, causal in TILES:
        for softcap in (None, 2.0) if kernel.softcaps else (None,):
            for dtype in kernel.dtypes:
                query, key, value = tensors(2, 4, 2, rows, keys, dtype=dtype, device=device)
                output, lse = kernel.tile(query, key, value, causal=causal, scale=0.3, softcap=softcap)
                seen = square(rows, keys, causal)
                expected, expected_lse = reference(query, key, value, scale=0.3, seen=seen, softcap=softcap)
                assert output.shape == query.shape
                assert lse.shape == query.shape[:3]
                assert lse.dtype == torch.promote_types(dtype, torch.float32)
                loose = 2e-2 if dtype in kernels.HALF else 1e-5
                torch.testing.assert_close(output.double(), expected, rtol=0, atol=loose)
                torch.testing.assert_close(lse.double(), expected_lse, rtol=0, atol=loose)


@pytest.mark.parametrize("kernel", HERE, ids=[kernel.name for kernel in HERE])
def test_contract(kernel):
    assert all(probe(kernel, torch.device("cpu"), dtype) is None for dtype in kernel.dtypes)
    check_contract(kernel, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ON_CUDA, ids=[kernel.name for kernel in ON_CUDA])
def test_contract_on_cuda(kernel):
    if reason := probe(kernel, torch.device("cuda"), kernel.dtypes[0]):
        pytest.skip(f"{kernel.name} {reason}")
    check_contract(kernel, "cuda")


@pytest.mark.parametrize("tile", [kernels.cpu_tile, kernels.blockwise_tile], ids=["cpu", "blockwise"])
@pytest.mark.parametrize(
    ("sizes", "causal", "words"),
    [
        ((1, 2, 2, 0, 5), False, "empty"),
        ((1, 2, 2, 5, 0), False, "empty"),
        ((0, 2, 2, 5, 5), False, "empty"),
        ((1, 4, 3, 5, 5), False, "4 query heads do not divide over 3"),
        ((1, 2, 2, 4, 5), True, "4 rows and 5 keys"),
    ],
)
def test_what_kills_the_cpu_kernel_or_fools_it_never_reaches_it(tile, sizes, causal, words):
    with pytest.raises(ValueError, match=words):
        tile(*tensors(*sizes), causal=causal, scale=1.0)


def test_kernels_say_what_they_do_not_take():
    cpu = next(kernel for kernel in KERNELS if kernel.tile is kernels.cpu_tile)
    efficient = next(kernel for kernel in KERNELS if kernel.tile is kernels.efficient_tile)
    query = torch.zeros(1, 1, 1, 513)
    assert "up to 512 as head_dim, not 513" in cpu.refusal(query, None)
    assert cpu.refusal(query[..., :512], None) is None
    assert cpu.refusal(query[..., :8], 2.0) == "has no softcap"
    assert efficient.refusal(query[..., :8], None) == "runs on cuda, not cpu"
    half = next(kernel for kernel in KERNELS if kernel.name == "flash_attn")
    assert half.refusal(query[..., :8], None) == "runs on cuda, not cpu"
    assert on_cpu(half, kernels.HALF).refusal(query[..., :8], None) == "has no float32"
    assert "multiples of 8" in on_cpu(half, kernels.HALF).refusal(query[..., :12].half(), None)


def test_heads_too_large_for_the_cpu_kernel_go_through_the_loop_and_it_says_so():
    query, key, value = tensors(1, 1, 1, 9, 9, head_dim=514)
    kernel, reason = kernel_for(query)
    assert kernel.name == "a blockwise loop"
    assert "not 514" in reason
    exact = attend(query, key, value, SelfExtend(2, 3), implementation="eager")
    assert (attend(query, key, value, SelfExtend(2, 3), implementation="flash") - exact).abs().max() <= 1e-5


def test_a_kernel_that_fails_without_a_word_is_named_by_its_error():
    def silent(*_: object, **__: object) -> None:
        raise NotImplementedError

    kernel = Kernel("silent", "cpu", (torch.float32,), silent)
    assert probe(kernel, torch.device("cpu"), torch.float32) == "is not available: NotImplementedError"


def test_a_kernel_that_fails_its_probe_is_not_available_instead_of_failing():
    def broken(query, key, value, **options):
        raise RuntimeError("no such symbol\nat line 3")

    assert probe(Kernel("broken", "cpu", (torch.float32,), broken), torch.device("cpu"), torch.float32) == (
        "is not available: no such symbol"
    )


def test_without_any_kernel_auto_is_eager_and_flash_raises(monkeypatch):
    monkeypatch.setattr(flash, "KERNELS", ())
    query, key, value = tensors(1, 1, 1, 9, 9)
    exact = attend(query, key, value, SelfExtend(2, 3), implementation="eager")
    assert torch.equal(attend(query, key, value, SelfExtend(2, 3)), exact)
    with pytest.raises(ValueError, match="none is known for cpu"):
        attend(query, key, value, SelfExtend(2, 3), implementation="flash")


# CUDA adapters on a CPU: stand-ins that keep the real operators' contracts, and the operators' own shapes


def flash_attn_stand_in(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0, return_attn_probs=False
):
    """flash_attn_func as documented: ``[batch, length, heads, head_dim]``, causal and window from the bottom right."""
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    assert return_attn_probs
    i = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1]
    j = torch.arange(k.shape[1])[None]
    seen = torch.ones(q.shape[1], k.shape[1], dtype=torch.bool)
    if causal:
        seen &= j <= i
    if window_size[0] >= 0:
        seen &= j >= i - window_size[0]
    assert seen.any(-1).all(), "flash_attn returns an infinite log-sum-exp for an empty row"
    output, lse = reference(
        *(t.transpose(1, 2) for t in (q, k, v)), scale=softmax_scale, seen=seen, softcap=softcap or None
    )
    return output.transpose(1, 2).to(q.dtype), lse.float(), None


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType("flash_attn")
    module.flash_attn_func = flash_attn_stand_in
    monkeypatch.setitem(sys.modules, "flash_attn", module)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_flash_attn_runs_each_band_in_one_call(monkeypatch, stand_in, softcap):
    monkeypatch.setattr(flash, "KERNELS", (dataclasses.replace(on_cpu(FLASH_ATTN), multiple=1),))
    for keys in (1, 2, 40):
        for queries in sorted({1, keys // 2, keys} - {0}):
            for window in (0, 1, 7, 39, 40, 50):
                query, key, value = tensors(2, 4, 2, queries, keys)
                options = {"softcap": softcap}
                exact = attend(query, key, value, SelfExtend(3, window), implementation="eager", **options)
                result = attend(query, key, value, SelfExtend(3, window), implementation="flash", **options)
                assert (result - exact).abs().max() <= 1e-5, (keys, queries, window)


@pytest.mark.parametrize(("rows", "keys", "causal"), TILES)
def test_flash_attn_tiles(stand_in, rows, keys, causal):
    query, key, value = tensors(2, 4, 2, rows, keys)
    output, lse = flash_attn_tile(query, key, value, causal=causal, scale=0.3)
    expected, expected_lse = reference(query, key, value, scale=0.3, seen=square(rows, keys, causal))
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=0, atol=1e-5)


def test_flash_attn_reads_only_the_keys_a_window_needs(stand_in, monkeypatch):
    seen = []

    def recorded(q, k, v, **options):
        seen.append((q.shape[1], k.shape[1], options["window_size"]))
        return flash_attn_stand_in(q, k, v, **options)

    sys.modules["flash_attn"].flash_attn_func = recorded
    query, key, value = tensors(1, 2, 2, 1, 40)
    first, output, lse = flash_attn_band(query, key, value, nearest=0, beyond=8, scale=1.0, softcap=None)
    assert (first, output.shape, lse.shape) == (39, query.shape, query.shape[:3])
    flash_attn_band(query, key, value, nearest=8, beyond=None, scale=1.0, softcap=None)
    assert seen == [(1, 8, (7, 0)), (1, 32, (-1, 0))]


def torch_stand_in(query, key, value, causal, scale, *, grouped):
    """What torch's CUDA operators share: contiguous rows of memory, squares when causal, no grouped heads in most."""
    assert grouped or query.shape[1] == key.shape[1], "takes no grouped heads"
    assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1
    output, lse = reference(query, key, value, scale=scale, seen=square(query.shape[2], key.shape[2], causal))
    return output.to(query.dtype), lse.float()


def flash_operator(query, key, value, dropout_p, is_causal, return_debug_mask, *, scale):
    assert (dropout_p, return_debug_mask) == (0.0, False)
    return (*torch_stand_in(query, key, value, is_causal, scale, grouped=True), None, None, 0, 0, None, None, None)


def cudnn_operator(query, key, value, bias, with_lse, dropout_p, is_causal, return_debug_mask, *, scale):
    assert (bias, with_lse, dropout_p, return_debug_mask) == (None, True, 0.0, False)
    output, lse = torch_stand_in(query, key, value, is_causal, scale, grouped=False)
    return output, lse[..., None], None, None, 0, 0, None, None, None


def efficient_operator(query, key, value, bias, with_lse, dropout_p, is_causal, *, scale):
    assert (bias, with_lse, dropout_p) == (None, True, 0.0)
    output, lse = torch_stand_in(query, key, value, is_causal, scale, grouped=False)
    return output, torch.nn.functional.pad(lse, (0, -lse.shape[-1] % 32), value=torch.inf), None, None


CUDA_ADAPTERS = {
    "_scaled_dot_product_flash_attention": (kernels.flash_tile, flash_operator),
    "_scaled_dot_product_cudnn_attention": (kernels.cudnn_tile, cudnn_operator),
    "_scaled_dot_product_efficient_attention": (kernels.efficient_tile, efficient_operator),
}


@pytest.mark.parametrize("name", CUDA_ADAPTERS)
@pytest.mark.parametrize(("rows", "keys", "causal"), TILES)
def test_cuda_adapters_against_stand_ins(monkeypatch, name, rows, keys, causal):
    tile, operator = CUDA_ADAPTERS[name]
    monkeypatch.setattr(torch.ops.aten, name, operator)
    query, key, value = tensors(2, 4, 2, rows, keys)
    sideways = [t.transpose(2, 3).contiguous().transpose(2, 3) for t in (query, key, value)]
    expected, expected_lse = reference(query, key, value, scale=0.3, seen=square(rows, keys, causal))
    for inputs in ((query, key, value), sideways):
        output, lse = tile(*inputs, causal=causal, scale=0.3)
        torch.testing.assert_close(output.double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(lse.double(), expected_lse, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CUDA_ADAPTERS)
def test_cuda_adapters_fit_the_operators_of_this_torch(name):
    """The real operators on meta tensors: signatures and shapes, without a device."""
    query, key, value = tensors(3, 4, 2, 33, 33, head_dim=64, dtype=torch.bfloat16, device="meta")
    output, lse = CUDA_ADAPTERS[name][0](query, key, value, causal=True, scale=0.3)
    assert output.shape == query.shape
    assert (lse.shape, lse.dtype) == (query.shape[:3], torch.float32)


@pytest.mark.parametrize("name", CUDA_ADAPTERS)
def test_a_whole_pass_through_each_cuda_adapter(monkeypatch, name):
    tile, operator = CUDA_ADAPTERS[name]
    monkeypatch.setattr(torch.ops.aten, name, operator)
    monkeypatch.setattr(flash, "KERNELS", (Kernel(name, "cpu", (torch.float32,), tile),))
    query, key, value = tensors(2, 4, 2, 29, 40)
    exact = attend(query, key, value, SelfExtend(3, 7), implementation="eager")
    assert (attend(query, key, value, SelfExtend(3, 7), implementation="flash") - exact).abs().max() <= 1e-5
