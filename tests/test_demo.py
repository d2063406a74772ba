"""The demo model's tokenizer, corpus, curriculum and recipe, and what the shipped weights can and cannot do."""

from __future__ import annotations

import random
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfextend_viz import SelfExtend, passkey
from selfextend_viz.demo import held_out_texts, load_demo
from selfextend_viz.demo.corpus import is_held_out, training_prose, without_digits
from selfextend_viz.demo.curriculum import ANSWER_WEIGHT, HELD_OUT_WORDS, Curriculum
from selfextend_viz.demo.tokenizer import byte_tokenizer
from selfextend_viz.demo.train import Recipe, batch, train
from selfextend_viz.patch import BeyondReachWarning

TINY = Recipe(
    context_length=224,
    hidden_size=16,
    intermediate_size=32,
    layers=1,
    heads=2,
    tokens_per_step=448,
    copying_steps=2,
    short_steps=2,
    long_steps=2,
    hard_steps=1,
    firm_steps=1,
    checkpoint_every=3,
)


def test_every_token_is_a_byte() -> None:
    tokenizer = byte_tokenizer(256)
    text = "The päss key\x00 is 0123.\n\n  x Ā ÿ \U0001f511  "
    assert tokenizer(text).input_ids == list(text.encode())
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_padding_stands_on_the_left_and_is_no_byte() -> None:
    padded = byte_tokenizer(256)(["a", "abc"], padding=True)
    assert padded.input_ids == [[256, 256, 97], [97, 98, 99]]
    assert padded.attention_mask == [[0, 0, 1], [1, 1, 1]]


def test_held_out_texts_are_whole_and_unseen() -> None:
    held_out, seen = held_out_texts(), set(training_prose())
    assert not seen.intersection(held_out)
    assert sum(len(text) >= 4 * Recipe().context_length for text in held_out) >= 50
    assert [len(text) for text in held_out] == sorted(map(len, held_out), reverse=True)
    assert is_held_out("json/decoder.py") is is_held_out("json/decoder.py")


def test_digits_are_gone_and_words_stay() -> None:
    assert without_digits("on 12\n  May 1984, x3") == "on May , x"


def _prompts(count: int, length: int = 256) -> list[tuple[str, list[str]]]:
    curriculum = Curriculum(random.Random(7))
    found = []
    for _ in range(count):
        sample = curriculum.recall(length)
        assert len(sample.tokens) == length + 1 and len(sample.weights) == length
        marked = np.where(sample.weights == ANSWER_WEIGHT, sample.tokens[1:], ord("|"))
        answers = [part[:-1].strip() for part in marked.astype(np.uint8).tobytes().decode().split("|") if part]
        found.append((sample.tokens.tobytes().decode("utf-8", "replace"), answers))
    return found


def test_every_answer_was_stated_before_it_is_asked() -> None:
    for text, answers in _prompts(200):
        assert answers
        for answer in answers:
            assert 3 <= len(answer) <= 8 and answer.isdigit()
            assert text.count(answer) >= 2, (answer, text)


def test_no_training_prompt_uses_the_tests_phrasings() -> None:
    from selfextend_viz.experiments import prompts

    names = [name for name in prompts.NAMES if name]
    for text, _ in _prompts(500):
        assert "pass key" not in text.lower() and "Remember it" not in text and "What is" not in text.split(".")[-2]
        assert "The grass is green" not in text
        assert not any(f"of {name} is" in text for name in names)


def test_held_out_words_are_no_subjects() -> None:
    assert not HELD_OUT_WORDS.intersection(Curriculum(random.Random(0)).words)


@pytest.mark.parametrize("stage", [0, 2, 4])
def test_a_batch_depends_on_seed_and_step_alone(stage: int) -> None:
    first, again, other = batch(TINY, 3, stage), batch(TINY, 3, stage), batch(TINY, 4, stage)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_no_step_goes_past_the_context_length() -> None:
    recipe = Recipe()
    lengths = {recipe.stage(step)[1] for step in range(recipe.total_steps)}
    assert lengths == {recipe.context_length // 4, recipe.context_length // 2, recipe.context_length}


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    def stop(done: int, total: int, loss: float, stage: str) -> None:
        if done == 5:
            raise Stopped

    train(tmp_path / "whole", seed=1, recipe=TINY)
    with pytest.raises(Stopped):
        train(tmp_path / "parts", seed=1, recipe=TINY, on_step=stop)
    steps: list[int] = []
    train(tmp_path / "parts", seed=1, recipe=TINY, on_step=lambda done, *_: steps.append(done))
    assert steps == [4, 5, 6, 7, 8]
    whole, parts = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    assert not (tmp_path / "parts" / "checkpoint.pt").exists()
    assert AutoTokenizer.from_pretrained(tmp_path / "parts")("ab").input_ids == [97, 98]


def test_another_seeds_checkpoint_is_refused(tmp_path: Path) -> None:
    def stop(done: int, *_: object) -> None:
        if done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        train(tmp_path, seed=1, recipe=TINY, on_step=stop)
    with pytest.raises(ValueError, match="begun with seed 1"):
        train(tmp_path, seed=2, recipe=TINY)
    assert (tmp_path / "checkpoint.pt").exists()


def test_the_shipped_model_is_small_safe_and_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = files("selfextend_viz.demo") / "weights"
    names = sorted(entry.name for entry in folder.iterdir())
    assert "model.safetensors" in names and not any(name.endswith((".bin", ".pt", ".py")) for name in names)
    assert sum(len(entry.read_bytes()) for entry in folder.iterdir()) <= 6_000_000
    model, tokenizer = load_demo()
    assert model.dtype is torch.float32 and not model.training
    assert tokenizer("7").input_ids == [55]


def _right(task: str, condition: object, length: int) -> int:
    """Right answers of six: two trials at the start, the middle and the end."""
    model, tokenizer = load_demo()
    rows = passkey(model, tokenizer, task=task, lengths=[length], depths=(0, 0.5, 1), conditions=[condition], trials=2)
    return sum(row.exact for row in rows)


@pytest.mark.parametrize("task", ["paper", "natural", "distractor", "named:2"])
def test_the_model_breaks_past_its_length_and_self_extend_mends_it(task: str) -> None:
    trained = load_demo()[0].config.max_position_embeddings
    assert _right(task, "stock", trained) >= 5
    assert _right(task, "stock", 2 * trained) <= 1
    assert _right(task, SelfExtend(4, trained // 4), 2 * trained) >= 5
    assert _right(task, "no_needle", trained) == 0


def test_past_its_reach_self_extend_breaks_too() -> None:
    method = SelfExtend(2, load_demo()[0].config.max_position_embeddings // 4)
    with pytest.warns(BeyondReachWarning):
        assert _right("natural", method, int(1.6 * method.capacity(320))) <= 1
