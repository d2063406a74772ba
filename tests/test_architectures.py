"""Every architecture: the formula, padding, decoding and caches, and that the model comes back as it was."""

import copy
import json
from pathlib import Path

import pytest
import torch
from architecture_checks import CHECKS, METHOD, subject
from tiny_models import ARCHITECTURES, CONTEXT_LENGTH, WINDOW, sized, tiny_llama, tiny_qwen2, token_ids
from torch.testing import assert_close
from transformers import Ministral3Config, Ministral3ForCausalLM

from selfextend_viz.attention.merge import Merged
from selfextend_viz.patch import (
    SUPPORTED,
    attention_function,
    binding,
    describe,
    extended,
    given_rotation,
    is_extended,
    rotation,
)
from selfextend_viz.patch.measure import through_interface
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.patch.rotation import Rotary, TableTurns, cos_sin_of_shift

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "models.json"


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_holds(name, check):
    found = CHECKS[check](subject(name))
    assert found.passed, found


def half_split(rotary, queries, keys):
    return TableTurns(Rotary(rotary.module), queries, keys)


def other_kinds_frequencies(rotary):
    return rotary.module.sliding_attention_inv_freq


def scaled_twice(frequencies, shift, device):
    return tuple(1.14 * part for part in cos_sin_of_shift(frequencies, shift, device))


def without_sinks(merged, *, sinks, dtype):
    return merged.output.to(dtype)


