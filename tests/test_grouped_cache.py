"""Turned keys kept beside a cache change no logit, survive all a cache can go through, and leave with the block."""

import contextlib
import copy
import gc
import io
import pickle
import weakref

import pytest
import torch
from tiny_models import ROTARY, tiny_llama, token_ids
from torch.testing import assert_close
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfextend_viz.methods import ShuffledSelfExtend
from selfextend_viz.patch import describe, extended
from selfextend_viz.patch.grouped_cache import CacheKeeper, GroupedLayer, layer_of
from selfextend_viz.patch.rotation import Turns
from selfextend_viz.positions import PlainRoPE, SelfExtend

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

METHOD = SelfExtend(group_size=3, neighbor_window=7)
LENGTH = 40


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture
def turned(monkeypatch):
    """How many keys every turning for a cache turned."""
    counts, original = [], Turns.keys_from

    def counted(self, first, keys, told):
        counts.append(keys.shape[2])
        return original(self, first, keys, told)

    monkeypatch.setattr(Turns, "keys_from", counted)
    return counts


def expected(model, ids, method=METHOD, **inputs):
    """Logits of a whole text at once, without a cache."""
    with extended(model, method, implementation="eager"):
        return model(ids, use_cache=False, **inputs).logits


def started(model, ids, **inputs):
    """A cache that keeps turned keys: a prefill and one step."""
    cache = DynamicCache(config=model.config)
    model(ids[:, :-1], past_key_values=cache, **_cut(inputs, ids.shape[1] - 1))
    model(ids[:, -1:], past_key_values=cache, **inputs)
    return cache


def _cut(inputs, length):
    return {name: mask[:, :length] for name, mask in inputs.items()}


def is_near(actual, wanted):
    assert_close(actual, wanted, atol=2e-5, rtol=0)


