"""What goes wrong in the middle of a forward or on another thread leaves the model as it was, or is refused."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from tiny_models import ROTARY, tiny_llama, tiny_mistral, tiny_qwen3, token_ids
from torch.testing import assert_close
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfextend_viz.patch import extend, extended, is_extended, observe, restore
from selfextend_viz.patch.binding import blocks_of
from selfextend_viz.positions import PlainRoPE, SelfExtend

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

METHOD, OTHER = SelfExtend(3, 7), SelfExtend(2, 4)
ARCHITECTURES = ("llama", "qwen3", "mistral", "phi")
PATIENCE = 20


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    return ROTARY[request.param]()


@torch.no_grad()
def logits_of(model, ids, method=None):
    if method is None:
        return model(ids).logits
    with extended(model, method):
        return model(ids).logits


def state(model):
    """All that a block could leave behind."""
    kept = {
        name: (type(module), set(vars(module)), len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    }
    return kept, model.config.to_dict(), model.config._attn_implementation


class After:
    """A streamer, or a hook, that raises after so many calls."""

    def __init__(self, calls, error):
        self.calls, self.error = calls, error

    def __call__(self, *_):
        self.calls -= 1
        if self.calls == 0:
            raise self.error

    put = __call__

    def end(self):
        pass


class TestInterruptions:
    @pytest.mark.parametrize("kind", ["dynamic", "static"])
    def test_an_interrupted_generation(self, model, kind):
        ids, options = token_ids(40), {"max_new_tokens": 20, "do_sample": False, "cache_implementation": kind}
        model.generate(ids, **options)  # a static cache stays on the stock model, too
        stock, changed, before = logits_of(model, ids), logits_of(model, ids, METHOD), state(model)
        with pytest.raises(KeyboardInterrupt), extended(model, METHOD):
            model.generate(ids, streamer=After(4, KeyboardInterrupt()), **options)
        assert state(model) == before and not is_extended(model)
        assert torch.equal(logits_of(model, ids), stock)
        assert torch.equal(logits_of(model, ids, METHOD), changed)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, torch.OutOfMemoryError, ZeroDivisionError])
    @pytest.mark.parametrize("number", [0, 1])
    def test_an_error_in_a_layer_of_a_step(self, model, number, error):
        """The cache is ordinary again, and the block that caught the error goes on with another."""
        ids, before = token_ids(40), state(model)
        expected, cache = logits_of(model, ids, METHOD), DynamicCache(config=model.config)
        layer = model.model.layers[number].self_attn
        with torch.no_grad(), extended(model, METHOD):
            model(ids[:, :30], past_key_values=cache)
            fault = layer.register_forward_hook(After(2, error("here")))
            model(ids[:, 30:31], past_key_values=cache)
            with pytest.raises(error):
                model(ids[:, 31:32], past_key_values=cache)
            fault.remove()
            again = DynamicCache(config=model.config)
            parts = [model(part, past_key_values=again).logits for part in (ids[:, :30], *ids[:, 30:].split(1, 1))]
        assert_close(torch.cat(parts, 1), expected, atol=2e-5, rtol=0)
        assert state(model) == before
        assert {type(kept) for kept in (*cache.layers, *again.layers)} == {DynamicLayer}

    def test_an_interrupted_step_can_be_taken_back(self):
        """The layers before the fault hold the step's key; cropped to what all hold, the conversation goes on."""
        model, ids, cache = tiny_llama(), token_ids(40), DynamicCache()
        expected = logits_of(model, ids, METHOD)
        with torch.no_grad(), extended(model, METHOD):
            model(ids[:, :30], past_key_values=cache)
            model(ids[:, 30:31], past_key_values=cache)
            fault = model.model.layers[1].self_attn.register_forward_pre_hook(After(1, KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                model(ids[:, 31:32], past_key_values=cache)
            fault.remove()
            assert [layer.get_seq_length() for layer in cache.layers] == [32, 31]
            cache.layers[0].crop(-1)
            steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(31, 40)]
        assert_close(torch.cat(steps, 1), expected[:, 31:], atol=2e-5, rtol=0)

    def test_an_interrupted_training_step(self, model):
        ids, before = token_ids(20), state(model)
        fault = model.model.layers[0].self_attn.q_proj.weight.register_hook(After(1, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt), extended(model, METHOD):
            model(ids, labels=ids).loss.backward()
        fault.remove()
        assert state(model) == before

    def test_an_interrupted_look(self):
        model, before = tiny_llama(), state(tiny_llama())
        with pytest.raises(KeyboardInterrupt), torch.no_grad(), observe(model, [3], After(2, KeyboardInterrupt())):
            model(token_ids(12))
        assert state(model) == before

    @pytest.mark.parametrize(
        "lend",
        [
            lambda model: extended(model, METHOD).__enter__(),
            lambda model: observe(model, [3], print).__enter__(),
            lambda model: extend(model, METHOD),
        ],
        ids=["extended", "observe", "extend"],
    )
    def test_an_interrupt_in_the_middle_of_the_lending(self, lend, monkeypatch):
        model = tiny_llama()
        before = state(model)
        with monkeypatch.context() as patched:
            patched.setattr("selfextend_viz.patch.binding.pin_frequencies", After(2, KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                lend(model)
        assert state(model) == before
        assert logits_of(model, token_ids(40), METHOD).isfinite().all()


class TestAgain:
    def test_an_extended_model_extended_again(self, model):
        ids, before = token_ids(40), state(model)
        changed = [logits_of(model, ids, method) for method in (METHOD, OTHER)]
        extend(model, METHOD)
        with torch.no_grad(), extended(model, OTHER), extended(model, OTHER):
            assert torch.equal(model(ids).logits, changed[1])
            extend(model, METHOD)  # inside a block it holds at once, and it stays
            assert torch.equal(model(ids).logits, changed[0])
        with torch.no_grad():
            assert torch.equal(model(ids).logits, changed[0])
        assert len(blocks_of(model.model.layers[0].self_attn)) == 1
        restore(model)
        assert state(model) == before

    def test_restored_twice_and_within_blocks(self, model):
        ids, before = token_ids(40), state(model)
        stock = logits_of(model, ids)
        with extended(model, METHOD), extended(model, OTHER):
            for _ in range(2):
                assert restore(model) is model
                assert state(model) == before
            assert torch.equal(logits_of(model, ids), stock)
        assert state(model) == before
        assert restore(restore(model)) is model

    def test_a_block_entered_many_times_leaves_nothing(self):
        model = tiny_llama()
        before, ids = state(model), token_ids(12)
        kept = weakref.WeakSet()
        for _ in range(30):
            with extended(model, METHOD):
                kept.update(blocks_of(model.model.layers[0].self_attn))
                logits_of(model, ids)
        gc.collect()
        assert state(model) == before and len(kept) == 0


def together(*jobs):
    """Run jobs on threads of their own, all at once; the first error comes out."""
    start = threading.Barrier(len(jobs))

    def run(job):
        start.wait(PATIENCE)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(PATIENCE) for future in [pool.submit(run, job) for job in jobs]]


ADDS = "the stock eager attention adds our int64 key positions to its logits, and says nothing"
STOCK = ["sdpa", pytest.param("eager", marks=pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=ADDS))]
"""Stock implementations a forward that began under a method could end in."""


class TestThreads:
    @pytest.mark.parametrize("shared", [False, True], ids=["apart", "one configuration"])
    def test_two_threads_extend_two_models(self, shared):
        first = tiny_mistral(sliding_window=9)
        second = type(first)(first.config).eval() if shared else tiny_qwen3()
        models, ids = (first, second), token_ids(40)
        before, stock = [state(model) for model in models], [logits_of(model, ids) for model in models]
        expected = [[logits_of(model, ids, method) for method in (METHOD, OTHER)] for model in models]

        def job(number):
            model, found = models[number], []
            for _ in range(12):
                for method in (METHOD, OTHER):
                    found.append(logits_of(model, ids, method))
            return found

        if (
            shared
        ):  # a switched configuration reaches both models: each keeps its own method, and lends none to the other
            with extended(first, METHOD), extended(second, PlainRoPE()):
                assert_close(logits_of(second, ids), stock[1], atol=1e-5, rtol=0)
                jobs = [lambda: [logits_of(first, ids) for _ in range(12)], lambda: job(1)]
                mine, others = together(*jobs)
            assert all(torch.equal(logits, expected[0][0]) for logits in mine)
        else:
            mine, others = together(lambda: job(0), lambda: job(1))
            assert all(torch.equal(logits, expected[0][i % 2]) for i, logits in enumerate(mine))
        assert all(torch.equal(logits, expected[1][i % 2]) for i, logits in enumerate(others))
        assert [state(model) for model in models] == before

    def test_conversations_on_two_threads_keep_their_own_keys(self):
        model = tiny_llama()
        texts = [token_ids(length, seed=length) for length in (40, 33)]
        alone = [logits_of(model, ids, METHOD) for ids in texts]

        @torch.no_grad()
        def talk(ids):
            cache = model(ids[:, :20]).past_key_values
            return torch.cat([model(part, past_key_values=cache).logits for part in ids[:, 20:].split(1, 1)], 1)

        with extended(model, METHOD):
            found = together(*(lambda ids=ids: talk(ids) for ids in texts))
        for logits, whole in zip(found, alone, strict=True):
            assert_close(logits, whole[:, 20:], atol=2e-5, rtol=0)

    @staticmethod
    def in_mid_forward(model, ids, act):
        """What a forward gives between whose first and second layer another thread does something."""

        def meanwhile(*_):
            other = threading.Thread(target=act)
            other.start()
            other.join(PATIENCE)
            assert not other.is_alive()

        hook = model.model.layers[0].register_forward_hook(meanwhile)
        try:
            with torch.no_grad():
                return model(ids).logits
        finally:
            hook.remove()

    @pytest.mark.parametrize("stock", ["sdpa", "eager"])
    @pytest.mark.parametrize("padded", [False, True], ids=["one text", "padded"])
    def test_lent_while_another_thread_runs_is_refused_there(self, stock, padded):
        """A forward that began under the stock attention cannot end under a method: it ends in a sentence."""
        model, ids = tiny_llama(), token_ids(20, batch=2)
        model.set_attn_implementation(stock)
        mask = torch.ones_like(ids)
        mask[1, :6] = 0
        inputs = {"attention_mask": mask} if padded else {}
        forward = model.forward
        model.forward = lambda ids: forward(ids, **inputs)
        with pytest.raises(ValueError, match="pass attention_mask as"):
            self.in_mid_forward(model, ids, lambda: extend(model, METHOD))
        del model.forward
        restore(model)
        assert_close(logits_of(model, ids[:, :8], METHOD), logits_of(model, ids[:, :8]), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("stock", STOCK)
    def test_restored_while_another_thread_runs_is_refused_there(self, stock):
        """Nor can a forward that began under a method end under the stock attention."""
        model, ids = tiny_llama(), token_ids(20)
        model.set_attn_implementation(stock)
        extend(model, METHOD)
        with pytest.raises((RuntimeError, ValueError)):
            self.in_mid_forward(model, ids, lambda: restore(model))
        assert not is_extended(model)

    @pytest.mark.parametrize("stock", ["sdpa", "eager"])
    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_layers_computed_again_after_the_block_are_refused(self, stock):
        """Gradient checkpointing runs the forward once more in the backward, which belongs inside the block."""
        model, ids = tiny_llama().train(), token_ids(20)
        model.set_attn_implementation(stock)
        with extended(model, METHOD):
            model(ids, labels=ids).loss.backward()
        expected = model.model.layers[0].self_attn.q_proj.weight.grad.clone()
        model.zero_grad()
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        with extended(model, METHOD):
            model(ids, labels=ids, use_cache=False).loss.backward()
            late = model(ids, labels=ids, use_cache=False).loss
        assert_close(model.model.layers[0].self_attn.q_proj.weight.grad, expected, atol=1e-5, rtol=1e-4)
        with pytest.raises((RuntimeError, ValueError)):
            late.backward()
