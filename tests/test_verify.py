"""verify() proves a method on a model, and would notice: every bug that is planted is caught by it."""

import dataclasses

import pytest
import torch
from tiny_models import ROTARY, tiny_llama, tiny_mistral, tiny_phi, tiny_qwen2, tiny_qwen3, token_ids
from transformers import AttentionMaskInterface
from verify_cases import CHECKS, METHOD, RUNNING, YARN, plant, verified

from selfextend_viz import is_extended
from selfextend_viz.methods import ShuffledSelfExtend, SlidingWindow
from selfextend_viz.patch import attention_function, extended, rotation
from selfextend_viz.patch.binding import IMPLEMENTATION
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend
from selfextend_viz.rope import turn


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module")
def yarn():
    return tiny_llama(rope_parameters=YARN)


class TestRightModels:
    @pytest.mark.parametrize("name", ROTARY)
    def test_every_layer_passes_every_check(self, name):
        found = verified(ROTARY[name]())
        assert found.passed, str(found)
        assert list(dict.fromkeys(row.check for row in found)) == CHECKS
        for implementation in RUNNING:
            for check in set(CHECKS) - {"active"}:
                rows = [row for row in found if (row.check, row.implementation) == (check, implementation)]
                assert [row.layer for row in rows] == [0, 1]
                assert all(0 < row.error <= row.tolerance < 1e-4 for row in rows)

    @pytest.mark.parametrize("heads", [1, 2, 4])
    def test_however_many_query_heads_share_a_key_head(self, heads):
        assert verified(tiny_llama(num_key_value_heads=heads)).passed

    @pytest.mark.parametrize("model", ["yarn", "llama3", "dynamic", "longrope"])
    def test_scaled_rotary_positions(self, model):
        changes = {
            "yarn": YARN,
            "llama3": YARN | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0},
            "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
            "longrope": YARN | {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
        }
        found = verified(tiny_llama(rope_parameters=changes[model]), lengths=[45])
        assert found.passed, str(found)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        for model in (tiny_llama(), tiny_qwen3(), tiny_phi()):
            found = verified(model.to(dtype))
            assert found.passed, str(found)
            assert found.dtype == str(dtype).removeprefix("torch.")

    def test_a_window_of_all_layers_is_lifted_and_local_layers_are_left_out(self):
        assert verified(tiny_mistral(sliding_window=9)).passed
        local = verified(tiny_qwen2(use_sliding_window=True, sliding_window=9, max_window_layers=1))
        assert local.passed and {row.layer for row in local} == {0}

    @pytest.mark.parametrize("method", [SlidingWindow(9), ShuffledSelfExtend(3, 7), SelfExtend(4, 0), PlainRoPE()])
    def test_other_methods(self, method, llama):
        found = verified(llama, method)
        assert found.passed, str(found)
        assert ("active" in {row.check for row in found}) == (method != PlainRoPE())

    def test_plain_positions_under_a_window(self):
        assert verified(tiny_mistral(sliding_window=9), PlainRoPE()).passed

    def test_the_demo_model_far_past_what_it_was_trained_on(self):
        from selfextend_viz import load_demo

        tokens = list(range(97, 120)) * 30
        found = verified(load_demo()[0], SelfExtend(8, 80), ["flash"], lengths=[500], tokens=tokens)
        assert found.passed, str(found)

    def test_the_model_is_left_as_it_was(self, llama):
        ids = token_ids(40)
        before, hooks = llama(ids).logits, [len(module._forward_pre_hooks) for module in llama.modules()]
        verified(llama)
        assert not is_extended(llama) and llama.config._attn_implementation == "sdpa"
        assert [len(module._forward_pre_hooks) for module in llama.modules()] == hooks
        assert torch.equal(llama(ids).logits, before)

    def test_a_model_that_is_lent_already_keeps_what_it_was_lent(self, llama):
        ids = token_ids(40)
        with torch.no_grad(), extended(llama, SelfExtend(2, 4)):
            before = llama(ids).logits
            assert verified(llama, implementations=["flash"]).passed
            assert is_extended(llama) and torch.equal(llama(ids).logits, before)

    def test_the_same_seed_gives_the_same_rows(self, llama):
        first, again, other = (verified(llama, seed=seed).rows for seed in (3, 3, 4))
        assert first == again != other


def caught(model, method=METHOD, **options):
    """The checks that fail, of each implementation."""
    found = verified(model, method, **options)
    assert not found.passed and "FAILED" in str(found)
    return {name: {row.check for row in found.failures if row.implementation == name} for name in RUNNING}


