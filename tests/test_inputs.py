"""However a text reaches an extended model, in whatever cache and precision: the logits of the whole text at once."""

import copy
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from experiment_doubles import TEXTS, bytes_tokenizer, merging_tokenizer
from model_oracle import oracle_logits
from tiny_models import ROTARY, tiny_llama, tiny_mistral, tiny_qwen2, token_ids
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, DynamicCache, QuantizedCache, StaticCache, pipeline
from transformers.cache_utils import Cache, QuantizedLayer

from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.patch import describe, extended, is_extended
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions

pytestmark = pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")

METHOD = SelfExtend(group_size=3, neighbor_window=7)
LENGTH = 40
ARCHITECTURES = ("llama", "qwen3", "mistral", "phi")


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return ROTARY[request.param]()


@torch.no_grad()
def whole(model, ids, method=METHOD, **inputs):
    """Logits of a text at once: no cache, and the readable implementation."""
    with extended(model, method, implementation="eager"):
        return model(ids, use_cache=False, **inputs).logits


def greedy(model, ids, steps, *, never=()):
    """A continuation, every token of which is read from the logits of the whole text."""
    for _ in range(steps):
        last = whole(model, ids)[:, -1:]
        last[..., list(never)] = -torch.inf
        ids = torch.cat([ids, last.argmax(-1)], 1)
    return ids


def padded(lengths, *, left=True):
    """Texts of these lengths as one batch: ids, mask, and each text alone."""
    longest, rows = max(lengths), [token_ids(length, seed=length) for length in lengths]
    sides = [(longest - length, 0) if left else (0, longest - length) for length in lengths]
    ids = torch.cat([torch.nn.functional.pad(row, side) for row, side in zip(rows, sides, strict=True)])
    return ids, (ids != 0).long(), rows


class KeptAsIs(QuantizedLayer):
    """A quantized cache's layer whose numbers lose nothing: all else is what those of quanto and HQQ do."""

    def __init__(self):
        super().__init__(residual_length=6)

    def _quantize(self, tensor, axis):
        return tensor.clone()

    def _dequantize(self, kept):
        return kept


class NoStream:
    """Stands for a stream of an accelerator where there is none."""

    __enter__ = __exit__ = wait_stream = lambda self, *_: None


@pytest.fixture
def streams(monkeypatch):
    """Lets an offloaded cache be made without an accelerator: its layers go to the CPU and come back from there."""
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch, "Stream", NoStream)
        monkeypatch.setattr(torch.cuda, "default_stream", lambda device: NoStream())


CACHES = {
    "dynamic": lambda config: DynamicCache(),
    "dynamic of a configuration": lambda config: DynamicCache(config=config),
    "static": lambda config: StaticCache(config=config, max_cache_len=64),
    "quantized": lambda config: Cache(layers=[KeptAsIs() for _ in range(config.num_hidden_layers)]),
    "offloaded": lambda config: DynamicCache(config=config, offloading=True),
}


@pytest.fixture(params=CACHES)
def cache_for(request, streams):
    """Makes a cache for a configuration, of each kind."""
    return CACHES[request.param]


