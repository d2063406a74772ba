"""Whatever the method, the shapes, the padding and the chunks: attention is what its formula says, in float64.

The examples are the same in every run; a failure prints the smallest case that shows it.
"""

from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_models import tiny_llama, tiny_mistral, tiny_phi, tiny_qwen3, token_ids

from selfextend_viz import attend
from selfextend_viz.attention.flash import flash_refusal
from selfextend_viz.experiments.courses import Course, Run
from selfextend_viz.experiments.oracle import attention_rows, told_positions
from selfextend_viz.methods import ShuffledSelfExtend, SinksAtTrueDistance, SlidingWindow
from selfextend_viz.positions import PlainRoPE, SelfExtend

LONGEST = 90
MOST_PADDING = 12
FIXED = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
DTYPES = {torch.float64: 1e-9, torch.float32: 2e-4}

group_sizes = st.integers(1, 9)
windows = st.integers(0, 40)
self_extends = st.builds(SelfExtend, group_sizes, windows)
any_methods = st.one_of(
    self_extends,
    self_extends,
    st.builds(ShuffledSelfExtend, group_sizes, windows, st.integers(0, 3)),
    st.builds(SlidingWindow, st.integers(1, 40)),
    st.builds(SinksAtTrueDistance, st.integers(1, 40), st.integers(1, 5)),
    st.just(PlainRoPE()),
)