class TestPlantedBugs:
    """Each is a bug that an implementation of Self-Extend has had, or would not notice."""

    def test_true_division_in_the_shift(self, llama, monkeypatch):
        def bands(self):
            size, window = self.group_size, self.neighbor_window
            group = Band(lambda i: i // size + window - window / size, lambda j: j // size, nearest=window)
            return (Band(beyond=window), group)

        plant(monkeypatch, bands)
        everywhere = {"prefill", "decode", "chunked", "padded", "cached"}
        assert caught(llama) == dict.fromkeys(RUNNING, everywhere)

    def test_the_neighbour_window_one_too_wide(self, llama, monkeypatch):
        def bands(self):
            near, group = right(self)
            window = self.neighbor_window + 1
            return (dataclasses.replace(near, beyond=window), dataclasses.replace(group, nearest=window))

        right = SelfExtend.bands.fget
        plant(monkeypatch, bands)
        assert all({"prefill", "decode", "chunked"} <= checks for checks in caught(llama).values())

    def test_the_shift_on_keys_instead_of_queries(self, llama, monkeypatch):
        def bands(self):
            near, group = right(self)
            return (near, Band(group.key_position, group.query_position, nearest=group.nearest))

        right = SelfExtend.bands.fget
        plant(monkeypatch, bands)
        assert all("prefill" in checks for checks in caught(llama).values())

    def test_key_positions_that_count_slots_under_padding(self, llama, monkeypatch):
        monkeypatch.setattr(
            attention_function.Forward,
            "_key_positions",
            lambda self: torch.arange(self.reading.slots.keys)[None],
        )
        assert caught(llama) == dict.fromkeys(RUNNING, {"padded"})

    def test_all_positions_counting_slots_under_padding(self, llama, monkeypatch):
        right = AttentionMaskInterface()[IMPLEMENTATION]

        def counting_slots(*args, **kwargs):
            table = right(*args, **kwargs)
            return torch.where(table < 0, table, torch.arange(table.shape[-1]))

        monkeypatch.setitem(AttentionMaskInterface._global_mapping, IMPLEMENTATION, counting_slots)
        assert caught(llama) == dict.fromkeys(RUNNING, {"padded"})

    def test_padding_that_is_seen(self, llama, monkeypatch):
        right = AttentionMaskInterface()[IMPLEMENTATION]
        blind = lambda *args, **kwargs: right(*args, **(kwargs | {"attention_mask": None}))  # noqa: E731
        monkeypatch.setitem(AttentionMaskInterface._global_mapping, IMPLEMENTATION, blind)
        assert caught(llama) == dict.fromkeys(RUNNING, {"padded"})
        assert "padded   eager  64  -        -          FAILED   raised ValueError: position_ids" in str(
            verified(llama)
        )

    def test_attention_scaling_applied_twice(self, yarn, llama, monkeypatch):
        right, scaling = rotation.cos_sin_of_shift, yarn.model.rotary_emb.attention_scaling
        scaled = lambda *args: tuple(scaling * table for table in right(*args))  # noqa: E731
        assert verified(yarn).passed
        monkeypatch.setattr(rotation, "cos_sin_of_shift", scaled)
        assert all("prefill" in checks and "decode" in checks for checks in caught(yarn).values())

    def test_kept_keys_that_are_one_token_behind(self, llama, monkeypatch):
        right = rotation.Turns.keys_from

        def keys_from(self, first, keys, told):
            if keys.shape[2] > 1:
                return right(self, first, keys, told)
            return turn(keys, *(table[..., :1, :] for table in self._table("key", first - 1, told, keys.device)))

        monkeypatch.setattr(rotation.Turns, "keys_from", keys_from)
        assert all(checks and "prefill" not in checks for checks in caught(llama).values())

    def test_a_method_that_does_nothing(self, llama, monkeypatch):
        plant(monkeypatch, lambda self: (Band(),))
        found = verified(llama)
        assert {row.check for row in found.failures} >= {"prefill", "active"}
        (active,) = [row for row in found.failures if row.check == "active" and row.implementation == "flash"]
        assert active.error <= active.tolerance

    def test_a_change_too_small_to_tell(self):
        """Where the precision would hide the method, it would hide bugs: that is no proof."""
        model = tiny_llama(initializer_range=0.02).bfloat16()
        found = verified(model, SelfExtend(3, 28), ["flash"], lengths=[30])
        assert {row.check for row in found.failures} == {"active"}
        assert "too little to tell" in found.failures[0].note

    def test_not_a_number(self, llama, monkeypatch):
        right = attention_function.core
        poisoned = lambda *args, **kwargs: right(*args, **kwargs).index_fill(2, torch.tensor([0]), torch.nan)  # noqa: E731
        monkeypatch.setattr(attention_function, "core", poisoned)
        found = verified(llama, implementations=["eager"])
        assert {row.check for row in found.failures} >= {"prefill"}

    def test_bfloat16_does_not_hide_them(self, monkeypatch):
        model = tiny_llama().bfloat16()
        assert verified(model).passed
        plant(monkeypatch, lambda self: (Band(beyond=8), Band(lambda i: i // 3 + 5, lambda j: j // 3, nearest=8)))
        assert all("prefill" in checks for checks in caught(model).values())
