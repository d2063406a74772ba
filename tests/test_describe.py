"""What is lent to a model, in words and in fields."""

import pytest
from tiny_models import tiny_llama, tiny_mistral, tiny_qwen2

from selfextend_viz.methods import SinksAtTrueDistance
from selfextend_viz.patch import describe, extended
from selfextend_viz.positions import PlainRoPE, SelfExtend


def test_the_stock_model():
    description = describe(tiny_llama())
    assert (description.method, description.touched, description.implementation) == (None, (), "sdpa")
    assert (description.context_length, description.capacity, description.differs_from) == (32, None, None)
    assert str(description).startswith("LlamaForCausalLM: stock, no method is lent\n")


def test_every_number_of_self_extend():
    with extended(tiny_llama(num_hidden_layers=3), SelfExtend(3, 7), implementation="eager") as model:
        description = describe(model)
    assert description.method == "SelfExtend(G=3, w_n=7)"
    assert (description.touched, description.skipped) == ((0, 1, 2), ())
    assert (description.context_length, description.differs_from) == (32, 9)
    assert (description.max_length, description.capacity) == ((32 - 7) * 3 + 7, 3 * (32 - 7 + 7 // 3)) == (82, 81)
    assert (description.implementation, description.reason) == ("eager", "asked for by name.")
    text = str(description)
    for part in (
        "L: 32 tokens (max_position_embeddings)",
        "reach: 81 tokens",
        "says 82, 1 too many",
        "9 tokens on",
        "layers touched: 0-2",
        "eager",
    ):
        assert part in text


def test_an_exact_formula_is_not_called_wrong():
    with extended(tiny_llama(), SelfExtend(2, 4)) as model:
        assert "too many" not in str(describe(model))


def test_nothing_differs_for_groups_of_one():
    with extended(tiny_llama(), SelfExtend(1, 4)) as model:
        assert "differs from the stock model from: no length on" in str(describe(model))


def test_the_reason_for_falling_back_to_eager_is_said():
    with extended(tiny_llama(), SinksAtTrueDistance(7)) as model:
        description = describe(model)
    assert description.implementation == "eager" and "flash cannot run" in description.reason
    assert description.capacity is None and "not known for this method" in str(description)


def test_local_layers_are_named_with_the_reason():
    model = tiny_qwen2(num_hidden_layers=4, use_sliding_window=True, sliding_window=9, max_window_layers=2)
    with extended(model, SelfExtend(2, 4)):
        description = describe(model)
    assert description.touched == (0, 1) and [number for number, _ in description.skipped] == [2, 3]
    assert "layer 3 left as it is: local: it was trained to see the last 9 tokens only" in str(description)


@pytest.mark.parametrize(("method", "window"), [(SelfExtend(2, 4), 9), (PlainRoPE(), None)], ids=str)
def test_a_lifted_window_is_said(method, window):
    with extended(tiny_mistral(sliding_window=9), method) as model:
        description = describe(model)
    assert description.sliding_window == window
    assert ("9 in the stock model, lifted" in str(description)) == (window is not None)


def test_the_inner_block_is_the_one_described():
    with extended(tiny_llama(), SelfExtend(2, 4)) as model:
        with extended(model, SelfExtend(4, 8)):
            assert describe(model).method == "SelfExtend(G=4, w_n=8)"
        assert describe(model).method == "SelfExtend(G=2, w_n=4)"
