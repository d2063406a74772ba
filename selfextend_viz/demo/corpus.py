"""The text every machine has: the Python standard library's sources and its language reference.

Whole files and whole reference topics are held out by a hash of their names, so that the same text is
held out wherever the library is installed.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from functools import cache
from pathlib import Path

HELD_OUT_SHARE = 0.25
SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "pydoc_data", "ensurepip"}
)
MINIMUM_LENGTH = 400


def is_held_out(name: str) -> bool:
    """Whether the file or topic of that name is kept from training."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


@cache
def _sources() -> dict[str, str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = {}
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if SKIPPED_FOLDERS.isdisjoint(relative.parts):
            texts[relative.as_posix()] = path.read_text(encoding="utf-8", errors="ignore")
    return texts


def _docstrings(source: str) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return "\n\n".join(text for text in found if text)


@cache
def _prose() -> dict[str, str]:
    """Documentation by name: the language reference's topics, and the docstrings of each module."""
    from pydoc_data.topics import topics

    texts = {f"topic:{name}": text for name, text in topics.items()}
    texts |= {name: _docstrings(source) for name, source in _sources().items()}
    return {name: text for name, text in texts.items() if len(text) >= MINIMUM_LENGTH}


def _select(texts: dict[str, str], held_out: bool) -> list[str]:
    return [text for name, text in texts.items() if is_held_out(name) is held_out]


def training_sources() -> list[str]:
    """Source files of the standard library that training may read."""
    return [text for text in _select(_sources(), False) if len(text) >= MINIMUM_LENGTH]


def training_prose() -> list[str]:
    """Documentation (reference topics and docstrings) that training may read."""
    return _select(_prose(), False)


def held_out_texts() -> list[str]:
    """Documentation that no training step has seen, longest first.

    Returns
    -------
    list of str
        Reference topics and module docstrings whose names were held out whole.
    """
    return sorted(_select(_prose(), True), key=len, reverse=True)


def without_digits(text: str) -> str:
    """The text as one line of words, its digits gone."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "", text)).strip()
