"""Self-Extend (arXiv 2401.01325), seen and used: position maps, exact attention, a demo model and a lab.

Names are loaded when they are first used, so that importing the package, its positions and its plots
costs no torch and no transformers.

Examples
--------
>>> import selfextend_viz as sv
>>> sv.SelfExtend(group_size=2, neighbor_window=4).capacity(7)
10
>>> [str(method) for method in sv.suggest(4096, 16384)][:2]
['SelfExtend(G=10, w_n=1024)', 'SelfExtend(G=8, w_n=512)']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfextend_viz.attention import attend, attention_logits, implementations
    from selfextend_viz.checkpoints import load_model
    from selfextend_viz.course import check, predict, reveal
    from selfextend_viz.demo import load_demo
    from selfextend_viz.experiments.budget import plan
    from selfextend_viz.experiments.divergence import divergence
    from selfextend_viz.experiments.passkey import passkey
    from selfextend_viz.experiments.perplexity import perplexity, token_losses
    from selfextend_viz.experiments.retrieval import answer_attention, retrieval_heads
    from selfextend_viz.experiments.trained_length import knee
    from selfextend_viz.experiments.verdict import Verification, VerifyRow
    from selfextend_viz.experiments.verify import verify
    from selfextend_viz.methods import (
        METHODS,
        DualChunkAttention,
        DynamicNTK,
        LeakyReRoPE,
        Llama3Scaling,
        LlamaCppSelfExtend,
        LMInfinite,
        LogisticSelfExtend,
        LongRoPE,
        NTKAware,
        PositionInterpolation,
        ReRoPE,
        ShiftedSparseAttention,
        SlidingWindow,
        StreamingLLM,
        StringAttention,
        YaRN,
    )
    from selfextend_viz.patch import (
        context_length,
        describe,
        export_settings,
        extend,
        extended,
        is_extended,
        restore,
        trained_length,
    )
    from selfextend_viz.plots import (
        plot_answer,
        plot_divergence,
        plot_passkey,
        plot_perplexity,
        plot_position_map,
        plot_ratios,
        plot_reach,
        plot_rotation,
        plot_tiles,
        plot_wavelengths,
    )
    from selfextend_viz.positions import (
        Band,
        PlainRoPE,
        SelfExtend,
        relative_positions,
        suggest,
        tiles,
        visible_pairs,
    )
    from selfextend_viz.widgets import (
        divergence_explorer,
        lab,
        passkey_explorer,
        position_explorer,
        reach_explorer,
        rope_explorer,
        strip_explorer,
    )

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "Band",
    "DualChunkAttention",
    "DynamicNTK",
    "LMInfinite",
    "LeakyReRoPE",
    "Llama3Scaling",
    "LlamaCppSelfExtend",
    "LogisticSelfExtend",
    "LongRoPE",
    "NTKAware",
    "PlainRoPE",
    "PositionInterpolation",
    "ReRoPE",
    "SelfExtend",
    "ShiftedSparseAttention",
    "SlidingWindow",
    "StreamingLLM",
    "StringAttention",
    "Verification",
    "VerifyRow",
    "YaRN",
    "answer_attention",
    "attend",
    "attention_logits",
    "check",
    "context_length",
    "describe",
    "divergence",
    "divergence_explorer",
    "export_settings",
    "extend",
    "extended",
    "implementations",
    "is_extended",
    "knee",
    "lab",
    "load_demo",
    "load_model",
    "passkey",
    "passkey_explorer",
    "perplexity",
    "plan",
    "plot_answer",
    "plot_divergence",
    "plot_passkey",
    "plot_perplexity",
    "plot_position_map",
    "plot_ratios",
    "plot_reach",
    "plot_rotation",
    "plot_tiles",
    "plot_wavelengths",
    "position_explorer",
    "predict",
    "reach_explorer",
    "relative_positions",
    "restore",
    "retrieval_heads",
    "reveal",
    "rope_explorer",
    "strip_explorer",
    "suggest",
    "tiles",
    "token_losses",
    "trained_length",
    "verify",
    "visible_pairs",
]

_HOMES = {
    "attention": ("attend", "attention_logits", "implementations"),
    "checkpoints": ("load_model",),
    "course": ("check", "predict", "reveal"),
    "demo": ("load_demo",),
    "experiments.budget": ("plan",),
    "experiments.divergence": ("divergence",),
    "experiments.passkey": ("passkey",),
    "experiments.perplexity": ("perplexity", "token_losses"),
    "experiments.retrieval": ("answer_attention", "retrieval_heads"),
    "experiments.trained_length": ("knee",),
    "experiments.verdict": ("Verification", "VerifyRow"),
    "experiments.verify": ("verify",),
    "methods": (
        "METHODS",
        "DualChunkAttention",
        "DynamicNTK",
        "LMInfinite",
        "LeakyReRoPE",
        "Llama3Scaling",
        "LlamaCppSelfExtend",
        "LogisticSelfExtend",
        "LongRoPE",
        "NTKAware",
        "PositionInterpolation",
        "ReRoPE",
        "ShiftedSparseAttention",
        "SlidingWindow",
        "StreamingLLM",
        "StringAttention",
        "YaRN",
    ),
    "patch": (
        "context_length",
        "describe",
        "export_settings",
        "extend",
        "extended",
        "is_extended",
        "restore",
        "trained_length",
    ),
    "plots": (
        "plot_answer",
        "plot_divergence",
        "plot_passkey",
        "plot_perplexity",
        "plot_position_map",
        "plot_ratios",
        "plot_reach",
        "plot_rotation",
        "plot_tiles",
        "plot_wavelengths",
    ),
    "positions": ("Band", "PlainRoPE", "SelfExtend", "relative_positions", "suggest", "tiles", "visible_pairs"),
    "widgets": (
        "divergence_explorer",
        "lab",
        "passkey_explorer",
        "position_explorer",
        "reach_explorer",
        "rope_explorer",
        "strip_explorer",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
