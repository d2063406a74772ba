"""verify() proves a method on a model, and would notice: every bug that is planted is caught by it."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
from model_oracle import oracle_logits, self_extend_by_hand
from tiny_models import ROTARY, tiny_gpt2, tiny_llama, tiny_mistral, tiny_phi, tiny_qwen2, tiny_qwen3, token_ids
from torch.testing import assert_close
from transformers import AttentionMaskInterface
from typer.testing import CliRunner

from selfextend_viz import Verification, VerifyRow, is_extended, verify
from selfextend_viz.cli import app
from selfextend_viz.experiments import courses, oracle, plain
from selfextend_viz.experiments.verdict import COLUMNS
from selfextend_viz.methods import ShuffledSelfExtend, SlidingWindow
from selfextend_viz.patch import attention_function, extended, observe, rotation
from selfextend_viz.patch.binding import IMPLEMENTATION
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.patch.raw_heads import recorded
from selfextend_viz.patch.raw_rotation import RawRotation
from selfextend_viz.positions import Band, PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.rope import turn

METHOD = SelfExtend(group_size=3, neighbor_window=7)
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
RUNNING = ("eager", "flash")
CHECKS = ["prefill", "active", "decode", "chunked", "padded", "cached"]


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module")
def yarn():
    return tiny_llama(rope_parameters=YARN)


def verified(model, method=METHOD, implementations=RUNNING, **options):
    return verify(model, method, implementations=implementations, **options)


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


def plant(monkeypatch, bands):
    monkeypatch.setattr(SelfExtend, "bands", property(bands))


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


class TestTheOracle:
    def test_self_extend_by_its_formula(self):
        for group_size, window, length in ((2, 4, 10), (3, 7, 40), (5, 17, 60), (4, 0, 20), (1, 3, 12)):
            places = np.arange(length)
            told = oracle.self_extend_positions(group_size, window, places[:, None], places)
            assert (told == self_extend_by_hand(group_size, window, length)).all()
        assert told_last(2, 4, 10) == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]

    def test_a_window_hides_what_is_farther(self):
        places = np.arange(6)
        told = oracle.told_positions(PlainRoPE(), places[:, None], places, window=2)
        assert (told >= 0).sum(1).tolist() == [1, 2, 2, 2, 2, 2]

    @pytest.mark.parametrize("softcap", [None, 1.5])
    @pytest.mark.parametrize("sinks", [None, torch.tensor([0.3, -1.0, 2.0, 0.0])])
    def test_the_same_in_the_models_precision(self, softcap, sinks):
        """Softcapped logits and sinks go another way than the kernel; both give what the oracle gives."""
        query, key, value = torch.randn(4, 20, 8), torch.randn(2, 20, 8), torch.randn(2, 20, 8)
        told, turned = self_extend_by_hand(3, 7, 20), RawRotation.of(attention_layers(tiny_llama(head_dim=8))[0])
        options = {"turn": turned.turner, "scale": 0.7, "softcap": softcap, "sinks": sinks}
        exact, rows = oracle.attention_rows(query, key, value, told, **options), slice(5, 11)
        assert_close(plain.rotated_once(query, key, value, told, **options).double(), exact, atol=1e-5, rtol=0)
        some = plain.rotated_once(query[:, rows], key, value, told[rows], **options)
        assert_close(some.double(), exact[:, rows], atol=1e-5, rtol=0)

    def test_log_scaled_queries(self):
        assert oracle.query_factors(METHOD, np.arange(4)).tolist() == [1, 1, 1, 1]
        scaled = dataclasses.make_dataclass("Scaled", ["log_scale"])(4)
        assert_close(oracle.query_factors(scaled, np.array([0, 3, 15])), np.array([1.0, 1.0, 2.0]))

    @pytest.mark.parametrize("softcap", [None, 1.5])
    @pytest.mark.parametrize("sinks", [None, torch.tensor([0.3, -1.0, 2.0, 0.0])])
    def test_rows_are_one_softmax_pair_by_pair(self, softcap, sinks):
        torch.manual_seed(1)
        query, key, value = torch.randn(4, 3, 8), torch.randn(2, 9, 8), torch.randn(2, 9, 5)
        told = np.array([[5, 4, 3, 2, 1, 0, -1, -1, -1], [-1, 6, 5, 4, 3, 2, 1, 0, -1], [8, 7, 6, 5, 4, 3, 2, 1, 0]])
        model = tiny_llama(head_dim=8)
        layer = attention_layers(model)[0]
        rotation_of_layer = RawRotation.of(layer)
        options = {"turn": rotation_of_layer.turner, "scale": 0.7, "softcap": softcap, "sinks": sinks}
        actual = oracle.attention_rows(query, key, value, told, **options)
        frequencies = model.model.rotary_emb.inv_freq.double()
        for head, row in ((0, 0), (1, 1), (3, 2)):
            weights = []
            for j in np.flatnonzero(told[row] >= 0):
                q, k = (torch.complex(x[:4].double(), x[4:].double()) for x in (query[head, row], key[head // 2, j]))
                product = (q * k.conj() * torch.polar(torch.ones(4).double(), frequencies * told[row, j])).sum().real
                logit = product * 0.7
                weights.append(torch.exp(logit if softcap is None else softcap * torch.tanh(logit / softcap)))
            total = sum(weights) + (0 if sinks is None else sinks[head].double().exp())
            seen = value[head // 2, np.flatnonzero(told[row] >= 0)].double()
            expected = (torch.stack(weights)[:, None] * seen).sum(0) / total
            assert_close(actual[head, row], expected, atol=1e-12, rtol=0)

    def test_blocks_of_rows_change_nothing(self, monkeypatch):
        query, key = torch.randn(4, 20, 8), torch.randn(2, 20, 8)
        told = self_extend_by_hand(3, 7, 20)
        turned = RawRotation.of(attention_layers(tiny_llama(head_dim=8))[0])
        whole = oracle.attention_rows(query, key, key, told, turn=turned.turner, scale=1.0)
        monkeypatch.setattr(oracle, "CELLS", 3 * key.numel())
        assert_close(oracle.attention_rows(query, key, key, told, turn=turned.turner, scale=1.0), whole)

    def test_the_models_own_layout_is_read_off_its_code(self):
        for build in ROTARY.values():
            model, positions = build(), torch.tensor([[0, 3, 700]])
            layer = attention_layers(model)[0]
            cos, sin = model.model.rotary_emb(torch.zeros(1), positions)
            apply = sys.modules[type(layer.module).__module__].apply_rotary_pos_emb
            head = torch.randn(1, 2, 3, layer.module.head_dim)
            turned = head.clone()
            turned[..., : cos.shape[-1]] = apply(*[head[..., : cos.shape[-1]]] * 2, cos, sin)[0]
            assert_close(RawRotation.of(layer)(head.double(), positions), turned.double(), atol=2e-4, rtol=0)

    def test_what_is_recorded_is_what_the_model_rotates(self, yarn):
        ids, calls, views, places = token_ids(12), [], [], torch.arange(12)
        with torch.no_grad(), recorded(yarn, METHOD, calls.append) as layers:
            yarn(ids)
        with torch.no_grad(), observe(yarn, places, views.append, method=METHOD):
            yarn(ids)
        assert [call.layer for call in calls] == list(layers) == [0, 1]
        for call, view in zip(calls, views, strict=True):
            for raw, turned in ((call.query, view.query), (call.key, view.key)):
                assert_close(call.rotation(raw, places[None]), turned, atol=1e-6, rtol=0)
                assert_close(call.rotation(raw.double(), places[None]), turned.double(), atol=1e-5, rtol=0)

    def test_agrees_with_the_oracle_of_whole_models(self, llama):
        """The last layer's recorded output, through the rest of the model, gives the logits of the other oracle."""
        ids = token_ids(40)
        expected = oracle_logits(llama, ids, relative_positions(METHOD, 40))
        states = []

        def replace(call):
            text = call.query[0], call.key[0], call.value[0]
            told = self_extend_by_hand(3, 7, 40)
            rows = oracle.attention_rows(*text, told, turn=call.rotation.turner, scale=call.scale)
            states.append((rows.transpose(0, 1).float() - call.output[0].transpose(0, 1)).abs().max())

        with torch.no_grad(), recorded(llama, METHOD, replace):
            logits = llama(ids).logits
        assert max(states) < 1e-4
        assert_close(logits.double(), expected, atol=5e-5, rtol=0)


