"""Where a sweep's model comes from: it is there already, or it is loaded by name where it is measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from selfextend_viz.checkpoints import floating_dtype, load_model, usable_device
from selfextend_viz.demo import load_demo

__all__ = ["DEMO", "Source"]

DEMO = "demo"


@dataclass(frozen=True, eq=False)
class Source:
    """A model and its tokenizer, or the name to load them by.

    Attributes
    ----------
    name
        ``"demo"``, a checkpoint's folder or its id; ``None`` where the model is there.
    model, tokenizer
        The model that is there.
    device, dtype, trust_remote_code
        As for :func:`~selfextend_viz.load_model`; for a name only.
    """

    name: str | None = None
    model: Any = None
    tokenizer: Any = None
    device: str | None = None
    dtype: str | None = None
    trust_remote_code: bool = False

    @classmethod
    def of(cls, model: Any, tokenizer: Any) -> Source:
        """From what a sweep is given; ``TypeError`` for a model without its tokenizer, or a name with one."""
        if isinstance(model, Source):
            return model
        named = isinstance(model, str | Path)
        if named != (tokenizer is None):
            given, wanted = ("a name", "None") if named else ("a model", "its tokenizer")
            raise TypeError(f"with {given} the tokenizer must be {wanted}, not {type(tokenizer).__name__}")
        return cls(name=str(model)) if named else cls(model=model, tokenizer=tokenizer)

    def here(self) -> Source:
        """The same with the model loaded."""
        model, tokenizer = self.load()
        return replace(self, name=None, model=model, tokenizer=tokenizer)

    def load(self) -> tuple[Any, Any]:
        """The model and the tokenizer."""
        if self.name is None:
            return self.model, self.tokenizer
        if self.name != DEMO:
            return load_model(self.name, trust_remote_code=self.trust_remote_code, device=self.device, dtype=self.dtype)
        model, tokenizer = load_demo()
        dtype = None if self.dtype is None else floating_dtype(self.dtype)
        return model.to(device=usable_device(self.device), dtype=dtype), tokenizer
