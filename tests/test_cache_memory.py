"""The bytes said are the bytes a cache holds."""

import pytest
import torch
from tiny_models import ROTARY, tiny_llama, tiny_mistral, tiny_qwen2, token_ids
from transformers import DynamicCache

from selfextend_viz.patch import describe, extended
from selfextend_viz.patch.cache_memory import cache_memory
from selfextend_viz.patch.grouped_cache import GroupedLayer
from selfextend_viz.positions import SelfExtend

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
LENGTH = 50


@torch.no_grad()
def held(model, *, batch_size=1):
    """Bytes of keys and values, and of what is kept beside them, after a prefill and one step."""
    ids, cache = token_ids(LENGTH, batch=batch_size), DynamicCache(config=model.config)
    model(ids[:, :-1], past_key_values=cache)
    model(ids[:, -1:], past_key_values=cache)
    stock = sum(tensor.nbytes for layer in cache.layers for tensor in (layer.keys, layer.values))
    grown = [layer for layer in cache.layers if isinstance(layer, GroupedLayer)]
    beside = sum(kept.keys.tensor.nbytes for layer in grown for kept in layer._beside._turned.values())
    return stock, beside


@pytest.mark.parametrize("model", ROTARY.values(), ids=ROTARY)
@pytest.mark.parametrize("method", [None, SelfExtend(3, 7), {1: SelfExtend(3, 7)}, SelfExtend(1, 7)], ids=str)
def test_a_models_cache(model, method):
    model = model()
    if method is None:
        found, held_now = cache_memory(model, LENGTH), held(model)
    else:
        with extended(model, method):
            found, held_now = cache_memory(model, LENGTH), held(model)
    assert (found.stock, found.beside) == held_now
    assert found.total == sum(held_now)


def test_half_precision_and_a_batch():
    model = tiny_llama().to(torch.bfloat16)
    found = cache_memory(model, LENGTH, batch_size=3)
    assert (found.stock, found.beside) == held(model, batch_size=3)
    assert found.stock == 2 * 2 * 3 * LENGTH * 2 * 16 * 2


def test_a_sliding_window_holds_less_until_a_method_lifts_it():
    model = tiny_mistral(sliding_window=9)
    stock = cache_memory(model, LENGTH)
    assert (stock.stock, stock.beside) == held(model)
    with extended(model, SelfExtend(3, 7)):
        lifted = cache_memory(model, LENGTH)
        assert (lifted.stock, lifted.beside) == held(model)
    assert lifted.stock > stock.stock


def test_local_layers_hold_their_window_under_a_method_too():
    model = tiny_qwen2(num_hidden_layers=4, use_sliding_window=True, sliding_window=9, max_window_layers=2)
    stock = cache_memory(model, LENGTH)
    assert (stock.stock, stock.beside) == held(model)
    with extended(model, SelfExtend(3, 7)):
        found = cache_memory(model, LENGTH)
        assert (found.stock, found.beside) == held(model)
    assert found.stock == stock.stock == 2 * (2 * LENGTH + 2 * 8) * 2 * 16 * 4


def test_describe_says_it_at_a_length():
    model = tiny_llama()
    assert "cache of one text" not in str(describe(model))
    assert "cache of one text of 8192 tokens: 4.0 MiB" in str(describe(model, length=8192))
    with extended(model, SelfExtend(2, 4)):
        description = describe(model, length=8192)
    assert (description.cache_bytes, description.beside_bytes) == (4 * 2**20, 2 * 2**20)
    assert "cache of one text of 8192 tokens: 4.0 MiB and 2.0 MiB beside it" in str(description)


@pytest.mark.parametrize("length", [0, -5])
def test_a_length_below_one_is_refused(length):
    with pytest.raises(ValueError, match=f"length is {length}, but must be at least 1"):
        describe(tiny_llama(), length=length)
