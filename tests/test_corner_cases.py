"""Every trap in docs/corner-cases.md has a test that is there; and those traps that have no other place."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama, token_ids
from torch.testing import assert_close

from selfextend_viz.patch import extended
from selfextend_viz.positions import SelfExtend

HERE = Path(__file__).parent
TRAPS = 23


def rows():
    """The cells of the table's lines."""
    text = (HERE.parent / "docs" / "corner-cases.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def names_in(name):
    """Names of a file's tests, those in classes after their class."""
    found = set()
    for node in ast.parse((HERE / name).read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
    return found


def test_every_trap_has_an_answer_and_tests_that_exist():
    assert len(rows()) == TRAPS
    for trap, answer, named in rows():
        tests = re.findall(r"`(\w+\.py)::([\w:]+)`", named)
        assert trap and answer and tests
        assert [f"{name}::{test}" for name, test in tests if test not in names_in(name)] == []


def test_a_test_that_is_not_there_would_be_noticed():
    assert "test_every_trap_has_an_answer_and_tests_that_exist" in names_in("test_corner_cases.py")
    assert "TestLaws::test_left_padded_rows_are_each_row_alone" in names_in("test_patch.py")
    assert "test_that_nobody_wrote" not in names_in("test_patch.py")


@pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
def test_dynamic_frequencies_make_no_difference_between_prefill_and_steps():
    """Read at once or token by token: the stock model answers otherwise, and the extended one does not."""
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    ids = token_ids(60)

    def at_once_and_in_steps(model):
        whole = model(ids).logits
        cache = model(ids[:, :30]).past_key_values
        steps = [model(ids[:, i : i + 1], past_key_values=cache).logits for i in range(30, 60)]
        return whole[:, 30:], torch.cat(steps, 1)

    with torch.no_grad():
        assert torch.subtract(*at_once_and_in_steps(tiny_llama(rope_parameters=dynamic))).abs().max() > 0.1
        with extended(tiny_llama(rope_parameters=dynamic), SelfExtend(3, 7)) as model:
            assert_close(*at_once_and_in_steps(model), atol=2e-5, rtol=0)
