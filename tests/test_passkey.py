"""The pass-key experiment counts what a model says: checked on models whose answers are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from experiment_doubles import TEXTS, Oracle, bytes_tokenizer, tiny_llama

from selfextend_viz.experiments.answers import answer_scores, greedy
from selfextend_viz.experiments.conditions import resolve, resolve_all
from selfextend_viz.experiments.passkey import answer_digits, passkey
from selfextend_viz.experiments.prompts import document, passkey_prompt
from selfextend_viz.experiments.rows import DigitRow, wilson_interval
from selfextend_viz.methods.masking import SlidingWindow
from selfextend_viz.patch import extend, is_extended, restore
from selfextend_viz.positions import PlainRoPE, SelfExtend


def rows(model, **options):
    defaults = {"lengths": [128], "depths": [0.0, 0.5, 1.0], "filler": TEXTS}
    return list(passkey(model, bytes_tokenizer(), **{**defaults, **options}))


@pytest.mark.parametrize("scoring", ["teacher", "generate"])
@pytest.mark.parametrize(("slip", "exact"), [(0, 7), (1, 0)])
def test_an_oracle_is_right_and_a_slipping_one_is_wrong(scoring, slip, exact):
    found = rows(Oracle(slip=slip), scoring=scoring, trials=7)
    assert [(row.length, row.depth, row.exact, row.trials) for row in found] == [
        (128, depth, exact, 7) for depth in (0.0, 0.5, 1.0)
    ]
    assert all((row.low, row.high) == wilson_interval(exact, 7) for row in found)
    assert {row.task for row in found} == {"paper"} and {row.condition for row in found} == {"stock"}


def test_log_probability_is_that_of_a_digit():
    sure = 3.0
    wanted = sure - math.log(256 + math.exp(sure))
    assert rows(Oracle(sure=sure), depths=[0.5])[0].log_probability == pytest.approx(wanted, abs=1e-5)
    slipped = rows(Oracle(sure=sure, slip=1), depths=[0.5])[0].log_probability
    assert slipped == pytest.approx(wanted - sure, abs=1e-5)


def test_truncation_loses_a_needle_that_stands_before_the_last_l_tokens():
    found = rows(Oracle(context_length=110), conditions=["stock", "truncate"], depths=[0.0, 1.0], lengths=[160])
    assert [(row.condition, row.depth, row.exact) for row in found] == [
        ("stock", 0.0, 5),
        ("truncate", 0.0, 0),
        ("stock", 1.0, 5),
        ("truncate", 1.0, 5),
    ]


def test_truncation_leaves_room_for_the_answer():
    lengths = []

    class Listening(Oracle):
        def forward(self, input_ids, **options):
            lengths.append(input_ids.shape[1])
            return super().forward(input_ids, **options)

    rows(Listening(context_length=64), conditions=["truncate"], depths=[0.5])
    assert lengths == [63]  # 58 of the prompt and 5 of the answer's 6, the last of which is only foretold


def test_tasks_without_a_needle_and_with_two():
    assert sum(row.exact for row in rows(Oracle(), task="control", trials=10)) == 0
    assert sum(row.exact for row in rows(Oracle(), task="order:first", lengths=[220])) == 15
    assert sum(row.exact for row in rows(Oracle(), task="order", lengths=[220])) == 0


def test_document_task_scores_any_text():
    task = document("The pass key is 777.", "So?", "777", answer_start="The pass key is")
    (row,) = rows(Oracle(), task=task, depths=[0.4])
    assert (row.task, row.exact) == ("document", 5)


@pytest.mark.parametrize("seed", range(3))
def test_teacher_forcing_is_exact_just_when_greedy_decoding_says_it(seed):
    model, tokenizer = tiny_llama(seed=seed), bytes_tokenizer()
    prompt = passkey_prompt(tokenizer, length=120, depth=0.5, seed=seed)
    for condition in (resolve("stock", model), resolve(SelfExtend(4, 16), model)):
        with torch.inference_mode(), condition.lent(model, "auto"):
            said = greedy(model, torch.tensor([prompt.ids]), 6)[0].tolist()
        own = replace(prompt, answer_ids=tuple(said), answer=tokenizer.decode(said).strip() or "?")
        other = replace(prompt, answer_ids=(*said[:5], (said[5] + 1) % 256))
        assert answer_scores(model, tokenizer, [own], condition)[0].exact
        assert not answer_scores(model, tokenizer, [other], condition)[0].exact


def test_greedy_decoding_is_what_transformers_generates():
    model = tiny_llama()
    ids = torch.tensor([passkey_prompt(bytes_tokenizer(), length=100, depth=0.5).ids] * 2)
    ids[1, 3] = 65
    said = model.generate(ids, max_new_tokens=5, min_new_tokens=5, do_sample=False, pad_token_id=0)[:, ids.shape[1] :]
    assert torch.equal(greedy(model, ids, 5), said)


def test_a_batch_scores_each_prompt_as_alone():
    model, tokenizer, condition = tiny_llama(), bytes_tokenizer(), resolve(SelfExtend(4, 16), tiny_llama())
    prompts = [passkey_prompt(tokenizer, length=110, depth=0.5, seed=seed, digits=4 + seed % 2) for seed in range(5)]
    together = answer_scores(model, tokenizer, prompts, condition, batch_size=3)
    alone = [answer_scores(model, tokenizer, [prompt], condition)[0] for prompt in prompts]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.log_probabilities, other.log_probabilities, atol=2e-5, rtol=1e-4)


def test_blindfold_hides_exactly_what_is_l_or_more_away():
    model, tokenizer = tiny_llama(layers=1), bytes_tokenizer()
    prompt = passkey_prompt(tokenizer, length=150, depth=0.0)
    blindfold, stock = resolve("blindfold", model), resolve("stock", model)
    reach = 150 - model.config.max_position_embeddings  # the first answer token is read at 149, which sees 86 .. 149
    for place, hidden in ((reach - 1, True), (reach, False)):
        ids = list(prompt.ids)
        ids[place] = 33
        changed = replace(prompt, ids=tuple(ids))
        for condition, unseen in ((blindfold, hidden), (stock, False)):
            first, second = answer_scores(model, tokenizer, [prompt, changed], condition, batch_size=2)
            same = torch.allclose(first.log_probabilities[0], second.log_probabilities[0], atol=1e-6)
            assert same == unseen, (place, condition.label)


def test_sinks_show_the_first_four_tokens_and_no_more():
    model, tokenizer = tiny_llama(layers=1), bytes_tokenizer()
    prompt = passkey_prompt(tokenizer, length=150, depth=1.0)
    for place, seen in ((0, True), (3, True), (4, False)):
        ids = list(prompt.ids)
        ids[place] = 33
        pair = [prompt, replace(prompt, ids=tuple(ids))]
        first, second = answer_scores(model, tokenizer, pair, resolve("sinks", model))
        assert torch.allclose(first.log_probabilities, second.log_probabilities, atol=1e-6) != seen


def test_every_condition_reads_the_same_prompts_and_the_model_comes_back():
    model = tiny_llama()
    conditions = [None, "blindfold", "truncate", "sinks", SelfExtend(4, 16), SlidingWindow(20)]
    found = rows(model, conditions=conditions, depths=[0.5], trials=2)
    labels = ["stock", "blindfold", "truncate", "sinks", "SelfExtend(G=4, w_n=16)", "SlidingWindow(20)"]
    assert [row.condition for row in found] == labels
    assert len({row.log_probability for row in found}) == 6 and not is_extended(model)
    assert rows(model, depths=[0.5], trials=2)[0] == found[0]


def test_stock_is_the_stock_model_even_while_the_model_is_extended():
    model = tiny_llama()
    plain = rows(model, depths=[0.5], trials=2)[0]
    extend(model, SelfExtend(4, 16))
    again = rows(model, depths=[0.5], trials=2)[0]
    restore(model)
    assert again.log_probability == pytest.approx(plain.log_probability, abs=1e-4)


def test_rows_arrive_one_by_one_in_the_order_asked():
    model = Oracle()
    order = [(140, 1.0), (120, 0.0), (140, 0.0)]
    found = passkey(model, bytes_tokenizer(), lengths=(), order=order, trials=3, batch_size=2)
    assert model.calls == 0
    first = next(found)
    assert (first.length, first.depth) == (140, 1.0) and model.calls == 2  # three trials, two at a time
    assert [(row.length, row.depth) for row in found] == order[1:]


def test_the_introduction_is_for_models_with_room_for_it(monkeypatch):
    seen = []
    monkeypatch.setattr(Oracle, "continuation", lambda self, ids: seen.append(bytes(ids)) or [0] * len(ids))
    rows(Oracle(context_length=1024), lengths=[400], depths=[1.0], trials=1)
    rows(Oracle(context_length=1023), lengths=[400], depths=[1.0], trials=1)
    rows(Oracle(context_length=1024), lengths=[400], depths=[1.0], trials=1, introduction=False)
    assert [text.startswith(b"There is an important info") for text in seen] == [True, False, False]


def test_digits_of_one_answer():
    prompt = passkey_prompt(bytes_tokenizer(), length=128, depth=0.5, key="90210")
    digits = answer_digits(Oracle(slip=1, sure=5.0), bytes_tokenizer(), prompt)
    said = math.exp(5) / (256 + math.exp(5))
    assert [(row.index, row.wanted, row.said) for row in digits] == [
        (index, wanted, str((int(wanted) + 1) % 10)) for index, wanted in enumerate("90210")
    ]
    assert isinstance(digits[0], DigitRow) and digits[0].condition == "stock"
    assert digits[0].probability_said == pytest.approx(said, abs=1e-5)
    assert digits[0].probability_wanted == pytest.approx(said / math.exp(5), abs=1e-6)


BAD = [
    ({"scoring": "luck"}, ValueError, "unknown scoring 'luck'"),
    ({"trials": 0}, ValueError, "trials is 0"),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"conditions": "stock"}, TypeError, "conditions must be a list, not 'stock'"),
    ({"conditions": SelfExtend(2, 4)}, TypeError, "put it in brackets"),
    ({"conditions": []}, ValueError, "0 entries"),
    ({"conditions": ["stock", None]}, ValueError, "'stock' is given 2 times"),
    ({"conditions": ["blind"]}, ValueError, "unknown condition 'blind'"),
    ({"conditions": [7]}, TypeError, "not 7"),
    ({"conditions": ["stock", SelfExtend(2, 64)]}, ValueError, "neighbor_window 64 leaves no room"),
    ({"implementation": "fast"}, ValueError, "unknown implementation 'fast'"),
    ({"lengths": 128}, TypeError, "lengths must be a list, not 128 alone"),
    ({"lengths": []}, ValueError, "lengths has 0 entries"),
    ({"depths": 0.5}, TypeError, "depths must be a list, not 0.5 alone"),
    ({"task": None}, TypeError, "task must be a name or document"),
    ({"lengths": [50]}, ValueError, "use a length of at least 97"),
    ({"depths": [2]}, ValueError, "depth is 2"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), BAD)
def test_bad_input_is_refused_before_any_work(options, error, sentence):
    model, seen = tiny_llama(), []
    model.register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(error, match=sentence):
        passkey(model, bytes_tokenizer(), **{"lengths": [128], **options})
    assert not seen


@pytest.mark.parametrize("task", ["paper", "order", "named:2", document("The key is 12345.", "Key?", "12345")], ids=str)
def test_the_control_without_a_needle_asks_the_same_and_states_nothing(task):
    options = {"task": task, "length": 200, "depth": 0.5, "seed": 3, "filler": TEXTS}
    asked, control = (passkey_prompt(bytes_tokenizer(), needle=needle, **options) for needle in (True, False))
    assert asked.answer == control.answer and asked.question == control.question
    assert len(control.ids) == 200 and control.ids[-13:] == asked.ids[-13:]
    assert control.needle == (0, 0) and asked.answer in asked.text and asked.answer not in control.text


def test_without_a_needle_an_oracle_is_lost():
    found = rows(Oracle(), conditions=["stock", "no_needle"])
    assert [(row.condition, row.exact) for row in found] == [("stock", 5), ("no_needle", 0)] * 3
    with pytest.raises(ValueError, match="unknown condition 'no_needle'"):
        answer_digits(Oracle(), bytes_tokenizer(), passkey_prompt(bytes_tokenizer(), length=128, depth=0), "no_needle")


def test_an_answer_as_long_as_the_context_cannot_be_asked_of_the_truncated():
    with pytest.raises(ValueError, match="6 tokens leaves no prompt within L = 6"):
        rows(Oracle(context_length=6), conditions=["truncate"])


def test_plain_rope_is_labelled_as_what_it_is():
    assert resolve_all([PlainRoPE()], Oracle())[0].label == "stock"
