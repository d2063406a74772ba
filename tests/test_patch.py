"""A method lent to a model gives the logits of its formula, in every way a model can be run, and gives it back."""

import contextlib
import copy
import gc
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from method_matrix import METHOD_CASES, frequencies_of, head_positions
from model_oracle import oracle_logits, self_extend_by_hand
from tiny_models import CONTEXT_LENGTH, ROTARY, tiny_llama, tiny_mistral, tiny_qwen2, token_ids
from torch.testing import assert_close
from transformers import CompileConfig, DynamicCache

from selfextend_viz.methods import SlidingWindow
from selfextend_viz.patch import BeyondReachWarning, extend, extended, is_extended, restore
from selfextend_viz.patch.binding import blocks_of
from selfextend_viz.patch.rotation import Rotary, TableTurns
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.rope import turn

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

METHOD = SelfExtend(group_size=3, neighbor_window=7)
FITTING = [case for case in METHOD_CASES if getattr(case[1], "neighbor_window", 0) < CONTEXT_LENGTH]


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module", params=ROTARY)
def model(request):
    return ROTARY[request.param]()


@torch.no_grad()
def logits_of(model, ids, method=None, implementation="auto", **inputs):
    if method is None:
        return model(ids, **inputs).logits
    with extended(model, method, implementation=implementation):
        return model(ids, **inputs).logits


class TestTheFormula:
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_every_model_follows_self_extend_pair_by_pair(self, model, implementation):
        ids = token_ids(61, batch=2)
        expected = oracle_logits(model, ids, self_extend_by_hand(3, 7, 61))
        actual = logits_of(model, ids, METHOD, implementation)
        assert_close(actual.double(), expected, atol=5e-5, rtol=0)
        assert (logits_of(model, ids) - actual).abs().max() > 0.1

    def test_the_worked_example_of_the_paper(self, llama):
        told = self_extend_by_hand(2, 4, 10)
        assert told[-1].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
        actual = logits_of(llama, token_ids(10), SelfExtend(2, 4))
        assert_close(actual.double(), oracle_logits(llama, token_ids(10), told), atol=5e-5, rtol=0)

    @pytest.mark.parametrize("method", [case[1] for case in FITTING], ids=[case[0] for case in FITTING])
    def test_any_method(self, llama, method):
        ids = token_ids(45)
        scaled = frequencies_of(method, llama.model.rotary_emb.inv_freq, 45)
        expected = oracle_logits(llama, ids, head_positions(method, 45, 4), scaled=scaled)
        assert_close(logits_of(llama, ids, method).double(), expected, atol=5e-5, rtol=0)

    @pytest.mark.parametrize("kind", ["yarn", "llama3", "linear"])
    def test_scaled_frequencies_are_scaled_once(self, kind):
        rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
        extra = {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if kind == "llama3" else {}
        model = tiny_llama(rope_parameters=rope | extra)
        assert (model.model.rotary_emb.attention_scaling != 1.0) == (kind == "yarn")
        expected = oracle_logits(model, token_ids(50), self_extend_by_hand(3, 7, 50))
        assert_close(logits_of(model, token_ids(50), METHOD).double(), expected, atol=5e-5, rtol=0)

    def test_frequencies_chosen_by_length_stay_those_the_model_chose(self):
        factors = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8, "original_max_position_embeddings": 16}
        model = tiny_llama(rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "factor": 2.0} | factors)
        rotary, ids = model.model.rotary_emb, token_ids(50)
        actual = logits_of(model, ids, METHOD)
        assert_close(rotary.inv_freq * 4, rotary.original_inv_freq)
        expected = oracle_logits(model, ids, self_extend_by_hand(3, 7, 50))
        assert_close(actual.double(), expected, atol=5e-5, rtol=0)

    def test_dynamic_frequencies_stay_the_trained_ones_and_come_back(self):
        model = tiny_llama(rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0})
        ids, rotary = token_ids(50), model.model.rotary_emb
        stock = logits_of(model, ids)
        grown, trained = rotary.inv_freq.clone(), rotary.original_inv_freq.clone()
        assert not torch.equal(grown, trained)
        actual = logits_of(model, ids, METHOD)
        assert torch.equal(rotary.inv_freq, grown) and "forward" not in vars(rotary)
        assert_close(logits_of(model, ids, PlainRoPE()), stock, atol=1e-5, rtol=0)
        rotary.inv_freq.copy_(trained)
        expected = oracle_logits(model, ids, self_extend_by_hand(3, 7, 50))
        assert_close(actual.double(), expected, atol=5e-5, rtol=0)

    def test_bfloat16_errs_no_more_than_the_stock_model_does(self, llama):
        ids, low = token_ids(60), copy.deepcopy(llama).to(torch.bfloat16)
        low.model.rotary_emb.inv_freq = llama.model.rotary_emb.inv_freq
        stock = (logits_of(low, ids).float() - logits_of(llama, ids)).norm()
        for implementation in ("eager", "flash"):
            changed = logits_of(low, ids, METHOD, implementation).float() - logits_of(llama, ids, METHOD, "eager")
            assert changed.norm() <= 2 * stock


