"""What a benchmark was measured on and with, and when."""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path

import torch

from selfextend_viz.bench.plan import Plan

__all__ = ["device_name", "environment"]


def environment(plan: Plan) -> dict[str, object]:
    """What the figures were measured on and with, and when."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device_name(plan.device),
        "kind": plan.device,
        "threads": max(plan.threads),
        "runs": plan.runs,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        **{name: _version(name) for name in ("transformers", "triton", "flash_attn")},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def device_name(device: str) -> str:
    """What runs it, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    source = Path("/proc/cpuinfo")
    lines = source.read_text().splitlines() if source.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