class TestCaches:
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_the_last_prefill_row_is_the_decode_step(self, model, cache_for, implementation):
        ids = token_ids(LENGTH, batch=2)
        with torch.no_grad(), extended(model, METHOD, implementation=implementation):
            cache = cache_for(model.config)
            model(ids[:, :-1], past_key_values=cache)
            step = model(ids[:, -1:], past_key_values=cache).logits
        assert_close(step, whole(model, ids)[:, -1:], atol=2e-5, rtol=0)

    def test_chunks_and_then_one_by_one(self, llama, cache_for):
        ids = token_ids(LENGTH)
        with torch.no_grad(), extended(llama, METHOD):
            cache = cache_for(llama.config)
            parts = [*ids[:, :27].split(9, 1), *ids[:, 27:].split(1, 1)]
            logits = [llama(part, past_key_values=cache).logits for part in parts]
        assert_close(torch.cat(logits, 1), whole(llama, ids), atol=2e-5, rtol=0)

    def test_left_padded_rows_one_by_one(self, llama, cache_for):
        ids, mask, rows = padded((20, 13, 5))
        more = token_ids(6, batch=3)
        mask = torch.nn.functional.pad(mask, (0, 6), value=1)
        with torch.no_grad(), extended(llama, METHOD):
            cache = cache_for(llama.config)
            llama(ids, attention_mask=mask[:, :20], past_key_values=cache)
            for i in range(6):
                step = llama(more[:, i : i + 1], attention_mask=mask[:, : 21 + i], past_key_values=cache).logits
                for row, logits in enumerate(step):
                    alone = whole(llama, torch.cat([rows[row], more[row : row + 1, : i + 1]], 1))
                    assert_close(logits[-1], alone[0, -1], atol=5e-5, rtol=0)

    def test_right_padded_rows_at_once_and_no_further(self, llama, cache_for):
        """A token behind right padding would have a hole before it."""
        ids, mask, rows = padded((20, 13, 5), left=False)
        with torch.no_grad(), extended(llama, METHOD):
            cache = cache_for(llama.config)
            logits = llama(ids, attention_mask=mask, past_key_values=cache).logits
            longer = torch.nn.functional.pad(mask, (0, 1), value=1)
            with pytest.raises(ValueError, match="row 1 of attention_mask has 7 masked slots between its 14 tokens"):
                llama(ids[:, :1], attention_mask=longer, past_key_values=cache)
        for row, text in enumerate(rows):
            assert_close(logits[row, : text.shape[1]], whole(llama, text)[0], atol=5e-5, rtol=0)

    def test_switched_on_off_and_over_in_mid_conversation(self, llama, cache_for):
        """Rows of the stock model, of the method and of another one, each over all that was said before."""
        ids, mask, _ = padded((30, 21))
        other = SelfExtend(2, 4)
        stretches = ((0, 12, None), (12, 20, METHOD), (20, 26, other), (26, 30, None))
        cache, parts = cache_for(llama.config), []
        with torch.no_grad():
            for start, stop, method in stretches:
                with nullcontext() if method is None else extended(llama, method):
                    inputs = {"attention_mask": mask[:, :stop], "past_key_values": cache}
                    parts.append(llama(ids[:, start:stop], **inputs).logits)
        for row, length in enumerate((30, 21)):
            expected = mixed_logits(llama, ids[row : row + 1, 30 - length :], stretches, shift=30 - length)
            assert_close(torch.cat(parts, 1)[row : row + 1, 30 - length :].double(), expected, atol=5e-5, rtol=0)


def mixed_logits(model, ids, stretches, *, shift):
    """The oracle's logits of one row whose slots ran under different methods."""
    length = ids.shape[1]
    relative = relative_positions(PlainRoPE(), length)
    for start, stop, method in stretches:
        rows = slice(max(0, start - shift), max(0, stop - shift))
        relative[rows] = relative_positions(method or PlainRoPE(), length)[rows]
    return oracle_logits(model, ids, relative)


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_layers_with_a_sliding_cache_stay_local_beside_extended_ones(kind):
    model = tiny_qwen2(use_sliding_window=True, sliding_window=9, max_window_layers=1)
    ids, options = token_ids(LENGTH), {"max_new_tokens": 6, "do_sample": False}
    with torch.no_grad(), extended(model, METHOD):
        cache = CACHES["static" if kind == "static" else "dynamic of a configuration"](model.config)
        assert any(cache.is_sliding) and not all(cache.is_sliding)
        logits = [model(part, past_key_values=cache).logits for part in (ids[:, :25], *ids[:, 25:].split(1, 1))]
        text = model.generate(ids, cache_implementation=kind, **options)
    assert_close(torch.cat(logits, 1), whole(model, ids), atol=2e-5, rtol=0)
    assert torch.equal(text, greedy(model, ids, 6))


