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
def _sources(held_out: bool) -> tuple[str, ...]:
    """The library's source files, in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path.relative_to(root) for path in sorted(root.rglob("*.py"))]
    chosen = [
        path for path in paths if SKIPPED_FOLDERS.isdisjoint(path.parts) and is_held_out(path.as_posix()) is held_out
    ]
    return tuple((root / path).read_text(encoding="utf-8", errors="ignore") for path in chosen)


def _docstrings(source: str) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return "\n\n".join(text for text in found if text)


@cache
def _prose(held_out: bool) -> tuple[str, ...]:
    """Documentation: the language reference's topics, and the docstrings of each module."""
    from pydoc_data.topics import topics

    texts = [text for name, text in topics.items() if is_held_out(f"topic:{name}") is held_out]
    texts += [_docstrings(source) for source in _sources(held_out)]
    return tuple(text for text in texts if len(text) >= MINIMUM_LENGTH)


def training_sources() -> list[str]:
    """Source files of the standard library that training may read."""
    return [text for text in _sources(False) if len(text) >= MINIMUM_LENGTH]


def training_prose() -> list[str]:
    """Documentation (reference topics and docstrings) that training may read."""
    return list(_prose(False))


def held_out_texts() -> list[str]:
    """Documentation that no training step has seen, longest first.

    Returns
    -------
    list of str
        Reference topics and module docstrings whose names were held out whole.
    """
    return sorted(_prose(True), key=len, reverse=True)


def without_digits(text: str) -> str:
    """The text as one line of words, its digits gone."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "", text)).strip()
