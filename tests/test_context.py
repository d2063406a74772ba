"""L: the number of the configuration that says how many positions were trained, and the sentence about it."""

import pytest
from tiny_models import ARCHITECTURES, WINDOW, tiny_llama, tiny_mistral

from selfextend_viz.patch import context_length, describe, extended, trained_length
from selfextend_viz.positions import PlainRoPE, SelfExtend


def scaled(kind, factor, original=None, **numbers):
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": factor} | numbers
    return tiny_llama(rope_parameters=rope | ({"original_max_position_embeddings": original} if original else {}))


LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}


def test_it_is_max_position_embeddings():
    assert str(trained_length(tiny_llama())) == "32 tokens, max_position_embeddings"


@pytest.mark.parametrize(("kind", "numbers"), [("yarn", {}), ("llama3", LLAMA3), ("longrope", LONG)], ids=str)
def test_a_longer_number_after_scaling_includes_the_factor(kind, numbers):
    found = trained_length(scaled(kind, 4.0, 8, **numbers))
    assert found.tokens == 32
    assert found.reason == f"max_position_embeddings, which includes the {kind} scaling of 8 trained positions"


def test_phi3_keeps_the_original_number_elsewhere():
    assert "longrope scaling of 4 trained positions" in trained_length(ARCHITECTURES["phi3"].build()).reason


@pytest.mark.parametrize(("kind", "original"), [("yarn", 32), ("linear", None)])
def test_where_nothing_says_whether_the_factor_is_included_the_smaller_reading_holds(kind, original):
    found = trained_length(scaled(kind, 4.0, original))
    assert found.tokens == 32
    assert f"factor 4.0, {kind} scaling would make 128 of it" in found.reason
    assert "set max_position_embeddings" in found.reason


def test_dynamic_scaling_is_held_off():
    assert "without the factor 2.0 of dynamic scaling" in trained_length(scaled("dynamic", 2.0)).reason


def test_of_frequencies_for_each_kind_of_layer_those_of_whole_text_count():
    assert "factor 2.0, linear scaling would make 64" in trained_length(ARCHITECTURES["gemma3"].build()).reason


def test_a_window_of_all_layers_is_l_also_while_it_is_lifted():
    model = tiny_mistral(sliding_window=WINDOW)
    assert trained_length(model).tokens == WINDOW
    assert "its sliding_window: max_position_embeddings is 32" in str(describe(model))
    with extended(model, SelfExtend(2, 4)):
        assert context_length(model) == describe(model).context_length == WINDOW
        assert describe(model).capacity == SelfExtend(2, 4).capacity(WINDOW)
    with extended(model, PlainRoPE()):
        assert context_length(model) == WINDOW


def test_a_wide_window_and_a_window_of_some_layers_are_not():
    assert context_length(tiny_mistral(sliding_window=64)) == 32
    assert context_length(ARCHITECTURES["gemma2"].build()) == 32