def told_last(group_size, window, length):
    places = np.arange(length)
    return oracle.self_extend_positions(group_size, window, length - 1, places).tolist()


class TestSampling:
    def test_short_texts_whole_and_long_ones_with_the_edges(self):
        assert courses.sampled_positions(90, 7, seed=0).tolist() == list(range(90))
        places = courses.sampled_positions(5000, 1000, seed=0).tolist()
        assert places == sorted(set(places)) and len(places) == courses.ROWS
        assert {0, 999, 1000, 1001, 1002, 4999} <= set(places)
        assert places != courses.sampled_positions(5000, 1000, seed=1).tolist()

    @pytest.mark.parametrize("length", [16, 17, 64, 193])
    @pytest.mark.parametrize("group_size", [1, 2, 4, 8])
    def test_courses_read_the_whole_text(self, length, group_size):
        for course in courses.courses(length, group_size):
            assert sum(course.chunks) == length and min(course.chunks) > 0
            assert group_size == 1 or all(pad % group_size for pad in course.padding if pad)
            assert course.looked_from < length

    def test_no_square_of_the_length_is_ever_held(self, monkeypatch):
        sizes, right = [], oracle._logits

        def watched(query, key, **options):
            sizes.append(key.numel())
            return right(query, key, **options)

        monkeypatch.setattr(oracle, "_logits", watched)
        model = tiny_llama(num_hidden_layers=1, head_dim=64)
        assert verified(model, implementations=["flash"], lengths=[1500]).passed
        assert max(sizes) <= oracle.CELLS < 1500 * 1500 * 2


