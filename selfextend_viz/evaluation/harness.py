"""A transformers model under a condition, as lm-evaluation-harness wants one; the only place that imports it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.tasks import TaskManager

from selfextend_viz.experiments.conditions import Condition
from selfextend_viz.experiments.tokens import encode

__all__ = ["HarnessModel", "TaskManager", "simple_evaluate"]


class TooLongError(ValueError):
    """A task's text is longer than the model reaches, and cutting was not asked for."""


class HarnessModel(HFLM):  # type: ignore[misc]
    """The harness's own Hugging Face model, which lends a condition to the model for each of its calls.

    Between the calls the model is as it was. The harness cuts what is longer than its ``max_length`` from the left and
    writes a line to the log; here such a text is refused before any forward, unless ``cut`` is set. The whole-text
    losses (``loglikelihood_rolling``) are of windows of `max_length` tokens, as the harness defines them: every token
    is scored, and none is dropped.

    Parameters
    ----------
    model, tokenizer
        A causal language model in evaluation mode, and its tokenizer, of which a copy is used.
    condition
        What is done to the model.
    max_length
        The longest text in tokens, what is generated included.
    cut
        Cut longer texts from the left instead of refusing them.
    implementation
        Attention implementation for methods.
    batch_size
        Texts in one forward.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        condition: Condition,
        *,
        max_length: int,
        cut: bool = False,
        implementation: str = "auto",
        batch_size: int = 1,
    ) -> None:
        self.condition, self.cut, self.implementation = condition, cut, implementation
        own = copy.deepcopy(tokenizer)  # the harness may give it a padding token, and turns its padding side about
        own.model_max_length = max_length
        with _unsaid(HFLM.__module__):  # that a model was passed that is loaded already
            super().__init__(
                pretrained=model,
                tokenizer=own,
                backend="causal",
                max_length=max_length,
                batch_size=batch_size,
                prefix_token_id=_first_token(own),
            )

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text; the padding token where the tokenizer has none, so that no text ends on it."""
        end = self.tokenizer.eos_token_id
        return int(self.tokenizer.pad_token_id if end is None else end)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers to the requests' texts, as the harness asks for them.

        Raises
        ------
        TooLongError
            Before any answer, if a text and its answer are longer than `max_length`.
        """
        self._check(
            len(self.tok_encode(text)) + int(normalize_gen_kwargs(dict(asked), self.max_gen_toks)["max_gen_toks"])
            for text, asked in (request.args for request in requests)
        )
        return list(super().generate_until(requests, disable_tqdm=disable_tqdm))

    def _loglikelihood_tokens(self, requests: Sequence[Any], *args: Any, **options: Any) -> Any:
        self._check(len(context) + len(answer) - 1 for _, context, answer in requests)  # the last token is never read
        return super()._loglikelihood_tokens(requests, *args, **options)

    def _model_call(self, *args: Any, **options: Any) -> Any:
        with self.condition.lent(self.model, self.implementation):
            return super()._model_call(*args, **options)

    def _model_generate(self, *args: Any, **options: Any) -> Any:
        with self.condition.lent(self.model, self.implementation):
            return super()._model_generate(*args, **options)

    def _check(self, lengths: Iterable[int]) -> None:
        longest = max(lengths, default=0)
        if longest > self.max_length and not self.cut:
            raise TooLongError(
                f"a text of this task has {longest} tokens with its answer, but under {self.condition.label} the model "
                f"is given at most {self.max_length}; take a setting that reaches farther, a larger max_length, or "
                "have texts cut from the left (cut=True, --cut)"
            )


@contextmanager
def _unsaid(name: str) -> Iterator[None]:
    """A block in which a logger says errors alone."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_token(tokenizer: Any) -> int | None:
    """What stands before a text that has no context: a line break for tokenizers without special tokens."""
    if tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None:
        return None
    return encode(tokenizer, "\n")[-1]
