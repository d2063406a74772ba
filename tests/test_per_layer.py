"""A method for each layer named, and stock for the others: the logits, caches, blocks, words and experiments."""

import math
from itertools import pairwise

import pytest
import torch
from tiny_models import CONTEXT_LENGTH, ROTARY, tiny_llama, tiny_mistral, tiny_qwen2, token_ids
from torch.testing import assert_close
from transformers import DynamicCache

from selfextend_viz.experiments.conditions import resolve, resolve_all
from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.perplexity import token_losses
from selfextend_viz.experiments.rows import HeadRow, LogitRow
from selfextend_viz.methods import PerLayer, SlidingWindow
from selfextend_viz.patch import BeyondReachWarning, describe, extend, extended, is_extended, observe, restore
from selfextend_viz.patch.binding import blocks_of
from selfextend_viz.patch.grouped_cache import GroupedLayer
from selfextend_viz.positions import PlainRoPE, SelfExtend

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

FIRST, SECOND, STOCK = SelfExtend(3, 7), SelfExtend(2, 4), PlainRoPE()


@pytest.fixture(scope="module", params=ROTARY)
def model(request):
    return ROTARY[request.param](num_hidden_layers=4)


@pytest.fixture
def llama():
    return tiny_llama(num_hidden_layers=4)


@torch.no_grad()
def logits_of(model, ids, method=None, implementation="auto", **inputs):
    if method is None:
        return model(ids, **inputs).logits
    with extended(model, method, implementation=implementation):
        return model(ids, **inputs).logits


def layer_by_layer(model, ids, methods, **inputs):
    """Logits of a model of which every layer was run under its own method lent to all, on what the one before made."""
    hidden = logits = None
    for module, method in zip(model.model.layers, methods, strict=True):
        made = []
        given = [] if hidden is None else [hidden]

        def replace(module, args, given=given):
            return (*given, *args[1:]) if given else None

        def keep(module, args, output, made=made):
            made.append(output)

        hooks = [module.register_forward_pre_hook(replace), module.register_forward_hook(keep)]
        logits = logits_of(model, ids, method, **inputs)
        for hook in hooks:
            hook.remove()
        (hidden,) = made
    return logits


class TestTheNumbers:
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_named_layers_run_their_method_and_the_others_stay_stock(self, model, implementation):
        ids = token_ids(60, batch=2)
        expected = layer_by_layer(model, ids, [STOCK, FIRST, STOCK, SECOND])
        actual = logits_of(model, ids, {3: SECOND, 1: FIRST}, implementation)
        assert_close(actual, expected, atol=5e-5, rtol=0)
        for other in ([STOCK] * 4, [FIRST] * 4, [STOCK, SECOND, STOCK, FIRST]):
            assert (actual - layer_by_layer(model, ids, other)).abs().max() > 1e-2

    def test_one_method_for_every_layer_is_that_method(self, llama):
        ids = token_ids(60)
        assert torch.equal(logits_of(llama, ids, dict.fromkeys(range(4), FIRST)), logits_of(llama, ids, FIRST))

    def test_stock_everywhere_is_the_stock_model(self, llama):
        ids = token_ids(60)
        assert_close(logits_of(llama, ids, {2: STOCK}), logits_of(llama, ids), atol=1e-5, rtol=0)

    def test_methods_that_need_eager_and_those_that_do_not(self, llama):
        ids, methods = token_ids(50), [SlidingWindow(9), STOCK, FIRST, STOCK]
        actual = logits_of(llama, ids, {0: methods[0], 2: FIRST})
        assert_close(actual, layer_by_layer(llama, ids, methods), atol=5e-5, rtol=0)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_a_padded_row_is_the_row_alone(self, llama, side):
        ids, mask = token_ids(40, batch=2), torch.zeros(2, 40, dtype=torch.long)
        tokens = slice(11, None) if side == "left" else slice(None, 29)
        mask[0], mask[1, tokens] = 1, 1
        both = logits_of(llama, ids, {1: FIRST, 2: SECOND}, attention_mask=mask)
        alone = logits_of(llama, ids[1:, tokens], {1: FIRST, 2: SECOND})
        assert_close(both[1:, tokens], alone, atol=5e-5, rtol=0)

    def test_layers_left_stock_keep_their_sliding_window(self):
        model, ids = tiny_mistral(num_hidden_layers=4, sliding_window=9), token_ids(60)
        expected = layer_by_layer(model, ids, [FIRST, STOCK, STOCK, FIRST])
        assert_close(logits_of(model, ids, {0: FIRST, 3: FIRST}), expected, atol=5e-5, rtol=0)
        assert model.config.sliding_window == 9

    def test_frequencies_that_are_held_are_held_for_all(self):
        model = tiny_llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})
        ids = token_ids(50)
        expected = layer_by_layer(model, ids, [FIRST, SECOND])
        frequencies = model.model.rotary_emb.inv_freq.clone()
        assert_close(logits_of(model, ids, {0: FIRST, 1: SECOND}), expected, atol=5e-5, rtol=0)
        assert torch.equal(model.model.rotary_emb.inv_freq, frequencies)