class TestSkipped:
    def test_an_implementation_that_cannot_run_says_why(self, llama):
        found = verify(llama, METHOD)
        if torch.cuda.is_available():
            pytest.skip("fused may run here")
        (row,) = [row for row in found if row.implementation == "fused"]
        assert (row.check, row.error, row.tolerance, row.passed) == ("all", None, None, None)
        assert "Triton" in row.note and row.note in str(found)
        assert found.passed
        alone = verify(llama, METHOD, implementations=["fused"])
        assert not alone.passed and not alone.failures and "nothing" in alone.summary

    def test_a_method_only_eager_can_run(self, llama):
        from selfextend_viz.methods import SinksAtTrueDistance

        found = verified(llama, SinksAtTrueDistance(9))
        assert found.passed
        assert {row.implementation for row in found if row.passed is None} == {"flash"}

    def test_eager_at_a_length_whose_logits_would_not_fit(self, llama, monkeypatch):
        monkeypatch.setattr("selfextend_viz.experiments.verify.EAGER_LOGITS", 4 * 64 * 64)
        found = verified(llama)
        assert found.passed and "logits at 64 tokens" in found.skipped[0]


class TestBadInput:
    def test_a_model_that_cannot_be_extended(self):
        with pytest.raises(ValueError, match="one embedding per absolute position"):
            verify(tiny_gpt2(), METHOD)
        with pytest.raises(TypeError, match="expected a transformers model"):
            verify("llama", METHOD)

    @pytest.mark.parametrize(
        ("options", "error", "said"),
        [
            ({"lengths": [24]}, ValueError, r"at 24 tokens nothing differs.* at least 25"),
            ({"lengths": [64, 9]}, ValueError, "lengths is 9, but must be at least 16"),
            ({"lengths": [64.5]}, TypeError, "whole number"),
            ({"lengths": 64}, TypeError, "must be a list"),
            ({"lengths": []}, ValueError, "0 entries"),
            ({"implementations": ["auto"]}, ValueError, "'auto'; choose from eager, flash, fused"),
            ({"implementations": "eager"}, TypeError, "must be a list"),
            ({"tokens": [5] * 20}, ValueError, "tokens has 20, fewer than the length 64"),
            ({"tokens": [0.5] * 70}, TypeError, "whole numbers"),
            ({"seed": -1}, ValueError, "seed is -1"),
        ],
    )
    def test_bad_options(self, llama, options, error, said):
        with pytest.raises(error, match=said):
            verify(llama, SelfExtend(3, 23), **({"lengths": [64]} | options))

    def test_a_layout_that_cannot_be_asked(self, llama, monkeypatch):
        file = sys.modules[type(llama.model.layers[0].self_attn).__module__]
        with monkeypatch.context() as changed:
            changed.setattr(file, "apply_rotary_pos_emb", lambda q, k, cos, sin: (q, k))
            with pytest.raises(ValueError, match="does not turn its 16 dimensions in pairs"):
                RawRotation.of(attention_layers(llama)[0])
            changed.delattr(file, "apply_rotary_pos_emb")
            with pytest.raises(ValueError, match="has no apply_rotary_pos_emb"):
                RawRotation.of(attention_layers(llama)[0])

    def test_bad_methods(self, llama):
        with pytest.raises(ValueError, match="is plain RoPE at every length"):
            verify(llama, SelfExtend(1, 7))
        with pytest.raises(ValueError, match="neighbor_window 32 leaves no room"):
            verify(llama, SelfExtend(2, 32))
        with pytest.raises(TypeError, match="must have .bands"):
            verify(llama, (8, 64))

    def test_a_model_in_training(self):
        with pytest.raises(ValueError, match=r"call model.eval\(\)"):
            verify(tiny_llama().train(), METHOD)

    def test_a_method_for_some_heads(self, llama):
        class Half:
            bands = (Band(heads=slice(0, 2)), Band(heads=slice(2, 4)))

        with pytest.raises(ValueError, match="some heads"):
            verify(llama, Half())