class TestLaws:
    @pytest.mark.parametrize("method", [PlainRoPE(), SelfExtend(1, 7)], ids=str)
    def test_the_identity_is_the_stock_model(self, model, method):
        assert_close(logits_of(model, token_ids(60), method), logits_of(model, token_ids(60)), atol=1e-5, rtol=0)

    def test_first_changed_length_is_two_past_the_window(self, model):
        short, longer = token_ids(8), token_ids(9)
        assert_close(logits_of(model, short, METHOD), logits_of(model, short), atol=1e-5, rtol=0)
        assert (logits_of(model, longer, METHOD) - logits_of(model, longer))[:, -1].abs().max() > 1e-3

    @pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 63, 111])
    def test_flash_is_eager(self, model, length):
        ids = token_ids(length, batch=2)
        eager, flash = (logits_of(model, ids, METHOD, name) for name in ("eager", "flash"))
        assert_close(flash, eager, atol=2e-5, rtol=0)

    def test_decode_steps_are_the_prefill_rows(self, model):
        ids = token_ids(30)
        whole = logits_of(model, ids, METHOD)
        with torch.no_grad(), extended(model, METHOD):
            cache = model(ids[:, :5], use_cache=True).past_key_values
            steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(5, 30)]
        assert_close(torch.cat(steps, 1), whole[:, 5:], atol=2e-5, rtol=0)

    @pytest.mark.parametrize("chunk", [1, 6, 13])
    def test_chunked_prefill_is_one_shot(self, llama, chunk):
        ids = token_ids(40, batch=2)
        with torch.no_grad(), extended(llama, METHOD):
            cache = DynamicCache(config=llama.config)
            parts = [llama(part, past_key_values=cache).logits for part in ids.split(chunk, 1)]
        assert_close(torch.cat(parts, 1), logits_of(llama, ids, METHOD), atol=2e-5, rtol=0)

    @pytest.mark.parametrize("given", [True, False], ids=["with position_ids", "without"])
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_left_padded_rows_are_each_row_alone(self, model, implementation, given):
        lengths, longest = (40, 33, 9, 1), 40
        rows = [token_ids(length, seed=length) for length in lengths]
        ids = torch.cat([torch.nn.functional.pad(row, (longest - row.shape[1], 0)) for row in rows])
        mask = torch.arange(longest)[None] >= longest - torch.tensor(lengths)[:, None]
        extra = {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)} if given else {}
        batch = logits_of(model, ids, METHOD, implementation, attention_mask=mask.long(), **extra)
        for number, row in enumerate(rows):
            alone = logits_of(model, row, METHOD, implementation)
            assert_close(batch[number, longest - row.shape[1] :], alone[0], atol=5e-5, rtol=0)

    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_right_padded_rows_are_each_row_alone(self, llama, implementation):
        lengths, longest = (30, 25, 4), 33
        rows = [token_ids(length, seed=length) for length in lengths]
        ids = torch.cat([torch.nn.functional.pad(row, (0, longest - row.shape[1])) for row in rows])
        mask = (torch.arange(longest)[None] < torch.tensor(lengths)[:, None]).long()
        batch = logits_of(llama, ids, METHOD, implementation, attention_mask=mask)
        for number, row in enumerate(rows):
            alone = logits_of(llama, row, METHOD, implementation)
            assert_close(batch[number, : row.shape[1]], alone[0], atol=5e-5, rtol=0)

    def test_right_padding_past_every_row_of_a_later_chunk(self, llama):
        lengths = (30, 25)
        rows = [token_ids(length, seed=length) for length in lengths]
        ids = torch.cat([torch.nn.functional.pad(row, (0, 33 - row.shape[1])) for row in rows])
        mask = (torch.arange(33)[None] < torch.tensor(lengths)[:, None]).long()
        with torch.no_grad(), extended(llama, METHOD):
            cache = llama(ids[:, :20], attention_mask=mask[:, :20], use_cache=True).past_key_values
            batch = llama(ids[:, 20:], attention_mask=mask, past_key_values=cache).logits
        for number, row in enumerate(rows):
            alone = logits_of(llama, row, METHOD)
            assert_close(batch[number, : row.shape[1] - 20], alone[0, 20:], atol=5e-5, rtol=0)

    def test_no_cell_is_read_before_it_is_written(self, llama, poisoned_empty):
        ids = token_ids(40, batch=2)
        mask = torch.ones_like(ids)
        mask[1, :6] = 0
        actual = logits_of(llama, ids, METHOD, "flash", attention_mask=mask)
        assert actual.isfinite().all()
        assert_close(actual[1, 6:], logits_of(llama, ids[1:, 6:], METHOD, "eager")[0], atol=5e-5, rtol=0)

    def test_gradients_are_those_of_the_oracle_method(self, llama):
        ids = token_ids(20)
        with extended(llama, METHOD):
            llama(ids, labels=ids).loss.backward()
        gradient = llama.model.layers[0].self_attn.q_proj.weight.grad.clone()
        llama.zero_grad()
        weight, step = llama.model.layers[0].self_attn.q_proj.weight, 1e-2
        with torch.no_grad():
            losses = []
            for sign in (1, -1):
                weight[3, 5] += sign * step
                with extended(llama, METHOD):
                    losses.append(llama(ids, labels=ids).loss.item())
                weight[3, 5] -= sign * step
        assert gradient[3, 5].item() == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.05, abs=2e-4)

    def test_attention_weights_on_request(self, llama):
        ids = token_ids(30)
        with torch.no_grad(), extended(llama, SlidingWindow(7), implementation="eager"):
            weights = llama(ids, output_attentions=True).attentions
        distance = torch.arange(30)[:, None] - torch.arange(30)
        assert len(weights) == 2 and weights[0].shape == (1, 4, 30, 30)
        assert_close(weights[1].sum(-1), torch.ones(1, 4, 30))
        assert (weights[0][..., (distance < 0) | (distance >= 7)] == 0).all()


