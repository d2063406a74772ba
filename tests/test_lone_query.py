"""A lone query on CPU: every band's keys in one softmax, with eager's numbers and nothing else read."""

import pytest
import torch
from method_matrix import METHOD_CASES

from selfextend_viz.attention import attend, choose, core
from selfextend_viz.attention.flash import flash_refusal
from selfextend_viz.attention.logits import Unturned
from selfextend_viz.positions import Band, SelfExtend

BANDS = SelfExtend(4, 9).bands
QUERY = torch.zeros(1, 1, 1, 16)
FLASH = [method for _, method in METHOD_CASES if flash_refusal(QUERY, QUERY, QUERY, method.bands) is None]


@pytest.fixture
def kernels_asked(monkeypatch):
    """The tiles that any kernel was given."""
    asked = []

    def spy(*tensors, **options):
        asked.append(tensors)
        raise AssertionError("a lone query went to a kernel")

    monkeypatch.setattr("selfextend_viz.attention.flash._merge", spy)
    return asked


def tensors(batch, heads, key_heads, keys, *, queries=1, dtype=torch.float32, head_dim=16):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, heads, queries, head_dim), (batch, key_heads, keys, head_dim), (batch, key_heads, keys, head_dim)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


def both(query, key, value, method, **options):
    return [attend(query, key, value, method, implementation=name, **options) for name in ("flash", "eager")]


@pytest.mark.parametrize("method", FLASH, ids=str)
@pytest.mark.parametrize("keys", [1, 2, 30, 61])
def test_every_method_that_flash_takes(method, keys, kernels_asked):
    flash, eager = both(*tensors(2, 4, 2, keys), method)
    assert (flash - eager).abs().max() <= 1e-5


@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (4, 4), (6, 2), (4, 1)])
@pytest.mark.parametrize("softcap", [None, 0.7])
@pytest.mark.parametrize("sunk", [False, True])
@pytest.mark.parametrize("window", [0, 1, 17, 96, 97, 200])
def test_heads_caps_and_sinks(heads, key_heads, softcap, sunk, window, kernels_asked):
    inputs = tensors(3, heads, key_heads, 97)
    sinks = torch.linspace(-1, 2, heads) if sunk else None
    flash, eager = both(*inputs, SelfExtend(5, window), softcap=softcap, sinks=sinks, scale=0.4)
    assert (flash - eager).abs().max() <= 1e-5


def test_rows_with_padding(kernels_asked):
    """Left padding, right padding, a row of one token, one that is padding all through, two rows alike."""
    keys = 40
    starts_stops = [(0, keys), (7, keys), (0, 30), (keys - 1, keys), (0, 0), (7, keys), (7, keys)]
    positions = torch.full((len(starts_stops), keys), -1)
    for row, (start, stop) in enumerate(starts_stops):
        positions[row, start:stop] = torch.arange(stop - start)
    query, key, value = tensors(len(starts_stops), 4, 2, keys)
    for padded in (key, value):
        padded[positions[:, None, :, None].expand_as(padded) < 0] = 1e4

    def turn(tensor, band, side):
        """Keys that tell the bands apart."""
        return tensor if side == "query" else tensor * (1 + band.nearest)

    given = {"rotate": turn, "key_positions": positions}
    flash, eager = (core(query, key, value, BANDS, **given, implementation=name) for name in ("flash", "eager"))
    assert (flash - eager).abs().max() <= 1e-5
    unseen = [row for row, (_, stop) in enumerate(starts_stops) if stop < keys]
    assert (flash[unseen] == 0).all()
    assert (flash[[row for row in range(len(starts_stops)) if row not in unseen]] != 0).any(-1).all()


def test_what_no_band_covers_is_not_read(kernels_asked):
    """Two sliding bands with a hole between them and an end before the first key."""
    bands = (Band(beyond=5), Band(nearest=9, beyond=30))
    query, key, value = tensors(2, 2, 2, 50)
    clean = core(query, key, value, bands, rotate=Unturned(), implementation="eager")
    distance = 49 - torch.arange(50)
    hidden = ~((distance < 5) | ((distance >= 9) & (distance < 30)))
    key[:, :, hidden], value[:, :, hidden] = torch.nan, torch.nan
    assert (core(query, key, value, bands, rotate=Unturned(), implementation="flash") - clean).abs().max() <= 1e-5


def test_a_query_that_sees_nothing_gets_zeros(kernels_asked):
    query, key, value = tensors(1, 2, 2, 4)
    assert (core(query, key, value, (Band(nearest=4),), rotate=Unturned(), implementation="flash") == 0).all()


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_it_errs_at_most_twice_what_plain_attention_does(size, kernels_asked):
    query, key, value = tensors(1, 4, 4, 3000, head_dim=64)
    query = query * size
    double = [tensor.double() for tensor in (query, key, value)]
    ours = core(query, key, value, BANDS, rotate=Unturned(), implementation="flash")
    ours = (ours - core(*double, BANDS, rotate=Unturned(), implementation="eager")).abs().max()
    sdpa = torch.nn.functional.scaled_dot_product_attention
    stock = (sdpa(query, key, value) - sdpa(*double)).abs().max()
    assert ours <= 2 * stock, (ours.item(), stock.item())


def test_double_precision_stays_double(kernels_asked):
    inputs = tensors(1, 4, 2, 97, dtype=torch.float64)
    flash, eager = both(*inputs, SelfExtend(5, 17))
    assert flash.dtype == torch.float64
    assert (flash - eager).abs().max() <= 1e-13


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_go_to_a_kernel(dtype, kernels_asked):
    inputs = [tensor.to(dtype) for tensor in tensors(1, 4, 4, 97)]
    with pytest.raises(AssertionError, match="went to a kernel"):
        attend(*inputs, SelfExtend(5, 17), implementation="flash")
    assert len(kernels_asked) == 1


def test_gradients_go_through_the_tiles():
    query, key, value = (tensor.requires_grad_() for tensor in tensors(1, 2, 2, 40, dtype=torch.float64))
    found = []
    for name in ("flash", "eager"):
        loss = attend(query, key, value, SelfExtend(4, 9), implementation=name).square().sum()
        found.append(torch.autograd.grad(loss, (query, key, value)))
    for mine, wanted in zip(*found, strict=True):
        torch.testing.assert_close(mine, wanted)


def test_it_is_said():
    single = choose("flash", *tensors(1, 4, 2, 97, queries=5), SelfExtend(5, 17).bands)
    half = choose("flash", *(tensor.half() for tensor in tensors(1, 4, 2, 97)), SelfExtend(5, 17).bands)
    assert "a lone query in one softmax" in single.reason
    assert "lone" not in half.reason
