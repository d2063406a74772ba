"""JSON in which what recurs is written once: many frames of one picture share most of their arrays."""

from __future__ import annotations

import json
from typing import Any

WORTH_SHARING = 40
"""Lists and objects whose text is longer than this are written once and referred to."""
REFERENCE = "$"


class Pool:
    """Collects the texts of lists and objects; equal ones are kept once.

    A value is either plain JSON or ``{"$": n}``, which stands for the n-th item.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def text(self, value: Any) -> str:
        """A value as JSON text, its long parts kept in the pool.

        Raises
        ------
        ValueError
            If it holds NaN, an infinity, or an object with the key ``"$"``.
        TypeError
            If it holds something that JSON has no form for.
        """
        if isinstance(value, dict):
            if REFERENCE in value:
                raise ValueError(f'an object has the key "{REFERENCE}", which stands for a shared part; rename it')
            text = "{" + ",".join(f"{json.dumps(str(key))}:{self.text(item)}" for key, item in value.items()) + "}"
        elif isinstance(value, (list, tuple)) and not any(isinstance(item, (dict, list, tuple)) for item in value):
            text = json.dumps(value, allow_nan=False, separators=(",", ":"))
        elif isinstance(value, (list, tuple)):
            text = "[" + ",".join(self.text(item) for item in value) + "]"
        else:
            return json.dumps(value, allow_nan=False)
        if len(text) <= WORTH_SHARING:
            return text
        place = self._places.setdefault(text, len(self._places))
        return f'{{"{REFERENCE}":{place}}}'

    def items(self) -> str:
        """All kept parts as a JSON list; each refers only to parts before it."""
        return "[" + ",".join(self._places) + "]"