class TestSteps:
    @pytest.mark.parametrize("name", ROTARY)
    def test_a_step_is_the_last_row_and_turns_one_key(self, name, turned):
        model, ids = ROTARY[name](), token_ids(LENGTH, batch=2)
        whole = expected(model, ids)
        with extended(model, METHOD):
            cache = model(ids[:, :20]).past_key_values
            assert turned == []
            steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(20, LENGTH)]
        is_near(torch.cat(steps, 1), whole[:, 20:])
        assert turned == [21, 21, *[1] * (2 * (LENGTH - 21))]

    def test_chunks(self, llama, turned):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            cache = DynamicCache()
            parts = [llama(part, past_key_values=cache).logits for part in ids.split(9, 1)]
        is_near(torch.cat(parts, 1), expected(llama, ids))
        assert turned[::2] == [18, 9, 9, 4]

    def test_more_tokens_than_the_room_of_one_growth(self, llama, monkeypatch):
        monkeypatch.setattr("selfextend_viz.patch.grouped_cache._SPARE", 1)
        ids = token_ids(60)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :10])
            steps = [llama(ids[:, i : i + 1], past_key_values=cache).logits for i in range(10, 60)]
        is_near(torch.cat(steps, 1), expected(llama, ids)[:, 10:])

    @pytest.mark.parametrize("method", [ShuffledSelfExtend(3, 8), SelfExtend(4, 0), SelfExtend(64, 8)], ids=str)
    def test_any_method_that_moves_keys(self, llama, method):
        ids = token_ids(LENGTH)
        with extended(llama, method):
            cache = started(llama, ids[:, :30])
            assert type(cache.layers[0]) is GroupedLayer
            steps = [llama(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, LENGTH)]
        is_near(torch.cat(steps, 1), expected(llama, ids, method)[:, 30:])

    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_padded_rows(self, llama, implementation):
        ids = token_ids(LENGTH, batch=3)
        mask = (torch.arange(LENGTH) >= torch.tensor([[0], [11], [25]])).long()
        whole = expected(llama, ids, attention_mask=mask)
        with extended(llama, METHOD, implementation=implementation):
            cache = started(llama, ids[:, :30], attention_mask=mask[:, :30])
            for i in range(30, LENGTH):
                step = llama(ids[:, i : i + 1], past_key_values=cache, attention_mask=mask[:, : i + 1]).logits
                assert_close(step, whole[:, i : i + 1], atol=5e-5, rtol=0)

    def test_a_mask_that_changes_its_mind(self, llama):
        """The first tokens of a row are masked after its keys were turned: it starts later, and stands elsewhere."""
        ids, mask = token_ids(LENGTH), torch.ones(1, LENGTH, dtype=torch.long)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :30])
            mask[:, :2] = 0
            step = llama(ids[:, 30:31], past_key_values=cache, attention_mask=mask[:, :31]).logits
            keys = cache.layers[0].keys
            again = DynamicCache(config=llama.config)
            for number, layer in enumerate(cache.layers):
                again.update(layer.keys[:, :, :30].clone(), layer.values[:, :, :30].clone(), number)
            fresh = llama(ids[:, 30:31], past_key_values=again, attention_mask=mask[:, :31]).logits
            assert keys.shape[2] == 31
            is_near(step, fresh)

    def test_a_slot_that_becomes_a_token_later(self, llama):
        """A right-padded row's keys are turned while they are padding, by where they would stand."""
        ids, mask = token_ids(LENGTH, batch=2), torch.ones(2, LENGTH, dtype=torch.long)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :20])
            mask[1, 20:23] = 0
            llama(ids[:, 20:23], past_key_values=cache, attention_mask=mask[:, :23])
            fresh = DynamicCache(config=llama.config)
            for number, layer in enumerate(cache.layers):
                fresh.update(layer.keys.clone(), layer.values.clone(), number)
            # One chunk, whose last token is far enough away to see the once padded slots grouped.
            steps = [llama(ids[:, 23:], past_key_values=past).logits for past in (cache, fresh)]
        is_near(*steps)

    def test_inference_mode_and_out_of_it_and_back(self, llama):
        ids, steps = token_ids(LENGTH), []
        with extended(llama, METHOD):
            with torch.inference_mode():
                cache = started(llama, ids[:, :30])
            for i in range(30, LENGTH):
                with torch.inference_mode() if i % 4 < 2 else torch.no_grad():
                    steps.append(llama(ids[:, i : i + 1], past_key_values=cache).logits.clone())
        is_near(torch.cat(steps, 1), expected(llama, ids)[:, 30:])

    def test_steps_with_gradients_among_steps_without(self, llama):
        ids, steps = token_ids(LENGTH), []
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :30])
            for i in range(30, LENGTH):
                with torch.set_grad_enabled(i % 4 < 2):
                    logits = llama(ids[:, i : i + 1], past_key_values=cache).logits
                    assert logits.requires_grad == (i % 4 < 2)
                    steps.append(logits.detach())
            with torch.enable_grad():
                llama.zero_grad()
                cache = DynamicCache(config=llama.config)
                parts = [llama(part, past_key_values=cache).logits for part in ids.split(13, 1)]
                torch.cat(parts, 1).square().mean().backward()
                found = llama.model.layers[0].self_attn.k_proj.weight.grad.clone()
                llama.zero_grad()
                llama(ids, use_cache=False).logits.square().mean().backward()
        is_near(torch.cat(steps, 1), expected(llama, ids)[:, 30:])
        wanted = llama.model.layers[0].self_attn.k_proj.weight.grad
        assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()
        llama.zero_grad()

    def test_frequencies_that_change_under_way(self):
        model, ids = tiny_llama(), token_ids(LENGTH)
        with extended(model, METHOD):
            cache = started(model, ids[:, :30])
            model.model.rotary_emb.inv_freq.mul_(0.5)
            step = model(ids[:, 30:31], past_key_values=cache).logits
            fresh = DynamicCache(config=model.config)
            for number, layer in enumerate(cache.layers):
                fresh.update(layer.keys[:, :, :30].clone(), layer.values[:, :, :30].clone(), number)
            is_near(step, model(ids[:, 30:31], past_key_values=fresh).logits)


def crop(cache):
    cache.crop(-9)
    return slice(None), slice(0, -9)


def reorder(cache):
    rows = torch.tensor([2, 0, 0])
    cache.reorder_cache(rows)
    return rows, slice(None)


def repeat(cache):
    cache.batch_repeat_interleave(2)
    return torch.tensor([0, 0, 1, 1, 2, 2]), slice(None)


def select(cache):
    cache.batch_select_indices(torch.tensor([2, 1]))
    return torch.tensor([2, 1]), slice(None)


def select_by_mask(cache):
    cache.batch_select_indices(torch.tensor([True, False, True]))
    return torch.tensor([0, 2]), slice(None)


def offload_and_fetch(cache):
    for layer in cache.layers:
        layer.offload()
        layer.prefetch()
    return slice(None), slice(None)


def copy_deeply(cache):
    cache.layers = copy.deepcopy(cache).layers
    return slice(None), slice(None)


def write_into(cache):
    """Someone forgets what a token said, in place: all rows now hold the first row's keys and values."""
    for layer in cache.layers:
        layer.keys[1:] = layer.keys[:1].clone()
        layer.values[1:] = layer.values[:1].clone()
    return torch.tensor([0, 0, 0]), slice(None)


def put_other_tensors(cache):
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys.flip(0), layer.values.flip(0)
    return torch.tensor([2, 1, 0]), slice(None)


