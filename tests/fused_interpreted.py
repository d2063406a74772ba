"""The fused kernels in Triton's interpreter; run by test_fused.py in a process with TRITON_INTERPRET=1.

The interpreter cuts float32 to bfloat16 where a GPU rounds, which doubles the error of each step: its bfloat16 cases
are about the way the numbers take, and their digits are tested on a GPU.
"""

import contextlib
from dataclasses import dataclass

import fused_cases as cases
import pytest
import torch
from test_attention import causal, formula
from tiny_models import ARCHITECTURES, tiny_llama, tiny_phi, token_ids
from torch.testing import assert_close

from selfextend_viz.attention import attend, choose, core, fused, fused_decode, fused_prefill, implementations
from selfextend_viz.patch import describe, extended
from selfextend_viz.patch.binding import blocks_of
from selfextend_viz.patch.grouped_cache import GroupedLayer
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend
from selfextend_viz.rope import default_inv_freq, rotate

CUT = 4.0


def slow(*case):
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("queries", "keys", "window"), [slow(*case) if min(case[:2]) > 111 else case for case in cases.LENGTHS]
)
def test_lengths_and_windows(poisoned_empty, queries, keys, window):
    cases.check(*cases.tensors(1, 2, 1, queries, keys, 64), SelfExtend(8, window))


@pytest.mark.parametrize(("queries", "keys"), [(63, 63), (3, 50)])
def test_queries_scaled_by_log_n(queries, keys):
    cases.check(*cases.tensors(1, 2, 1, queries, keys, 64), SelfExtend(8, 16, log_scale=20))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head_dim", "window", "dtype"), [(64, 128, torch.float32), (128, 100, torch.float16), (64, 499, torch.bfloat16)]
)
def test_five_hundred_tokens(head_dim, window, dtype):
    given = cases.tensors(1, 1, 1, 500, 500, head_dim, dtype=dtype)
    cases.check(*given, SelfExtend(8, window), slack=CUT if dtype is torch.bfloat16 else 1.0)


@pytest.mark.parametrize("queries", [3, 50])
@pytest.mark.parametrize(("head_dim", "turning", "heads", "key_heads"), cases.HEADS)
def test_heads(poisoned_empty, head_dim, turning, heads, key_heads, queries):
    cases.check_heads(head_dim, turning, heads, key_heads, queries, torch.float32)


@pytest.mark.parametrize("queries", [3, 50])
@pytest.mark.parametrize("dtype", [torch.float16, slow(torch.bfloat16)])
def test_half_precision(dtype, queries):
    given = cases.tensors(1, 4, 2, queries, 111, 64, dtype=dtype)
    cases.check(*given, SelfExtend(8, 25), slack=CUT if dtype is torch.bfloat16 else 1.0)


@pytest.mark.parametrize("queries", [7, 60])
def test_softcap_sinks_and_padding(poisoned_empty, queries):
    cases.check_options(queries, torch.float32)


