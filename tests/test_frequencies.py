"""Methods that scale frequencies: equal to transformers' own, lent for a block, and given back."""

import copy
import math

import pytest
import torch
from tiny_models import ARCHITECTURES, ROTARY, tiny_llama, tiny_mistral, tiny_qwen2, token_ids
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from selfextend_viz.attention import attend, attention_logits
from selfextend_viz.experiments.random_heads import random_divergence
from selfextend_viz.experiments.rows import HeadRow
from selfextend_viz.frequencies import rule_of, scaled_frequencies
from selfextend_viz.methods import (
    DynamicNTK,
    Llama3Scaling,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    SlidingWindow,
    YaRN,
)
from selfextend_viz.patch import context_length, describe, extend, extended, observe, restore
from selfextend_viz.positions import PlainRoPE, SelfExtend
from selfextend_viz.rope import default_inv_freq, rotate

SHORT, LONG = [1.0] * 4 + [1.2] * 4, [1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
NAMED = [
    PositionInterpolation(3),
    DynamicNTK(2.5),
    YaRN(4),
    YaRN(4, original_length=24, beta_fast=6, beta_slow=0.5),
    Llama3Scaling(8, original_length=20),
    LongRoPE(SHORT, LONG, factor=4, original_length=24),
]
ALL = [*NAMED, NTKAware(4)]
LENGTH = 60


def written(method, model):
    """The method as transformers' own ``rope_parameters``."""
    length = {"original_max_position_embeddings": rule_of(method).get("original_max_position_embeddings")}
    length = length if length["original_max_position_embeddings"] else {}
    original = {"original_max_position_embeddings": context_length(model)}
    return {"rope_theta": 10000.0} | rule_of(method) | original | length


def scaled_model(method, build=tiny_llama):
    """A model that transformers itself scales, with the same weights."""
    return build(rope_parameters=written(method, build()))


@torch.no_grad()
def logits_of(model, ids, method=None, **inputs):
    if method is None:
        return model(ids, **inputs).logits
    with extended(model, method):
        return model(ids, **inputs).logits


@pytest.mark.parametrize("length", [1, 24, 25, 33, 400])
@pytest.mark.parametrize("method", NAMED, ids=str)
def test_they_are_transformers_own(method, length):
    plain = tiny_llama()
    config = plain.config
    config.rope_parameters = written(method, plain)
    expected, factor = ROPE_INIT_FUNCTIONS[rule_of(method)["rope_type"]](config, seq_len=length)
    known = {"theta": 10000.0, "length": length, "context_length": config.max_position_embeddings}
    actual, mine = scaled_frequencies(rule_of(method), default_inv_freq(16)[0], **known)
    assert_close(actual, expected, rtol=2e-6, atol=0)
    assert mine == pytest.approx(factor, abs=1e-12)
    unchanged = isinstance(method, DynamicNTK) and length <= config.max_position_embeddings
    assert torch.allclose(actual, default_inv_freq(16)[0], rtol=1e-4) == unchanged


def halted(model, method):
    with extended(model, method):
        logits_of(model, token_ids(LENGTH))
        raise RuntimeError("halt")


@pytest.mark.parametrize("factor", [1, 2.5, 8])
@pytest.mark.parametrize("theta", [10000.0, 5e5])
def test_ntk_is_another_base(factor, theta):
    expected = default_inv_freq(16, theta=theta * factor ** (16 / 14))[0]
    actual, scale = scaled_frequencies(
        {"rope_type": "ntk", "factor": factor}, default_inv_freq(16, theta=theta)[0], theta=theta, length=9
    )
    assert_close(actual, expected, rtol=2e-6, atol=0)
    assert scale == 1.0


def test_interpolation_is_scaled_positions():
    query, key = (torch.randn(1, 2, 20, 16, dtype=torch.float64) for _ in range(2))
    inv_freq = default_inv_freq(16)[0]
    turned = [rotate(tensor, torch.arange(20) / 4.0, inv_freq) for tensor in (query, key)]
    expected = turned[0] @ turned[1].transpose(-1, -2) / 4
    logits = attention_logits(query, key, PositionInterpolation(4))
    seen = logits.isfinite()
    assert_close(logits[seen], expected[seen], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [YaRN(2), DynamicNTK(2), Llama3Scaling(2), LongRoPE([1.0] * 8, [2.0] * 8)], ids=str)
def test_raw_tensors_need_the_length_that_was_trained(method):
    query = torch.randn(1, 2, 20, 16)
    with pytest.raises(ValueError, match="needs the length L .* pass original_length"):
        attend(query, query, query, method)


def test_what_does_not_fit_the_pairs_is_refused():
    query = torch.randn(1, 2, 20, 16)
    with pytest.raises(ValueError, match="LongRoPE has 2 numbers, but 8 pairs turn"):
        attend(query, query, query, LongRoPE([1, 1], [2, 2], original_length=10))
    with pytest.raises(ValueError, match="at least 2 rotated pairs of dimensions, and there are 1"):
        attend(query, query, query, NTKAware(2), inv_freq=torch.ones(1))
    with (
        pytest.raises(ValueError, match="LongRoPE has 3 numbers, but 8 pairs"),
        extended(tiny_llama(), LongRoPE([1] * 3, [2] * 3)),
    ):
        pass


# Lent to a model


@pytest.mark.parametrize("length", [20, LENGTH])
@pytest.mark.parametrize("method", NAMED, ids=str)
def test_a_lent_model_is_one_that_transformers_scales(method, length):
    ids = token_ids(length, batch=2)
    expected = logits_of(scaled_model(method), ids)
    assert_close(logits_of(tiny_llama(), ids, method), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ROTARY)
def test_every_model_can_be_scaled(name):
    model, ids = ROTARY[name](), token_ids(LENGTH)
    stock = logits_of(model, ids)
    pairs = model.model.rotary_emb.inv_freq.shape[0]
    for method in (*ALL[:5], NTKAware(4), LongRoPE([1.0] * pairs, [2.0] * pairs)):
        assert (logits_of(model, ids, method) - stock).abs().max() > 1e-3
        assert torch.equal(logits_of(model, ids), stock)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_is_scaled_as_transformers_does_or_says_why_not(name):
    model, method, ids = ARCHITECTURES[name].build(), YaRN(4), token_ids(LENGTH)
    config = copy.deepcopy(model.config)
    parameters = getattr(config, "rope_parameters", None) or {}
    local = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if parameters.get("rope_type") != "default" or local:
        why = "already scaled|each kind of layer|would also change"
        with pytest.raises(ValueError, match=why), extended(model, method):
            pass
        return
    config.rope_parameters = parameters | rule_of(method) | {"original_max_position_embeddings": context_length(model)}
    # A method lifts the stock model's window; and transformers' YaRN wants to be told what its plain RoPE works out.
    config.sliding_window = None
    if getattr(config, "head_dim", 0) is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    twin = type(model)(config).eval()
    twin.load_state_dict(model.state_dict())
    assert_close(logits_of(model, ids, method), logits_of(twin, ids), atol=5e-5, rtol=1e-5)
    stock, own = [], []
    for lent, found in ((PlainRoPE(), stock), (method, own)):
        with torch.no_grad(), observe(model, [0, 30, 59], lambda v, f=found: f.append(v.logits(method)), method=lent):
            model(ids)
    assert_close(stock[0], own[0], atol=1e-4, rtol=1e-5)


def test_ntk_is_a_model_of_another_base():
    method = NTKAware(4)
    twin = tiny_llama(rope_parameters={"rope_type": "default", "rope_theta": 10000.0 * 4 ** (16 / 14)})
    assert_close(
        logits_of(tiny_llama(), token_ids(LENGTH), method), logits_of(twin, token_ids(LENGTH)), atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("method", ALL, ids=str)
def test_the_rotary_module_comes_back(method):
    model = tiny_llama()
    rotary = model.model.rotary_emb
    before, buffer = dict(vars(rotary)), rotary.inv_freq
    with pytest.raises(RuntimeError, match="halt"):
        halted(model, method)
    assert vars(rotary) == before and rotary.inv_freq is buffer
    extend(model, method)
    assert rotary.inv_freq is not buffer
    restore(model)
    assert vars(rotary) == before and rotary.inv_freq is buffer
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_blocks_nest_and_the_inner_one_holds():
    model, ids = tiny_llama(), token_ids(LENGTH)
    alone = {method: logits_of(model, ids, method) for method in (*ALL, SelfExtend(3, 7), PlainRoPE())}
    for outer in (YaRN(4), DynamicNTK(2.5), SelfExtend(3, 7)):
        with extended(model, outer):
            for inner, expected in alone.items():
                assert torch.equal(logits_of(model, ids, inner), expected)
                assert torch.equal(logits_of(model, ids), alone[outer])


@pytest.mark.parametrize("method", [m for m in ALL if not isinstance(m, DynamicNTK)], ids=str)
def test_decoding_is_prefill(method):
    model, ids = tiny_llama(), token_ids(LENGTH)
    whole = logits_of(model, ids, method)
    with torch.no_grad(), extended(model, method):
        cache = model(ids[:, :30], use_cache=True).past_key_values
        steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, LENGTH)]
    assert_close(torch.cat(steps, 1), whole[:, 30:], atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", [DynamicNTK(2.5)], ids=str)
def test_dynamic_decoding_is_transformers_own(method):
    ids, found = token_ids(LENGTH), []
    for model, lent in ((scaled_model(method), PlainRoPE()), (tiny_llama(), method)):
        with torch.no_grad(), extended(model, lent):
            cache = DynamicCache(config=model.config)
            parts = [model(ids[:, :30], past_key_values=cache).logits]
            parts += [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, LENGTH)]
        found.append(torch.cat(parts, 1))
    # Both make their frequencies in single precision, each its own way: angles differ by 2e-6, which move the logits by
    # 2.0e-5 even in float64, and each forward rounds by up to 1.1e-5. Other frequencies make more than 1e-3.
    assert_close(found[1], found[0], atol=4e-5, rtol=0)
    assert (found[1] - logits_of(model, ids, method)).abs().max() > 1e-3


@pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
def test_caches_keep_to_their_frequencies():
    model, ids = tiny_llama(), token_ids(40)
    caches = {}
    for method in (PlainRoPE(), YaRN(4), SelfExtend(3, 7)):
        with torch.no_grad(), extended(model, method):
            caches[method] = model(ids, use_cache=True).past_key_values
    for filled, cache in caches.items():
        for method in (PlainRoPE(), YaRN(4), PositionInterpolation(4), SelfExtend(3, 7), SlidingWindow(9)):
            again = copy.deepcopy(cache)
            fits = rule_of(filled) == rule_of(method)
            with torch.no_grad(), extended(model, method):
                if fits:
                    model(ids[:, :1], past_key_values=again)
                else:
                    with pytest.raises(ValueError, match="cache holds 40 tokens whose keys were turned by other"):
                        model(ids[:, :1], past_key_values=again)


def test_a_cache_that_was_emptied_may_begin_again():
    model, ids = tiny_llama(), token_ids(40)
    cache = StaticCache(config=model.config, max_cache_len=48)
    for method in (YaRN(4), PlainRoPE(), PositionInterpolation(4)):
        cache.reset()
        with torch.no_grad(), extended(model, method):
            logits = model(ids, past_key_values=cache).logits
        assert_close(logits, logits_of(model, ids, method), atol=2e-5, rtol=0)