@pytest.mark.parametrize("kind", ["dynamic", "static"])
def test_a_lifted_window_takes_a_full_cache(kind):
    model, ids = tiny_mistral(sliding_window=9), token_ids(LENGTH)
    with extended(model, METHOD):
        text = model.generate(ids, max_new_tokens=6, do_sample=False, cache_implementation=kind)
    assert torch.equal(text, greedy(model, ids, 6))


@pytest.mark.parametrize(("backend", "module"), [("quanto", "optimum.quanto"), ("hqq", "hqq")])
def test_a_cache_of_four_bits_loses_no_more_than_the_stock_models(llama, backend, module):
    pytest.importorskip(module, reason=f"the {backend} cache needs {module}")
    ids, axis = token_ids(LENGTH), 0 if backend == "quanto" else 1
    options = {"nbits": 4, "q_group_size": 16, "residual_length": 8, "axis_key": axis, "axis_value": axis}

    def loss(method):
        with torch.no_grad(), extended(llama, method):
            cache = QuantizedCache(backend=backend, config=llama.config, **options)
            llama(ids[:, :-1], past_key_values=cache)
            step = llama(ids[:, -1:], past_key_values=cache).logits
        return (step - whole(llama, ids, method)[:, -1:]).norm()

    assert 0 < loss(METHOD) <= 2 * loss(PlainRoPE())


class TestWhatGoesIn:
    def test_position_ids_at_every_step(self, model):
        ids, mask, _ = padded((LENGTH, 27))
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        expected = whole(model, ids, attention_mask=mask)
        with torch.no_grad(), extended(model, METHOD):
            cache, logits = DynamicCache(config=model.config), []
            for start, stop in ((0, 30), *((i, i + 1) for i in range(30, LENGTH))):
                given = {"attention_mask": mask[:, :stop], "position_ids": positions[:, start:stop]}
                logits.append(model(ids[:, start:stop], past_key_values=cache, **given).logits)
        steps = torch.cat(logits, 1)
        assert_close(steps[0], expected[0], atol=5e-5, rtol=0)
        assert_close(steps[1, LENGTH - 27 :], expected[1, LENGTH - 27 :], atol=5e-5, rtol=0)

    def test_embeddings_in_place_of_ids_and_the_last_logits_alone(self, model):
        ids = token_ids(LENGTH, batch=2)
        with torch.no_grad(), extended(model, METHOD):
            last = model(inputs_embeds=model.get_input_embeddings()(ids), logits_to_keep=1).logits
        assert last.shape[1] == 1
        assert_close(last, whole(model, ids)[:, -1:], atol=2e-5, rtol=0)

    def test_packed_documents_are_refused_as_collators_pack_them(self, llama):
        """transformers' flattening collator: one row, positions that start again, and the documents' bounds."""
        bounds = torch.tensor([0, 7, 12], dtype=torch.int32)
        packed = {"position_ids": torch.tensor([[*range(7), *range(5)]]), "use_cache": False}
        packed |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": 7, "max_length_k": 7}
        with torch.no_grad(), extended(llama, METHOD), pytest.raises(ValueError, match="packed sequences"):
            llama(token_ids(12), **packed)


