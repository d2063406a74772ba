"""What verify() compares with: positions by their formula, one softmax in float64, and rows that reach every edge."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from model_oracle import oracle_logits, self_extend_by_hand
from tiny_models import ROTARY, tiny_llama, token_ids
from torch.testing import assert_close
from verify_cases import METHOD, YARN, verified

from selfextend_viz.experiments import courses, oracle, plain
from selfextend_viz.patch import observe
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.patch.raw_heads import recorded
from selfextend_viz.patch.raw_rotation import RawRotation
from selfextend_viz.positions import PlainRoPE, relative_positions


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module")
def yarn():
    return tiny_llama(rope_parameters=YARN)


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
