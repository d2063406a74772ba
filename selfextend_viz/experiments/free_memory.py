"""How much memory a new tensor may take, on the processor and on a GPU."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__all__ = ["available_memory", "free_on"]

CONTAINER = Path("/sys/fs/cgroup")


def available_memory(container: Path = CONTAINER) -> float | None:
    """Bytes that a new process may take, a container's limit counted; None where nothing here can tell."""
    try:
        free = float(importlib.import_module("psutil").virtual_memory().available)
    except ImportError:
        return None
    limit, used = container / "memory.max", container / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free = min(free, float(limit.read_text()) - float(used.read_text()))
    return free


def free_on(device: Any) -> float | None:
    """Bytes free on a torch device, torch's own unused room counted; None where nothing here can tell."""
    if device.type == "cpu":
        return available_memory()
    if device.type == "cuda":
        cuda = importlib.import_module("torch").cuda
        unused = cuda.memory_reserved(device) - cuda.memory_allocated(device)
        return float(cuda.mem_get_info(device)[0] + unused)
    return None