@pytest.mark.parametrize("queries", [3, 17])
def test_the_formula_written_out(queries):
    """Against the triple loop, which shares nothing with the kernels."""
    query, key, value = cases.tensors(1, 4, 2, queries, 19, 10)
    inv_freq, sinks = default_inv_freq(6)[0], torch.tensor([-1.0, 0.0, 2.0, 5.0])
    options = {"scale": 0.4, "softcap": 1.5, "sinks": sinks}
    result = attend(query, key, value, SelfExtend(3, 5), inv_freq=inv_freq, implementation="fused", **options)
    expected = formula(query, key, value, causal(3, 5), inv_freq, **options)
    assert_close(result.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("queries", [1, 7, 70])
def test_slots_without_a_token_are_never_read(queries):
    """Padding and slots that are not written may hold anything, NaN included."""
    query, key, value = cases.tensors(3, 2, 1, queries, 111, 64)
    padding = cases.padding_of((20, 111), (0, 108), (0, 0), keys=111)
    hurt = [tensor.masked_fill(padding[:, None, :, None], torch.nan) for tensor in (key, value)]
    cases.check(query, key, value, SelfExtend(4, 9), key_padding=padding, given=(query, *hurt))


@pytest.mark.parametrize("queries", [2, 70])
def test_memory_of_any_layout(queries):
    query, key, value = cases.tensors(2, 2, 1, queries, 80, 64)
    models = [tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in (query, key, value)]
    sideways = [tensor.transpose(2, 3).contiguous().transpose(2, 3) for tensor in (query, key, value)]
    for given in (models, sideways):
        cases.check(query, key, value, SelfExtend(4, 9), given=given)
    shared = [tensor[:1].expand(2, -1, -1, -1) for tensor in (query, key, value)]
    cases.check(*shared, SelfExtend(4, 9))


@pytest.mark.parametrize("queries", [1, 70])
@pytest.mark.parametrize("method", [PlainRoPE(), SelfExtend(3, 0), SelfExtend(3, 200), SelfExtend(1, 9)], ids=str)
def test_one_band(queries, method):
    cases.check(*cases.tensors(1, 2, 1, queries, 111, 64), method)


@dataclass(frozen=True)
class Apart:
    """Far keys 37 positions farther than they are, so that no pair could be in either band unnoticed."""

    window: int
    moved: str = "query"

    @property
    def bands(self):
        moves = {
            "query": {"query_position": lambda i: i + 37},
            "key": {"key_position": lambda j: j - 37},
            "both": {"query_position": lambda i: i + 30, "key_position": lambda j: j - 7},
        }
        return Band(beyond=self.window), Band(**moves[self.moved], nearest=self.window)


@pytest.mark.parametrize(("queries", "keys"), [slow(33, 33), (17, 47), slow(9, 39), slow(1, 47), (6, 47)])
def test_every_way_tiles_can_fall(monkeypatch, queries, keys):
    """With tiles of 16 x 16 every edge of every band falls on, before and behind an edge of tiles."""
    monkeypatch.setattr(fused_prefill, "default_blocks", lambda *_: {"BLOCK_M": 16, "BLOCK_N": 16})
    monkeypatch.setattr(fused_decode, "TILE", 16)
    first, last = keys - queries, keys - 1
    edges = {edge % 16 + shift for edge in (first, last) for shift in (0, 1, 2, 15)}
    for window in sorted((edges | {1, keys - 1}) - {0}):
        query, key, value = cases.tensors(1, 1, 1, queries, keys, 16)
        expected = attend(query, key, value, Apart(window), implementation="eager")
        result = attend(query, key, value, Apart(window), implementation="fused")
        assert (result - expected).abs().max() <= 5e-6, window


@pytest.mark.parametrize(("wanted", "heads", "keys"), [(1, 4, 111), slow(5, 4, 260), (2, 22, 111)])
def test_any_number_of_splits_and_of_rows(monkeypatch, wanted, heads, keys):
    """22 heads of one key head and six queries are more rows than a tile has."""
    monkeypatch.setattr(fused_decode, "_cores", lambda device: wanted)
    monkeypatch.setattr(fused_decode, "PROGRAMS_PER_CORE", 1)
    assert fused_decode.splits_for(keys, programs=1, device=torch.device("cpu"))[0] == wanted
    cases.check(*cases.tensors(1, heads, 1, 6, keys, 64), SelfExtend(8, 60))


def test_a_rotation_that_does_not_tell_its_angles():
    method, inv_freq = SelfExtend(3, 20), default_inv_freq(64)[0]
    for queries in (1, 40):
        query, key, value = cases.tensors(1, 2, 1, queries, 111, 64)

        def turn(tensor, band, side, queries=queries):
            told = band.query_position if side == "query" else band.key_position
            places = torch.arange(111)[-queries:] if side == "query" else torch.arange(111)
            return rotate(tensor, told(places), inv_freq)

        result = core(query, key, value, method.bands, rotate=turn, implementation="fused")
        expected = attend(query, key, value, method, implementation="eager")
        assert_close(result, expected, rtol=0, atol=5e-6)


def test_an_attention_factor_reaches_the_kernel():
    for queries in (1, 40):
        given = cases.tensors(1, 2, 1, queries, 111, 64)
        results = [
            attend(*given, SelfExtend(3, 20), attention_factor=1.2, implementation=name) for name in ("fused", "eager")
        ]
        assert_close(*results, rtol=0, atol=5e-6)


def test_logits_of_any_size_stay_finite():
    query, key, value = cases.tensors(1, 2, 1, 63, 63, 64)
    for factor in (1e-4, 30.0, 1e4):
        for softcap, rows in ((None, 63), (50.0, 63), (50.0, 3)):
            options = {"softcap": softcap, "implementation": "fused"}
            result = attend(factor * query[:, :, -rows:], factor * key, value, SelfExtend(8, 20), **options)
            assert torch.isfinite(result).all()


@pytest.mark.parametrize("queries", [1, 20])
def test_sinks_of_any_size_stay_finite(queries):
    given = cases.tensors(1, 2, 1, queries, 63, 64)
    sinks = torch.tensor([-1e4, 1e4])
    fused_result, eager_result = (
        attend(*given, SelfExtend(3, 20), sinks=sinks, implementation=name) for name in ("fused", "eager")
    )
    assert_close(fused_result, eager_result, rtol=0, atol=5e-6)
    assert fused_result[:, 0].abs().max() > 0.1
    assert fused_result[:, 1].abs().max() == 0


@torch.no_grad()
@pytest.mark.parametrize(("build", "options"), [slow(tiny_llama, {"cache_implementation": "static"}), (tiny_phi, {})])
def test_a_model_generates_through_it(build, options):
    """Prefill, decode, the stock cache, a padded batch, and Phi's partly turned heads."""
    model, ids = build(), token_ids(40, batch=2)
    mask = torch.ones_like(ids)
    mask[0, :9] = 0
    told = {"max_new_tokens": 2, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    results = []
    for name in ("fused", "eager"):
        with extended(model, SelfExtend(3, 7), implementation=name):
            results.append(model.generate(ids, attention_mask=mask, **told, **options))
    assert torch.equal(results[0].sequences, results[1].sequences)
    for fused_logits, eager_logits in zip(results[0].logits, results[1].logits, strict=True):
        assert_close(fused_logits, eager_logits, rtol=0, atol=5e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cohere", slow("gemma2"), slow("gpt_oss"), slow("glm4")])
def test_interleaved_pairs_soft_caps_and_sinks_of_models(name):
    """The kernel knows half-split angles only: interleaved queries and keys are turned before it reads them."""
    model, ids = ARCHITECTURES[name].build(), token_ids(24)
    model.set_attn_implementation("eager")
    with extended(model, SelfExtend(3, 7), implementation="eager"):
        whole = model(ids).logits
    with extended(model, SelfExtend(3, 7), implementation="fused"):
        cache = model(ids[:, :23], use_cache=True)
        step = model(ids[:, 23:], past_key_values=cache.past_key_values).logits
    assert_close(torch.cat([cache.logits, step], 1), whole, rtol=0, atol=5e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    "method",
    [Apart(7), Apart(7, moved="key"), slow(Apart(7, moved="both")), slow(PlainRoPE())],
    ids=["query", "key", "both", "none"],
)
def test_a_band_may_move_queries_or_keys_or_both(method):
    """A model's near band moves neither; tables are there for the sides that move only."""
    model, ids, logits = tiny_llama(), token_ids(40), []
    for name in ("fused", "eager"):
        with extended(model, method, implementation=name):
            cache = model(ids[:, :-3], use_cache=True).past_key_values
            logits.append(model(ids[:, -3:], past_key_values=cache).logits)
    assert_close(*logits, rtol=0, atol=5e-5)


@pytest.fixture
def kernels(monkeypatch):
    """Which of the two kernels every fused call went to, and how many queries it had."""
    seen = []
    for dtype in fused.DTYPES:
        fused.fused_probe(torch.device("cpu"), dtype)

    def recorded(name, run):
        def record(query, *arguments, **options):
            seen.append((name, query.shape[2]))
            return run(query, *arguments, **options)

        return record

    for name, room in (("decode", fused_decode), ("prefill", fused_prefill)):
        monkeypatch.setattr(room, "run", recorded(name, room.run))
    return seen


@torch.no_grad()
@pytest.mark.parametrize("method", [SelfExtend(3, 7), PlainRoPE()], ids=str)
def test_a_step_reads_the_stock_cache_and_keeps_nothing_beside_it(monkeypatch, kernels, method):
    """One pass of the decode kernel a layer, under a method and in a plain block alike."""
    model, ids, asked = tiny_llama(), token_ids(20), []
    monkeypatch.setattr(GroupedLayer, "turned_keys", lambda *_: asked.append(1))
    with extended(model, method, implementation="fused"):
        cache = model(ids[:, :-1], use_cache=True).past_key_values
        model(ids[:, -1:], past_key_values=cache)
        said = str(describe(model))
    layers = model.config.num_hidden_layers
    assert kernels == [("prefill", 19)] * layers + [("decode", 1)] * layers
    assert not asked
    assert said.endswith("as they are read" if isinstance(method, SelfExtend) else "cache: ordinary")


@torch.no_grad()
def test_one_cache_serves_it_and_flash_in_turns():
    """Keys that flash keeps turned beside the cache are made good where fused steps left them behind."""
    model, ids = tiny_llama(), token_ids(24)
    with extended(model, SelfExtend(3, 7), implementation="eager"):
        whole = model(ids).logits
    with extended(model, SelfExtend(3, 7), implementation="flash"):
        cache = model(ids[:, :20], use_cache=True).past_key_values
        (block,) = blocks_of(model.model.layers[0].self_attn)
        for place, block.implementation in enumerate(("flash", "fused", "fused", "flash"), start=20):
            step = model(ids[:, place : place + 1], past_key_values=cache).logits
            assert_close(step[:, 0], whole[:, place], rtol=0, atol=5e-5)


def test_auto_leaves_gradients_to_flash_also_where_the_rotation_brings_them(monkeypatch, kernels):
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    for room in (fused_decode, fused_prefill):
        monkeypatch.setattr(room, "on_device", lambda tensor: contextlib.nullcontext())
    for queries in (1, 20):
        query, key, value = cases.tensors(1, 2, 1, queries, 63, 64, dtype=torch.float16)
        gradients = []
        for name in ("auto", "eager"):
            inv_freq = default_inv_freq(64)[0].requires_grad_()
            output = attend(query, key, value, SelfExtend(3, 20), inv_freq=inv_freq, implementation=name)
            (gradient,) = torch.autograd.grad(output.float().square().sum(), inv_freq)
            gradients.append(gradient)
        assert_close(*gradients, rtol=2e-2, atol=2e-2 * gradients[1].abs().max().item())
    assert kernels == [("decode", 1), ("prefill", 20)]


def test_the_choice_is_reported():
    query, key, value = cases.tensors(1, 2, 1, 1, 9, 64)
    choice = choose("fused", query, key, value, SelfExtend(3, 4).bands)
    assert (choice.name, "one pass" in choice.reason) == ("fused", True)
    (row,) = (row for row in implementations() if row.name == "fused")
    assert row.available
    assert "one pass" in row.reason


def test_gradients_are_refused_also_where_the_rotation_brings_them():
    query, key, value = cases.tensors(1, 2, 1, 1, 9, 64)
    for queries in (1, 9):
        given = (query.expand(-1, -1, queries, -1), key, value)
        with pytest.raises(fused.FusedUnavailableError, match="no backward pass"):
            attend(given[0].clone().requires_grad_(), key, value, SelfExtend(3, 4), implementation="fused")
        inv_freq = default_inv_freq(64)[0].requires_grad_()
        with pytest.raises(fused.FusedUnavailableError, match="no backward pass"):
            attend(*given, SelfExtend(3, 4), inv_freq=inv_freq, implementation="fused")


def test_a_kernel_that_fails_its_probe_is_not_available_instead_of_failing(monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no such instruction\nat line 3")

    monkeypatch.setattr(fused_prefill, "run", broken)
    fused.fused_probe.cache_clear()
    query, key, value = cases.tensors(1, 2, 1, 1, 9, 64)
    said = fused.fused_refusal(query, key, value, SelfExtend(3, 4).bands)
    fused.fused_probe.cache_clear()
    assert said == "it is not available: no such instruction; use implementation='flash'."
