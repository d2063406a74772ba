"""One line to one picture: each idea of the lab on its own, live in JupyterLab, and as a page without a kernel."""

from __future__ import annotations

from typing import Any

from selfextend_viz.positions import Method
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.explorer import Explorer
from selfextend_viz.widgets.instant_explorers import PositionExplorer, ReachExplorer
from selfextend_viz.widgets.method_explorer import MethodExplorer
from selfextend_viz.widgets.method_state import MethodState
from selfextend_viz.widgets.model_explorer import opening_state
from selfextend_viz.widgets.model_explorers import DivergenceExplorer, PasskeyExplorer
from selfextend_viz.widgets.rope_explorer import RopeExplorer
from selfextend_viz.widgets.rope_panels import RopeState
from selfextend_viz.widgets.strip_explorer import StripExplorer
from selfextend_viz.widgets.texts import NoTokenizer, Texts
from selfextend_viz.widgets.work import LabWork, Subject

__all__ = [
    "Explorer",
    "divergence_explorer",
    "method_explorer",
    "passkey_explorer",
    "position_explorer",
    "reach_explorer",
    "rope_explorer",
    "strip_explorer",
]

SMALL_CONTEXT = 64
"""L of the position explorer: 4 L tokens are 256, each of which is drawn."""
LARGE_CONTEXT = 4096
"""L of Llama 2, where no model is given."""


def position_explorer(
    *,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
    context_length: int = SMALL_CONTEXT,
) -> PositionExplorer:
    """Which position each pair of tokens is told, under plain RoPE and under Self-Extend; no model is needed.

    Parameters
    ----------
    length, group_size, neighbor_window
        N, G and w_n to begin with; 4 L, 8 and L // 4 when left out.
    context_length
        L to begin with.

    Raises
    ------
    BadSetting
        If a number is out of range; a ``ValueError``.

    Examples
    --------
    >>> position_explorer(length=10, group_size=2, neighbor_window=4, context_length=7).panel.text[:50]
    '<b>SelfExtend(G=2, w_n=4)</b>: token 9 sees token '
    """
    return PositionExplorer(
        LabState(context_length, length=length, group_size=group_size, neighbor_window=neighbor_window)
    )


def reach_explorer(
    *,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
    context_length: int = LARGE_CONTEXT,
) -> ReachExplorer:
    """How long a text each G and w_n carry, and whether that is long enough for N; no model is needed.

    Parameters and errors as in :func:`position_explorer`; L is Llama 2's when left out.
    """
    return ReachExplorer(
        LabState(context_length, length=length, group_size=group_size, neighbor_window=neighbor_window)
    )


def method_explorer(
    model: Any = None,
    *,
    first: str | Method = "SelfExtend",
    second: str | Method = "StreamingLLM",
    length: int | None = None,
    query: int | None = None,
    context_length: int | None = None,
) -> MethodExplorer:
    """Any two methods side by side: their maps, the difference of the two, and what one query is told.

    Parameters
    ----------
    model
        A transformers model, whose L is taken and locked; nothing is asked of it. None is needed.
    first, second
        Methods to begin with, or names of ``METHODS`` or ``"plain RoPE"``, which open on numbers for L and N.
    length, query
        N and the query to begin with; 4 L and the last token when left out.
    context_length
        L to begin with where there is no model; 64 when left out.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, a method cannot be chosen, or both a model and an L are given.

    Examples
    --------
    >>> method_explorer(first="SelfExtend", second="ReRoPE", length=10, context_length=8).curves.text[-48:]
    'sees all 10 keys, at 5 positions, up to 6 at one'
    """
    if model is not None and context_length is not None:
        raise ValueError(f"context_length {context_length} and a model are given; a model has an L of its own")
    limit = SMALL_CONTEXT if context_length is None else context_length
    if model is not None:
        limit = Subject(model, NoTokenizer()).context_length
    fact = "the length this model was pretrained at" if model is not None else ""
    return MethodExplorer(MethodState(limit, first=first, second=second, length=length, query=query), fact=fact)