class TestGeneration:
    @staticmethod
    def greedy_by_prefill(model, ids, steps):
        for _ in range(steps):
            ids = torch.cat([ids, logits_of(model, ids, METHOD, "eager")[:, -1:].argmax(-1)], 1)
        return ids

    @pytest.mark.parametrize(
        "options", [{}, {"cache_implementation": "static"}, {"use_cache": False}, {"prefill_chunk_size": 7}], ids=str
    )
    def test_greedy(self, llama, options):
        ids = token_ids(35)
        with extended(llama, METHOD):
            text = llama.generate(ids, max_new_tokens=8, do_sample=False, **options)
        assert torch.equal(text, self.greedy_by_prefill(llama, ids, 8))

    @pytest.mark.parametrize("options", [{}, {"cache_implementation": "static"}], ids=str)
    def test_left_padded_batch(self, llama, options):
        rows = [token_ids(length, seed=length) for length in (35, 21)]
        ids = torch.cat([torch.nn.functional.pad(row, (35 - row.shape[1], 0)) for row in rows])
        mask = (ids != 0).long()
        with extended(llama, METHOD):
            texts = llama.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, **options)
        for text, row in zip(texts, rows, strict=True):
            assert torch.equal(text[35 - row.shape[1] :], self.greedy_by_prefill(llama, row, 8)[0])

    def test_beam_search_scores_are_those_of_the_sequences_it_returns(self, llama):
        ids = token_ids(35)
        with extended(llama, METHOD):
            found = llama.generate(
                ids,
                max_new_tokens=6,
                num_beams=4,
                num_return_sequences=4,
                do_sample=False,
                length_penalty=0.0,
                return_dict_in_generate=True,
                output_scores=True,
            )
        chances = logits_of(llama, found.sequences, METHOD, "eager").log_softmax(-1)
        told = chances[:, 34:-1].gather(-1, found.sequences[:, 35:, None]).sum((1, 2))
        assert len({tuple(row) for row in found.sequences.tolist()}) == 4
        assert_close(found.sequences_scores, told, atol=1e-4, rtol=0)

    def test_two_turns_on_one_cache(self, llama):
        ids = token_ids(60)
        with torch.no_grad(), extended(llama, METHOD):
            first = llama.generate(ids[:, :20], max_new_tokens=5, do_sample=False, return_dict_in_generate=True)
            talk = torch.cat([first.sequences, ids[:, 20:40]], 1)
            second = llama.generate(talk, past_key_values=first.past_key_values, max_new_tokens=5, do_sample=False)
        assert torch.equal(second, self.greedy_by_prefill(llama, talk, 5))

    def test_switched_on_off_and_over_in_mid_conversation(self, llama):
        ids, other = token_ids(50), SelfExtend(2, 4)
        cache = DynamicCache(config=llama.config)
        with torch.no_grad():
            llama(ids[:, :20], past_key_values=cache)
            with extended(llama, METHOD):
                second = llama(ids[:, 20:30], past_key_values=cache).logits
                with extended(llama, other):
                    third = llama(ids[:, 30:40], past_key_values=cache).logits
            last = llama(ids[:, 40:], past_key_values=cache).logits
        told = relative_positions(PlainRoPE(), 50)
        told[20:30] = relative_positions(METHOD, 50)[20:30]
        told[30:40] = relative_positions(other, 50)[30:40]
        expected = oracle_logits(llama, ids, told)
        assert_close(torch.cat([second, third, last], 1).double(), expected[:, 20:], atol=5e-5, rtol=0)