class TestCaches:
    METHODS = {1: FIRST, 2: SECOND}

    @torch.no_grad()
    def test_decoding_is_the_prefill(self, llama):
        ids, cache = token_ids(60), DynamicCache(config=llama.config)
        whole = logits_of(llama, ids, self.METHODS)
        with extended(llama, self.METHODS):
            steps = [
                llama(ids[:, start:stop], past_key_values=cache).logits
                for start, stop in pairwise([0, 30, *range(41, 61)])
            ]
            assert [type(layer) is GroupedLayer for layer in cache.layers] == [False, True, True, False]
        assert_close(torch.cat(steps, 1), whole, atol=5e-5, rtol=0)
        assert not any(isinstance(layer, GroupedLayer) for layer in cache.layers)

    @torch.no_grad()
    def test_a_conversation_goes_on_under_other_layers(self, llama):
        ids, cache = token_ids(50), DynamicCache(config=llama.config)
        llama(ids[:, :20], past_key_values=cache)
        with extended(llama, self.METHODS):
            llama(ids[:, 20:30], past_key_values=cache)
        with extended(llama, {0: SECOND}):
            actual = llama(ids[:, 30:], past_key_values=cache).logits
        fresh = DynamicCache(config=llama.config)
        llama(ids[:, :20], past_key_values=fresh)
        with extended(llama, self.METHODS, implementation="eager"):
            llama(ids[:, 20:30], past_key_values=fresh)
        for layer in fresh.layers:
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
        with extended(llama, {0: SECOND}, implementation="eager"):
            assert_close(actual, llama(ids[:, 30:], past_key_values=fresh).logits, atol=5e-5, rtol=0)

    def test_generate(self, llama):
        ids = token_ids(40)
        with extended(llama, self.METHODS):
            text = llama.generate(ids, max_new_tokens=8, do_sample=False)
        for stop in range(40, 48):
            assert logits_of(llama, text[:, :stop], self.METHODS)[0, -1].argmax() == text[0, stop]


class TestBlocks:
    def test_the_inner_block_holds_for_every_layer(self, llama):
        ids = token_ids(50)
        expected = [logits_of(llama, ids, method) for method in ({1: FIRST}, SECOND, {0: SECOND}, {1: FIRST}, None)]
        with torch.no_grad():
            with extended(llama, {1: FIRST}):
                found = [llama(ids).logits]
                with extended(llama, SECOND):
                    found.append(llama(ids).logits)
                    with extended(llama, {0: SECOND}):
                        found.append(llama(ids).logits)
                found.append(llama(ids).logits)
            found.append(llama(ids).logits)
        for one, other in zip(found, expected, strict=True):
            assert torch.equal(one, other)

    def test_a_lasting_one_is_replaced_and_restored(self, llama):
        ids = token_ids(50)
        stock = logits_of(llama, ids)
        for method in ({1: FIRST}, {0: SECOND, 3: FIRST}, SECOND, {2: FIRST}):
            extend(llama, method)
            assert len({block for layer in llama.model.layers for block in blocks_of(layer.self_attn)}) <= 3
            with torch.no_grad():
                assert torch.equal(llama(ids).logits, logits_of(llama, ids, method))
        restore(llama)
        assert not is_extended(llama) and torch.equal(logits_of(llama, ids), stock)
        assert not any("_selfextend_blocks" in vars(layer.self_attn) for layer in llama.model.layers)
        assert not any(layer.self_attn._forward_pre_hooks for layer in llama.model.layers)

    def test_an_exception_gives_the_model_back(self, llama):
        stock = logits_of(llama, token_ids(50))
        with pytest.raises(KeyboardInterrupt), extended(llama, {1: FIRST, 2: SECOND}):
            raise KeyboardInterrupt
        assert not is_extended(llama) and torch.equal(logits_of(llama, token_ids(50)), stock)

    def test_a_text_beyond_the_shortest_reach_is_warned_of(self, llama):
        far, near = SelfExtend(8, 4), SelfExtend(2, 4)
        length = near.capacity(CONTEXT_LENGTH) + 1
        with pytest.warns(BeyondReachWarning, match=rf"{length} tokens are more than the {length - 1} that .*G=2"):
            logits_of(llama, token_ids(length), {0: far, 1: near})


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("methods", "error", "sentence"),
        [
            ({4: FIRST}, ValueError, "there is no layer 4 to lend a method to; the layers are 0-3"),
            ({-1: FIRST}, ValueError, "layer is -1, but must be at least 0"),
            ({True: FIRST}, TypeError, "layer must be a whole number, not True"),
            ({"1": FIRST}, TypeError, "layer must be a whole number, not '1'"),
            ({}, ValueError, "the methods name 0 layers"),
            ({1: "SelfExtend"}, TypeError, "method must have .bands"),
            ({1: None}, TypeError, "method must have .bands"),
            ({1: FIRST, 2: SelfExtend(2, 32)}, ValueError, "neighbor_window 32 leaves no room"),
        ],
    )
    def test_one_sentence_and_an_untouched_model(self, llama, methods, error, sentence):
        with pytest.raises(error, match=sentence), extended(llama, methods):
            pytest.fail("the block was entered")
        assert not is_extended(llama)

    def test_a_local_layer_cannot_be_named(self):
        model = tiny_qwen2(num_hidden_layers=4, use_sliding_window=True, sliding_window=9, max_window_layers=2)
        with pytest.raises(ValueError, match="layer 3 cannot take a method: local: .*; leave it out"):
            extend(model, {1: FIRST, 3: FIRST})
        assert_close(
            logits_of(model, token_ids(50), {1: FIRST}), layer_by_layer(model, token_ids(50), [STOCK, FIRST] * 2)
        )

    def test_dynamic_frequencies_cannot_be_both_held_and_free(self):
        model = tiny_llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})
        with pytest.raises(ValueError, match="layer 1 would stay stock, whose dynamic RoPE changes its frequencies"):
            extend(model, {0: FIRST})

    def test_a_mapping_alone_is_no_list_of_conditions(self, llama):
        with pytest.raises(TypeError, match="conditions must be a list"):
            resolve_all({1: FIRST}, llama)


