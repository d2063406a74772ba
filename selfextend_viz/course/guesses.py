"""The file in which a learner's guesses are kept: small, readable, and never written half."""

from __future__ import annotations

import json
import os
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from selfextend_viz.course.questions import Guess

FOLDER_VARIABLE = "SELFEXTEND_VIZ_HOME"
"""The environment variable that names another folder than ``~/.selfextend_viz``."""
NAME = "guesses.json"
_unwritten: dict[str, list[Guess]] = {}
"""Guesses of this session that could not be written."""


def guesses_path() -> Path:
    """Where guesses are kept.

    Raises
    ------
    RuntimeError
        If no folder is named and there is no home.
    """
    folder = os.environ.get(FOLDER_VARIABLE)
    return (Path(folder) if folder else Path.home() / ".selfextend_viz") / NAME


def keep_guess(question: str, guess: Guess) -> str:
    """Add a guess to those of a question; the last one counts.

    Returns
    -------
    str
        A sentence where something was amiss with the file; mostly empty.
    """
    known, said = read_guesses()
    earlier = known.setdefault(question, [])
    if earlier[-1:] == [guess]:
        return said
    earlier.append(guess)
    try:
        _write(guesses_path(), known)
    except (OSError, RuntimeError) as refusal:
        _unwritten.clear()
        _unwritten.update(known)
        return f"{said} The guess is kept until this session ends, for it could not be written: {refusal}.".strip()
    _unwritten.clear()
    return said


def last_guess(question: str) -> tuple[Guess | None, str]:
    """The guess that counts, None where there is none; and a sentence as of `keep_guess`."""
    known, said = read_guesses()
    return known.get(question, [None])[-1], said


def read_guesses() -> tuple[dict[str, list[Guess]], str]:
    """All guesses, and a sentence where the file could not be read; a damaged one is set aside, never written over."""
    try:
        path = guesses_path()
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return _with_unwritten({}), ""
    except (OSError, RuntimeError) as refusal:
        return _with_unwritten({}), f"The file of earlier guesses could not be opened: {refusal}."
    except UnicodeDecodeError:
        return _with_unwritten({}), _set_aside(path)
    try:
        return _with_unwritten(_checked(json.loads(text))), ""
    except (ValueError, RecursionError):
        return _with_unwritten({}), _set_aside(path)


def _with_unwritten(known: dict[str, list[Guess]]) -> dict[str, list[Guess]]:
    return known | {question: list(guesses) for question, guesses in _unwritten.items()}


def _checked(found: Any) -> dict[str, list[Guess]]:
    if not isinstance(found, dict):
        raise ValueError("not a mapping")
    for guesses in found.values():
        fits = isinstance(guesses, list) and guesses
        if not fits or any(isinstance(guess, bool) or not isinstance(guess, str | int | float) for guess in guesses):
            raise ValueError("not lists of letters and numbers")
    return found


def _set_aside(path: Path) -> str:
    """Give a damaged file another name; says which."""
    aside = next(
        name for number in count(1) if not (name := path.with_name(f"{path.stem}.damaged-{number}.json")).exists()
    )
    try:
        path.rename(aside)
    except OSError as refusal:
        return f"The file of earlier guesses, {path}, is damaged and could not be set aside: {refusal}."
    return f"The file of earlier guesses was damaged; it is kept as {aside}, and a new one is begun."


def _write(path: Path, known: dict[str, list[Guess]]) -> None:
    """Write beside the file and then put it in its place, so that no reader finds half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1, sort_keys=True)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
