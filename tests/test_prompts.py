"""Prompts are exact in tokens: their length, the needle's depth, and the answer as it would be read."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import pytest
from experiment_doubles import TEXT, TEXTS, bytes_tokenizer, merging_tokenizer, spacing_tokenizer

from selfextend_viz.experiments import filler
from selfextend_viz.experiments.prompts import TASKS, Phrasing, Prompt, document, named, passkey_prompt, ruler
from selfextend_viz.experiments.tasks import INTRODUCTION, NAMES
from selfextend_viz.experiments.tokens import span_of

TOKENIZERS = {
    "bytes": bytes_tokenizer,
    "three digits": merging_tokenizer,
    "chat": lambda: merging_tokenizer(chat=True),
    "space first": spacing_tokenizer,
}
EVERY_TASK = (*TASKS, "named:4", "order:first", "ruler:3")
STATEMENT = r"The pass key is (\d+)\. Remember it\. \1 is the pass key\."


@pytest.fixture(params=TOKENIZERS, scope="module")
def tokenizer(request):
    return TOKENIZERS[request.param]()


def prompt(tokenizer, **options) -> Prompt:
    defaults = {"length": 333, "depth": 0.5, "filler": None if options.get("task", "paper") == "paper" else TEXTS}
    return passkey_prompt(tokenizer, **{**defaults, **options})


def between(tokenizer, made: Prompt) -> str:
    return tokenizer.decode(made.ids[slice(*made.needle)]).strip()


def tokens_before(tokenizer, made: Prompt) -> int:
    """Filler tokens before the needle's statement, counted by decoding ever longer prefixes."""
    place = made.text.index("The pass key is")
    return next(n for n in range(made.length) if len(tokenizer.decode(made.ids[: n + 1])) > place)


@pytest.mark.parametrize("task", EVERY_TASK)
@pytest.mark.parametrize("length", [333, 512])
def test_length_is_exact_and_the_needle_is_the_key(tokenizer, task, length):
    for depth in (0, 0.3, 0.5, 1):
        made = prompt(tokenizer, task=task, length=length, depth=depth)
        assert len(made.ids) == made.length == length
        assert (made.task, made.depth) == (task, depth)
        assert re.fullmatch(r"[1-9]\d{4}", made.answer)
        assert tokenizer.decode(made.ids) == made.text
        if task == "control":
            assert made.needle == (0, 0) and not re.search(r"\d", made.text)
        else:
            assert between(tokenizer, made) == made.answer


@pytest.mark.parametrize("task", ["paper", "natural", "words", "order"])
def test_statements_are_never_cut(tokenizer, task):
    made = [prompt(tokenizer, task=task, depth=step / 20, seed=step) for step in range(21)]
    assert {len(re.findall(STATEMENT, one.text)) for one in made} == {2 if task == "order" else 1}


def test_depth_is_exact_in_bytes():
    statement = len("\nThe pass key is 12345. Remember it. 12345 is the pass key.")
    question = len("\nWhat is the pass key? The pass key is")
    for depth in (0.1, 0.25, 0.5, 0.75, 1):
        made = prompt(bytes_tokenizer(), depth=depth, length=256)
        free = 256 - statement - question
        assert made.text.index("\nThe pass key is") == int(depth * free + 0.5)


def test_depth_0_is_the_very_start_and_1_right_before_the_question(tokenizer):
    first, last = prompt(tokenizer, depth=0, chat_template=False), prompt(tokenizer, depth=1, chat_template=False)
    opening = tokenizer.bos_token or ""
    assert first.text.removeprefix(opening).startswith("The pass key is")
    assert re.search(STATEMENT + r"\nWhat is the pass key\?", last.text)
    assert last.text.removeprefix(opening).startswith("The grass is green.")


def test_distractors_and_names_keep_the_depth_exact(tokenizer):
    plain, scattered = (prompt(tokenizer, task=task, length=500, depth=0.4) for task in ("natural", "distractor"))
    assert tokens_before(tokenizer, scattered) == tokens_before(tokenizer, plain)
    assert prompt(tokenizer, task="named:4", depth=0).needle[0] < 30


