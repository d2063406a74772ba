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
    from selfextend_viz.evaluation import evaluate, harness_model
    from selfextend_viz.experiments.budget import plan
    from selfextend_viz.experiments.compare import compare
    from selfextend_viz.experiments.comparison_rows import Comparison
    from selfextend_viz.experiments.divergence import divergence
    from selfextend_viz.experiments.layer_sensitivity import layer_sensitivity
    from selfextend_viz.experiments.passkey import passkey
    from selfextend_viz.experiments.perplexity import perplexity, token_losses
    from selfextend_viz.experiments.retrieval import answer_attention, retrieval_heads
    from selfextend_viz.experiments.settings import methods_for
    from selfextend_viz.experiments.texts import load_texts
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
        plot_collisions,
        plot_comparison,
        plot_depth_maps,
        plot_divergence,
        plot_frontier,
        plot_headroom,
        plot_layer_sensitivity,
        plot_mass_outside,
        plot_paired_losses,
        plot_pareto,
        plot_passkey,
        plot_perplexity,
        plot_position_losses,
        plot_position_map,
        plot_position_maps,
        plot_query_positions,
        plot_ratios,
        plot_reach,
        plot_rotation,
        plot_tiles,
        plot_wavelengths,
        plot_worst_depth,
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
    from selfextend_viz.sweeps.cells import Grid
    from selfextend_viz.sweeps.choose import choose
    from selfextend_viz.sweeps.recommend import recommend
    from selfextend_viz.sweeps.recommendation import Recommendation
    from selfextend_viz.sweeps.search import search
    from selfextend_viz.sweeps.store import Store
    from selfextend_viz.sweeps.sweep import sweep
    from selfextend_viz.widgets import (
        divergence_explorer,
        lab,
        method_explorer,
        passkey_explorer,
        position_explorer,
        reach_explorer,
        rope_explorer,
        strip_explorer,
        tradeoff_explorer,
    )

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "Band",
    "Comparison",
    "DualChunkAttention",
    "DynamicNTK",
    "Grid",
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
    "Recommendation",
    "SelfExtend",
    "ShiftedSparseAttention",
    "SlidingWindow",
    "Store",
    "StreamingLLM",
    "StringAttention",
    "Verification",
    "VerifyRow",
    "YaRN",
    "answer_attention",
    "attend",
    "attention_logits",
    "check",
    "compare",
    "choose",
    "context_length",
    "describe",
    "divergence",
    "divergence_explorer",
    "evaluate",
    "export_settings",
    "extend",
    "extended",
    "harness_model",
    "implementations",
    "is_extended",
    "knee",
    "lab",
    "layer_sensitivity",
    "load_demo",
    "load_model",
    "load_texts",
    "method_explorer",
    "methods_for",
    "passkey",
    "passkey_explorer",
    "perplexity",
    "plan",
    "plot_answer",
    "plot_collisions",
    "plot_comparison",
    "plot_divergence",
    "plot_mass_outside",
    "plot_depth_maps",
    "plot_frontier",
    "plot_headroom",
    "plot_layer_sensitivity",
    "plot_paired_losses",
    "plot_pareto",
    "plot_passkey",
    "plot_perplexity",
    "plot_position_losses",
    "plot_position_map",
    "plot_position_maps",
    "plot_query_positions",
    "plot_ratios",
    "plot_reach",
    "plot_rotation",
    "plot_tiles",
    "plot_wavelengths",
    "plot_worst_depth",
    "position_explorer",
    "predict",
    "reach_explorer",
    "recommend",
    "relative_positions",
    "restore",
    "retrieval_heads",
    "reveal",
    "rope_explorer",
    "strip_explorer",
    "search",
    "suggest",
    "sweep",
    "tiles",
    "token_losses",
    "tradeoff_explorer",
    "trained_length",
    "verify",
    "visible_pairs",
]

_HOMES = {
    "attention": ("attend", "attention_logits", "implementations"),
    "checkpoints": ("load_model",),
    "course": ("check", "predict", "reveal"),
    "demo": ("load_demo",),
    "evaluation": ("evaluate", "harness_model"),
    "experiments.budget": ("plan",),
    "experiments.compare": ("compare",),
    "experiments.comparison_rows": ("Comparison",),
    "experiments.divergence": ("divergence",),
    "experiments.layer_sensitivity": ("layer_sensitivity",),
    "experiments.passkey": ("passkey",),
    "experiments.perplexity": ("perplexity", "token_losses"),
    "experiments.retrieval": ("answer_attention", "retrieval_heads"),
    "experiments.texts": ("load_texts",),
    "experiments.settings": ("methods_for",),
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
        "plot_collisions",
        "plot_comparison",
        "plot_divergence",
        "plot_mass_outside",
        "plot_depth_maps",
        "plot_frontier",
        "plot_headroom",
        "plot_layer_sensitivity",
        "plot_paired_losses",
        "plot_pareto",
        "plot_passkey",
        "plot_perplexity",
        "plot_position_losses",
        "plot_position_map",
        "plot_position_maps",
        "plot_query_positions",
        "plot_ratios",
        "plot_reach",
        "plot_rotation",
        "plot_tiles",
        "plot_wavelengths",
        "plot_worst_depth",
    ),
    "positions": ("Band", "PlainRoPE", "SelfExtend", "relative_positions", "suggest", "tiles", "visible_pairs"),
    "sweeps.cells": ("Grid",),
    "sweeps.choose": ("choose",),
    "sweeps.recommend": ("recommend",),
    "sweeps.recommendation": ("Recommendation",),
    "sweeps.search": ("search",),
    "sweeps.store": ("Store",),
    "sweeps.sweep": ("sweep",),
    "widgets": (
        "divergence_explorer",
        "lab",
        "method_explorer",
        "passkey_explorer",
        "position_explorer",
        "reach_explorer",
        "rope_explorer",
        "strip_explorer",
        "tradeoff_explorer",
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
