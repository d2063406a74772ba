"""Flash's gradients are eager's, to the rounding of its precision, without an N x N tensor and around every trap."""

import pytest
import torch
from method_matrix import METHOD_CASES
from test_flash import Largest, nan_memory, tensors, windows  # noqa: F401
from tiny_models import ROTARY, tiny_llama, token_ids

from selfextend_viz.attention import attend, backward_kernels, choose, core
from selfextend_viz.attention.backward_kernels import BACKWARD_KERNELS, backward_kernel_for, probe_backward
from selfextend_viz.attention.kernels import HALF, Kernel, blockwise_tile
from selfextend_viz.attention.merge import fold, unfold_add
from selfextend_viz.patch import extended
from selfextend_viz.positions import Band, SelfExtend
from selfextend_viz.rope import default_inv_freq, rotate

METHOD = SelfExtend(group_size=3, neighbor_window=7)


def gradients(inputs, method, implementation, seed=0, **options):
    """Of a random projection of the output, with respect to every input."""
    inputs = [t.detach().clone().requires_grad_() for t in inputs]
    query, key, value, *sinks = inputs
    output = attend(
        query, key, value, method, sinks=sinks[0] if sinks else None, implementation=implementation, **options
    )
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output)
    return torch.autograd.grad((output * weights).sum(), inputs)


def worst(first, second):
    return max((one - other).abs().max().item() for one, other in zip(first, second, strict=True))