def test_the_answer_is_tokenized_where_it_stands(tokenizer):
    for seed in range(20):
        made = prompt(tokenizer, length=256, seed=seed, digits=3 + seed % 5)
        assert tokenizer.decode((*made.ids, *made.answer_ids)) == f"{made.text} {made.answer}"
        tail = tokenizer.encode("x\nWhat is the pass key? The pass key is " + made.answer, add_special_tokens=False)
        assert tuple(tail[-len(made.answer_ids) :]) == made.answer_ids


def test_merged_digits_are_merged():
    made = prompt(merging_tokenizer(), digits=7)
    pieces = [merging_tokenizer().decode([token]) for token in made.answer_ids]
    assert [len(piece) for piece in pieces if piece.strip()] == [3, 3, 1]
    assert made.needle[1] - made.needle[0] == 3


def test_a_key_that_merges_with_its_neighbours_is_reported_whole():
    assert span_of([7, 8, 9], before=[7], through=[7, 5]) == (1, 2)
    assert span_of([7, 8, 9], before=[7], through=[7, 8, 9]) == (1, 3)


def test_chat_template_frames_the_prompt_unless_refused():
    tokenizer = merging_tokenizer(chat=True)
    chat, bare = prompt(tokenizer), prompt(tokenizer, chat_template=False)
    assert chat.text.startswith("<|start|><|user|>\nThe grass")
    assert chat.text.endswith("What is the pass key?<|end|>\n<|assistant|>\nThe pass key is")
    assert "<|user|>" not in bare.text and bare.text.startswith("<|start|>The grass")
    assert prompt(tokenizer, depth=0).text.startswith("<|start|><|user|>\nThe pass key is")
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    assert chat.ids.count(user) == 1


def test_a_template_that_drops_the_message_is_refused():
    tokenizer = merging_tokenizer(chat=True)
    broken = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, chat_template="nothing")
    with pytest.raises(ValueError, match="prints the user's message 0 times.*chat_template=False"):
        prompt(broken)


def test_equal_arguments_give_equal_prompts(tokenizer):
    for task in ("paper", "distractor", "named:3"):
        assert prompt(tokenizer, task=task, seed=5) == prompt(tokenizer, task=task, seed=5)
        assert len({prompt(tokenizer, task=task, seed=seed).answer for seed in range(8)}) == 8


ONE_LINE = re.sub(r"\s+", " ", re.sub(r"\d+", "", TEXT * 2))


def test_natural_filler_has_no_digit_and_starts_where_the_seed_says():
    texts = [prompt(bytes_tokenizer(), task="natural", seed=seed, length=400, filler=[TEXT]).text for seed in range(5)]
    fillers = [re.sub(STATEMENT, "", text) for text in texts]
    assert not any(re.search(r"\d", text) for text in fillers)
    assert len({text[:20] for text in fillers}) == 5
    assert all(text[:50] in ONE_LINE for text in fillers)


def test_natural_filler_goes_on_behind_the_needle():
    made = prompt(bytes_tokenizer(), task="natural", length=400, filler=[TEXT])
    assert re.sub(r"\n" + STATEMENT + r"\n", "", made.text).partition("\nWhat")[0] in ONE_LINE


def test_words_come_from_the_texts_lowercase_vocabulary():
    made = prompt(bytes_tokenizer(), task="words", length=2000, filler=[TEXT])
    few = passkey_prompt(bytes_tokenizer(), task="words", length=2000, depth=0, filler=[TEXT], vocabulary=12)
    known = set(re.findall(r"\b[a-z]{2,}\b", TEXT))
    words = [re.sub(STATEMENT, "", one.text).partition("\nWhat")[0].split() for one in (made, few)]
    assert sum(word not in known for word in words[0]) <= 3  # two words are cut in two
    assert len(set(words[0]) & known) > 20 and len(set(words[1]) & known) == 12


def test_filler_is_text_the_demo_model_never_read_by_default(monkeypatch):
    held_out = filler._held_out
    held_out.cache_clear()
    monkeypatch.setattr(filler, "held_out_texts", lambda: ["Only this text was held out."])
    made = prompt(bytes_tokenizer(), task="natural", filler=None)
    held_out.cache_clear()
    assert "Only this text was held out. Only this" in made.text


