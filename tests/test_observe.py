"""Looking at a running model: the logits of sampled rows are the formula's, for any method, on one q and k."""

import pytest
import torch
from method_matrix import METHOD_CASES
from model_oracle import UNSEEN, turned_products
from tiny_models import ROTARY, tiny_llama, tiny_mistral, token_ids
from torch.testing import assert_close

from selfextend_viz.patch import extended, observe, rotation
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions

METHOD = SelfExtend(group_size=3, neighbor_window=7)
ROWS = [0, 3, 17, 44]


def views_of(model, ids, rows, *, method=None, look=lambda view: view, **inputs):
    found = []
    with torch.no_grad(), observe(model, rows, lambda view: found.append(look(view)), method=method):
        model(ids, **inputs)
    return found


@pytest.mark.parametrize("name", ROTARY)
def test_logits_are_the_formula_pair_by_pair(name):
    model, ids = ROTARY[name](), token_ids(45, batch=2)
    methods = [PlainRoPE(), METHOD]
    seen = views_of(model, ids, ROWS, look=lambda view: (view, [view.logits(method) for method in methods]))
    assert [view.layer for view, _ in seen] == [0, 1]
    frequencies = model.model.rotary_emb.inv_freq.double()
    distance = torch.tensor(ROWS)[:, None] - torch.arange(45)
    for view, logits in seen:
        query, key = view.query.double(), view.key.double().repeat_interleave(2, 1)
        for method, got in zip(methods, logits, strict=True):
            told = torch.as_tensor(relative_positions(method, 45))[ROWS]
            rest = 2 * len(frequencies)
            products = turned_products(query, key, (told - distance)[..., None] * frequencies)
            products = products + query[..., rest:] @ key[..., rest:].transpose(-1, -2)
            expected = (products * view.scale).masked_fill(told == UNSEEN, -torch.inf)
            assert got.dtype == torch.float32 and got.shape == (2, 4, 4, 45)
            assert_close(got.double(), expected, atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("method", [case[1] for case in METHOD_CASES], ids=[case[0] for case in METHOD_CASES])
def test_weights_are_those_the_model_uses(method):
    model, ids = tiny_llama(max_position_embeddings=200_000), token_ids(45)
    with torch.no_grad(), extended(model, method, implementation="eager"):
        weights = model(ids, output_attentions=True).attentions
    seen = views_of(model, ids, ROWS, method=method, look=lambda view: view.logits(method).softmax(-1))
    for layer, found in enumerate(seen):
        assert_close(found, weights[layer][:, :, ROWS], atol=1e-5, rtol=0)


def test_the_forward_runs_under_the_method_asked_for():
    model, ids = tiny_llama(), token_ids(45)
    with torch.no_grad():
        stock = model(ids).logits
        with extended(model, METHOD):
            changed = model(ids).logits
        with observe(model, ROWS, lambda view: None) as same:
            assert same is model
            assert_close(model(ids).logits, stock, atol=1e-5, rtol=0)
        with observe(model, ROWS, lambda view: None, method=METHOD):
            assert torch.equal(model(ids).logits, changed)


def test_chunks_call_back_with_the_rows_they_hold():
    model, ids = tiny_llama(), token_ids(45)
    whole = views_of(model, ids, [3, 30, 31], look=lambda view: view.logits(METHOD))
    parts = []
    with torch.no_grad(), observe(model, [3, 30, 31], lambda view: parts.append((view, view.logits(METHOD)))):
        cache = None
        for chunk in ids.split(15, 1):
            cache = model(chunk, past_key_values=cache, use_cache=True).past_key_values
    assert [(view.layer, view.row_positions.tolist()) for view, _ in parts] == [
        (0, [3]),
        (1, [3]),
        (0, [30, 31]),
        (1, [30, 31]),
    ]
    for layer in (0, 1):
        assert_close(parts[layer][1][..., 0, :], whole[layer][..., 0, :15], atol=2e-5, rtol=1e-5)
        assert_close(parts[2 + layer][1], whole[layer][..., 1:, :], atol=2e-5, rtol=1e-5)


def test_rows_past_the_text_are_left_out():
    model = tiny_llama()
    assert views_of(model, token_ids(20), [25]) == []
    assert views_of(model, token_ids(20), [5, 25], look=lambda view: view.row_positions.tolist()) == [[5], [5]]


def test_a_models_own_window_is_no_part_of_the_logits():
    model = tiny_mistral(sliding_window=9)
    for logits in views_of(model, token_ids(45), [44], look=lambda view: view.logits(PlainRoPE())):
        assert logits.isfinite().all()


def test_cosines_are_made_once_for_all_layers(monkeypatch):
    model, calls, original = tiny_llama(num_hidden_layers=4), [], rotation.cos_sin_of_shift

    def counted(frequencies, shift, device):
        calls.append(tuple(shift.shape))
        return original(frequencies, shift, device)

    monkeypatch.setattr(rotation, "cos_sin_of_shift", counted)
    with torch.no_grad(), extended(model, METHOD):
        model(token_ids(45))
    assert calls == [(1, 45)] * 2
    calls.clear()
    views_of(model, token_ids(45), ROWS, look=lambda view: [view.logits(METHOD), view.logits(METHOD)])
    assert calls == [(4,), (1, 45)]


def test_an_error_in_the_callback_comes_out_and_restores_the_model():
    model = tiny_llama()

    def fail(view):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), observe(model, [0], fail):
        model(token_ids(4))
    assert model.config._attn_implementation == "sdpa"