class TestSlidingWindows:
    def test_a_window_of_all_layers_is_lifted_and_comes_back(self):
        model, ids = tiny_mistral(sliding_window=9), token_ids(50)
        stock = logits_of(model, ids)
        with extended(model, METHOD):
            assert model.config.sliding_window is None
            with torch.no_grad():
                cache = model(ids[:, :30], use_cache=True).past_key_values
                steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, 50)]
        expected = oracle_logits(model, ids, self_extend_by_hand(3, 7, 50))
        assert_close(torch.cat(steps, 1).double(), expected[:, 30:], atol=5e-5, rtol=0)
        assert model.config.sliding_window == 9
        assert torch.equal(logits_of(model, ids), stock)

    def test_the_identity_keeps_the_window(self):
        model, ids = tiny_mistral(sliding_window=9), token_ids(50)
        assert_close(logits_of(model, ids, PlainRoPE()), logits_of(model, ids), atol=1e-5, rtol=0)
        with torch.no_grad(), extended(model, METHOD), extended(model, PlainRoPE()):
            assert_close(model(ids).logits, logits_of(tiny_mistral(sliding_window=9), ids), atol=1e-5, rtol=0)

    def test_a_cache_that_dropped_tokens_is_refused(self):
        model, ids = tiny_mistral(sliding_window=9), token_ids(30)
        with torch.no_grad():
            cache = model(ids[:, :20], use_cache=True).past_key_values
            with extended(model, METHOD), pytest.raises(ValueError, match="dropped its first 12 tokens"):
                model(ids[:, 20:21], past_key_values=cache)

    def test_local_layers_stay_local(self):
        changes = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}
        model, ids = tiny_qwen2(**changes), token_ids(50)
        whole = logits_of(model, ids, METHOD)
        with torch.no_grad(), extended(model, METHOD):
            cache = model(ids[:, :30], use_cache=True).past_key_values
            steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, 50)]
        assert_close(torch.cat(steps, 1), whole[:, 30:], atol=2e-5, rtol=0)
        assert_close(logits_of(model, ids, PlainRoPE()), logits_of(model, ids), atol=1e-5, rtol=0)
        extended_everywhere = logits_of(tiny_qwen2(), ids, METHOD)
        assert (whole - extended_everywhere).abs().max() > 0.1