KEPT = [crop, reorder, repeat, select, select_by_mask]
MADE_AGAIN = [offload_and_fetch, copy_deeply, write_into, put_other_tensors]
CHANGES = [(change, False) for change in KEPT + MADE_AGAIN]
CHANGES += [(change, True) for change in [*KEPT, offload_and_fetch, copy_deeply]]


class TestWhatACacheGoesThrough:
    @pytest.mark.parametrize(("change", "padded"), CHANGES, ids=lambda value: getattr(value, "__name__", str(value)))
    def test_the_next_steps_are_those_of_the_changed_text(self, llama, change, padded, turned):
        ids = token_ids(LENGTH, batch=3)
        mask = (torch.arange(LENGTH) >= torch.tensor([[0], [11], [20]]) * padded).long()
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :30], attention_mask=mask[:, :30])
            rows, kept = change(cache)
            ids = torch.cat((ids[rows, :30][:, kept], ids[rows, 30:]), 1)
            mask = torch.cat((mask[rows, :30][:, kept], mask[rows, 30:]), 1)
            past = ids.shape[1] - 10
            turned.clear()
            for i in range(past, past + 10):
                step = llama(ids[:, i : i + 1], past_key_values=cache, attention_mask=mask[:, : i + 1]).logits
                whole = expected(llama, ids[:, : i + 1], attention_mask=mask[:, : i + 1])
                assert_close(step, whole[:, -1:], atol=5e-5, rtol=0)
        assert turned[:2] == ([1, 1] if change in KEPT else [past + 1] * 2)

    def test_an_earlier_tensor_never_changes(self, llama):
        ids, other = token_ids(LENGTH), token_ids(LENGTH, seed=1)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :30])
            held = [cache.layers[0].keys, cache.layers[0].values]
            before = [tensor.clone() for tensor in held]
            cache.crop(-4)
            llama(other[:, 26:32], past_key_values=cache)
        assert all(torch.equal(tensor, then) for tensor, then in zip(held, before, strict=True))

    def test_two_conversations_that_branch(self, llama):
        """A shallow copy of every layer, which shares its tensors: neither writes into the other's text."""
        ids, other = token_ids(LENGTH), torch.cat((token_ids(30), token_ids(10, seed=1)), 1)
        with extended(llama, METHOD):
            first = started(llama, ids[:, :30])
            second = DynamicCache(config=llama.config)
            second.layers = [copy.copy(layer) for layer in first.layers]
            for i in range(30, LENGTH):
                for text, cache in ((ids, first), (other, second)):
                    step = llama(text[:, i : i + 1], past_key_values=cache).logits
                    is_near(step, expected(llama, text[:, : i + 1])[:, -1:])

    def test_reset(self, llama):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            cache = started(llama, token_ids(20, seed=1))
            cache.reset()
            assert cache.get_seq_length() == 0
            steps = [llama(part, past_key_values=cache).logits for part in ids.split(13, 1)]
        is_near(torch.cat(steps, 1), expected(llama, ids))

    def test_beam_search_keeps_them(self, llama, turned):
        ids, told = token_ids(30), {"num_beams": 3, "max_new_tokens": 6, "do_sample": False}
        with extended(llama, METHOD):
            kept = llama.generate(ids, **told)
            assert max(turned[2:]) == 1
            assert torch.equal(kept, llama.generate(ids, **told, use_cache=False))

    def test_prompt_lookup_crops(self, llama):
        ids = token_ids(10).repeat(1, 3)
        with extended(llama, METHOD):
            found = llama.generate(ids, max_new_tokens=8, do_sample=False, prompt_lookup_num_tokens=3)
            assert torch.equal(found, llama.generate(ids, max_new_tokens=8, do_sample=False, use_cache=False))


