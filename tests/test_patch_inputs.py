"""What a model, a method or a batch must not be, and that a refusal leaves the model untouched."""

import numpy as np
import pytest
import torch
from tiny_models import CONTEXT_LENGTH, REFUSED, tiny_cohere2, tiny_llama, tiny_qwen2, token_ids
from torch import nn

from selfextend_viz.methods import ShuffledSelfExtend, SinksAtTrueDistance
from selfextend_viz.patch import context_length, describe, extend, extended, is_extended, observe, restore
from selfextend_viz.positions import PlainRoPE, SelfExtend

METHOD = SelfExtend(group_size=3, neighbor_window=7)


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(autouse=True)
def _untouched(llama):
    yield
    assert not is_extended(llama) and llama.config._attn_implementation == "sdpa"
    assert not any("_selfextend" in name for module in llama.modules() for name in vars(module))


@pytest.mark.parametrize(("build", "why"), REFUSED.values(), ids=REFUSED)
def test_a_model_without_usable_rotation_is_refused(build, why):
    model = build()
    implementation = model.config._attn_implementation
    for refuse in (lambda: extend(model, METHOD), lambda: describe(model), lambda: extended(model, METHOD).__enter__()):
        with pytest.raises(ValueError, match=f"cannot be extended: .*{why}.*such as llama, mistral"):
            refuse()
    assert model.config._attn_implementation == implementation
    with torch.no_grad():
        assert model(token_ids(8)).logits.isfinite().all()


def test_a_model_without_its_rotary_module_is_refused():
    model = tiny_llama()
    del model.model.rotary_emb
    with pytest.raises(ValueError, match="no rotary module was found above model.layers.0.self_attn"):
        extend(model, METHOD)


def test_an_encoder_with_a_decoder_is_refused(llama):
    llama.config.is_encoder_decoder = True
    try:
        with pytest.raises(ValueError, match="has an encoder that sees its text both ways"):
            extend(llama, METHOD)
    finally:
        del llama.config.is_encoder_decoder


def test_falcon_without_rotation_is_refused_for_alibi(llama):
    llama.config.alibi = True
    try:
        with pytest.raises(ValueError, match="ALiBi"):
            extend(llama, METHOD)
    finally:
        del llama.config.alibi


def test_a_model_whose_rotated_layers_are_all_local_is_refused():
    with pytest.raises(ValueError, match="no layer of Cohere2ForCausalLM .* last 9 tokens .* layer 1 is not rotated"):
        extend(tiny_cohere2(), METHOD)


class Mishandled:
    """What a layer must not do between its projections and attention."""

    @staticmethod
    def with_turn(monkeypatch, turn):
        """A Llama whose file applies another rotation."""
        from transformers.models.llama import modeling_llama

        stock = modeling_llama.apply_rotary_pos_emb
        monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, cos, sin: turn(stock, q, k, cos, sin))
        return tiny_llama()

    OTHERS = {
        "the last dimensions": lambda stock, q, k, cos, sin: [
            tensor.flip(-1) for tensor in stock(q.flip(-1), k.flip(-1), cos, sin)
        ],
        "backwards": lambda stock, q, k, cos, sin: stock(q, k, cos, -sin),
        "twice as far": lambda stock, q, k, cos, sin: stock(q, k, cos * cos - sin * sin, 2 * cos * sin),
        "a norm with weights after it": lambda stock, q, k, cos, sin: [
            tensor * torch.linspace(0.5, 1.5, 16) for tensor in stock(q, k, cos, sin)
        ],
    }
    UNEVEN = {
        "the query alone": lambda stock, q, k, cos, sin: (stock(q, k, cos, sin)[0], k),
        "nothing, with an error": lambda stock, q, k, cos, sin: stock(q, k, cos[..., :3], sin),
    }


@pytest.mark.parametrize("turn", Mishandled.OTHERS.values(), ids=Mishandled.OTHERS)
def test_a_rotation_in_another_layout_is_refused(monkeypatch, turn):
    with pytest.raises(ValueError, match="in model.layers.0.self_attn, it turns pairs of dimensions neither"):
        extend(Mishandled.with_turn(monkeypatch, turn), METHOD)


def test_an_uneven_rotation_is_refused(monkeypatch):
    for turn, why in zip(Mishandled.UNEVEN.values(), ("turned differently", "could not be tried"), strict=True):
        with pytest.raises(ValueError, match=why):
            extend(Mishandled.with_turn(monkeypatch, turn), METHOD)


def test_weights_of_zero_say_nothing_of_a_rotation():
    model = tiny_llama()
    torch.nn.init.zeros_(model.model.layers[1].self_attn.k_proj.weight)
    with pytest.raises(ValueError, match="in model.layers.1.self_attn, its queries or keys are all zero"):
        extend(model, METHOD)


@pytest.mark.parametrize("thing", [None, "llama", nn.Linear(2, 2), {"model": 1}], ids=str)
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(TypeError, match="expected a transformers model"):
        extend(thing, METHOD)
    for function in (context_length, is_extended, restore):
        with pytest.raises(TypeError, match="expected a transformers model"):
            function(thing)


@pytest.mark.parametrize("method", [None, 8, "SelfExtend", SelfExtend], ids=str)
def test_what_is_no_method_is_refused(llama, method):
    with pytest.raises(TypeError, match="bands"):
        extend(llama, method)


@pytest.mark.parametrize("kind", [SelfExtend, ShuffledSelfExtend])
@pytest.mark.parametrize("window", [CONTEXT_LENGTH, CONTEXT_LENGTH + 1, 10**6])
def test_a_window_as_long_as_the_context_is_refused(llama, kind, window):
    with pytest.raises(ValueError, match=f"neighbor_window {window} leaves no room .* use one of at most 31"):
        extend(llama, kind(2, window))
    extend(llama, kind(2, CONTEXT_LENGTH - 1))
    restore(llama)