class TestGivingBack:
    @staticmethod
    def state(model):
        modules = {
            name: (type(module), set(vars(module)), len(module._forward_hooks))
            for name, module in model.named_modules()
        }
        return modules, model.config.to_dict(), model.config._attn_implementation

    def test_nothing_is_left_behind(self, model):
        before, stock = self.state(model), logits_of(model, token_ids(40))
        logits_of(model, token_ids(40), METHOD)
        assert self.state(model) == before
        assert torch.equal(logits_of(model, token_ids(40)), stock)

    def test_nor_after_an_exception(self, llama):
        before = self.state(llama)
        with contextlib.suppress(ZeroDivisionError), extended(llama, METHOD):
            assert is_extended(llama)
            llama(token_ids(40)[:, : 1 // 0])
        assert self.state(llama) == before and not is_extended(llama)

    def test_blocks_nest(self, llama):
        ids, other = token_ids(40), SelfExtend(2, 4)
        alone = [logits_of(llama, ids, method) for method in (METHOD, other)]
        with torch.no_grad(), extended(llama, METHOD) as outer:
            assert outer is llama
            with extended(llama, other):
                assert torch.equal(llama(ids).logits, alone[1])
            assert torch.equal(llama(ids).logits, alone[0])
        assert not is_extended(llama)

    def test_extend_stays_until_restore(self, llama):
        ids, before = token_ids(40), self.state(llama)
        stock, changed = logits_of(llama, ids), logits_of(llama, ids, METHOD)
        assert extend(llama, SelfExtend(2, 4)) is llama
        extend(llama, METHOD)
        assert len(blocks_of(llama.model.layers[0].self_attn)) == 1
        with torch.no_grad():
            assert torch.equal(llama(ids).logits, changed)
            with extended(llama, PlainRoPE()):
                assert_close(llama(ids).logits, stock, atol=1e-5, rtol=0)
            assert torch.equal(llama(ids).logits, changed)
        assert restore(llama) is llama
        assert self.state(llama) == before and torch.equal(logits_of(llama, ids), stock)
        restore(llama)

    def test_restore_inside_a_block(self, llama):
        before = self.state(llama)
        with extended(llama, METHOD):
            restore(llama)
            assert not is_extended(llama)
        assert self.state(llama) == before

    def test_two_models_with_one_configuration(self):
        first = tiny_mistral(sliding_window=9)
        second = type(first)(first.config).eval()
        ids = token_ids(40)
        stock = logits_of(second, ids)
        with torch.no_grad(), extended(first, METHOD):
            assert is_extended(first) and not is_extended(second)
            assert_close(second(ids).logits, stock, atol=1e-5, rtol=0)
            with extended(second, SelfExtend(2, 4)):
                pass
            assert is_extended(first) and not is_extended(second)
            assert_close(second(ids).logits, stock, atol=1e-5, rtol=0)
        assert torch.equal(logits_of(second, ids), stock)

    def test_a_model_dropped_without_being_restored_is_freed(self):
        model = extend(tiny_mistral(sliding_window=9), METHOD)
        config, weights = model.config, weakref.ref(model.model.layers[0].self_attn.q_proj.weight)
        del model
        gc.collect()
        assert weights() is None
        with extended(tiny_llama(), METHOD):
            assert config._attn_implementation == "sdpa" and config.sliding_window == 9

    def test_two_threads_may_run_one_extended_model(self, llama):
        texts = [token_ids(length, seed=length) for length in (40, 51, 33, 47)]
        alone = [logits_of(llama, ids, METHOD) for ids in texts]

        @torch.no_grad()
        def run(ids):
            return [llama(ids).logits for _ in range(5)]

        with extended(llama, METHOD), ThreadPoolExecutor(4) as pool:
            together = list(pool.map(run, texts))
        assert all(torch.equal(one, alone[i]) for i, many in enumerate(together) for one in many)

    def test_blocks_of_two_threads_may_end_in_any_order(self, llama):
        before, opened, closed = self.state(llama), threading.Event(), threading.Event()

        def other_thread():
            with extended(llama, SelfExtend(2, 4)):
                opened.set()
                closed.wait(10)

        with extended(llama, METHOD):
            thread = threading.Thread(target=other_thread)
            thread.start()
            assert opened.wait(10)
        assert is_extended(llama)
        closed.set()
        thread.join()
        assert self.state(llama) == before


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_angles_of_any_precision_are_those_of_the_turns_and_made_once(llama):
    turns, keys = (
        TableTurns(Rotary(llama.model.rotary_emb), torch.arange(7, 10), torch.arange(10)),
        torch.randn(1, 2, 10, 16),
    )
    near, far = METHOD.bands
    assert turns.tables(keys, near, "key", dtype=torch.float16) is None
    full, half = (turns.tables(keys, far, "key", dtype=dtype) for dtype in (torch.float32, torch.float16))
    assert all(torch.equal(low, high.half()) for low, high in zip(half, full, strict=True))
    assert torch.equal(turns(keys, far, "key"), turn(keys, *full))
    assert turns.tables(keys, far, "key", dtype=torch.float16) is half


class TestCompiled:
    def test_a_compiled_model_and_a_compiled_static_cache(self, llama):
        ids = token_ids(35)
        expected = logits_of(llama, ids, METHOD)
        with torch.no_grad(), extended(llama, METHOD):
            assert_close(torch.compile(llama, backend="eager")(ids).logits, expected, atol=2e-5, rtol=0)
            compiled = CompileConfig(backend="eager")
            compiled._compile_all_devices = True
            options = {"cache_implementation": "static", "compile_config": compiled}
            text = llama.generate(ids, max_new_tokens=8, do_sample=False, **options)
        assert torch.equal(text, TestGeneration.greedy_by_prefill(llama, ids, 8))


class TestReach:
    def test_beyond_it_warns_once_a_block_with_the_numbers(self, llama):
        method = SelfExtend(2, 8)
        assert method.capacity(CONTEXT_LENGTH) == 56
        with torch.no_grad(), warnings.catch_warnings(record=True) as caught, extended(llama, method):
            warnings.simplefilter("always")
            llama(token_ids(60))
            llama(token_ids(61))
        assert [warning.category for warning in caught] == [BeyondReachWarning]
        assert "60 tokens are more than the 56" in str(caught[0].message)

    @pytest.mark.filterwarnings("error")
    def test_at_it_nothing_is_said(self, llama):
        logits_of(llama, token_ids(56), SelfExtend(2, 8))
        logits_of(llama, token_ids(60), PlainRoPE())