def test_distractor_has_other_numbers_of_the_same_size():
    made = prompt(bytes_tokenizer(), task="distractor", length=1100)
    others = re.findall(r"The \w+ number is (\d{5})\.", made.text)
    assert len(set(others)) == 4 and made.answer not in others
    assert len(re.findall(r"number is", prompt(bytes_tokenizer(), task="distractor", distractors=2).text)) == 2


def test_one_of_k_named_keys_is_asked():
    made = prompt(bytes_tokenizer(), task=named(4), length=400)
    facts = dict(re.findall(r"The pass key of (\w+) is (\d{5})\.", made.text))
    assert len(facts) == len(set(facts.values())) == 4 and set(facts) <= set(NAMES)
    asked = re.search(r"What is the pass key of (\w+)\? The pass key of (\w+) is$", made.text)
    assert asked and asked.group(1) == asked.group(2) and facts[asked.group(1)] == made.answer
    assert len(re.findall("The pass key of", prompt(bytes_tokenizer(), task="named").text)) == 3


def test_one_of_rulers_words_is_asked():
    made = prompt(bytes_tokenizer(), task=ruler(5), length=500, digits=7)
    facts = dict(re.findall(r"The magic number for (\w+-\w+) is (\d{7})\.", made.text))
    assert len(facts) == len(set(facts.values())) == 5
    asked = re.search(r"What is the magic number for (\S+)\? The magic number for (\S+) is$", made.text)
    assert asked and asked.group(1) == asked.group(2) and facts[asked.group(1)] == made.answer
    assert prompt(bytes_tokenizer(), task="ruler").text.count("The magic number for") == 2


def test_several_of_rulers_values_are_asked_at_once(tokenizer):
    made = prompt(tokenizer, task=ruler(4, asked=3), length=500)
    facts = dict(re.findall(r"The magic number for (\S+) is (\d{5})\.", made.text))
    asked = re.search(r"What are the magic numbers for (\S+), (\S+) and (\S+)\?", made.text)
    assert len(facts) == 4 and made.answer == ", ".join(facts[word] for word in asked.groups())
    assert made.text.endswith(f"The magic numbers for {', '.join(asked.groups()[:2])} and {asked.group(3)} are")
    assert between(tokenizer, made) == facts[asked.group(1)]
    assert tokenizer.decode((*made.ids, *made.answer_ids)) == f"{made.text} {made.answer}"


@pytest.mark.parametrize("task", ["paper", "named:3", "ruler:3"])
def test_keys_of_ten_digits(tokenizer, task):
    made = prompt(tokenizer, task=task, digits=10)
    assert re.fullmatch(r"[1-9]\d{9}", made.answer) and between(tokenizer, made) == made.answer


def test_order_states_two_keys_and_asks_for_either():
    later, first = (prompt(bytes_tokenizer(), task=task, length=400) for task in ("order", "order:first"))
    assert later.ids == first.ids
    assert re.findall(STATEMENT, later.text) == [first.answer, later.answer]
    assert first.needle[0] < later.needle[0]


def test_more_values_than_needles_are_refused():
    with pytest.raises(ValueError, match="asked is 3, but there are 2 needles; ask for 1 to 2"):
        ruler(2, asked=3)


def test_words_of_the_prompt_are_the_callers_to_choose():
    made = prompt(bytes_tokenizer(), key="13579", introduction=True, length=500, phrasing="secret")
    assert made.text.startswith(INTRODUCTION + "\nThe grass") and "The secret code is 13579. Do not" in made.text
    own = Phrasing(subject="my number", statement="{Subject}: {key}!", answer_start="{Subject}:", joiner=" ")
    assert prompt(bytes_tokenizer(), phrasing=own).text.endswith(" What is my number? My number:")
    assert "The sky is blue." in prompt(bytes_tokenizer(), filler="grass", task="named:2").text


def test_document_shorter_than_the_prompt_stands_whole_in_filler(tokenizer):
    text = "The ship left at noon. Its captain was Zoe Quill, of Hull."
    made = prompt(tokenizer, task=document(text, "Who was the captain?", "Zoe Quill"), depth=0.4)
    assert len(made.ids) == 333 and text in made.text and made.task == "document"
    assert between(tokenizer, made) == "Zoe Quill" and made.text.endswith("Answer:")