def test_an_unknown_implementation_is_refused(llama):
    with pytest.raises(ValueError, match="unknown implementation 'fast'"):
        extend(llama, METHOD, implementation="fast")


def test_flash_is_refused_at_once_where_it_cannot_run_the_method(llama):
    with pytest.raises(ValueError, match="flash cannot run"):
        extend(llama, SinksAtTrueDistance(7), implementation="flash")


def test_a_configuration_without_context_length_is_refused():
    model = tiny_llama()
    model.config.max_position_embeddings = 0
    with pytest.raises(ValueError, match="max_position_embeddings = 0"):
        extend(model, METHOD)


def test_a_model_whose_layers_are_all_local_is_refused():
    model = tiny_qwen2(use_sliding_window=True, sliding_window=9, max_window_layers=0)
    with pytest.raises(ValueError, match="no layer of Qwen2ForCausalLM can .*: layer 0 is local: .* last 9 tokens"):
        extend(model, METHOD)


def refused(llama, match, **inputs):
    with torch.no_grad(), extended(llama, METHOD), pytest.raises(ValueError, match=match):
        llama(**inputs)


class TestBatches:
    def test_packed_texts(self, llama):
        ids, packed = token_ids(12), torch.tensor([[*range(7), *range(5)]])
        refused(llama, "packed sequences", input_ids=ids, position_ids=packed, use_cache=False)
        refused(llama, "do not rise by one at query 7", input_ids=ids, position_ids=packed)

    def test_a_gap_in_position_ids(self, llama):
        refused(llama, "at query 2", input_ids=token_ids(4), position_ids=torch.tensor([[0, 1, 5, 6]]))

    def test_position_ids_that_start_anywhere_are_fine(self, llama):
        ids = token_ids(20)
        with torch.no_grad(), extended(llama, METHOD):
            shifted = llama(ids, position_ids=torch.arange(5, 25)[None]).logits
            assert torch.allclose(shifted, llama(ids).logits, atol=5e-5)

    def test_a_hole_in_a_row(self, llama):
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]])
        refused(llama, "row 1 .* 2 masked slots", input_ids=token_ids(5, batch=2), attention_mask=mask)

    def test_a_mask_over_the_new_tokens_only(self, llama):
        with torch.no_grad():
            cache = llama(token_ids(10), use_cache=True).past_key_values
        mask = torch.ones(1, 4, dtype=torch.long)
        refused(
            llama,
            "covers 4 tokens, but 10 cached and 4",
            input_ids=token_ids(4),
            attention_mask=mask,
            past_key_values=cache,
        )

    @pytest.mark.parametrize(
        "mask", [torch.ones(1, 1, 6, 6, dtype=torch.bool), torch.zeros(1, 1, 6, 6)], ids=["bool", "float"]
    )
    def test_a_mask_of_pairs(self, llama, mask):
        refused(llama, r"pass attention_mask as \[batch, length\]", input_ids=token_ids(6), attention_mask=mask)

    def test_a_mask_longer_than_the_text(self, llama):
        mask = torch.ones(1, 9, dtype=torch.long)
        refused(llama, "has 6 keys, but .* make 9", input_ids=token_ids(6), attention_mask=mask, use_cache=False)

    def test_bidirectional_attention(self, llama):
        llama.config.is_causal = False
        try:
            refused(llama, "bidirectional", input_ids=token_ids(6))
        finally:
            del llama.config.is_causal

    def test_attention_dropout(self):
        model = tiny_llama(attention_dropout=0.25).train()
        with extended(model, METHOD), pytest.raises(ValueError, match=r"dropout 0.25 .* call model.eval"):
            model(token_ids(6))

    def test_a_row_that_is_all_padding_disturbs_nobody(self, llama):
        ids, mask = token_ids(20, batch=2), torch.ones(2, 20, dtype=torch.long)
        mask[0] = 0
        with torch.no_grad(), extended(llama, METHOD):
            logits = llama(ids, attention_mask=mask).logits
            assert torch.allclose(logits[1:], llama(ids[1:]).logits, atol=5e-5)
        assert logits.isfinite().all()


class TestRows:
    @pytest.mark.parametrize("rows", [[1.5], [[1, 2]], 3, [True]], ids=str)
    def test_what_are_no_rows(self, llama, rows):
        with pytest.raises(ValueError, match="list of whole numbers"):
            observe(llama, rows, lambda view: None).__enter__()

    def test_a_negative_row(self, llama):
        with pytest.raises(ValueError, match="not -1"):
            observe(llama, np.array([3, -1]), lambda view: None).__enter__()

    def test_a_padded_batch(self, llama):
        mask = torch.tensor([[0, 1, 1, 1]])
        with torch.no_grad(), observe(llama, [1], lambda view: None), pytest.raises(ValueError, match="padded"):
            llama(token_ids(4), attention_mask=mask)


def test_a_model_that_counts_no_positions_has_no_context_length():
    build, why = REFUSED["bloom"]
    with pytest.raises(ValueError, match=why):
        context_length(build())


def test_context_length_is_the_configurations(llama):
    assert context_length(llama) == CONTEXT_LENGTH == describe(llama).context_length


def test_an_error_in_the_forward_restores_the_model(llama):
    with pytest.raises(IndexError), torch.no_grad(), extended(llama, PlainRoPE()):
        llama(torch.tensor([[10_000]]))