def divergence_explorer(
    model: Any = None,
    tokenizer: Any = None,
    *,
    ids: Any = None,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
) -> DivergenceExplorer:
    """The attention logits of every head at any distance, stock beside Self-Extend, live on a model.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer; left out, the demo model. With the
        tokenizer the text is a pass-key prompt; without, random tokens.
    ids
        Tokens of a text to look at instead, a list, array or tensor; N goes up to its length.
    length, group_size, neighbor_window
        N, G and w_n to begin with.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or there is a tokenizer but no model.
    """
    subject = Subject(model, NoTokenizer() if model is not None and tokenizer is None else tokenizer)
    texts = Texts(subject, ids)
    state = opening_state(
        subject, longest=texts.longest, length=length, group_size=group_size, neighbor_window=neighbor_window
    )
    return DivergenceExplorer(subject, state, texts)


def passkey_explorer(
    model: Any = None,
    tokenizer: Any = None,
    *,
    task: str = "paper",
    trials: int = 4,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
) -> PasskeyExplorer:
    """Which lengths and depths a model answers, stock beside Self-Extend, filled cell by cell.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer; left out, the demo model.
    task
        What is hidden and asked; see :func:`selfextend_viz.passkey`.
    trials
        Prompts for each cell.
    length, group_size, neighbor_window
        N, G and w_n to begin with.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or only one of model and tokenizer is given.
    """
    subject = Subject(model, tokenizer)
    state = opening_state(subject, length=length, group_size=group_size, neighbor_window=neighbor_window)
    return PasskeyExplorer(subject, state, LabWork(subject, task=task, trials=trials))


def rope_explorer(
    model: Any = None,
    *,
    head_dim: int | None = None,
    base: float = 10000.0,
    context_length: int | None = None,
    pair: int | None = None,
    distance: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
) -> RopeExplorer:
    """Which pairs of dimensions never completed a turn in training, and where a distance turns each of them.

    Parameters
    ----------
    model
        A transformers model that uses RoPE; left out, the demo model, unless `head_dim` is given.
    head_dim, base, context_length
        Plain RoPE without a model: rotated dimensions a head, the base of its frequencies, and L (4096 when left out).
    pair, distance, group_size, neighbor_window
        The pair, d, G and w_n to begin with.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or a model and the numbers of another are given.

    Examples
    --------
    >>> rope_explorer(head_dim=128, context_length=4096).wavelengths.text[:34]
    '18 of 64 pairs never completed a t'
    """
    if head_dim is None and context_length is not None:
        raise ValueError(f"context_length {context_length} goes with head_dim; a model has an L of its own")
    if head_dim is not None and model is not None:
        raise ValueError(f"head_dim {head_dim} and a model are given; give one of the two")
    if head_dim is None:
        inv_freq, context = frequencies_of(Subject(model, NoTokenizer()) if model is not None else Subject())
    else:
        from selfextend_viz.rope import default_inv_freq

        context = LARGE_CONTEXT if context_length is None else context_length
        inv_freq = tuple(default_inv_freq(head_dim, theta=base)[0].tolist())
    state = RopeState(
        inv_freq,
        context,
        pair=pair,
        distance=distance,
        group_size=group_size,
        neighbor_window=neighbor_window,
    )
    return RopeExplorer(state)


def strip_explorer(
    model: Any = None,
    tokenizer: Any = None,
    *,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
) -> StripExplorer:
    """One prompt under stock and under Self-Extend: where the answer looks, and what it says.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model and its tokenizer; left out, the demo model.
    length, group_size, neighbor_window
        N, G and w_n to begin with.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or only one of model and tokenizer is given.
    """
    subject = Subject(model, tokenizer)
    state = opening_state(subject, length=length, group_size=group_size, neighbor_window=neighbor_window)
    return StripExplorer(subject, state)


def frequencies_of(subject: Subject) -> tuple[tuple[float, ...], int]:
    """The frequencies of a model's own rotary module, and its L."""
    from selfextend_viz.patch.models import attention_layers

    model, _ = subject.load()
    rotary = next(layer.rotary for layer in attention_layers(model) if layer.skipped is None)
    return tuple(rotary.frequencies.tolist()), subject.context_length
