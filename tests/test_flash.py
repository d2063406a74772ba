"""Flash gives eager's numbers, to the rounding of its precision, without an N x N tensor and around every trap."""

import pytest
import torch
from method_matrix import METHOD_CASES
from torch.utils._python_dispatch import TorchDispatchMode

from selfextend_viz.attention import attend, choose, core
from selfextend_viz.attention.plan import reached, tile_plan
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band, SelfExtend, tiles
from selfextend_viz.rope import default_inv_freq, rotate


def tensors(batch, heads, key_heads, queries, keys, head_dim=16, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = (batch, heads, queries, head_dim), (batch, key_heads, keys, head_dim), (batch, key_heads, keys, head_dim)
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def both(query, key, value, method, **options):
    return [attend(query, key, value, method, implementation=name, **options) for name in ("flash", "eager")]


def windows(keys):
    return sorted({0, 1, 2, 7, keys // 3, keys - 1, keys, keys + 5} - {-1})


@pytest.mark.parametrize("keys", [1, 2, 63, 111, 500])
@pytest.mark.parametrize("group_size", [1, 3, 8])
def test_flash_equals_eager_at_awkward_sizes(keys, group_size):
    for window in windows(keys):
        for queries in sorted({1, 2, keys // 2, keys - 1, keys} & set(range(1, keys + 1))):
            query, key, value = tensors(1, 2, 1, queries, keys)
            flash, eager = both(query, key, value, SelfExtend(group_size, window))
            assert (flash - eager).abs().max() <= 1e-5, (keys, queries, window)


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (4, 2), (6, 2), (4, 1)])
@pytest.mark.parametrize("queries", [1, 20, 97])
def test_flash_equals_eager_for_grouped_heads_and_batches(heads, key_heads, queries):
    query, key, value = tensors(3, heads, key_heads, queries, 97)
    flash, eager = both(query, key, value, SelfExtend(5, 17))
    assert (flash - eager).abs().max() <= 1e-5


@pytest.mark.parametrize("case", METHOD_CASES, ids=[name for name, _ in METHOD_CASES])
def test_auto_equals_eager_for_every_method(case):
    _, method = case
    query, key, value = tensors(2, 4, 2, 40, 61)
    auto = attend(query, key, value, method)
    assert (auto - attend(query, key, value, method, implementation="eager")).abs().max() <= 1e-5


@pytest.mark.parametrize("softcap", [0.5, 20.0])
@pytest.mark.parametrize("keys", [1, 63, 500])
def test_soft_capped_flash_equals_eager(keys, softcap):
    query, key, value = tensors(2, 4, 2, keys, keys)
    for window in (0, 1, 60, keys + 1):
        flash, eager = both(query, key, value, SelfExtend(4, window), softcap=softcap)
        assert (flash - eager).abs().max() <= 1e-5


def test_soft_capped_tiles_larger_than_a_block(monkeypatch):
    """With blocks of 32 x 32 logits a square of 111 has full, partial and diagonal blocks."""
    monkeypatch.setattr("selfextend_viz.attention.kernels.BLOCK_LENGTH", 32)
    monkeypatch.setattr("selfextend_viz.attention.kernels.BLOCK_CELLS", 4096)
    query, key, value = tensors(3, 4, 2, 111, 170)
    flash, eager = both(query, key, value, SelfExtend(4, 40), softcap=3.0)
    assert (flash - eager).abs().max() <= 1e-5


def test_a_far_limit_without_a_group_band():
    """Two sliding bands with a hole between: rectangles, causal and upper squares of every size."""
    bands = (Band(beyond=5), Band(nearest=9, beyond=30))
    inv_freq = default_inv_freq(16)[0]
    for queries, keys in ((1, 1), (1, 40), (12, 40), (111, 111), (64, 111)):
        query, key, value = tensors(2, 2, 2, queries, keys)

        def turn(tensor, band, side, queries=queries, keys=keys):
            places = torch.arange(keys)[keys - queries :] if side == "query" else torch.arange(keys)
            return rotate(tensor, places, inv_freq)

        flash, eager = (core(query, key, value, bands, rotate=turn, implementation=name) for name in ("flash", "eager"))
        assert (flash - eager).abs().max() <= 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("keys", [63, 111, 500])
@pytest.mark.parametrize("implementation", ["flash", "eager"])
def test_half_precision_errs_at_most_twice_what_plain_attention_does(dtype, keys, implementation):
    query, key, value = tensors(2, 4, 4, keys, keys, head_dim=64, dtype=dtype)
    double = [t.double() for t in (query, key, value)]
    inv_freq, places = default_inv_freq(64)[0], torch.arange(keys)

    def plain(query, key, value):
        turned = rotate(query, places, inv_freq), rotate(key, places, inv_freq)
        return torch.nn.functional.scaled_dot_product_attention(*turned, value, is_causal=True)

    stock = (plain(query, key, value) - plain(*double)).abs()
    method = SelfExtend(8, keys // 4)
    result = attend(query, key, value, method, implementation=implementation)
    assert result.dtype == dtype
    error = (result - attend(*double, method, implementation="eager")).abs()
    assert error.max() <= 2 * stock.max(), (error.max().item(), stock.max().item())
    assert error.mean() <= 2 * stock.mean(), (error.mean().item(), stock.mean().item())


def test_double_precision_stays_double():
    query, key, value = tensors(1, 2, 2, 111, 111, dtype=torch.float64)
    flash, eager = both(query, key, value, SelfExtend(8, 20))
    assert flash.dtype == torch.float64
    assert (flash - eager).abs().max() <= 1e-13


@pytest.fixture
def nan_memory():
    """Every allocation starts as NaN, those inside torch's kernels included."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_no_cell_is_read_before_it_is_written(nan_memory, softcap):
    padding = torch.zeros(2, 111, dtype=torch.bool)
    padding[0, :20] = True
    for key_padding in (None, padding):
        query, key, value = tensors(2, 4, 2, 111, 111)
        flash, eager = both(query, key, value, SelfExtend(8, 20), softcap=softcap, key_padding=key_padding)
        assert (flash - eager).abs().max() <= 1e-5


def test_logits_of_any_size_stay_finite():
    query, key, value = tensors(1, 2, 2, 111, 111)
    for factor in (1e-4, 30.0, 1e4):
        flash, eager = both(factor * query, factor * key, value, SelfExtend(8, 20))
        assert torch.isfinite(flash).all()
        assert torch.isfinite(eager).all()
    flash, eager = both(3 * query, 3 * key, value, SelfExtend(8, 20))
    assert (flash - eager).abs().max() <= 1e-4


class Largest(TorchDispatchMode):
    """The most memory, in cells, behind any tensor that an operation returned; views of it may repeat cells."""

    def __init__(self):
        super().__init__()
        self.cells = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.cells = max(self.cells, tensor.untyped_storage().nbytes() // tensor.element_size())
        return result


@pytest.mark.parametrize(("softcap", "limit"), [(None, 2 * 2560 * 16), (9.0, 2 * 1024 * 1024)])
def test_no_quadratic_tensor_is_made(softcap, limit):
    """At N = 2560 a head has 6.5 M pairs; flash never holds more than its inputs, or one block of logits a head."""
    query, key, value = tensors(1, 2, 2, 2560, 2560)
    with Largest() as seen:
        attend(query, key, value, SelfExtend(8, 300), implementation="flash", softcap=softcap)
    assert 0 < seen.cells <= limit
    with Largest() as seen:
        attend(query[:, :, -300:], key, value, SelfExtend(8, 300), implementation="eager", softcap=softcap)
    assert seen.cells >= 2 * 300 * 2560


# Traps of torch's CPU kernel, which dies of or is silently wrong on what these tests keep from it


@pytest.fixture
def calls(monkeypatch):
    """Every call of the CPU kernel: query, key, value, causal. Only slanted tiles bring a mask, one for all of them."""
    seen, kernel = [], torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def recorded(query, key, value, dropout, causal, **options):
        assert "scale" in options
        if (mask := options.get("attn_mask")) is not None:
            assert set(options) == {"scale", "attn_mask"}
            assert not causal
            assert mask.shape == (query.shape[2], key.shape[2])
            assert mask.isfinite().all()
            assert (mask == 0).any(1).all()
        seen.append((query, key, value, causal))
        return kernel(query, key, value, dropout, causal, **options)

    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", recorded)
    return seen


def test_the_kernel_only_ever_sees_what_it_can_do(calls):
    for keys in (1, 2, 3, 17):
        for queries in range(1, keys + 1):
            for window in range(keys + 3):
                for nearest_only in (False, True):
                    query, key, value = tensors(1, 4, 2, queries, keys)
                    method = SelfExtend(3, window)
                    bands = method.bands[:1] if nearest_only else method.bands
                    core(query, key, value, bands, rotate=lambda t, band, side: t, implementation="flash")
    assert len(calls) > 500
    for query, key, value, causal in calls:
        assert 0 not in query.shape + key.shape + value.shape
        assert query.shape[1] % key.shape[1] == 0
        assert not causal or query.shape[2] == key.shape[2]
        assert query.stride(-1) == key.stride(-1) == value.stride(-1) == 1


def test_tensors_whose_last_axis_is_not_contiguous(calls):
    """Such tensors arrive as transposed views; the kernel reads them wrongly without a word."""
    query, key, value = (t.transpose(2, 3).contiguous().transpose(2, 3) for t in tensors(2, 2, 2, 63, 63))
    assert query.stride(-1) != 1
    flash, eager = both(query, key, value, SelfExtend(4, 10))
    assert (flash - eager).abs().max() <= 1e-5
    assert all(t.stride(-1) == 1 for call in calls for t in call[:3])


def test_heads_laid_out_as_models_do():
    """``[batch, length, heads, head_dim]`` in memory, and a batch that shares one row of memory."""
    query, key, value = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in tensors(2, 4, 2, 111, 111))
    flash, eager = both(query, key, value, SelfExtend(4, 16))
    assert (flash - eager).abs().max() <= 1e-5
    shared = [t[:1].expand(3, -1, -1, -1) for t in (query, key, value)]
    torch.testing.assert_close(attend(*shared, SelfExtend(4, 16))[2:], flash[:1])


def test_a_decode_step_is_two_calls_without_a_causal_flag(calls):
    """In half precision: in single precision it asks no kernel, see test_lone_query.py."""
    query, key, value = tensors(4, 4, 2, 1, 300, dtype=torch.bfloat16)
    attend(query, key, value, SelfExtend(8, 64), implementation="flash")
    assert [(key.shape[2], causal) for _, key, _, causal in calls] == [(64, False), (236, False)]


def test_equal_tiles_are_one_call_and_a_batch_of_one_copies_nothing(calls):
    """The near square, all slanted tiles after it, the far square in halves: heads in place of the batch."""
    query, key, value = tensors(1, 2, 2, 512, 512)
    attend(query, key, value, SelfExtend(8, 64), implementation="flash")
    assert [(tuple(query.shape[:3]), causal) for query, _, _, causal in calls] == [
        ((2, 1, 64), True),
        ((2, 14, 32), False),
        ((2, 2, 224), True),
        ((2, 1, 224), False),
    ]
    assert calls[1][1].shape[2] == 64 + 32 - 1
    assert all(call[2].untyped_storage().data_ptr() == value.untyped_storage().data_ptr() for call in calls)


def test_slanted_tiles_of_a_batch_are_never_copied_for_each_other(calls):
    query, key, value = tensors(3, 2, 2, 512, 512)
    flash, eager = both(query, key, value, SelfExtend(8, 64))
    assert (flash - eager).abs().max() <= 1e-5
    slanted = [call for call in calls if call[0].shape[2] == 32]
    assert [call[0].shape[1] for call in slanted] == [14, 14, 14]
    assert all(call[2].untyped_storage().data_ptr() == value.untyped_storage().data_ptr() for call in slanted)


@pytest.mark.parametrize("nearest", [0, 7])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_slanted_tiles_longer_than_a_block_of_the_kernel(nearest, dtype):
    """The kernel goes by 512 keys; the last rows of a tile see none of the first of a sliding band's 700."""
    query, key, value = tensors(1, 2, 1, 900, 900, dtype=dtype)
    options = {"rotate": lambda tensor, band, side: tensor}
    flash, eager = (
        core(query, key, value, (Band(nearest=nearest, beyond=700),), implementation=name, **options)
        for name in ("flash", "eager")
    )
    limit = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    assert (flash - eager).abs().max() <= limit
    assert nearest == 0 or (flash[:, :, :nearest] == 0).all()


@pytest.mark.parametrize("most", [1, 3, 32768])
def test_gathered_and_split_runs_are_the_same_tiles(most):
    def pairs(found):
        return sorted((t.kind, t.row_start, t.row_stop, t.key_start, t.key_stop) for t in found)

    for keys in (1, 5, 24, 31):
        for queries in (1, 2, keys // 2 + 1, keys):
            if queries > keys:
                continue
            for nearest, beyond in ((0, None), (0, 1), (0, 6), (3, 6), (2, 40), (4, None)):
                plan = tile_plan(queries, keys, nearest, beyond, most)
                assert all(run.count <= most for run in plan)
                assert pairs(tile for run in plan for tile in run) == pairs(tiles(queries, keys, nearest, beyond))
                assert all(run.count <= most for run in tile_plan(queries, keys, nearest, beyond, most, slanted=4))


@pytest.mark.parametrize("slanted", [None, 3])
def test_halved_squares_hold_every_pair_once(slanted):
    """Even and odd squares; only those of the given sizes are cut, and none is left of them."""
    for keys, queries in ((4, 4), (9, 9), (10, 10), (10, 7), (23, 23), (23, 6), (31, 30)):
        for nearest, beyond in ((0, None), (0, 8), (3, 12), (4, None)):
            plan = tile_plan(queries, keys, nearest, beyond, 32768, slanted=slanted, halved=(5, 10))
            found = [tile for run in plan for tile in run]
            seen = torch.zeros(keys, keys, dtype=torch.int64)
            for tile in found:
                rows, columns = torch.arange(tile.row_start, tile.row_stop), torch.arange(tile.key_start, tile.key_stop)
                ahead = (columns - tile.key_start)[None] - (rows - tile.row_start)[:, None]
                inside = {"rectangle": ahead == ahead, "causal": ahead <= 0, "upper": ahead >= 0}
                inside["slanted"] = (ahead >= 0) & (ahead <= tile.keys - tile.rows)
                seen[tile.row_start : tile.row_stop, tile.key_start : tile.key_stop] += inside[tile.kind]
            distance = torch.arange(keys)[:, None] - torch.arange(keys)
            wanted = (distance >= nearest) & (distance < (keys + 1 if beyond is None else beyond))
            wanted[: keys - queries] = False
            assert torch.equal(seen, wanted.long())
            lone = [run.first.rows for run in plan if run.first.kind == "causal" and run.count == 1]
            assert slanted is None or not any(6 <= rows <= 10 for rows in lone)


def test_halves_give_what_one_square_gives(calls):
    """512 rows, which the CPU kernel would compute whole, as two squares of 256 and a rectangle."""
    query, key, value = tensors(1, 2, 1, 512, 512)
    choose("flash", query, key, value, SelfExtend(8, 512).bands)
    calls.clear()
    flash, eager = both(query, key, value, SelfExtend(8, 512))
    assert (flash - eager).abs().max() <= 1e-5
    assert [(key.shape[2], causal) for _, key, _, causal in calls] == [(256, True), (256, False)]


@pytest.mark.parametrize("nearest", [0, 40, 500])
def test_only_what_a_band_reads_is_turned(nearest):
    """Queries before a band's first and keys after its last stay unwritten; padding shifts both."""
    padding = torch.zeros(2, 111, dtype=torch.bool)
    padding[0, :20] = True
    seen = ~padding
    slots = Slots.of(torch.where(seen, seen.cumsum(-1) - 1, -1), queries=80, written=111)
    part = reached(slots, Band(nearest=nearest))
    wanted = {0: (slice(0, 80), slice(0, 111)), 40: (slice(9, 80), slice(0, 71)), 500: None}
    assert part == wanted[nearest]
    assert reached(slots, Band(nearest=40, beyond=50)) == (slice(9, 80), (slice(0, 71)))


def test_many_small_tiles_are_split_over_calls(monkeypatch, calls):
    monkeypatch.setattr("selfextend_viz.attention.flash.MOST_FOLDED", 8)
    query, key, value = tensors(2, 2, 2, 50, 50)
    flash, eager = both(query, key, value, SelfExtend(4, 3))
    assert (flash - eager).abs().max() <= 1e-5
    assert max(call[0].shape[0] for call in calls) <= 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_flash_on_cuda(dtype, softcap):
    for keys, queries, window in ((1, 1, 0), (63, 63, 7), (500, 500, 128), (500, 1, 128), (500, 77, 64)):
        query, key, value = (t.cuda() for t in tensors(2, 4, 2, queries, keys, head_dim=64, dtype=dtype))
        method = SelfExtend(8, window)
        assert choose("flash", query, key, value, method.bands, softcap=softcap).name == "flash"
        exact = attend(*(t.double() for t in (query, key, value)), method, softcap=softcap, implementation="eager")
        errors = [
            (attend(query, key, value, method, softcap=softcap, implementation=name) - exact).abs().max().item()
            for name in ("flash", "eager")
        ]
        assert errors[0] <= 2 * errors[1] + 1e-5, (keys, queries, window, errors)