def test_a_model_that_is_scaled_already_is_refused():
    for kind in ("yarn", "dynamic"):
        rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
        model = tiny_llama(rope_parameters=rope)
        with pytest.raises(ValueError, match=f"already scaled .rope_type '{kind}'."), extended(model, YaRN(2)):
            pass
        assert not any(module._forward_pre_hooks for module in model.modules())


def test_local_layers_that_share_the_module_are_not_changed_in_passing():
    layers = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    model = tiny_qwen2(**layers)
    with pytest.raises(ValueError, match="would also change the frequencies of layer 1"), extended(model, YaRN(2)):
        pass


def test_a_window_of_the_stock_model_is_lifted():
    ids = token_ids(LENGTH)
    model, free = tiny_mistral(sliding_window=9), tiny_mistral()
    assert_close(logits_of(model, ids, YaRN(4, 32)), logits_of(free, ids, YaRN(4, 32)), atol=1e-6, rtol=0)
    with extended(model, YaRN(4, 32)):
        assert describe(model).sliding_window == 9
    assert model.config.sliding_window == 9


# Looking on


@pytest.mark.parametrize("lent", [PlainRoPE(), YaRN(4), DynamicNTK(2.5), SelfExtend(3, 7)], ids=str)
def test_views_show_every_method_whatever_is_lent(lent):
    """The first layer's queries and keys do not depend on what is lent, so that its logits must not either."""
    model, ids, rows, found = tiny_llama(), token_ids(LENGTH), [0, 30, 59], {}
    methods = [*ALL, SelfExtend(3, 7), PlainRoPE()]

    def look(view):
        if view.layer == 0:
            found[lent] = [view.logits(method) for method in methods]

    def reference(method):
        got = []
        with observe(model, rows, lambda view: got.append(view.logits(method)), method=method):
            model(ids)
        return got[0]

    with torch.no_grad():
        with observe(model, rows, look, method=lent):
            model(ids)
        for method, logits in zip(methods, found[lent], strict=True):
            assert_close(logits, reference(method), atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ALL, ids=str)
def test_random_heads_can_be_scaled(method):
    rows = random_divergence(method, length=96, context_length=24, head_dim=16, heads=2, queries=8)
    assert all(math.isfinite(row.kl) and row.kl > 0 for row in rows if isinstance(row, HeadRow))