@pytest.mark.parametrize(
    ("name", "where", "what", "bug"),
    [
        ("cohere", attention_function, "turns_of", half_split),
        ("gemma3_text", Rotary, "frequencies", property(other_kinds_frequencies)),
        ("llama, yarn", rotation, "cos_sin_of_shift", scaled_twice),
        ("llama, dynamic", binding, "pin_frequencies", lambda rotary, pinned: None),
        ("gpt_oss", Merged, "finish", without_sinks),
    ],
    ids=["layout", "layer type", "scaling twice", "unpinned", "sinks"],
)
def test_the_checks_can_fail(monkeypatch, name, where, what, bug):
    assert all(CHECKS[check](subject(name)).passed for check in ("flash", "identity"))
    monkeypatch.setattr(where, what, bug)
    assert not all(CHECKS[check](subject(name)).passed for check in ("flash", "identity"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_method_makes_a_difference_no_tolerance_hides(name):
    the = subject(name)
    assert (the.whole - the.stock).abs().max() > 1000 * the.found(the.whole, the.whole).tolerance


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_comes_back_exactly(name):
    the = subject(name)
    before, stock = state(the.model), the.logits()
    the.logits(METHOD, "flash")
    assert state(the.model) == before and not is_extended(the.model)
    assert torch.equal(the.logits(), stock)


def state(model):
    modules = {
        name: (type(module), set(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    }
    config = model.config.get_text_config()
    return modules, config.to_dict(), config._attn_implementation


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bfloat16_errs_no_more_than_the_stock_model_does(name):
    the = subject(name)
    low = copy.deepcopy(the.model).to(torch.bfloat16)
    for module, exact in zip(low.modules(), the.model.modules(), strict=True):
        for buffer, values in exact.named_buffers(recurse=False):
            setattr(module, buffer, values)
    with torch.no_grad():
        stock = typical(low(the.ids).logits.float() - the.stock)
        for implementation in ("eager", "flash"):
            with extended(low, METHOD, implementation=implementation):
                assert typical(low(the.ids).logits.float() - the.whole) <= 2 * stock


def typical(difference):
    """What nine tenths of the tokens differ by at most: in the others a rounding may have chosen another expert."""
    return difference.norm(dim=-1).flatten().quantile(0.9)


def test_the_tested_models_are_the_supported_ones():
    kinds = {ARCHITECTURES[name].build().config.model_type for name in ARCHITECTURES}
    assert kinds == set(SUPPORTED)


def test_the_table_is_of_these_architectures_and_its_verdicts_are_its_numbers():
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    assert [row["architecture"] for row in rows] == list(ARCHITECTURES)
    for row in rows:
        assert list(row["checks"]) == list(CHECKS)
        for found in row["checks"].values():
            within = found["error"] <= found["tolerance"] and found["mean_error"] <= found["mean_tolerance"]
            assert found["passed"] == within


@pytest.mark.parametrize("name", [name for name, model in ARCHITECTURES.items() if model.local])
def test_local_layers_are_left_alone(name):
    layers = attention_layers(ARCHITECTURES[name].build())
    assert [layer.index for layer in layers if layer.skipped] == list(ARCHITECTURES[name].local)
    assert f"last {WINDOW} tokens" in layers[0].skipped


def test_unrotated_layers_are_left_alone():
    layers = attention_layers(ARCHITECTURES["smollm3"].build())
    assert layers[0].skipped is None and "not rotated" in layers[1].skipped


def test_soft_caps_are_reported_as_the_blockwise_loop_that_runs_them():
    with extended(ARCHITECTURES["gemma2"].build(), METHOD, implementation="flash") as model:
        assert "blockwise loop" in describe(model).reason
    with extended(ARCHITECTURES["gemma"].build(), METHOD, implementation="flash") as model:
        assert "blockwise loop" not in describe(model).reason


def test_interleaved_and_partial_layouts_are_measured():
    layouts = {
        name: attention_layers(model.build())[0].handed.layout
        for name, model in ARCHITECTURES.items()
        if not model.local
    }
    found = {name for name, layout in layouts.items() if layout == "interleaved"}
    assert found == {name for name, model in ARCHITECTURES.items() if model.interleaved}


def test_a_type_nobody_named_is_taken_by_its_structure():
    model, ids = tiny_llama(), token_ids(40)
    kind = type(model.model.layers[0].self_attn)
    with torch.no_grad(), extended(model, METHOD):
        expected = model(ids).logits
    model.config.model_type = "newcomer"
    for layer in model.model.layers:
        layer.self_attn.__class__ = type("Blick", (kind,), {})
    with torch.no_grad(), extended(model, METHOD):
        assert_close(model(ids).logits, expected, atol=0, rtol=0)


def test_measuring_touches_nothing():
    model = tiny_qwen2()
    before = state(model)
    module = model.model.layers[0].self_attn
    assert through_interface(module) and not through_interface(model.model.layers[0])
    describe(model)
    assert state(model) == before
    assert describe(model).context_length == CONTEXT_LENGTH


def test_a_layer_that_wants_position_ids_is_measured_with_some():
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
    model = sized(Ministral3ForCausalLM, Ministral3Config, rope_parameters=rope | {"llama_4_scaling_beta": 0.1})()
    assert [layer.handed.layout for layer in attention_layers(model)] == ["halves", "halves"]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neox"])
def test_weights_that_wait_elsewhere_are_fetched_to_be_measured(name):
    accelerate = pytest.importorskip("accelerate")
    model, ids = ARCHITECTURES[name].build(), token_ids(40)
    with torch.no_grad(), extended(model, METHOD):
        expected = model(ids).logits
    waiting = accelerate.cpu_offload(ARCHITECTURES[name].build(), execution_device=torch.device("cpu"))
    assert all(parameter.is_meta for parameter in waiting.parameters())
    with torch.no_grad(), extended(waiting, METHOD):
        assert torch.equal(waiting(ids).logits, expected)


def test_a_model_without_weights_is_refused():
    with torch.device("meta"):
        model = tiny_llama()
    with pytest.raises(ValueError, match="weights are on the meta device.* load them first"):
        describe(model)


@pytest.fixture(scope="module")
def gemma3():
    return ARCHITECTURES["gemma3"].build()


class TestAModelThatReadsImages:
    @torch.no_grad()
    @pytest.mark.parametrize("padded", [0, 9])
    def test_takes_text_that_says_it_is_text(self, gemma3, padded):
        ids, mask = token_ids(40, batch=2), torch.ones(2, 40, dtype=torch.long)
        mask[0, :padded] = 0
        with extended(gemma3, METHOD):
            expected = gemma3(ids, attention_mask=mask).logits
            cache = gemma3(ids[:, :30], attention_mask=mask[:, :30], token_type_ids=torch.zeros_like(ids[:, :30]))
            rest = {"past_key_values": cache.past_key_values, "attention_mask": mask}
            actual = [cache.logits, gemma3(ids[:, 30:], token_type_ids=torch.zeros_like(ids[:, 30:]), **rest).logits]
        assert_close(torch.cat(actual, 1)[mask == 1], expected[mask == 1], atol=3e-5, rtol=0)

    @torch.no_grad()
    @pytest.mark.parametrize("place", [0, 12, 36])
    def test_refuses_an_image_in_the_text(self, gemma3, place):
        kinds = torch.zeros(1, 40, dtype=torch.long)
        kinds[0, place : place + 4] = 1
        with extended(gemma3, METHOD), pytest.raises(ValueError, match="images"):
            gemma3(token_ids(40), token_type_ids=kinds)


class TestTheRotationThatALayerIsGiven:
    """A model may have a rotary module that it does not use for a layer."""

    def test_other_frequencies_are_refused(self):
        model = tiny_llama()
        other = tiny_llama(rope_parameters={"rope_type": "default", "rope_theta": 100.0}).model.rotary_emb
        model.model.rotary_emb.forward = other.forward
        with torch.no_grad(), extended(model, METHOD), pytest.raises(ValueError, match="turned by other frequencies"):
            model(token_ids(40))

    @pytest.mark.parametrize(("base", "what"), [(100.0, "other frequencies"), (0, "no rotation")])
    def test_a_rotary_module_that_is_not_used_for_a_layer_is_seen(self, base, what):
        granite = pytest.importorskip("transformers.models.granite_swa", reason="newer than this transformers")
        kinds = {"layer_types": ["full_attention"] * 2, "layer_rope_theta": [10000.0, base]}
        model = sized(granite.GraniteSWAForCausalLM, granite.GraniteSWAConfig, **kinds)()
        with torch.no_grad(), extended(model, METHOD), pytest.raises(ValueError, match=f"model.layers.1.* {what}"):
            model(token_ids(40))

    @torch.no_grad()
    @pytest.mark.parametrize("padding", ["left", "right"])
    def test_padding_and_single_tokens_are_no_reason(self, padding):
        model, ids, mask = tiny_llama(), token_ids(40, batch=2), torch.ones(2, 40, dtype=torch.long)
        mask[0, slice(0, 38) if padding == "left" else slice(2, 40)] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with extended(model, METHOD):
            assert model(ids, attention_mask=mask, position_ids=positions).logits.isfinite().all()
        with extended(model, METHOD):
            cache = model(ids[:, :1], use_cache=True).past_key_values
            assert model(ids[:, 1:2], past_key_values=cache).logits.isfinite().all()

    def test_it_is_looked_at_once(self, monkeypatch):
        seen, steps = [], given_rotation._steps
        monkeypatch.setattr(given_rotation, "_steps", lambda *tables: seen.append(1) or steps(*tables))
        with torch.no_grad(), extended(tiny_llama(), METHOD) as model:
            for _ in range(3):
                model(token_ids(40))
        assert len(seen) == 1


@pytest.mark.parametrize("name", ["cohere", "glm4", "gemma2", "gpt_oss"])
def test_flash_gives_the_gradients_of_eager(name):
    model, ids = ARCHITECTURES[name].build(), token_ids(30)
    model.set_attn_implementation("eager")
    gradients = []
    for implementation in ("eager", "flash"):
        model.zero_grad()
        with extended(model, METHOD, implementation=implementation):
            model(ids, labels=ids).loss.backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert_close(*gradients, atol=1e-5, rtol=1e-3)
