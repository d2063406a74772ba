"""The README's example for one's own model runs as it is printed; only the folder is put in."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from selfextend_viz import extended, is_extended, suggest
from selfextend_viz.checkpoints import random_llama
from selfextend_viz.demo.tokenizer import byte_tokenizer

ROOT = Path(__file__).parents[1]
PLACE = '"a folder or a hub id"'
LONG_TEXT = "The tide was low. " * 40


def printed_example():
    """The code under "Use it on your model"."""
    part = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use it on your model\n")[1]
    return re.search(r"```python\n(.*?)```", part, re.DOTALL)[1]


def run_example(folder):
    """What its names stand for in the end."""
    code = printed_example()
    assert code.count(PLACE) == 1
    names = {"long_text": LONG_TEXT}
    exec(compile(code.replace(PLACE, repr(str(folder))), "README.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def random_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    sizes = {"layers": 2, "hidden": 64, "heads": 4, "key_heads": 2, "intermediate": 96, "vocabulary": 257}
    random_llama(**sizes, context_length=192).save_pretrained(folder)
    byte_tokenizer(192).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["random", "demo"])
def test_the_example_runs_as_printed(kind, random_folder, capsys):
    folder = random_folder if kind == "random" else files("selfextend_viz.demo") / "weights"
    names = run_example(folder)
    said, model, prompt = capsys.readouterr().out, names["model"], names["prompt"]
    assert f"{names['length']} tokens" in said and str(names["method"]) in said
    assert names["method"] == suggest(names["length"], 4 * names["length"])[0]
    assert prompt["input_ids"].shape[1] == len(LONG_TEXT) > names["length"]
    assert not is_extended(model)
    assert names["answer"].shape[1] > len(LONG_TEXT)
    with extended(model, names["method"], implementation="eager"), torch.no_grad():
        again, logits = model.generate(**prompt, max_new_tokens=50), model(**prompt).logits
    assert (again == names["answer"]).all()
    with torch.no_grad():
        assert (model(**prompt).logits - logits).abs().max() > 1e-3