class TestWords:
    def test_the_label_names_methods_and_layers(self):
        methods = {5: FIRST, 2: FIRST, 3: FIRST, 4: SECOND}
        assert (
            str(PerLayer.of(methods)) == "SelfExtend(G=3, w_n=7) on layers 2-3, 5 and SelfExtend(G=2, w_n=4) on layer 4"
        )
        assert PerLayer.of(methods) == PerLayer.of(dict(reversed(methods.items())))

    def test_describe_says_which_layer_has_what(self, llama):
        with extended(llama, {1: FIRST, 2: FIRST, 3: SECOND}):
            description = describe(llama)
        assert description.touched == (1, 2, 3) and description.unnamed == (0,)
        assert dict(description.methods) == {1: str(FIRST), 2: str(FIRST), 3: str(SECOND)}
        assert description.capacity == SECOND.capacity(CONTEXT_LENGTH)
        assert description.differs_from == SECOND.differs_from
        text = str(description)
        assert "SelfExtend(G=3, w_n=7) on layers 1-2 and SelfExtend(G=2, w_n=4) on layer 3" in text
        assert "layers touched: 1-3" in text and "layers left stock: 0, for no method was named" in text

    def test_describe_of_one_named_layer_does_not_speak_of_the_others_reach(self, llama):
        with extended(llama, {2: SlidingWindow(9)}):
            description = describe(llama)
        assert (description.method, description.capacity) == ("SlidingWindow(9) on layer 2", None)


class TestExperiments:
    METHODS = {1: FIRST, 3: SECOND}

    def test_token_losses(self, llama):
        ids = token_ids(60)
        expected = torch.nn.functional.cross_entropy(
            layer_by_layer(llama, ids, [STOCK, FIRST, STOCK, SECOND])[0, :-1], ids[0, 1:], reduction="none"
        )
        assert_close(token_losses(llama, ids, method=self.METHODS), expected, atol=2e-4, rtol=0)

    def test_a_condition_has_the_label(self, llama):
        condition = resolve(self.METHODS, llama)
        assert condition.label == str(PerLayer.of(self.METHODS))
        condition.check(llama, "auto")
        with torch.no_grad(), condition.lent(llama, "auto"):
            found = llama(token_ids(50)).logits
        assert torch.equal(found, logits_of(llama, token_ids(50), self.METHODS))

    def test_observe_looks_at_every_layer(self, llama):
        seen = {}

        def look(view):
            seen[view.layer] = view.query

        ids = token_ids(50)
        with torch.no_grad(), observe(llama, [49], look, method=self.METHODS):
            found = llama(ids).logits
        assert sorted(seen) == [0, 1, 2, 3]
        assert torch.equal(found, logits_of(llama, ids, self.METHODS))

    def test_divergence_is_nothing_in_stock_layers(self, llama):
        rows = list(divergence(llama, token_ids(60)[0], self.METHODS, queries=8, bins=4))
        kl = {}
        for row in rows:
            if isinstance(row, HeadRow):
                kl.setdefault(row.layer, []).append(row.kl)
        assert max(kl[0] + kl[2]) < 1e-6 and min(kl[1] + kl[3]) > 1e-4
        labels = {row.condition for row in rows if isinstance(row, LogitRow)}
        assert labels == {"reference", "stock", str(PerLayer.of(self.METHODS))}
        stock, lent = (row.kl for row in rows[-2:])
        assert math.isfinite(stock) and math.isfinite(lent) and stock != lent