class TestGenerate:
    @pytest.mark.parametrize("draft", ["stock", "extended", "the same model"])
    def test_a_draft_model_changes_nothing(self, model, draft):
        ids = token_ids(LENGTH)
        helper = model if draft == "the same model" else tiny_llama(num_hidden_layers=1)
        lent = extended(helper, METHOD) if draft == "extended" else nullcontext()
        with lent, extended(model, METHOD):
            text = model.generate(ids, assistant_model=helper, suppress_tokens=[0], max_new_tokens=8, do_sample=False)
        # transformers takes a padding token that a model writes for padding when it asks the draft model again
        assert torch.equal(text, greedy(model, ids, 8, never=[0]))
        assert not is_extended(helper)

    def test_prompt_lookup(self, model):
        ids = token_ids(9).repeat(1, 4)
        with extended(model, METHOD):
            text = model.generate(ids, prompt_lookup_num_tokens=3, max_new_tokens=8, do_sample=False)
        assert torch.equal(text, greedy(model, ids, 8))

    @pytest.mark.parametrize("kind", ["dynamic", "static"])
    def test_beams_of_a_padded_batch_are_those_of_each_text_alone(self, model, kind):
        ids, mask, rows = padded((30, 19))
        options = {"num_beams": 3, "max_new_tokens": 5, "do_sample": False, "cache_implementation": kind}
        with extended(model, METHOD):
            texts = model.generate(ids, attention_mask=mask, **options)
            for text, row in zip(texts, rows, strict=True):
                alone = model.generate(row, **options | {"cache_implementation": None, "use_cache": False})
                assert torch.equal(text[30 - row.shape[1] :], alone[0])

    @pytest.mark.parametrize("kind", ["dynamic", "static"])
    def test_two_turns_on_one_cache(self, model, kind):
        ids = token_ids(60)
        with torch.no_grad(), extended(model, METHOD):
            cache = CACHES[kind](model.config)
            options = {"max_new_tokens": 5, "do_sample": False, "past_key_values": cache}
            first = model.generate(ids[:, :20], **options)
            talk = torch.cat([first, ids[:, 20:34]], 1)
            second = model.generate(talk, **options)
        assert torch.equal(first, greedy(model, ids[:, :20], 5))
        assert torch.equal(second, greedy(model, talk, 5))

    def test_samples_are_those_of_the_same_seed_without_a_cache(self, llama):
        with extended(llama, METHOD):
            texts = []
            for cached in (True, False):
                torch.manual_seed(3)
                options = {"do_sample": True, "temperature": 1.3, "num_return_sequences": 3, "max_new_tokens": 6}
                texts.append(llama.generate(token_ids(LENGTH), use_cache=cached, **options))
        assert torch.equal(*texts) and len({tuple(row) for row in texts[0].tolist()}) == 3

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_a_pipeline_is_generate(self):
        tokenizer = bytes_tokenizer()
        model = tiny_llama(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
        writer = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu", batch_size=2)
        texts = ["A module is a file that holds definitions.", "Reading files is done"]
        told = {"max_new_tokens": 6, "do_sample": False}
        stock = writer(texts, return_tensors=True, **told)
        with extended(writer.model, METHOD):
            found = writer(texts, return_tensors=True, **told)
        for text, (record,) in zip(texts, found, strict=True):
            ids = torch.tensor([tokenizer.encode(text)])
            assert record["generated_token_ids"][-6:] == greedy(model, ids, 6)[0, -6:].tolist()
        assert found != stock


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
    @pytest.mark.parametrize("implementation", ["eager", "flash"])
    def test_half_precision_errs_no_more_than_twice_what_the_stock_model_does(self, model, dtype, implementation):
        ids, low = token_ids(60), copy.deepcopy(model).to(dtype)
        low.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq
        with torch.no_grad():
            stock = (low(ids).logits.float() - model(ids).logits).norm()
            with extended(low, METHOD, implementation=implementation):
                at_once = low(ids).logits
                cache = low(ids[:, :50]).past_key_values
                steps = [low(ids[:, i : i + 1], past_key_values=cache).logits for i in range(50, 60)]
        exact = whole(model, ids)
        assert at_once.dtype == dtype
        assert 0 < (at_once.float() - exact).norm() <= 2 * stock
        assert (torch.cat(steps, 1).float() - exact[:, 50:]).norm() <= 2 * stock

    def test_weights_of_four_bits(self, tmp_path):
        pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
        sizes = {"hidden_size": 128, "intermediate_size": 128, "num_key_value_heads": 4}
        tiny_llama(**sizes).save_pretrained(tmp_path)
        packed = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float32)
        model = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=packed, device_map={"": "cpu"})
        assert model.model.layers[0].self_attn.q_proj.weight.dtype == torch.uint8
        ids = token_ids(LENGTH)
        expected = whole(model, ids)
        with torch.no_grad(), extended(model, METHOD):
            cache = model(ids[:, :-1]).past_key_values
            step = model(ids[:, -1:], past_key_values=cache).logits
        assert (step - expected[:, -1:]).norm() <= 0.02 * expected[:, -1:].norm()