@st.composite
def cases(draw):
    """Everything `attend` can be given, as sizes; the tensors come from the seed."""
    keys = draw(st.integers(1, LONGEST))
    key_heads, shared = draw(st.sampled_from([(1, 1), (1, 3), (2, 1), (2, 2), (3, 2)]))
    head_dim = 2 * draw(st.integers(1, 12))
    left = [draw(st.integers(0, min(MOST_PADDING, keys - 1))) for _ in range(draw(st.integers(1, 3)))]
    # One row goes to the end: where the others stop before it, they are padded on the right.
    right = [0, *(draw(st.integers(0, min(MOST_PADDING, keys - 1 - pad))) for pad in left[1:])]
    return {
        "method": draw(any_methods),
        "keys": keys,
        "queries": draw(st.one_of(st.just(keys), st.just(1), st.integers(1, keys))),
        "key_heads": key_heads,
        "heads": key_heads * shared,
        "head_dim": head_dim,
        "pairs": draw(st.one_of(st.just(head_dim // 2), st.integers(1, head_dim // 2))),
        "padding": list(zip(left, right, strict=True)),
        "softcap": draw(st.sampled_from([None, None, 2.0])),
        "sinks": draw(st.booleans()),
        "scale": draw(st.sampled_from([None, 0.5])),
        "factor": draw(st.sampled_from([1.0, 1.25])),
        "dtype": draw(st.sampled_from(list(DTYPES))),
        "implementation": draw(st.sampled_from(["eager", "flash", "flash"])),
        "seed": draw(st.integers(0, 2**16)),
    }


def half_split(inv_freq, factor):
    """Turns dimension d with dimension d + pairs."""

    def turned(tensor, positions):
        angles = positions.double()[:, None, :, None] * inv_freq.double()
        pairs = len(inv_freq)
        low, high, rest = tensor[..., :pairs], tensor[..., pairs : 2 * pairs], tensor[..., 2 * pairs :]
        cos, sin = angles.cos() * factor, angles.sin() * factor
        both = torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)
        return torch.cat((both, rest.expand(len(both), -1, -1, -1)), dim=-1)

    return lambda tensor: partial(turned, tensor)


@settings(max_examples=1000, **FIXED)
@given(case=cases())
def test_attention_is_its_formula(case):
    generator = torch.Generator().manual_seed(case["seed"])
    random = lambda *shape: torch.randn(*shape, generator=generator, dtype=case["dtype"])  # noqa: E731
    batch, keys, queries = len(case["padding"]), case["keys"], case["queries"]
    query = random(batch, case["heads"], queries, case["head_dim"])
    key, value = (random(batch, case["key_heads"], keys, case["head_dim"]) for _ in range(2))
    inv_freq = torch.rand(case["pairs"], generator=generator)
    sinks = random(case["heads"]) if case["sinks"] else None
    padding = torch.stack(
        [(torch.arange(keys) < left) | (torch.arange(keys) >= keys - right) for left, right in case["padding"]]
    )
    options = {"softcap": case["softcap"], "sinks": sinks, "scale": case["scale"]}
    rotary = {"inv_freq": inv_freq, "attention_factor": case["factor"]}
    implementation = case["implementation"]
    if flash_refusal(query, key, value, case["method"].bands, softcap=case["softcap"], sinks=sinks):
        implementation = "eager"
    key_padding = padding if padding.any() else None
    inputs = {"key_padding": key_padding, "implementation": implementation}
    output = attend(query, key, value, case["method"], **options, **rotary, **inputs)
    assert output.shape == query.shape and output.dtype == query.dtype
    turn, options["scale"] = half_split(inv_freq, case["factor"]), options["scale"] or case["head_dim"] ** -0.5
    for row, (left, right) in enumerate(case["padding"]):
        slots = torch.arange(keys - queries, keys)
        tokens = (slots >= left) & (slots < keys - right)
        assert (output[row, :, ~tokens] == 0).all()
        places = (slots[tokens] - left).numpy()
        if len(places):
            told = told_positions(case["method"], places[:, None], np.arange(keys - left - right))
            text = query[row, :, tokens], key[row, :, left : keys - right], value[row, :, left : keys - right]
            expected = attention_rows(*text, told, turn=turn, **options)
            torch.testing.assert_close(output[row, :, tokens].double(), expected, atol=DTYPES[case["dtype"]], rtol=0)


BUILDERS = {"llama": tiny_llama, "qwen3": tiny_qwen3, "phi": tiny_phi, "mistral": tiny_mistral}


@lru_cache
def model_of(name, heads, key_heads, layers):
    return BUILDERS[name](num_attention_heads=heads, num_key_value_heads=key_heads, num_hidden_layers=layers)


@st.composite
def readings(draw):
    """A tiny model, a method, and a text that reaches it in chunks on one cache, padded on the left."""
    length = draw(st.integers(2, LONGEST))
    cuts = draw(st.lists(st.integers(1, length - 1), max_size=5, unique=True)) if length > 1 else []
    edges = [0, *sorted(cuts), length]
    padding = draw(st.lists(st.integers(0, min(MOST_PADDING, length - 1)), max_size=2))
    return {
        "name": draw(st.sampled_from(sorted(BUILDERS))),
        "heads": draw(st.sampled_from([(2, 1), (4, 2), (4, 4)])),
        "layers": draw(st.integers(1, 2)),
        "method": draw(st.one_of(st.builds(SelfExtend, group_sizes, st.integers(0, 31)), any_methods)),
        "course": Course("any", tuple(np.diff(edges).tolist()), (0, *padding)),
        "implementation": draw(st.sampled_from(["auto", "eager"])),
        "seed": draw(st.integers(0, 2**16)),
    }


@pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
@settings(max_examples=100, **FIXED)
@example(
    reading={
        "name": "phi",
        "heads": (4, 2),
        "layers": 2,
        "method": SelfExtend(3, 7),
        "course": Course("any", (1,) * 20, (0, 5, 5)),
        "implementation": "auto",
        "seed": 0,
    }
)
@given(reading=readings())
def test_every_layer_of_a_model_is_its_formula(reading):
    method, course = reading["method"], reading["course"]
    if getattr(method, "neighbor_window", 0) > 31:
        method = SelfExtend(method.group_size, method.neighbor_window % 32)
    model = model_of(reading["name"], *reading["heads"], reading["layers"])
    tokens = token_ids(sum(course.chunks), seed=reading["seed"])[0]
    found = Run(course, method, seed=reading["seed"]).go(model, tokens, reading["implementation"])
    assert sorted(found) == list(range(reading["layers"]))
    for layer in found.values():
        assert layer.largest_value > 0.5
        assert layer.errors.error < 2e-4