def both(inputs, method, **options):
    return worst(*(gradients(inputs, method, name, **options) for name in ("flash", "eager")))


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_are_the_slopes_of_the_output(softcap, padded):
    inputs = [t.requires_grad_() for t in tensors(1, 2, 1, 5, 9, head_dim=4, dtype=torch.float64)]
    sinks = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    padding = torch.arange(9)[None] < 6 if padded else None

    def run(query, key, value, sinks):
        options = {"sinks": sinks, "softcap": softcap, "key_padding": padding}
        return attend(query, key, value, SelfExtend(2, 2), implementation="flash", **options)

    assert torch.autograd.gradcheck(run, (*inputs, sinks))


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("keys", [1, 2, 63, 111])
def test_they_are_eagers_at_awkward_sizes(keys, softcap):
    for window in windows(keys):
        for queries in sorted({1, 2, keys // 2, keys} & set(range(1, keys + 1))):
            inputs = tensors(2, 4, 2, queries, keys, head_dim=8, dtype=torch.float64)
            assert both(inputs, SelfExtend(3, window), softcap=softcap) <= 1e-12, (keys, queries, window)


@pytest.mark.parametrize("case", METHOD_CASES, ids=[name for name, _ in METHOD_CASES])
def test_they_are_eagers_for_every_method(case):
    inputs = [*tensors(2, 4, 2, 40, 61, dtype=torch.float64), torch.linspace(-2, 3, 4, dtype=torch.float64)]
    assert worst(*(gradients(inputs, case[1], name) for name in ("auto", "eager"))) <= 1e-12


def test_padded_rows_have_the_gradients_of_each_row_alone():
    """Left padding, right padding, both, and a row of nothing but padding, whose gradients are zero."""
    padding = torch.zeros(4, 30, dtype=torch.bool)
    padding[0, :7], padding[1, 22:], padding[2, :5], padding[2, 28:], padding[3] = True, True, True, True, True
    inputs = [*tensors(4, 4, 2, 30, 30, dtype=torch.float64), torch.linspace(-2, 3, 4, dtype=torch.float64)]
    for softcap in (None, 3.0):
        assert both(inputs, METHOD, key_padding=padding, softcap=softcap) <= 1e-12
    found = gradients(inputs, METHOD, "flash", key_padding=padding)
    for tensor in found[:3]:
        assert (tensor.transpose(1, 2)[padding] == 0).all() and tensor.isfinite().all()


def test_a_far_limit_without_a_group_band():
    """Two sliding bands with a hole between: rectangles, causal and upper squares of every size."""
    bands = (Band(beyond=5), Band(nearest=9, beyond=30))
    for queries, keys in ((1, 1), (1, 40), (12, 40), (64, 111)):
        found = []
        for name in ("flash", "eager"):
            inputs = [t.requires_grad_() for t in tensors(2, 2, 2, queries, keys, dtype=torch.float64)]
            output = core(*inputs, bands, rotate=lambda t, band, side: t, implementation=name)
            found.append(torch.autograd.grad(output.square().sum(), inputs))
        assert worst(*found) <= 1e-12


def test_they_flow_through_the_rotation_to_its_frequencies():
    query, key, value = tensors(1, 2, 2, 30, 30, dtype=torch.float64)
    found = []
    for name in ("flash", "eager"):
        inv_freq = default_inv_freq(16)[0].double().requires_grad_()
        attend(query, key, value, METHOD, inv_freq=inv_freq, implementation=name).square().sum().backward()
        found.append(inv_freq.grad)
    assert (found[0] - found[1]).abs().max() <= 1e-10 * found[1].abs().max() and found[0].abs().max() > 1


def test_only_what_requires_gradients_gets_them():
    query, key, value = tensors(1, 2, 2, 9, 9)
    value.requires_grad_()
    attend(query, key, value, METHOD, implementation="flash").sum().backward()
    assert query.grad is None and key.grad is None and value.grad.isfinite().all()
    assert not attend(query, key, value.detach(), METHOD, implementation="flash").requires_grad


def test_a_second_derivative_is_refused_by_torch():
    query, key, value = (t.requires_grad_() for t in tensors(1, 1, 1, 9, 9))
    output = attend(query, key, value, METHOD, implementation="flash")
    (grad,) = torch.autograd.grad(output.square().sum(), query, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("keys", [63, 500])
@pytest.mark.parametrize("implementation", ["flash", "eager"])
def test_half_precision_errs_at_most_twice_what_plain_attention_does(dtype, keys, implementation):
    low = tensors(2, 4, 4, keys, keys, head_dim=64, dtype=dtype)
    high = [t.double() for t in low]
    inv_freq, places = default_inv_freq(64)[0], torch.arange(keys)

    def plain(inputs):
        query, key, value = inputs = [t.detach().clone().requires_grad_() for t in inputs]
        turned = rotate(query, places, inv_freq), rotate(key, places, inv_freq)
        output = torch.nn.functional.scaled_dot_product_attention(*turned, value, is_causal=True)
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
        return torch.autograd.grad((output * weights).sum(), inputs)

    method = SelfExtend(8, keys // 4)
    found, exact = gradients(low, method, implementation), gradients(high, method, "eager")
    for mine, true, stock, stock_true in zip(found, exact, plain(low), plain(high), strict=True):
        assert mine.dtype == dtype
        error, allowed = (mine - true).abs(), (stock - stock_true).abs()
        assert error.max() <= 2 * allowed.max(), (error.max().item(), allowed.max().item())
        assert error.mean() <= 2 * allowed.mean(), (error.mean().item(), allowed.mean().item())


@pytest.mark.parametrize(("length", "softcap"), [(300, None), (1000, 3.0)])
def test_many_shares_of_a_gradient_add_up_to_twice_plain_attentions_error_at_most(monkeypatch, length, softcap):
    """Thirty bands of three tiles, or a tile of a thousand blocks: summed in bfloat16, their roundings would show."""
    monkeypatch.setattr(backward_kernels, "BLOCK_LENGTH", 32)
    edges = range(0, length, 10 if softcap is None else length)
    bands = [Band(nearest=edge, beyond=edge + edges.step) for edge in edges]
    later = torch.ones(length, length, dtype=torch.bool).triu(1)

    def plain(query, key, value):
        if softcap is None:
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        logits = softcap * torch.tanh(query @ key.mT * query.shape[-1] ** -0.5 / softcap)
        return logits.masked_fill(later, -torch.inf).softmax(-1) @ value

    def flash(*inputs):
        return core(*inputs, bands, rotate=lambda t, band, side: t, softcap=softcap, implementation="flash")

    def values(attention, inputs):
        query, key, value = inputs
        output = attention(query, key, value.requires_grad_())
        weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
        return torch.autograd.grad((output * weights).sum(), value)[0]

    low = tensors(1, 2, 2, length, length, head_dim=32, dtype=torch.bfloat16)
    exact = values(plain, [t.double() for t in low])
    error, allowed = ((values(attention, low) - exact).abs() for attention in (flash, plain))
    assert error.max() <= 2 * allowed.max(), (error.max().item(), allowed.max().item())
    assert error.mean() <= 2 * allowed.mean(), (error.mean().item(), allowed.mean().item())


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_no_cell_is_read_before_it_is_written(nan_memory, softcap):  # noqa: F811
    padding = torch.zeros(2, 70, dtype=torch.bool)
    padding[0, :20] = True
    inputs = [*tensors(2, 4, 2, 70, 70, dtype=torch.float64), torch.linspace(-2, 3, 4, dtype=torch.float64)]
    for key_padding in (None, padding):
        assert both(inputs, SelfExtend(8, 20), softcap=softcap, key_padding=key_padding) <= 1e-12


@pytest.mark.parametrize(("softcap", "limit"), [(None, 2 * 2560 * 16), (9.0, 2 * 1024 * 1024)])
def test_no_quadratic_tensor_is_made(softcap, limit):
    """At N = 2560 a head has 6.5 M pairs; the backward pass never holds more than its inputs, or one block a head."""
    inputs = tensors(1, 2, 2, 2560, 2560)
    with Largest() as seen:
        gradients(inputs, SelfExtend(8, 300), "flash", softcap=softcap)
    assert 0 < seen.cells <= limit
    with Largest() as seen:
        gradients([inputs[0][:, :, -300:], *inputs[1:]], SelfExtend(8, 300), "eager", softcap=softcap)
    assert seen.cells >= 2 * 300 * 2560


def test_what_runs_backward_is_said():
    query, key, value = tensors(1, 2, 2, 5, 5)
    assert "back through" not in choose("auto", query, key, value, METHOD.bands).reason
    query.requires_grad_()
    assert choose("auto", query, key, value, METHOD.bands).reason.endswith("back through torch's CPU flash kernel.")
    assert choose("flash", query, key, value, METHOD.bands, softcap=3.0).reason.endswith(
        "back through a blockwise loop."
    )


# The backward kernels, one contract for all, and the traps of torch's CPU kernel


HERE = [kernel for kernel in BACKWARD_KERNELS if kernel.device != "cuda"]
ON_CUDA = [kernel for kernel in BACKWARD_KERNELS if kernel.device == "cuda"]
TILES = [(1, 1, True), (1, 40, False), (33, 33, True), (33, 70, False), (70, 33, False)]


def check_contract(kernel, device):
    """A tile's gradients from the output and log-sum-exp of whole rows, of which the tile is only a part."""
    for rows, keys, causal in TILES:
        for softcap in (None, 2.0) if kernel.softcaps else (None,):
            for dtype in kernel.dtypes:
                exact = [t.double().to(device).requires_grad_() for t in tensors(2, 4, 2, rows, keys, dtype=dtype)]
                outside = torch.full((2, 4, rows, 1), 0.7, dtype=torch.float64, device=device)
                logits = exact[0] @ exact[1].repeat_interleave(2, 1).transpose(-1, -2) * 0.3
                logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
                if causal:
                    later = torch.ones(rows, keys, dtype=torch.bool, device=device).triu(1)
                    logits = logits.masked_fill(later, -torch.inf)
                whole = torch.cat((logits, outside), -1)
                output = whole.softmax(-1)[..., :-1] @ exact[2].repeat_interleave(2, 1)
                grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(device)
                expected = torch.autograd.grad((output * grad.double()).sum(), exact)
                lse = whole.logsumexp(-1).detach().to(torch.promote_types(dtype, torch.float32))
                given = [t.detach().to(dtype) for t in (grad, *exact, output)]
                found = kernel.tile(*given, lse, causal=causal, scale=0.3, softcap=softcap)
                for mine, true in zip(found, expected, strict=True):
                    loose = 3e-2 * max(1, true.abs().max().item()) if dtype in HALF else 1e-5
                    torch.testing.assert_close(mine.double(), true, rtol=0, atol=loose)


@pytest.mark.parametrize("kernel", HERE, ids=[kernel.name for kernel in HERE])
def test_contract(kernel):
    assert all(probe_backward(kernel, torch.device("cpu"), dtype) is None for dtype in kernel.dtypes)
    check_contract(kernel, "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kernel", ON_CUDA, ids=[kernel.name for kernel in ON_CUDA])
def test_contract_on_cuda(kernel):
    if reason := probe_backward(kernel, torch.device("cuda"), kernel.dtypes[0]):
        pytest.skip(f"{kernel.name} {reason}")
    check_contract(kernel, "cuda")


def test_the_cuda_adapter_fits_the_operator_of_this_torch():
    """The real operator on meta tensors: signature and shapes, without a device."""
    query, key, value = tensors(3, 4, 2, 33, 33, head_dim=64, dtype=torch.bfloat16)
    query, key, value = (t.to("meta") for t in (query, key, value))
    lse = torch.empty(3, 4, 33, device="meta")
    found = backward_kernels.flash_backward(query, query, key, value, query, lse, causal=True, scale=0.3)
    assert [t.shape for t in found] == [query.shape, key.shape, value.shape]


@pytest.fixture
def calls(monkeypatch):
    """Every call of the CPU kernel's backward pass: its tensors, and whether it is causal."""
    seen, kernel = [], torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

    def recorded(grad, query, key, value, output, lse, dropout, causal, **options):
        assert set(options) == {"scale"} and dropout == 0
        seen.append(((grad, query, key, value, output), lse, causal))
        return kernel(grad, query, key, value, output, lse, dropout, causal, **options)

    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu_backward", recorded)
    return seen


def test_the_cpu_kernel_only_ever_sees_what_it_can_do(calls):
    """A sum's gradient is one number with strides of zero; tensors may come transposed; no tile may be empty."""
    for keys in (1, 2, 3, 17):
        for queries in range(1, keys + 1):
            for window in range(keys + 3):
                inputs = [
                    t.transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
                    for t in tensors(1, 4, 2, queries, keys)
                ]
                output = core(*inputs, SelfExtend(3, window).bands, rotate=lambda t, band, side: t)
                output.sum().backward()
    assert len(calls) > 200
    for given, lse, causal in calls:
        grad, query, key, _, output = given
        assert all(0 not in t.shape and t.stride(-1) == 1 for t in given)
        assert grad.shape == query.shape == output.shape and lse.shape == query.shape[:3] and lse.isfinite().all()
        assert not causal or query.shape[2] == key.shape[2]


def test_equal_tiles_are_one_call(calls):
    gradients(tensors(1, 2, 2, 512, 512), SelfExtend(8, 64), "flash")
    assert [(tuple(given[1].shape[::2]), causal) for given, _, causal in calls] == [
        ((8, 64), True),
        ((7, 63), True),
        ((1, 448), True),
    ]


def test_many_small_tiles_are_split_over_calls(monkeypatch, calls):
    monkeypatch.setattr("selfextend_viz.attention.flash.MOST_FOLDED", 8)
    assert both(tensors(2, 2, 2, 50, 50, dtype=torch.float64), SelfExtend(4, 3)) <= 1e-12
    assert max(given[0].shape[0] for given, _, _ in calls) <= 8


def test_blocks_smaller_than_a_tile(monkeypatch):
    """With blocks of 32 x 32 logits a square of 111 has full, partial and diagonal blocks."""
    monkeypatch.setattr("selfextend_viz.attention.backward_kernels.BLOCK_LENGTH", 32)
    monkeypatch.setattr("selfextend_viz.attention.backward_kernels.BLOCK_CELLS", 4096)
    assert both(tensors(3, 4, 2, 111, 170, dtype=torch.float64), SelfExtend(4, 40), softcap=3.0) <= 1e-12


def test_a_kernel_that_fails_its_probe_is_passed_over(monkeypatch):
    def broken(*tensors, **options):
        raise RuntimeError("no such symbol\nat line 3")

    kernels = (Kernel("broken", "cpu", (torch.float32,), broken), *HERE)
    monkeypatch.setattr(backward_kernels, "BACKWARD_KERNELS", kernels)
    kernel, reason = backward_kernel_for(torch.zeros(1, 1, 1, 8))
    assert (kernel, reason) == (HERE[0], "broken is not available: no such symbol")


def test_forward_and_backward_kernels_need_not_be_of_one_kind(monkeypatch):
    monkeypatch.setattr(
        "selfextend_viz.attention.flash.KERNELS", (Kernel("x", "cpu", (torch.float64,), blockwise_tile),)
    )
    assert both(tensors(1, 4, 2, 50, 60, dtype=torch.float64), METHOD) <= 1e-12


@pytest.mark.parametrize("stride", [3, 4, 6])
def test_adding_back_what_was_folded(stride):
    """Stretches of 4 that overlap, touch, or leave gaps: every cell gets all that was taken from it."""
    tensor, into = torch.randn(2, 3, 20, 5), torch.zeros(2, 3, 20, 5)
    place = {"start": 2, "count": 3, "stride": stride}
    unfold_add(into, fold(tensor, size=4, **place), **place)
    times = torch.zeros(20)
    for number in range(3):
        times[2 + number * stride : 6 + number * stride] += 1
    torch.testing.assert_close(into, tensor * times[:, None])


# Models


def parameter_gradients(model, ids, implementation, **inputs):
    model.zero_grad()
    with extended(model, METHOD, implementation=implementation):
        model(ids, labels=ids, **inputs).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", ROTARY)
def test_a_models_gradients_are_eagers(name):
    model, ids = ROTARY[name]().double(), token_ids(61, batch=2)
    mask = torch.ones_like(ids)
    mask[0, :9] = 0
    found, expected = (parameter_gradients(model, ids, how, attention_mask=mask) for how in ("flash", "eager"))
    assert expected
    for parameter, gradient in expected.items():
        assert (found[parameter] - gradient).abs().max() <= 1e-9 * max(1, gradient.abs().max()), parameter


def test_a_model_in_half_precision_errs_at_most_twice_what_eager_does():
    model, ids = tiny_llama(), token_ids(80)
    exact = parameter_gradients(model.double(), ids, "eager")
    frequencies = model.model.rotary_emb.inv_freq
    model.to(torch.bfloat16).model.rotary_emb.inv_freq = frequencies
    flash, eager = (parameter_gradients(model, ids, how) for how in ("flash", "eager"))
    for error in (lambda found: max((found[name] - exact[name]).norm() / exact[name].norm() for name in exact),):
        assert error(flash) <= 2 * error(eager)


@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_model_learns_under_a_method(checkpointed):
    """A text longer than the trained context, learnt by heart through flash."""
    model, ids = tiny_llama().train(), token_ids(70, batch=2)
    if checkpointed:
        model.activation_checkpointing_enable()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    with extended(model, METHOD, implementation="flash"):
        for _ in range(12):
            loss = model(ids, labels=ids, use_cache=False).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses


def test_under_autocast_forward_and_backward_round_alike():
    query, key, value = tensors(1, 2, 2, 40, 40)
    expected = gradients((query, key, value), METHOD, "eager", softcap=3.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients((query, key, value), METHOD, "flash", softcap=3.0)
    assert worst(found, expected) <= 1e-5