class TestPlaces:
    """Where accelerate puts a model's weights; one machine without a GPU has the CPU, and places it loads from."""

    @pytest.mark.filterwarnings("ignore:You are calling .generate")
    @pytest.mark.parametrize("place", ["cpu", "offloaded to the CPU", "offloaded to the disk"])
    def test_weights_that_come_when_they_are_needed(self, model, place, tmp_path):
        accelerate = pytest.importorskip("accelerate", reason="device_map needs accelerate")
        ids, there = token_ids(LENGTH), copy.deepcopy(model)
        if place == "cpu":
            there.save_pretrained(tmp_path)
            there = AutoModelForCausalLM.from_pretrained(tmp_path, device_map={"": "cpu"})
        elif place == "offloaded to the CPU":
            accelerate.cpu_offload(there, execution_device=torch.device("cpu"), offload_buffers=True)
        else:
            accelerate.disk_offload(there, tmp_path, execution_device=torch.device("cpu"))
        with torch.no_grad(), extended(there, METHOD):
            text = there.generate(ids, max_new_tokens=5, do_sample=False)
            logits, said = there(ids).logits, str(describe(there))
        assert_close(logits, whole(model, ids), atol=2e-5, rtol=0)
        assert torch.equal(text, greedy(model, ids, 5))
        with extended(model, METHOD):
            assert said == str(describe(model))

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
    def test_layers_on_two_devices(self, llama):
        accelerate = pytest.importorskip("accelerate", reason="device_map needs accelerate")
        ids, there = token_ids(LENGTH), copy.deepcopy(llama)
        places = {"model.embed_tokens": 0, "model.rotary_emb": 0, "model.layers.0": 0, "model.layers.1": "cpu"}
        accelerate.dispatch_model(there, places | {"model.norm": 0, "lm_head": 0}, main_device=0)
        with torch.no_grad(), extended(there, METHOD):
            text = there.generate(ids.cuda(), max_new_tokens=5, do_sample=False)
        assert torch.equal(text.cpu(), greedy(llama, ids, 5))


class TestCompiled:
    def test_in_one_graph_is_refused_by_the_compiler(self, llama):
        """Slots are read from the device, which no graph can hold: a graph may only be broken there."""
        with torch.no_grad(), extended(llama, METHOD):
            compiled = torch.compile(llama, backend="eager", fullgraph=True)
            with pytest.raises(torch._dynamo.exc.Unsupported, match=r"torch\.compiler\.disable"):
                compiled(token_ids(LENGTH))
        torch._dynamo.reset()

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    def test_by_inductor(self, llama):
        ids = token_ids(LENGTH)
        with torch.no_grad(), extended(llama, METHOD):
            assert_close(torch.compile(llama)(ids).logits, whole(llama, ids), atol=2e-5, rtol=0)
        torch._dynamo.reset()


@pytest.mark.parametrize("chat", [False, True], ids=["three digits to a token", "chat template"])
@pytest.mark.parametrize("scoring", ["teacher", "generate"])
def test_tokenizers_of_other_kinds_go_through_the_pass_key(chat, scoring):
    tokenizer = merging_tokenizer(chat=chat)
    model = tiny_llama(vocab_size=len(tokenizer))
    ask = partial(passkey, model, tokenizer, lengths=[120], depths=[0.5], filler=TEXTS, trials=2, scoring=scoring)
    stock, extend = ask(conditions=["stock", METHOD])
    assert (stock.trials, extend.trials) == (2, 2)
    assert stock.log_probability != extend.log_probability