class TestGivingBack:
    def test_a_cache_is_the_stock_models_after_the_block(self, llama):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :30])
            inside = [(layer.keys.clone(), layer.values.clone()) for layer in cache.layers]
            layers = list(cache.layers)
        stock = started(llama, ids[:, :30])
        for layer, kept, plain, tensors in zip(cache.layers, layers, stock.layers, inside, strict=True):
            assert layer is kept and type(layer) is DynamicLayer and set(vars(layer)) == set(vars(plain))
            for mine, theirs, then in zip((layer.keys, layer.values), (plain.keys, plain.values), tensors, strict=True):
                assert torch.equal(mine, then) and mine.shape == theirs.shape
                assert mine.stride() == theirs.stride()
                assert mine.untyped_storage().nbytes() == theirs.untyped_storage().nbytes()
        step = llama(ids[:, 30:31], past_key_values=cache).logits
        with extended(llama, METHOD):
            again = llama(ids[:, 31:32], past_key_values=cache).logits
        assert step.isfinite().all() and again.isfinite().all()

    def test_the_keys_in_the_first_layer_are_the_stock_models(self, llama):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            cache = started(llama, ids)
            layer, plain = cache.layers[0], started_stock(llama, ids).layers[0]
            assert_close(layer.keys, plain.keys, atol=1e-5, rtol=0)
            assert_close(layer.values, plain.values, atol=1e-5, rtol=0)

    def test_nor_do_hooks_stay_when_the_block_fails(self, llama):
        cache = DynamicCache(config=llama.config)
        with contextlib.suppress(ZeroDivisionError), extended(llama, METHOD):
            llama(token_ids(9), past_key_values=cache)
            assert all(type(layer) is GroupedLayer for layer in cache.layers)
            assert 1 // 0
        assert all(type(layer) is DynamicLayer for layer in cache.layers)
        assert not any(module._forward_pre_hooks for module in llama.modules())

    def test_blocks_within_blocks(self, llama):
        ids, other = token_ids(LENGTH), SelfExtend(2, 4)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :20])
            with extended(llama, other):
                is_inner = llama(ids[:, 20:21], past_key_values=copy.deepcopy(cache)).logits
                assert (is_inner - expected(llama, ids[:, :21])[:, -1:]).abs().max() > 1e-3
            with extended(llama, PlainRoPE()):
                llama(ids[:, 20:21], past_key_values=copy.deepcopy(cache))
            steps = [llama(ids[:, i : i + 1], past_key_values=cache).logits for i in range(20, LENGTH)]
        is_near(torch.cat(steps, 1), expected(llama, ids)[:, 20:])
        assert type(cache.layers[0]) is DynamicLayer

    def test_copies_and_pickles_are_stock(self, llama):
        with extended(llama, METHOD):
            cache = started(llama, token_ids(20))
            assert type(cache.layers[0]) is GroupedLayer and isinstance(cache.layers[0], DynamicLayer)
            stream = io.BytesIO(pickle.dumps(cache))
            for twin in (copy.deepcopy(cache), pickle.load(stream)):
                assert type(twin.layers[0]) is DynamicLayer
                assert set(vars(twin.layers[0])) == set(vars(DynamicCache(config=llama.config).layers[0])) | {
                    "dtype",
                    "device",
                }
                assert torch.equal(twin.layers[1].keys, cache.layers[1].keys)

    def test_a_cache_that_is_dropped_is_freed_at_once(self, llama):
        gc.disable()
        try:
            with extended(llama, METHOD):
                cache = started(llama, token_ids(20))
                keys = weakref.ref(cache.layers[-1].keys)
                del cache
                assert keys() is None
        finally:
            gc.enable()

    def test_turned_keys_that_are_not_asked_for_are_let_go(self, llama, turned):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            cache = started(llama, ids[:, :20])
            with extended(llama, PlainRoPE()):
                llama(ids[:, 20:21], past_key_values=cache)
                llama(ids[:, 21:22], past_key_values=cache)
            turned.clear()
            llama(ids[:, 22:23], past_key_values=cache)
        assert turned == [23, 23]


def started_stock(model, ids):
    with extended(model, PlainRoPE()):
        return started(model, ids)


class TestOtherCaches:
    def test_they_stay_what_they_are(self, llama, turned):
        ids = token_ids(LENGTH)
        with extended(llama, METHOD):
            for options in ({"cache_implementation": "static"}, {"use_cache": False}):
                llama.generate(ids[:, :20], max_new_tokens=3, do_sample=False, **options)
        assert turned == []

    def test_an_offloaded_one_is_left_alone(self, llama):
        cache, module = DynamicCache(config=llama.config), llama.model.layers[1].self_attn
        for offloading, kind in ((True, DynamicLayer), (False, GroupedLayer)):
            cache.offloading = offloading
            CacheKeeper().adopt(module, (), {"past_key_values": cache})
            assert type(cache.layers[1]) is kind

    def test_keys_that_are_not_the_layers_own_are_turned_as_they_are(self, llama):
        cache, module = DynamicCache(config=llama.config), llama.model.layers[1].self_attn
        CacheKeeper().adopt(module, (), {"past_key_values": cache})
        keys, _ = cache.update(torch.zeros(1, 2, 3, 16), torch.zeros(1, 2, 3, 16), 1)
        assert layer_of(keys) is cache.layers[1]
        assert layer_of(keys[:, :, :2]) is None and layer_of(keys.clone()) is None

    def test_describe_says_what_is_kept(self, llama):
        with extended(llama, METHOD):
            assert "kept beside it, as large as its keys" in str(describe(llama))
        with extended(llama, PlainRoPE()):
            assert str(describe(llama)).endswith("cache: ordinary")