class TestTable:
    ROW = VerifyRow("prefill", "flash", 3, 64, 2e-6, 1e-6, False, "head 1, query 9")

    def test_the_worst_layer_of_each_check_and_how_many_failed(self):
        fine = dataclasses.replace(self.ROW, layer=1, error=1e-7, passed=True)
        worse = dataclasses.replace(self.ROW, layer=2, error=4e-6)
        found = Verification("Model", "method", "float32", "cpu", (fine, self.ROW, worse))
        (line,) = found.lines()
        assert line == (
            "prefill",
            "flash",
            "64",
            "4.0e-06",
            "1.0e-06",
            "FAILED",
            "2: head 1, query 9, and 1 more layers",
        )
        assert found.summary == "2 of 3 comparisons failed" and found.failures == (self.ROW, worse)
        assert len(found) == 3 and list(found) == list(found.rows)
        assert str(found).splitlines()[1].split() == " ".join(COLUMNS).split()

    def test_what_is_not_a_number_is_the_worst(self):
        lost = dataclasses.replace(self.ROW, layer=5, error=float("nan"))
        assert Verification("Model", "m", "float32", "cpu", (self.ROW, lost)).lines()[0][-1].startswith("5:")

    def test_active_is_near_failing_where_little_changes(self):
        rows = [dataclasses.replace(self.ROW, check="active", error=error) for error in (1e-5, 1.0)]
        assert rows[0].strain > rows[1].strain
        assert Verification("Model", "m", "float32", "cpu", (rows[0],)).lines()[0][4] == "> 1.0e-06"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    from selfextend_viz.demo.tokenizer import byte_tokenizer

    folder = tmp_path_factory.mktemp("checkpoint")
    llama.save_pretrained(folder)
    byte_tokenizer(32).save_pretrained(folder)
    return folder


class TestCommand:
    SETTING = ("-G", 3, "-w", 7)

    def test_all_passed(self, run, checkpoint, tmp_path):
        path = tmp_path / "rows.json"
        result = run(checkpoint, *self.SETTING, "--implementation", "eager", "--length", 40, "-n", 33, "--json", path)
        assert result.exit_code == 0, result.stderr
        assert "is active, and right" in result.stdout and "FAILED" not in result.stdout
        written = json.loads(path.read_text())
        assert written["settings"]["passed"] is True and written["settings"]["lengths"] == [40, 33]
        assert {row["implementation"] for row in written["rows"]} == {"eager"}
        assert {row["length"] for row in written["rows"]} == {33, 40}
        assert all(row["passed"] and row["row"] == "VerifyRow" for row in written["rows"])

    def test_one_failed(self, run, checkpoint, monkeypatch):
        plant(monkeypatch, lambda self: (Band(),))
        result = run(checkpoint, *self.SETTING)
        assert result.exit_code == 1
        assert "FAILED" in result.stdout and "comparisons failed" in result.stdout

    @pytest.mark.skipif(torch.cuda.is_available(), reason="fused may run here")
    def test_nothing_ran(self, run, checkpoint):
        result = run(checkpoint, *self.SETTING, "--implementation", "fused")
        assert result.exit_code == 2
        assert "Triton" in result.stdout and "nothing could run" in result.stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("-G", 3), "--neighbor-window is missing"),
            (("-G", 3, "-w", 23, "-n", 20), "at 20 tokens nothing differs"),
            (("-G", 3, "-w", 7, "--implementation", "fast"), "'fast'; choose from"),
        ],
    )
    def test_bad_input(self, run, checkpoint, arguments, said):
        result = run(checkpoint, *arguments)
        assert result.exit_code == 2
        assert said in result.stderr and "Traceback" not in result.stderr

    def test_a_folder_that_is_not_there(self, run):
        assert run("./nowhere", *self.SETTING).exit_code == 2