def test_longer_document_is_cut_around_the_answer():
    text = TEXT + "Its captain was Zoe Quill. " + TEXT
    task = document(text, "Who was the captain?", "Zoe Quill")
    for depth in (0, 0.5, 1):
        made = prompt(bytes_tokenizer(), task=task, depth=depth)
        room = 333 - len("\nWho was the captain? Answer:") - len("Zoe Quill")
        assert len(made.ids) == 333 and made.needle[0] == round(depth * room)
        assert between(bytes_tokenizer(), made) == "Zoe Quill"


def test_document_without_the_answer_must_fit():
    fits = prompt(bytes_tokenizer(), task=document("Nothing of note.", "Who?", "Zoe"))
    assert fits.needle == (0, 0)
    with pytest.raises(ValueError, match=r"document needs \d+ tokens, but the length is 333"):
        prompt(bytes_tokenizer(), task=document(TEXT, "Who?", "Zoe Quill"))


@pytest.mark.parametrize("task", ["paper", "named:4", "distractor", "order"])
def test_the_number_of_tokens_needed_is_the_number_that_suffices(tokenizer, task):
    for depth in (0, 0.5, 1):
        with pytest.raises(ValueError, match="use a length of at least") as caught:
            prompt(tokenizer, task=task, length=20, depth=depth)
        needed = int(re.search(r"at least (\d+)", str(caught.value)).group(1))
        assert len(prompt(tokenizer, task=task, length=needed, depth=depth).ids) == needed
        with pytest.raises(ValueError, match=f"need {needed} tokens, but its length is {needed - 1};"):
            prompt(tokenizer, task=task, length=needed - 1, depth=depth)


BAD = [
    ({"length": 0}, ValueError, "length is 0"),
    ({"length": 2.5}, TypeError, "length must be a whole number, not 2.5"),
    ({"length": True}, TypeError, "not True"),
    ({"digits": 0}, ValueError, "digits is 0"),
    ({"depth": 1.5}, ValueError, "depth is 1.5"),
    ({"depth": -0.1}, ValueError, "depth is -0.1"),
    ({"task": "grass"}, ValueError, "unknown task 'grass'"),
    ({"task": "paper:2"}, ValueError, "unknown task 'paper:2'"),
    ({"task": "named:0"}, ValueError, "asks for 0 names"),
    ({"task": "ruler:0"}, ValueError, "asks for 0 needles; use 1 to 64"),
    ({"task": "ruler:2:3"}, ValueError, "asks for 3 of 2 values; ask for 1 to 2"),
    ({"task": "ruler:first"}, ValueError, "unknown task 'ruler:first'"),
    ({"task": "order:2"}, ValueError, "unknown task 'order:2'"),
    ({"task": "named:99"}, ValueError, "asks for 99 names; use 1 to 10"),
    ({"task": "named:10", "digits": 1}, ValueError, "no 10 different keys of 1 digits"),
    ({"filler": "moss"}, ValueError, "unknown filler 'moss'"),
    ({"filler": ["42", " "]}, ValueError, "0 characters"),
    ({"filler": ["UPPER"], "task": "words"}, ValueError, "0 lowercase words"),
    ({"phrasing": "loud"}, ValueError, "unknown phrasing 'loud'"),
]


@pytest.mark.parametrize(("options", "error", "sentence"), BAD)
def test_bad_input_is_refused_in_a_sentence(options, error, sentence):
    with pytest.raises(error, match=sentence):
        prompt(bytes_tokenizer(), **options)


def test_documents_and_names_need_content():
    with pytest.raises(ValueError, match="document's answer has 0 characters"):
        document("text", "question", " ")
    with pytest.raises(ValueError, match="k is 0"):
        named(0)


def test_prompts_are_values():
    made = prompt(bytes_tokenizer())
    assert replace(made) == made and hash(made) == hash(replace(made))


def test_many_lengths_and_depths_are_exact():
    for length, depth in product(range(100, 130), (0.0, 0.01, 0.49, 0.99, 1.0)):
        assert len(prompt(bytes_tokenizer(), length=length, depth=depth).ids) == length
